/*
 * Blobstore in QEMU: the sections of a store in the state of the VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/vmstate-if.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "vmstate.h"
#include "blobstore/trace.h"

struct BlobStoreVMState {
    IdentityState *identity;
    BlobsState *blobs;
};

static gint compare_blobs(gconstpointer a, gconstpointer b)
{
    const BlobStoreBlob *x = *(BlobStoreBlob *const *)a;
    const BlobStoreBlob *y = *(BlobStoreBlob *const *)b;

    return strcmp(x->client->owner, y->client->owner) ?:
           strcmp(x->name, y->name);
}

GPtrArray *stream_sorted_blobs(BlobStoreObject *store)
{
    GPtrArray *blobs = g_ptr_array_new();
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            g_ptr_array_add(blobs, blob);
        }
    }
    g_ptr_array_sort(blobs, compare_blobs);
    return blobs;
}

bool stream_is_name(const uint8_t name[STREAM_NAME_BYTES])
{
    return memchr(name, 0, STREAM_NAME_BYTES) &&
           blob_name_is_valid(stream_name(name));
}

const char *stream_name(const uint8_t name[STREAM_NAME_BYTES])
{
    return (const char *)name;
}

void stream_set_name(uint8_t name[STREAM_NAME_BYTES], const char *from)
{
    pstrcpy((char *)name, STREAM_NAME_BYTES, from);
}

int stream_fail_load(BlobStoreObject *store, Error *err)
{
    error_prepend(&err, "blobstore '%s': ", store->id);
    trace_blobstore_load_failed(store->id, error_get_pretty(err));
    error_report_err(err);
    return -EINVAL;
}

bool blobstore_vmstate_register(BlobStoreObject *store, Error **errp)
{
    VMStateIf *owner = VMSTATE_IF(store);
    BlobStoreVMState *state = g_new0(BlobStoreVMState, 1);

    state->identity = identity_state_new(store);
    state->blobs = blobs_state_new(store);
    store->vmstate = state;
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
    BlobStoreVMState *state = store->vmstate;

    if (state) {
        vmstate_unregister(owner, &vmstate_blobstore_identity,
                           state->identity);
        vmstate_unregister(owner, &vmstate_blobstore_blobs, state->blobs);
        identity_state_free(state->identity);
        blobs_state_free(state->blobs);
        g_clear_pointer(&store->vmstate, g_free);
    }
}
