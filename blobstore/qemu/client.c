/*
 * Blobstore in QEMU: the device-facing API
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "glue.h"

/* The limits that devices see are those that the core checks. */
QEMU_BUILD_BUG_ON(BLOBSTORE_NAME_MAX_BYTES != BLOB_NAME_MAX_BYTES);
QEMU_BUILD_BUG_ON(BLOBSTORE_METADATA_MAX_BYTES != BLOB_METADATA_MAX_BYTES);
QEMU_BUILD_BUG_ON(BLOBSTORE_MAX_BLOB_BYTES != BLOB_MAX_SIZE_BYTES);
QEMU_BUILD_BUG_ON(BLOBSTORE_MAX_BLOBS_PER_WRITE != BLOB_MEMBERS_MAX);

static BlobStoreClient *find_client(BlobStoreObject *store, const char *owner)
{
    BlobStoreClient *client;

    QTAILQ_FOREACH(client, &store->clients, next) {
        if (!strcmp(client->owner, owner)) {
            return client;
        }
    }
    return NULL;
}

/* Gives back the reference of a client that is gone, or was not made. */
static void release_store(BlobStoreObject *store)
{
    if (QTAILQ_EMPTY(&store->clients)) {
        if (blobstore_object_is_open(store)) {
            blobstore_object_close(store);
        }
        if (store->implicit) {
            object_unparent(OBJECT(store));
        }
    }
    object_unref(OBJECT(store));
}

BlobStoreClient *blobstore_attach(const char *name, const char *owner,
                                  Error **errp)
{
    BlobStoreObject *store;
    BlobStoreClient *client;

    assert(qemu_in_main_thread());
    if (!blob_name_is_valid(owner)) {
        error_setg(errp, "blobstore: owner '%s' is not 1 to %d printable "
                   "ASCII characters without space or '/'", owner,
                   BLOBSTORE_NAME_MAX_BYTES);
        return NULL;
    }
    store = blobstore_stores_find(name, errp);
    if (!store) {
        return NULL;
    }
    if (find_client(store, owner)) {
        error_setg(errp, "blobstore '%s': the blobs of '%s' are in use by "
                   "another device", store->id, owner);
        error_append_hint(errp, "Give each device a drive of its own.\n");
        release_store(store);
        return NULL;
    }
    if (!blobstore_object_is_open(store) &&
        !blobstore_object_open(store, errp)) {
        release_store(store);
        return NULL;
    }

    client = g_new0(BlobStoreClient, 1);
    client->store = store;
    client->owner = g_strdup(owner);
    QTAILQ_INIT(&client->blobs);
    QTAILQ_INSERT_TAIL(&store->clients, client, next);
    return client;
}

static BlobStoreBlob *find_blob(BlobStoreClient *client, const char *name)
{
    BlobStoreBlob *blob;

    QTAILQ_FOREACH(blob, &client->blobs, next) {
        if (!strcmp(blob->name, name)) {
            return blob;
        }
    }
    return NULL;
}

/* A device that is plugged in while the medium is not ours cannot be served. */
static bool check_writable(BlobStoreObject *store, Error **errp)
{
    if (blobstore_drive_may_write(store)) {
        return true;
    }
    if (blobstore_state_is_loading(&store->open.state)) {
        error_setg(errp, "blobstore '%s': the state of the VM was not loaded "
                   "completely", store->id);
        error_append_hint(errp, "Reset the VM first.\n");
    } else {
        error_setg(errp, "blobstore '%s': drive '%s' is inactive: another "
                   "QEMU may be using it", store->id, store->drive);
    }
    return false;
}

static bool coroutine_fn call_register(BlobStoreObject *store, void *opaque,
                                       Error **errp)
{
    BlobStoreBlob *blob = opaque;
    GError *error = NULL;
    bool ok;

    if (blobstore_state_is_incoming(&store->open.state)) {
        return true;
    }
    if (!check_writable(store, errp) ||
        !blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    ok = blobstore_medium_ensure(store, &error);
    if (ok) {
        blob->core = blobstore_core_register(store->open.core, blob, &error);
        ok = blob->core;
    }
    blobstore_gate_leave(store);
    if (!ok) {
        blobstore_report_propagate(store, error, errp);
    }
    return ok;
}

static void free_blob(BlobStoreBlob *blob)
{
    blobstore_version_drop(blob);
    g_free(blob->name);
    g_free(blob);
}

BlobStoreBlob *blobstore_register_blob(BlobStoreClient *client,
                                       const char *name, BlobStoreKind kind,
                                       uint64_t max_size, Error **errp)
{
    BlobStoreObject *store = client->store;
    BlobStoreBlob *blob;

    assert(!client->started);
    if (!blob_name_is_valid(name)) {
        error_setg(errp, "blobstore '%s': blob name '%s' is not 1 to %d "
                   "printable ASCII characters without space or '/'",
                   store->id, name, BLOBSTORE_NAME_MAX_BYTES);
        return NULL;
    }
    if (!max_size || max_size > BLOBSTORE_MAX_BLOB_BYTES) {
        error_setg(errp, "blobstore '%s': blob '%s/%s': maximum size %" PRIu64
                   " is not between 1 and %d bytes", store->id,
                   client->owner, name, max_size, BLOBSTORE_MAX_BLOB_BYTES);
        return NULL;
    }
    if (find_blob(client, name)) {
        error_setg(errp, "blobstore '%s': blob '%s/%s' is registered already",
                   store->id, client->owner, name);
        return NULL;
    }

    blob = g_new0(BlobStoreBlob, 1);
    blob->client = client;
    blob->name = g_strdup(name);
    blob->kind = kind;
    blob->max_size = max_size;
    blob->acknowledged = blobstore_version_new(NULL, NULL);
    if (kind != BLOBSTORE_VOLATILE &&
        !blobstore_call_core(store, call_register, blob, errp)) {
        free_blob(blob);
        return NULL;
    }
    QTAILQ_INSERT_TAIL(&client->blobs, blob, next);
    return blob;
}

typedef bool coroutine_fn MediumStep(BlobStoreClient *client, GError **error);

static bool coroutine_fn take_step(BlobStoreClient *client, MediumStep *step,
                                   Error **errp)
{
    BlobStoreObject *store = client->store;
    GError *error = NULL;
    bool ok;

    if (blobstore_state_is_incoming(&store->open.state)) {
        return true;            /* See blobstore_commit_before_start(). */
    }
    if (!check_writable(store, errp) ||
        !blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    ok = step(client, &error);
    blobstore_gate_leave(store);
    if (!ok) {
        blobstore_report_propagate(store, error, errp);
    }
    return ok;
}

static bool coroutine_fn call_load(BlobStoreObject *store, void *opaque,
                                   Error **errp)
{
    return take_step(opaque, blobstore_medium_load, errp);
}

static bool coroutine_fn call_start(BlobStoreObject *store, void *opaque,
                                    Error **errp)
{
    return take_step(opaque, blobstore_medium_start, errp);
}

/* The device looks while nothing has been written yet. */
static bool check_device(BlobStoreClient *client, Error **errp)
{
    return !client->ops || !client->ops->check ||
           blobstore_state_is_incoming(&client->store->open.state) ||
           client->ops->check(client->opaque, errp);
}

void blobstore_set_ops(BlobStoreClient *client, const BlobStoreClientOps *ops,
                       void *opaque)
{
    client->ops = ops;
    client->opaque = opaque;
}

void blobstore_set_device(BlobStoreClient *client, DeviceState *dev)
{
    BlockBackend *blk = client->store->open.medium.blk;

    if (!blk_get_attached_dev(blk)) {
        blk_attach_dev(blk, dev);
    }
}

bool blobstore_start(BlobStoreClient *client, Error **errp)
{
    assert(!client->started);
    client->loaded =
        blobstore_call_core(client->store, call_load, client, errp);
    client->started = client->loaded && check_device(client, errp) &&
        blobstore_call_core(client->store, call_start, client, errp);
    if (client->started && !runstate_is_running()) {
        blobstore_state_event(client->store, BLOBSTORE_EVENT_STOP);
    }
    return client->started;
}

bool blobstore_read_blob(BlobStoreBlob *blob, GBytes **content,
                         char ***metadata, Error **errp)
{
    g_autoptr(BlobStoreVersion) version = blobstore_version_latest(blob);

    assert(blob->client->loaded);
    *content = version->content ? g_bytes_ref(version->content) : NULL;
    if (metadata) {
        *metadata = g_strdupv(version->metadata);
    }
    return true;
}

bool blobstore_write_blobs(BlobStoreClient *client,
                           const BlobStoreChange *changes, size_t count,
                           Error **errp)
{
    return blobstore_commit_changes(client, changes, count, errp);
}

bool blobstore_write_blob(BlobStoreBlob *blob, const void *data, size_t size,
                          const char *const *metadata, Error **errp)
{
    g_autoptr(GBytes) content = g_bytes_new(data, size);
    BlobStoreChange change = { blob, content, metadata };

    return blobstore_commit_changes(blob->client, &change, 1, errp);
}

bool blobstore_delete_blob(BlobStoreBlob *blob, Error **errp)
{
    BlobStoreChange change = { .blob = blob };

    return blobstore_commit_changes(blob->client, &change, 1, errp);
}

/* This does no I/O, so that it works in a drained section as well. */
static bool coroutine_fn call_unregister(BlobStoreObject *store, void *opaque,
                                         Error **errp)
{
    BlobStoreClient *client = opaque;
    BlobStoreBlob *blob;

    blobstore_gate_lock(store);
    QTAILQ_FOREACH(blob, &client->blobs, next) {
        if (blob->core) {
            blob_store_unregister(store->open.core, blob->core);
            blob->core = NULL;
        }
    }
    QTAILQ_REMOVE(&store->clients, client, next);
    blobstore_gate_unlock(store);
    return true;
}

void blobstore_detach(BlobStoreClient *client)
{
    BlobStoreObject *store;
    BlobStoreBlob *blob, *next;

    if (!client) {
        return;
    }
    store = client->store;
    blobstore_commit_staged(store);
    blobstore_call_core(store, call_unregister, client, NULL);
    QTAILQ_FOREACH_SAFE(blob, &client->blobs, next, next) {
        if (blob->staged) {
            error_report("blobstore '%s': the last change of blob '%s/%s' "
                         "could not be written and is lost", store->id,
                         client->owner, blob->name);
        }
        free_blob(blob);
    }
    release_store(store);
    g_free(client->owner);
    g_free(client);
}
