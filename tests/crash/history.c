/*
 * Short histories of a store on a simulated disk, and what is promised
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "history-private.h"

#include <string.h>

/*
 * w, v  write blob 0, write blob 1
 * n     write blob 2, the first time with nothing recorded of it
 * m, a  write blobs 0 and 1, write all three together
 * d     delete blob 1
 * e     write blob 0 and delete blob 1 together
 * r     the process ends; the store is opened and started again
 * c     the same after a clean close
 * g     the same, and blob 1 is registered larger
 * s     the same, and blob 1 is registered as small as at first
 * u     the same, first without and then with blob 1
 * i, j  blob 0, or 1, is registered larger in the running store; if that
 *       fails, as it was
 * k     another secret opens the store; or of two that do one no more
 * x     the store is sealed, or if it is so under another key
 * y     it becomes plain
 * b, q  x and y begin: what was there before is still to be zeroed
 * z     a piece of that is zeroed
 */
const char history_ops[] = "wvnmadercgsuij";
const char history_key_ops[] = "kxy";
const char history_piece_ops[] = "bqz";

const char history_fail_letters[] = "FGHIJKLM";
static const char landing_digits[SIM_LANDING_COUNT + 1] = "01234";

enum { FAIL_LATER = 8 };        /* what an 'N' adds */

static unsigned add_promise(History *history, const Promise *promise)
{
    g_array_append_val(history->promises, *promise);
    return history->promises->len - 1;
}

/*
 * Adds the promises about keys: the old state, all possible ones, and @wanted
 * (or NULL).
 */
static void add_keys(const History *history, Promise *promise,
                     const Promise *wanted)
{
    promise_add_key(promise, &history->keys);
    for (unsigned i = 0; wanted && i < wanted->key_count; i++) {
        promise_add_key(promise, &wanted->keys[i]);
    }
    promise->gone = history->gone;
    promise->former = history->former;
}

static void add_cut(History *history, unsigned events, unsigned promise)
{
    Cut cut = { events, promise };

    g_array_append_val(history->cuts, cut);
}

/*
 * Begins an operation, which may leave the world, or the keys that open the
 * store, in the old state or in the new one: @after, and any of @wanted, if
 * that is not NULL.
 */
unsigned history_begin(History *history, const World *after,
                       const Promise *wanted)
{
    Promise promise = history->failed;

    promise.worlds[promise.count++] = history->acknowledged;
    promise.worlds[promise.count++] = *after;
    g_assert(promise.count <= HISTORY_MAX_WORLDS);
    add_keys(history, &promise, wanted);
    history->disk->fail_after = history->fail_next;
    history->disk->landing = history->landing;
    history->landing = (history->landing + 1) % SIM_LANDS_LATE;
    history->fail_next = -1;
    return add_promise(history, &promise);
}

void history_end(History *history, const World *after, unsigned promise,
                 unsigned first_event, bool done)
{
    unsigned events = history->disk->events->len;
    Promise rest = { 0 };

    history->disk->fail_after = -1;
    for (unsigned i = first_event; i < events; i++) {
        add_cut(history, i + 1, promise);
    }
    if (done) {
        history->acknowledged = *after;
        history->failed.count = 0;
    } else if (memcmp(after, &history->acknowledged, sizeof(*after))) {
        history->failed.worlds[history->failed.count++] = *after;
    }
    rest = history->failed;
    rest.worlds[rest.count++] = history->acknowledged;
    add_keys(history, &rest, NULL);
    add_cut(history, events, add_promise(history, &rest));
}

bool history_check_world(History *history, GError **error)
{
    World world;

    if (!history_read_world(history->store, &world, error)) {
        g_prefix_error(error, "running store: ");
        return false;
    }
    if (memcmp(&world, &history->acknowledged, sizeof(world))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "running store does not hold what was acknowledged");
        return false;
    }
    return true;
}

static bool write_blobs(History *history, unsigned mask, unsigned deleted,
                        GError **error)
{
    World after = history->acknowledged;
    BlobChange changes[HISTORY_BLOBS] = { 0 };
    size_t count = 0;
    unsigned first = history->disk->events->len;
    unsigned deletes = mask & deleted;
    bool may_fail = history->fail_next >= 0;
    bool refuses;
    unsigned promise = 0;
    g_autoptr(GError) local = NULL;
    bool done;

    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        if (!after.version[n]) {
            deletes &= ~(1u << n);  /* The blob is absent already. */
        }
        if (mask & 1 << n) {
            after.version[n] =
                deleted & 1 << n ? 0 : ++history->last_version;
            changes[count++] = (BlobChange) {
                .blob = history->blobs[n],
                .content = after.version[n]
                           ? history_content(n, after.version[n]) : NULL,
            };
        }
    }
    /*
     * S10: a conversion that was cut short must be completed first.  Deleting
     * an absent blob only takes a record, and only after a failure.
     */
    refuses = history->store->voucher &&
              (memcmp(&after, &history->acknowledged, sizeof(after)) ||
               (!history->store->epoch.open && !history->store->epoch.clean));
    if (!refuses) {
        promise = history_begin(history, &after, NULL);
    }
    done = blob_store_write(history->store, changes, count, &local);
    if (!refuses) {
        history_end(history, &after, promise, first, done);
    }
    for (size_t i = 0; i < count; i++) {
        g_clear_pointer(&changes[i].content, g_bytes_unref);
    }
    if (refuses) {
        return history_expect_refused(history, done, local, true, first,
                                      error);
    }
    if (!done && !(may_fail && g_error_matches(local, BLOBSTORE_ERROR,
                                               BLOBSTORE_ERROR_IO))) {
        g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                   "store is not writable: ");
        return false;
    }
    return (!done || history_check_deleted(history, deletes, error)) &&
           history_check_world(history, error);
}

static bool change_keys(History *history, char op, GError **error)
{
    switch (op) {
    case 'k':
        return history_change_key_slots(history, error);
    case 'x':
    case 'y':
        return history_convert(history, op == 'y', true, error);
    case 'b':
    case 'q':
        return history_convert(history, op == 'q', false, error);
    case 'z':
        return history_wipe_piece(history, error);
    default:
        g_assert_not_reached();
    }
}

bool history_do(History *history, char op, GError **error)
{
    const char *letter = strchr(history_fail_letters, op);

    if (letter) {
        history->fail_next = history->fail_later +
                             (letter - history_fail_letters);
        history->fail_later = 0;
        return true;
    }
    if (op == 'N') {
        history->fail_later += FAIL_LATER;
        return true;
    }
    if (strchr(landing_digits, op)) {
        history->landing = op - '0';
        return true;
    }
    history->last_op_cut = history->cuts->len;
    switch (op) {
    case 'w':
        return write_blobs(history, 1, 0, error);
    case 'v':
        return write_blobs(history, 2, 0, error);
    case 'n':
        return write_blobs(history, 4, 0, error);
    case 'm':
        return write_blobs(history, 3, 0, error);
    case 'a':
        return write_blobs(history, 7, 0, error);
    case 'd':
        return write_blobs(history, 2, 2, error);
    case 'e':
        return write_blobs(history, 3, 2, error);
    case 'f':
    case 'r':
        return history_restart(history, false, HISTORY_BLOBS, error);
    case 'c':
        return history_restart(history, true, HISTORY_BLOBS, error);
    case 'g':
        history->max_size[1] += 4096;
        return history_restart(history, false, HISTORY_BLOBS, error);
    case 's':
        history->max_size[1] = HISTORY_SMALLEST_MAX_SIZE;
        return history_restart(history, false, HISTORY_BLOBS, error);
    case 'u':
        return history_restart_without_first(history, error);
    case 'i':
        return history_grow(history, 0, error);
    case 'j':
        return history_grow(history, 1, error);
    default:
        return change_keys(history, op, error);
    }
}

bool history_is_valid(const char *ops)
{
    size_t first;

    ops += *ops == 'P';
    ops += *ops == 'S';
    first = strspn(ops, "FGHIJKLMN01234");
    if (ops[first] == 'f') {
        ops += first + 1;
    }
    for (size_t i = 0; ops[i]; i++) {
        if (ops[i] != 'N' && !strchr(history_ops, ops[i]) &&
            !strchr(history_key_ops, ops[i]) &&
            !strchr(history_piece_ops, ops[i]) &&
            !strchr(history_fail_letters, ops[i]) &&
            !strchr(landing_digits, ops[i])) {
            return false;
        }
    }
    return strlen(ops) <= HISTORY_MAX_OPS;
}

static History *new_history(SimDisk *disk)
{
    History *history = g_new0(History, 1);

    history->disk = disk;
    history->promises = g_array_new(FALSE, FALSE, sizeof(Promise));
    history->cuts = g_array_new(FALSE, FALSE, sizeof(Cut));
    history->sets = g_ptr_array_new_with_free_func(sectors_unref);
    history->fail_next = -1;
    history->max_size[0] = HISTORY_SMALLEST_MAX_SIZE;
    history->max_size[1] = HISTORY_SMALLEST_MAX_SIZE;
    history->max_size[2] = HISTORY_CONTENT_MAX_BYTES;
    return history;
}

History *history_try(const char *ops, GError **error)
{
    History *history = new_history(sim_disk_new(NULL, HISTORY_DISK_BYTES));
    bool done = true;

    history->owns_disk = true;
    if (*ops == 'P') {
        sim_disk_add_cache(history->disk);
        ops++;
    }
    if (*ops == 'S') {
        history->blank_key = 1;
        ops++;
    }
    if (!strchr(ops, 'f')) {
        done = history_do(history, 'f', error) &&
               history_do(history, 'm', error) &&
               history_do(history, 'w', error);
        sim_disk_begin(history->disk);
        g_array_set_size(history->cuts, 0);
        history->last_op_cut = 0;
    }
    for (; done && *ops; ops++) {
        done = history_do(history, *ops, error);
    }
    if (!done) {
        g_clear_pointer(&history, history_free);
    }
    return history;
}

History *history_run(const char *ops)
{
    g_autoptr(GError) error = NULL;
    History *history = history_try(ops, &error);

    if (!history) {
        g_error("%s: %s", ops, error->message);
    }
    return history;
}

Remains history_remains(const History *history, const Promise *promise,
                        const World *world, const KeyState *keys)
{
    Remains remains = {
        .world = *world,
        .keys = *keys,
        .blank_key = history->blank_key,
        .last_secret = history->last_secret,
        .last_version = history->last_version,
        .gone = promise->gone,
        .former = promise->former,
    };

    memcpy(remains.max_size, history->max_size, sizeof(remains.max_size));
    return remains;
}

History *history_resume(SimDisk *disk, const Remains *remains)
{
    History *history = new_history(disk);

    history->acknowledged = remains->world;
    history->keys = remains->keys;
    history->blank_key = remains->blank_key;
    history->last_secret = remains->last_secret;
    memcpy(history->max_size, remains->max_size, sizeof(history->max_size));
    history->last_version = remains->last_version;
    history->gone = remains->gone;
    history->former = remains->former;
    return history;
}

void history_free(History *history)
{
    blob_store_free(history->store);
    history->disk->fail_after = -1;
    if (history->owns_disk) {
        sim_disk_free(history->disk);
    }
    g_array_unref(history->promises);
    g_array_unref(history->cuts);
    g_ptr_array_unref(history->sets);
    g_free(history);
}
