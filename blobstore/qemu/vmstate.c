/*
 * Blobstore in QEMU: what the state of the VM means for a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "system/reset.h"
#include "glue.h"

/* Before the devices, which wait for their workers */
static void first_on_stop(void *opaque, bool running, RunState state)
{
    BlobStoreObject *store = opaque;

    if (!running) {
        qemu_co_enter_all(&store->unstopped, NULL);
    }
}

/* When the VM stops, after the devices; when it starts, before them */
static void last_on_stop(void *opaque, bool running, RunState state)
{
    BlobStoreObject *store = opaque;

    if (running) {
        blobstore_write_staged(store);
        return;
    }
    if (state == RUN_STATE_SHUTDOWN) {
        /* Finalizers run when the block devices are gone already. */
        blobstore_write_staged(store);
        blobstore_close_clean(store);
    }
    /*
     * While the VM is stopped the image can be handed to another QEMU and
     * back, or be reverted to a snapshot.
     */
    store->check_medium = true;
}

bool blobstore_vmstate_register(BlobStoreObject *store, Error **errp)
{
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "incoming migration is not supported yet");
        return false;
    }
    error_setg(&store->migration_blocker, "blobstore '%s': migration and VM "
               "snapshots are not supported yet", store->id);
    if (migrate_add_blocker(&store->migration_blocker, errp) < 0) {
        return false;
    }
    store->first_on_stop =
        qemu_add_vm_change_state_handler_prio(first_on_stop, store, INT_MAX);
    store->last_on_stop =
        qemu_add_vm_change_state_handler_prio(last_on_stop, store, INT_MIN);
    qemu_register_resettable(OBJECT(store));
    return true;
}

void blobstore_vmstate_unregister(BlobStoreObject *store)
{
    if (!store->last_on_stop) {
        return;
    }
    qemu_unregister_resettable(OBJECT(store));
    g_clear_pointer(&store->first_on_stop, qemu_del_vm_change_state_handler);
    g_clear_pointer(&store->last_on_stop, qemu_del_vm_change_state_handler);
    migrate_del_blocker(&store->migration_blocker);
}
