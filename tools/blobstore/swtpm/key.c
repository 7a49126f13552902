/*
 * State files of swtpm: keys, from files and passphrases
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "swtpm.h"

#include <gcrypt.h>
#include <string.h>

enum { SHA512_BYTES = 64, ROUNDS = 1000 };

static const char salt[] = "swtpm";

BlobSecret *swtpm_key_from_binary(const void *content, size_t bytes,
                                  size_t key_bytes, GError **error)
{
    if (bytes != key_bytes) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the key has %zu bytes, but %zu are needed", bytes,
                    key_bytes);
        return NULL;
    }
    return blob_secret_new(content, bytes, error);
}

/* The digits, without what may stand around them */
static const char *strip(const char *text, size_t *chars)
{
    if (*chars >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        text += 2;
        *chars -= 2;
    }
    while (*chars && g_ascii_isspace(text[*chars - 1])) {
        (*chars)--;
    }
    return text;
}

BlobSecret *swtpm_key_from_hex(const void *content, size_t bytes,
                               size_t key_bytes, GError **error)
{
    g_autoptr(BlobSecret) key = blob_secret_new(NULL, key_bytes, error);
    const char *text = strip(content, &bytes);
    bool good = bytes == 2 * key_bytes;

    if (!key) {
        return NULL;
    }
    for (size_t i = 0; good && i < key_bytes; i++) {
        int high = g_ascii_xdigit_value(text[2 * i]);
        int low = g_ascii_xdigit_value(text[2 * i + 1]);

        good = high >= 0 && low >= 0;
        key->data[i] = good ? high << 4 | low : 0;
    }
    if (!good) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the key is not %zu hexadecimal digits", 2 * key_bytes);
        return NULL;
    }
    return g_steal_pointer(&key);
}

BlobSecret *swtpm_key_from_passphrase(const void *content, size_t bytes,
                                      SwtpmKdf kdf, size_t key_bytes,
                                      GError **error)
{
    g_autoptr(BlobSecret) derived = blob_secret_new(NULL, SHA512_BYTES, error);
    gcry_error_t err = 0;

    if (!derived) {
        return NULL;
    }
    if (!bytes) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the passphrase is empty");
        return NULL;
    }
    if (kdf == SWTPM_KDF_SHA512) {
        gcry_md_hash_buffer(GCRY_MD_SHA512, derived->data, content, bytes);
    } else {
        err = gcry_kdf_derive(content, bytes, GCRY_KDF_PBKDF2, GCRY_MD_SHA512,
                              salt, strlen(salt), ROUNDS, key_bytes,
                              derived->data);
    }
    if (err) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "libgcrypt: PBKDF2: %s", gcry_strerror(err));
        return NULL;
    }
    return blob_secret_new(derived->data, key_bytes, error);
}
