/*
 * Blobstore core: what a medium is, before its store is opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_IDENTIFY_H
#define BLOBSTORE_IDENTIFY_H

#include "store-private.h"

/*
 * Reads the superblock of a medium of @length bytes, and checks that the
 * options of @store accept it and that the key, which it asks for, belongs to
 * it.  *@found becomes whether there is a store.  If not, the medium is blank,
 * or creating a store on it was cut short, and a store may be created there.
 * Errors: those of blob_store_open() that do not concern the directory.
 */
bool blob_identify_medium(BlobStore *store, uint64_t length, bool *found,
                          GError **error);

#endif /* BLOBSTORE_IDENTIFY_H */
