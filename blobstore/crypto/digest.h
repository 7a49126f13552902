/*
 * Blobstore core: digests and check values
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_DIGEST_H
#define BLOBSTORE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>
#include "blobstore/error.h"

enum {
    BLOB_DIGEST_BYTES = 32,
    BLOB_SEED_BYTES = 32,
    BLOB_CENSUS_BYTES = 16,
};

/*
 * Check values are seeded with a secret of the store, so that content that
 * a guest chooses cannot imitate a header.  One BlobDigest belongs to one
 * store and is used by one thread at a time.
 */
typedef struct BlobDigest BlobDigest;

/*
 * Prepares libgcrypt, also where a bigger program has begun to, and its
 * secure memory.  Idempotent.
 */
void blob_digest_init(void);

/*
 * Check values under @seed, or under the all-zero seed if it is NULL (the
 * superblock, which is read before any seed is known).
 */
BlobDigest *blob_digest_new(const uint8_t *seed);

/*
 * The same in secure memory, for a seed that is derived from a key.
 * Errors: NO_SECURE_MEMORY.
 */
BlobDigest *blob_digest_new_secret(const uint8_t seed[BLOB_SEED_BYTES],
                                   GError **error);

/* Frees it, with its seed; NULL is allowed. */
void blob_digest_free(BlobDigest *digest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobDigest, blob_digest_free)

/* HMAC-SHA256 (RFC 2104) of @data, keyed with the seed. */
void blob_digest_check(BlobDigest *digest, const void *data, size_t bytes,
                       uint8_t out[BLOB_DIGEST_BYTES]);

/*
 * Folds (@id, @sequence) into, or out of, a census: a multiset hash, the XOR
 * of the first 16 bytes of SHA-256(seed || id || sequence).  A @sequence of 0,
 * a blob never written, is no member and changes nothing.
 */
void blob_digest_census(BlobDigest *digest, uint64_t id, uint64_t sequence,
                        uint8_t census[BLOB_CENSUS_BYTES]);

/* SHA-256 (FIPS 180-4) */
void blob_digest_sha256(const void *data, size_t bytes,
                        uint8_t out[BLOB_DIGEST_BYTES]);
/* The SHA-256 of @a followed by @b */
void blob_digest_sha256_of_two(const void *a, size_t a_bytes, const void *b,
                               size_t b_bytes,
                               uint8_t out[BLOB_DIGEST_BYTES]);

/* Returns @count bytes in hexadecimal, to be freed with g_free(). */
char *blob_digest_to_hex(const uint8_t *bytes, size_t count);

/* Whether they are equal; takes the same time wherever they differ. */
bool blob_digest_equal(const void *a, const void *b, size_t bytes);

/*
 * Bytes that nobody can foresee: ids, seeds, keys, nonces.  From the kernel,
 * so that neither a fork nor a snapshot of the machine repeats them.
 * Errors: RANDOM; then @buf is of no use.
 */
bool blob_digest_random(void *buf, size_t bytes, GError **error);

#endif /* BLOBSTORE_DIGEST_H */
