/*
 * Whether what had to be zeroed is zero
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_WIPED_H
#define TESTS_CRASH_WIPED_H

#include "blobstore/store-private.h"

/*
 * Whether nothing but the current version is in the slots of @blob.  @disk is
 * all of the medium, here and below.
 */
bool wiped_blob(const uint8_t *disk, const Blob *blob);

/* S8: the same of each blob that is deleted from a sealed store */
bool wiped_deleted(const uint8_t *disk, const BlobStore *store);

/* Whether nothing that is not current is in the store, free space included */
bool wiped_store(const uint8_t *disk, const BlobStore *store);

#endif /* TESTS_CRASH_WIPED_H */
