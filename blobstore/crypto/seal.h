/*
 * Blobstore core: sealing, the encryption of payloads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SEAL_H
#define BLOBSTORE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "blobstore/error.h"

enum {
    BLOB_SEAL_KEY_BYTES = 32,
    BLOB_NONCE_BYTES = 12,
    BLOB_TAG_BYTES = 16,
};

/*
 * AES-256-GCM-SIV (RFC 8452) under one key.  One thread at a time uses it.
 * The store has this mode because a snapshot can roll it back: two payloads
 * under one nonce then show at most whether they are equal.
 */
typedef struct BlobSeal BlobSeal;

/*
 * A cipher with a copy of @key in secure memory.  The caller frees it.
 * Errors: NO_SECURE_MEMORY.
 */
BlobSeal *blob_seal_new(const uint8_t key[BLOB_SEAL_KEY_BYTES],
                        GError **error);

/* Wipes and frees a cipher; NULL is allowed. */
void blob_seal_free(BlobSeal *seal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobSeal, blob_seal_free)

/*
 * Encrypts @bytes of @data in place, and binds @aad to them, under a new
 * random @nonce.  Errors: RANDOM.
 */
bool blob_seal_encrypt(BlobSeal *seal, const void *aad, size_t aad_bytes,
                       void *data, size_t bytes,
                       uint8_t nonce[BLOB_NONCE_BYTES],
                       uint8_t tag[BLOB_TAG_BYTES], GError **error);

/*
 * Decrypts @data in place.  Returns false, and @data is of no use, if data,
 * @aad, @nonce or @tag are not what was encrypted under this key.
 */
bool blob_seal_decrypt(BlobSeal *seal, const void *aad, size_t aad_bytes,
                       void *data, size_t bytes,
                       const uint8_t nonce[BLOB_NONCE_BYTES],
                       const uint8_t tag[BLOB_TAG_BYTES]);

#endif /* BLOBSTORE_SEAL_H */
