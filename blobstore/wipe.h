/*
 * Blobstore core: zeroing what is not needed any more
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_WIPE_H
#define BLOBSTORE_WIPE_H

#include "store-private.h"

/* S8: notes that what the deleted @blob held is to go. */
void blob_wipe_later(BlobStore *store, Blob *blob);

/*
 * Wipes what was noted, durably, after an epoch record.  A failure makes the
 * next commit begin with a new epoch, so that nothing of it can land on that.
 * Errors: IO, FULL, EXHAUSTED, BUSY, RANDOM.
 */
bool blob_wipe_pending(BlobStore *store, GError **error);

/*
 * Zeroes everything on the medium that belongs to the store and is not
 * current, durably.  What is current must be on record.  Errors: IO.
 */
bool blob_wipe_all(BlobStore *store, GError **error);

#endif /* BLOBSTORE_WIPE_H */
