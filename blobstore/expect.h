/*
 * Blobstore core: what a caller expects of the store that it wants
 *
 * An image cannot show that all of it is older, or that it belongs to another
 * VM.  Only a caller who remembers what the store was like can find out.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_EXPECT_H
#define BLOBSTORE_EXPECT_H

#include "store-private.h"

/* Whether @options accept a blank medium.  Errors: KEY, ROLLED_BACK. */
bool blob_expect_blank(const BlobStoreOptions *options, GError **error);

/* Checks that the store has the expected key commitment.  Errors: KEY. */
bool blob_expect_key(const BlobStore *store, GError **error);

/*
 * Checks that @store, whose current versions have been decided, is at the
 * expected sequence or has continued from there.  Errors: ROLLED_BACK.
 */
bool blob_expect_sequence(const BlobStore *store, GError **error);

#endif /* BLOBSTORE_EXPECT_H */
