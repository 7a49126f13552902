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

void blobstore_stream_put_metadata(GByteArray *to, char **metadata)
{
    for (; *metadata; metadata++) {
        g_byte_array_append(to, (uint8_t *)*metadata, strlen(*metadata) + 1);
    }
}

char **blobstore_stream_get_metadata(const uint8_t *data, uint32_t bytes)
{
    g_autoptr(GPtrArray) metadata = g_ptr_array_new_with_free_func(g_free);
    uint32_t at = 0;

    if (bytes && data[bytes - 1]) {
        return NULL;
    }
    while (at < bytes) {
        const char *text = (const char *)data + at;

        g_ptr_array_add(metadata, g_strdup(text));
        at += strlen(text) + 1;
    }
    g_ptr_array_add(metadata, NULL);
    if (!blob_metadata_is_valid((const char *const *)metadata->pdata)) {
        return NULL;
    }
    return (char **)g_ptr_array_steal(metadata, NULL);
}

int blobstore_stream_fail_load(BlobStoreObject *store, Error *err)
{
    error_prepend(&err, "blobstore '%s': ", store->id);
    trace_blobstore_load_failed(store->id, error_get_pretty(err));
    error_report_err(err);
    return -EINVAL;
}
