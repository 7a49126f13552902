/*
 * Blobstore core: changing how a whole store is guarded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_CONVERT_H
#define BLOBSTORE_CONVERT_H

#include "store-private.h"

/*
 * What guards a store that is being rekeyed, as long as its directory is
 * under the previous key.  Errors: TAMPERED, NO_SECURE_MEMORY.
 */
BlobGuard *blob_convert_previous_guard(const BlobStore *store,
                                       GError **error);

/*
 * What vouches for directories of the store @uuid while it is converted:
 * @key is the one in the key slots.  Errors: NO_SECURE_MEMORY.
 */
BlobDigest *blob_convert_new_voucher(const BlobKey *key,
                                     const uint8_t uuid[BLOB_UUID_BYTES],
                                     GError **error);

/*
 * Goes on with a conversion that was begun, if there is one.  Errors: those
 * of blob_store_convert().
 */
bool blob_convert_finish(BlobStore *store, GError **error);

#endif /* BLOBSTORE_CONVERT_H */
