/*
 * A store with the features that the histories leave out: packing, metadata,
 * odd names and lengths
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FORMAT_RICH_H
#define TESTS_FORMAT_RICH_H

#include "simdisk.h"
#include "blobstore/store.h"

enum {
    RICH_BLOBS = 4,
    RICH_DISK_BYTES = 96 * 4096,
    RICH_KEEP = -1,
    RICH_DELETE = -2,
};

/* rich_start() fills in what @options leaves zero. */
typedef struct Rich {
    SimDisk *disk;
    BlobStoreOptions options;
    uint64_t grown;             /* bytes that blob 2 may be larger */
    BlobStore *store;
    Blob *blobs[RICH_BLOBS];
} Rich;

/* Opens the store, after closing an open one.  Only the opening may fail. */
bool rich_open(Rich *rich, GError **error);

/* Registers the blobs and starts the store. */
void rich_start(Rich *rich);

/*
 * Writes all blobs in one commit, with so many bytes of content each, or
 * RICH_KEEP, or RICH_DELETE.  The content is compressible if @step is 1, else
 * hardly.
 */
void rich_write(Rich *rich, const int bytes[RICH_BLOBS], unsigned step);
void rich_close(Rich *rich);
void rich_clear(Rich *rich);

#endif /* TESTS_FORMAT_RICH_H */
