/*
 * Blobstore in QEMU: where the data key of an encrypted store comes from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "credential.h"
#include "glue.h"
#include "key-work.h"
#include "trace.h"

bool blobstore_keys_are_wanted(const BlobStoreObject *store)
{
    return store->props.encrypt;
}

/* One slow thing, done in a worker thread */
typedef struct KeyJob {
    BlobKeySlots *slots;
    const uint8_t *uuid;
    const BlobCredential *credential;
    BlobKey *key;
    unsigned n;
    BlobKeySlotType type;
    unsigned milliseconds;
    GError *error;
} KeyJob;

/* A token computes itself, and may wait for somebody. */
static int coroutine_fn run_job(ThreadPoolFunc *func, KeyJob *job)
{
    return job->credential->token ? thread_pool_submit_co(func, job)
                                  : blobstore_key_work(func, job);
}

static int unlock_job(void *opaque)
{
    KeyJob *job = opaque;

    job->key = blob_key_slots_unlock(job->slots, job->uuid, job->credential,
                                     &job->error);
    return 0;
}

BlobKey *coroutine_fn blobstore_keys_unlock(BlobStoreObject *store,
                                            const BlobKeySlots *slots,
                                            const QemuUUID *uuid,
                                            GError **error)
{
    g_auto(BlobStoreCredential) credential = { 0 };
    BlobStoreKeySource source =
        blobstore_credential_source(store->props.encrypt);
    KeyJob job = { (BlobKeySlots *)slots, uuid->data, &credential.core };

    if (!blobstore_credential_load(&source, &credential, error)) {
        return NULL;
    }
    if (store->props.encrypt->has_keyslot) {
        credential.core.slot = store->props.encrypt->keyslot;
    }
    run_job(unlock_job, &job);
    trace_blobstore_unlock(store->id, job.key != NULL);
    if (!job.key) {
        g_propagate_error(error, job.error);
    }
    return job.key;
}

static int put_job(void *opaque)
{
    KeyJob *job = opaque;

    return blob_key_slots_put(job->slots, job->n, job->key, job->uuid,
                              job->type, job->credential, job->milliseconds,
                              &job->error) ? 0 : -1;
}

bool coroutine_fn blobstore_keys_put(const BlobStoreKeySource *source,
                                     BlobKeySlots *slots, unsigned n,
                                     const BlobKey *key, const QemuUUID *uuid,
                                     GError **error)
{
    g_auto(BlobStoreCredential) credential = { 0 };
    KeyJob job = {
        .slots = slots,
        .uuid = uuid->data,
        .credential = &credential.core,
        .key = (BlobKey *)key,
        .n = n,
        .type = blobstore_credential_slot_type(source),
        .milliseconds = source->iter_time,
    };

    if (!blobstore_credential_load(source, &credential, error)) {
        return false;
    }
    if (run_job(put_job, &job) < 0) {
        g_propagate_error(error, job.error);
        return false;
    }
    return true;
}

void blobstore_keys_clear_answer(BlobStoreKeyAnswer *answer)
{
    g_clear_pointer(&answer->key, blob_key_unref);
}

/* The key that QEMU has and that opens the store with @label, or NULL */
static BlobKey *fitting_key(const BlobStoreObject *store,
                            const BlobStoreLabel *label)
{
    BlobKey *const keys[] = { store->open.keys.key, store->open.keys.next };

    for (int i = 0; i < ARRAY_SIZE(keys); i++) {
        if (keys[i] && blob_store_label_fits(label, keys[i])) {
            return keys[i];
        }
    }
    return NULL;
}

bool blobstore_keys_fit(const BlobStoreObject *store,
                        const BlobStoreLabel *label)
{
    if (!label->sealed) {
        return store->open.keys.may_be_plain;
    }
    return fitting_key(store, label);
}

/* BlobStoreUnlock; without a key the core refuses the store. */
static bool coroutine_fn answer_unlock(const BlobStoreLabel *label,
                                       void *opaque, BlobKey **key,
                                       GError **error)
{
    BlobStoreKeyAnswer *answer = opaque;
    BlobStoreObject *store = answer->store;
    BlobKey *known = fitting_key(store, label);
    QemuUUID uuid;

    if (known) {
        *key = blob_key_ref(known);
    } else if (store->open.keys.key) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "medium is encrypted with another data key than it was, "
                    "or than the state of the VM: is it a copy from before "
                    "a rekey?");
        return false;
    } else if (blobstore_keys_are_wanted(store) && !store->open.core) {
        /* Only once: a PIN is not presented to a medium that changed. */
        memcpy(uuid.data, label->uuid, sizeof(uuid.data));
        *key = blobstore_keys_unlock(store, &label->key_slots, &uuid, error);
        if (!*key) {
            return false;
        }
    }
    answer->key = *key ? blob_key_ref(*key) : NULL;
    return true;
}

static bool coroutine_fn put_first(const BlobstoreKey *encrypt,
                                   BlobKeySlots *slots, const BlobKey *key,
                                   const QemuUUID *uuid, GError **error)
{
    BlobStoreKeySource source = blobstore_credential_source(encrypt);

    return blobstore_keys_put(&source, slots,
                              encrypt->has_keyslot ? encrypt->keyslot : 0,
                              key, uuid, error);
}

/* BlobStoreMake; without a key the new store is a plain one. */
static bool coroutine_fn answer_make(const uint8_t *uuid, void *opaque,
                                     BlobKey **key, BlobKeySlots *slots,
                                     GError **error)
{
    BlobStoreKeyAnswer *answer = opaque;
    BlobStoreObject *store = answer->store;
    g_autoptr(BlobKey) new_key = NULL;
    QemuUUID new_uuid;

    if (store->open.keys.key) {
        /* The medium becomes the store that was migrated in. */
        *slots = store->open.keys.slots;
        *key = blob_key_ref(store->open.keys.key);
    } else if (!store->open.keys.may_be_plain) {
        new_key = blob_key_new(error);
        if (!new_key) {
            return false;
        }
        memcpy(new_uuid.data, uuid, sizeof(new_uuid.data));
        if (!put_first(store->props.encrypt, slots, new_key, &new_uuid,
                       error)) {
            return false;
        }
        *key = g_steal_pointer(&new_key);
    }
    answer->key = *key ? blob_key_ref(*key) : NULL;
    return true;
}

void blobstore_keys_answer(BlobStoreObject *store, BlobStoreOptions *options,
                           BlobStoreKeyAnswer *answer)
{
    answer->store = store;
    options->unlock = answer_unlock;
    options->make = answer_make;
    options->opaque = answer;
    options->sealed_only = !store->open.keys.may_be_plain;
}

static void set_key(BlobStoreObject *store, BlobKey *key)
{
    BlobKey *old = store->open.keys.key;

    store->open.keys.key = key ? blob_key_ref(key) : NULL;
    blob_key_unref(old);
    g_clear_pointer(&store->open.keys.next, blob_key_unref);
    store->open.keys.may_be_plain = !key;
}

void blobstore_keys_settle(BlobStoreObject *store, BlobKey *key)
{
    BlobStoreStatus info;

    blob_store_get_status(store->open.core, &info);
    set_key(store, info.blank || info.sealed ? key : NULL);
    blob_store_get_key_slots(store->open.core, &store->open.keys.slots);
}

void blobstore_keys_take(BlobStoreObject *store, BlobKey *key,
                         const BlobKeySlots *slots)
{
    set_key(store, key);
    store->open.keys.slots = *slots;
}

void blobstore_keys_forget(BlobStoreObject *store)
{
    blob_key_unref(store->open.keys.key);
    blob_key_unref(store->open.keys.next);
    store->open.keys = (BlobStoreKeys) { 0 };
}
