/*
 * Blobstore core: sealing, the encryption of payloads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "seal.h"

#include <gcrypt.h>
#include <string.h>
#include "digest.h"

struct BlobSeal {
    gcry_cipher_hd_t cipher;
};

BlobSeal *blob_seal_new(const uint8_t key[BLOB_SEAL_KEY_BYTES],
                        GError **error)
{
    BlobSeal *seal = g_new0(BlobSeal, 1);
    gcry_error_t err;

    blob_digest_init();
    err = gcry_cipher_open(&seal->cipher, GCRY_CIPHER_AES256,
                           GCRY_CIPHER_MODE_GCM_SIV, GCRY_CIPHER_SECURE);
    if (!err) {
        err = gcry_cipher_setkey(seal->cipher, key, BLOB_SEAL_KEY_BYTES);
    }
    if (err) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_NO_SECURE_MEMORY,
                    "libgcrypt: AES-256-GCM-SIV in secure memory: %s",
                    gcry_strerror(err));
        blob_seal_free(seal);
        return NULL;
    }
    return seal;
}

void blob_seal_free(BlobSeal *seal)
{
    if (seal) {
        gcry_cipher_close(seal->cipher);
        g_free(seal);
    }
}

/* There may be nothing to encrypt, and then no place where it is. */
static void *place(void *data, size_t bytes, uint8_t *nothing)
{
    return bytes ? data : nothing;
}

/*
 * libgcrypt 1.10.1 refuses to encrypt with a handle that was used and not
 * reset, and gcry_cipher_gettag() still hands out the tag from before.
 */
static gcry_error_t begin(BlobSeal *seal, const void *aad, size_t aad_bytes,
                          const uint8_t nonce[BLOB_NONCE_BYTES])
{
    gcry_error_t err = gcry_cipher_reset(seal->cipher);

    if (!err) {
        err = gcry_cipher_setiv(seal->cipher, nonce, BLOB_NONCE_BYTES);
    }
    if (!err) {
        err = gcry_cipher_authenticate(seal->cipher, aad, aad_bytes);
    }
    return err;
}

bool blob_seal_encrypt(BlobSeal *seal, const void *aad, size_t aad_bytes,
                       void *data, size_t bytes,
                       uint8_t nonce[BLOB_NONCE_BYTES],
                       uint8_t tag[BLOB_TAG_BYTES], GError **error)
{
    gcry_error_t err;
    uint8_t nothing;

    /* S9: nothing is sealed without a new nonce. */
    if (!blob_digest_random(nonce, BLOB_NONCE_BYTES, error)) {
        return false;
    }
    err = begin(seal, aad, aad_bytes, nonce);
    if (!err) {
        err = gcry_cipher_final(seal->cipher);
    }
    if (!err) {
        err = gcry_cipher_encrypt(seal->cipher, place(data, bytes, &nothing),
                                  bytes, NULL, 0);
    }
    if (!err) {
        err = gcry_cipher_gettag(seal->cipher, tag, BLOB_TAG_BYTES);
    }
    /* Data that were not encrypted must not reach the medium. */
    if (err) {
        g_error("libgcrypt: AES-256-GCM-SIV: %s", gcry_strerror(err));
    }
    return true;
}

bool blob_seal_decrypt(BlobSeal *seal, const void *aad, size_t aad_bytes,
                       void *data, size_t bytes,
                       const uint8_t nonce[BLOB_NONCE_BYTES],
                       const uint8_t tag[BLOB_TAG_BYTES])
{
    gcry_error_t err = begin(seal, aad, aad_bytes, nonce);
    uint8_t nothing;

    if (!err) {
        /* This mode needs the tag before it can decrypt. */
        err = gcry_cipher_set_decryption_tag(seal->cipher, (void *)tag,
                                             BLOB_TAG_BYTES);
    }
    if (!err) {
        err = gcry_cipher_final(seal->cipher);
    }
    if (!err) {
        err = gcry_cipher_decrypt(seal->cipher, place(data, bytes, &nothing),
                                  bytes, NULL, 0);
    }
    if (!err) {
        err = gcry_cipher_checktag(seal->cipher, tag, BLOB_TAG_BYTES);
    }
    return !err;
}
