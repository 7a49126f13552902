/*
 * Blobstore core: digests and check values
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "digest.h"

#include <errno.h>
#include <gcrypt.h>
#include <string.h>
#include <sys/random.h>

enum {
    RANDOM_CHUNK_BYTES = 256,       /* what getentropy() gives at most */
    SECURE_POOL_BYTES = 128 << 10,  /* libgcrypt's default is 32 KiB */
};

struct BlobDigest {
    gcry_mac_hd_t mac;
    uint8_t seed[BLOB_SEED_BYTES];
};

void blob_digest_init(void)
{
    static gsize done;

    if (g_once_init_enter(&done)) {
        /* A bigger program may have done this with settings of its own. */
        bool is_ready = gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P);

        if (!is_ready) {
            gcry_check_version(NULL);
        }
        /*
         * Has no effect if the pool is there: then what it has must do.  In
         * FIPS mode the end of the initialization makes a pool, and libgcrypt
         * would complain about another attempt.
         */
        if (!is_ready || !gcry_fips_mode_active()) {
            gcry_control(GCRYCTL_INIT_SECMEM, SECURE_POOL_BYTES, 0);
        }
        if (!is_ready) {
            gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        }
        g_once_init_leave(&done, 1);
    }
}

/* Takes @digest, of zeros or NULL, with whose memory the handle's goes. */
static gcry_error_t set_up(BlobDigest *digest, const uint8_t *seed,
                           unsigned flags)
{
    gcry_error_t err;

    if (!digest) {
        return gcry_error(GPG_ERR_ENOMEM);
    }
    if (seed) {
        memcpy(digest->seed, seed, sizeof(digest->seed));
    }
    err = gcry_mac_open(&digest->mac, GCRY_MAC_HMAC_SHA256, flags, NULL);
    if (!err) {
        err = gcry_mac_setkey(digest->mac, digest->seed, sizeof(digest->seed));
    }
    return err;
}

BlobDigest *blob_digest_new(const uint8_t *seed)
{
    BlobDigest *digest;
    gcry_error_t err;

    blob_digest_init();
    digest = gcry_xcalloc(1, sizeof(*digest));
    err = set_up(digest, seed, 0);
    if (err) {
        /* Like g_malloc(): only for want of memory, or without SHA-256. */
        g_error("libgcrypt: HMAC-SHA256: %s", gcry_strerror(err));
    }
    return digest;
}

BlobDigest *blob_digest_new_secret(const uint8_t seed[BLOB_SEED_BYTES],
                                   GError **error)
{
    BlobDigest *digest;
    gcry_error_t err;

    blob_digest_init();
    digest = gcry_calloc_secure(1, sizeof(*digest));
    err = set_up(digest, seed, GCRY_MAC_FLAG_SECURE);
    if (err) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_NO_SECURE_MEMORY,
                    "libgcrypt: HMAC-SHA256 in secure memory: %s",
                    gcry_strerror(err));
        blob_digest_free(digest);
        return NULL;
    }
    return digest;
}

/* Secure memory is wiped when it is freed. */
void blob_digest_free(BlobDigest *digest)
{
    if (digest) {
        gcry_mac_close(digest->mac);
        gcry_free(digest);
    }
}

bool blob_digest_equal(const void *a, const void *b, size_t bytes)
{
    /* volatile: no compiler may stop at the first difference. */
    const volatile uint8_t *x = a;
    /* volatile: the same */
    const volatile uint8_t *y = b;
    uint8_t difference = 0;

    for (size_t i = 0; i < bytes; i++) {
        difference |= x[i] ^ y[i];
    }
    return !difference;
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

void blob_digest_sha256(const void *data, size_t bytes,
                        uint8_t out[BLOB_DIGEST_BYTES])
{
    gcry_md_hash_buffer(GCRY_MD_SHA256, out, data, bytes);
}

void blob_digest_sha256_of_two(const void *a, size_t a_bytes, const void *b,
                               size_t b_bytes,
                               uint8_t out[BLOB_DIGEST_BYTES])
{
    gcry_buffer_t input[] = {
        { .data = (void *)a, .len = a_bytes },
        { .data = (void *)b, .len = b_bytes },
    };
    gcry_error_t err = gcry_md_hash_buffers(GCRY_MD_SHA256, 0, out, input,
                                            G_N_ELEMENTS(input));

    if (err) {
        g_error("libgcrypt: SHA-256: %s", gcry_strerror(err));
    }
}

void blob_digest_census(BlobDigest *digest, uint64_t id, uint64_t sequence,
                        uint8_t census[BLOB_CENSUS_BYTES])
{
    uint64_t numbers[] = { GUINT64_TO_LE(id), GUINT64_TO_LE(sequence) };
    uint8_t hash[BLOB_DIGEST_BYTES];

    if (!sequence) {
        return;
    }
    /* The seed may be secret: it is not copied. */
    blob_digest_sha256_of_two(digest->seed, sizeof(digest->seed), numbers,
                              sizeof(numbers), hash);
    for (unsigned i = 0; i < BLOB_CENSUS_BYTES; i++) {
        census[i] ^= hash[i];
    }
}

char *blob_digest_to_hex(const uint8_t *bytes, size_t count)
{
    GString *text = g_string_sized_new(2 * count);

    for (size_t i = 0; i < count; i++) {
        g_string_append_printf(text, "%02x", bytes[i]);
    }
    return g_string_free(text, FALSE);
}

bool blob_digest_random(void *buf, size_t bytes, GError **error)
{
    uint8_t *at = buf;

    while (bytes) {
        size_t chunk = MIN(bytes, RANDOM_CHUNK_BYTES);

        if (getentropy(at, chunk)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_RANDOM,
                        "the system has no random bytes: %s",
                        g_strerror(errno));
            return false;
        }
        at += chunk;
        bytes -= chunk;
    }
    return true;
}
