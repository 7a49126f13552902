/*
 * What the tests of conversions share: which there are, and stores for them
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

/* From which data key to which; each is behind the raw secret of its number */
typedef struct Way {
    const char *name;
    int from;                   /* -1: plain */
    int to;
} Way;

extern const Way conversion_ways[CONVERSION_WAYS];

/* test_store() or keys_store(), as @way begins */
BlobStore *conversion_store(TestDisk *disk, const Way *way, Blob **blobs,
                            unsigned count);

bool conversion_run(BlobStore *store, const Way *way, GError **error);

#endif /* TESTS_UNIT_CONVERSION_H */
