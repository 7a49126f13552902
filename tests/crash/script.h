/*
 * Scripts: operations on a store, as a line of text
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_SCRIPT_H
#define TESTS_CRASH_SCRIPT_H

#include "blobstore/check.h"
#include "faultdisk.h"
#include "keyring.h"

enum {
    SCRIPT_BLOBS = 5,
    SCRIPT_DISK_BYTES = 64 * 4096,
    SCRIPT_DIRECTORY_BLOBS = 8,
    SCRIPT_DAMAGED = -1,
};

/* The version of each blob; 0: absent */
typedef struct World {
    int version[SCRIPT_BLOBS];
} World;

typedef struct Run {
    FaultDisk *disk;
    BlobStore *store;           /* NULL: not open */
    BlobStoreOptions options;
    World world;                /* what was acknowledged */
    World previous;             /* what the slots hold besides */
    int last_version;
    unsigned blank_key;         /* of a new store; 0: it is plain */
    unsigned last_secret;
    bool slots_pending;         /* a change of key slots has failed */
    BlobKeySlots slots;         /* the slots that a retry has to write */
    GString *findings;          /* of the last check */
    GString *wrong;             /* faults that a step noticed */
} Run;

/* Returns a run on a blank medium, to be freed. */
Run *run_new(void);
void run_free(Run *run);

/* Makes @run equal to @start, on the same bytes, with no store open. */
void run_restart(Run *run, const Run *start);

/*
 * Takes one step: a verb, perhaps with an argument behind a colon.
 *
 *   open, crash            the process begins, or ends with nothing written
 *   readonly, pack         options of the next open
 *   sealed                 a blank medium becomes a sealed store
 *   slots                  one more secret opens it, or of two one no more
 *   convert:2, convert:0   seals or rekeys it with that key, or unseals it
 *   register:abc           also again and larger; see below
 *   larger:b, roomier:a    registers for more than the slots hold, or not
 *   unregister:c
 *   start, close, unchanged, check, info
 *   write:aB               writes a and deletes b
 *   again:b                deletes b even if it is absent
 *   read:a, fallback:a, giveup:a
 *   shrink                 makes the store as small as it can be
 *   exact                  makes the medium as large as the store asks for
 *   damage:a               flips a bit in the current version
 *   damage:4096            flips a bit at that offset
 *   broken:2,verb:args     the verb fails, at the write with this number
 *   shaky:2,verb:args      that write fails, and the verb does not
 *
 * Returns what the core's call returned.
 */
bool run_step(Run *run, const char *step, GError **error);

/* Takes all steps of @script but the last, which it returns. */
char *run_all_but_last(Run *run, const char *script);

/*
 * Reads all blobs of @store.  Returns false, with the reason in @error, if a
 * blob is neither damaged nor as it was written.
 */
bool script_read_world(BlobStore *store, World *world, GError **error);

#endif /* TESTS_CRASH_SCRIPT_H */
