/*
 * Fault injection: the state after a failed call, and the result of its retry
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_FAULTS_H
#define TESTS_CRASH_FAULTS_H

#include "script.h"

/*
 * Text before the bar: the steps that make the medium.  Behind the bar: the
 * steps of the process that takes the last step, which is the one that fails.
 */
typedef struct FaultCase {
    const char *name;
    const char *script;
} FaultCase;

extern const FaultCase fault_cases[];
extern const size_t fault_case_count;

/* One operation: its initial state, and its result without a fault */
typedef struct Faults {
    const char *name;
    Run *start;                 /* before the process */
    Run *run;                   /* the run whose last step fails */
    Run *copy;                  /* looks at what a failure left */
    const char *script;         /* of the process */
    char *step;                 /* the last one */
    bool blank;                 /* the medium was, when the process began */
    bool converts;              /* the step changes how the store is guarded */
    KeyState before_keys;       /* what opens the store */
    KeyState after_keys;
    World after;                /* after it has succeeded */
    char *outcome;              /* how the store is described then */
    char *findings;             /* what check says then */
    unsigned step_calls;
    uint64_t needed;            /* bytes, by the store after the last step */
    char id[80];
    uint64_t singles;
    uint64_t pairs;
    uint64_t shorts;
    uint64_t failures;
} Faults;

/* The part of a store that is described */
typedef enum Detail {
    DETAIL_OUTCOME,             /* what does not depend on how it came to be */
    DETAIL_SEQUENCES,
    DETAIL_PLACES,              /* and what holds the current versions */
} Detail;

/* The store, and its own figures, before a call failed */
typedef struct Before {
    Detail detail;
    char *text;
    World world;
    BlobStoreStatus info;
    unsigned write_errors;
} Before;

/* Reports a broken promise under faults->id. */
void fault_fail(Faults *faults, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Fills @before; the caller frees its text. */
void fault_remember(const Faults *faults, Before *before);

/* Notes the result of the last step. */
void fault_note_outcome(Faults *faults);

/* Checks that the blobs of @store hold @wanted or @or_wanted. */
void fault_expect_world(Faults *faults, BlobStore *store, const char *where,
                        const World *wanted, const World *or_wanted);

/* Checks that the failed call has changed nothing in memory. */
void fault_expect_unchanged(Faults *faults, const Before *before);

/*
 * Checks the medium as another process opens it, with the old keys or the
 * intended ones.  With @use the process also starts the store and writes.
 */
void fault_expect_image(Faults *faults, const World *wanted,
                        const World *or_wanted, bool use);

/* Checks that everything has happened that the last step is for. */
void fault_expect_done(Faults *faults);

/* Checks that the core reports the medium's error. */
void fault_expect_error(Faults *faults, const GError *error);

/* The same while the medium ends at @limit */
void fault_expect_short_error(Faults *faults, const GError *error,
                              uint64_t limit);
void fault_expect_short_success(Faults *faults, uint64_t limit);

#endif /* TESTS_CRASH_FAULTS_H */
