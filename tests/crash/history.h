/*
 * Short histories of a store on a simulated disk, and what is promised
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_HISTORY_H
#define TESTS_CRASH_HISTORY_H

#include "simdisk.h"
#include "store.h"

enum {
    HISTORY_BLOBS = 3,
    HISTORY_DISK_BYTES = 48 * 4096,
    HISTORY_MAX_OPS = 12,
    HISTORY_MAX_WORLDS = 12,
};

/* Which version of each blob there is; 0: absent */
typedef struct World {
    unsigned version[HISTORY_BLOBS];
} World;

/* What a crash may leave: any one of these, and nothing else */
typedef struct Promise {
    unsigned count;
    World worlds[HISTORY_MAX_WORLDS];
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
    Promise failed;             /* since the last durable commit */
    unsigned last_version;
    int fail_next;              /* of the next operation, or -1 */
    unsigned landing;
    GArray *promises;           /* of Promise */
    GArray *cuts;               /* of Cut, ascending */
    unsigned last_op_cut;       /* where those of the last operation begin */
} History;

/*
 * The operations; a history is a string of these letters.  Besides, the
 * letters from 'F' on make the next operation fail at its first, second, ...
 * write or flush, and the digits from '0' on choose a SimLanding.
 */
extern const char history_ops[];
extern const char history_fail_letters[];

/* Whether @ops is a history that can be run */
bool history_is_valid(const char *ops);

/*
 * Runs @ops on a new store ("f": the format is part of it; else blobs 0 and 1
 * were written before recording began).  Returns NULL and sets @error if the
 * running store breaks its contract.
 */
History *history_try(const char *ops, GError **error);

/* The same; aborts the program then. */
History *history_run(const char *ops);

/*
 * The store on @disk, which is borrowed, as a crash left it: holding @world.
 * Blobs will be registered with @max_size and versions above @last_version
 * written, all by history_do(); its first operation must be a restart.
 */
History *history_resume(SimDisk *disk, const World *world,
                        const uint64_t *max_size, unsigned last_version);
bool history_do(History *history, char op, GError **error);
void history_free(History *history);

/* The content of @version of blob @n; its length varies. */
GBytes *history_content(unsigned n, unsigned version);

/*
 * Reads all blobs of a store into @world.  Returns false, with the reason in
 * @error, if one cannot be read or holds what was never written.
 */
bool history_read_world(BlobStore *store, World *world, GError **error);

/* Whether no blob has ever been written */
bool history_is_nothing(const World *world);

bool history_keeps_promise(const Promise *promise, const World *world);

#endif /* TESTS_CRASH_HISTORY_H */
