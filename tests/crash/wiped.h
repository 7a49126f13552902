/*
 * Checks that what had to be zeroed is zero
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_WIPED_H
#define TESTS_CRASH_WIPED_H

#include "blobstore/store-private.h"

/*
 * Returns whether the slots of @blob hold only the current version.  @disk is
 * all of the medium, here and below.
 */
bool wiped_blob(const uint8_t *disk, const Blob *blob);

/* S8: the same for each blob that is deleted from a sealed store */
bool wiped_deleted(const uint8_t *disk, const BlobStore *store);

/*
 * Returns whether the store, free space included, holds only what is current.
 */
bool wiped_store(const uint8_t *disk, const BlobStore *store);

#endif /* TESTS_CRASH_WIPED_H */
