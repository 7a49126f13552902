/*
 * Blobstore core: what a caller expects of the store that it wants
 *
 * Nothing in an image can tell that all of it is older, or another's; only
 * somebody outside who remembers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_EXPECT_H
#define BLOBSTORE_EXPECT_H

#include "store-private.h"

/* Errors: KEY, ROLLED_BACK. */
bool blob_expect_blank(const BlobStoreOptions *options, GError **error);

/* That the store has the wanted key commitment.  Errors: KEY. */
bool blob_expect_key(const BlobStore *store, GError **error);

/*
 * That @store, whose current versions have been decided, is at the wanted
 * sequence or has gone on from there.  Errors: ROLLED_BACK.
 */
bool blob_expect_sequence(const BlobStore *store, GError **error);

#endif /* BLOBSTORE_EXPECT_H */
