/*
 * Blobstore core: whether this process still owns the store (R17)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_OWNER_H
#define BLOBSTORE_OWNER_H

#include "store-private.h"

/*
 * Whether @block begins copy @n of the directory as this process has read or
 * written it.
 */
bool blob_owner_knows(const BlobStore *store, unsigned n, const void *block);

/*
 * With BlobStoreOptions.fence, fails if either copy of the directory is another
 * process's: after a record, because that one may have begun the same epoch at
 * the same time, and before a repair.  Errors: IO, TAKEN.
 */
bool blob_owner_check_copies(BlobStore *store, GError **error);

#endif /* BLOBSTORE_OWNER_H */
