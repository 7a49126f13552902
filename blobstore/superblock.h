/*
 * Blobstore core: the superblock on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SUPERBLOCK_H
#define BLOBSTORE_SUPERBLOCK_H

#include "store-private.h"

/* A pair for reading the superblock: it has the places alone. */
BlobPair blob_superblock_pair(void);

/*
 * Reads both copies, as blob_pair_read().  If both are damaged, but one only
 * in its key slots, *@payload becomes that one, with each key slot from the
 * copy in which it is intact.  Neither copy counts as intact then.
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
 * the next generation, which names the present epoch.  The caller has called
 * blob_epoch_settle(), and records the new superblock (S5).  On failure the
 * store keeps its old superblock, but the medium may have either, until
 * blob_superblock_settle() succeeds.
 * Errors: IO, EXHAUSTED, NO_SECURE_MEMORY.
 */
bool blob_superblock_change(BlobStore *store, const BlobSuperblock *wanted,
                            BlobKey *key, GError **error);

/*
 * Makes the generation of the next change higher than that on the medium,
 * which must hold a superblock of this store.  Errors: IO, UUID, UNSUPPORTED,
 * CORRUPT.
 */
bool blob_superblock_outnumber(BlobStore *store, GError **error);

/*
 * If a change has failed, writes the superblock that the store has kept, under
 * the next generation.  Otherwise does nothing.
 * Errors: those of blob_superblock_change().
 */
bool blob_superblock_settle(BlobStore *store, GError **error);

/*
 * Makes both copies on the medium the superblock of the store, by rewriting a
 * damaged or older copy.  *@lost becomes whether that cannot be done because a
 * key slot is damaged in both: then it takes blob_superblock_change().
 * Errors: IO, STALE, CORRUPT.
 */
bool blob_superblock_heal(BlobStore *store, bool *lost, GError **error);

#endif /* BLOBSTORE_SUPERBLOCK_H */
