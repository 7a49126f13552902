/*
 * Blobstore in QEMU: writing blobs, and what happens when that cannot be done
 *
 * A version that a device writes is either durable on the medium, or refused,
 * or staged: accepted in RAM and written later.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "glue.h"
#include "trace.h"

/* One blob's part of a commit */
typedef struct Change {
    BlobStoreBlob *blob;
    BlobStoreVersion *version;
} Change;

typedef struct Commit {
    GArray *changes;            /* of Change; none of a volatile blob */
    bool may_wait;              /* for the gate, and for the VM to stop */
    bool again;                 /* the stop was taken back */
    bool is_refused;            /* by the core, whatever the medium does */
} Commit;

static void clear_change(gpointer data)
{
    blobstore_version_unref(((Change *)data)->version);
}

static GArray *new_changes(void)
{
    GArray *changes = g_array_new(FALSE, FALSE, sizeof(Change));

    g_array_set_clear_func(changes, clear_change);
    return changes;
}

/* Takes over the reference to @version. */
static void add_change(GArray *changes, BlobStoreBlob *blob,
                       BlobStoreVersion *version)
{
    Change change = { blob, version };

    g_array_append_val(changes, change);
}

static void stage_changes(GArray *changes, const char *reason)
{
    for (guint i = 0; i < changes->len; i++) {
        Change *change = &g_array_index(changes, Change, i);

        blobstore_version_stage(change->blob, change->version, reason);
    }
}

static bool is_twice(const GArray *changes, guint n)
{
    for (guint i = 0; i < n; i++) {
        if (g_array_index(changes, Change, i).blob ==
            g_array_index(changes, Change, n).blob) {
            return true;
        }
    }
    return false;
}

/* The core checks what it writes, but not what is only staged, or volatile. */
static bool check_changes(BlobStoreObject *store, GArray *changes,
                          Error **errp)
{
    for (guint i = 0; i < changes->len; i++) {
        const Change *change = &g_array_index(changes, Change, i);
        const BlobStoreBlob *blob = change->blob;
        GError *error = NULL;

        if (is_twice(changes, i)) {
            error_setg(errp, "blobstore '%s': blob '%s/%s' is in the same "
                       "write twice", store->id, blob->client->owner,
                       blob->name);
            return false;
        }
        if (!blob_content_check(blob->client->owner, blob->name,
                                blob->max_size, change->version->content,
                                (const char *const *)change->version->metadata,
                                &error)) {
            blobstore_report_propagate(store, error, errp);
            return false;
        }
    }
    return true;
}

static void acknowledge_changes(GArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        Change *change = &g_array_index(changes, Change, i);

        blobstore_version_acknowledge(change->blob, change->version);
        change->blob->rewrite = false;
    }
}

/* Writes all of @changes, durably, or none. */
static bool coroutine_fn write_changes(BlobStoreObject *store,
                                       GArray *changes, GError **error)
{
    BlobChange core_changes[BLOBSTORE_MAX_BLOBS_PER_WRITE];
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    uint64_t written_before = store->open.medium.bytes_written;

    assert(changes->len <= ARRAY_SIZE(core_changes));
    for (guint i = 0; i < changes->len; i++) {
        Change *change = &g_array_index(changes, Change, i);

        core_changes[i] = (BlobChange) {
            .blob = change->blob->core,
            .content = change->version->content,
            .metadata = (const char *const *)change->version->metadata,
            .delete_again = change->blob->rewrite,
        };
    }
    if (!blob_store_write(store->open.core, core_changes, changes->len,
                          error)) {
        /* To the user a read that the fence needs is part of the write. */
        store->open.medium.last_operation = BLOBSTORE_OPERATION_WRITE;
        return false;
    }
    acknowledge_changes(changes);
    store->open.health.write_failed = false;
    trace_blobstore_commit(store->id, changes->len,
                           store->open.medium.bytes_written - written_before,
                           store->open.durable,
                           qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start);
    return true;
}

/* Returns the staged versions, as many as one write can have. */
static GArray *collect_staged(BlobStoreObject *store)
{
    BlobStoreBlob *blobs[BLOBSTORE_MAX_BLOBS_PER_WRITE];
    size_t count = blobstore_version_list_staged(store, blobs,
                                                 ARRAY_SIZE(blobs));
    GArray *changes = new_changes();

    for (size_t i = 0; i < count; i++) {
        add_change(changes, blobs[i], blobstore_version_staged(blobs[i]));
    }
    return changes;
}

static bool coroutine_fn write_all_staged(BlobStoreObject *store,
                                          GError **error)
{
    while (blobstore_version_is_dirty(store)) {
        g_autoptr(GArray) changes = collect_staged(store);

        trace_blobstore_flush_staged(store->id, changes->len);
        if (!write_changes(store, changes, error)) {
            return false;
        }
    }
    blobstore_report_stale(store);
    return true;
}

static BlobstoreBlobNameList *names_of(GArray *changes)
{
    BlobstoreBlobNameList *names = NULL;

    for (guint i = 0; i < changes->len; i++) {
        Change *change = &g_array_index(changes, Change, i);

        QAPI_LIST_PREPEND(names, blobstore_report_blob_name(change->blob));
    }
    return names;
}

/* A quota that is used up is lack of space, although QEMU does not say so. */
static int policy_errno(int number)
{
#ifdef EDQUOT
    return number == EDQUOT ? ENOSPC : number;
#else
    return number;
#endif
}

/* Returns what the user wants to happen when @changes failed with @error. */
static BlockErrorAction error_action(BlobStoreObject *store, GArray *changes,
                                     const GError *error)
{
    BlockStorage *medium = &store->open.medium;
    bool is_read = medium->last_operation == BLOBSTORE_OPERATION_READ;
    int number = policy_errno(medium->last_errno);
    BlockErrorAction action;

    store->open.health.write_failed = true;
    blobstore_report_error(store, names_of(changes), error);
    if (blobstore_fence_has_fallen(store, error)) {
        return BLOCK_ERROR_ACTION_STOP;
    }
    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO)) {
        return BLOCK_ERROR_ACTION_REPORT;
    }
    action = blk_get_error_action(medium->blk, is_read, number);
    blk_error_action(medium->blk, action, is_read, number);
    return action;
}

/* Whether the device gave something that no medium could take */
static bool is_mistake(const GError *error)
{
    return g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID) ||
           g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_LARGE);
}

static bool coroutine_fn commit_failed(BlobStoreObject *store, Commit *commit,
                                       GError *error, Error **errp)
{
    bool is_known = store->open.health.write_failed;
    BlockErrorAction action;

    if (commit->is_refused) {
        blobstore_report_propagate(store, error, errp);
        return false;
    }
    action = error_action(store, commit->changes, error);
    if (action == BLOCK_ERROR_ACTION_REPORT) {
        blobstore_report_propagate(store, error, errp);
        return false;
    }
    trace_blobstore_error(store->id, error->message);
    /* A guest that runs on could fill the log. */
    if (action == BLOCK_ERROR_ACTION_STOP || !is_known) {
        warn_report("blobstore '%s': %s; the device state is kept in RAM and "
                    "written %s", store->id, error->message,
                    action == BLOCK_ERROR_ACTION_STOP
                    ? "when the VM continues"
                    : "with the next change; further failures are not "
                      "reported until a write works");
        blobstore_report_flush_advice(store);
    }
    g_error_free(error);
    commit->again = action == BLOCK_ERROR_ACTION_STOP && commit->may_wait &&
                    blobstore_halt_wait(store);
    if (!commit->again) {
        stage_changes(commit->changes, "write error");
    }
    return true;
}

/* Accepts the changes of @commit without writing them. */
static bool stage_instead(BlobStoreObject *store, Commit *commit,
                          const char *reason, Error **errp)
{
    if (!check_changes(store, commit->changes, errp)) {
        return false;
    }
    stage_changes(commit->changes, reason);
    return true;
}

static bool coroutine_fn try_commit(BlobStoreObject *store, Commit *commit,
                                    Error **errp)
{
    GError *error = NULL;
    bool ok;

    commit->again = false;
    if (commit->may_wait) {
        blobstore_reconnect_after_reset(store);
    }
    if (!(commit->may_wait ? blobstore_gate_enter(store)
                           : blobstore_gate_try_enter(store, NULL))) {
        return stage_instead(store, commit, "the drive is drained", errp);
    }
    if (!blobstore_drive_may_write(store)) {
        ok = stage_instead(store, commit, "the drive is inactive", errp);
        blobstore_gate_leave(store);
        return ok;
    }
    ok = blobstore_medium_ensure(store, &error) &&
         write_all_staged(store, &error);
    if (ok && !write_changes(store, commit->changes, &error)) {
        ok = false;
        commit->is_refused = is_mistake(error);
    }
    blobstore_gate_leave(store);
    return ok || commit_failed(store, commit, error, errp);
}

static bool coroutine_fn call_commit(BlobStoreObject *store, void *opaque,
                                     Error **errp)
{
    Commit *commit = opaque;
    bool ok;

    do {
        ok = try_commit(store, commit, errp);
    } while (commit->again);
    return ok;
}

static bool coroutine_fn call_write_staged(BlobStoreObject *store,
                                           void *opaque, Error **errp)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) staged = collect_staged(store);
    bool ok = true;

    if (!blobstore_gate_try_enter(store, NULL)) {
        return true;            /* resume() does it when the section ends. */
    }
    if (blobstore_drive_may_write(store)) {
        ok = blobstore_medium_ensure(store, &error) &&
             write_all_staged(store, &error);
    }
    blobstore_gate_leave(store);
    if (!ok) {
        error_action(store, staged, error);
        trace_blobstore_error(store->id, error->message);
        error_report("blobstore '%s': %s; the device state is in RAM only",
                     store->id, error->message);
        blobstore_report_flush_advice(store);
    }
    return ok;
}

void blobstore_commit_staged(BlobStoreObject *store)
{
    if (blobstore_version_is_dirty(store)) {
        blobstore_call_core(store, call_write_staged, NULL, NULL);
    }
}

void blobstore_commit_last(BlobStoreObject *store)
{
    blobstore_medium_look(store);
    if (store->open.core && (blobstore_state_is_lost(&store->open.state) ||
                        blobstore_version_is_dirty(store))) {
        blobstore_call_core(store, call_write_staged, NULL, NULL);
    }
}

static bool coroutine_fn call_prepare_start(BlobStoreObject *store,
                                            void *opaque, Error **errp)
{
    BlockErrorAction *action = opaque;
    g_autoptr(GArray) staged = collect_staged(store);
    GError *error = NULL;
    bool ok;

    blobstore_reconnect_for_start(store);
    if (!blobstore_gate_try_enter(store, errp)) {
        return false;
    }
    blobstore_fence_take_over(store);
    ok = blobstore_medium_ensure(store, &error) &&
         write_all_staged(store, &error);
    blobstore_gate_leave(store);
    if (!ok) {
        *action = error_action(store, staged, error);
        blobstore_report_propagate(store, error, errp);
    }
    return ok;
}

static bool try_prepare_start(BlobStoreObject *store, BlockErrorAction *action,
                              Error **errp)
{
    if (blobstore_state_is_loading(&store->open.state)) {
        error_setg(errp, "blobstore '%s': the state of the VM was not loaded "
                   "completely", store->id);
        error_append_hint(errp, "Load it again, or reset the VM.\n");
        return false;
    }
    if (!blobstore_drive_is_active(store->open.medium.blk)) {
        error_setg(errp, "blobstore '%s': drive '%s' is inactive", store->id,
                   store->drive);
        return false;
    }
    return blobstore_call_core(store, call_prepare_start, action, errp);
}

bool blobstore_commit_before_start(BlobStoreObject *store)
{
    BlockErrorAction action = BLOCK_ERROR_ACTION_STOP;
    Error *err = NULL;
    bool is_settled;
    bool wanted;

    blobstore_medium_look(store);
    is_settled = !blobstore_state_is_incoming(&store->open.state) &&
                 !blobstore_state_is_loading(&store->open.state);
    wanted = !is_settled || blobstore_state_is_lost(&store->open.state) ||
             blobstore_state_is_taken(&store->open.state);
    if (!wanted && (blobstore_gate_is_drained(store) ||
                    !blobstore_version_is_dirty(store))) {
        return true;
    }
    /* The user knows; RAM has everything, as before the VM stopped. */
    if (store->open.health.shrunk && is_settled) {
        return true;
    }
    if (!try_prepare_start(store, &action, &err)) {
        error_report_err(err);
        if (action != BLOCK_ERROR_ACTION_IGNORE) {
            return false;
        }
    }
    blobstore_state_event(store, BLOBSTORE_EVENT_START);
    return true;
}

bool blobstore_commit_changes(BlobStoreClient *client,
                              const BlobStoreChange *changes, size_t count,
                              Error **errp)
{
    BlobStoreObject *store = client->store;
    g_autoptr(GArray) volatile_changes = new_changes();
    g_autoptr(GArray) medium_changes = new_changes();
    Commit commit = {
        .changes = medium_changes,
        .may_wait = blobstore_call_is_from_worker(),
    };

    assert(client->started);
    assert(count >= 1 && count <= BLOBSTORE_MAX_BLOBS_PER_WRITE);
    for (size_t i = 0; i < count; i++) {
        BlobStoreBlob *blob = changes[i].blob;

        assert(blob->client == client);
        add_change(blob->kind == BLOBSTORE_VOLATILE ? volatile_changes
                                                    : medium_changes, blob,
                   blobstore_version_new(changes[i].content,
                                         changes[i].metadata));
    }
    if (!check_changes(store, volatile_changes, errp) ||
        (medium_changes->len &&
         !blobstore_call_core(store, call_commit, &commit, errp))) {
        return false;
    }
    acknowledge_changes(volatile_changes);
    return true;
}
