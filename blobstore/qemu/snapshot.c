/*
 * Blobstore in QEMU: where the state of the VM is saved
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/snapshot.h"
#include "qemu/error-report.h"
#include "glue.h"

typedef struct Owner {
    BlockDriverState *bs;
    BlobStoreObject *found;
} Owner;

static void match_owner(BlobStoreObject *store, void *opaque)
{
    Owner *owner = opaque;

    if (blobstore_object_is_open(store) &&
        blk_bs(store->open.medium.blk) == owner->bs) {
        owner->found = store;
    }
}

/* The store that has @bs, or NULL */
static BlobStoreObject *find_owner(const BlockDriverState *bs)
{
    Owner owner = { .bs = (BlockDriverState *)bs };

    blobstore_stores_foreach(match_owner, &owner);
    return owner.found;
}

int blobstore_snapshot_compare(const void *a, const void *b)
{
    return !!find_owner(a) - !!find_owner(b);
}

void blobstore_snapshot_note_save(BlockDriverState *bs)
{
    BlobStoreObject *store = bs ? find_owner(bs) : NULL;

    if (store) {
        warn_report("blobstore '%s': the state of the VM is saved in drive "
                    "'%s', which grows by the memory of the VM", store->id,
                    store->drive);
    }
}
