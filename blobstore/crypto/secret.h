/*
 * Blobstore core: secrets in locked memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SECRET_H
#define BLOBSTORE_SECRET_H

#include <stddef.h>
#include <stdint.h>
#include "blobstore/error.h"

/*
 * Bytes in libgcrypt's secure memory, which is not swapped out where the
 * system allows that, and wiped when they are freed.  Any thread may use
 * these.
 */
typedef struct BlobSecret {
    size_t bytes;
    uint8_t data[];
} BlobSecret;

/*
 * A copy of @bytes at @data, or zeros if it is NULL.  The caller frees it.
 * Errors: NO_SECURE_MEMORY.
 */
BlobSecret *blob_secret_new(const void *data, size_t bytes, GError **error);

/* Wipes and frees a secret; NULL is allowed. */
void blob_secret_free(BlobSecret *secret);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobSecret, blob_secret_free)

#endif /* BLOBSTORE_SECRET_H */
