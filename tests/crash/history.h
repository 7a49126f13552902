/*
 * Short histories of a store on a simulated disk, and the promises in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_HISTORY_H
#define TESTS_CRASH_HISTORY_H

#include "keyring.h"
#include "sectors.h"
#include "blobstore/store-private.h"

enum {
    HISTORY_BLOBS = 3,
    HISTORY_DISK_BYTES = 48 * 4096,
    HISTORY_MAX_OPS = 16,
    HISTORY_MAX_WORLDS = 12,
    HISTORY_MAX_KEYS = 24,
};

/* The version of each blob; 0: absent */
typedef struct World {
    unsigned version[HISTORY_BLOBS];
} World;

/*
 * The states that a crash may leave: any one of these worlds, opened by any
 * one of these keys, and nothing else
 */
typedef struct Promise {
    unsigned count;
    World worlds[HISTORY_MAX_WORLDS];
    unsigned key_count;
    KeyState keys[HISTORY_MAX_KEYS];
    const Sectors *gone;        /* nothing of this is on the medium; or NULL */
    const Sectors *former;      /* gone, too, after a conversion; or NULL */
} Promise;

/* One place where the power can fail: after @events events. */
typedef struct Cut {
    unsigned events;
    unsigned promise;
} Cut;

typedef struct History {
    SimDisk *disk;
    bool owns_disk;
    BlobStore *store;
    Blob *blobs[HISTORY_BLOBS];
    uint64_t max_size[HISTORY_BLOBS];
    World acknowledged;
    Promise failed;             /* since the last durable commit, or start */
    unsigned last_version;
    KeyState keys;              /* the keys that open the store */
    unsigned blank_key;         /* data key of a new store; 0: it is plain */
    unsigned last_secret;       /* that was put into a key slot */
    GPtrArray *sets;            /* of Sectors, for the promises */
    const Sectors *gone;
    const Sectors *former;
    int fail_next;              /* of the next operation, or -1 */
    int fail_later;
    unsigned landing;
    GArray *promises;           /* of Promise */
    GArray *cuts;               /* of Cut, ascending */
    unsigned last_op_cut;       /* where those of the last operation begin */
} History;

/*
 * The operations; a history is a string of these letters.  In addition, the
 * letters from 'F' on make the next operation fail at its first, second, ...
 * write or flush ('N': eight later), and the digits from '0' on choose a
 * SimLanding.  With an 'S' in front the store is sealed from the beginning,
 * with a 'P' before that the disk has a page cache (SimDisk.cached).
 */
extern const char history_ops[];
extern const char history_key_ops[];
extern const char history_piece_ops[];
extern const char history_fail_letters[];

/* Returns whether @ops is a history that can be run. */
bool history_is_valid(const char *ops);

/*
 * Runs @ops on a new store ("f": the format is part of it; else blobs 0 and 1
 * were written before recording began).  Returns NULL and sets @error if the
 * running store breaks its contract.
 */
History *history_try(const char *ops, GError **error);

/* The same, but aborts the program in that case. */
History *history_run(const char *ops);

/* The state that one history leaves to the next */
typedef struct Remains {
    World world;
    KeyState keys;
    unsigned blank_key;
    unsigned last_secret;
    uint64_t max_size[HISTORY_BLOBS];
    unsigned last_version;
    const Sectors *gone;        /* borrowed */
    const Sectors *former;
} Remains;

/* Returns what is left when @history crashes after it has promised that. */
Remains history_remains(const History *history, const Promise *promise,
                        const World *world, const KeyState *keys);

/*
 * Resumes with the store on @disk, which is borrowed, after a crash.  The
 * first operation, by history_do(), must be a restart.
 */
History *history_resume(SimDisk *disk, const Remains *remains);
bool history_do(History *history, char op, GError **error);
void history_free(History *history);

/* Returns the content of @version of blob @n; its length varies. */
GBytes *history_content(unsigned n, unsigned version);

/*
 * Reads all blobs of a store into @world.  Returns false, with the reason in
 * @error, if a blob cannot be read or holds what was never written.
 */
bool history_read_world(BlobStore *store, World *world, GError **error);

/* Returns whether no blob has ever been written. */
bool history_is_nothing(const World *world);

bool history_keeps_promise(const Promise *promise, const World *world);

/*
 * The same for the keys that have opened the store on @disk, and for content
 * that had to disappear.  Returns the fault, or NULL.
 */
const char *history_breaks_promise_of_keys(const Promise *promise,
                                           const KeyState *keys,
                                           const SimDisk *disk);

#endif /* TESTS_CRASH_HISTORY_H */
