/*
 * Blobstore core: what guards the bytes of a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_GUARD_H
#define BLOBSTORE_GUARD_H

#include "key.h"

/*
 * How headers are checked, and payloads digested or sealed.  One belongs to
 * one store and is used by one thread at a time.
 */
typedef struct BlobGuard {
    BlobDigest *digest;         /* check values and census */
    BlobSeal *seal;             /* NULL: payloads are plain */
    /* Zero unless it seals: */
    uint8_t uuid[BLOB_KEY_UUID_BYTES];  /* bound to what is sealed */
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];
} BlobGuard;

/* Check values under @seed, or the zero seed if it is NULL; plain payloads */
BlobGuard *blob_guard_new_plain(const uint8_t *seed);

/* Everything under keys derived from @key.  Errors: NO_SECURE_MEMORY. */
BlobGuard *blob_guard_new_sealed(const BlobKey *key,
                                 const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                 GError **error);
void blob_guard_free(BlobGuard *guard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobGuard, blob_guard_free)

#endif /* BLOBSTORE_GUARD_H */
