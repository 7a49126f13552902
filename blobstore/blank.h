/*
 * Blobstore core: telling a blank medium from one that holds something else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_BLANK_H
#define BLOBSTORE_BLANK_H

#include "blobstore/format/slot.h"

/*
 * *@offset becomes the place of the first byte between @start and @end that
 * is not zero, or @end.  Returns false only if the storage fails.
 */
bool blob_blank_find_data(BlobMedium *medium, uint64_t start, uint64_t end,
                          uint64_t *offset, GError **error);

/*
 * What a medium of @bytes that is not blank seems to hold, from well-known
 * signatures: "an ext2/ext3/ext4 file system", or "unknown data".  Static.
 */
const char *blob_blank_describe(BlobMedium *medium, uint64_t bytes);

/*
 * R13: the first write of creating a store.  Its bytes are the same for every
 * store, so that what a power failure left of it can be told from anything
 * else.
 */
bool blob_blank_write_marker(BlobMedium *medium, const BlobGuard *zero_seed,
                             GError **error);

/*
 * Whether a medium of @bytes holds nothing but what a power failure left of
 * that write: some of its sectors, the rest zero, at most one block garbled.
 */
bool blob_blank_is_cut_marker(BlobMedium *medium, const BlobGuard *zero_seed,
                              uint64_t bytes, bool *is_cut, GError **error);

#endif /* BLOBSTORE_BLANK_H */
