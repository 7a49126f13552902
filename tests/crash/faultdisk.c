/*
 * A medium whose n-th call fails, or that is too short
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "faultdisk.h"

#include <errno.h>
#include <string.h>
#include "hooked.h"

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

static HookedVerdict fail(FaultDisk *disk, const char *what, uint64_t offset,
                          int err, GError **error)
{
    g_free(disk->said);
    disk->said = g_strdup_printf("cannot %s at offset %" G_GUINT64_FORMAT
                                 ": %s", what, offset, g_strerror(err));
    g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                        disk->said);
    if (!disk->said_first) {
        disk->said_first = g_strdup(disk->said);
    }
    return HOOKED_FAIL;
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

static bool is_past_end(const FaultDisk *disk, const HookedCall *call)
{
    return call->offset > disk->limit ||
           call->bytes > disk->limit - call->offset;
}

static HookedVerdict before_read(FaultDisk *disk, const HookedCall *call,
                                 GError **error)
{
    bool fails = failing_variant(disk, READ_VARIANTS) >= 0;

    if (fails && call->offset < disk->copies_end) {
        disk->spare_reads++;
    } else if (fails) {
        disk->unread = call->offset;
        disk->unread_bytes = call->bytes;
    }
    return fails || is_past_end(disk, call)
           ? fail(disk, "read", call->offset, EIO, error) : HOOKED_PASS;
}

static HookedVerdict before_write(FaultDisk *disk, const HookedCall *call,
                                  GError **error)
{
    BlobStorage *below = disk->disk->storage;
    int variant = failing_variant(disk, WRITE_VARIANTS);
    bool past_end = is_past_end(disk, call);

    if (variant < 0 && !past_end) {
        return HOOKED_PASS;
    }
    disk->write_errors++;
    if (past_end) {
        return fail(disk, "write", call->offset, ENOSPC, error);
    }
    if (variants[variant].landing != LANDS_NOTHING) {
        size_t landed = variants[variant].landing == LANDS_ALL
                        ? call->bytes : call->bytes / 2;

        below->ops->write(below, call->offset, call->data, landed, false,
                          NULL);
    }
    return fail(disk, "write", call->offset, variants[variant].err, error);
}

/* A flush, or space that is given back */
static HookedVerdict before_flush(FaultDisk *disk, const HookedCall *call,
                                  GError **error)
{
    int variant = failing_variant(disk, FLUSH_VARIANTS);

    if (variant < 0) {
        return HOOKED_PASS;
    }
    disk->write_errors++;
    return fail(disk, "flush", call->offset, variants[variant].err, error);
}

static HookedVerdict before(void *opaque, const HookedCall *call,
                            GError **error)
{
    FaultDisk *disk = opaque;

    switch (call->kind) {
    case HOOKED_LENGTH:
        return failing_variant(disk, READ_VARIANTS) < 0
               ? HOOKED_PASS : fail(disk, "tell the size", 0, EIO, error);
    case HOOKED_READ:
        return before_read(disk, call, error);
    case HOOKED_WRITE:
        return before_write(disk, call, error);
    default:
        return before_flush(disk, call, error);
    }
}

/* Notes that the core zeroes all of what it could not read. */
static void note_write(FaultDisk *disk, const HookedCall *call)
{
    const uint8_t *data = call->data;

    if (disk->unread_bytes && call->bytes == disk->unread_bytes &&
        call->offset == disk->unread && !data[0] &&
        !memcmp(data, data + 1, call->bytes - 1)) {
        disk->spare_reads++;
        disk->unread_bytes = 0;
    }
}

static void after(void *opaque, const HookedCall *call)
{
    FaultDisk *disk = opaque;

    if (call->kind == HOOKED_LENGTH) {
        *call->length = MIN(disk->limit, *call->length);
    } else if (call->kind == HOOKED_WRITE) {
        note_write(disk, call);
    }
}

static const Hooks hooks = { .before = before, .after = after };

FaultDisk *fault_disk_new(uint64_t bytes, uint64_t copies_end)
{
    FaultDisk *disk = g_new0(FaultDisk, 1);

    disk->disk = test_disk_new(bytes);
    disk->storage = hooked_storage_new(disk->disk->storage, &hooks, disk);
    disk->limit = FAULT_UNLIMITED;
    disk->copies_end = copies_end;
    return disk;
}

void fault_disk_free(FaultDisk *disk)
{
    blob_storage_free(disk->storage);
    test_disk_free(disk->disk);
    g_free(disk->said);
    g_free(disk->said_first);
    g_free(disk);
}

void fault_disk_plan(FaultDisk *disk, const Fault *faults, unsigned count)
{
    g_assert(count <= FAULT_MAX);
    if (count) {
        memcpy(disk->plan, faults, count * sizeof(*faults));
    }
    disk->planned = count;
    disk->fired = 0;
    disk->spare_reads = 0;
    disk->unread_bytes = 0;
    disk->calls = 0;
}
