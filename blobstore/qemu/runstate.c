/*
 * Blobstore in QEMU: what it means for a store that the VM starts, stops or
 * is reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/vm-start.h"
#include "system/reset.h"
#include "glue.h"
#include "trace.h"

/* This handler is called before those of devices, which wait for workers. */
static void first_on_stop(void *opaque, bool running, RunState state)
{
    BlobStoreObject *store = opaque;

    if (!running) {
        blobstore_halt_release(store);
    }
}

/* Finalizers would be too late: the block devices are gone then. */
static void come_to_rest(BlobStoreObject *store)
{
    blobstore_commit_last(store);
    blobstore_medium_close_clean(store);
}

/* This handler is called after those of devices. */
static void last_on_stop(void *opaque, bool running, RunState state)
{
    BlobStoreObject *store = opaque;

    if (running) {
        return;
    }
    if (state == RUN_STATE_SHUTDOWN) {
        come_to_rest(store);
    }
    /* Before the state of the VM is saved: what it is when it goes on */
    blobstore_medium_look_for_owner(store);
    if (state == RUN_STATE_RESTORE_VM) {
        blobstore_state_event(store, BLOBSTORE_EVENT_RESTORE);
    }
    blobstore_state_event(store, BLOBSTORE_EVENT_STOP);
}

/* QEMU calls the handlers of VM state changes only if the VM still runs. */
static void on_shutdown(Notifier *notifier, void *data)
{
    if (!runstate_is_live(runstate_get())) {
        come_to_rest(container_of(notifier, BlobStoreObject,
                                  open.vm.on_shutdown));
    }
}

static void prepare_start(BlobStoreObject *store, void *opaque)
{
    bool *ok = opaque;

    if (blobstore_object_is_open(store) &&
        !blobstore_commit_before_start(store)) {
        *ok = false;
    }
}

/* A handler of VM state changes is called too late to prevent the start. */
bool blobstore_vm_prepare_start(void)
{
    bool ok = true;

    blobstore_stores_foreach(prepare_start, &ok);
    if (!ok && !runstate_check(RUN_STATE_IO_ERROR)) {
        /* Not every state may become io-error, but running may. */
        runstate_set(RUN_STATE_RUNNING);
        runstate_set(RUN_STATE_IO_ERROR);
    }
    trace_blobstore_prepare_start(ok);
    return ok;
}

static void take_back_stop(BlobStoreObject *store, void *opaque)
{
    if (blobstore_object_is_open(store)) {
        blobstore_halt_release(store);
    }
}

void blobstore_vm_take_back_stop(void)
{
    if (runstate_is_running()) {
        blobstore_stores_foreach(take_back_stop, NULL);
    }
}

static ResettableState *get_reset_state(Object *obj)
{
    return &BLOBSTORE(obj)->reset_state;
}

/*
 * A device that is reset waits for its worker, which therefore must not wait
 * for the VM to stop: the main loop would stop the VM after the reset.  The
 * first phase comes before any device's, the last after.
 */
static void reset_enter(Object *obj, ResetType type)
{
    BlobStoreObject *store = BLOBSTORE(obj);

    blobstore_halt_hurry(store, true);
    if (type == RESET_TYPE_SNAPSHOT_LOAD) {
        blobstore_state_event(store, BLOBSTORE_EVENT_REVERT);
    } else {
        blobstore_state_event(store, BLOBSTORE_EVENT_RESET);
        blobstore_reconnect_note_reset(store);
    }
}

static void reset_exit(Object *obj, ResetType type)
{
    blobstore_halt_hurry(BLOBSTORE(obj), false);
}

void blobstore_runstate_class_init(ObjectClass *oc)
{
    ResettableClass *rc = RESETTABLE_CLASS(oc);

    rc->get_state = get_reset_state;
    rc->phases.enter = reset_enter;
    rc->phases.exit = reset_exit;
}

void blobstore_runstate_register(BlobStoreObject *store)
{
    store->open.vm.first_on_stop =
        qemu_add_vm_change_state_handler_prio(first_on_stop, store, INT_MAX);
    store->open.vm.last_on_stop =
        qemu_add_vm_change_state_handler_prio(last_on_stop, store, INT_MIN);
    store->open.vm.on_shutdown.notify = on_shutdown;
    qemu_register_shutdown_notifier(&store->open.vm.on_shutdown);
    qemu_register_resettable(OBJECT(store));
}

void blobstore_runstate_unregister(BlobStoreObject *store)
{
    qemu_unregister_resettable(OBJECT(store));
    notifier_remove(&store->open.vm.on_shutdown);
    g_clear_pointer(&store->open.vm.first_on_stop,
                    qemu_del_vm_change_state_handler);
    g_clear_pointer(&store->open.vm.last_on_stop,
                    qemu_del_vm_change_state_handler);
}
