/*
 * qemu-blobstore check --repair
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/check.h"
#include "tool.h"

bool tool_check_repair_options(const Tool *tool, GError **error)
{
    if ((tool->fall_back && !tool->repair) ||
        (tool->or_absent && !tool->fall_back)) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--%s belongs to --%s",
                         tool->fall_back ? "fall-back" : "or-absent",
                         tool->fall_back ? "repair" : "fall-back");
    }
    if (tool->fall_back && tool->operand_count > 1) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--fall-back takes one image "
                         "at a time");
    }
    return !tool->repair || !tool->image.force_share ||
           tool_fail(error, TOOL_EXIT_USAGE, "--repair writes, and --force-"
                     "share is for reading only");
}

/* The blob that is to fall back; NULL: there is none */
static Blob *find_blob(const Tool *tool, ToolStore *opened, GError **error)
{
    g_auto(GStrv) words = g_strsplit(tool->fall_back, "/", 2);
    Blob *blob = words[0] && words[1]
                 ? blob_store_find(opened->store, words[0], words[1]) : NULL;

    if (!blob) {
        tool_fail(error, TOOL_EXIT_NO_BLOB, "there is no blob '%s'",
                  tool->fall_back);
    }
    return blob;
}

/* Damage is known when the blob has been read. */
static bool coroutine_fn check_damaged(const Tool *tool, ToolStore *opened,
                                       Blob *blob, GError **error)
{
    g_autoptr(GBytes) content = NULL;
    g_autoptr(GError) found = NULL;

    if (blob_store_read(opened->store, blob, &content, NULL, &found)) {
        return tool_fail(error, TOOL_EXIT_ERROR, "blob '%s' is not damaged: "
                         "it stays as it is", tool->fall_back);
    }
    if (!g_error_matches(found, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&found));
        return false;
    }
    return true;
}

static void say_lost(const Tool *tool, const BlobInfo *lost,
                     const BlobOlder *older)
{
    tool_say(tool, "blob '%s': version %" PRIu64 " is lost", tool->fall_back,
             lost->sequence);
    if (older->found) {
        tool_say(tool, "; version %" PRIu64 ", of %" PRIu64 " bytes, is "
                 "current again\n", older->sequence, older->size);
    } else {
        tool_say(tool, ", and none is left: the blob is deleted\n");
    }
}

static bool coroutine_fn fall_back(const Tool *tool, ToolStore *opened,
                                   GError **error)
{
    Blob *blob = find_blob(tool, opened, error);
    BlobOlder older;
    BlobInfo lost;

    if (!blob || !check_damaged(tool, opened, blob, error) ||
        !blob_store_find_older(opened->store, blob, &older, error)) {
        return false;
    }
    blob_get_info(blob, &lost);
    if (!older.found && !tool->or_absent) {
        return tool_fail(error, TOOL_EXIT_DAMAGED, "blob '%s' is damaged, and "
                         "no older version of it is left: restore the image "
                         "from a backup, or delete the blob with --or-absent",
                         tool->fall_back);
    }
    if (!(older.found ? blob_store_fall_back : blob_store_give_up)
         (opened->store, blob, error)) {
        return false;
    }
    say_lost(tool, &lost, &older);
    return true;
}

bool coroutine_fn tool_repair(Tool *tool, const ToolImage *image,
                              GError **error)
{
    g_auto(ToolStore) opened = { 0 };

    return tool_open(tool, image, TOOL_WRITE, &opened, error) &&
           (!tool->fall_back || fall_back(tool, &opened, error)) &&
           blob_store_start(opened.store, error) &&
           tool_finish(&opened, error);
}
