/*
 * Blobstore in QEMU: medium and RAM agree before anything is written
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "glue.h"
#include "trace.h"

static bool coroutine_fn call_look(BlobStoreObject *store, void *opaque,
                                   Error **errp)
{
    const bool *compares = opaque;
    g_autoptr(GError) error = NULL;
    bool unchanged;

    if (!blobstore_gate_try_enter(store, NULL)) {
        return false;
    }
    if (!blob_store_check_owner(store->open.core, &error)) {
        blobstore_fence_has_fallen(store, error);
    } else if (*compares &&
               blob_store_check_unchanged(store->open.core, &unchanged,
                                          NULL) && !unchanged) {
        blobstore_state_event(store, BLOBSTORE_EVENT_CHANGED);
    }
    blobstore_gate_leave(store);
    return true;
}

static void look(BlobStoreObject *store, bool compares)
{
    if (store->open.core && !blobstore_state_is_lost(&store->open.state) &&
        !store->open.health.shrunk && !blobstore_gate_is_drained(store) &&
        blobstore_drive_may_write(store)) {
        blobstore_call_core(store, call_look, &compares, NULL);
    }
}

void blobstore_medium_look(BlobStoreObject *store)
{
    look(store, true);
}

void blobstore_medium_look_for_owner(BlobStoreObject *store)
{
    look(store, false);
}

/* From then on numbers and RAM belong to a medium that is not the core's. */
static bool coroutine_fn reopen_changed(BlobStoreObject *store, GError **error)
{
    blobstore_state_event(store, BLOBSTORE_EVENT_CHANGED);
    return blobstore_reopen_medium(store, error);
}

bool coroutine_fn blobstore_medium_ensure(BlobStoreObject *store,
                                          GError **error)
{
    g_autoptr(GError) local = NULL;
    bool unchanged = false;

    if (store->open.health.shrunk) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL, "%s",
                    store->open.health.failure);
        return false;
    }
    if (blobstore_state_is_taken(&store->open.state)) {
        return blobstore_fence_fail(store, error);
    }
    if (store->open.state.trust == BLOBSTORE_TRUST_FULL) {
        return true;            /* With a fence the core compares. */
    }
    if (!blobstore_state_is_lost(&store->open.state) &&
        (!blob_store_check_owner(store->open.core, error) ||
         !blob_store_check_unchanged(store->open.core, &unchanged, error))) {
        return false;
    }
    if (!unchanged && !reopen_changed(store, &local)) {
        if (!g_error_matches(local, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO)) {
            blobstore_report_failure(store, local->message);
        }
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    blobstore_report_failure(store, NULL);
    /* While the VM is stopped, no handler says that an image is reverted. */
    blobstore_state_event(store, runstate_is_running()
                           ? BLOBSTORE_EVENT_AGREE
                           : BLOBSTORE_EVENT_AGREE_STOPPED);
    return true;
}

/* What looks like damage may be what another owner has just written. */
static void coroutine_fn find_cause(BlobStoreObject *store, GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (g_error_matches(*error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED) &&
        !blob_store_check_untouched(store->open.core, &cause) &&
        g_error_matches(cause, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN)) {
        g_clear_error(error);
        *error = g_steal_pointer(&cause);
    }
}

static bool coroutine_fn load_blob(BlobStoreObject *store,
                                   BlobStoreBlob *blob, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(BlobStoreVersion) version =
        blobstore_core_read(store->open.core, blob->core, &local);

    if (!version) {
        find_cause(store, &local);
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    blobstore_version_acknowledge(blob, version);
    return true;
}

bool coroutine_fn blobstore_medium_load(BlobStoreClient *client,
                                        GError **error)
{
    BlobStoreBlob *blob;

    if (!blobstore_medium_ensure(client->store, error)) {
        return false;
    }
    QTAILQ_FOREACH(blob, &client->blobs, next) {
        if (blob->core && !load_blob(client->store, blob, error)) {
            return false;
        }
    }
    return true;
}

bool coroutine_fn blobstore_medium_start(BlobStoreClient *client,
                                         GError **error)
{
    BlobStoreObject *store = client->store;
    BlobStoreBlob *blob;
    BlobStoreStatus before;
    unsigned count = 0;

    QTAILQ_FOREACH(blob, &client->blobs, next) {
        count++;
    }
    blob_store_get_status(store->open.core, &before);
    if (!blob_store_start(store->open.core, error)) {
        return false;
    }
    blobstore_keys_settle(store, store->open.keys.key);
    blobstore_core_remember_uuid(store);
    if (before.blank) {
        blobstore_report_created(store);
    }
    blobstore_report_warnings(store);
    trace_blobstore_start(store->id, client->owner, count);
    return true;
}

static bool coroutine_fn call_close_clean(BlobStoreObject *store, void *opaque,
                                          Error **errp)
{
    g_autoptr(GError) error = NULL;
    bool unchanged = true;
    bool ok;

    if (!blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    ok = (store->open.state.trust == BLOBSTORE_TRUST_FULL ||
          blob_store_check_unchanged(store->open.core, &unchanged, &error)) &&
         unchanged && blob_store_close_clean(store->open.core, &error);
    blobstore_gate_leave(store);
    trace_blobstore_close_clean(store->id, ok);
    return ok;
}

/* Best effort, because an unclean close loses nothing */
void blobstore_medium_close_clean(BlobStoreObject *store)
{
    if (store->open.core && !store->open.health.failure &&
        !blobstore_state_is_lost(&store->open.state) &&
        blobstore_drive_may_write(store)) {
        blobstore_call_core(store, call_close_clean, NULL, NULL);
    }
}
