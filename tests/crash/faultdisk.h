/*
 * A medium whose n-th call fails, or that is too short
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_FAULTDISK_H
#define TESTS_CRASH_FAULTDISK_H

#include "testdisk.h"

enum {
    FAULT_MAX = 2,
    FAULT_UNLIMITED = -1,
};

/*
 * The call that fails, counted from the fault before it, and the kind of
 * failure: EIO or ENOSPC, and the effect of a failing write.  A variant that a
 * kind of call does not have stands for one that it has.
 */
typedef struct Fault {
    unsigned call;
    unsigned variant;
} Fault;

/* Lies between the core and a TestDisk, which checks the core's calls. */
typedef struct FaultDisk {
    BlobStorage *storage;       /* for the core */
    TestDisk *disk;
    bool armed;                 /* calls count, and fail as planned */
    bool only_writes;           /* only these calls count */
    Fault plan[FAULT_MAX];
    unsigned planned;
    unsigned fired;
    unsigned calls;             /* since it was armed or a fault fired */
    unsigned variants[FAULT_MAX]; /* how many the call has that fired */
    unsigned write_errors;      /* of them, writes and flushes */
    uint64_t copies_end;        /* end of superblock and directory */
    uint64_t unread;            /* the place of the last one that was a read */
    size_t unread_bytes;        /* the same */
    unsigned spare_reads;       /* of copies, or of what was then zeroed */
    uint64_t limit;             /* the medium ends here */
    char *said;                 /* the error that was reported last */
    char *said_first;           /* ... and first, since it was cleared */
} FaultDisk;

FaultDisk *fault_disk_new(uint64_t bytes, uint64_t copies_end);
void fault_disk_free(FaultDisk *disk);

/* Plans @count faults; they happen once the disk is armed. */
void fault_disk_plan(FaultDisk *disk, const Fault *faults, unsigned count);

#endif /* TESTS_CRASH_FAULTDISK_H */
