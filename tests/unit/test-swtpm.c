/*
 * Unit tests of the tool: state files of swtpm
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tools/blobstore/swtpm/crypt.h"

#include <string.h>
#include "blobstore/crypto/digest.h"
#include "hex.h"

static const char state[] = "the state of a TPM";
enum { STATE_BYTES = sizeof(state) - 1, VECTOR_MAX_BYTES = 256 };

/*
 * The same state in each form, made by a program of its own with the keys
 * 00, 01, 02, ... of 16 and 32 bytes; Debian's swtpm reads these forms
 */
static const struct {
    const char *name;
    size_t key_bytes;
    const char *file;
} vectors[] = {
    { "version 1", 0,
      "0101000a00000000001c746865207374617465206f6620612054504d" },
    { "version 1, encrypted", 16,
      "0101000a00010000004a0f8b92f959078df9d6462b78f4fb4c788babda2be3dec8"
      "6b75f3a42b46902cbe94c95b246a73d6dd61e8c3a5b5c43a8a93f4747b3e1d835d"
      "d235925df3edd69b" },
    { "version 2", 0,
      "0201000a000000000022000100000012746865207374617465206f662061205450"
      "4d" },
    { "version 2, encrypted without IV", 16,
      "0201000a000100000056000200000020d266800dc67ace43b1c2a09a98650bd207"
      "6e81a44b4bb8c52f3a9eb7ec05ac810003000000207572c2c9b2fb69af3bc14416"
      "00d45d9eaa62277643a639525b52cdc16f75d848" },
    { "version 2, encrypted with 128 bits", 16,
      "0201000a00010000006c000200000020df6042cbfc32dbab207459a35bb8551ca6"
      "c6a6702b0768d50dca66e7b694f9e6000300000020f471be115567e43d6b75e22d"
      "3d37965e75b81523ee0ecc0e4212ad968181d2ac0006000000106465666768696a"
      "6b6c6d6e6f70717273" },
    { "version 2, encrypted with 256 bits", 32,
      "0201000a00090000007c000200000020266b82b89c3974cce490db1c6262554b23"
      "40aac815441b1394bc3bd835edf32b0003000000203aa080c0b9265ace44531555"
      "a0ff82186713aeb08e8219cb2b559553dc04b7bb0006000000206465666768696a"
      "6b6c6d6e6f707172737475767778797a7b7c7d7e7f80818283" },
};

enum { PLAIN = 2, SEALED = 4, SEALED_256 = 5 };

/* The key of a vector, or NULL */
static BlobSecret *new_key(size_t bytes)
{
    BlobSecret *key = bytes ? blob_secret_new(NULL, bytes, NULL) : NULL;

    for (size_t i = 0; i < bytes; i++) {
        key->data[i] = i;
    }
    return key;
}

/* From a copy without anything behind it, which nothing may read */
static GBytes *decode(const uint8_t *data, size_t bytes,
                      const BlobSecret *key, GError **error)
{
    g_autofree uint8_t *copy = g_memdup2(data, bytes);

    return swtpm_file_decode(copy, bytes, key, error);
}

static void assert_state(GBytes *content)
{
    g_assert_nonnull(content);
    g_assert_cmpmem(g_bytes_get_data(content, NULL),
                    g_bytes_get_size(content), state, STATE_BYTES);
}

static void assert_refused(const uint8_t *data, size_t bytes,
                           const BlobSecret *key, BlobStoreError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(decode(data, bytes, key, &error));
    g_assert_error(error, BLOBSTORE_ERROR, code);
}

static void test_each_form_is_read(void)
{
    for (size_t n = 0; n < G_N_ELEMENTS(vectors); n++) {
        uint8_t file[VECTOR_MAX_BYTES];
        size_t bytes = from_hex(vectors[n].file, file);
        g_autoptr(BlobSecret) key = new_key(vectors[n].key_bytes);
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) content = decode(file, bytes, key, &error);

        g_test_message("%s", vectors[n].name);
        g_assert_no_error(error);
        assert_state(content);
    }
}

/* The first version has no digest, so any state of that length is one. */
static void test_any_change_of_an_encrypted_file_is_refused(void)
{
    for (size_t n = 0; n < G_N_ELEMENTS(vectors); n++) {
        uint8_t file[VECTOR_MAX_BYTES];
        size_t bytes = from_hex(vectors[n].file, file);
        g_autoptr(BlobSecret) key = new_key(vectors[n].key_bytes);

        for (size_t bit = 0; key && bit < 8 * bytes; bit++) {
            g_autoptr(GBytes) content = NULL;

            file[bit / 8] ^= 1 << bit % 8;
            content = decode(file, bytes, key, NULL);
            file[bit / 8] ^= 1 << bit % 8;
            /* Only the versions in the header may change, within limits. */
            g_assert_true(!content || bit < 16);
            if (content) {
                assert_state(content);
            }
        }
    }
}

static void test_file_that_is_cut_or_longer_is_refused(void)
{
    for (size_t n = 0; n < G_N_ELEMENTS(vectors); n++) {
        uint8_t file[VECTOR_MAX_BYTES + 1] = { };
        size_t bytes = from_hex(vectors[n].file, file);
        g_autoptr(BlobSecret) key = new_key(vectors[n].key_bytes);

        for (size_t length = 0; length <= bytes + 1; length++) {
            if (length != bytes) {
                assert_refused(file, length, key, length < 10
                               ? BLOBSTORE_ERROR_FOREIGN
                               : BLOBSTORE_ERROR_CORRUPT);
            }
        }
    }
}

static void test_parts_that_make_no_sense_are_refused(void)
{
    static const struct {
        BlobStoreError code;
        const char *file;
    } bad[] = {
        { BLOBSTORE_ERROR_CORRUPT, "0201000a00000000000c0001" },
        { BLOBSTORE_ERROR_CORRUPT, "0201000a000000000010000100000001" },
        { BLOBSTORE_ERROR_CORRUPT, "0201000a0000000000100001ffffffff" },
        { BLOBSTORE_ERROR_CORRUPT,
          "0201000a000000000016000100000000000100000000" },
        { BLOBSTORE_ERROR_CORRUPT, "0201000a00000000000a" },
        { BLOBSTORE_ERROR_UNSUPPORTED, "0303000a000000000010000100000000" },
        { BLOBSTORE_ERROR_UNSUPPORTED, "0201000a000200000010000100000000" },
        { BLOBSTORE_ERROR_FOREIGN, "0001000a000000000010000100000000" },
        { BLOBSTORE_ERROR_FOREIGN, "0201000b000000000010000100000000" },
    };

    for (size_t n = 0; n < G_N_ELEMENTS(bad); n++) {
        uint8_t file[VECTOR_MAX_BYTES];
        size_t bytes = from_hex(bad[n].file, file);

        assert_refused(file, bytes, NULL, bad[n].code);
    }
}

/* Somebody newer may write them. */
static void test_unknown_part_is_passed_over(void)
{
    uint8_t file[VECTOR_MAX_BYTES];
    size_t bytes = from_hex("0201000a00000000001a0063000000027878"
                            "0001000000027979", file);
    g_autoptr(GBytes) content = decode(file, bytes, NULL, NULL);

    g_assert_nonnull(content);
    g_assert_cmpmem(g_bytes_get_data(content, NULL),
                    g_bytes_get_size(content), "yy", 2);
}

static void test_key_must_fit(void)
{
    g_autoptr(BlobSecret) key = new_key(16);
    g_autoptr(BlobSecret) long_key = new_key(32);
    uint8_t file[VECTOR_MAX_BYTES];
    size_t bytes = from_hex(vectors[SEALED].file, file);

    assert_refused(file, bytes, NULL, BLOBSTORE_ERROR_KEY);
    assert_refused(file, bytes, long_key, BLOBSTORE_ERROR_KEY);
    key->data[0] ^= 1;
    assert_refused(file, bytes, key, BLOBSTORE_ERROR_KEY);
    bytes = from_hex(vectors[SEALED_256].file, file);
    assert_refused(file, bytes, key, BLOBSTORE_ERROR_KEY);
    bytes = from_hex(vectors[PLAIN].file, file);
    assert_refused(file, bytes, key, BLOBSTORE_ERROR_KEY);
}

/* Whoever has the key can still make a file that is wrong. */
static void test_padding_is_checked(void)
{
    static const uint8_t bad[][3] = {
        { 1, 1, 0 }, { 4, 4, 4 }, { 2, 2, 3 }, { 1, 3, 3 }, { 1, 1, 17 },
    };
    g_autoptr(BlobSecret) key = new_key(16);
    size_t bytes = 3;

    for (size_t n = 0; n < G_N_ELEMENTS(bad); n++) {
        g_autofree uint8_t *copy = g_memdup2(bad[n], 3);

        g_assert_false(swtpm_crypt_unpad(key, copy, &bytes));
        g_assert_cmpuint(bytes, ==, 3);
    }
    bytes = 0;
    g_assert_false(swtpm_crypt_unpad(key, bad[0], &bytes));
    bytes = 2;
    g_assert_true(swtpm_crypt_unpad(key, bad[2], &bytes));
    g_assert_cmpuint(bytes, ==, 0);
}

static void test_what_is_written_can_be_read(void)
{
    static const size_t key_bytes[] = { 0, 16, 32 };

    for (size_t n = 0; n < G_N_ELEMENTS(key_bytes); n++) {
        g_autoptr(BlobSecret) key = new_key(key_bytes[n]);

        for (size_t bytes = 0; bytes <= 100; bytes++) {
            uint8_t content[100] = { bytes };
            g_autoptr(GBytes) before = g_bytes_new(content, bytes);
            g_autoptr(GBytes) file = swtpm_file_encode(before, key, NULL);
            g_autoptr(GBytes) again = swtpm_file_encode(before, key, NULL);
            g_autoptr(GBytes) after =
                decode(g_bytes_get_data(file, NULL), g_bytes_get_size(file),
                       key, NULL);

            g_assert_nonnull(after);
            g_assert_true(g_bytes_equal(before, after));
            /* Each has an IV of its own. */
            g_assert_true(g_bytes_equal(file, again) == !key);
        }
    }
}

static void test_plain_file_is_written_as_swtpm_does(void)
{
    g_autoptr(GBytes) content = g_bytes_new(state, STATE_BYTES);
    g_autoptr(GBytes) file = swtpm_file_encode(content, NULL, NULL);
    uint8_t expected[VECTOR_MAX_BYTES];
    size_t bytes = from_hex(vectors[PLAIN].file, expected);

    g_assert_cmpmem(g_bytes_get_data(file, NULL), g_bytes_get_size(file),
                    expected, bytes);
}

static void test_state_has_a_limit(void)
{
    g_autofree uint8_t *data = g_malloc0(SWTPM_FILE_MAX_BYTES + 1);
    g_autoptr(GBytes) content = g_bytes_new(data, SWTPM_FILE_MAX_BYTES);
    g_autoptr(GError) error = NULL;

    assert_refused(data, SWTPM_FILE_MAX_BYTES + 1, NULL,
                   BLOBSTORE_ERROR_TOO_LARGE);
    g_assert_null(swtpm_file_encode(content, NULL, &error));
    g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_LARGE);
}

static void assert_key(BlobSecret *key, const char *expected, GError *error)
{
    g_autofree char *hex = NULL;

    g_assert_no_error(error);
    hex = to_hex(key->data, key->bytes);
    g_assert_cmpstr(hex, ==, expected);
    blob_secret_free(key);
}

static void test_key_is_read_from_a_file(void)
{
    static const char hex[] = "000102030405060708090a0b0c0d0E0F";
    static const char expected[] = "000102030405060708090a0b0c0d0e0f";
    g_autofree char *line = g_strconcat("0x", hex, "\r\n", NULL);
    GError *error = NULL;

    assert_key(swtpm_key_from_hex(hex, strlen(hex), 16, &error), expected,
               error);
    assert_key(swtpm_key_from_hex(line, strlen(line), 16, &error), expected,
               error);
    assert_key(swtpm_key_from_binary("0123456789abcdef", 16, 16, &error),
               "30313233343536373839616263646566", error);
}

static void test_bad_key_is_refused(void)
{
    static const char *const bad[] = {
        "", "0x", "000102030405060708090a0b0c0d0e",
        "000102030405060708090a0b0c0d0e0", "000102030405060708090a0b0c0d0e0fff",
        "000102030405060708090a0b0c0d0e0g", " 00102030405060708090a0b0c0d0e0f",
    };

    for (size_t n = 0; n < G_N_ELEMENTS(bad); n++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(swtpm_key_from_hex(bad[n], strlen(bad[n]), 16, &error));
        g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID);
    }
    g_assert_null(swtpm_key_from_binary("0123456789abcdef\n", 17, 16, NULL));
    g_assert_null(swtpm_key_from_passphrase("", 0, SWTPM_KDF_PBKDF2, 16,
                                            NULL));
}

static void test_key_is_derived_from_a_passphrase(void)
{
    static const char text[] = "my passphrase\n";
    GError *error = NULL;

    assert_key(swtpm_key_from_passphrase(text, strlen(text), SWTPM_KDF_SHA512,
                                         32, &error),
               "6b01fe983cc24339f4c5729c9a5524364fda6b3c2cd5ce52357dccc65970eb"
               "97", error);
    assert_key(swtpm_key_from_passphrase(text, strlen(text), SWTPM_KDF_PBKDF2,
                                         32, &error),
               "0244dc34f20b421bda162343442182a14fee19fa42c1b35951cf52969f1150"
               "0f", error);
    assert_key(swtpm_key_from_passphrase(text, strlen(text), SWTPM_KDF_PBKDF2,
                                         16, &error),
               "0244dc34f20b421bda162343442182a1", error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    blob_digest_init();
#define ADD(name) g_test_add_func("/swtpm/" #name, test_##name)
    ADD(each_form_is_read);
    ADD(any_change_of_an_encrypted_file_is_refused);
    ADD(file_that_is_cut_or_longer_is_refused);
    ADD(parts_that_make_no_sense_are_refused);
    ADD(unknown_part_is_passed_over);
    ADD(key_must_fit);
    ADD(padding_is_checked);
    ADD(what_is_written_can_be_read);
    ADD(plain_file_is_written_as_swtpm_does);
    ADD(state_has_a_limit);
    ADD(key_is_read_from_a_file);
    ADD(bad_key_is_refused);
    ADD(key_is_derived_from_a_passphrase);
    return g_test_run();
}
