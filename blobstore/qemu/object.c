/*
 * Blobstore in QEMU: -object blobstore, and stores made for a drive
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/vmstate-if.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "glue.h"
#include "trace.h"

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(BlobStoreObject, blobstore,
                                          BLOBSTORE, OBJECT,
                                          { TYPE_USER_CREATABLE },
                                          { TYPE_RESETTABLE_INTERFACE },
                                          { TYPE_VMSTATE_IF },
                                          { NULL })

static bool coroutine_fn call_open(BlobStoreObject *store, void *opaque,
                                   Error **errp)
{
    GError *error = NULL;
    bool ok;

    if (!blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    ok = blobstore_core_open(store, &error);
    blobstore_gate_leave(store);
    if (!ok) {
        blobstore_report_propagate(store, error, errp);
    }
    return ok;
}

bool blobstore_object_open(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();
    BlobStoreObject *rival = blobstore_stores_find_rival(store, store->drive);
    BlockBackend *blk;

    if (rival && blobstore_object_is_open(rival)) {
        error_setg(errp, "blobstore '%s': drive '%s' is in use by blobstore "
                   "'%s'", store->id, store->drive, rival->id);
        return false;
    }
    blk = blobstore_drive_attach(store, errp);
    if (!blk) {
        error_prepend(errp, "blobstore '%s': ", store->id);
        return false;
    }
    trace_blobstore_open(store->id, store->drive, store->implicit);
    blobstore_block_io_init(&store->open.medium, blk);
    /* QEMU activates an inactive node before the core reads it. */
    store->open.medium.fresh = !blobstore_drive_is_active(blk);
    blobstore_gate_init(store);
    blobstore_halt_init(store);
    blobstore_drain_follow(store);
    store->open.durable = blobstore_drive_is_durable(blk);
    blobstore_state_event(store, runstate_check(RUN_STATE_INMIGRATE)
                          ? BLOBSTORE_EVENT_OPEN_INCOMING
                          : BLOBSTORE_EVENT_OPEN);
    store->open.keys.may_be_plain = !blobstore_keys_are_wanted(store);
    blobstore_runstate_register(store);
    if (!blobstore_vmstate_register(store, errp)) {
        error_prepend(errp, "blobstore '%s': ", store->id);
        blobstore_object_close(store);
        return false;
    }
    /* The source may still write to the medium of an incoming VM. */
    if (!blobstore_state_is_incoming(&store->open.state) &&
        !blobstore_call_core(store, call_open, NULL, errp)) {
        blobstore_object_close(store);
        return false;
    }
    if (!store->open.durable) {
        warn_report("blobstore '%s': drive '%s' has cache=unsafe: device "
                    "state that was written may be lost when the host "
                    "crashes", store->id, store->drive);
    }
    blobstore_fence_warn(store);
    return true;
}

void blobstore_object_close(BlobStoreObject *store)
{
    trace_blobstore_close(store->id);
    blobstore_medium_close_clean(store);
    blobstore_gate_shut(store);
    blobstore_vmstate_unregister(store);
    blobstore_runstate_unregister(store);
    blobstore_drain_unfollow(store);
    blob_store_free(store->open.core);
    blobstore_keys_forget(store);
    blobstore_report_forget(store);
    g_free(store->open.uuid);
    blobstore_drive_release(store->open.medium.blk);
    store->open = (BlobStoreSession) { 0 };
}

static void blobstore_complete(UserCreatable *uc, Error **errp)
{
    BlobStoreObject *store = BLOBSTORE(uc);
    g_autofree char *id =
        g_strdup(object_get_canonical_path_component(OBJECT(store)));

    if (blobstore_properties_check(store, id, errp)) {
        store->id = g_steal_pointer(&id);
    }
}

static bool blobstore_can_be_deleted(UserCreatable *uc)
{
    return QTAILQ_EMPTY(&BLOBSTORE(uc)->clients);
}

static char *get_vmstate_id(VMStateIf *obj)
{
    return g_strdup(BLOBSTORE(obj)->id);
}

static void blobstore_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = blobstore_complete;
    ucc->can_be_deleted = blobstore_can_be_deleted;
    VMSTATE_IF_CLASS(oc)->get_id = get_vmstate_id;
    blobstore_runstate_class_init(oc);
    blobstore_properties_class_init(oc);
}

static void blobstore_init(Object *obj)
{
    BlobStoreObject *store = BLOBSTORE(obj);

    blobstore_properties_init(store);
    QTAILQ_INIT(&store->clients);
    QTAILQ_INIT(&store->staged);
    qemu_mutex_init(&store->versions_lock);
}

static void blobstore_finalize(Object *obj)
{
    BlobStoreObject *store = BLOBSTORE(obj);

    assert(QTAILQ_EMPTY(&store->clients));
    qemu_mutex_destroy(&store->versions_lock);
    g_free(store->id);
    blobstore_properties_clear(store);
}
