/*
 * Blobstore in QEMU: the sections of a store in the state of the VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/vmstate-if.h"
#include "qapi/error.h"
#include "vmstate.h"

struct BlobStoreVMState {
    IdentityState *identity;
    BlobsState *blobs;
};

bool blobstore_vmstate_register(BlobStoreObject *store, Error **errp)
{
    VMStateIf *owner = VMSTATE_IF(store);
    BlobStoreVMState *state = g_new0(BlobStoreVMState, 1);

    state->identity = blobstore_identity_new(store);
    state->blobs = blobstore_blobs_new(store, state->identity);
    store->open.vmstate = state;
    if (vmstate_register_with_alias_id(owner, 0, &vmstate_blobstore_identity,
                                       state->identity, -1, 0, errp) < 0 ||
        vmstate_register_with_alias_id(owner, 0, &vmstate_blobstore_blobs,
                                       state->blobs, -1, 0, errp) < 0) {
        blobstore_vmstate_unregister(store);
        return false;
    }
    return true;
}

void blobstore_vmstate_unregister(BlobStoreObject *store)
{
    VMStateIf *owner = VMSTATE_IF(store);
    BlobStoreVMState *state = store->open.vmstate;

    if (state) {
        vmstate_unregister(owner, &vmstate_blobstore_identity,
                           state->identity);
        vmstate_unregister(owner, &vmstate_blobstore_blobs, state->blobs);
        blobstore_identity_free(state->identity);
        blobstore_blobs_free(state->blobs);
        g_clear_pointer(&store->open.vmstate, g_free);
    }
}
