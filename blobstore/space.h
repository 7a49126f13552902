/*
 * Blobstore core: free space on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SPACE_H
#define BLOBSTORE_SPACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The free extents of a range of bytes, first fit */
typedef struct BlobSpace BlobSpace;

typedef struct BlobExtent {
    uint64_t start;
    uint64_t end;
} BlobExtent;

/* Bytes @start to @end, all of them free.  The caller frees the result. */
BlobSpace *blob_space_new(uint64_t start, uint64_t end);

/* Frees it; NULL is allowed. */
void blob_space_free(BlobSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobSpace, blob_space_free)
/* A copy, which the caller frees */
BlobSpace *blob_space_copy(const BlobSpace *space);

/*
 * Takes an extent that is known to be free.  This is fastest in ascending
 * order.
 */
void blob_space_take(BlobSpace *space, uint64_t offset, uint64_t bytes);

/*
 * Takes the first @bytes of the first free extent that is large enough;
 * *@offset becomes its place.  Returns false if no extent is large enough.
 */
bool blob_space_allocate(BlobSpace *space, uint64_t bytes, uint64_t *offset);

/* Gives back all of @extents, of BlobExtent, in any order; sorts them. */
void blob_space_release_all(BlobSpace *space, GArray *extents);

/* Gives back an extent that was taken. */
void blob_space_release(BlobSpace *space, uint64_t offset, uint64_t bytes);

/* Makes the range end at @end, which is not lower than now. */
void blob_space_extend(BlobSpace *space, uint64_t end);

/* Makes the range end at @end, above which nothing is taken. */
void blob_space_cut(BlobSpace *space, uint64_t end);

/* Free extent @n, in ascending order.  Returns false if there is none. */
bool blob_space_nth(const BlobSpace *space, size_t n, uint64_t *offset,
                    uint64_t *bytes);

/* The sum of the free extents, in bytes; takes constant time */
uint64_t blob_space_free_bytes(const BlobSpace *space);

/* The end of the last taken extent, in bytes */
uint64_t blob_space_used_end(const BlobSpace *space);

#endif /* BLOBSTORE_SPACE_H */
