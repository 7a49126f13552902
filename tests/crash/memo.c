/*
 * Digests that are computed once, and chance that can be repeated
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "memo.h"

#include <string.h>
#include "mix.h"

enum {
    MEMOS = 8192,
    MEMO_MAX_BYTES = 16384,
    CENSUS_MEMOS = 4096,
    SEEDS = 8,
    RECENT = 4,
    LARGE_BYTES = 4096,
};

/* blob_digest_check() under a seed, or blob_digest_sha256() if it is NULL */
typedef struct Memo {
    BlobDigest *digest;
    size_t bytes;
    size_t room;
    uint8_t *data;
    uint8_t out[BLOB_DIGEST_BYTES];
} Memo;

typedef struct CensusMemo {
    BlobDigest *digest;
    uint64_t id;
    uint64_t sequence;
    uint8_t census[BLOB_CENSUS_BYTES];
} CensusMemo;

/* A digest keeps no state between calls: one for each seed is enough. */
typedef struct Pooled {
    uint8_t seed[BLOB_SEED_BYTES];
    BlobDigest *digest;
} Pooled;

static Memo memos[MEMOS];
static Memo *recent[RECENT];
static CensusMemo census_memos[CENSUS_MEMOS];
static Pooled pool[SEEDS];
static uint64_t random_state;

BlobDigest *__wrap_blob_digest_new(const uint8_t *seed)
{
    static const uint8_t zero[BLOB_SEED_BYTES];
    const uint8_t *wanted = seed ? seed : zero;

    for (unsigned i = 0; i < SEEDS; i++) {
        if (!pool[i].digest) {
            memcpy(pool[i].seed, wanted, BLOB_SEED_BYTES);
            pool[i].digest = __real_blob_digest_new(seed);
        }
        if (!memcmp(pool[i].seed, wanted, BLOB_SEED_BYTES)) {
            return pool[i].digest;
        }
    }
    return __real_blob_digest_new(seed);
}

void __wrap_blob_digest_free(BlobDigest *digest)
{
    for (unsigned i = 0; i < SEEDS; i++) {
        if (pool[i].digest == digest) {
            return;
        }
    }
    __real_blob_digest_free(digest);
}

static bool is_pooled(const BlobDigest *digest)
{
    for (unsigned i = 0; i < SEEDS; i++) {
        if (pool[i].digest == digest) {
            return true;
        }
    }
    return false;
}

static bool is_of(const Memo *memo, BlobDigest *digest, const void *data,
                  size_t bytes)
{
    return memo->room && memo->digest == digest && memo->bytes == bytes &&
           !memcmp(memo->data, data, bytes);
}

/* The superblock, large and always the same, is found without a hash. */
static Memo *find_recent(BlobDigest *digest, const void *data, size_t bytes)
{
    for (unsigned i = 0; i < RECENT && bytes >= LARGE_BYTES; i++) {
        if (recent[i] && is_of(recent[i], digest, data, bytes)) {
            return recent[i];
        }
    }
    return NULL;
}

/* *@memo is of these bytes, or is to become so: then it returns false. */
static bool find(BlobDigest *digest, const void *data, size_t bytes,
                 Memo **memo)
{
    static unsigned next;

    *memo = find_recent(digest, data, bytes);
    if (*memo) {
        return true;
    }
    *memo = &memos[mix_bytes((uintptr_t)digest + bytes, data,
                             bytes / 8 * 8) % MEMOS];
    if (bytes >= LARGE_BYTES) {
        recent[next++ % RECENT] = *memo;
    }
    if (is_of(*memo, digest, data, bytes)) {
        return true;
    }
    (*memo)->digest = digest;
    (*memo)->bytes = bytes;
    if ((*memo)->room < MAX(bytes, 1)) {
        (*memo)->room = MAX(bytes, 1);
        g_free((*memo)->data);
        (*memo)->data = g_malloc((*memo)->room);
    }
    memcpy((*memo)->data, data, bytes);
    return false;
}

void __wrap_blob_digest_check(BlobDigest *digest, const void *data,
                              size_t bytes, uint8_t out[BLOB_DIGEST_BYTES])
{
    Memo *memo;

    if (bytes > MEMO_MAX_BYTES || !is_pooled(digest)) {
        __real_blob_digest_check(digest, data, bytes, out);
        return;
    }
    if (!find(digest, data, bytes, &memo)) {
        __real_blob_digest_check(digest, data, bytes, memo->out);
    }
    memcpy(out, memo->out, BLOB_DIGEST_BYTES);
}

void __wrap_blob_digest_sha256(const void *data, size_t bytes,
                               uint8_t out[BLOB_DIGEST_BYTES])
{
    Memo *memo;

    if (bytes > MEMO_MAX_BYTES) {
        __real_blob_digest_sha256(data, bytes, out);
        return;
    }
    if (!find(NULL, data, bytes, &memo)) {
        __real_blob_digest_sha256(data, bytes, memo->out);
    }
    memcpy(out, memo->out, BLOB_DIGEST_BYTES);
}

void __wrap_blob_digest_census(BlobDigest *digest, uint64_t id,
                               uint64_t sequence,
                               uint8_t census[BLOB_CENSUS_BYTES])
{
    CensusMemo *memo =
        &census_memos[mix(mix(id, sequence), (uintptr_t)digest) %
                      CENSUS_MEMOS];

    if (!is_pooled(digest)) {
        __real_blob_digest_census(digest, id, sequence, census);
        return;
    }
    if (memo->digest != digest || memo->id != id ||
        memo->sequence != sequence) {
        *memo = (CensusMemo) { digest, id, sequence, { 0 } };
        __real_blob_digest_census(digest, id, sequence, memo->census);
    }
    for (unsigned i = 0; i < BLOB_CENSUS_BYTES; i++) {
        census[i] ^= memo->census[i];
    }
}

void memo_begin_random(uint64_t seed)
{
    random_state = mix(~UINT64_C(0), seed);
}

bool __wrap_blob_digest_random(void *buf, size_t bytes, GError **error)
{
    uint8_t *at = buf;

    for (size_t i = 0; i < bytes; i++) {
        if (i % sizeof(random_state) == 0) {
            random_state = mix(random_state + 1, i);
        }
        at[i] = random_state >> i % sizeof(random_state) * 8;
    }
    return true;
}
