/*
 * Blobstore core: wrapping the data key in a key slot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_WRAP_H
#define BLOBSTORE_WRAP_H

#include "keyslot.h"

/* Whether @secret (NULL: none) can be one at all.  Errors: INVALID. */
bool blob_wrap_check_secret(const BlobSecret *secret, GError **error);

/*
 * The data key in @slot, number @n of the store @uuid.  NULL without @error if
 * @credential has another secret.  Errors: KEY, TOKEN, INVALID,
 * NO_SECURE_MEMORY.
 */
BlobKey *blob_wrap_open(const BlobKeySlot *slot, unsigned n,
                        const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                        const BlobCredential *credential, GError **error);

/*
 * Makes @slot, of which only the type is set, hold @key.  Errors: INVALID,
 * TOKEN, RANDOM, NO_SECURE_MEMORY.
 */
bool blob_wrap_make(BlobKeySlot *slot, unsigned n, const BlobKey *key,
                    const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                    const BlobCredential *credential, unsigned milliseconds,
                    GError **error);

#endif /* BLOBSTORE_WRAP_H */
