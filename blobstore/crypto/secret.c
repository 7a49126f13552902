/*
 * Blobstore core: secrets in locked memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "secret.h"

#include <gcrypt.h>
#include <string.h>
#include "digest.h"

BlobSecret *blob_secret_new(const void *data, size_t bytes, GError **error)
{
    BlobSecret *secret;

    blob_digest_init();
    secret = gcry_calloc_secure(1, sizeof(*secret) + bytes);
    if (!secret) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_NO_SECURE_MEMORY,
                    "no room for %zu bytes in libgcrypt's secure memory",
                    bytes);
        return NULL;
    }
    secret->bytes = bytes;
    if (data && bytes) {
        memcpy(secret->data, data, bytes);
    }
    return secret;
}

void blob_secret_free(BlobSecret *secret)
{
    gcry_free(secret);
}
