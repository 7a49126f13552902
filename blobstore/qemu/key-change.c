/*
 * Blobstore in QEMU: a change of the keys of a store, by command or by job
 *
 * Deriving a key takes seconds, in a worker thread, and the VM runs meanwhile.
 * Only then is the core locked and the medium written.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "key-change.h"
#include "trace.h"

typedef struct Search {
    const char *id;
    BlobStoreObject *found;
} Search;

static void match_id(BlobStoreObject *store, void *opaque)
{
    Search *search = opaque;

    if (blobstore_object_is_open(store) && !strcmp(store->id, search->id)) {
        search->found = store;
    }
}

BlobStoreObject *blobstore_key_change_find(const char *id, Error **errp)
{
    Search search = { .id = id };

    blobstore_stores_foreach(match_id, &search);
    if (!search.found) {
        error_setg(errp, "no device uses a blobstore '%s'", id);
    }
    return search.found;
}

bool blobstore_key_change_check_encrypted(const BlobStoreObject *store,
                                          bool wanted, Error **errp)
{
    if (!!store->open.keys.key != wanted) {
        error_setg(errp, "blobstore '%s' is %sencrypted", store->id,
                   wanted ? "not " : "already ");
        return false;
    }
    return true;
}

bool blobstore_key_change_begin(BlobStoreKeyChange *change, const char *id,
                                Error **errp)
{
    BlobStoreObject *store = blobstore_key_change_find(id, errp);

    if (!store) {
        return false;
    }
    if (store->job_id) {
        error_setg(errp, "blobstore '%s' is being converted by job '%s'", id,
                   store->job_id);
        error_append_hint(errp, "Wait until the job has ended.\n");
        return false;
    }
    if (!blobstore_drive_may_write(store) || !store->open.core) {
        error_setg(errp, "blobstore '%s' cannot be written now", store->id);
        return false;
    }
    error_setg(&change->blocker, "the keys of blobstore '%s' are being "
               "changed", store->id);
    /* -only-migratable is about what blocks migration for good. */
    if (migrate_add_blocker_internal(&change->blocker, errp) < 0) {
        return false;
    }
    object_ref(OBJECT(store));
    change->store = store;
    change->uuid = *store->open.uuid;
    return true;
}

void blobstore_key_change_end(BlobStoreKeyChange *change)
{
    if (change->store) {
        migrate_del_blocker(&change->blocker);
        object_unref(OBJECT(change->store));
    }
    blob_key_unref(change->key);
    *change = (BlobStoreKeyChange) { 0 };
}

/* Its device may have been unplugged meanwhile, or another plugged in. */
static bool check_in_use(const BlobStoreKeyChange *change, Error **errp)
{
    BlobStoreObject *store = change->store;

    if (!store->open.core || !blobstore_drive_may_write(store) ||
        !qemu_uuid_is_equal(store->open.uuid, &change->uuid)) {
        error_setg(errp, "blobstore '%s' is not in use any more", store->id);
        return false;
    }
    return true;
}

bool coroutine_fn blobstore_key_change_run(BlobStoreKeyChange *change,
                                           BlobStoreKeyCall *call,
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
    if (!ok) {
        blobstore_fence_has_fallen(store, error);
        blobstore_report_propagate(store, error, errp);
    }
    return ok;
}

bool coroutine_fn blobstore_key_change_put(BlobStoreKeyChange *change,
                                           const BlobStoreKeySource *source,
                                           Error **errp)
{
    GError *error = NULL;

    if (!blobstore_keys_put(source, &change->slots, change->n, change->key,
                            &change->uuid, &error)) {
        blobstore_report_propagate(change->store, error, errp);
        return false;
    }
    return true;
}

BlobStoreKeySource
blobstore_key_change_source(BlobstoreKeyType type,
                            const BlobstoreNewPassphrase *passphrase,
                            const BlobstoreNewRaw *raw,
                            const BlobstoreNewToken *token)
{
    BlobStoreKeySource source = {
        .type = type,
        .iter_time = BLOB_KEY_KDF_MILLISECONDS,
    };

    switch (type) {
    case BLOBSTORE_KEY_TYPE_PASSPHRASE:
        source.secret = passphrase->new_secret;
        if (passphrase->has_iter_time) {
            source.iter_time = passphrase->iter_time;
        }
        break;
    case BLOBSTORE_KEY_TYPE_RAW:
        source.secret = raw->new_secret;
        break;
    case BLOBSTORE_KEY_TYPE_TOKEN:
        source.uri = token->key_uri;
        source.pin_secret = token->pin_secret;
        break;
    default:
        g_assert_not_reached();
    }
    return source;
}
