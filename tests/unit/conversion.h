/*
 * Helpers that the tests of conversions share: the list of conversions, and
 * stores for them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_CONVERSION_H
#define TESTS_UNIT_CONVERSION_H

#include "keys.h"

enum {
    CONVERSION_DISK_BYTES = 192 << 10,
    CONVERSION_WAYS = 3,
};

/*
 * A conversion from one data key to another; the raw secret with the same
 * number opens each.
 */
typedef struct Way {
    const char *name;
    int from;                   /* -1: plain */
    int to;
} Way;

extern const Way conversion_ways[CONVERSION_WAYS];

/*
 * Returns a test_store() or a keys_store(), as @way requires at its beginning.
 */
BlobStore *conversion_store(TestDisk *disk, const Way *way, Blob **blobs,
                            unsigned count);

/* A conversion that is only begun, and a whole one */
bool conversion_begin(BlobStore *store, const Way *way, GError **error);
bool conversion_run(BlobStore *store, const Way *way, GError **error);

#endif /* TESTS_UNIT_CONVERSION_H */
