/*
 * Blobstore core: the medium, with what was done to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_MEDIUM_H
#define BLOBSTORE_MEDIUM_H

#include "blobstore/storage.h"

/* A medium, and counts of what was done to it */
typedef struct BlobMedium {
    BlobStorage *storage;       /* borrowed */
    uint64_t bytes_written;
    uint64_t write_errors;
    bool unsettled;             /* a failed write may still land */
    bool fresh;                 /* reads come from the medium itself */
    uint64_t hollow;            /* bytes: see blob_sparse_charge() */
} BlobMedium;

/* Reads @bytes at @offset into @buf, which is aligned.  Errors: IO. */
bool blob_medium_read(BlobMedium *medium, uint64_t offset, void *buf,
                      size_t bytes, GError **error);

/*
 * Writes @bytes from @buf, which is aligned, to @offset, and counts them.  If
 * @durable, they are as safe on return as after a flush.  Errors: IO; the
 * write may still land then, until a flush succeeds.
 */
bool blob_medium_write(BlobMedium *medium, uint64_t offset, const void *buf,
                       size_t bytes, bool durable, GError **error);

/* Makes all writes durable, and settles those that failed.  Errors: IO. */
bool blob_medium_flush(BlobMedium *medium, GError **error);

/*
 * Makes later reads come from the medium, not from a cache that may show what
 * never got there.  *@dropped becomes whether earlier reads are to be
 * repeated: they need not if this was done before, or if there is no cache.
 * Errors: IO.
 */
bool blob_medium_drop_cache(BlobMedium *medium, bool *dropped, GError **error);

/*
 * Lets the medium take back the space of @bytes at @offset, which nothing
 * refers to.  What had to be overwritten there is durable.  Errors: IO.
 */
bool blob_medium_give_back(BlobMedium *medium, uint64_t offset,
                           uint64_t bytes, GError **error);

/* Bytes of any value, aligned for O_DIRECT; g_free() them. */
void *blob_medium_alloc(size_t bytes);

#endif /* BLOBSTORE_MEDIUM_H */
