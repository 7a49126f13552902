/*
 * Blobstore core: zeroing old content
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
 * Zeroes about @bytes of the medium that hold nothing current, durably, from
 * store->wiped on, and moves store->wiped behind them; *@done becomes whether
 * that is the end of the medium, which may lie above the capacity.  First an
 * epoch record is made of the current versions.
 *
 * The store takes commits between two calls.  They write under the present
 * guard only, so no content from before the conversion appears again below
 * store->wiped.  Each call looks up what is current above it.
 *
 * After a failure the call may be repeated, and the next commit begins with a
 * new epoch.  Errors: IO, FULL, EXHAUSTED, BUSY, RANDOM.
 */
bool blob_wipe_next(BlobStore *store, uint64_t bytes, bool *done,
                    GError **error);

#endif /* BLOBSTORE_WIPE_H */
