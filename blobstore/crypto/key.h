/*
 * Blobstore core: the data key of a sealed store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_KEY_H
#define BLOBSTORE_KEY_H

#include <stdbool.h>
#include "digest.h"
#include "seal.h"
#include "secret.h"

enum {
    BLOB_KEY_BYTES = 32,
    BLOB_KEY_COMMITMENT_BYTES = 32,
    BLOB_KEY_UUID_BYTES = 16,
};

/*
 * 256 random bits in secure memory, from which all keys of one store are
 * derived.  Reference-counted; used by one thread at a time.
 */
typedef struct BlobKey BlobKey;

/* A new random key, of one reference.  Errors: RANDOM, NO_SECURE_MEMORY. */
BlobKey *blob_key_new(GError **error);

/* The key of these bytes, of one reference.  Errors: NO_SECURE_MEMORY. */
BlobKey *blob_key_new_from_bytes(const uint8_t bytes[BLOB_KEY_BYTES],
                                 GError **error);

/* Adds a reference and returns @key, which must not be NULL. */
BlobKey *blob_key_ref(BlobKey *key);

/* Gives back a reference; with the last one @key is wiped.  NULL is allowed. */
void blob_key_unref(BlobKey *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobKey, blob_key_unref)

/* The BLOB_KEY_BYTES of @key, in secure memory; valid as long as @key */
const uint8_t *blob_key_bytes(const BlobKey *key);

/* Whether both are the same key; takes the same time wherever they differ */
bool blob_key_equal(const BlobKey *a, const BlobKey *b);

/* The purposes of derived keys */
typedef enum BlobKeyPurpose {
    BLOB_KEY_FOR_CHECKS,        /* seed of check values and census */
    BLOB_KEY_FOR_CENSUS_MASKS,  /* seed of what hides a census */
    BLOB_KEY_FOR_PAYLOADS,
    BLOB_KEY_FOR_SUPERBLOCK,    /* seed of its keyed check */
    BLOB_KEY_FOR_PREVIOUS_KEY,  /* wraps that one while a store is rekeyed */
    BLOB_KEY_FOR_VOUCHERS,      /* seed of the vouchers of directories */
    BLOB_KEY_FOR_STREAM,        /* of a migration or snapshot */
} BlobKeyPurpose;

/*
 * Derives a key: HMAC-SHA256 (RFC 2104) of @purpose and @uuid, that of the
 * store, under the data key @key.  The caller frees the result.
 * Errors: NO_SECURE_MEMORY.
 */
BlobSecret *blob_key_derive(const BlobKey *key, BlobKeyPurpose purpose,
                            const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                            GError **error);

/* Check values under a derived key, to be freed.  The same errors. */
BlobDigest *blob_key_new_digest(const BlobKey *key, BlobKeyPurpose purpose,
                                const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                GError **error);

/* A cipher under a derived key, to be freed.  The same errors. */
BlobSeal *blob_key_new_seal(const BlobKey *key, BlobKeyPurpose purpose,
                            const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                            GError **error);

/*
 * Fills @out with a public value that no other key has, because AES-GCM-SIV
 * does not commit to its key.  It is the same HMAC, for a purpose of its own.
 */
void blob_key_commit(const BlobKey *key,
                     const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                     uint8_t out[BLOB_KEY_COMMITMENT_BYTES]);

#endif /* BLOBSTORE_KEY_H */
