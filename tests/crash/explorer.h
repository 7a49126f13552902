/*
 * The crash explorer's demands on a store after a power failure
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_EXPLORER_H
#define TESTS_CRASH_EXPLORER_H

#include "history.h"
#include "outage.h"

/* The way in which a state was chosen */
typedef enum Tally {
    TALLY_EXHAUSTIVE,           /* every subset, missing and garbled sector */
    TALLY_CLASSES,              /* the same where there are too many subsets */
    TALLY_RANDOM,               /* a sample, or of a history drawn by chance */
    TALLY_WALKS,
    TALLY_SECOND,               /* of a second crash */
    TALLY_COUNT,
} Tally;

/* One crash: the event before it, and the state that was left */
typedef struct Crash {
    unsigned cut;
    StateName state;
} Crash;

enum { MAX_CRASHES = 2 };

typedef struct Explorer {
    SimDisk *disk;              /* states are made and opened on it */
    uint32_t seed;
    unsigned deep_every;        /* of so many states one is gone into */
    unsigned second_crashes;    /* for each of these */
    unsigned samples;           /* where there are too many subsets */

    /* The current position; together these are the id of a state. */
    const char *origin;         /* a history or a round of a walk */
    Crash crashes[MAX_CRASHES];
    unsigned crash_count;
    bool garbled;               /* an earlier crash of the walk left garble */
    const Crash *replay;        /* look at this second crash only, or NULL */
    bool no_such;               /* there is no such crash */

    Tally tally;
    GHashTable *opened;         /* images, by hash */
    GHashTable *checked;        /* the same, each with its promise */
    uint64_t states[TALLY_COUNT];
    uint64_t deep;
    uint64_t refused;           /* formats cut too early to be recognised */
    uint64_t failures;
} Explorer;

/* Makes the only explorer, which prints the id if the program is aborted. */
Explorer *explorer_new(uint32_t seed);
void explorer_free(Explorer *explorer);

/* Reports that the store broke the promise at the current position. */
void explorer_fail(Explorer *explorer, const char *why);

/*
 * Opens the disk, which @outage has left, without writing.  Returns false, and
 * counts a failure, if the content is not what @promise allows.
 */
bool explorer_check_read(Explorer *explorer, const Outage *outage,
                         const Promise *promise, World *world,
                         KeyState *keys);

/*
 * The rest is about a @history whose events begin with what the disk holds.
 * With @deep some states are written to again and crash a second time.
 *
 * Makes and checks every state of one of its cuts, as far as can be.
 * @drawn: the history was drawn by chance.
 */
void explorer_visit_all(Explorer *explorer, const History *history,
                        unsigned cut, bool drawn);

/* The same for one state only.  Returns false if there is no such state. */
bool explorer_visit_one(Explorer *explorer, const History *history,
                        const Crash *crash, bool deep);

/* The same with an outage that is prepared already. */
bool explorer_visit(Explorer *explorer, const History *history,
                    const Outage *outage, const Crash *crash, bool deep);

/*
 * walk.c: explores one long history of so many rounds.  In each round the
 * store is opened and used, and the power fails; the next round begins with
 * the result.
 */
void walk_explore(Explorer *explorer, uint32_t seed, unsigned rounds);

/*
 * Explores one state of one round only, or if @crash is NULL the events in the
 * round.  Returns false if there is no such state.
 */
bool walk_replay(Explorer *explorer, uint32_t seed, unsigned round,
                 const Crash *crash);

#endif /* TESTS_CRASH_EXPLORER_H */
