/*
 * Blobstore core: which bytes of the medium hold what
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_MAP_H
#define BLOBSTORE_MAP_H

#include "store.h"

typedef enum BlobRegionKind {
    BLOB_REGION_SUPERBLOCK,     /* one of its two slots */
    BLOB_REGION_DIRECTORY,      /* one of its two slots */
    BLOB_REGION_BLOB,           /* one of the two slots of a blob */
    BLOB_REGION_FREE,           /* of the store, and in no slot */
    BLOB_REGION_OUTSIDE,        /* of the medium, but not of the store */
} BlobRegionKind;

typedef struct BlobRegion {
    BlobRegionKind kind;
    uint64_t offset;            /* bytes */
    uint64_t bytes;             /* at least 1 */
    unsigned slot;              /* 0 or 1 */
    bool current;               /* the slot holds what counts */
    uint64_t used;              /* bytes of that, from @offset on */
    const Blob *blob;           /* NULL unless it is a slot of one */
} BlobRegion;

typedef void BlobMapReport(const BlobRegion *region, void *opaque);

/*
 * Calls @report with regions that cover the first @length bytes of the medium
 * of @store, in their order, without a gap.  A region is valid during the call.
 * Reads no medium: a slot holds what opening the store, and reading its blobs,
 * has found there.  A blank medium is free from end to end.
 */
void blob_store_map(const BlobStore *store, uint64_t length,
                    BlobMapReport *report, void *opaque);

#endif /* BLOBSTORE_MAP_H */
