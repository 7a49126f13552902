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
#include "blobstore/trace.h"

OBJECT_DEFINE_SIMPLE_TYPE_WITH_INTERFACES(BlobStoreObject, blobstore,
                                          BLOBSTORE, OBJECT,
                                          { TYPE_USER_CREATABLE },
                                          { TYPE_RESETTABLE_INTERFACE },
                                          { TYPE_VMSTATE_IF },
                                          { NULL })

/* Where the implicit stores are; the others are in /objects. */
static Object *implicit_root(void)
{
    Object *root = object_get_root();

    return object_resolve_path_component(root, "blobstores") ?:
           object_property_add_new_container(root, "blobstores");
}

typedef struct Walk {
    BlobStoreVisitor *visit;
    void *opaque;
} Walk;

static int visit_child(Object *child, void *opaque)
{
    Walk *walk = opaque;
    Object *store = object_dynamic_cast(child, TYPE_BLOBSTORE);

    if (store) {
        walk->visit(BLOBSTORE(store), walk->opaque);
    }
    return 0;
}

void blobstore_object_foreach(BlobStoreVisitor *visit, void *opaque)
{
    Walk walk = { visit, opaque };

    object_child_foreach(object_get_objects_root(), visit_child, &walk);
    object_child_foreach(implicit_root(), visit_child, &walk);
}

static bool is_open(const BlobStoreObject *store)
{
    return store->medium.blk;
}

/* Another store that has, or else one that is meant for, the same drive */
typedef struct Rival {
    const BlobStoreObject *self;
    const char *drive;
    BlockDriverState *bs;
    BlobStoreObject *found;
} Rival;

static void match_rival(BlobStoreObject *store, void *opaque)
{
    Rival *rival = opaque;
    BlockDriverState *bs = is_open(store) ? blk_bs(store->medium.blk)
                                          : blobstore_drive_node(store->drive);

    if (store == rival->self || (rival->found && is_open(rival->found))) {
        return;
    }
    if (!strcmp(store->drive, rival->drive) || (bs && bs == rival->bs)) {
        rival->found = store;
    }
}

static BlobStoreObject *find_rival(const BlobStoreObject *self,
                                   const char *drive)
{
    Rival rival = {
        .self = self,
        .drive = drive,
        .bs = blobstore_drive_node(drive),
    };

    blobstore_object_foreach(match_rival, &rival);
    return rival.found;
}

static void append_id(BlobStoreObject *store, void *opaque)
{
    GString *names = opaque;

    g_string_append_printf(names, " %s", store->id);
}

static void refuse_unknown(const char *name, Error **errp)
{
    g_autoptr(GString) names = g_string_new(NULL);
    BlockBackend *blk = NULL;
    Object *other = object_resolve_path_component(object_get_objects_root(),
                                                  name);

    if (!*name) {
        error_setg(errp, "the name of a blobstore object, drive or node is "
                   "empty");
    } else if (other) {
        error_setg(errp, "'%s' is a %s object, not a blobstore or a drive",
                   name, object_get_typename(other));
    } else {
        error_setg(errp, "there is no blobstore object, drive or node '%s'",
                   name);
    }
    blobstore_object_foreach(append_id, names);
    while ((blk = blk_next(blk))) {
        if (!blk_get_attached_dev(blk)) {
            g_string_append_printf(names, " %s", blk_name(blk));
        }
    }
    if (names->len) {
        error_append_hint(errp, "There is:%s. ", names->str);
    }
    error_append_hint(errp, "To add it: -drive if=none,id=%s,file=...,"
                      "format=...\n", *name ? name : "nvram");
}

static BlobStoreObject *make_implicit(const char *drive)
{
    Object *obj = object_new(TYPE_BLOBSTORE);
    BlobStoreObject *store = BLOBSTORE(obj);

    store->implicit = true;
    store->drive = g_strdup(drive);
    store->id = g_strdup(drive);
    object_property_add_child(implicit_root(), drive, obj);
    return store;
}

BlobStoreObject *blobstore_object_find(const char *name, Error **errp)
{
    Object *obj = object_resolve_path_component(object_get_objects_root(),
                                                name);
    BlobStoreObject *rival;

    if (obj && object_dynamic_cast(obj, TYPE_BLOBSTORE)) {
        BlobStoreObject *store = BLOBSTORE(obj);

        if (blobstore_drive_exists(name) && strcmp(store->drive, name)) {
            error_setg(errp, "'%s' is both a blobstore object, on drive '%s', "
                       "and a drive", name, store->drive);
            error_append_hint(errp, "Give the object another id.\n");
            return NULL;
        }
        object_ref(obj);
        return store;
    }
    if (!blobstore_drive_exists(name)) {
        refuse_unknown(name, errp);
        return NULL;
    }
    rival = find_rival(NULL, name);
    if (!rival) {
        return make_implicit(name);
    }
    if (!rival->implicit) {
        error_setg(errp, "drive '%s' belongs to the blobstore object '%s'",
                   name, rival->id);
        error_append_hint(errp, "Name the object instead: blobstore=%s\n",
                          rival->id);
        return NULL;
    }
    object_ref(OBJECT(rival));
    return rival;
}

static bool coroutine_fn call_open(BlobStoreObject *store, void *opaque,
                                   Error **errp)
{
    GError *error = NULL;
    bool ok;

    if (!blobstore_try_lock_core(store, errp)) {
        return false;
    }
    ok = blobstore_open_core(store, &error);
    blobstore_unlock_core(store);
    if (!ok) {
        blobstore_propagate(store, error, errp);
    }
    return ok;
}

bool blobstore_object_open(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();
    BlobStoreObject *rival = find_rival(store, store->drive);
    BlockBackend *blk;

    if (rival && is_open(rival)) {
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
    blobstore_medium_init(&store->medium, blk);
    qemu_co_mutex_init(&store->core_lock);
    qemu_co_queue_init(&store->unstopped);
    blobstore_gate_open(store);
    store->durable = blobstore_drive_is_durable(blk);
    store->incoming = runstate_check(RUN_STATE_INMIGRATE);
    store->loading = store->incoming;
    store->was_loaded = !store->incoming;
    store->reopen = store->incoming;
    store->may_be_plain = !blobstore_wants_key(store);
    blobstore_runstate_register(store);
    if (!blobstore_vmstate_register(store, errp)) {
        error_prepend(errp, "blobstore '%s': ", store->id);
        blobstore_object_close(store);
        return false;
    }
    /* What the medium of an incoming VM holds is not settled yet. */
    if (!store->incoming &&
        !blobstore_call(store, call_open, NULL, errp)) {
        blobstore_object_close(store);
        return false;
    }
    if (!store->durable) {
        warn_report("blobstore '%s': drive '%s' has cache=unsafe: device "
                    "state that was written may be lost when the host "
                    "crashes", store->id, store->drive);
    }
    return true;
}

void blobstore_object_close(BlobStoreObject *store)
{
    trace_blobstore_close(store->id);
    blobstore_close_clean(store);
    blobstore_lock_core_for_good(store);
    blobstore_vmstate_unregister(store);
    blobstore_runstate_unregister(store);
    blobstore_gate_close(store);
    g_clear_pointer(&store->core, blob_store_free);
    blobstore_forget_keys(store);
    g_clear_pointer(&store->medium_uuid, g_free);
    g_clear_pointer(&store->failure, g_free);
    g_clear_pointer(&store->stale, blobstore_stale_free);
    blobstore_clear_snapshot(store);
    store->warnings_shown = 0;
    store->write_failed = false;
    store->shrunk = false;
    store->incoming = false;
    store->loading = false;
    store->identified = false;
    store->check_medium = false;
    store->reopen = false;
    store->reverted = false;
    store->superseding = false;
    memset(&store->sequence, 0, sizeof(store->sequence));
    store->resized = false;
    store->closing = false;
    blk_unref(store->medium.blk);
    store->medium.blk = NULL;
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
    blobstore_reset_class_init(oc);
    blobstore_properties_class_init(oc);
}

static void blobstore_init(Object *obj)
{
    BlobStoreObject *store = BLOBSTORE(obj);

    blobstore_properties_init(store);
    QTAILQ_INIT(&store->clients);
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
