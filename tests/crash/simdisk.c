/*
 * A simulated disk that records writes and flushes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "simdisk.h"

#include <string.h>

static SimDisk *sim_disk(BlobStorage *storage)
{
    return (SimDisk *)storage;
}

static void clear_event(gpointer data)
{
    g_free(((SimEvent *)data)->data);
}

static void record(SimDisk *disk, SimEventKind kind)
{
    SimEvent event = { .kind = kind, .promise = disk->promise };

    g_array_append_val(disk->events, event);
}

static void record_write(SimDisk *disk, uint64_t offset, const void *buf,
                         size_t bytes, bool failed)
{
    SimEvent event = {
        .kind = SIM_WRITE,
        .failed = failed,
        .offset = offset,
        .bytes = bytes,
        .data = g_memdup2(buf, bytes),
        .promise = disk->promise,
    };

    g_array_append_val(disk->events, event);
    memcpy(disk->data + offset, buf, bytes);
}

static bool fails_now(SimDisk *disk, GError **error)
{
    if (disk->fail_after < 0 || disk->fail_after-- > 0) {
        return false;
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO, "as told");
    return true;
}

static bool sim_length(BlobStorage *storage, uint64_t *bytes, GError **error)
{
    *bytes = sim_disk(storage)->bytes;
    return true;
}

static bool sim_read(BlobStorage *storage, uint64_t offset, void *buf,
                     size_t bytes, GError **error)
{
    g_assert(offset + bytes <= sim_disk(storage)->bytes);
    memcpy(buf, sim_disk(storage)->data + offset, bytes);
    return true;
}

static bool sim_flush(BlobStorage *storage, GError **error)
{
    if (fails_now(sim_disk(storage), error)) {
        return false;
    }
    record(sim_disk(storage), SIM_FLUSH);
    return true;
}

static void land(SimDisk *disk, uint64_t offset, const uint8_t *buf,
                 size_t bytes)
{
    switch (disk->landing) {
    case SIM_LANDS_ALL:
        record_write(disk, offset, buf, bytes, true);
        break;
    case SIM_LANDS_FIRST_BLOCK:
        record_write(disk, offset, buf, 4096, true);
        break;
    case SIM_LANDS_LAST_BLOCK:
        record_write(disk, offset + bytes - 4096, buf + bytes - 4096, 4096,
                     true);
        break;
    default:
        break;
    }
}

static bool sim_write(BlobStorage *storage, uint64_t offset, const void *buf,
                      size_t bytes, bool durable, GError **error)
{
    SimDisk *disk = sim_disk(storage);

    g_assert(offset + bytes <= disk->bytes);
    g_assert(!(offset % 4096) && !(bytes % 4096));
    if (fails_now(disk, error)) {
        land(disk, offset, buf, bytes);
        return false;
    }
    record_write(disk, offset, buf, bytes, false);
    if (durable) {
        record(disk, SIM_DURABLE);
    }
    return true;
}

static void sim_free(BlobStorage *storage)
{
    SimDisk *disk = sim_disk(storage);

    g_array_unref(disk->events);
    g_free(disk->data);
    g_free(disk->start);
    g_free(disk);
}

static const BlobStorageOps sim_ops = {
    .length = sim_length,
    .read = sim_read,
    .write = sim_write,
    .flush = sim_flush,
    .free = sim_free,
};

SimDisk *sim_disk_new(const uint8_t *data, uint64_t bytes)
{
    SimDisk *disk = g_new0(SimDisk, 1);

    disk->parent.ops = &sim_ops;
    disk->bytes = bytes;
    disk->data = data ? g_memdup2(data, bytes) : g_malloc0(bytes);
    disk->start = g_memdup2(disk->data, bytes);
    disk->events = g_array_new(FALSE, TRUE, sizeof(SimEvent));
    disk->fail_after = -1;
    g_array_set_clear_func(disk->events, clear_event);
    return disk;
}

void sim_disk_free(SimDisk *disk)
{
    sim_free(&disk->parent);
}

void sim_disk_begin(SimDisk *disk)
{
    memcpy(disk->start, disk->data, disk->bytes);
    g_array_set_size(disk->events, 0);
}
