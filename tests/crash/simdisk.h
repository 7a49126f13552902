/*
 * A simulated disk that records writes and flushes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_SIMDISK_H
#define TESTS_CRASH_SIMDISK_H

#include "blobstore/storage.h"

enum { SIM_SECTOR_BYTES = 512 };

/* What a failing write leaves on the medium */
typedef enum SimLanding {
    SIM_LANDS_NOTHING,
    SIM_LANDS_ALL,
    SIM_LANDS_FIRST_BLOCK,
    SIM_LANDS_LAST_BLOCK,
    SIM_LANDING_COUNT,
} SimLanding;

typedef enum SimEventKind {
    SIM_WRITE,
    SIM_DURABLE,                /* the write before it is durable (FUA) */
    SIM_FLUSH,                  /* all writes before it are */
} SimEventKind;

/* One thing that happened; only a write has bytes. */
typedef struct SimEvent {
    SimEventKind kind;
    bool failed;                /* may land at any time until a flush */
    uint64_t offset;
    size_t bytes;
    uint8_t *data;
    unsigned promise;           /* what held when it happened; see below */
} SimEvent;

typedef struct SimDisk {
    BlobStorage parent;
    uint64_t bytes;
    uint8_t *data;              /* what a reader sees */
    uint8_t *start;             /* what was there when recording began */
    GArray *events;             /* of SimEvent */
    unsigned promise;           /* stamped on every event */
    int fail_after;             /* writes and flushes until one fails; -1 */
    SimLanding landing;
} SimDisk;

/* A disk that holds @bytes of @data, or zeros if @data is NULL. */
SimDisk *sim_disk_new(const uint8_t *data, uint64_t bytes);
void sim_disk_free(SimDisk *disk);

/* Forgets the events; what is there now is where recording begins. */
void sim_disk_begin(SimDisk *disk);

static inline BlobStorage *sim_disk_storage(SimDisk *disk)
{
    return &disk->parent;
}

#endif /* TESTS_CRASH_SIMDISK_H */
