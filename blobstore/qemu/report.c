/*
 * Blobstore in QEMU: telling the user what happened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int-common.h"
#include "qapi/error.h"
#include "qapi/qapi-events-blobstore.h"
#include "qemu/error-report.h"
#include "glue.h"
#include "trace.h"

/* How to give the image to a tool, for use inside single quotes */
static const char *image_name(BlobStoreObject *store)
{
    BlockDriverState *bs = blk_bs(store->open.medium.blk);

    return bs && *bs->filename ? bs->filename : "IMAGE";
}

static const char *image_format(BlobStoreObject *store)
{
    BlockDriverState *bs = blk_bs(store->open.medium.blk);

    return (bs ? bdrv_get_format_name(bs) : NULL) ?: "FORMAT";
}

static void hint_too_small(BlobStoreObject *store, Error **errp)
{
    if (store->open.health.shrunk) {
        error_append_hint(errp, "Do not shut down the VM: enlarge the drive "
                          "with the monitor command\n  block_resize %s %"
                          PRIu64 "B\n", store->drive,
                          blob_store_required_bytes(store->open.core));
    } else if (store->open.core) {
        error_append_hint(errp, "Shut down the VM and make the image "
                          "larger:\n  qemu-img resize -f %s '%s' %" PRIu64
                          "\n", image_format(store), image_name(store),
                          blob_store_required_bytes(store->open.core));
    } else {
        error_append_hint(errp, "The image was larger before: give it that "
                          "size back, or restore it from a backup.\n");
    }
}

static void hint_foreign(BlobStoreObject *store, Error **errp)
{
    BlockDriverState *bs = blk_bs(store->open.medium.blk);

    if (bs && bs->encrypted) {
        const char *format = image_format(store);

        error_append_hint(errp, "A new encrypted image reads as noise. If "
                          "nothing of value is in it, make it blank first:\n"
                          "  qemu-io --object secret,id=sec0,file=... -c "
                          "'write -z 0 %" PRIu64 "' --image-opts "
                          "'driver=%s,%skey-secret=sec0,file.filename=%s'\n",
                          (uint64_t)(bs->total_sectors * BDRV_SECTOR_SIZE),
                          format, strcmp(format, "luks") ? "encrypt." : "",
                          image_name(store));
    } else {
        error_append_hint(errp, "Nothing was written. Use another image; a "
                          "new one is made with:\n"
                          "  qemu-img create -f qcow2 NAME 4M\n");
    }
}

static void hint_blank(BlobStoreObject *store, Error **errp)
{
    if (store->props.create == BLOBSTORE_CREATE_NEVER) {
        error_append_hint(errp, "If it is, and the device shall begin with "
                          "empty state, leave out create=never.\n");
    } else if (!store->open.uuid) {
        error_append_hint(errp, "Nothing was written. If it is, and the device "
                          "shall begin with empty state:\n"
                          "  -object blobstore,id=bs,drive=%s,create=always "
                          "-device ...,blobstore=bs\n"
                          "Otherwise use another image; a new one is made "
                          "with:\n  qemu-img create -f qcow2 NAME 4M\n",
                          store->drive);
    }
}

/*
 * Until it is opened again, a file that could not be flushed once cannot be
 * flushed at all, except with O_DIRECT: see handle_aiocb_flush().
 */
static const char *flush_advice(BlobStoreObject *store)
{
    BlockDriverState *bs = blk_bs(store->open.medium.blk);

    if (!store->open.medium.last_may_be_flush ||
        (bs && bdrv_get_flags(bs) & BDRV_O_NOCACHE)) {
        return "";
    }
    return "If it was the flush that failed, trying again is only sure to "
           "work on a drive with cache.direct=on. Otherwise move the drive to "
           "storage that works, with drive-mirror, or restart the VM when "
           "this does.\n";
}

/* Whoever breaks the lock of a client of Ceph has to shut out that client. */
static const char *permission_advice(BlobStoreObject *store)
{
    if (store->open.medium.last_errno != EACCES) {
        return "";
    }
    return "To take over the lock of a client that has gone, a client of RBD "
           "needs the capability 'profile rbd':\n"
           "  ceph auth caps client.NAME mon 'profile rbd' "
           "osd 'profile rbd pool=POOL'\n";
}

void blobstore_report_flush_advice(BlobStoreObject *store)
{
    error_printf("%s", flush_advice(store));
}

static void hint_key(BlobStoreObject *store, Error **errp)
{
    if (!blobstore_keys_are_wanted(store)) {
        error_append_hint(errp, "Name the key in an object, and the object in "
                          "the device:\n"
                          "  -object secret,id=sec0,file=KEYFILE "
                          "-object blobstore,id=bs,drive=%s,"
                          "encrypt.type=passphrase,encrypt.key-secret=sec0 "
                          "-device ...,blobstore=bs\n", store->drive);
    } else if (store->open.uuid) {
        error_append_hint(errp, "Nothing was written.\n");
    } else {
        error_append_hint(errp, "Nothing was written. Check encrypt.* and "
                          "the image.\n");
    }
}

static void append_hint(BlobStoreObject *store, int code, Error **errp)
{
    switch (code) {
    case BLOBSTORE_ERROR_TOO_SMALL:
        hint_too_small(store, errp);
        break;
    case BLOBSTORE_ERROR_FOREIGN:
        hint_foreign(store, errp);
        break;
    case BLOBSTORE_ERROR_BLANK:
        hint_blank(store, errp);
        break;
    case BLOBSTORE_ERROR_UUID:
        error_append_hint(errp, "If it is, leave out uuid= or correct it.\n");
        break;
    case BLOBSTORE_ERROR_UNSUPPORTED:
        error_append_hint(errp, "Use a newer QEMU with this image.\n");
        break;
    case BLOBSTORE_ERROR_DAMAGED:
        error_append_hint(errp, "Restore the image from a backup or a "
                          "snapshot. QEMU does not go on with device state "
                          "that is older, or empty.\n");
        break;
    case BLOBSTORE_ERROR_KEY:
        hint_key(store, errp);
        break;
    case BLOBSTORE_ERROR_TOKEN:
        error_append_hint(errp, "Check that the token is there and its PIN is "
                          "right before you try again: tokens lock.\n");
        break;
    case BLOBSTORE_ERROR_TAMPERED:
        error_append_hint(errp, "Nothing was written, and nothing of it was "
                          "used.\n");
        break;
    case BLOBSTORE_ERROR_ROLLED_BACK:
        error_append_hint(errp, "If you have put back an older image yourself, "
                          "leave out min-sequence.* once: counters and lockout "
                          "of the device go back with it.\n");
        break;
    case BLOBSTORE_ERROR_TAKEN:
        error_append_hint(errp, "Nothing was written. If the other process "
                          "may lose what it has stored, end it, then set "
                          "fence=take-over for this store and let the VM "
                          "continue.\n");
        break;
    case BLOBSTORE_ERROR_NO_SECURE_MEMORY:
        error_append_hint(errp, "Allow QEMU more locked memory (ulimit -l).\n");
        break;
    case BLOBSTORE_ERROR_IO:
        error_append_hint(errp, "Check the storage of drive '%s', then try "
                          "again.\n%s%s", store->drive, flush_advice(store),
                          permission_advice(store));
        break;
    default:
        break;
    }
}

void blobstore_report_propagate(BlobStoreObject *store, GError *error,
                                Error **errp)
{
    ERRP_GUARD();

    trace_blobstore_error(store->id, error->message);
    if (strcmp(store->id, store->drive)) {
        error_setg(errp, "blobstore '%s' (drive '%s'): %s", store->id,
                   store->drive, error->message);
    } else {
        error_setg(errp, "blobstore '%s': %s", store->id, error->message);
    }
    append_hint(store, error->code, errp);
    g_error_free(error);
}

void blobstore_report_warnings(BlobStoreObject *store)
{
    const char *const *warnings = blob_store_warnings(store->open.core);
    unsigned count = g_strv_length((char **)warnings);

    for (unsigned i = store->open.health.warnings_shown; i < count; i++) {
        warn_report("blobstore '%s': %s", store->id, warnings[i]);
    }
    store->open.health.warnings_shown = count;
}

void blobstore_report_failure(BlobStoreObject *store, const char *reason)
{
    if (reason && g_strcmp0(reason, store->open.health.failure)) {
        error_report("blobstore '%s': %s", store->id, reason);
        qapi_event_send_blobstore_failed(store->id, store->drive, reason);
    }
    g_free(store->open.health.failure);
    store->open.health.failure = g_strdup(reason);
}

BlobstoreBlobName *blobstore_report_blob_name(const BlobStoreBlob *blob)
{
    BlobstoreBlobName *name = g_new0(BlobstoreBlobName, 1);

    name->owner = g_strdup(blob->client->owner);
    name->name = g_strdup(blob->name);
    return name;
}

void blobstore_report_error(BlobStoreObject *store,
                            BlobstoreBlobNameList *blobs,
                            const GError *error)
{
    bool is_io = g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO);

    qapi_event_send_blobstore_write_error(store->id, store->drive, blobs,
                                          is_io
                                          ? store->open.medium.last_operation
                                          : BLOBSTORE_OPERATION_CHECK,
                                          error->message);
    qapi_free_BlobstoreBlobNameList(blobs);
}

/* Blobs of which the medium did not hold what it should */
struct BlobStoreStale {
    BlobstoreFound found;
    BlobstoreBlobNameList *blobs;
};

static bool names_blob(const BlobstoreBlobNameList *list,
                       const BlobStoreBlob *blob)
{
    for (; list; list = list->next) {
        if (!strcmp(list->value->owner, blob->client->owner) &&
            !strcmp(list->value->name, blob->name)) {
            return true;
        }
    }
    return false;
}

void blobstore_report_add_stale(BlobStoreObject *store, BlobstoreFound found,
                                BlobStoreBlob *blob)
{
    if (!store->open.health.stale) {
        store->open.health.stale = g_new0(BlobStoreStale, 1);
        store->open.health.stale->found = found;
    } else if (found == BLOBSTORE_FOUND_DAMAGED) {
        store->open.health.stale->found = found;    /* the user should know */
    }
    if (!names_blob(store->open.health.stale->blobs, blob)) {
        QAPI_LIST_PREPEND(store->open.health.stale->blobs,
                          blobstore_report_blob_name(blob));
    }
}

static void free_stale(BlobStoreStale *stale)
{
    qapi_free_BlobstoreBlobNameList(stale->blobs);
    g_free(stale);
}

void blobstore_report_stale(BlobStoreObject *store)
{
    static const char *const was[] = {
        [BLOBSTORE_FOUND_BLANK] = "blank",
        [BLOBSTORE_FOUND_OLDER] = "older than the state of the VM",
        [BLOBSTORE_FOUND_NEWER] = "newer than the state of the VM",
        [BLOBSTORE_FOUND_DAMAGED] = "damaged",
    };
    BlobStoreStale *stale = g_steal_pointer(&store->open.health.stale);

    if (stale) {
        trace_blobstore_stale(store->id, BlobstoreFound_str(stale->found));
        warn_report("blobstore '%s': drive '%s' was %s; it has been brought up "
                    "to date", store->id, store->drive, was[stale->found]);
        qapi_event_send_blobstore_stale(store->id, store->drive,
                                        stale->found, stale->blobs);
        free_stale(stale);
    }
}

void blobstore_report_created(BlobStoreObject *store)
{
    g_autofree char *uuid = qemu_uuid_unparse_strdup(store->open.uuid);

    store->open.created = true;
    info_report("blobstore '%s': drive '%s' was blank: devices begin with "
                "empty state in a new store, with uuid %s", store->id,
                store->drive, uuid);
    qapi_event_send_blobstore_created(store->id, store->drive, uuid);
}

void blobstore_report_forget(BlobStoreObject *store)
{
    g_free(store->open.health.failure);
    g_clear_pointer(&store->open.health.stale, free_stale);
    store->open.health = (BlobStoreHealth) { 0 };
}
