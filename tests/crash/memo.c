/*
 * Digests that are computed once, and random numbers that can be repeated
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
    POOLED = 20,                /* secure memory is small */
    KEY_BYTES = BLOB_SEED_BYTES,
    RECENT = 4,
    LARGE_BYTES = 4096,
};

/* blob_digest_check() by a pooled digest, or blob_digest_sha256(): 0 */
typedef struct Memo {
    uint64_t serial;
    size_t bytes;
    size_t room;
    uint8_t *data;
    uint8_t out[BLOB_DIGEST_BYTES];
} Memo;

typedef struct CensusMemo {
    uint64_t serial;
    uint64_t id;
    uint64_t sequence;
    uint8_t census[BLOB_CENSUS_BYTES];
} CensusMemo;

/*
 * Neither a digest nor a seal keeps state between calls, so one for each key
 * is enough.  Memos know it by a number that is never used again.
 */
typedef struct Pooled {
    uint8_t key[KEY_BYTES];
    void *object;
    unsigned users;
    uint64_t serial;
} Pooled;

G_STATIC_ASSERT((int)KEY_BYTES == BLOB_SEAL_KEY_BYTES);

static Memo memos[MEMOS];
static Memo *recent[RECENT];
static CensusMemo census_memos[CENSUS_MEMOS];
static Pooled digests[POOLED];
static Pooled seals[POOLED];
static uint64_t random_state;

static Pooled *find_pooled(Pooled *pool, const void *object)
{
    for (unsigned i = 0; i < POOLED; i++) {
        if (pool[i].object == object) {
            return &pool[i];
        }
    }
    return NULL;
}

static void *find_key(Pooled *pool, const uint8_t *key)
{
    for (unsigned i = 0; i < POOLED; i++) {
        if (pool[i].object && !memcmp(pool[i].key, key, KEY_BYTES)) {
            pool[i].users++;
            return pool[i].object;
        }
    }
    return NULL;
}

/*
 * Returns a place for another entry; an unused one makes room, and is
 * released.
 */
static Pooled *make_room(Pooled *pool)
{
    static unsigned next;

    for (unsigned i = 0; i < POOLED; i++) {
        if (!pool[i].object) {
            return &pool[i];
        }
    }
    for (unsigned i = 0; i < POOLED; i++) {
        Pooled *pooled = &pool[next++ % POOLED];

        if (!pooled->users) {
            return pooled;
        }
    }
    g_error("too many digests or seals are in use at a time");
}

static void *add_pooled(Pooled *pooled, const uint8_t *key, void *object)
{
    static uint64_t serials;

    memcpy(pooled->key, key, KEY_BYTES);
    pooled->object = object;
    pooled->users = 1;
    pooled->serial = ++serials;
    return object;
}

static BlobDigest *new_digest(const uint8_t *key, bool secret, GError **error)
{
    BlobDigest *digest = find_key(digests, key);
    Pooled *pooled;

    if (digest) {
        return digest;
    }
    digest = secret ? __real_blob_digest_new_secret(key, error)
                    : __real_blob_digest_new(key);
    if (!digest) {
        return NULL;
    }
    pooled = make_room(digests);
    if (pooled->object) {
        __real_blob_digest_free(pooled->object);
    }
    return add_pooled(pooled, key, digest);
}

BlobDigest *__wrap_blob_digest_new(const uint8_t *seed)
{
    static const uint8_t zero[BLOB_SEED_BYTES];

    return new_digest(seed ? seed : zero, false, NULL);
}

BlobDigest *__wrap_blob_digest_new_secret(const uint8_t *seed,
                                          GError **error)
{
    return new_digest(seed, true, error);
}

void __wrap_blob_digest_free(BlobDigest *digest)
{
    if (digest) {
        find_pooled(digests, digest)->users--;
    }
}

BlobSeal *__wrap_blob_seal_new(const uint8_t *key, GError **error)
{
    BlobSeal *seal = find_key(seals, key);
    Pooled *pooled;

    if (seal) {
        return seal;
    }
    seal = __real_blob_seal_new(key, error);
    if (!seal) {
        return NULL;
    }
    pooled = make_room(seals);
    if (pooled->object) {
        __real_blob_seal_free(pooled->object);
    }
    return add_pooled(pooled, key, seal);
}

void __wrap_blob_seal_free(BlobSeal *seal)
{
    if (seal) {
        find_pooled(seals, seal)->users--;
    }
}

static uint64_t serial_of(const BlobDigest *digest)
{
    return find_pooled(digests, digest)->serial;
}

static bool is_of(const Memo *memo, uint64_t serial, const void *data,
                  size_t bytes)
{
    return memo->room && memo->serial == serial && memo->bytes == bytes &&
           !memcmp(memo->data, data, bytes);
}

/*
 * The superblock is large and always the same, so it is found without a hash.
 */
static Memo *find_recent(uint64_t serial, const void *data, size_t bytes)
{
    for (unsigned i = 0; i < RECENT && bytes >= LARGE_BYTES; i++) {
        if (recent[i] && is_of(recent[i], serial, data, bytes)) {
            return recent[i];
        }
    }
    return NULL;
}

/* Makes *@memo the memo of these bytes.  Returns false if the memo is new. */
static bool find(uint64_t serial, const void *data, size_t bytes,
                 Memo **memo)
{
    static unsigned next;

    *memo = find_recent(serial, data, bytes);
    if (*memo) {
        return true;
    }
    *memo = &memos[mix_bytes(serial + bytes, data,
                             bytes / 8 * 8) % MEMOS];
    if (bytes >= LARGE_BYTES) {
        recent[next++ % RECENT] = *memo;
    }
    if (is_of(*memo, serial, data, bytes)) {
        return true;
    }
    (*memo)->serial = serial;
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

    if (bytes > MEMO_MAX_BYTES) {
        __real_blob_digest_check(digest, data, bytes, out);
        return;
    }
    if (!find(serial_of(digest), data, bytes, &memo)) {
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
    if (!find(0, data, bytes, &memo)) {
        __real_blob_digest_sha256(data, bytes, memo->out);
    }
    memcpy(out, memo->out, BLOB_DIGEST_BYTES);
}

void __wrap_blob_digest_census(BlobDigest *digest, uint64_t id,
                               uint64_t sequence,
                               uint8_t census[BLOB_CENSUS_BYTES])
{
    uint64_t serial = serial_of(digest);
    CensusMemo *memo = &census_memos[mix(mix(id, sequence), serial) %
                                     CENSUS_MEMOS];

    if (memo->serial != serial || memo->id != id ||
        memo->sequence != sequence) {
        *memo = (CensusMemo) { serial, id, sequence, { 0 } };
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
