/*
 * Blobstore in QEMU: monitor commands that change how a store is encrypted
 *
 * They are coroutines: deriving a key takes seconds, in a worker thread, and
 * the VM goes on meanwhile.  Only then is the core locked and written to.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qapi/qmp/qerror.h"
#include "credential.h"
#include "glue.h"
#include "trace.h"

/* A change of keys that is under way */
typedef struct KeyChange {
    BlobStoreObject *store;     /* a reference */
    Error *blocker;             /* of migration and snapshots */
    QemuUUID uuid;              /* of the store when it began */
    bool was_encrypted;         /* as far as the user could know */
    BlobKey *key;               /* in @slots; NULL: none */
    BlobKeySlots slots;
    unsigned n;                 /* which of them changes, if only one does */
} KeyChange;

typedef struct Search {
    const char *id;
    BlobStoreObject *found;
} Search;

static void match_id(BlobStoreObject *store, void *opaque)
{
    Search *search = opaque;

    if (store->medium.blk && !strcmp(store->id, search->id)) {
        search->found = store;
    }
}

static BlobStoreObject *find_store(const char *id, Error **errp)
{
    Search search = { .id = id };

    blobstore_stores_foreach(match_id, &search);
    if (!search.found) {
        error_setg(errp, "no device uses a blobstore '%s'", id);
    }
    return search.found;
}

static bool check_encrypted(const BlobStoreObject *store, bool wanted,
                            Error **errp)
{
    if (!!store->key != wanted) {
        error_setg(errp, "blobstore '%s' is %sencrypted", store->id,
                   wanted ? "not " : "already ");
        return false;
    }
    return true;
}

static void change_end(KeyChange *change)
{
    if (change->store) {
        migrate_del_blocker(&change->blocker);
        object_unref(OBJECT(change->store));
    }
    blob_key_unref(change->key);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(KeyChange, change_end)

/* Its device may have been unplugged meanwhile, or another plugged in. */
static bool check_in_use(const KeyChange *change, Error **errp)
{
    BlobStoreObject *store = change->store;

    if (!store->core || !blobstore_drive_may_write(store) ||
        !qemu_uuid_is_equal(store->medium_uuid, &change->uuid)) {
        error_setg(errp, "blobstore '%s' is not in use any more", store->id);
        return false;
    }
    return true;
}

/* Runs @call with the core locked and the medium as the core believes. */
static bool coroutine_fn change_locked(KeyChange *change,
                                       bool (*call)(KeyChange *change,
                                                    GError **error),
                                       Error **errp)
{
    BlobStoreObject *store = change->store;
    GError *error = NULL;
    bool ok;

    if (!check_in_use(change, errp) ||
        !blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    if (!check_in_use(change, errp)) {
        blobstore_gate_leave(store);
        return false;
    }
    ok = blobstore_medium_ensure(store, &error) && call(change, &error);
    blobstore_gate_leave(store);
    trace_blobstore_change_keys(store->id, ok);
    if (!ok) {
        blobstore_report_propagate(store, error, errp);
    }
    return ok;
}

static bool coroutine_fn is_settled(KeyChange *change, GError **error)
{
    return true;
}

/*
 * In a drained section, or while the medium is not ours, it is refused.  What
 * was interrupted is ended first: only then the data key is known.
 */
static bool coroutine_fn change_begin(KeyChange *change, const char *id,
                                      Error **errp)
{
    BlobStoreObject *store = find_store(id, errp);

    if (!store) {
        return false;
    }
    if (!blobstore_drive_may_write(store) || !store->core) {
        error_setg(errp, "blobstore '%s' cannot be written now", store->id);
        return false;
    }
    error_setg(&change->blocker, "the keys of blobstore '%s' are being "
               "changed", store->id);
    /* For a moment only: -only-migratable is not about that. */
    if (migrate_add_blocker_internal(&change->blocker, errp) < 0) {
        return false;
    }
    object_ref(OBJECT(store));
    change->store = store;
    change->uuid = *store->medium_uuid;
    change->was_encrypted = store->key;
    return change_locked(change, is_settled, errp);
}

/* Only slot @n may differ from what is there: others may have changed. */
static bool coroutine_fn set_slot(KeyChange *change, GError **error)
{
    BlobStoreObject *store = change->store;
    BlobKeySlots slots;
    bool ok;

    blob_store_get_key_slots(store->core, &slots);
    memcpy(slots.bytes[change->n], change->slots.bytes[change->n],
           sizeof(slots.bytes[change->n]));
    slots.damaged[change->n] = false;
    ok = blob_store_set_key_slots(store->core, change->key, &slots, error);
    /* Whatever came of it: an older copy would be put back one day. */
    blob_store_get_key_slots(store->core, &store->key_slots);
    if (ok) {
        store->unsure_slots &= ~(1u << change->n);
    } else {
        store->unsure_slots |= 1u << change->n;
    }
    return ok;
}

/* Whatever is interrupted is ended by the next start of the store. */
static bool coroutine_fn convert(KeyChange *change, GError **error)
{
    BlobStoreObject *store = change->store;

    if (!change->key && !store->key) {
        return true;            /* It was interrupted, and has been ended. */
    }
    g_clear_pointer(&store->next_key, blob_key_unref);
    store->next_key = change->key ? blob_key_ref(change->key) : NULL;
    store->may_be_plain = store->may_be_plain || !change->key;
    if (!blob_store_convert(store->core, change->key, &change->slots,
                            error)) {
        /* Which of the keys is right is for the medium to say. */
        blobstore_state_event(store, BLOBSTORE_EVENT_KEY_UNSURE);
        return false;
    }
    blobstore_keys_settle(store, change->key);
    store->unsure_slots = 0;
    return true;
}

static BlobstoreKeySlot *describe_slot(const BlobKeySlots *slots, unsigned n)
{
    BlobstoreKeySlot *out = g_new0(BlobstoreKeySlot, 1);
    BlobKeySlot slot;

    out->slot = n;
    out->damaged = !blob_key_slots_get(slots, n, &slot);
    if (out->damaged) {
        return out;
    }
    out->has_key_type = true;
    switch (slot.type) {
    case BLOB_KEY_SLOT_PASSPHRASE:
        out->key_type = BLOBSTORE_KEY_TYPE_PASSPHRASE;
        out->has_kdf_memory = out->has_kdf_passes = out->has_kdf_lanes = true;
        out->kdf_memory = slot.kdf_memory_kib;
        out->kdf_passes = slot.kdf_iterations;
        out->kdf_lanes = slot.kdf_parallelism;
        break;
    case BLOB_KEY_SLOT_RAW:
        out->key_type = BLOBSTORE_KEY_TYPE_RAW;
        break;
    case BLOB_KEY_SLOT_TOKEN:
        out->key_type = BLOBSTORE_KEY_TYPE_TOKEN;
        out->key_uri = g_strdup(slot.uri);
        break;
    default:
        g_assert_not_reached();
    }
    return out;
}

BlobstoreKeySlotList *qmp_blobstore_key_list(const char *id, Error **errp)
{
    BlobStoreObject *store = find_store(id, errp);
    BlobstoreKeySlotList *list = NULL;
    BlobstoreKeySlotList **tail = &list;

    if (!store || !check_encrypted(store, true, errp)) {
        return NULL;
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (blob_key_slots_is_used(&store->key_slots, n)) {
            QAPI_LIST_APPEND(tail, describe_slot(&store->key_slots, n));
        }
    }
    return list;
}

/* Which slot a new key gets; -1 on failure */
static int choose_slot(const BlobStoreObject *store, bool has_slot,
                       uint8_t slot, bool replace, Error **errp)
{
    int n = has_slot ? slot : blob_key_slots_find_unused(&store->key_slots);

    if (has_slot && slot >= BLOB_KEY_SLOTS) {
        error_setg(errp, "there are key slots 0 to %d", BLOB_KEY_SLOTS - 1);
        return -1;
    }
    if (has_slot && !replace &&
        blob_key_slots_is_used(&store->key_slots, slot)) {
        error_setg(errp, "key slot %u is in use", slot);
        error_append_hint(errp, "Use another, or 'replace'.\n");
        return -1;
    }
    if (!has_slot && replace) {
        error_setg(errp, "'replace' needs 'slot'");
        return -1;
    }
    if (n < 0) {
        error_setg(errp, "all %d key slots are in use", BLOB_KEY_SLOTS);
        error_append_hint(errp, "Remove one first.\n");
    }
    return n;
}

/* Makes @change->slots hold @change->key in slot @change->n. */
static bool coroutine_fn put_key(KeyChange *change,
                                 const BlobstoreKeySource *source,
                                 Error **errp)
{
    GError *error = NULL;

    if (!blobstore_credential_source_is_valid(source, errp)) {
        return false;
    }
    if (!blobstore_keys_put(source, &change->slots, change->n, change->key,
                            &change->uuid, &error)) {
        blobstore_report_propagate(change->store, error, errp);
        return false;
    }
    return true;
}

BlobstoreKeySlotNumber *coroutine_fn
qmp_blobstore_key_add(BlobstoreKeyAdd *arg, Error **errp)
{
    g_auto(KeyChange) change = { 0 };
    BlobstoreKeySlotNumber *number;
    int n;

    if (!change_begin(&change, arg->id, errp) ||
        !check_encrypted(change.store, true, errp)) {
        return NULL;
    }
    n = choose_slot(change.store, arg->has_slot, arg->slot,
                    arg->has_replace && arg->replace, errp);
    if (n < 0) {
        return NULL;
    }
    change.n = n;
    change.key = blob_key_ref(change.store->key);
    if (!put_key(&change, qapi_BlobstoreKeyAdd_base(arg), errp) ||
        !change_locked(&change, set_slot, errp)) {
        return NULL;
    }
    number = g_new0(BlobstoreKeySlotNumber, 1);
    number->slot = n;
    return number;
}

static bool coroutine_fn remove_slot(KeyChange *change, GError **error)
{
    BlobStoreObject *store = change->store;
    bool is_repeated = change->n < BLOB_KEY_SLOTS &&
                       (store->unsure_slots & 1u << change->n) &&
                       !blob_key_slots_is_used(&store->key_slots, change->n);

    blob_store_get_key_slots(store->core, &change->slots);
    /* It may not be on record yet that the slot has been removed. */
    return (is_repeated ||
            blob_key_slots_remove(&change->slots, change->n, error)) &&
           set_slot(change, error);
}

void coroutine_fn qmp_blobstore_key_remove(const char *id, uint8_t slot,
                                           Error **errp)
{
    g_auto(KeyChange) change = { .n = slot };

    if (change_begin(&change, id, errp) &&
        check_encrypted(change.store, true, errp)) {
        change.key = blob_key_ref(change.store->key);
        change_locked(&change, remove_slot, errp);
    }
}

/* To a new data key, in slot 0 */
static void coroutine_fn convert_to_new_key(KeyChange *change,
                                            BlobstoreConvert *arg,
                                            Error **errp)
{
    GError *error = NULL;

    change->key = blob_key_new(&error);
    if (!change->key) {
        blobstore_report_propagate(change->store, error, errp);
    } else if (put_key(change, qapi_BlobstoreConvert_base(arg), errp)) {
        change_locked(change, convert, errp);
    }
}

/* What was not encrypted for the user may be repeated. */
void coroutine_fn qmp_blobstore_encrypt(BlobstoreConvert *arg, Error **errp)
{
    g_auto(KeyChange) change = { 0 };

    if (change_begin(&change, arg->id, errp) &&
        (!change.was_encrypted ||
         check_encrypted(change.store, false, errp))) {
        convert_to_new_key(&change, arg, errp);
    }
}

void coroutine_fn qmp_blobstore_rekey(BlobstoreConvert *arg, Error **errp)
{
    g_auto(KeyChange) change = { 0 };

    if (change_begin(&change, arg->id, errp) &&
        check_encrypted(change.store, true, errp)) {
        convert_to_new_key(&change, arg, errp);
    }
}

/* The same here */
void coroutine_fn qmp_blobstore_decrypt(const char *id, Error **errp)
{
    g_auto(KeyChange) change = { 0 };

    if (change_begin(&change, id, errp) &&
        (change.was_encrypted || check_encrypted(change.store, true, errp))) {
        change_locked(&change, convert, errp);
    }
}
