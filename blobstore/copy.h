/*
 * Blobstore core: a whole store, copied to a blank medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_COPY_H
#define BLOBSTORE_COPY_H

#include "store.h"

/* The size in bytes that the medium of a copy of @source must have */
uint64_t blob_store_copy_bytes(const BlobStore *source);

/*
 * Makes @target a store with all blobs of @source that have content: the same
 * content, metadata, kinds, maximum sizes and sequences.  @target is open on a
 * blank medium and not started.  @source is open, and is not
 * changed; it may be read-only, and other processes may use its medium.
 *
 * The options that @target was opened with say what it becomes:
 * - With the UUID of @source it is the same store, whose epochs go on from
 *   those of @source.  Else it is another one, without an epoch history.
 * - With the data key of @source and its key slots, the same secrets open it.
 *   Any other key, or none, guards it anew; its medium never holds anything
 *   under the guard of @source.
 *
 * Nothing is on the medium that opens as a store before the last step, a
 * directory, which is written at once or not at all: a copy that fails or is
 * cut short leaves a medium that blob_store_open() refuses (CORRUPT, FOREIGN
 * or KEY) or, if nothing has been written yet, a blank one.  Durable on
 * return, and @target is started and closed cleanly.  After a failure @target
 * may only be freed.
 *
 * Errors: IO, BLANK (@source is), EXISTS (@target has a store), FOREIGN (or
 * what the creation of a store has left there), DAMAGED (a blob of @source),
 * READ_ONLY (@source is being converted, or @target is read-only), TOO_SMALL,
 * TAKEN (@source was written to meanwhile), STALE, FULL, EXHAUSTED, BUSY,
 * RANDOM, NO_SECURE_MEMORY.  With DAMAGED, READ_ONLY, TOO_SMALL, BLANK, EXISTS
 * and FOREIGN nothing has been written.
 */
bool blob_store_copy(BlobStore *source, BlobStore *target, GError **error);

#endif /* BLOBSTORE_COPY_H */
