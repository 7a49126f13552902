/*
 * Blobstore in QEMU: monitor commands about key slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "key-change.h"
#include "trace.h"

static BlobstoreKeySlot *describe_slot(const BlobKeySlots *slots, unsigned n)
{
    BlobstoreKeySlot *out = g_new0(BlobstoreKeySlot, 1);
    BlobKeySlot slot;

    out->keyslot = n;
    if (!blob_key_slots_get(slots, n, &slot)) {
        out->type = BLOBSTORE_KEY_SLOT_TYPE_DAMAGED;
        return out;
    }
    switch (slot.type) {
    case BLOB_KEY_SLOT_PASSPHRASE:
        out->type = BLOBSTORE_KEY_SLOT_TYPE_PASSPHRASE;
        out->u.passphrase.kdf_memory = slot.kdf_memory_kib;
        out->u.passphrase.kdf_iterations = slot.kdf_iterations;
        out->u.passphrase.kdf_parallelism = slot.kdf_parallelism;
        break;
    case BLOB_KEY_SLOT_RAW:
        out->type = BLOBSTORE_KEY_SLOT_TYPE_RAW;
        break;
    case BLOB_KEY_SLOT_TOKEN:
        out->type = BLOBSTORE_KEY_SLOT_TYPE_TOKEN;
        out->u.token.key_uri = g_strdup(slot.uri);
        break;
    default:
        g_assert_not_reached();
    }
    return out;
}

BlobstoreKeySlotList *qmp_blobstore_key_list(const char *id, Error **errp)
{
    BlobStoreObject *store = blobstore_key_change_find(id, errp);
    BlobstoreKeySlotList *list = NULL;
    BlobstoreKeySlotList **tail = &list;

    if (!store || !blobstore_key_change_check_encrypted(store, true, errp)) {
        return NULL;
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (blob_key_slots_is_used(&store->open.keys.slots, n)) {
            QAPI_LIST_APPEND(tail, describe_slot(&store->open.keys.slots, n));
        }
    }
    return list;
}

/* Completes what was interrupted: only then is the data key known. */
static bool coroutine_fn settle(BlobStoreKeyChange *change, GError **error)
{
    return true;
}

static bool coroutine_fn begin(BlobStoreKeyChange *change, const char *id,
                               Error **errp)
{
    if (!blobstore_key_change_begin(change, id, errp) ||
        !blobstore_key_change_run(change, settle, errp) ||
        !blobstore_key_change_check_encrypted(change->store, true, errp)) {
        return false;
    }
    change->key = blob_key_ref(change->store->open.keys.key);
    return true;
}

/* Only slot @n may differ from what is there: others may have changed. */
static bool coroutine_fn set_slot(BlobStoreKeyChange *change, GError **error)
{
    BlobStoreObject *store = change->store;
    BlobKeySlots slots;
    bool ok;

    blob_store_get_key_slots(store->open.core, &slots);
    memcpy(slots.bytes[change->n], change->slots.bytes[change->n],
           sizeof(slots.bytes[change->n]));
    slots.damaged[change->n] = false;
    ok = blob_store_set_key_slots(store->open.core, change->key, &slots, error);
    /* Even after a failure: an older copy would be put back one day. */
    blob_store_get_key_slots(store->open.core, &store->open.keys.slots);
    if (ok) {
        store->open.keys.unsure_slots &= ~(1u << change->n);
    } else {
        store->open.keys.unsure_slots |= 1u << change->n;
    }
    return ok;
}

static bool coroutine_fn run(BlobStoreKeyChange *change,
                             BlobStoreKeyCall *call, Error **errp)
{
    bool ok = blobstore_key_change_run(change, call, errp);

    trace_blobstore_change_keys(change->store->id, ok);
    return ok;
}

/* Which slot a new key gets; -1 on failure */
static int choose_slot(const BlobStoreObject *store,
                       const BlobstoreKeyAdd *arg, Error **errp)
{
    int unused = blob_key_slots_find_unused(&store->open.keys.slots);

    if (!arg->has_keyslot) {
        if (arg->force) {
            error_setg(errp, "'force' needs 'keyslot'");
            return -1;
        }
        if (unused < 0) {
            error_setg(errp, "all %d key slots are in use", BLOB_KEY_SLOTS);
            error_append_hint(errp, "Remove one first.\n");
        }
        return unused;
    }
    if (arg->keyslot >= BLOB_KEY_SLOTS) {
        error_setg(errp, "keyslot is 0 to %d", BLOB_KEY_SLOTS - 1);
        return -1;
    }
    if (!arg->force &&
        blob_key_slots_is_used(&store->open.keys.slots, arg->keyslot)) {
        error_setg(errp, "key slot %u is in use", arg->keyslot);
        error_append_hint(errp, "Use another, or 'force'.\n");
        return -1;
    }
    return arg->keyslot;
}

BlobstoreKeySlotNumber *coroutine_fn
qmp_blobstore_key_add(BlobstoreKeyAdd *arg, Error **errp)
{
    BlobStoreKeySource source =
        blobstore_key_change_source(arg->type, &arg->u.passphrase,
                                    &arg->u.raw, &arg->u.token);
    g_auto(BlobStoreKeyChange) change = { 0 };
    BlobstoreKeySlotNumber *number;
    int n;

    if (!blobstore_credential_check_iter_time(source.iter_time, errp) ||
        !begin(&change, arg->id, errp)) {
        return NULL;
    }
    n = choose_slot(change.store, arg, errp);
    if (n < 0) {
        return NULL;
    }
    change.n = n;
    if (!blobstore_key_change_put(&change, &source, errp) ||
        !run(&change, set_slot, errp)) {
        return NULL;
    }
    number = g_new0(BlobstoreKeySlotNumber, 1);
    number->keyslot = n;
    return number;
}

static bool coroutine_fn remove_slot(BlobStoreKeyChange *change,
                                     GError **error)
{
    BlobStoreObject *store = change->store;
    bool is_repeated =
        change->n < BLOB_KEY_SLOTS &&
        (store->open.keys.unsure_slots & 1u << change->n) &&
        !blob_key_slots_is_used(&store->open.keys.slots, change->n);

    blob_store_get_key_slots(store->open.core, &change->slots);
    /* It may not be on record yet that the slot has been removed. */
    return (is_repeated ||
            blob_key_slots_remove(&change->slots, change->n, error)) &&
           set_slot(change, error);
}

void coroutine_fn qmp_blobstore_key_remove(const char *id, uint8_t keyslot,
                                           Error **errp)
{
    g_auto(BlobStoreKeyChange) change = { .n = keyslot };

    if (begin(&change, id, errp)) {
        run(&change, remove_slot, errp);
    }
}
