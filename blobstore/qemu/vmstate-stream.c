/*
 * Blobstore in QEMU: what both sections of a store in a stream need
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "vmstate.h"
#include "trace.h"

static gint compare_blobs(gconstpointer a, gconstpointer b)
{
    const BlobStoreBlob *x = *(BlobStoreBlob *const *)a;
    const BlobStoreBlob *y = *(BlobStoreBlob *const *)b;

    return strcmp(x->client->owner, y->client->owner) ?:
           strcmp(x->name, y->name);
}

GPtrArray *blobstore_stream_sorted_blobs(BlobStoreObject *store)
{
    GPtrArray *blobs = g_ptr_array_new();
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            g_ptr_array_add(blobs, blob);
        }
    }
    g_ptr_array_sort(blobs, compare_blobs);
    return blobs;
}

bool blobstore_stream_is_name(const uint8_t name[STREAM_NAME_BYTES])
{
    return memchr(name, 0, STREAM_NAME_BYTES) &&
           blob_name_is_valid(blobstore_stream_name(name));
}

const char *blobstore_stream_name(const uint8_t name[STREAM_NAME_BYTES])
{
    return (const char *)name;
}

void blobstore_stream_set_name(uint8_t name[STREAM_NAME_BYTES],
                               const char *from)
{
    pstrcpy((char *)name, STREAM_NAME_BYTES, from);
}

int blobstore_stream_fail_load(BlobStoreObject *store, Error *err)
{
    error_prepend(&err, "blobstore '%s': ", store->id);
    trace_blobstore_load_failed(store->id, error_get_pretty(err));
    error_report_err(err);
    return -EINVAL;
}
