/*
 * Blobstore core: digests and check values
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "digest.h"

#include <gcrypt.h>
#include <string.h>

struct BlobDigest {
    gcry_mac_hd_t mac;
    uint8_t seed[BLOB_SEED_BYTES];
};

void blob_digest_init(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        /* A bigger program may have done this with settings of its own. */
        if (!gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
            gcry_check_version(NULL);
            gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        }
        g_once_init_leave(&done, 1);
    }
}

BlobDigest *blob_digest_new(const uint8_t *seed)
{
    BlobDigest *digest = g_new0(BlobDigest, 1);
    gcry_error_t err;

    blob_digest_init();
    if (seed) {
        memcpy(digest->seed, seed, sizeof(digest->seed));
    }
    err = gcry_mac_open(&digest->mac, GCRY_MAC_HMAC_SHA256, 0, NULL);
    if (!err) {
        err = gcry_mac_setkey(digest->mac, digest->seed, sizeof(digest->seed));
    }
    if (err) {
        /* Like g_malloc(): only for want of memory, or without SHA-256. */
        g_error("libgcrypt: HMAC-SHA256: %s", gcry_strerror(err));
    }
    return digest;
}

void blob_digest_free(BlobDigest *digest)
{
    if (digest) {
        gcry_mac_close(digest->mac);
        g_free(digest);
    }
}

void blob_digest_check(BlobDigest *digest, const void *data, size_t bytes,
                       uint8_t out[BLOB_DIGEST_BYTES])
{
    size_t out_bytes = BLOB_DIGEST_BYTES;
    gcry_error_t err = gcry_mac_reset(digest->mac);

    if (!err) {
        err = gcry_mac_write(digest->mac, data, bytes);
    }
    if (!err) {
        err = gcry_mac_read(digest->mac, out, &out_bytes);
    }
    /* A check value that was not computed must not reach the medium. */
    if (err || out_bytes != BLOB_DIGEST_BYTES) {
        g_error("libgcrypt: HMAC-SHA256: %s", gcry_strerror(err));
    }
}

void blob_digest_census(BlobDigest *digest, uint64_t id, uint64_t sequence,
                        uint8_t census[BLOB_CENSUS_BYTES])
{
    struct {
        uint8_t seed[BLOB_SEED_BYTES];
        uint64_t id;
        uint64_t sequence;
    } input;
    uint8_t hash[BLOB_DIGEST_BYTES];

    G_STATIC_ASSERT(sizeof(input) == 48);
    if (!sequence) {
        return;
    }
    memcpy(input.seed, digest->seed, sizeof(input.seed));
    input.id = GUINT64_TO_LE(id);
    input.sequence = GUINT64_TO_LE(sequence);
    blob_digest_sha256(&input, sizeof(input), hash);
    for (unsigned i = 0; i < BLOB_CENSUS_BYTES; i++) {
        census[i] ^= hash[i];
    }
}

void blob_digest_sha256(const void *data, size_t bytes,
                        uint8_t out[BLOB_DIGEST_BYTES])
{
    gcry_md_hash_buffer(GCRY_MD_SHA256, out, data, bytes);
}

void blob_digest_random(void *buf, size_t bytes)
{
    blob_digest_init();
    gcry_randomize(buf, bytes, GCRY_STRONG_RANDOM);
}
