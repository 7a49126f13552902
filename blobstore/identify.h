/*
 * Blobstore core: what a medium is, before its store is opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_IDENTIFY_H
#define BLOBSTORE_IDENTIFY_H

#include "store-private.h"

/*
 * Reads the superblock of a medium of @length bytes, and sees that it is the
 * one that the options of @store want and its key belongs to.  *@found becomes
 * whether there is one; if not, the medium is blank, or creating a store on
 * it was cut short, and it may become one.
 * Errors: those of blob_store_open() but for what is of the directory.
 */
bool blob_identify_medium(BlobStore *store, uint64_t length, bool *found,
                          GError **error);

#endif /* BLOBSTORE_IDENTIFY_H */
