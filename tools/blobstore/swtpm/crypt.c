/*
 * State files of swtpm: encryption
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "crypt.h"

#include <gcrypt.h>
#include <string.h>

/* Only a broken libgcrypt fails here: the arguments are all of legal sizes. */
static void must(gcry_error_t err)
{
    if (err) {
        g_error("libgcrypt: %s", gcry_strerror(err));
    }
}

void swtpm_crypt_authenticate(const BlobSecret *key, SwtpmPart a, SwtpmPart b,
                              uint8_t mac[SWTPM_MAC_BYTES])
{
    size_t bytes = SWTPM_MAC_BYTES;
    gcry_mac_hd_t hmac;

    must(gcry_mac_open(&hmac, GCRY_MAC_HMAC_SHA256, GCRY_MAC_FLAG_SECURE,
                       NULL));
    must(gcry_mac_setkey(hmac, key->data, key->bytes));
    must(gcry_mac_write(hmac, a.data, a.bytes));
    must(gcry_mac_write(hmac, b.data, b.bytes));
    must(gcry_mac_read(hmac, mac, &bytes));
    gcry_mac_close(hmac);
}

static gcry_cipher_hd_t open_cipher(const BlobSecret *key,
                                    const uint8_t iv[SWTPM_BLOCK_BYTES])
{
    gcry_cipher_hd_t cipher;

    must(gcry_cipher_open(&cipher, key->bytes == 32 ? GCRY_CIPHER_AES256
                                                    : GCRY_CIPHER_AES128,
                          GCRY_CIPHER_MODE_CBC, GCRY_CIPHER_SECURE));
    must(gcry_cipher_setkey(cipher, key->data, key->bytes));
    must(gcry_cipher_setiv(cipher, iv, SWTPM_BLOCK_BYTES));
    return cipher;
}

void swtpm_crypt_encrypt(const BlobSecret *key,
                         const uint8_t iv[SWTPM_BLOCK_BYTES],
                         const uint8_t *in, size_t bytes, uint8_t *out)
{
    gcry_cipher_hd_t cipher = open_cipher(key, iv);

    memmove(out, in, bytes);
    must(gcry_cipher_encrypt(cipher, out, bytes, NULL, 0));
    gcry_cipher_close(cipher);
}

void swtpm_crypt_decrypt(const BlobSecret *key,
                         const uint8_t iv[SWTPM_BLOCK_BYTES],
                         const uint8_t *in, size_t bytes, uint8_t *out)
{
    gcry_cipher_hd_t cipher = open_cipher(key, iv);

    memmove(out, in, bytes);
    must(gcry_cipher_decrypt(cipher, out, bytes, NULL, 0));
    gcry_cipher_close(cipher);
}

size_t swtpm_crypt_padding(const BlobSecret *key, size_t bytes)
{
    return key->bytes - bytes % key->bytes;
}

bool swtpm_crypt_unpad(const BlobSecret *key, const uint8_t *data,
                       size_t *bytes)
{
    uint8_t padding = *bytes ? data[*bytes - 1] : 0;

    if (!padding || padding > key->bytes || padding > *bytes) {
        return false;
    }
    for (size_t n = 1; n <= padding; n++) {
        if (data[*bytes - n] != padding) {
            return false;
        }
    }
    *bytes -= padding;
    return true;
}
