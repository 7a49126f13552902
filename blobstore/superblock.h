/*
 * Blobstore core: the superblock on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SUPERBLOCK_H
#define BLOBSTORE_SUPERBLOCK_H

#include "store-private.h"

/* Where it is; nothing has been read yet. */
BlobPair blob_superblock_pair(void);

/*
 * Reads both copies, as blob_pair_read().  If both are damaged, but one of
 * them only in its key slots, that is what *@payload becomes, each key slot
 * from the copy in which it is intact; neither copy counts as intact then.
 */
bool blob_superblock_read(BlobMedium *medium, const BlobGuard *zero_guard,
                          BlobPair *pair, BlobHeader *header,
                          GBytes **payload, GError **error);

/*
 * Fills @super from @payload, which has to belong to its header.
 * Errors: UNSUPPORTED, CORRUPT.
 */
bool blob_superblock_decode(const BlobHeader *header, GBytes *payload,
                            BlobSuperblock *super, GError **error);

/*
 * Writes store->super as it is, to both slots.  Its key slots hold store->key.
 * Errors: IO, NO_SECURE_MEMORY.
 */
bool blob_superblock_write(BlobStore *store, GError **error);

/*
 * Makes @wanted, whose key slots hold @key (NULL: none), the superblock under
 * the next generation.  On failure the store has its former one, but what the
 * medium has is not known until this, or the next start, succeeds.
 * Errors: IO, NO_SECURE_MEMORY.
 */
bool blob_superblock_change(BlobStore *store, const BlobSuperblock *wanted,
                            BlobKey *key, GError **error);

/*
 * Makes the number of the next change higher than whatever the medium has,
 * which must be a superblock of this store.  Errors: IO, UUID, UNSUPPORTED,
 * CORRUPT.
 */
bool blob_superblock_outnumber(BlobStore *store, GError **error);

/*
 * Makes both copies what the store believes them to be: rewrites a damaged or
 * an older one, or both after a change that failed.
 * Errors: IO, CORRUPT, NO_SECURE_MEMORY.
 */
bool blob_superblock_heal(BlobStore *store, GError **error);

#endif /* BLOBSTORE_SUPERBLOCK_H */
