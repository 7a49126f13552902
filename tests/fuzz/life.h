/*
 * A store that is opened, started, and crashes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_LIFE_H
#define TESTS_FUZZ_LIFE_H

#include "disk.h"
#include "promise.h"

typedef struct Life {
    FuzzDisk *disk;
    BlobStore *store;
    BlobStoreOptions options;
    bool sealed;                /* from the beginning */
    BlobKeySlots key_slots;     /* of a store that is sealed from then on */
    Blob *blobs[FUZZ_BLOBS];    /* NULL: not registered */
    bool registered[FUZZ_BLOBS]; /* from the next start on */
    uint64_t max_size[FUZZ_BLOBS];
    FuzzPromise promise;
    FuzzCrash crash;            /* if the power fails */
    bool formatted;             /* it was a store once */
    bool over;                  /* it never became one */
} Life;

/* The failures that were due have come, or will not. */
void life_disarm(Life *life);
bool life_power_is_gone(const Life *life);

/*
 * Opens the store with the key that it wants, perhaps @read_only; fails as
 * blob_store_open() does.
 */
BlobStore *life_open_store(Life *life, bool read_only, GError **error);

/* Returns false if reading fails as told, or if the life is over. */
bool life_open(Life *life);
void life_close(Life *life);

/* Registers what is to be registered and is not yet. */
void life_register(Life *life);

/*
 * Starts the open store: at once, after a failure, with a larger medium,
 * after that was blanked.
 */
void life_start(Life *life);

/* Opens the store, which must hold what was promised, and starts it. */
void life_open_and_start(Life *life);

/* The power fails, and the store is opened and started again. */
void life_crash(Life *life);

/* A finding unless the running store holds what was acknowledged. */
void life_check(Life *life);

#endif /* TESTS_FUZZ_LIFE_H */
