/*
 * Blobstore in QEMU: the medium becomes smaller or larger while it is in use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "glue.h"
#include "trace.h"

static uint64_t used_end(BlobStore *core)
{
    uint64_t end = 0;

    for (size_t i = 0; i < blob_store_count(core); i++) {
        BlobInfo info;

        blob_get_info(blob_store_nth(core, i), &info);
        for (unsigned n = 0; n < info.slots; n++) {
            end = MAX(end, info.slot[n].offset + info.slot[n].length);
        }
    }
    return end;
}

/* Space that was cut off, and has been added again, reads as zero. */
static bool coroutine_fn rewrite_everything(BlobStoreObject *store,
                                            GError **error)
{
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    if (blobstore_drive_may_write(store) &&
        !blob_store_rewrite_heads(store->open.core, error)) {
        return false;
    }
    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            g_autoptr(BlobStoreVersion) latest = blobstore_version_latest(blob);

            if (blob->kind != BLOBSTORE_VOLATILE && client->started) {
                blob->rewrite = true;
                blobstore_version_stage(blob, latest,
                                        "the medium was too small");
            }
        }
    }
    /* This writes the directory; if it fails, the next write does. */
    if (blobstore_drive_may_write(store) &&
        !blobstore_state_is_lost(&store->open.state)) {
        blob_store_close_clean(store->open.core, NULL);
    }
    return true;
}

void coroutine_fn blobstore_resize_check(BlobStoreObject *store)
{
    int64_t length = blk_co_getlength(store->open.medium.blk);
    uint64_t needed;

    if (!store->open.core) {
        return;                 /* The start of the VM opens the core. */
    }
    needed = used_end(store->open.core);
    trace_blobstore_resize(store->id, length, needed);
    if (length < 0) {
        return;
    }
    if (length < needed) {
        g_autofree char *reason = g_strdup_printf(
            "drive '%s' was made smaller, to %" PRId64 " bytes; %" PRIu64
            " are in use: enlarge it again, device state is in RAM only",
            store->drive, length, needed);

        store->open.health.shrunk = true;
        blobstore_report_failure(store, reason);
    } else if (store->open.health.shrunk) {
        g_autoptr(GError) error = NULL;

        if (!rewrite_everything(store, &error)) {
            g_autofree char *reason = g_strdup_printf(
                "drive '%s' is large enough again, but %s: resize it once "
                "more, device state is in RAM only", store->drive,
                error->message);

            blobstore_report_failure(store, reason);
            return;
        }
        store->open.health.shrunk = false;
        store->open.health.write_failed = false;
        blobstore_report_failure(store, NULL);
    }
}
