/*
 * Digests that are computed once, and chance that can be repeated
 *
 * The linker puts these in place of the functions of blobstore/digest.h and
 * seal.h (--wrap) in the explorer, which opens millions of images that differ
 * in a few sectors.  A digest is remembered with the bytes it was computed of,
 * and given out only for bytes that are equal to them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_MEMO_H
#define TESTS_CRASH_MEMO_H

#include "blobstore/crypto/digest.h"
#include "blobstore/crypto/seal.h"

/* What blob_digest_random() returns from now on depends on @seed only. */
void memo_begin_random(uint64_t seed);

/* What the linker calls the functions replaced, and those in their place */
BlobDigest *__real_blob_digest_new(const uint8_t *seed);
BlobDigest *__wrap_blob_digest_new(const uint8_t *seed);
BlobDigest *__real_blob_digest_new_secret(const uint8_t *seed,
                                          GError **error);
BlobDigest *__wrap_blob_digest_new_secret(const uint8_t *seed,
                                          GError **error);
void __real_blob_digest_free(BlobDigest *digest);
void __wrap_blob_digest_free(BlobDigest *digest);
void __real_blob_digest_check(BlobDigest *digest, const void *data,
                              size_t bytes, uint8_t out[BLOB_DIGEST_BYTES]);
void __wrap_blob_digest_check(BlobDigest *digest, const void *data,
                              size_t bytes, uint8_t out[BLOB_DIGEST_BYTES]);
void __real_blob_digest_sha256(const void *data, size_t bytes,
                               uint8_t out[BLOB_DIGEST_BYTES]);
void __wrap_blob_digest_sha256(const void *data, size_t bytes,
                               uint8_t out[BLOB_DIGEST_BYTES]);
void __real_blob_digest_census(BlobDigest *digest, uint64_t id,
                               uint64_t sequence,
                               uint8_t census[BLOB_CENSUS_BYTES]);
void __wrap_blob_digest_census(BlobDigest *digest, uint64_t id,
                               uint64_t sequence,
                               uint8_t census[BLOB_CENSUS_BYTES]);
bool __wrap_blob_digest_random(void *buf, size_t bytes, GError **error);
BlobSeal *__real_blob_seal_new(const uint8_t *key, GError **error);
BlobSeal *__wrap_blob_seal_new(const uint8_t *key, GError **error);
void __real_blob_seal_free(BlobSeal *seal);
void __wrap_blob_seal_free(BlobSeal *seal);

#endif /* TESTS_CRASH_MEMO_H */
