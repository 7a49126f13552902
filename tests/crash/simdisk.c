/*
 * A simulated disk that records writes and flushes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "simdisk.h"

#include <string.h>
#include "hooked.h"
#include "mix.h"

enum { BLOCK_BYTES = 4096 };

/* A sector before a change, and the hash of the disk with it */
typedef struct Replaced {
    uint64_t offset;
    uint64_t hash;
    uint8_t data[SIM_SECTOR_BYTES];
} Replaced;

static void clear_event(gpointer data)
{
    g_free(((SimEvent *)data)->data);
}

static uint64_t sector_hash(uint64_t offset, const uint8_t *data)
{
    return mix_bytes(offset + 1, data, SIM_SECTOR_BYTES);
}

void sim_disk_keep(SimDisk *disk)
{
    disk->undo = g_array_new(FALSE, FALSE, sizeof(Replaced));
    disk->hash = 0;
    for (uint64_t at = 0; at < disk->bytes; at += SIM_SECTOR_BYTES) {
        disk->hash += sector_hash(at, disk->data + at);
    }
}

unsigned sim_disk_mark(const SimDisk *disk)
{
    return disk->undo->len;
}

void sim_disk_undo(SimDisk *disk, unsigned mark)
{
    for (guint i = disk->undo->len; i-- > mark; ) {
        const Replaced *replaced = &g_array_index(disk->undo, Replaced, i);

        memcpy(disk->data + replaced->offset, replaced->data,
               SIM_SECTOR_BYTES);
        disk->hash = replaced->hash;
    }
    g_array_set_size(disk->undo, mark);
}

void sim_disk_settle(SimDisk *disk)
{
    g_array_set_size(disk->undo, 0);
}

static void poke_sector(SimDisk *disk, uint64_t offset, const uint8_t *data)
{
    uint8_t *sector = disk->data + offset;
    Replaced *replaced;

    if (!memcmp(sector, data, SIM_SECTOR_BYTES)) {
        return;
    }
    g_array_set_size(disk->undo, disk->undo->len + 1);
    replaced = &g_array_index(disk->undo, Replaced, disk->undo->len - 1);
    replaced->offset = offset;
    replaced->hash = disk->hash;
    memcpy(replaced->data, sector, SIM_SECTOR_BYTES);
    disk->hash += sector_hash(offset, data) - sector_hash(offset, sector);
    memcpy(sector, data, SIM_SECTOR_BYTES);
}

void sim_disk_poke(SimDisk *disk, uint64_t offset, const uint8_t *data,
                   size_t bytes)
{
    if (!disk->undo) {
        memcpy(disk->data + offset, data, bytes);
        return;
    }
    for (size_t at = 0; at < bytes; at += SIM_SECTOR_BYTES) {
        poke_sector(disk, offset + at, data + at);
    }
}

/* Returns the part of a write that a reader sees before or after the flush. */
static void landed(const SimEvent *event, bool flushed, size_t *start,
                   size_t *bytes)
{
    *start = 0;
    *bytes = event->bytes;
    if (!event->failed || event->landing == SIM_LANDS_ALL) {
        return;
    }
    switch (event->landing) {
    case SIM_LANDS_FIRST_BLOCK:
        *bytes = BLOCK_BYTES;
        break;
    case SIM_LANDS_LAST_BLOCK:
        *start = event->bytes - BLOCK_BYTES;
        *bytes = BLOCK_BYTES;
        break;
    case SIM_LANDS_LATE:
        *bytes = flushed ? event->bytes : 0;
        break;
    default:
        *bytes = 0;
        break;
    }
}

/* Writes the part of a write that a reader sees before, or after, the flush. */
static void land(SimDisk *disk, const SimEvent *event, bool flushed)
{
    size_t start;
    size_t bytes;

    landed(event, flushed, &start, &bytes);
    if (bytes) {
        sim_disk_poke(disk, event->offset + start, event->data + start,
                      bytes);
    }
}

void sim_event_apply(const SimEvent *event, uint8_t *image)
{
    size_t start;
    size_t bytes;

    landed(event, true, &start, &bytes);
    memcpy(image + event->offset + start, event->data + start, bytes);
}

/* What has landed of the write at @at when the flush at @end has failed */
static void land_lost(SimDisk *disk, const GArray *log, unsigned at,
                      unsigned end)
{
    SimEvent event = g_array_index(log, SimEvent, at);

    if (g_array_index(log, SimEvent, at + 1).kind != SIM_DURABLE) {
        event.failed = true;
        event.landing = g_array_index(log, SimEvent, end).landing;
    }
    land(disk, &event, false);
}

/*
 * A failed write that lands late, before the flush at @end of @log, lands on
 * top of later ones.
 */
static void land_late(SimDisk *disk, const GArray *log, unsigned end)
{
    for (unsigned i = end; i-- > 0; ) {
        const SimEvent *event = &g_array_index(log, SimEvent, i);

        if (event->kind == SIM_FLUSH) {
            return;
        }
        if (event->failed && event->landing == SIM_LANDS_LATE) {
            land(disk, event, true);
        }
    }
}

void sim_disk_settle_events(SimDisk *disk, const GArray *log, unsigned begin,
                            unsigned end)
{
    bool lost = g_array_index(log, SimEvent, end).kind == SIM_LOST;

    for (unsigned i = begin; i < end; i++) {
        const SimEvent *event = &g_array_index(log, SimEvent, i);

        if (event->kind == SIM_WRITE && lost) {
            land_lost(disk, log, i, end);
        } else if (event->kind == SIM_WRITE) {
            land(disk, event, false);
        }
    }
    land_late(disk, log, end);
}

static void record(SimDisk *disk, SimEventKind kind)
{
    SimEvent event = { .kind = kind, .landing = disk->landing };

    g_array_append_val(disk->events, event);
}

static bool fails_now(SimDisk *disk, GError **error)
{
    if (disk->fail_after < 0 || disk->fail_after-- > 0) {
        return false;
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO, "as told");
    return true;
}

static bool flush(SimDisk *disk, GError **error)
{
    if (fails_now(disk, error)) {
        if (disk->cached) {
            record(disk, SIM_LOST);
        }
        return false;
    }
    land_late(disk, disk->events, disk->events->len);
    record(disk, SIM_FLUSH);
    return true;
}

/* From now on a reader sees what is on the medium. */
static bool drop_cache(void *opaque, GError **error)
{
    SimDisk *disk = opaque;
    unsigned begin = 0;

    if (!flush(disk, error)) {
        return false;
    }
    sim_disk_poke(disk, 0, disk->start, disk->bytes);
    for (guint i = 0; i < disk->events->len; i++) {
        SimEventKind kind = g_array_index(disk->events, SimEvent, i).kind;

        if (kind == SIM_FLUSH || kind == SIM_LOST) {
            sim_disk_settle_events(disk, disk->events, begin, i);
            begin = i + 1;
        }
    }
    return true;
}

static bool write(SimDisk *disk, const HookedCall *call, GError **error)
{
    SimEvent event = {
        .kind = SIM_WRITE,
        .landing = disk->landing,
        .offset = call->offset,
        .bytes = call->bytes,
    };
    bool fails;

    g_assert(!(call->offset % BLOCK_BYTES) && !(call->bytes % BLOCK_BYTES));
    fails = fails_now(disk, error);
    event.failed = fails && !disk->cached;
    event.data = g_memdup2(call->data, call->bytes);
    g_array_append_val(disk->events, event);
    land(disk, &event, false);
    if (fails && disk->cached) {
        record(disk, SIM_LOST);
    } else if (call->durable && !fails) {
        record(disk, SIM_DURABLE);
    }
    return !fails;
}

static HookedVerdict before(void *opaque, const HookedCall *call,
                            GError **error)
{
    SimDisk *disk = opaque;
    bool done;

    hooked_check(call, disk->bytes);
    if (call->kind != HOOKED_WRITE && call->kind != HOOKED_FLUSH) {
        return HOOKED_PASS;
    }
    done = call->kind == HOOKED_WRITE ? write(disk, call, error)
                                      : flush(disk, error);
    return done ? HOOKED_DONE : HOOKED_FAIL;
}

static const Hooks hooks = { .before = before };

static const Hooks cached_hooks = {
    .before = before,
    .drop_cache = drop_cache,
};

static GArray *new_events(void)
{
    GArray *events = g_array_new(FALSE, TRUE, sizeof(SimEvent));

    g_array_set_clear_func(events, clear_event);
    return events;
}

SimDisk *sim_disk_new(const uint8_t *data, uint64_t bytes)
{
    SimDisk *disk = g_new0(SimDisk, 1);

    disk->memory = blob_storage_new_memory(bytes);
    disk->storage = hooked_storage_new(disk->memory, &hooks, disk);
    disk->bytes = bytes;
    disk->data = blob_storage_memory(disk->memory);
    if (data) {
        memcpy(disk->data, data, bytes);
    }
    disk->start = g_memdup2(disk->data, bytes);
    disk->events = new_events();
    disk->fail_after = -1;
    return disk;
}

void sim_disk_free(SimDisk *disk)
{
    blob_storage_free(disk->storage);
    blob_storage_free(disk->memory);
    g_array_unref(disk->events);
    g_clear_pointer(&disk->undo, g_array_unref);
    g_free(disk->start);
    g_free(disk);
}

void sim_disk_add_cache(SimDisk *disk)
{
    blob_storage_free(disk->storage);
    disk->storage = hooked_storage_new(disk->memory, &cached_hooks, disk);
    disk->cached = true;
}

void sim_disk_begin(SimDisk *disk)
{
    memcpy(disk->start, disk->data, disk->bytes);
    g_array_set_size(disk->events, 0);
}

GArray *sim_disk_take_events(SimDisk *disk)
{
    GArray *events = disk->events;

    disk->events = new_events();
    return events;
}

void sim_disk_put_events(SimDisk *disk, GArray *events)
{
    g_array_unref(disk->events);
    disk->events = events;
}
