/*
 * Shared by the files of histories
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
 * restart.c: the first opens the store again, after a clean close or without,
 * and registers all blobs but @skip.  The second does the same without the
 * first of them.  The third registers blob @n larger in the running store.
 */
bool history_restart(History *history, bool clean, unsigned skip,
                     GError **error);
bool history_restart_without_first(History *history, GError **error);
bool history_grow(History *history, unsigned n, GError **error);

/*
 * history.c: begins an operation, which may leave the world, or the keys that
 * open the store, in the old state or in the new one: @after, and any keys of
 * @wanted (NULL: the keys stay).  Returns the number of that promise, for
 * history_end(): the power may fail at each event from @first_event on.
 */
unsigned history_begin(History *history, const World *after,
                       const Promise *wanted);
void history_end(History *history, const World *after, unsigned promise,
                 unsigned first_event, bool done);

/* Checks that the running store holds what was acknowledged. */
bool history_check_world(History *history, GError **error);

/* changekeys.c: adds @keys unless it is there already. */
void promise_add_key(Promise *promise, const KeyState *keys);

/* Adds to @wanted the keys that may open the store after the next start. */
void history_expect_completion(const History *history, Promise *wanted);

/*
 * Notes that a store has started that the keys @found opened before.  The
 * start must have ended what had begun, and that must have been promised.
 */
bool history_settle_keys(History *history, const KeyState *found,
                         GError **error);

/*
 * S8: checks that the slots of those blobs in @mask that are deleted from a
 * sealed store are zero.
 */
bool history_check_deleted(const History *history, unsigned mask,
                           GError **error);

/*
 * Checks that an impossible operation (it was not @done, because of @local)
 * was refused, and that the disk has seen nothing of it since there were
 * @events.
 */
bool history_expect_refused(History *history, bool done, const GError *local,
                            bool is_converting, guint events, GError **error);

/* The operations k; x or y, or if not @whole b or q; and z */
bool history_change_key_slots(History *history, GError **error);
bool history_convert(History *history, bool unseal, bool whole,
                     GError **error);
bool history_wipe_piece(History *history, GError **error);

#endif /* TESTS_CRASH_HISTORY_PRIVATE_H */
