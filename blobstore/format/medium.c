/*
 * Blobstore core: reading, writing and flushing the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "medium.h"

#include <stdlib.h>
#include "layout.h"

void *blob_medium_alloc(size_t bytes)
{
    void *buf = NULL;

    if (posix_memalign(&buf, BLOB_BLOCK_BYTES, bytes)) {
        g_error("blobstore: out of memory (%zu bytes)", bytes);
    }
    return buf;
}

bool blob_medium_read(BlobMedium *medium, uint64_t offset, void *buf,
                      size_t bytes, GError **error)
{
    return medium->storage->ops->read(medium->storage, offset, buf, bytes,
                                      error);
}

bool blob_medium_write(BlobMedium *medium, uint64_t offset, const void *buf,
                       size_t bytes, bool durable, GError **error)
{
    if (!medium->storage->ops->write(medium->storage, offset, buf, bytes,
                                     durable, error)) {
        medium->write_errors++;
        medium->unsettled = true;
        return false;
    }
    medium->bytes_written += bytes;
    return true;
}

bool blob_medium_flush(BlobMedium *medium, GError **error)
{
    medium->unsettled = !medium->storage->ops->flush(medium->storage, error);
    medium->write_errors += medium->unsettled;
    return !medium->unsettled;
}

bool blob_medium_drop_cache(BlobMedium *medium, bool *dropped, GError **error)
{
    const BlobStorageOps *ops = medium->storage->ops;

    *dropped = false;
    if (medium->fresh || !ops->drop_cache) {
        return true;
    }
    if (!ops->drop_cache(medium->storage, error)) {
        return false;
    }
    medium->fresh = true;
    *dropped = true;
    return true;
}

bool blob_medium_give_back(BlobMedium *medium, uint64_t offset,
                           uint64_t bytes, GError **error)
{
    const BlobStorageOps *ops = medium->storage->ops;

    if (!ops->give_back ||
        ops->give_back(medium->storage, offset, bytes, error)) {
        return true;
    }
    medium->write_errors++;
    medium->unsettled = true;
    return false;
}
