/*
 * Blobstore in QEMU: where the data key of an encrypted store comes from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/thread-pool.h"
#include "qapi/error.h"
#include "credential.h"
#include "glue.h"
#include "trace.h"

bool blobstore_keys_are_wanted(const BlobStoreObject *store)
{
    return blobstore_credential_source_names_key(&store->keys);
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

static int unlock_job(void *opaque)
{
    KeyJob *job = opaque;

    job->key = blob_key_slots_unlock(job->slots, job->uuid, job->credential,
                                     &job->error);
    return 0;
}

static BlobKey *coroutine_fn unlock(BlobStoreObject *store,
                                    const BlobKeySlots *slots,
                                    const uint8_t *uuid, GError **error)
{
    g_auto(BlobStoreCredential) credential = { 0 };
    KeyJob job = { (BlobKeySlots *)slots, uuid, &credential.core };

    if (!blobstore_credential_load(&store->keys, &credential, error)) {
        return NULL;
    }
    if (store->key_slot != BLOBSTORE_KEY_SLOT_UNSET) {
        credential.core.slot = store->key_slot;
    }
    thread_pool_submit_co(unlock_job, &job);
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

bool coroutine_fn blobstore_keys_put(const BlobstoreKeySource *source,
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
        .milliseconds = source->has_key_iter_time
                        ? source->key_iter_time : BLOB_KEY_KDF_MILLISECONDS,
    };

    if (!blobstore_credential_source_names_key(source)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "no key is given: key-secret or key-uri is needed");
        return false;
    }
    if (!blobstore_credential_load(source, &credential, error)) {
        return false;
    }
    if (thread_pool_submit_co(put_job, &job) < 0) {
        g_propagate_error(error, job.error);
        return false;
    }
    return true;
}

void blobstore_keys_clear_plan(BlobStoreKeyPlan *plan)
{
    g_clear_pointer(&plan->key, blob_key_unref);
    g_clear_pointer(&plan->uuid, g_free);
}

/*
 * Whether a medium without a superblock is blank, and a store can be made on
 * it.  To be known before seconds and tries of a PIN are spent on its key.
 */
static bool coroutine_fn check_blank(BlobStoreObject *store,
                                     const BlobStoreOptions *options,
                                     GError **error)
{
    g_autoptr(BlobStore) core = blob_store_open(&store->medium.parent,
                                                options, error);

    return core;
}

/* A blank medium that will be formatted, unless it is refused */
static bool coroutine_fn plan_new_store(BlobStoreObject *store,
                                        BlobStoreOptions *options,
                                        BlobStoreKeyPlan *plan,
                                        GError **error)
{
    unsigned n = store->key_slot == BLOBSTORE_KEY_SLOT_UNSET
                 ? 0 : store->key_slot;
    QemuUUID uuid;

    if (!check_blank(store, options, error)) {
        return false;
    }
    plan->key = blob_key_new(error);
    if (!plan->key) {
        return false;
    }
    qemu_uuid_generate(&uuid);
    plan->uuid = qemu_uuid_unparse_strdup(&uuid);
    options->uuid = plan->uuid;
    options->format_as_uuid = true;
    return blobstore_keys_put(&store->keys, &plan->slots, n, plan->key, &uuid,
                              error);
}

static bool coroutine_fn plan_blank(BlobStoreObject *store,
                                    BlobStoreOptions *options,
                                    BlobStoreKeyPlan *plan, GError **error)
{
    if (store->key) {
        /* It becomes the store that has come with a migration. */
        plan->key = blob_key_ref(store->key);
        plan->slots = store->key_slots;
        return true;
    }
    return store->may_be_plain ||
           plan_new_store(store, options, plan, error);
}

bool blobstore_keys_fit(const BlobStoreObject *store,
                        const BlobStoreLabel *label)
{
    if (!label->sealed) {
        return store->may_be_plain;
    }
    return (store->key && blob_store_label_fits(label, store->key)) ||
           (store->next_key && blob_store_label_fits(label, store->next_key));
}

static bool is_wanted_store(const BlobStoreOptions *options,
                            const BlobStoreLabel *label)
{
    QemuUUID uuid;

    return !options->uuid || qemu_uuid_parse(options->uuid, &uuid) < 0 ||
           !memcmp(uuid.data, label->uuid, sizeof(label->uuid));
}

static bool coroutine_fn plan_sealed(BlobStoreObject *store,
                                     const BlobStoreOptions *options,
                                     BlobStoreKeyPlan *plan, GError **error)
{
    plan->slots = plan->label.key_slots;
    if (!is_wanted_store(options, &plan->label)) {
        return true;            /* The core refuses it; no key is tried. */
    }
    if (store->key && blob_store_label_fits(&plan->label, store->key)) {
        plan->key = blob_key_ref(store->key);
    } else if (store->next_key &&
               blob_store_label_fits(&plan->label, store->next_key)) {
        plan->key = blob_key_ref(store->next_key);
    } else if (store->key) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "medium is encrypted with another data key than it was, "
                    "or than the state of the VM: is it a copy from before "
                    "a rekey?");
        return false;
    } else if (blobstore_keys_are_wanted(store) && !store->core) {
        /* Once: a PIN is not presented for whatever the medium becomes. */
        plan->key = unlock(store, &plan->slots, plan->label.uuid, error);
        return plan->key;
    }
    return true;                /* Without a key the core refuses it. */
}

bool coroutine_fn blobstore_keys_plan(BlobStoreObject *store,
                                      BlobStoreOptions *options,
                                      BlobStoreKeyPlan *plan, GError **error)
{
    bool ok;

    if (!blob_store_read_label(&store->medium.parent, &plan->label, error)) {
        return false;
    }
    if (plan->label.blank) {
        ok = plan_blank(store, options, plan, error);
    } else if (plan->label.sealed) {
        ok = plan_sealed(store, options, plan, error);
    } else {
        ok = store->may_be_plain;
        if (!ok) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                        "medium holds a store that is not encrypted, but a "
                        "key was given: is this the right image?");
        }
    }
    options->key = plan->key;
    options->key_slots = plan->key ? &plan->slots : NULL;
    return ok;
}

static void set_key(BlobStoreObject *store, BlobKey *key)
{
    BlobKey *former = store->key;

    store->key = key ? blob_key_ref(key) : NULL;
    blob_key_unref(former);
    g_clear_pointer(&store->next_key, blob_key_unref);
    store->may_be_plain = !key;
}

void blobstore_keys_settle(BlobStoreObject *store, BlobKey *key)
{
    BlobStoreStatus info;

    blob_store_get_status(store->core, &info);
    set_key(store, info.blank || info.sealed ? key : NULL);
    blob_store_get_key_slots(store->core, &store->key_slots);
}

bool coroutine_fn blobstore_keys_take(BlobStoreObject *store,
                                      const BlobKeySlots *slots,
                                      const QemuUUID *uuid, GError **error)
{
    g_autoptr(BlobKey) key = unlock(store, slots, uuid->data, error);

    if (!key) {
        return false;
    }
    set_key(store, key);
    store->key_slots = *slots;
    return true;
}

void blobstore_keys_forget(BlobStoreObject *store)
{
    g_clear_pointer(&store->key, blob_key_unref);
    g_clear_pointer(&store->next_key, blob_key_unref);
    memset(&store->key_slots, 0, sizeof(store->key_slots));
    store->unsure_slots = 0;
}
