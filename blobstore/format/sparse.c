/*
 * Blobstore core: reading what may be full of holes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "sparse.h"

enum {
    PIECE_BYTES = 256 * BLOB_BLOCK_BYTES,
    /* Counting holes: shorter payloads are not worth it, nor finer steps. */
    COUNTED_BYTES = 1 << 20,
    STEP_BYTES = 16 * BLOB_BLOCK_BYTES,
};

BlobSparse blob_sparse_new(BlobMedium *medium, uint64_t start, uint64_t end)
{
    return (BlobSparse) {
        .medium = medium,
        .at = start,
        .end = end,
    };
}

void blob_sparse_clear(BlobSparse *sparse)
{
    g_clear_pointer(&sparse->buf, g_free);
}

uint64_t blob_sparse_hole(BlobMedium *medium, uint64_t at, uint64_t end)
{
    const BlobStorageOps *ops = medium->storage->ops;
    uint64_t known = 0;

    if (ops->known_zero && at < end) {
        known = ops->known_zero(medium->storage, at, end - at);
    }
    return known >= end - at ? end - at
                             : known / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES;
}

bool blob_sparse_is_hole(BlobMedium *medium, uint64_t offset, uint64_t bytes)
{
    return blob_sparse_hole(medium, offset, offset + bytes) == bytes;
}

/*
 * A hole is looked for in small steps at first, and never in large ones: so
 * what is read in vain stays in proportion to what is not.
 */
size_t blob_sparse_piece(BlobMedium *medium, uint64_t at, uint64_t end)
{
    uint64_t most = MIN(end - at, PIECE_BYTES);
    uint64_t bytes = BLOB_BLOCK_BYTES;

    if (!medium->storage->ops->known_zero) {
        return most;
    }
    while (bytes < most && !blob_sparse_hole(medium, at + bytes, end)) {
        bytes += MIN(bytes, STEP_BYTES);
    }
    return MIN(bytes, most);
}

bool blob_sparse_next(BlobSparse *sparse, uint64_t *offset, size_t *bytes,
                      GError **error)
{
    sparse->at += blob_sparse_hole(sparse->medium, sparse->at, sparse->end);
    *offset = sparse->at;
    *bytes = 0;
    if (sparse->at == sparse->end) {
        return true;
    }
    *bytes = blob_sparse_piece(sparse->medium, sparse->at, sparse->end);
    if (!sparse->buf) {
        sparse->buf = blob_medium_alloc(MIN(sparse->end - sparse->at,
                                            PIECE_BYTES));
    }
    if (!blob_medium_read(sparse->medium, *offset, sparse->buf, *bytes,
                          error)) {
        return false;
    }
    sparse->at += *bytes;
    return true;
}

bool blob_sparse_charge(BlobMedium *medium, uint64_t offset, uint64_t bytes,
                        GError **error)
{
    uint64_t end = offset + bytes;

    for (uint64_t at = offset; bytes >= COUNTED_BYTES && at < end; ) {
        uint64_t known = blob_sparse_hole(medium, at, end);

        medium->hollow += known;
        at += known ? known : STEP_BYTES;
    }
    if (medium->hollow > BLOB_HOLLOW_MAX_BYTES) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED,
                    "store holds more than %" G_GUINT64_FORMAT " bytes of "
                    "content in holes of the image, and was not closed "
                    "cleanly: copy the image to one without holes first",
                    BLOB_HOLLOW_MAX_BYTES);
        return false;
    }
    return true;
}
