/*
 * Blobstore: the calls from the hooks around QEMU's internal snapshots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SNAPSHOT_H
#define BLOBSTORE_SNAPSHOT_H

#include "block/block-common.h"
#include "qapi/qapi-builtin-types.h"

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

/*
 * The images of @devices (node names), or without @has_devices all images, are
 * about to be taken back to the snapshot @name, which all of them have.
 *
 * Refuses a snapshot in which a store was guarded by another key than now, or
 * was another store: the state of the VM in it would be refused when the images
 * have gone back.  Otherwise the machine is complete from now on, as after
 * blobstore_machine_complete().  Main thread, nothing is drained.
 *
 * Returns: whether the images may be taken back; nothing has changed if not.
 */
bool blobstore_snapshot_prepare_load(const char *name, bool has_devices,
                                     strList *devices, Error **errp);

#endif /* BLOBSTORE_SNAPSHOT_H */
