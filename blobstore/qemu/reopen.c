/*
 * Blobstore in QEMU: a medium that is not as the core wrote it last
 *
 * It is opened again in four steps.  The first three may fail and leave the
 * store as it was; the last cannot fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "glue.h"
#include "trace.h"

typedef struct Reopening {
    BlobStoreOptions options;
    BlobStoreKeyAnswer answer;
    bool superseded;            /* the medium was taken back before a rekey */
    BlobStore *core;            /* the new one */
    GArray *twins;              /* of BlobStoreTwin */
    uint64_t sequence;          /* of the medium as it was found */
    BlobstoreFound found;       /* how it compares with RAM */
} Reopening;

static void clear_reopening(Reopening *reopening)
{
    blobstore_keys_clear_answer(&reopening->answer);
    g_clear_pointer(&reopening->twins, g_array_unref);
    blob_store_free(reopening->core);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reopening, clear_reopening)

static bool has_started(const BlobStoreObject *store)
{
    BlobStoreClient *client;

    QTAILQ_FOREACH(client, &store->clients, next) {
        if (client->started) {
            return true;
        }
    }
    return false;
}

/*
 * Has loadvm taken the medium back to a time before a conversion?  The content
 * in RAM counts, under today's key; what the medium was taken back to is still
 * in the snapshot.
 */
static bool coroutine_fn supersede_reverted(BlobStoreObject *store,
                                            bool *superseded, GError **error)
{
    g_autofree BlobStoreLabel *label = g_new(BlobStoreLabel, 1);

    *superseded = false;
    if (store->open.state.trust < BLOBSTORE_TRUST_SUPERSEDING) {
        if (store->open.state.trust < BLOBSTORE_TRUST_REVERTED ||
            !store->open.core) {
            return true;
        }
        if (!blob_store_read_label(&store->open.medium.parent, label, error)) {
            return false;
        }
        if (label->blank || blobstore_keys_fit(store, label)) {
            return true;
        }
    }
    /* The medium that this leaves half way has the right key, but no store. */
    blobstore_state_event(store, BLOBSTORE_EVENT_SUPERSEDE);
    *superseded = blob_store_supersede(store->open.core, error);
    if (*superseded) {
        blobstore_state_event(store, BLOBSTORE_EVENT_SUPERSEDED);
    }
    trace_blobstore_supersede(store->id, *superseded);
    return *superseded;
}

/* What the core is to demand of the medium */
static bool coroutine_fn plan(BlobStoreObject *store, Reopening *reopening,
                              GError **error)
{
    reopening->options = blobstore_core_options(store);
    /* RAM has what devices wrote last; see adopt_blob(). */
    reopening->options.replace_damaged = true;
    blobstore_keys_answer(store, &reopening->options, &reopening->answer);
    return supersede_reverted(store, &reopening->superseded, error);
}

static BlobstoreFound judge(BlobStoreObject *store, const Reopening *reopening,
                            const BlobStoreStatus *info)
{
    if (reopening->superseded) {
        return BLOBSTORE_FOUND_OLDER;
    }
    if (info->blank) {
        return BLOBSTORE_FOUND_BLANK;
    }
    return info->sequence > blobstore_state_sequence(store).number
           ? BLOBSTORE_FOUND_NEWER : BLOBSTORE_FOUND_OLDER;
}

/*
 * Today's key slots count, whatever the medium was taken back to: a key that
 * was removed does not open it again, nor is the present one lost.
 */
static bool coroutine_fn keep_key_slots(BlobStoreObject *store,
                                        const Reopening *reopening,
                                        GError **error)
{
    g_autofree BlobKeySlots *found = g_new(BlobKeySlots, 1);
    BlobKey *key = reopening->answer.key;
    BlobStoreStatus info;

    blob_store_get_status(reopening->core, &info);
    if (!store->open.keys.key || key != store->open.keys.key || !info.sealed) {
        return true;            /* It has been converted. */
    }
    blob_store_get_key_slots(reopening->core, found);
    return !memcmp(found, &store->open.keys.slots, sizeof(*found)) ||
           blob_store_set_key_slots(reopening->core, key,
                                    &store->open.keys.slots, error);
}

static bool coroutine_fn open_core(BlobStoreObject *store,
                                   Reopening *reopening, GError **error)
{
    BlobStoreStatus info;

    reopening->core = blob_store_open(&store->open.medium.parent,
                                      &reopening->options, error);
    if (!reopening->core) {
        return false;
    }
    blob_store_get_status(reopening->core, &info);
    reopening->sequence = info.sequence;
    reopening->found = judge(store, reopening, &info);
    reopening->twins = blobstore_core_register_all(store, reopening->core,
                                                   error);
    return reopening->twins &&
           (!has_started(store) ||
            (blob_store_start(reopening->core, error) &&
             keep_key_slots(store, reopening, error)));
}

/* twin->found becomes what the medium has of a blob; NULL if it is damaged. */
static bool coroutine_fn read_twin(BlobStore *core, BlobStoreTwin *twin,
                                   GError **error)
{
    g_autoptr(GError) local = NULL;

    twin->found = blobstore_core_read(core, twin->core, &local);
    if (twin->found ||
        g_error_matches(local, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED)) {
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

static bool coroutine_fn compare(Reopening *reopening, GError **error)
{
    for (guint i = 0; i < reopening->twins->len; i++) {
        BlobStoreTwin *twin = &g_array_index(reopening->twins, BlobStoreTwin,
                                             i);

        if (twin->blob->client->started &&
            !read_twin(reopening->core, twin, error)) {
            return false;
        }
    }
    return true;
}

/* RAM has what the device wrote last: what differs goes back to the medium. */
static void adopt_blob(BlobStoreObject *store, const Reopening *reopening,
                       const BlobStoreTwin *twin)
{
    BlobStoreBlob *blob = twin->blob;
    g_autoptr(BlobStoreVersion) acknowledged =
        blobstore_version_acknowledged(blob);
    g_autoptr(BlobStoreVersion) latest = blobstore_version_latest(blob);

    if (!twin->found) {
        blobstore_report_add_stale(store, reopening->superseded
                                   ? reopening->found
                                   : BLOBSTORE_FOUND_DAMAGED, blob);
    } else if (!blobstore_version_equal(twin->found, acknowledged)) {
        blobstore_report_add_stale(store, reopening->found, blob);
    }
    if (twin->found && blobstore_version_equal(twin->found, latest)) {
        blobstore_version_replace(blob, latest);
    } else {
        blobstore_version_stage(blob, latest, "the medium has something else");
    }
}

static void adopt(BlobStoreObject *store, Reopening *reopening)
{
    for (guint i = 0; i < reopening->twins->len; i++) {
        const BlobStoreTwin *twin = &g_array_index(reopening->twins,
                                                   BlobStoreTwin, i);

        if (twin->blob->client->started) {
            adopt_blob(store, reopening, twin);
        }
        twin->blob->core = twin->core;
    }
    trace_blobstore_reopen(store->id, reopening->sequence,
                           blobstore_state_sequence(store).number,
                           blobstore_version_is_dirty(store));
    blob_store_free(store->open.core);
    store->open.core = g_steal_pointer(&reopening->core);
    blobstore_keys_settle(store, reopening->answer.key);
    /* That nothing else was there is no news. */
    store->open.health.warnings_shown = reopening->superseded ? UINT_MAX : 0;
    blobstore_report_warnings(store);
}

bool coroutine_fn blobstore_reopen_medium(BlobStoreObject *store,
                                          GError **error)
{
    g_auto(Reopening) reopening = { 0 };

    if (!plan(store, &reopening, error) ||
        !open_core(store, &reopening, error) ||
        !compare(&reopening, error)) {
        return false;
    }
    adopt(store, &reopening);
    return true;
}
