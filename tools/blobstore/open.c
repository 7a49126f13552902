/*
 * qemu-blobstore: opening images and the stores in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/option.h"
#include "tool.h"

static QemuOptsList image_options = {
    .name = "source",
    .implied_opt_name = "file",
    .head = QTAILQ_HEAD_INITIALIZER(image_options.head),
    .desc = { { } },
};

static QDict *options_of(const ToolImage *image, Error **errp)
{
    QDict *opts;

    if (image->is_options) {
        QemuOpts *parsed = qemu_opts_parse(&image_options, image->name, true,
                                           errp);

        opts = parsed ? qemu_opts_to_qdict(parsed, NULL) : NULL;
        qemu_opts_del(parsed);
        return opts;
    }
    opts = qdict_new();
    if (image->format) {
        qdict_put_str(opts, "driver", image->format);
    }
    return opts;
}

/*
 * The block layer has no code for a lock that somebody else holds, only these
 * words (block/file-posix.c).
 */
static bool is_lock_failure(Error *err)
{
    const char *text = error_get_pretty(err);

    return g_str_has_prefix(text, "Failed to get ") &&
           g_str_has_suffix(text, " lock");
}

static bool coroutine_fn open_image(const ToolImage *image, ToolAccess access,
                                    ToolStore *opened, GError **error)
{
    int flags = BDRV_O_NO_SHARE | (access >= TOOL_WRITE ? BDRV_O_RDWR : 0) |
                (access == TOOL_RESIZE ? BDRV_O_RESIZE : 0);
    Error *err = NULL;
    QDict *opts = options_of(image, &err);

    if (!opts) {
        return tool_fail_err(error, TOOL_EXIT_USAGE, err);
    }
    if (image->force_share) {
        flags &= ~BDRV_O_NO_SHARE;
        qdict_put_bool(opts, BDRV_OPT_FORCE_SHARE, true);
    }
    opened->blk = blk_co_new_open(image->is_options ? NULL : image->name,
                                  NULL, opts, flags, &err);
    if (!opened->blk) {
        return tool_fail_err(error, is_lock_failure(err) ? TOOL_EXIT_IN_USE
                                                         : TOOL_EXIT_ERROR,
                             err);
    }
    blk_set_force_allow_inactivate(opened->blk);
    blk_inc_in_flight(opened->blk);
    blobstore_block_io_init(&opened->medium, opened->blk);
    return true;
}

/* The arguments of the callbacks */
typedef struct Opening {
    Tool *tool;
    ToolStore *opened;
} Opening;

/* The key is kept, too, because new key slots have to hold it. */
static bool coroutine_fn unlock(const BlobStoreLabel *label, void *opaque,
                                BlobKey **key, GError **error)
{
    Opening *opening = opaque;
    Tool *tool = opening->tool;
    g_auto(BlobStoreCredential) credential = { 0 };

    if (!tool_names_key(&tool->key)) {
        return true;            /* The core says that a key is needed. */
    }
    if (!blobstore_credential_load(&tool->key, &credential, error)) {
        return false;
    }
    credential.core.slot = tool->key_slot;
    *key = blob_key_slots_unlock(&label->key_slots, label->uuid,
                                 &credential.core, error);
    if (*key) {
        opening->opened->data_key = blob_key_ref(*key);
    }
    return *key;
}

bool coroutine_fn tool_put_key(const Tool *tool, BlobKeySlots *slots,
                               unsigned n, const BlobKey *key,
                               const uint8_t *uuid, GError **error)
{
    const BlobStoreKeySource *source = &tool->new_key;
    g_auto(BlobStoreCredential) credential = { 0 };

    return blobstore_credential_load(source, &credential, error) &&
           blob_key_slots_put(slots, n, key, uuid,
                              blobstore_credential_slot_type(source),
                              &credential.core, source->iter_time, error);
}

/* A new store is plain unless a new key is given. */
static bool coroutine_fn make(const uint8_t *uuid, void *opaque, BlobKey **key,
                              BlobKeySlots *key_slots, GError **error)
{
    Opening *opening = opaque;

    if (!tool_names_key(&opening->tool->new_key)) {
        return true;
    }
    *key = blob_key_new(error);
    if (!*key || !tool_put_key(opening->tool, key_slots, 0, *key, uuid,
                               error)) {
        return false;
    }
    opening->opened->data_key = blob_key_ref(*key);
    return true;
}

/* No key is needed to see that. */
static bool coroutine_fn check_no_store(ToolStore *opened, GError **error)
{
    return blob_store_read_label(&opened->medium.parent, &opened->label,
                                 error) &&
           (opened->label.blank ||
            tool_fail(error, TOOL_EXIT_ERROR, "there is a store in the image "
                      "already; it stays as it is"));
}

static bool coroutine_fn open_store(Tool *tool, ToolAccess access,
                                    ToolStore *opened, GError **error)
{
    Opening opening = { .tool = tool, .opened = opened };
    BlobStoreOptions options = {
        .read_only = access == TOOL_READ,
        .create_never = access < TOOL_MAKE,
        .sealed_only = tool_names_key(&tool->key),
        .fence = true,
        .replace_damaged = access == TOOL_REPLACE,
        .unlock = unlock,
        .make = make,
        .opaque = &opening,
    };
    g_autoptr(GError) err = NULL;

    blobstore_block_io_note_reads(&opened->medium, opened->name);
    opened->store = blob_store_open(&opened->medium.parent, &options, &err);
    blobstore_block_io_note_reads(&opened->medium, NULL);
    if (opened->store) {
        return true;
    }
    if (g_error_matches(err, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL)) {
        /* The image was shrunk: its end is lost. */
        return tool_fail(error, TOOL_EXIT_DAMAGED, "%s", err->message);
    }
    if (g_error_matches(err, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK)) {
        return tool_fail(error, TOOL_EXIT_NO_STORE, "the image is blank");
    }
    g_propagate_error(error, g_steal_pointer(&err));
    return false;
}

/* What has no label does not open; why is found out by trying. */
static bool coroutine_fn open_label(Tool *tool, ToolStore *opened,
                                    GError **error)
{
    return blob_store_read_label(&opened->medium.parent, &opened->label,
                                 error) &&
           (!opened->label.blank ||
            open_store(tool, TOOL_READ, opened, error));
}

/* Not every driver keeps the tool away from a VM that runs. */
static bool check_closed(const Tool *tool, const ToolStore *opened,
                         GError **error)
{
    BlobStoreStatus info;

    blob_store_get_status(opened->store, &info);
    return info.clean || info.blank || tool->take_over ||
           tool_fail(error, TOOL_EXIT_IN_USE, "store was not closed: a VM "
                     "uses it, or did not end properly; if none uses it, "
                     "repeat the command with --take-over");
}

bool coroutine_fn tool_open(Tool *tool, const ToolImage *image,
                            ToolAccess access, ToolStore *opened,
                            GError **error)
{
    BlobStoreStatus info;

    opened->name = image->name;
    if (!open_image(image, access, opened, error)) {
        return false;
    }
    if (access == TOOL_LABEL) {
        return open_label(tool, opened, error);
    }
    if (access == TOOL_MAKE && !check_no_store(opened, error)) {
        return false;
    }
    if (!open_store(tool, access, opened, error) ||
        (access >= TOOL_WRITE && !check_closed(tool, opened, error))) {
        return false;
    }
    blob_store_get_status(opened->store, &info);
    memcpy(opened->uuid, info.uuid, sizeof(opened->uuid));
    return true;
}

bool coroutine_fn tool_check_space(ToolStore *opened, uint64_t bytes,
                                   GError **error)
{
    BlobStorage *storage = &opened->medium.parent;
    uint64_t length;

    if (!storage->ops->length(storage, &length, error)) {
        return false;
    }
    return length >= bytes ||
           tool_fail(error, TOOL_EXIT_ERROR, "the image is too small: %" PRIu64
                     " bytes are needed, it has %" PRIu64, bytes, length);
}

bool coroutine_fn tool_open_blank(Tool *tool, const ToolImage *image,
                                  const BlobStoreOptions *options,
                                  ToolStore *opened, GError **error)
{
    Opening opening = { .tool = tool, .opened = opened };
    BlobStoreOptions more = *options;
    g_autoptr(GError) err = NULL;

    more.fence = true;
    more.make = options->key ? NULL : make;
    more.opaque = &opening;
    opened->name = image->name;
    if (!open_image(image, TOOL_WRITE, opened, error) ||
        !check_no_store(opened, error)) {
        return false;
    }
    opened->store = blob_store_open(&opened->medium.parent, &more, &err);
    if (g_error_matches(err, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN)) {
        /* No store is looked for there, but nothing. */
        return tool_fail(error, TOOL_EXIT_ERROR, "%s", err->message);
    }
    if (err) {
        g_propagate_error(error, g_steal_pointer(&err));
    }
    return opened->store;
}

bool coroutine_fn tool_finish(ToolStore *opened, GError **error)
{
    return blob_store_close_clean(opened->store, error);
}

/* What has failed may have begun an epoch; the next user need not wonder. */
static void coroutine_fn leave_at_rest(BlobStore *store)
{
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    if (info.started && !info.clean) {
        blob_store_close_clean(store, NULL);
    }
}

void coroutine_fn tool_close(ToolStore *opened)
{
    const char *const *warnings = opened->store
                                  ? blob_store_warnings(opened->store) : NULL;

    for (; warnings && *warnings; warnings++) {
        warn_report("%s: %s", opened->name, *warnings);
    }
    if (opened->store) {
        leave_at_rest(opened->store);
    }
    blob_store_free(opened->store);
    blob_key_unref(opened->data_key);
    if (opened->blk) {
        blk_dec_in_flight(opened->blk);
        blk_co_unref(opened->blk);
    }
}
