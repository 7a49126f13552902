/*
 * Blobstore core: reading what may be full of holes
 *
 * What is read costs time.  So what the medium knows to be zero is not read,
 * and an image costs in proportion to what is allocated of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SPARSE_H
#define BLOBSTORE_SPARSE_H

#include "layout.h"
#include "medium.h"

/*
 * How many bytes of payloads that are known to be zero one opening verifies.
 * They are the only ones that cost the supplier of an image nothing.
 */
#define BLOB_HOLLOW_MAX_BYTES (UINT64_C(256) << 20)

/* Where reading is, between two calls of blob_sparse_next() */
typedef struct BlobSparse {
    BlobMedium *medium;
    uint64_t at;
    uint64_t end;
    uint8_t *buf;
} BlobSparse;

/* Begins to read from @start, which is a multiple of 512, to @end. */
BlobSparse blob_sparse_new(BlobMedium *medium, uint64_t start, uint64_t end);
void blob_sparse_clear(BlobSparse *sparse);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobSparse, blob_sparse_clear)

/*
 * Reads the next piece that is not known to be zero into sparse->buf: *@bytes
 * at *@offset, or 0 bytes at the end.  Pieces begin whole blocks behind @start.
 * Errors: IO.
 */
bool blob_sparse_next(BlobSparse *sparse, uint64_t *offset, size_t *bytes,
                      GError **error);

/* How much from @at on is known to be zero: whole blocks, or all up to @end */
uint64_t blob_sparse_hole(BlobMedium *medium, uint64_t at, uint64_t end);

/*
 * How much to read at once at @at, which is no hole and below @end: up to a
 * hole, or to what may be one
 */
size_t blob_sparse_piece(BlobMedium *medium, uint64_t at, uint64_t end);

/* Whether all @bytes at @offset are known to be zero */
bool blob_sparse_is_hole(BlobMedium *medium, uint64_t offset, uint64_t bytes);

/*
 * Notes that @bytes at @offset are about to be verified.  Errors: UNSUPPORTED
 * (more than BLOB_HOLLOW_MAX_BYTES of that, in all, is known to be zero).
 */
bool blob_sparse_charge(BlobMedium *medium, uint64_t offset, uint64_t bytes,
                        GError **error);

#endif /* BLOBSTORE_SPARSE_H */
