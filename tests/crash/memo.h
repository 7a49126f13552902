/*
 * Digests that are computed once, and random numbers that can be repeated
 *
 * In the explorer, which opens millions of images that differ in a few
 * sectors, the linker puts these in place of the functions of
 * blobstore/digest.h and seal.h (--wrap).  A digest is remembered with the
 * bytes it was computed of, and given out only for equal bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_MEMO_H
#define TESTS_CRASH_MEMO_H

#include "blobstore/crypto/digest.h"
#include "blobstore/crypto/seal.h"

/* From now on the results of blob_digest_random() depend on @seed only. */
void memo_begin_random(uint64_t seed);

/* The linker's names for the replaced functions, and for their replacements */
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
