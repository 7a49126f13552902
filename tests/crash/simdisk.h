/*
 * A simulated disk that records writes and flushes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_SIMDISK_H
#define TESTS_CRASH_SIMDISK_H

#include "blobstore/storage.h"

enum { SIM_SECTOR_BYTES = 512 };

/*
 * The part of a failed write that a reader sees.  Any other sector of the
 * write may land until a flush succeeds.
 */
typedef enum SimLanding {
    SIM_LANDS_NOTHING,
    SIM_LANDS_ALL,
    SIM_LANDS_FIRST_BLOCK,
    SIM_LANDS_LAST_BLOCK,
    SIM_LANDS_LATE,             /* nothing yet, all with the flush */
    SIM_LANDING_COUNT,
} SimLanding;

typedef enum SimEventKind {
    SIM_WRITE,
    SIM_DURABLE,                /* the write before it is durable (FUA) */
    SIM_FLUSH,                  /* all writes before it are */
    SIM_LOST,                   /* a flush failed: see SimDisk.cached */
} SimEventKind;

/* One thing that happened; only a write has bytes. */
typedef struct SimEvent {
    SimEventKind kind;
    bool failed;                /* may land at any time until a flush */
    SimLanding landing;         /* valid if it failed, or was lost */
    uint64_t offset;
    size_t bytes;
    uint8_t *data;
} SimEvent;

typedef struct SimDisk {
    BlobStorage *storage;       /* for the core */
    BlobStorage *memory;        /* below it */
    uint64_t bytes;
    uint8_t *data;              /* of the memory: what a reader sees */
    uint8_t *start;             /* what was there when recording began */
    GArray *events;             /* of SimEvent */
    int fail_after;             /* writes and flushes until one fails; -1 */
    /*
     * The disk has a page cache like Linux.  A flush that fails, or a write
     * that has one, leaves @landing of each write since the flush before on
     * the medium, and no later flush changes that.  A reader still sees all of
     * it, until the cache is dropped or the power fails.
     */
    bool cached;
    SimLanding landing;
    GArray *undo;               /* sectors replaced, or NULL: not kept */
    uint64_t hash;              /* of all of @data; valid if undo is kept */
} SimDisk;

/* Returns a disk that holds @bytes of @data, or zeros if @data is NULL. */
SimDisk *sim_disk_new(const uint8_t *data, uint64_t bytes);
void sim_disk_free(SimDisk *disk);

/* Adds a page cache, which is empty. */
void sim_disk_add_cache(SimDisk *disk);

/* Forgets the events; recording begins with the current content. */
void sim_disk_begin(SimDisk *disk);

/* Sets the events aside for new ones, and puts them back. */
GArray *sim_disk_take_events(SimDisk *disk);
void sim_disk_put_events(SimDisk *disk, GArray *events);

/*
 * Makes durable what the flush at @end of @log, or one that failed there, has
 * made so of the events since @begin.
 */
void sim_disk_settle_events(SimDisk *disk, const GArray *log, unsigned begin,
                            unsigned end);

/* Writes to @image the part of a write that a reader sees for good. */
void sim_event_apply(const SimEvent *event, uint8_t *image);

/*
 * Copy on write: once sectors are kept, all changes by writes to the disk or
 * by sim_disk_poke() can be undone, back to a mark.
 */
void sim_disk_keep(SimDisk *disk);
unsigned sim_disk_mark(const SimDisk *disk);
void sim_disk_undo(SimDisk *disk, unsigned mark);

/* Keeps the changes; older marks become void. */
void sim_disk_settle(SimDisk *disk);

/* Changes whole sectors, unseen by the recording. */
void sim_disk_poke(SimDisk *disk, uint64_t offset, const uint8_t *data,
                   size_t bytes);

#endif /* TESTS_CRASH_SIMDISK_H */
