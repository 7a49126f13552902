/*
 * Unit tests of the core: sealing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/crypto/seal.h"

#include <string.h>
#include "blobstore/crypto/digest.h"
#include "hex.h"

/* RFC 8452, appendix C.2: AEAD_AES_256_GCM_SIV */
static const struct {
    const char *plaintext;
    const char *aad;
    const char *result;         /* ciphertext and tag */
} vectors[] = {
    { "", "", "07f5f4169bbf55a8400cd47ea6fd400f" },
    { "0100000000000000", "",
      "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28" },
    { "010000000000000000000000", "",
      "9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e" },
    { "01000000000000000000000000000000", "",
      "85a01b63025ba19b7fd3ddfc033b3e76c9eac6fa700942702e90862383c6c366" },
    { "0100000000000000000000000000000002000000000000000000000000000000", "",
      "4a6a9db4c8c6549201b9edb53006cba821ec9cf850948a7c86c68ac7539d027f"
      "e819e63abcd020b006a976397632eb5d" },
    { "0200000000000000", "01",
      "1de22967237a813291213f267e3b452f02d01ae33e4ec854" },
    { "020000000000000000000000", "01",
      "163d6f9cc1b346cd453a2e4cc1a4a19ae800941ccdc57cc8413c277f" },
};

/* RFC 8452, appendix C.3: the counter wraps around.  Key and nonce are zero. */
static const char wrapping_plaintext[] =
    "00000000000000000000000000000000"
    "4db923dc793ee6497c76dcc03a98e108";
static const char wrapping_result[] =
    "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3ea"
    "ffffffff000000000000000000000000";

enum { VECTOR_MAX_BYTES = 64 };

static const uint8_t vector_key[BLOB_SEAL_KEY_BYTES] = { 1 };
static const uint8_t vector_nonce[BLOB_NONCE_BYTES] = { 3 };

static BlobSeal *new_seal(const uint8_t key[BLOB_SEAL_KEY_BYTES])
{
    g_autoptr(GError) error = NULL;
    BlobSeal *seal = blob_seal_new(key, &error);

    g_assert_no_error(error);
    return seal;
}

/*
 * The mode has one result for each plaintext, so a successful decryption shows
 * that encryption gives the same.
 */
static void test_result_is_that_of_rfc_8452(void)
{
    g_autoptr(BlobSeal) seal = new_seal(vector_key);

    for (guint i = 0; i < G_N_ELEMENTS(vectors); i++) {
        uint8_t plaintext[VECTOR_MAX_BYTES];
        uint8_t aad[VECTOR_MAX_BYTES];
        uint8_t result[VECTOR_MAX_BYTES + BLOB_TAG_BYTES];
        size_t bytes = from_hex(vectors[i].plaintext, plaintext);
        size_t aad_bytes = from_hex(vectors[i].aad, aad);

        g_assert_cmpuint(from_hex(vectors[i].result, result), ==,
                         bytes + BLOB_TAG_BYTES);
        g_assert_true(blob_seal_decrypt(seal, aad, aad_bytes, result, bytes,
                                        vector_nonce, result + bytes));
        g_assert_cmpmem(result, bytes, plaintext, bytes);
    }
}

static void test_counter_wraps_as_in_rfc_8452(void)
{
    static const uint8_t zero[BLOB_SEAL_KEY_BYTES];
    g_autoptr(BlobSeal) seal = new_seal(zero);
    uint8_t plaintext[32];
    uint8_t result[sizeof(plaintext) + BLOB_TAG_BYTES];

    from_hex(wrapping_plaintext, plaintext);
    from_hex(wrapping_result, result);
    g_assert_true(blob_seal_decrypt(seal, NULL, 0, result, sizeof(plaintext),
                                    zero, result + sizeof(plaintext)));
    g_assert_cmpmem(result, sizeof(plaintext), plaintext, sizeof(plaintext));
}

static void test_what_was_sealed_comes_back(void)
{
    static const size_t lengths[] = { 0, 1, 15, 16, 17, 4096, 100000 };
    g_autoptr(BlobSeal) seal = new_seal(vector_key);

    for (guint i = 0; i < G_N_ELEMENTS(lengths); i++) {
        size_t bytes = lengths[i];
        g_autofree uint8_t *plain = g_malloc(bytes + 1);
        g_autofree uint8_t *data = g_malloc(bytes + 1);
        uint8_t nonce[BLOB_NONCE_BYTES];
        uint8_t tag[BLOB_TAG_BYTES];

        memset(plain, 0x77, bytes);
        memcpy(data, plain, bytes);
        g_assert_true(blob_seal_encrypt(seal, "aad", 3, data, bytes, nonce,
                                        tag, NULL));
        g_assert_true(bytes < 15 || memcmp(data, plain, bytes));
        g_assert_true(blob_seal_decrypt(seal, "aad", 3, data, bytes, nonce,
                                        tag));
        g_assert_cmpmem(data, bytes, plain, bytes);
    }
}

static void test_any_change_is_seen(void)
{
    enum { DATA, AAD, NONCE, TAG, KEY, PARTS };
    static const size_t lengths[PARTS] = { 20, 7, BLOB_NONCE_BYTES,
                                           BLOB_TAG_BYTES,
                                           BLOB_SEAL_KEY_BYTES };
    uint8_t parts[PARTS][BLOB_SEAL_KEY_BYTES] = { { 0 } };
    g_autoptr(BlobSeal) seal = new_seal(parts[KEY]);

    g_assert_true(blob_seal_encrypt(seal, parts[AAD], lengths[AAD],
                                    parts[DATA], lengths[DATA], parts[NONCE],
                                    parts[TAG], NULL));
    for (unsigned part = 0; part < PARTS; part++) {
        for (size_t bit = 0; bit < 8 * lengths[part]; bit++) {
            uint8_t data[BLOB_SEAL_KEY_BYTES];
            g_autoptr(BlobSeal) other = NULL;

            parts[part][bit / 8] ^= 1 << bit % 8;
            other = new_seal(parts[KEY]);
            memcpy(data, parts[DATA], sizeof(data));
            g_assert_false(blob_seal_decrypt(other, parts[AAD], lengths[AAD],
                                             data, lengths[DATA],
                                             parts[NONCE], parts[TAG]));
            parts[part][bit / 8] ^= 1 << bit % 8;
        }
    }
    /* A handle that has refused something still works. */
    g_assert_true(blob_seal_decrypt(seal, parts[AAD], lengths[AAD],
                                    parts[DATA], lengths[DATA], parts[NONCE],
                                    parts[TAG]));
}

static void test_each_nonce_is_new(void)
{
    g_autoptr(BlobSeal) seal = new_seal(vector_key);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_bytes_hash,
                                                       g_bytes_equal,
                                                       (GDestroyNotify)
                                                       g_bytes_unref, NULL);

    for (int i = 0; i < 1000; i++) {
        uint8_t data[4] = { 0 };
        uint8_t nonce[BLOB_NONCE_BYTES];
        uint8_t tag[BLOB_TAG_BYTES];

        g_assert_true(blob_seal_encrypt(seal, NULL, 0, data, sizeof(data),
                                        nonce, tag, NULL));
        g_assert_true(g_hash_table_add(seen, g_bytes_new(nonce,
                                                         sizeof(nonce))));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/seal/" #name, test_##name)
    ADD(result_is_that_of_rfc_8452);
    ADD(counter_wraps_as_in_rfc_8452);
    ADD(what_was_sealed_comes_back);
    ADD(any_change_is_seen);
    ADD(each_nonce_is_new);
    return g_test_run();
}
