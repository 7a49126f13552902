/*
 * Histories in which the process ends and begins, and stores are started
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "history-private.h"

#include <string.h>

enum { LARGER_MAX_SIZE = 8692 };        /* which takes a larger slot */

static bool register_blob(History *history, unsigned n, GError **error)
{
    history->blobs[n] =
        blob_store_register(history->store, "dev", history_blob_names[n],
                            n ? BLOB_KIND_SAVESTATE : BLOB_KIND_PERMANENT,
                            history->max_size[n], error);
    return history->blobs[n];
}

/* Registers all blobs but @skip and starts the store. */
static bool start(History *history, unsigned skip, GError **error)
{
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        if (n != skip && !register_blob(history, n, error)) {
            return false;
        }
    }
    return blob_store_start(history->store, error);
}

/* Returns whether a failing disk explains @error; nothing else may fail. */
static bool is_as_told(const History *history, bool may_convert,
                       const GError *error)
{
    /*
     * STALE: a superblock whose write had failed has landed after it was
     * read.  It belongs to a format, a change of keys, or the end of a
     * conversion.
     */
    return g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO) ||
           (g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE) &&
            (history_is_nothing(&history->acknowledged) ||
             history->failed.key_count || may_convert));
}

/* Notes the places of the blobs that recovery has inspected, or 0. */
static void note_places(const History *history,
                        uint64_t offset[HISTORY_BLOBS])
{
    memset(offset, 0, HISTORY_BLOBS * sizeof(offset[0]));
    for (unsigned n = 0;
         !history->store->epoch.clean && n < HISTORY_BLOBS; n++) {
        const Blob *blob = blob_store_find(history->store, "dev",
                                           history_blob_names[n]);

        offset[n] = blob ? blob->entry.offset : 0;
    }
}

/*
 * Opens and starts the store; if the disk is to fail, more than once.  Sets
 * *@found to the keys that opened the store, and *@stayed to a mask of blobs
 * in their old places.
 */
static bool reopen(History *history, unsigned skip, KeyState *found,
                   unsigned *stayed, GError **error)
{
    BlobStoreOptions options = { .directory_blobs = 4 };
    unsigned attempts = history->disk->fail_after >= 0 ||
                        history->failed.key_count ? 3 : 1;
    uint64_t offset[HISTORY_BLOBS];
    bool may_convert = history->keys.target;

    while (true) {
        g_autoptr(GError) local = NULL;

        g_clear_pointer(&history->store, blob_store_free);
        history->store = keyring_open(history->disk->storage, &options,
                                      history->blank_key, &local);
        if (history->store) {
            note_places(history, offset);
        }
        if (history->store && keyring_state(history->store, found, &local) &&
            start(history, skip, &local)) {
            break;
        }
        if (!--attempts || !is_as_told(history, may_convert, local)) {
            g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                       "restart: ");
            return false;
        }
    }
    *stayed = 0;
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        const Blob *blob = n == skip ? NULL : history->blobs[n];

        if (blob && blob->entry.offset == offset[n]) {
            *stayed |= 1u << n;
        }
    }
    return true;
}

/* A failed operation may have taken effect. */
static bool check_restarted(History *history, const Promise *promise,
                            World *world, GError **error)
{
    if (!history_read_world(history->store, world, error)) {
        return false;
    }
    if (!history_keeps_promise(promise, world)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "restart: holds versions %u %u %u", world->version[0],
                    world->version[1], world->version[2]);
        return false;
    }
    return true;
}

/* A restart changes nothing, even if it fails half way and is repeated. */
bool history_restart(History *history, bool clean, unsigned skip,
                     GError **error)
{
    unsigned first = history->disk->events->len;
    Promise wanted = { 0 };
    unsigned promise;
    unsigned stayed;
    KeyState found;
    World world;

    history_expect_completion(history, &wanted);
    promise = history_begin(history, &history->acknowledged, &wanted);
    if (clean && history->store) {
        blob_store_close_clean(history->store, NULL);
    }
    if (!reopen(history, skip, &found, &stayed, error) ||
        !check_restarted(history, &g_array_index(history->promises, Promise,
                                                 promise), &world, error) ||
        !history_settle_keys(history, &found, error) ||
        !history_check_deleted(history, stayed, error)) {
        return false;
    }
    history->acknowledged = world;
    history_end(history, &world, promise, first, true);
    return true;
}

bool history_restart_without_first(History *history, GError **error)
{
    unsigned first_cut = history->cuts->len;
    bool done = history_restart(history, false, 1, error) &&
                history_restart(history, false, HISTORY_BLOBS, error);

    history->last_op_cut = first_cut;
    return done;
}

bool history_grow(History *history, unsigned n, GError **error)
{
    uint64_t before = history->max_size[n];
    unsigned first = history->disk->events->len;
    Promise wanted = { 0 };
    KeyState keys;
    unsigned promise;
    bool may_fail = history->fail_next >= 0;
    g_autoptr(GError) local = NULL;
    bool done;

    history_expect_completion(history, &wanted);
    promise = history_begin(history, &history->acknowledged, &wanted);
    history->max_size[n] = MAX(before, LARGER_MAX_SIZE);
    blob_store_unregister(history->store, history->blobs[n]);
    done = keyring_state(history->store, &keys, &local) &&
           register_blob(history, n, &local) &&
           blob_store_start(history->store, &local);
    if (done && !history_settle_keys(history, &keys, error)) {
        return false;
    }
    /* The start may have ended a conversion before it failed. */
    for (unsigned i = 0; !done && i < wanted.key_count; i++) {
        promise_add_key(&history->failed, &wanted.keys[i]);
    }
    history_end(history, &history->acknowledged, promise, first, done);
    if (!done) {
        history->max_size[n] = before;
        blob_store_unregister(history->store, history->blobs[n]);
        if (!may_fail || !g_error_matches(local, BLOBSTORE_ERROR,
                                          BLOBSTORE_ERROR_IO) ||
            !register_blob(history, n, NULL)) {
            g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                       "growth: ");
            return false;
        }
    }
    return history_check_world(history, error);
}
