/*
 * Blobstore core: wrapping the data key in a key slot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "wrap.h"

#include <gcrypt.h>
#include <string.h>
#include <time.h>
#include "keyslot-layout.h"

static const char raw_label[] = "blobstore raw secret";

/* Argon2id (RFC 9106), without secret or associated data */
static BlobSecret *stretch(const BlobSecret *passphrase,
                           const BlobKeySlot *slot, GError **error)
{
    const unsigned long param[] = {
        BLOB_SEAL_KEY_BYTES, slot->kdf_iterations, slot->kdf_memory_kib,
        slot->kdf_parallelism,
    };
    g_autoptr(BlobSecret) key = blob_secret_new(NULL, BLOB_SEAL_KEY_BYTES,
                                                error);
    gcry_kdf_hd_t kdf = NULL;
    gcry_error_t err;

    if (!key) {
        return NULL;
    }
    err = gcry_kdf_open(&kdf, GCRY_KDF_ARGON2, GCRY_KDF_ARGON2ID, param,
                        G_N_ELEMENTS(param), passphrase->data,
                        passphrase->bytes, slot->salt, sizeof(slot->salt),
                        NULL, 0, NULL, 0);
    if (!err) {
        err = gcry_kdf_compute(kdf, NULL);
    }
    if (!err) {
        err = gcry_kdf_final(kdf, key->bytes, key->data);
    }
    if (kdf) {
        gcry_kdf_close(kdf);
    }
    if (err) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "libgcrypt: Argon2id with %u KiB of memory: %s",
                    slot->kdf_memory_kib, gcry_strerror(err));
        return NULL;
    }
    return g_steal_pointer(&key);
}

/* A raw secret is a key already; the salt keeps slots apart. */
static BlobSecret *mix_raw(const BlobSecret *raw, const BlobKeySlot *slot,
                           GError **error)
{
    g_autoptr(BlobSecret) key = blob_secret_new(NULL, BLOB_SEAL_KEY_BYTES,
                                                error);
    g_autoptr(BlobDigest) digest = NULL;
    uint8_t input[sizeof(raw_label) + BLOB_KEY_SALT_BYTES];

    if (!key) {
        return NULL;
    }
    digest = blob_digest_new_secret(raw->data, error);
    if (!digest) {
        return NULL;
    }
    memcpy(input, raw_label, sizeof(raw_label));
    memcpy(input + sizeof(raw_label), slot->salt, BLOB_KEY_SALT_BYTES);
    blob_digest_check(digest, input, sizeof(input), key->data);
    return g_steal_pointer(&key);
}

/*
 * The cipher that wraps the data key in a slot without a token.  AES-GCM-SIV
 * does not commit to its key: a hostile slot could open with many secrets, and
 * an attacker who sees that it did knows that one of these is right.
 * @commitment prevents that.
 */
static BlobSeal *wrapping_seal(const BlobSecret *secret,
                               const BlobKeySlot *slot,
                               const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                               uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES],
                               GError **error)
{
    g_autoptr(BlobSecret) bytes = slot->type == BLOB_KEY_SLOT_RAW
                                  ? mix_raw(secret, slot, error)
                                  : stretch(secret, slot, error);
    g_autoptr(BlobKey) key = NULL;

    if (!bytes) {
        return NULL;
    }
    key = blob_key_new_from_bytes(bytes->data, error);
    if (!key) {
        return NULL;
    }
    blob_key_commit(key, uuid, commitment);
    return blob_seal_new(bytes->data, error);
}

/* S4: a wrapped key is bound to the store, the slot number and parameters. */
typedef struct WrapAad {
    uint8_t uuid[BLOB_KEY_UUID_BYTES];
    uint64_t number;
    uint8_t slot[BLOB_KEY_SLOT_BYTES];
} WrapAad;

static void make_aad(const BlobKeySlot *slot, unsigned n,
                     const uint8_t uuid[BLOB_KEY_UUID_BYTES], WrapAad *aad)
{
    BlobKeySlot bare = *slot;

    memset(bare.nonce, 0, sizeof(bare.nonce));
    memset(bare.tag, 0, sizeof(bare.tag));
    memset(bare.wrapped, 0, sizeof(bare.wrapped));
    memset(aad, 0, sizeof(*aad));
    memcpy(aad->uuid, uuid, sizeof(aad->uuid));
    aad->number = GUINT64_TO_LE(n);
    blob_key_slot_encode(&bare, aad->slot);
}

/* A token cannot bind associated data, so it wraps them with the key. */
static void make_token_data(const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                            unsigned n, uint8_t out[BLOB_KEY_TOKEN_BYTES])
{
    uint64_t number = GUINT64_TO_LE(n);

    memcpy(out + BLOB_KEY_BYTES, uuid, BLOB_KEY_UUID_BYTES);
    memcpy(out + BLOB_KEY_BYTES + BLOB_KEY_UUID_BYTES, &number,
           sizeof(number));
}

static BlobKey *unwrap_by_token(const BlobKeySlot *slot, unsigned n,
                                const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                const BlobCredential *credential,
                                GError **error)
{
    uint8_t expected[BLOB_KEY_TOKEN_BYTES];
    g_autoptr(BlobSecret) data = blob_secret_new(NULL, BLOB_KEY_TOKEN_BYTES,
                                                 error);

    if (!data) {
        return NULL;
    }
    if (!credential->token->unwrap(credential->token, credential->pin, slot,
                                   data->data, error)) {
        g_prefix_error(error, "key slot %u, %s: ", n, slot->uri);
        return NULL;
    }
    make_token_data(uuid, n, expected);
    if (!blob_digest_equal(data->data + BLOB_KEY_BYTES,
                           expected + BLOB_KEY_BYTES,
                           BLOB_KEY_TOKEN_BYTES - BLOB_KEY_BYTES)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "key slot %u, %s: it is of another store or slot", n,
                    slot->uri);
        return NULL;
    }
    return blob_key_new_from_bytes(data->data, error);
}

/* NULL without @error: the secret is not that of this slot. */
static BlobKey *unwrap_by_secret(const BlobKeySlot *slot, unsigned n,
                                 const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                 const BlobSecret *secret, GError **error)
{
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];
    g_autoptr(BlobSeal) seal = wrapping_seal(secret, slot, uuid, commitment,
                                             error);
    g_autoptr(BlobSecret) data = NULL;
    WrapAad aad;

    if (!seal ||
        !blob_digest_equal(commitment, slot->commitment, sizeof(commitment))) {
        return NULL;
    }
    data = blob_secret_new(slot->wrapped, BLOB_KEY_BYTES, error);
    if (!data) {
        return NULL;
    }
    make_aad(slot, n, uuid, &aad);
    if (!blob_seal_decrypt(seal, &aad, sizeof(aad), data->data, data->bytes,
                           slot->nonce, slot->tag)) {
        return NULL;
    }
    return blob_key_new_from_bytes(data->data, error);
}

BlobKey *blob_wrap_open(const BlobKeySlot *slot, unsigned n,
                        const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                        const BlobCredential *credential, GError **error)
{
    return slot->type == BLOB_KEY_SLOT_TOKEN
           ? unwrap_by_token(slot, n, uuid, credential, error)
           : unwrap_by_secret(slot, n, uuid, credential->secret, error);
}

bool blob_wrap_check_secret(const BlobSecret *secret, GError **error)
{
    if (secret && (!secret->bytes ||
                   secret->bytes > BLOB_KEY_PASSPHRASE_MAX_BYTES)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "a passphrase has 1 to %d bytes, not %zu",
                    BLOB_KEY_PASSPHRASE_MAX_BYTES, secret->bytes);
        return false;
    }
    return true;
}

/* What this thread has computed so far; libgcrypt starts no other for it. */
static gint64 thread_time_us(void)
{
    struct timespec time = { 0 };

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

/*
 * How many microseconds of a processor @iterations take; -1 on failure.  By
 * the clock on the wall a busy host would make weak key slots, for good.
 */
static gint64 time_kdf(const BlobSecret *passphrase, BlobKeySlot *slot,
                       unsigned iterations, GError **error)
{
    gint64 start = thread_time_us();
    g_autoptr(BlobSecret) ignored = NULL;

    slot->kdf_iterations = iterations;
    ignored = stretch(passphrase, slot, error);
    return ignored ? thread_time_us() - start : -1;
}

/*
 * Chooses how many iterations take @milliseconds here, but never few.  The
 * first one takes longer than the others, because it has to get the memory.
 */
static bool calibrate(const BlobSecret *passphrase, unsigned milliseconds,
                      BlobKeySlot *slot, GError **error)
{
    gint64 wanted = milliseconds * INT64_C(1000);
    gint64 one;
    gint64 three;

    slot->kdf_memory_kib = BLOB_KEY_KDF_MEMORY_KIB;
    slot->kdf_parallelism = 1;
    one = time_kdf(passphrase, slot, 1, error);
    if (one < 0) {
        return false;
    }
    if (wanted <= one) {
        slot->kdf_iterations = BLOB_KEY_KDF_MIN_ITERATIONS;
        return true;
    }
    three = time_kdf(passphrase, slot, 3, error);
    if (three < 0) {
        return false;
    }
    slot->kdf_iterations = CLAMP(1 + 2 * (wanted - one) /
                                 MAX(three - one, 1),
                                 BLOB_KEY_KDF_MIN_ITERATIONS, 64);
    return true;
}

static bool check_secret(BlobKeySlotType type, const BlobSecret *secret,
                         GError **error)
{
    if (!secret) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "no secret was given for the key slot");
        return false;
    }
    if (type == BLOB_KEY_SLOT_RAW && secret->bytes != BLOB_KEY_RAW_BYTES) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "a raw secret has %d bytes, not %zu", BLOB_KEY_RAW_BYTES,
                    secret->bytes);
        return false;
    }
    return blob_wrap_check_secret(secret, error);
}

static bool wrap_by_secret(BlobKeySlot *slot, unsigned n, const BlobKey *key,
                           const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                           const BlobSecret *secret, unsigned milliseconds,
                           GError **error)
{
    g_autoptr(BlobSeal) seal = NULL;
    g_autoptr(BlobSecret) data = NULL;
    WrapAad aad;

    if (!check_secret(slot->type, secret, error) ||
        !blob_digest_random(slot->salt, sizeof(slot->salt), error) ||
        (slot->type == BLOB_KEY_SLOT_PASSPHRASE &&
         !calibrate(secret, milliseconds, slot, error))) {
        return false;
    }
    seal = wrapping_seal(secret, slot, uuid, slot->commitment, error);
    if (!seal) {
        return false;
    }
    data = blob_secret_new(blob_key_bytes(key), BLOB_KEY_BYTES, error);
    if (!data) {
        return false;
    }
    slot->wrapped_bytes = BLOB_KEY_BYTES;
    make_aad(slot, n, uuid, &aad);
    if (!blob_seal_encrypt(seal, &aad, sizeof(aad), data->data, data->bytes,
                           slot->nonce, slot->tag, error)) {
        return false;
    }
    memcpy(slot->wrapped, data->data, BLOB_KEY_BYTES);
    return true;
}

/* Of what a token has written, takes what it says that it has, and no more. */
static bool take_wrapped(const BlobKeySlot *written, BlobKeySlot *slot,
                         GError **error)
{
    if (written->wrapped_bytes > sizeof(slot->wrapped)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: the token has wrapped the data key in %u bytes, more "
                    "than %zu", slot->uri, written->wrapped_bytes,
                    sizeof(slot->wrapped));
        return false;
    }
    slot->mechanism = written->mechanism;
    slot->hash = written->hash;
    slot->wrapped_bytes = written->wrapped_bytes;
    memcpy(slot->wrapped, written->wrapped, written->wrapped_bytes);
    return true;
}

static bool wrap_by_token(BlobKeySlot *slot, unsigned n, const BlobKey *key,
                          const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                          const BlobCredential *credential, GError **error)
{
    g_autoptr(BlobSecret) data = NULL;
    BlobKeySlot written;

    if (!credential->token) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "this program was built without PKCS#11");
        return false;
    }
    if (!credential->uri || !*credential->uri ||
        strlen(credential->uri) > BLOB_KEY_URI_MAX_BYTES) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the PKCS#11 URI of the key has 1 to %d bytes",
                    BLOB_KEY_URI_MAX_BYTES);
        return false;
    }
    g_strlcpy(slot->uri, credential->uri, sizeof(slot->uri));
    data = blob_secret_new(NULL, BLOB_KEY_TOKEN_BYTES, error);
    if (!data) {
        return false;
    }
    memcpy(data->data, blob_key_bytes(key), BLOB_KEY_BYTES);
    make_token_data(uuid, n, data->data);
    written = *slot;
    return credential->token->wrap(credential->token, credential->pin,
                                   data->data, &written, error) &&
           take_wrapped(&written, slot, error);
}

bool blob_wrap_make(BlobKeySlot *slot, unsigned n, const BlobKey *key,
                    const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                    const BlobCredential *credential, unsigned milliseconds,
                    GError **error)
{
    return slot->type == BLOB_KEY_SLOT_TOKEN
           ? wrap_by_token(slot, n, key, uuid, credential, error)
           : wrap_by_secret(slot, n, key, uuid, credential->secret,
                            milliseconds, error);
}
