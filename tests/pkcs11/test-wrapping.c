/*
 * What keys in a token wrap, and what they refuse to unwrap
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hsm.h"

#include <gcrypt.h>
#include <string.h>
#include "blobstore/format/layout.h"
#include "blobstore/crypto/keyslot-layout.h"
#include "hex.h"

enum { WRAPPED_AT = 512 };      /* in a slot; docs/format.md, section 9.3 */

/* Of RFC 3394, section 4.6 */
static const char kek_text[] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static const char *token_name(void)
{
    return hsm_is_nss() ? HSM_NSS_TOKEN : "box";
}

static void provision(void)
{
    const char *token = token_name();
    uint8_t kek[32];

    if (hsm_is_nss()) {
        hsm_init_nss_token();
    } else {
        hsm_add_token(token, HSM_PIN);
    }
    hsm_add_rsa(token, "rsa2048", 1, 2048);
    hsm_add_rsa(token, "rsa3072", 2, 3072);
    hsm_add_rsa(token, "rsa4096", 3, 4096);
    hsm_add_rsa(token, "other2048", 4, 2048);
    hsm_add_aes(token, "aes128", 5, 16);
    hsm_add_aes(token, "aes192", 6, 24);
    hsm_add_aes(token, "aes256", 7, 32);
    hsm_add_aes(token, "other256", 8, 32);
    from_hex(kek_text, kek);
    hsm_add_public_aes(token, "rfc3394", 9, kek, sizeof(kek));
}

/* Wraps with the key of this name; returns the decoded slot. */
static BlobKeySlot wrap_by(const char *key, BlobKeySlots *slots)
{
    g_autofree char *token = g_uri_escape_string(token_name(), NULL, false);
    g_autofree char *uri = g_strdup_printf("pkcs11:token=%s;object=%s", token,
                                           key);
    BlobKeySlot slot;

    memset(slots, 0, sizeof(*slots));
    hsm_put_ok(slots, uri);
    g_assert_true(blob_key_slots_get(slots, 2, &slot));
    g_assert_cmpstr(slot.uri, ==, uri);
    return slot;
}

/* NSS's token needs no PIN. */
static const char *pin(void)
{
    return hsm_is_nss() ? NULL : HSM_PIN;
}

/* SoftHSM has no hash but SHA-1. */
static BlobKeyHash expected_hash(void)
{
    return hsm_is_nss() ? BLOB_KEY_HASH_SHA256 : BLOB_KEY_HASH_SHA1;
}

static void test_rsa_keys_wrap_by_oaep(void)
{
    for (unsigned bits = 2048; bits <= 4096; bits += 1024) {
        g_autofree char *key = g_strdup_printf("rsa%u", bits);
        BlobKeySlots slots;
        BlobKeySlot slot = wrap_by(key, &slots);

        g_assert_cmpint(slot.mechanism, ==, BLOB_KEY_MECHANISM_RSA_OAEP);
        g_assert_cmpint(slot.hash, ==, expected_hash());
        g_assert_cmpuint(slot.wrapped_bytes, ==, bits / 8);
        hsm_unlock_ok(&slots, pin());
    }
    g_assert_cmpint(hsm_shim()->logins, ==, hsm_is_nss() ? 0 : 6);
}

static void test_aes_keys_wrap_by_key_wrap(void)
{
    for (unsigned bits = 128; bits <= 256; bits += 64) {
        g_autofree char *key = g_strdup_printf("aes%u", bits);
        BlobKeySlots slots;
        BlobKeySlot slot = wrap_by(key, &slots);

        g_assert_cmpint(slot.mechanism, ==, BLOB_KEY_MECHANISM_AES_KEY_WRAP);
        g_assert_cmpint(slot.hash, ==, BLOB_KEY_HASH_NONE);
        g_assert_cmpuint(slot.wrapped_bytes, ==, BLOB_KEY_TOKEN_BYTES + 8);
        hsm_unlock_ok(&slots, pin());
    }
}

static void test_data_key_is_not_readable_in_a_slot(void)
{
    static const char *const keys[] = { "rsa2048", "aes256" };
    const uint8_t *key = blob_key_bytes(keys_data_key(1));

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        BlobKeySlots slots;
        g_autofree char *slot_text = NULL;
        g_autofree char *key_text = to_hex(key, 8);

        wrap_by(keys[i], &slots);
        slot_text = to_hex(slots.bytes[2], BLOB_KEY_SLOT_BYTES);
        g_assert_null(strstr(slot_text, key_text));
    }
}

static void test_slot_is_bound_to_its_store_and_number(void)
{
    static const char *const keys[] = { "rsa2048", "aes256" };
    static const uint8_t other[BLOB_KEY_UUID_BYTES] = { 0xb1, 0x0c };
    BlobCredential credential = {
        .token = blob_pkcs11_token(),
        .pin = pin(),
        .slot = BLOB_KEY_SLOT_ANY,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        BlobKeySlots slots;
        BlobKeySlots moved = { 0 };
        GError *error = NULL;

        wrap_by(keys[i], &slots);
        memcpy(moved.bytes[3], slots.bytes[2], BLOB_KEY_SLOT_BYTES);
        hsm_unlock_fails(&moved, pin(), BLOBSTORE_ERROR_KEY,
                         "key slot 3*of another store or slot");
        g_assert_null(blob_key_slots_unlock(&slots, other, &credential,
                                            &error));
        test_assert_error(&error, BLOBSTORE_ERROR_KEY,
                          "key slot 2*of another store or slot");
    }
}

/* Flips a bit in every eighth byte of the wrapped key, and in its last byte. */
static void flip_bits(BlobKeySlots *slots, unsigned bytes)
{
    hsm_unlock_ok(slots, pin());
    for (unsigned n = 0; n <= bytes; n += 8) {
        unsigned i = MIN(n, bytes - 1);

        slots->bytes[2][WRAPPED_AT + i] ^= 1 << n / 8 % 8;
        hsm_unlock_fails(slots, pin(), BLOBSTORE_ERROR_KEY,
                         "key slot 2*token '*'*does not unwrap*");
        slots->bytes[2][WRAPPED_AT + i] ^= 1 << n / 8 % 8;
    }
    hsm_unlock_ok(slots, pin());
}

static void test_any_change_of_what_was_wrapped_is_refused(void)
{
    static const char *const keys[] = { "rsa2048", "aes256" };

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        BlobKeySlots slots;
        BlobKeySlot slot = wrap_by(keys[i], &slots);

        flip_bits(&slots, slot.wrapped_bytes);
        /* The value is above the modulus of RSA. */
        memset(slots.bytes[2] + WRAPPED_AT, 0xff, slot.wrapped_bytes);
        hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                         "*does not unwrap*");
        memset(slots.bytes[2] + WRAPPED_AT, 0, slot.wrapped_bytes);
        hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                         "*does not unwrap*");
    }
}

static void test_other_lengths_are_refused(void)
{
    static const char *const keys[] = { "rsa2048", "rsa4096", "aes256" };
    static const unsigned lengths[] = {
        56, 57, 63, 64, 65, 72, 255, 256, 257, 511, 512,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        BlobKeySlots slots;
        BlobKeySlot slot = wrap_by(keys[i], &slots);
        unsigned right = slot.wrapped_bytes;

        for (unsigned n = 0; n < G_N_ELEMENTS(lengths); n++) {
            slot.wrapped_bytes = lengths[n];
            blob_key_slot_encode(&slot, slots.bytes[2]);
            memset(slots.bytes[2] + WRAPPED_AT + lengths[n], 0,
                   BLOB_KEY_WRAPPED_MAX_BYTES - lengths[n]);
            if (lengths[n] == right) {
                hsm_unlock_ok(&slots, pin());
            } else {
                hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                                 "*does not unwrap*");
            }
        }
    }
}

static void test_what_another_key_wrapped_is_refused(void)
{
    static const char *const keys[][2] = {
        { "rsa2048", "other2048" }, { "aes256", "other256" },
        { "aes256", "aes128" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        BlobKeySlots slots;
        BlobKeySlot slot = wrap_by(keys[i][0], &slots);

        strcpy(strstr(slot.uri, keys[i][0]), keys[i][1]);
        blob_key_slot_encode(&slot, slots.bytes[2]);
        hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                         "*does not unwrap*another key");
    }
}

static void test_mechanism_of_a_slot_must_be_that_of_its_key(void)
{
    BlobKeySlots slots;
    BlobKeySlot slot = wrap_by("rsa2048", &slots);

    strcpy(strstr(slot.uri, "rsa2048"), "aes256");
    blob_key_slot_encode(&slot, slots.bytes[2]);
    hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                     "*of another kind*");
    slot = wrap_by("aes256", &slots);
    strcpy(strstr(slot.uri, "aes256"), "rsa2048");
    blob_key_slot_encode(&slot, slots.bytes[2]);
    hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                     "*of another kind*");
}

static void test_hash_of_a_slot_must_be_right(void)
{
    BlobKeySlots slots;
    BlobKeySlot slot = wrap_by("rsa2048", &slots);

    slot.hash = hsm_is_nss() ? BLOB_KEY_HASH_SHA1 : BLOB_KEY_HASH_SHA256;
    blob_key_slot_encode(&slot, slots.bytes[2]);
    if (hsm_is_nss()) {
        hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_KEY,
                         "*does not unwrap*");
    } else {
        hsm_unlock_fails(&slots, pin(), BLOBSTORE_ERROR_TOKEN,
                         "*cannot unwrap by RSA-OAEP with SHA-256*");
    }
}

/* Wraps by RFC 3394 with libgcrypt, without a token. */
static void wrap_here(const uint8_t *kek, unsigned kek_bytes,
                      const uint8_t *data, unsigned bytes, uint8_t *out)
{
    gcry_cipher_hd_t cipher;

    blob_digest_init();
    g_assert_cmpuint(gcry_cipher_open(&cipher, kek_bytes == 32
                                      ? GCRY_CIPHER_AES256
                                      : GCRY_CIPHER_AES128,
                                      GCRY_CIPHER_MODE_AESWRAP, 0), ==, 0);
    g_assert_cmpuint(gcry_cipher_setkey(cipher, kek, kek_bytes), ==, 0);
    g_assert_cmpuint(gcry_cipher_encrypt(cipher, out, bytes + 8, data, bytes),
                     ==, 0);
    gcry_cipher_close(cipher);
}

/*
 * The longest vector of RFC 3394 has 32 bytes of key data, but a slot wraps
 * 56.  So the test compares libgcrypt's AES key wrap with vectors of the RFC,
 * and the token's with libgcrypt's.  There is one right result, so the slot
 * must have these bytes, and the token must unwrap what libgcrypt made.
 */
static void test_aes_key_wrap_is_that_of_rfc_3394(void)
{
    uint8_t kek[32], key[32], out[BLOB_KEY_TOKEN_BYTES + 8];
    uint8_t data[BLOB_KEY_TOKEN_BYTES] = { 0 };
    g_autofree char *first = NULL;
    g_autofree char *last = NULL;
    BlobKeySlots slots;
    BlobKeySlot slot;

    from_hex(kek_text, kek);
    from_hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
             key);
    wrap_here(kek, 16, key, 16, out);           /* section 4.1 */
    first = to_hex(out, 24);
    g_assert_cmpstr(first, ==, "1fa68b0a8112b447aef34bd8fb5a7b82"
                    "9d3e862371d2cfe5");
    wrap_here(kek, 32, key, 32, out);           /* section 4.6 */
    last = to_hex(out, 40);
    g_assert_cmpstr(last, ==, "28c9f404c4b810f4cbccb35cfb87f826"
                    "3f5786e2d80ed326cbc7f0e71a99f43b"
                    "fb988b9b7a02dd21");

    memcpy(data, blob_key_bytes(keys_data_key(1)), BLOB_KEY_BYTES);
    memcpy(data + BLOB_KEY_BYTES, hsm_uuid, BLOB_KEY_UUID_BYTES);
    data[BLOB_KEY_BYTES + BLOB_KEY_UUID_BYTES] = 2;
    wrap_here(kek, 32, data, sizeof(data), out);
    slot = wrap_by("rfc3394", &slots);
    g_assert_cmpmem(slot.wrapped, slot.wrapped_bytes, out, sizeof(out));

    /*
     * The data names another slot of the same key, which the token has not
     * wrapped.
     */
    data[BLOB_KEY_BYTES + BLOB_KEY_UUID_BYTES] = 5;
    wrap_here(kek, 32, data, sizeof(data), slot.wrapped);
    memset(&slots, 0, sizeof(slots));
    blob_key_slot_encode(&slot, slots.bytes[5]);
    hsm_unlock_ok(&slots, pin());
}

/*
 * The token unwraps what libgcrypt has encrypted, so both have the same OAEP.
 * Many tokens do not encrypt.
 */
static void test_what_a_token_does_not_encrypt_is_encrypted_here(void)
{
    static const ShimCall calls[] = { SHIM_ENCRYPT_INIT, SHIM_ENCRYPT };

    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        BlobKeySlots slots;
        BlobKeySlot slot;

        hsm_shim()->fail = calls[i];
        hsm_shim()->rv = CKR_FUNCTION_NOT_SUPPORTED;
        slot = wrap_by(i ? "rsa4096" : "rsa2048", &slots);
        g_assert_cmpint(slot.hash, ==, expected_hash());
        hsm_shim()->rv = CKR_OK;
        hsm_unlock_ok(&slots, pin());
    }
}

static void test_token_encrypts_if_it_can(void)
{
    Shim *shim = hsm_shim();
    BlobKeySlots slots;
    BlobKeySlot slot;

    /* The core cannot encrypt without the exponent. */
    shim->hidden = CKA_PUBLIC_EXPONENT;
    slot = wrap_by("rsa2048", &slots);
    g_assert_cmpint(slot.hash, ==, expected_hash());
    hsm_unlock_ok(&slots, pin());

    shim->lie = SHIM_ENCRYPT;
    shim->lie_bytes = 255;
    hsm_put_fails(slot.uri, pin(), BLOBSTORE_ERROR_TOKEN,
                  "*has no public key that can be used*");
    shim->lie = SHIM_NONE;
    shim->fail = SHIM_ENCRYPT_INIT;
    shim->rv = CKR_FUNCTION_NOT_SUPPORTED;
    hsm_put_fails(slot.uri, pin(), BLOBSTORE_ERROR_TOKEN,
                  "*has no public key that can be used*");
}

int main(int argc, char **argv)
{
    hsm_init(&argc, &argv);
#define ADD(name) hsm_add("/pkcs11-wrapping/" #name, test_##name)
    ADD(rsa_keys_wrap_by_oaep);
    ADD(aes_keys_wrap_by_key_wrap);
    ADD(data_key_is_not_readable_in_a_slot);
    ADD(slot_is_bound_to_its_store_and_number);
    ADD(any_change_of_what_was_wrapped_is_refused);
    ADD(other_lengths_are_refused);
    ADD(what_another_key_wrapped_is_refused);
    ADD(mechanism_of_a_slot_must_be_that_of_its_key);
    ADD(hash_of_a_slot_must_be_right);
    ADD(aes_key_wrap_is_that_of_rfc_3394);
    ADD(what_a_token_does_not_encrypt_is_encrypted_here);
    ADD(token_encrypts_if_it_can);
    return hsm_run(provision);
}
