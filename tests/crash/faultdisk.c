/*
 * A medium whose n-th call fails, or that is too short
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "faultdisk.h"

#include <errno.h>
#include <string.h>

typedef enum Landing {
    LANDS_NOTHING,
    LANDS_HALF,
    LANDS_ALL,
} Landing;

static const struct {
    int err;
    Landing landing;
} variants[] = {
    { EIO, LANDS_NOTHING },
    { ENOSPC, LANDS_HALF },
    { EIO, LANDS_ALL },
    { ENOSPC, LANDS_NOTHING },
    { EIO, LANDS_HALF },
    { ENOSPC, LANDS_ALL },
};

enum {
    READ_VARIANTS = 1,
    FLUSH_VARIANTS = 2,
    WRITE_VARIANTS = G_N_ELEMENTS(variants),
};

static FaultDisk *fault_disk(BlobStorage *storage)
{
    return (FaultDisk *)storage;
}

static bool say(FaultDisk *disk, const char *what, uint64_t offset, int err,
                GError **error)
{
    g_free(disk->said);
    disk->said = g_strdup_printf("cannot %s at offset %" G_GUINT64_FORMAT
                                 ": %s", what, offset, g_strerror(err));
    g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                        disk->said);
    if (!disk->said_first) {
        disk->said_first = g_strdup(disk->said);
    }
    return false;
}

/* The variant in which the call fails that is being made, or -1 */
static int failing_variant(FaultDisk *disk, unsigned variant_count)
{
    const Fault *fault = &disk->plan[disk->fired];

    if (!disk->armed || disk->fired == disk->planned ||
        (disk->only_writes && variant_count != WRITE_VARIANTS) ||
        disk->calls++ < fault->call) {
        return -1;
    }
    disk->calls = 0;
    disk->variants[disk->fired++] = variant_count;
    return fault->variant % variant_count;
}

static bool is_past_end(const FaultDisk *disk, uint64_t offset, size_t bytes)
{
    return offset > disk->limit || bytes > disk->limit - offset;
}

static bool fault_length(BlobStorage *storage, uint64_t *bytes,
                         GError **error)
{
    FaultDisk *disk = fault_disk(storage);

    if (failing_variant(disk, READ_VARIANTS) >= 0) {
        return say(disk, "tell the size", 0, EIO, error);
    }
    *bytes = MIN(disk->limit, test_disk_length(disk->disk));
    return true;
}

static bool fault_read(BlobStorage *storage, uint64_t offset, void *buf,
                       size_t bytes, GError **error)
{
    FaultDisk *disk = fault_disk(storage);
    BlobStorage *below = &disk->disk->parent;

    if (failing_variant(disk, READ_VARIANTS) >= 0) {
        disk->copy_reads += offset < disk->copies_end;
        return say(disk, "read", offset, EIO, error);
    }
    if (is_past_end(disk, offset, bytes)) {
        return say(disk, "read", offset, EIO, error);
    }
    return below->ops->read(below, offset, buf, bytes, error);
}

static bool fault_write(BlobStorage *storage, uint64_t offset,
                        const void *buf, size_t bytes, bool durable,
                        GError **error)
{
    FaultDisk *disk = fault_disk(storage);
    BlobStorage *below = &disk->disk->parent;
    int variant = failing_variant(disk, WRITE_VARIANTS);
    bool past_end = is_past_end(disk, offset, bytes);

    if (variant < 0 && !past_end) {
        return below->ops->write(below, offset, buf, bytes, durable, error);
    }
    disk->write_errors++;
    if (past_end) {
        return say(disk, "write", offset, ENOSPC, error);
    }
    if (variants[variant].landing != LANDS_NOTHING) {
        size_t landed = variants[variant].landing == LANDS_ALL ? bytes
                                                               : bytes / 2;

        below->ops->write(below, offset, buf, landed, false, NULL);
    }
    return say(disk, "write", offset, variants[variant].err, error);
}

static bool fault_flush(BlobStorage *storage, GError **error)
{
    FaultDisk *disk = fault_disk(storage);
    BlobStorage *below = &disk->disk->parent;
    int variant = failing_variant(disk, FLUSH_VARIANTS);

    if (variant >= 0) {
        disk->write_errors++;
        return say(disk, "flush", 0, variants[variant].err, error);
    }
    return below->ops->flush(below, error);
}

static void fault_free(BlobStorage *storage)
{
    FaultDisk *disk = fault_disk(storage);

    test_disk_free(disk->disk);
    g_free(disk->said);
    g_free(disk->said_first);
    g_free(disk);
}

static const BlobStorageOps fault_ops = {
    .length = fault_length,
    .read = fault_read,
    .write = fault_write,
    .flush = fault_flush,
    .free = fault_free,
};

FaultDisk *fault_disk_new(uint64_t bytes, uint64_t copies_end)
{
    FaultDisk *disk = g_new0(FaultDisk, 1);

    disk->parent.ops = &fault_ops;
    disk->disk = test_disk_new(bytes);
    disk->limit = FAULT_UNLIMITED;
    disk->copies_end = copies_end;
    return disk;
}

void fault_disk_free(FaultDisk *disk)
{
    fault_free(&disk->parent);
}

void fault_disk_plan(FaultDisk *disk, const Fault *faults, unsigned count)
{
    g_assert(count <= FAULT_MAX);
    if (count) {
        memcpy(disk->plan, faults, count * sizeof(*faults));
    }
    disk->planned = count;
    disk->fired = 0;
    disk->copy_reads = 0;
    disk->calls = 0;
}
