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
#include "trace.h"

BlobStoreVersion *blobstore_version_new(GBytes *content,
                                        const char *const *metadata)
{
    static const char *const none[] = { NULL };
    BlobStoreVersion *version = g_atomic_rc_box_new0(BlobStoreVersion);

    version->content = content ? g_bytes_ref(content) : NULL;
    version->metadata = g_strdupv((char **)(content && metadata ? metadata
                                                                : none));
    return version;
}

BlobStoreVersion *blobstore_version_ref(BlobStoreVersion *version)
{
    return g_atomic_rc_box_acquire(version);
}

static void free_version(gpointer data)
{
    BlobStoreVersion *version = data;

    g_clear_pointer(&version->content, g_bytes_unref);
    g_strfreev(version->metadata);
}

void blobstore_version_unref(BlobStoreVersion *version)
{
    if (version) {
        g_atomic_rc_box_release_full(version, free_version);
    }
}

bool blobstore_version_equal(const BlobStoreVersion *a,
                             const BlobStoreVersion *b)
{
    if (!a->content || !b->content) {
        return a->content == b->content;
    }
    return g_bytes_equal(a->content, b->content) &&
           g_strv_equal((const char *const *)a->metadata,
                        (const char *const *)b->metadata);
}

BlobStoreVersion *blobstore_version_latest(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    return blobstore_version_ref(blob->staged ?: blob->acknowledged);
}

BlobStoreVersion *blobstore_version_staged(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    return blob->staged ? blobstore_version_ref(blob->staged) : NULL;
}

BlobStoreVersion *blobstore_version_acknowledged(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    return blobstore_version_ref(blob->acknowledged);
}

/* Takes over the reference to @version.  The lock is held. */
static void set_staged(BlobStoreBlob *blob, BlobStoreVersion *version)
{
    BlobStoreObject *store = blob->client->store;

    if (version && !blob->staged) {
        QTAILQ_INSERT_TAIL(&store->staged, blob, next_staged);
    } else if (!version && blob->staged) {
        QTAILQ_REMOVE(&store->staged, blob, next_staged);
    }
    blobstore_version_unref(blob->staged);
    blob->staged = version;
}

/* A version staged after @version was taken stays. */
void blobstore_version_acknowledge(BlobStoreBlob *blob,
                                   BlobStoreVersion *version)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    blobstore_version_ref(version);
    blobstore_version_unref(blob->acknowledged);
    blob->acknowledged = version;
    if (blob->staged == version) {
        set_staged(blob, NULL);
    }
}

void blobstore_version_stage(BlobStoreBlob *blob, BlobStoreVersion *version,
                             const char *reason)
{
    BlobStoreClient *client = blob->client;

    QEMU_LOCK_GUARD(&client->store->versions_lock);

    trace_blobstore_stage(client->store->id, client->owner, blob->name,
                          reason);
    set_staged(blob, blobstore_version_ref(version));
}

void blobstore_version_replace(BlobStoreBlob *blob, BlobStoreVersion *version)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    blobstore_version_ref(version);
    blobstore_version_unref(blob->acknowledged);
    blob->acknowledged = version;
    set_staged(blob, NULL);
    blob->rewrite = false;
}

void blobstore_version_keep(BlobStoreBlob *blob, BlobStoreCopy *copy)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    *copy = (BlobStoreCopy) {
        .blob = blob,
        .acknowledged = blobstore_version_ref(blob->acknowledged),
        .staged = blob->staged ? blobstore_version_ref(blob->staged) : NULL,
        .rewrite = blob->rewrite,
    };
}

void blobstore_version_put_back(const BlobStoreCopy *copy)
{
    blobstore_version_replace(copy->blob, copy->acknowledged);
    if (copy->staged) {
        blobstore_version_stage(copy->blob, copy->staged,
                                "it could not be replaced");
    }
    copy->blob->rewrite = copy->rewrite;
}

void blobstore_version_clear_copy(BlobStoreCopy *copy)
{
    blobstore_version_unref(copy->acknowledged);
    blobstore_version_unref(copy->staged);
}

void blobstore_version_drop(BlobStoreBlob *blob)
{
    QEMU_LOCK_GUARD(&blob->client->store->versions_lock);

    set_staged(blob, NULL);
    g_clear_pointer(&blob->acknowledged, blobstore_version_unref);
}

bool blobstore_version_is_dirty(BlobStoreObject *store)
{
    QEMU_LOCK_GUARD(&store->versions_lock);

    return !QTAILQ_EMPTY(&store->staged);
}

size_t blobstore_version_list_staged(BlobStoreObject *store,
                                     BlobStoreBlob **blobs, size_t room)
{
    BlobStoreBlob *blob;
    size_t count = 0;

    QEMU_LOCK_GUARD(&store->versions_lock);

    QTAILQ_FOREACH(blob, &store->staged, next_staged) {
        if (count == room) {
            break;
        }
        blobs[count++] = blob;
    }
    return count;
}
