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
 * Zeroes, durably, what is not current on the medium, from store->wiped on and
 * about @bytes of it, and moves store->wiped to where it has come; at the end
 * that is store->capacity.  What is current is recorded first.
 *
 * Commits may come between two calls.  They write under the present guard
 * only, so below store->wiped nothing from before the conversion appears
 * again; and what is current above it is looked up by each call.
 *
 * After a failure the call may be repeated, and the next commit begins with a
 * new epoch.  Errors: IO, FULL, EXHAUSTED, BUSY, RANDOM.
 */
bool blob_wipe_next(BlobStore *store, uint64_t bytes, GError **error);

#endif /* BLOBSTORE_WIPE_H */
