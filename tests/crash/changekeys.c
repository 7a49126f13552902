/*
 * Changes of keys in histories, and the content that must be gone afterwards
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "history-private.h"

#include <string.h>
#include "wiped.h"

enum { PIECE_BYTES = 32 << 10 };

void promise_add_key(Promise *promise, const KeyState *keys)
{
    for (unsigned i = 0; i < promise->key_count; i++) {
        if (key_state_equal(&promise->keys[i], keys)) {
            return;
        }
    }
    g_assert(promise->key_count < HISTORY_MAX_KEYS);
    promise->keys[promise->key_count++] = *keys;
}

/* Adds all states that a conversion to @keys may pass through from now on. */
static void add_completion(Promise *promise, const KeyState *keys)
{
    KeyState completed = key_state_completed(keys);

    if (keys->target == KEY_TARGET_PLAIN) {
        promise_add_key(promise, &(KeyState) { .target = KEY_TARGET_SAME });
    }
    promise_add_key(promise, &completed);
}

void history_expect_completion(const History *history, Promise *wanted)
{
    if (history->blank_key && !history->keys.data_key &&
        history_is_nothing(&history->acknowledged)) {
        promise_add_key(wanted, &(KeyState) { history->blank_key, 1 });
    }
    add_completion(wanted, &history->keys);
    for (unsigned i = 0; i < history->failed.key_count; i++) {
        add_completion(wanted, &history->failed.keys[i]);
    }
}

static bool fail(GError **error, const char *what)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT, "keys: %s",
                what);
    return false;
}

bool history_check_deleted(const History *history, unsigned mask,
                           GError **error)
{
    /* The store is plain at some time while it is being unsealed. */
    const BlobGuard *guard = history->store->guard;

    for (unsigned n = 0; guard->seal && n < HISTORY_BLOBS; n++) {
        const Blob *blob = history->blobs[n];

        if (mask & 1u << n && blob && !blob->unwiped &&
            blob->entry.sequence && blob->entry.flags & BLOB_FLAG_DELETED &&
            !wiped_blob(history->disk->data, blob)) {
            return fail(error, "what was deleted is not zeroed");
        }
    }
    return true;
}

static const Sectors *keep(History *history, Sectors *sectors)
{
    g_ptr_array_add(history->sets, sectors);
    return sectors;
}

/* No content from before the conversion may return. */
static bool note_converted(History *history, GError **error)
{
    int64_t at;

    g_assert(history->former);
    history->gone = history->gone
                    ? keep(history, sectors_union(history->gone,
                                                  history->former))
                    : history->former;
    at = sectors_find(history->gone, history->disk);
    if (at >= 0) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "keys: converted, but what was there before is at "
                    "offset %" G_GINT64_FORMAT, at);
        return false;
    }
    return true;
}

static void settle(History *history, const KeyState *keys)
{
    history->keys = *keys;
    history->failed.key_count = 0;
}

static bool has_keys(const Promise *promise, const KeyState *keys)
{
    for (unsigned i = 0; i < promise->key_count; i++) {
        if (key_state_equal(&promise->keys[i], keys)) {
            return true;
        }
    }
    return false;
}

bool history_settle_keys(History *history, const KeyState *found,
                         GError **error)
{
    Promise allowed = history->failed;
    KeyState completed = key_state_completed(found);
    KeyState keys;

    promise_add_key(&allowed, &history->keys);
    history_expect_completion(history, &allowed);
    if (!keyring_look(history->disk->storage, &keys, error)) {
        return false;
    }
    if (!has_keys(&allowed, found) ||
        !has_keys(&allowed, &keys)) {
        return fail(error, "a start has made other ones");
    }
    if (keys.target) {
        return fail(error, "a start has not ended the conversion");
    }
    if ((found->data_key || found->target || !history->blank_key) &&
        !key_state_equal(&keys, &completed)) {
        return fail(error, "a start has changed them");
    }
    settle(history, &keys);
    return !found->target || note_converted(history, error);
}

const char *history_breaks_promise_of_keys(const Promise *promise,
                                           const KeyState *keys,
                                           const SimDisk *disk)
{
    if (!has_keys(promise, keys)) {
        return "is opened by other keys than it should be";
    }
    if (promise->gone && sectors_find(promise->gone, disk) >= 0) {
        return "has something on it that had to go with a conversion";
    }
    return NULL;
}

bool history_expect_refused(History *history, bool done, const GError *local,
                            bool is_converting, guint events, GError **error)
{
    history->fail_next = -1;
    history->last_op_cut = history->cuts->len;
    if (done || history->disk->events->len != events ||
        !g_error_matches(local, BLOBSTORE_ERROR,
                         is_converting ? BLOBSTORE_ERROR_READ_ONLY
                                       : BLOBSTORE_ERROR_KEY)) {
        return fail(error, local ? local->message : "should be refused");
    }
    return history_check_world(history, error);
}

/*
 * Checks an operation that leads to @wanted and has ended.  Returns without an
 * error if the operation was to fail.
 */
static bool conclude(History *history, const Promise *wanted, bool done,
                     bool may_fail, const GError *local, GError **error)
{
    if (done) {
        settle(history, &wanted->keys[wanted->key_count - 1]);
        return true;
    }
    for (unsigned i = 0; i < wanted->key_count; i++) {
        promise_add_key(&history->failed, &wanted->keys[i]);
    }
    return (may_fail && g_error_matches(local, BLOBSTORE_ERROR,
                                        BLOBSTORE_ERROR_IO)) ||
           fail(error, local->message);
}

bool history_change_key_slots(History *history, GError **error)
{
    BlobStore *store = history->store;
    unsigned first = history->disk->events->len;
    bool may_fail = history->fail_next >= 0;
    Promise wanted = { 0 };
    KeyState keys;
    BlobKeySlots slots;
    unsigned promise;
    g_autoptr(GError) local = NULL;
    bool done;

    if (!keyring_state(store, &keys, error)) {
        return false;
    }
    blob_store_get_key_slots(store, &slots);
    if (!keys.data_key || keys.target) {
        done = blob_store_set_key_slots(store, store->key, &slots, &local);
        return history_expect_refused(history, done, local, keys.target, first,
                                      error);
    }
    keyring_change(&slots, store->super.uuid, &keys, &history->last_secret);
    promise_add_key(&wanted, &keys);
    promise = history_begin(history, &history->acknowledged, &wanted);
    done = blob_store_set_key_slots(store, store->key, &slots, &local);
    if (!conclude(history, &wanted, done, may_fail, local, error)) {
        return false;
    }
    history_end(history, &history->acknowledged, promise, first, done);
    return history_check_world(history, error);
}

/* Fills in the states of @keys on the way to @data_key, or to plain. */
static void plan_conversion(History *history, const KeyState *keys,
                            unsigned data_key, bool whole,
                            BlobKeySlots *slots, Promise *wanted)
{
    KeyState next = { .data_key = data_key, .target = KEY_TARGET_SAME };

    if (data_key) {
        keyring_change(slots, history->store->super.uuid, &next,
                       &history->last_secret);
    } else {
        KeyState begun = *keys;

        begun.target = KEY_TARGET_PLAIN;
        promise_add_key(wanted, &begun);
    }
    promise_add_key(wanted, &next);
    if (whole) {
        next.target = KEY_TARGET_NONE;
        promise_add_key(wanted, &next);
    }
}

bool history_convert(History *history, bool unseal, bool whole,
                     GError **error)
{
    BlobStore *store = history->store;
    unsigned first = history->disk->events->len;
    bool may_fail = history->fail_next >= 0;
    Promise wanted = { 0 };
    KeyState keys;
    BlobKeySlots slots = { 0 };
    unsigned data_key;
    unsigned promise;
    g_autoptr(GError) local = NULL;
    bool done;

    if (!keyring_state(store, &keys, error)) {
        return false;
    }
    data_key = unseal ? 0 : keyring_next_key(keys.data_key);
    if (keys.target || (unseal && !keys.data_key)) {
        done = blob_store_convert(store, keyring_key(data_key), &slots,
                                  &local);
        return history_expect_refused(history, done, local, keys.target, first,
                                      error);
    }
    plan_conversion(history, &keys, data_key, whole, &slots, &wanted);
    if (unseal) {
        history->gone = NULL;       /* the store may have been plain before */
    }
    /* A superblock whose write failed may still be the one that counts. */
    history->former = keep(history, sectors_of(
        history->disk, history->failed.key_count ? BLOB_DIRECTORY_OFFSET : 0));
    promise = history_begin(history, &history->acknowledged, &wanted);
    done = (whole ? blob_store_convert : blob_store_convert_begin)(
        store, keyring_key(data_key), &slots, &local);
    if (!conclude(history, &wanted, done, may_fail, local, error) ||
        (done && whole && !note_converted(history, error))) {
        return false;
    }
    if (done && whole && !wiped_store(history->disk->data, store)) {
        return fail(error, "a conversion has left something");
    }
    history_end(history, &history->acknowledged, promise, first, done);
    return history_check_world(history, error);
}

/* A store that is not being converted zeroes nothing. */
bool history_wipe_piece(History *history, GError **error)
{
    BlobStore *store = history->store;
    unsigned first = history->disk->events->len;
    bool may_fail = history->fail_next >= 0;
    Promise wanted = { 0 };
    KeyState keys;
    KeyState completed;
    unsigned promise;
    g_autoptr(GError) local = NULL;
    bool ended;
    bool done;

    if (!keyring_state(store, &keys, error)) {
        return false;
    }
    if (store->super.state == BLOB_STATE_CONVERTING) {
        done = blob_store_convert_next(store, PIECE_BYTES, &ended, &local);
        return history_expect_refused(history, done, local, true, first,
                                      error);
    }
    completed = key_state_completed(&keys);
    promise_add_key(&wanted, &completed);
    promise = history_begin(history, &history->acknowledged,
                            keys.target ? &wanted : NULL);
    done = blob_store_convert_next(store, PIECE_BYTES, &ended, &local);
    if (keys.target && (ended || !done) &&
        (!conclude(history, &wanted, done, may_fail, local, error) ||
         (done && !note_converted(history, error)))) {
        return false;
    }
    if (!keys.target && (!ended || (!done && !may_fail))) {
        return fail(error, "what is done already is not");
    }
    history_end(history, &history->acknowledged, promise, first, done);
    return history_check_world(history, error);
}
