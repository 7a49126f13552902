/*
 * The content that a store has promised to hold, while operations succeed and
 * fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_PROMISE_H
#define TESTS_FUZZ_PROMISE_H

#include "fuzz.h"

enum { FUZZ_BLOBS = 4, FUZZ_DAMAGED = -1, FUZZ_UNREAD = -2 };

/* The version of each blob; 0: absent */
typedef struct FuzzWorld {
    int version[FUZZ_BLOBS];
} FuzzWorld;

typedef struct FuzzPromise {
    FuzzWorld acknowledged;
    GArray *maybe;      /* of FuzzWorld: failed since, and may come to life */
    GPtrArray *contents; /* of GBytes: the content of each version */
} FuzzPromise;

void fuzz_promise_init(FuzzPromise *promise);
void fuzz_promise_clear(FuzzPromise *promise);

const char *fuzz_blob_name(unsigned n);

/* Returns a new version of @bytes, with its content (borrowed) and metadata. */
int fuzz_promise_new(FuzzPromise *promise, size_t bytes);
GBytes *fuzz_promise_content(const FuzzPromise *promise, int version);
char **fuzz_promise_metadata(int version);

/* Notes that an operation has led to @after, or has failed to and may still. */
void fuzz_promise_done(FuzzPromise *promise, const FuzzWorld *after);
void fuzz_promise_failed(FuzzPromise *promise, const FuzzWorld *after);

/*
 * Reads the content of @store.  Content that was never written is a finding,
 * and so is a failure except FUZZ_DAMAGED and FUZZ_UNREAD (the medium failed).
 */
void fuzz_promise_read(const FuzzPromise *promise, BlobStore *store,
                       FuzzWorld *world);

bool fuzz_world_is(const FuzzWorld *a, const FuzzWorld *b);
bool fuzz_world_has(const FuzzWorld *world, int version);

/* Reports a finding unless a store that was opened again may hold @world. */
void fuzz_promise_check(const FuzzPromise *promise, const FuzzWorld *world);

#endif /* TESTS_FUZZ_PROMISE_H */
