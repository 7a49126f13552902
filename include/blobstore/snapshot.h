/*
 * Blobstore: the calls from the hooks around QEMU's internal snapshots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SNAPSHOT_H
#define BLOBSTORE_SNAPSHOT_H

#include "block/block-common.h"

/*
 * Puts the images of stores (of BlockDriverState *) behind all others, as a
 * GCompareFunc.  QEMU saves the state of the VM, which is as large as its
 * memory, in the first image.
 */
int blobstore_snapshot_compare(const void *a, const void *b);

/*
 * The state of the VM is about to be saved in @bs (NULL: in none): tells the
 * user if that is the image of a store.
 */
void blobstore_snapshot_note_save(BlockDriverState *bs);

#endif /* BLOBSTORE_SNAPSHOT_H */
