/*
 * qemu-blobstore check
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "blobstore/check.h"
#include "tool.h"

/* The check of one image */
typedef struct Check {
    const Tool *tool;
    const char *name;           /* of the image */
    BlobStore *store;           /* NULL: not open */
    QList *findings;            /* for JSON */
    ToolExit status;
} Check;

static QDict *finding_json(const BlobFinding *finding, const char *blob)
{
    QDict *shown = qdict_new();

    if (blob) {
        qdict_put_str(shown, "blob", blob);
    }
    qdict_put_int(shown, "offset", finding->offset);
    qdict_put_int(shown, "bytes", finding->bytes);
    qdict_put_str(shown, "text", finding->text);
    qdict_put_bool(shown, "heals", finding->heals);
    return shown;
}

/* What a damaged blob can fall back to */
static void show_older(Check *check, Blob *blob, const char *name,
                       QDict *shown)
{
    BlobOlder older;

    if (!blob_store_find_older(check->store, blob, &older, NULL)) {
        return;
    }
    if (older.found) {
        QDict *version = qdict_new();

        qdict_put_int(version, "sequence", older.sequence);
        qdict_put_int(version, "size", older.size);
        qdict_put(shown, "older", version);
    }
    if (check->tool->output == TOOL_OUTPUT_JSON) {
        return;
    }
    if (older.found) {
        printf("%s: blob '%s' had a version %" PRIu64 " of %" PRIu64
               " bytes before, to which --repair --fall-back goes back\n",
               check->name, name, older.sequence, older.size);
    } else {
        printf("%s: of blob '%s' no older version is left\n", check->name,
               name);
    }
}

static void show_finding(Check *check, const BlobFinding *finding)
{
    g_autofree char *blob = finding->blob ? tool_blob_name(finding->blob)
                                          : NULL;
    QDict *shown = finding_json(finding, blob);

    qlist_append(check->findings, shown);
    if (check->tool->output == TOOL_OUTPUT_HUMAN) {
        printf("%s: %s%s%soffset %" PRIu64 ", %" PRIu64 " bytes: %s%s\n",
               check->name, blob ? "blob '" : "", blob ?: "",
               blob ? "', " : "", finding->offset, finding->bytes,
               finding->text,
               finding->heals ? " (heals when the store is used)" : "");
    }
    if (finding->kind == BLOB_FINDING_DAMAGED_BLOB) {
        show_older(check, finding->blob, blob, shown);
    }
}

static void take_finding(const BlobFinding *finding, void *opaque)
{
    Check *check = opaque;

    show_finding(check, finding);
    if (finding->kind == BLOB_FINDING_LEAK) {
        return;                 /* no error: a device may use it again */
    }
    /* The store was opened by another key slot. */
    if (!finding->heals && finding->kind != BLOB_FINDING_KEY_SLOT) {
        check->status = TOOL_EXIT_DAMAGED;
    } else if (check->status == TOOL_EXIT_OK) {
        check->status = TOOL_EXIT_HEALS;
    }
}

/* It is no damage: the key slot is as it was made. */
static void warn_of_weak_key_slots(const ToolStore *opened)
{
    BlobKeySlots slots;

    blob_store_get_key_slots(opened->store, &slots);
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        if (blob_key_slots_get(&slots, n, &slot) &&
            blob_key_slot_is_weak(&slot)) {
            warn_report("%s: key slot %u is weak: a guess costs %" PRIu32
                        " iterations of Argon2id over %" PRIu32 " KiB, and %d "
                        "over %d KiB are the least; make it again with "
                        "key-add --slot=%u --replace", opened->name, n,
                        slot.kdf_iterations, slot.kdf_memory_kib,
                        BLOB_KEY_KDF_MIN_ITERATIONS, BLOB_KEY_KDF_MEMORY_KIB,
                        n);
        }
    }
}

static bool coroutine_fn check_store(Tool *tool, Check *check, GError **error)
{
    ToolImage image = tool->image;
    g_auto(ToolStore) opened = { 0 };

    image.name = check->name;
    if ((tool->repair && !tool_repair(tool, &image, error)) ||
        !tool_open(tool, &image, TOOL_READ, &opened, error)) {
        return false;
    }
    check->store = opened.store;
    if (!blob_store_check(opened.store, take_finding, check, error)) {
        return false;
    }
    warn_of_weak_key_slots(&opened);
    return true;
}

static const char *verdict(ToolExit status)
{
    switch (status) {
    case TOOL_EXIT_OK:
        return "No errors were found.";
    case TOOL_EXIT_HEALS:
        return "Something is wrong, but no content is lost.";
    case TOOL_EXIT_DAMAGED:
        return "Content is lost or damaged.";
    default:
        return "Not checked.";
    }
}

/* Returns what is found out about the image, for JSON. */
static QDict *coroutine_fn check_image(Tool *tool, Check *check)
{
    g_autoptr(GError) error = NULL;
    QDict *shown = qdict_new();

    check->findings = qlist_new();
    if (!check_store(tool, check, &error)) {
        check->status = tool_exit_of(error);
        error_report("%s: %s", check->name, error->message);
        qdict_put_str(shown, "error", error->message);
    }
    tool_say(tool, "%s: %s\n", check->name, verdict(check->status));
    qdict_put_str(shown, "image", check->name);
    qdict_put_int(shown, "status", check->status);
    qdict_put(shown, "findings", check->findings);
    return shown;
}

/* How bad it is; of equally bad ones the first decides. */
static int badness(ToolExit status)
{
    switch (status) {
    case TOOL_EXIT_OK:
        return 0;
    case TOOL_EXIT_HEALS:
        return 1;
    case TOOL_EXIT_DAMAGED:
        return 3;
    default:
        return 2;
    }
}

bool coroutine_fn tool_check(Tool *tool, GError **error)
{
    QList *images;

    if (!tool_check_repair_options(tool, error)) {
        return false;
    }
    images = qlist_new();
    for (int n = 0; n < tool->operand_count; n++) {
        Check check = { .tool = tool, .name = tool->operands[n] };

        qlist_append(images, check_image(tool, &check));
        if (badness(check.status) > badness(tool->status)) {
            tool->status = check.status;
        }
    }
    if (tool->output == TOOL_OUTPUT_JSON) {
        tool_print_json(QOBJECT(images));
    } else {
        qobject_unref(images);
    }
    return true;
}
