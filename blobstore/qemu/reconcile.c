/*
 * Blobstore in QEMU: bringing the medium, the core and the RAM copies together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "glue.h"
#include "trace.h"

/*
 * Once the store is known, the medium must hold that and no other.  Only for
 * a VM that has just come with a migration it can become that.
 */
static BlobStoreOptions core_options(BlobStoreObject *store)
{
    bool came = store->medium_uuid && !store->core;
    bool is_first = !store->medium_uuid && !store->core;

    return (BlobStoreOptions) {
        .format_never = (store->medium_uuid && !came) ||
                        store->format == BLOBSTORE_FORMAT_NEVER,
        .uuid = store->medium_uuid ?: store->uuid,
        .format_as_uuid = came,
        .follows = store->sequence,
        .pack = store->pack,
        .key_commitment = is_first && store->key_commitment
                          ? store->commitment_pin : NULL,
        /* Not after a snapshot was loaded, which the user knows about. */
        .min_sequence = is_first && store->min_sequence
                        ? &store->sequence_pin : NULL,
    };
}

static void remember_uuid(BlobStoreObject *store)
{
    BlobStoreStatus info;
    QemuUUID uuid;

    blob_store_get_status(store->core, &info);
    if (!info.blank && !store->medium_uuid) {
        memcpy(uuid.data, info.uuid, sizeof(uuid.data));
        store->medium_uuid = qemu_uuid_unparse_strdup(&uuid);
    }
}

bool coroutine_fn blobstore_reconcile_open(BlobStoreObject *store,
                                           GError **error)
{
    BlobStoreOptions options = core_options(store);
    g_auto(BlobStoreKeyPlan) plan = { 0 };

    if (!blobstore_keys_plan(store, &options, &plan, error)) {
        return false;
    }
    store->core = blob_store_open(&store->medium.parent, &options, error);
    if (!store->core) {
        return false;
    }
    blobstore_keys_settle(store, plan.key);
    remember_uuid(store);
    blobstore_report_warnings(store);
    return true;
}

Blob *blobstore_reconcile_register(BlobStore *core, BlobStoreBlob *blob,
                                   GError **error)
{
    return blob_store_register(core, blob->client->owner, blob->name,
                               blob->kind == BLOBSTORE_PERMANENT
                               ? BLOB_KIND_PERMANENT : BLOB_KIND_SAVESTATE,
                               blob->max_size, error);
}

/* A blob of ours and its place in a core that was opened anew */
typedef struct Twin {
    BlobStoreBlob *blob;
    Blob *core;
} Twin;

static bool register_twins(BlobStoreObject *store, BlobStore *core,
                           GArray *twins, bool *started, GError **error)
{
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    *started = false;
    QTAILQ_FOREACH(client, &store->clients, next) {
        *started |= client->started;
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            Twin twin = { .blob = blob };

            if (blob->kind == BLOBSTORE_VOLATILE) {
                continue;
            }
            twin.core = blobstore_reconcile_register(core, blob, error);
            if (!twin.core) {
                return false;
            }
            g_array_append_val(twins, twin);
        }
    }
    return true;
}

/* *@version becomes what @core has of a blob; NULL if that is damaged. */
static bool coroutine_fn read_version(BlobStore *core, Blob *blob,
                                      BlobStoreVersion **version,
                                      GError **error)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;
    g_autoptr(GError) local = NULL;

    *version = NULL;
    if (blob_store_read(core, blob, &content, &metadata, &local)) {
        *version =
            blobstore_version_new(content, (const char *const *)metadata);
        return true;
    }
    if (g_error_matches(local, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED)) {
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

/* RAM has what the device wrote last: what differs goes back to the medium. */
static bool coroutine_fn compare_blob(BlobStoreObject *store, BlobStore *core,
                                      const Twin *twin, BlobstoreFound what,
                                      bool superseded, GError **error)
{
    BlobStoreBlob *blob = twin->blob;
    g_autoptr(BlobStoreVersion) found = NULL;
    g_autoptr(BlobStoreVersion) acknowledged = NULL;
    g_autoptr(BlobStoreVersion) latest = NULL;

    if (!blob->client->started) {
        return true;
    }
    if (!read_version(core, twin->core, &found, error)) {
        return false;
    }
    acknowledged = blobstore_version_acknowledged(blob);
    latest = blobstore_version_latest(blob);
    if (!found) {
        blobstore_report_add_stale(
            store, superseded ? what : BLOBSTORE_FOUND_DAMAGED, blob);
    } else if (!blobstore_version_equal(found, acknowledged)) {
        blobstore_report_add_stale(store, what, blob);
    }
    if (found && blobstore_version_equal(found, latest)) {
        blobstore_version_replace(blob, latest);
    } else {
        blobstore_version_stage(blob, latest, "the medium has something else");
    }
    return true;
}

static BlobstoreFound judge(BlobStoreObject *store, const BlobStoreStatus *info)
{
    if (info->blank) {
        return BLOBSTORE_FOUND_BLANK;
    }
    return info->sequence > store->sequence.number ? BLOBSTORE_FOUND_NEWER
                                            : BLOBSTORE_FOUND_OLDER;
}

/*
 * Key slots are of today, whatever the medium has gone back to, or comes from:
 * a key that was removed does not open it again, nor is the present one lost.
 */
static bool coroutine_fn restore_key_slots(BlobStoreObject *store,
                                           BlobStore *core,
                                           const BlobKey *key, GError **error)
{
    g_autofree BlobKeySlots *found = g_new(BlobKeySlots, 1);
    BlobStoreStatus info;

    blob_store_get_status(core, &info);
    if (!store->key || key != store->key || !info.sealed) {
        return true;            /* It has been converted. */
    }
    blob_store_get_key_slots(core, found);
    return !memcmp(found, &store->key_slots, sizeof(*found)) ||
           blob_store_set_key_slots(core, key, &store->key_slots, error);
}

/*
 * Has loadvm taken the medium back to a time before a conversion?  What is in
 * RAM counts, under the key of today; what the medium went back to is in the
 * snapshot still.
 */
static bool coroutine_fn supersede_reverted(BlobStoreObject *store,
                                            bool *superseded, GError **error)
{
    g_autofree BlobStoreLabel *label = g_new(BlobStoreLabel, 1);

    *superseded = false;
    if (!store->superseding) {
        if (!store->reverted || !store->core) {
            return true;
        }
        if (!blob_store_read_label(&store->medium.parent, label, error)) {
            return false;
        }
        if (label->blank || blobstore_keys_fit(store, label)) {
            return true;
        }
    }
    *superseded = blob_store_supersede(store->core, error);
    /* What is there in between fits, but is no store. */
    store->superseding = !*superseded;
    trace_blobstore_supersede(store->id, *superseded);
    return *superseded;
}

static bool coroutine_fn reopen(BlobStoreObject *store, GError **error)
{
    BlobStoreOptions options = core_options(store);
    g_autoptr(GArray) twins = g_array_new(FALSE, FALSE, sizeof(Twin));
    g_autoptr(BlobStore) core = NULL;
    g_auto(BlobStoreKeyPlan) plan = { 0 };
    BlobStoreStatus info;
    BlobstoreFound found;
    bool superseded;
    bool started;

    /* RAM has what devices wrote last; see compare_blob(). */
    options.replace_damaged = true;
    if (!supersede_reverted(store, &superseded, error) ||
        !blobstore_keys_plan(store, &options, &plan, error)) {
        return false;
    }
    core = blob_store_open(&store->medium.parent, &options, error);
    if (!core) {
        return false;
    }
    blob_store_get_status(core, &info);
    found = superseded ? BLOBSTORE_FOUND_OLDER : judge(store, &info);
    if (!register_twins(store, core, twins, &started, error) ||
        (started && (!blob_store_start(core, error) ||
                     !restore_key_slots(store, core, plan.key, error)))) {
        return false;
    }
    for (guint i = 0; i < twins->len; i++) {
        if (!compare_blob(store, core, &g_array_index(twins, Twin, i), found,
                          superseded, error)) {
            return false;
        }
    }
    trace_blobstore_reopen(store->id, info.sequence, store->sequence.number,
                           blobstore_version_is_dirty(store));
    for (guint i = 0; i < twins->len; i++) {
        const Twin *twin = &g_array_index(twins, Twin, i);

        twin->blob->core = twin->core;
    }
    blob_store_free(store->core);
    store->core = g_steal_pointer(&core);
    blobstore_keys_settle(store, plan.key);
    store->reopen = false;
    store->reverted = false;
    /* That nothing else was there is no news. */
    store->warnings_shown = superseded ? UINT_MAX : 0;
    blobstore_report_warnings(store);
    return true;
}

static bool coroutine_fn call_look(BlobStoreObject *store, void *opaque,
                                   Error **errp)
{
    bool unchanged;

    if (!blobstore_gate_try_enter(store, NULL)) {
        return false;
    }
    if (blob_store_check_unchanged(store->core, &unchanged, NULL) &&
        !unchanged) {
        store->reopen = true;
    }
    blobstore_gate_leave(store);
    return true;
}

void blobstore_reconcile_look(BlobStoreObject *store)
{
    if (store->core && !store->reopen && !store->shrunk && !store->drained &&
        blobstore_drive_may_write(store)) {
        blobstore_call_core(store, call_look, NULL, NULL);
    }
}

bool coroutine_fn blobstore_reconcile_ensure(BlobStoreObject *store,
                                             GError **error)
{
    g_autoptr(GError) local = NULL;
    bool unchanged = false;

    if (store->shrunk) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL, "%s",
                    store->failure);
        return false;
    }
    if (!store->check_medium && !store->reopen) {
        return true;
    }
    if (!store->reopen &&
        !blob_store_check_unchanged(store->core, &unchanged, error)) {
        return false;
    }
    if (!unchanged && !reopen(store, &local)) {
        if (!g_error_matches(local, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO)) {
            blobstore_report_failure(store, local->message);
        }
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    blobstore_report_failure(store, NULL);
    /* While the VM is stopped, no handler says that an image is reverted. */
    store->check_medium = !runstate_is_running();
    return true;
}

static bool coroutine_fn load_blob(BlobStoreObject *store,
                                   BlobStoreBlob *blob, GError **error)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;
    g_autoptr(BlobStoreVersion) version = NULL;

    if (!blob_store_read(store->core, blob->core, &content, &metadata,
                         error)) {
        return false;
    }
    version = blobstore_version_new(content, (const char *const *)metadata);
    blobstore_version_acknowledge(blob, version);
    return true;
}

bool coroutine_fn blobstore_reconcile_start(BlobStoreClient *client,
                                            GError **error)
{
    BlobStoreObject *store = client->store;
    BlobStoreBlob *blob;
    unsigned count = 0;

    if (!blobstore_reconcile_ensure(store, error)) {
        return false;
    }
    QTAILQ_FOREACH(blob, &client->blobs, next) {
        count++;
        if (blob->core && !load_blob(store, blob, error)) {
            return false;
        }
    }
    if (!blob_store_start(store->core, error)) {
        return false;
    }
    blobstore_keys_settle(store, store->key);
    remember_uuid(store);
    blobstore_report_warnings(store);
    trace_blobstore_start(store->id, client->owner, count);
    return true;
}

/* Whether the VM will be able to use @core, which is open for reading */
static bool check_probed(BlobStoreObject *store, BlobStore *core,
                         uint64_t length, Error **errp)
{
    g_autoptr(GArray) twins = g_array_new(FALSE, FALSE, sizeof(Twin));
    GError *error = NULL;
    bool started;

    if (!register_twins(store, core, twins, &started, &error)) {
        blobstore_report_propagate(store, error, errp);
        return false;
    }
    if (blob_store_required_bytes(core) > length) {
        error_setg(errp, "drive '%s' is too small: %" PRIu64 " bytes are "
                   "needed, it has %" PRIu64, store->drive,
                   blob_store_required_bytes(core), length);
        return false;
    }
    return true;
}

/* Whether that can be the medium of the store that comes */
static bool check_label(BlobStoreObject *store, const BlobStoreLabel *label,
                        Error **errp)
{
    g_autofree char *found = NULL;
    QemuUUID uuid;

    if (label->blank) {
        return true;
    }
    memcpy(uuid.data, label->uuid, sizeof(uuid.data));
    found = qemu_uuid_unparse_strdup(&uuid);
    if (g_ascii_strcasecmp(found, store->medium_uuid)) {
        error_setg(errp, "drive '%s' holds the store with uuid %s, but the "
                   "source has the one with uuid %s: is this the right "
                   "image?", store->drive, found, store->medium_uuid);
        return false;
    }
    if (label->sealed != !!store->key) {
        error_setg(errp, "drive '%s' holds a store that is %sencrypted, but "
                   "at the source it is%s: is this the right image?",
                   store->drive, label->sealed ? "" : "not ",
                   label->sealed ? " not" : "");
        return false;
    }
    if (store->key && !blob_store_label_fits(label, store->key)) {
        error_setg(errp, "drive '%s' is encrypted with another data key than "
                   "at the source: is it a copy from before a rekey?",
                   store->drive);
        return false;
    }
    return true;
}

/* The source still writes to the image: read as a mix it proves nothing. */
static bool coroutine_fn probe(BlobStoreObject *store, Error **errp)
{
    BlobStoreOptions options = { .read_only = true, .key = store->key,
                                 .key_slots = &store->key_slots };
    int64_t length = blk_co_getlength(store->medium.blk);
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) core = NULL;
    BlobStoreLabel label;

    if (!blob_store_read_label(&store->medium.parent, &label, &error)) {
        trace_blobstore_probe(store->id, error->message);
        return true;
    }
    if (!check_label(store, &label, errp)) {
        return false;
    }
    core = blob_store_open(&store->medium.parent, &options, &error);
    trace_blobstore_probe(store->id, core ? "" : error->message);
    return !core || length < 0 || check_probed(store, core, length, errp);
}

static bool coroutine_fn call_probe(BlobStoreObject *store, void *opaque,
                                    Error **errp)
{
    bool ok;

    if (!blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    ok = probe(store, errp);
    blobstore_gate_leave(store);
    return ok;
}

bool blobstore_reconcile_probe(BlobStoreObject *store, Error **errp)
{
    return blobstore_call_core(store, call_probe, NULL, errp);
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
    ok = (!store->check_medium ||
          blob_store_check_unchanged(store->core, &unchanged, &error)) &&
         unchanged && blob_store_close_clean(store->core, &error);
    blobstore_gate_leave(store);
    trace_blobstore_close_clean(store->id, ok);
    return ok;
}

/* Best effort, because an unclean close loses nothing */
void blobstore_reconcile_close_clean(BlobStoreObject *store)
{
    if (store->core && !store->failure && !store->reopen &&
        blobstore_drive_may_write(store)) {
        blobstore_call_core(store, call_close_clean, NULL, NULL);
    }
}
