/*
 * A medium that holds the core to its contract, fails and loses its power
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_DISK_H
#define TESTS_FUZZ_DISK_H

#include "blobstore/store-private.h"

enum { FUZZ_SECTOR_BYTES = 512 };

/*
 * Reads and writes beyond the medium, unaligned ones, and writes to a place
 * that must not be written are findings.
 */
typedef struct FuzzDisk {
    BlobStorage *storage;       /* for the core */
    BlobStorage *memory;        /* below it */
    uint8_t *data;              /* of the memory: what a reader sees */
    uint64_t bytes;
    const BlobStore *store;     /* the store that writes */
    bool frozen;                /* nothing may be written */
    bool knows_zero;            /* reports what reads as zero */
    unsigned fail_read;         /* calls of read until one fails; 0: none */
    unsigned fail_write;        /* the same for write and flush */
    bool cut;                   /* with that one the power fails */
    bool failed;                /* some call has failed */
    uint64_t random;            /* decides what a failed write leaves */

    uint8_t *durable;           /* NULL unless power failures are wanted */
    GArray *pending;            /* of sectors that may be lost, or land */
} FuzzDisk;

FuzzDisk *fuzz_disk_new(uint64_t bytes);
void fuzz_disk_free(FuzzDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FuzzDisk, fuzz_disk_free)

/*
 * Tracks which data is durable from now on, beginning with the current
 * content.
 */
void fuzz_disk_track(FuzzDisk *disk);

/* New space is zero; everything is durable afterwards. */
void fuzz_disk_resize(FuzzDisk *disk, uint64_t bytes);

/* What a power failure leaves of the sectors that were not durable */
typedef enum FuzzCrash {
    FUZZ_CRASH_NONE,
    FUZZ_CRASH_ALL,
    FUZZ_CRASH_SOME,
    FUZZ_CRASH_GARBLED_SECTOR,  /* some, and one of them is torn */
    FUZZ_CRASH_GARBLED_BLOCK,
    FUZZ_CRASH_COUNT,
} FuzzCrash;

void fuzz_disk_crash(FuzzDisk *disk, FuzzCrash crash);

static inline bool fuzz_disk_covers(const FuzzDisk *disk, uint64_t offset,
                                    uint64_t bytes)
{
    return offset <= disk->bytes && bytes <= disk->bytes - offset;
}

#endif /* TESTS_FUZZ_DISK_H */
