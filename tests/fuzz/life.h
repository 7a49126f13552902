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
    BlobKeySlots key_slots;     /* of a store that is sealed later */
    Blob *blobs[FUZZ_BLOBS];    /* NULL: not registered */
    bool registered[FUZZ_BLOBS]; /* from the next start on */
    uint64_t max_size[FUZZ_BLOBS];
    FuzzPromise promise;
    FuzzCrash crash;            /* if the power fails */
    bool formatted;             /* the medium once was a store */
    bool over;                  /* the medium never became a store */
} Life;

/* Cancels the planned failures that have not happened. */
void life_disarm(Life *life);
bool life_power_is_gone(const Life *life);

/*
 * Opens the store with the key that it needs, perhaps @read_only.  Fails as
 * blob_store_open() does.
 */
BlobStore *life_open_store(Life *life, bool read_only, GError **error);

/* Returns false if a read fails as planned, or if the life is over. */
bool life_open(Life *life);
void life_close(Life *life);

/* Closes the store cleanly, which stays open. */
void life_close_clean(Life *life);

/* Registers the blobs that are to be registered and are not yet. */
void life_register(Life *life);

/*
 * Starts the open store: at once, after a failure, with a larger medium, or
 * after the larger medium was blanked.
 */
void life_start(Life *life);

/* Opens the store, which must hold what it promised, and starts it. */
void life_open_and_start(Life *life);

/* Lets the power fail, then opens and starts the store again. */
void life_crash(Life *life);

/* Reports a finding unless the running store holds what was acknowledged. */
void life_check(Life *life);

#endif /* TESTS_FUZZ_LIFE_H */
