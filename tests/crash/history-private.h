/*
 * What the files of histories share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_HISTORY_PRIVATE_H
#define TESTS_CRASH_HISTORY_PRIVATE_H

#include "history.h"

enum {
    HISTORY_SMALLEST_MAX_SIZE = 500,    /* of blobs 0 and 1 */
    HISTORY_CONTENT_MAX_BYTES = 3500,   /* of blob 2 */
};

/* world.c */
extern const char *const history_blob_names[HISTORY_BLOBS];

/*
 * restart.c: the store is opened again, cleanly closed before or not, and all
 * blobs but @skip are registered; the same without the first of them; blob @n
 * is registered larger in the running store.
 */
bool history_restart(History *history, bool clean, unsigned skip,
                     GError **error);
bool history_restart_without_first(History *history, GError **error);
bool history_grow(History *history, unsigned n, GError **error);

/*
 * history.c: an operation begins, which may leave the world or what opens the
 * store as it was or as it would be: @after, and any keys of @wanted (NULL:
 * they stay).  Returns the number of that promise, for history_end(): each
 * event from @first_event on is a place where the power may fail.
 */
unsigned history_begin(History *history, const World *after,
                       const Promise *wanted);
void history_end(History *history, const World *after, unsigned promise,
                 unsigned first_event, bool done);

/* Whether the running store holds what was acknowledged */
bool history_check_world(History *history, GError **error);

/* changekeys.c: adds @keys unless it is there already. */
void promise_add_key(Promise *promise, const KeyState *keys);

/* Adds to @wanted what the next start may make of what opens the store. */
void history_expect_completion(const History *history, Promise *wanted);

/*
 * A start has succeeded, of a store that before it was opened by @found.
 * Whatever was begun must have been ended, and may have been nothing else than
 * what was promised.
 */
bool history_settle_keys(History *history, const KeyState *found,
                         GError **error);

/*
 * S8: of those blobs in @mask that are deleted from a sealed store, the slots
 * must be zero.
 */
bool history_check_deleted(const History *history, unsigned mask,
                           GError **error);

/*
 * What cannot be done (it was not @done, because of @local) is refused, and
 * since there were @events the disk has seen nothing of it.
 */
bool history_expect_refused(History *history, bool done, const GError *local,
                            bool is_converting, guint events, GError **error);

/* The operations k; x or y, or if not @whole b or q; and z */
bool history_change_key_slots(History *history, GError **error);
bool history_convert(History *history, bool unseal, bool whole,
                     GError **error);
bool history_wipe_piece(History *history, GError **error);

#endif /* TESTS_CRASH_HISTORY_PRIVATE_H */
