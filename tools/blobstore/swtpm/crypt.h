/*
 * State files of swtpm: encryption
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_SWTPM_CRYPT_H
#define TOOLS_BLOBSTORE_SWTPM_CRYPT_H

#include "swtpm.h"

enum {
    SWTPM_BLOCK_BYTES = 16,             /* of AES */
    SWTPM_MAC_BYTES = 32,
};

/* Bytes of a file; @data is NULL if it has none of that tag */
typedef struct SwtpmPart {
    const uint8_t *data;
    size_t bytes;
} SwtpmPart;

/* HMAC-SHA256 of @a followed by @b */
void swtpm_crypt_authenticate(const BlobSecret *key, SwtpmPart a, SwtpmPart b,
                              uint8_t mac[SWTPM_MAC_BYTES]);

/*
 * AES-CBC without padding, from @in to @out, which are of @bytes (a multiple
 * of SWTPM_BLOCK_BYTES) and may be the same.
 */
void swtpm_crypt_encrypt(const BlobSecret *key,
                         const uint8_t iv[SWTPM_BLOCK_BYTES],
                         const uint8_t *in, size_t bytes, uint8_t *out);
void swtpm_crypt_decrypt(const BlobSecret *key,
                         const uint8_t iv[SWTPM_BLOCK_BYTES],
                         const uint8_t *in, size_t bytes, uint8_t *out);

/* The bytes that pad @bytes to a multiple of the key's length: at least 1 */
size_t swtpm_crypt_padding(const BlobSecret *key, size_t bytes);

/*
 * Takes the padding off the @bytes at @data.  Returns false if it is none.
 */
bool swtpm_crypt_unpad(const BlobSecret *key, const uint8_t *data,
                       size_t *bytes);

#endif /* TOOLS_BLOBSTORE_SWTPM_CRYPT_H */
