/*
 * Blobstore in QEMU: the copies of blobs in RAM
 *
 * Versions are immutable and reference-counted, so that a worker thread can
 * read one while the main thread puts another in its place.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "glue.h"
#include "blobstore/trace.h"

BlobVersion *blob_version_new(GBytes *content, const char *const *metadata)
{
    static const char *const none[] = { NULL };
    BlobVersion *version = g_atomic_rc_box_new0(BlobVersion);

    version->content = content ? g_bytes_ref(content) : NULL;
    version->metadata = g_strdupv((char **)(content && metadata ? metadata
                                                                : none));
    return version;
}

BlobVersion *blob_version_ref(BlobVersion *version)
{
    return g_atomic_rc_box_acquire(version);
}

static void free_version(gpointer data)
{
    BlobVersion *version = data;

    g_clear_pointer(&version->content, g_bytes_unref);
    g_strfreev(version->metadata);
}

void blob_version_unref(BlobVersion *version)
{
    if (version) {
        g_atomic_rc_box_release_full(version, free_version);
    }
}

bool blob_version_equal(const BlobVersion *a, const BlobVersion *b)
{
    if (!a->content || !b->content) {
        return a->content == b->content;
    }
    return g_bytes_equal(a->content, b->content) &&
           g_strv_equal((const char *const *)a->metadata,
                        (const char *const *)b->metadata);
}

BlobVersion *blobstore_latest_version(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    return blob_version_ref(blob->staged ?: blob->acknowledged);
}

BlobVersion *blobstore_staged_version(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    return blob->staged ? blob_version_ref(blob->staged) : NULL;
}

BlobVersion *blobstore_acknowledged_version(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    return blob_version_ref(blob->acknowledged);
}

/* A version staged after @version was taken stays. */
void blobstore_acknowledge(BlobStoreBlob *blob, BlobVersion *version)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    blob_version_ref(version);
    blob_version_unref(blob->acknowledged);
    blob->acknowledged = version;
    if (blob->staged == version) {
        blob_version_unref(blob->staged);
        blob->staged = NULL;
    }
}

void blobstore_stage(BlobStoreBlob *blob, BlobVersion *version,
                     const char *reason)
{
    BlobStoreClient *client = blob->client;

    QEMU_LOCK_GUARD(&client->store->versions_lock);

    trace_blobstore_stage(client->store->id, client->owner, blob->name,
                          reason);
    blob_version_ref(version);
    blob_version_unref(blob->staged);
    blob->staged = version;
}

void blobstore_replace(BlobStoreBlob *blob, BlobVersion *version)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    blob_version_ref(version);
    blob_version_unref(blob->acknowledged);
    blob_version_unref(blob->staged);
    blob->acknowledged = version;
    blob->staged = NULL;
    blob->rewrite = false;
}

void blobstore_keep(BlobStoreBlob *blob, BlobCopy *copy)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    *copy = (BlobCopy) {
        .blob = blob,
        .acknowledged = blob_version_ref(blob->acknowledged),
        .staged = blob->staged ? blob_version_ref(blob->staged) : NULL,
        .rewrite = blob->rewrite,
    };
}

void blobstore_put_back(const BlobCopy *copy)
{
    blobstore_replace(copy->blob, copy->acknowledged);
    if (copy->staged) {
        blobstore_stage(copy->blob, copy->staged, "it could not be replaced");
    }
    copy->blob->rewrite = copy->rewrite;
}

void blob_copy_clear(BlobCopy *copy)
{
    blob_version_unref(copy->acknowledged);
    blob_version_unref(copy->staged);
}

bool blobstore_is_dirty(BlobStoreObject *store)
{
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    QEMU_LOCK_GUARD(&store->versions_lock);

    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            if (blob->staged) {
                return true;
            }
        }
    }
    return false;
}
