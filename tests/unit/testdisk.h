/*
 * A medium that fails, counts, records and crashes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_TESTDISK_H
#define TESTS_UNIT_TESTDISK_H

#include "blobstore/storage.h"

enum {
    TEST_SECTOR_BYTES = 512,
    TEST_NEVER = -1,
    TEST_DISK_BYTES = 1 << 20,
};

/* One write that reached the medium, or a flush (@data is NULL) */
typedef struct TestEvent {
    uint64_t offset;
    size_t bytes;
    uint8_t *data;
} TestEvent;

/*
 * A medium in memory.  It checks that the core keeps the contract of
 * storage.h, and fails on request: fail_X calls of X succeed before one fails.
 */
typedef struct TestDisk {
    BlobStorage *storage;       /* for the core */
    BlobStorage *memory;        /* below it */
    unsigned reads;
    uint64_t bytes_read;
    unsigned writes;
    unsigned durable_writes;
    unsigned flushes;
    uint64_t highest_read;      /* end of the highest range read */
    int fail_length;
    int fail_read;
    int fail_write;
    int fail_flush;
    bool failing_write_lands;
    bool failing_write_is_late; /* the failed write lands with the next flush */
    TestEvent late;
    uint64_t bad_offset;        /* unreadable until a write covers it; */
    uint64_t bad_bytes;         /* 0: everything is readable */
    uint8_t *behind;            /* the medium below a cache; NULL: the same */
    unsigned drops;             /* of the cache */
    BlobStorage *uncached;      /* for a store that is still open; or NULL */
    uint64_t shrinks_to;        /* after one more call of length; 0: never */
    uint8_t *start;             /* the medium when recording began, or NULL */
    GArray *events;             /* of TestEvent */
} TestDisk;

TestDisk *test_disk_new(uint64_t bytes);
TestDisk *test_disk_clone(const TestDisk *disk);
void test_disk_free(TestDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestDisk, test_disk_free)

uint8_t *test_disk_bytes(const TestDisk *disk);
uint64_t test_disk_length(const TestDisk *disk);
void test_disk_resize(TestDisk *disk, uint64_t bytes);
void test_disk_reset_counts(TestDisk *disk);

/*
 * From now on there is a cache, and it keeps all that is written: the medium
 * stays as it is, until the cache is dropped, when @behind shows.
 */
void test_disk_hide_writes(TestDisk *disk);

/* Begins to record, from the content that the medium has now. */
void test_disk_record(TestDisk *disk);

/*
 * Calls @check with every medium that a power failure may leave: cut after
 * each event, with any subset of the sectors not flushed by then, and with one
 * of those garbled.  Subsets are drawn at random if they are too many.
 */
typedef void TestCrashCheck(TestDisk *crashed, unsigned events, void *opaque);
void test_disk_each_crash(const TestDisk *disk, TestCrashCheck *check,
                          void *opaque);

/* Uses SEED= or a new seed, which it prints; EFFORT= or 1 is the effort. */
GRand *test_random(void);
unsigned test_effort(void);

#endif /* TESTS_UNIT_TESTDISK_H */
