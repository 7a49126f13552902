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
 * Goes on with a conversion that was begun, if there is one.  Errors: those
 * of blob_store_convert().
 */
bool blob_convert_finish(BlobStore *store, GError **error);

#endif /* BLOBSTORE_CONVERT_H */
