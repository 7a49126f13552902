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
    HISTORY_MAX_OPS = 8,
    HISTORY_MAX_WORLDS = 8,
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
} History;

/* The operations; a history is a string of these letters. */
extern const char history_ops[];

/*
 * Runs @ops on a new store ("f" at the start: the format is part of it; else
 * blobs 0 and 1 were written before recording began).  Aborts the program if
 * the store breaks its contract.
 */
History *history_run(const char *ops);
void history_free(History *history);

/* The content of @version of blob @n; its length varies. */
GBytes *history_content(unsigned n, unsigned version);

/*
 * Reads all blobs of a store into @world.  Returns false, with the reason in
 * @error, if one cannot be read or holds what was never written.
 */
bool history_read_world(BlobStore *store, World *world, GError **error);

/* Registers the blobs as @history does and starts the store. */
bool history_start(BlobStore *store, const uint64_t *max_size, Blob **blobs,
                   unsigned skip, GError **error);

#endif /* TESTS_CRASH_HISTORY_H */
