/*
 * Blobstore core: what guards the bytes of a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_GUARD_H
#define BLOBSTORE_GUARD_H

#include "key.h"

/*
 * The way in which headers are checked, and payloads digested or sealed.  A
 * guard belongs to one store; one thread at a time uses it.
 */
typedef struct BlobGuard {
    BlobDigest *digest;         /* check values and census */
    BlobSeal *seal;             /* NULL: payloads are plain */
    BlobDigest *mask;           /* hides censuses; NULL unless it seals */
    /* Zero unless it seals: */
    uint8_t uuid[BLOB_KEY_UUID_BYTES];  /* bound to sealed payloads */
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];
} BlobGuard;

/*
 * A guard with check values under @seed (BLOB_SEED_BYTES; NULL: zeros) and
 * plain payloads.  The caller frees it.
 */
BlobGuard *blob_guard_new_plain(const uint8_t *seed);

/*
 * A guard with keys derived from @key, to which it keeps no reference.  The
 * caller frees it.  Errors: NO_SECURE_MEMORY.
 */
BlobGuard *blob_guard_new_sealed(const BlobKey *key,
                                 const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                 GError **error);

/* Frees a guard; NULL is allowed. */
void blob_guard_free(BlobGuard *guard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobGuard, blob_guard_free)

#endif /* BLOBSTORE_GUARD_H */
