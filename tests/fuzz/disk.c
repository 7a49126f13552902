/*
 * A medium that holds the core to its contract, fails and loses its power
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "disk.h"

#include <string.h>
#include "fuzz.h"
#include "hooked.h"

/* A sector that has yet to reach the medium */
typedef struct Pending {
    uint64_t offset;
    bool failed;                /* of a write that was reported as failed */
    uint8_t data[FUZZ_SECTOR_BYTES];
} Pending;

static bool fails_now(FuzzDisk *disk, unsigned *count, GError **error)
{
    bool fails = *count == 1;

    *count -= *count > 0;
    if (disk->cut && fails) {
        *count = 1;             /* every call fails without power */
    }
    if (fails) {
        disk->failed = true;
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO, "as told");
    }
    return fails;
}

static bool overlaps(const BlobSlot *slot, uint64_t offset, size_t bytes)
{
    return offset < slot->offset + slot->bytes &&
           slot->offset < offset + bytes;
}

/*
 * A write of a blob goes to its own slot that is not current, or to free
 * space.
 */
static void check_blob_write(const BlobStore *store, uint64_t id,
                             uint64_t offset, size_t bytes)
{
    FUZZ_CHECK(offset >= store->super.data_offset);
    FUZZ_CHECK(offset + bytes <= store->capacity);
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        for (unsigned n = 0; n < 2; n++) {
            BlobSlot slot = blob_slot_of(blob, n);

            if (!slot.bytes || !overlaps(&slot, offset, bytes)) {
                continue;
            }
            FUZZ_CHECK(slot.id == id && slot.offset == offset);
            FUZZ_CHECK(bytes <= slot.bytes);
            FUZZ_CHECK(!blob->entry.sequence || blob->entry.slot != n);
        }
    }
}

static bool is_zero(const uint8_t *buf, size_t bytes)
{
    return !buf[0] && !memcmp(buf, buf + 1, bytes - 1);
}

/* Zeros go only where nothing has content that counts. */
static void check_zeros(const BlobStore *store, uint64_t offset, size_t bytes)
{
    BlobSlot current;

    for (unsigned n = 0; n < 2; n++) {
        current = blob_pair_slot(&store->super_pair, n);
        current.bytes = blob_layout_image_bytes(BLOB_SUPERBLOCK_BYTES);
        FUZZ_CHECK(!overlaps(&current, offset, bytes));
        current = blob_pair_slot(&store->directory_pair, n);
        current.bytes = blob_layout_image_bytes(store->directory_bytes);
        FUZZ_CHECK(!overlaps(&current, offset, bytes));
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);
        const BlobEntry *entry = &blob->entry;

        /* What is damaged may be something else, and counts no more. */
        if (entry->sequence && !blob->damage) {
            current = blob_slot_of(blob, entry->slot);
            current.bytes = blob_layout_image_bytes(entry->stored_bytes);
            FUZZ_CHECK(!overlaps(&current, offset, bytes));
        }
    }
}

/* A write is a whole image of a slot, in its place, or zeros. */
static void check_write(const FuzzDisk *disk, const HookedCall *call)
{
    const BlobStore *store = disk->store;
    const uint8_t *buf = call->data;
    uint64_t offset = call->offset;
    size_t bytes = call->bytes;
    uint64_t id = fuzz_get64(buf + 32);

    FUZZ_CHECK(!disk->frozen);
    FUZZ_CHECK(store);
    FUZZ_CHECK(offset % BLOB_BLOCK_BYTES == 0);
    if (is_zero(buf, bytes)) {
        check_zeros(store, offset, bytes);
        return;
    }
    FUZZ_CHECK(!memcmp(buf, BLOB_MAGIC, 8));
    FUZZ_CHECK(fuzz_get64(buf + 64) == offset);
    FUZZ_CHECK(bytes == blob_layout_image_bytes(fuzz_get64(buf + 80)));
    FUZZ_CHECK(!memcmp(buf, buf + bytes - BLOB_HEADER_BYTES,
                       BLOB_HEADER_BYTES));
    if (id == BLOB_ID_SUPERBLOCK) {
        FUZZ_CHECK(offset == 0 || offset == BLOB_SUPERBLOCK_SLOT_BYTES);
        FUZZ_CHECK(bytes <= BLOB_SUPERBLOCK_SLOT_BYTES);
    } else if (id == BLOB_ID_DIRECTORY) {
        uint64_t slot_bytes = store->super.directory_slot_bytes;

        FUZZ_CHECK(offset == BLOB_DIRECTORY_OFFSET ||
                   offset == BLOB_DIRECTORY_OFFSET + slot_bytes);
        FUZZ_CHECK(bytes <= slot_bytes);
    } else {
        check_blob_write(store, id, offset, bytes);
    }
}

static void add_pending(FuzzDisk *disk, uint64_t offset, const uint8_t *data,
                        bool failed)
{
    Pending sector = { .offset = offset, .failed = failed };

    memcpy(sector.data, data, FUZZ_SECTOR_BYTES);
    g_array_append_val(disk->pending, sector);
}

/*
 * Storage writes accepted data for the same place in order.  Nobody knows the
 * fate of data whose write failed.
 */
static void drop_older(FuzzDisk *disk, uint64_t offset, size_t bytes)
{
    for (guint i = disk->pending->len; i-- > 0; ) {
        const Pending *sector = &g_array_index(disk->pending, Pending, i);

        if (!sector->failed && sector->offset >= offset &&
            sector->offset < offset + bytes) {
            g_array_remove_index(disk->pending, i);
        }
    }
}

/* Notes a write that has succeeded. */
static void note_taken(FuzzDisk *disk, const HookedCall *call)
{
    const uint8_t *data = call->data;

    if (!disk->durable) {
        return;
    }
    if (call->durable) {
        drop_older(disk, call->offset, call->bytes);
        memcpy(disk->durable + call->offset, data, call->bytes);
        return;
    }
    for (size_t at = 0; at < call->bytes; at += FUZZ_SECTOR_BYTES) {
        add_pending(disk, call->offset + at, data + at, false);
    }
}

/*
 * A reader sees any part of the write at once; any part lands until the next
 * flush.
 */
static void leave(FuzzDisk *disk, const HookedCall *call)
{
    const uint8_t *data = call->data;
    uint32_t seen = fuzz_random(&disk->random);

    for (size_t at = 0; at < call->bytes; at += FUZZ_SECTOR_BYTES) {
        if (seen & 1 ? seen & 2 : fuzz_random(&disk->random) & 1) {
            memcpy(disk->data + call->offset + at, data + at,
                   FUZZ_SECTOR_BYTES);
        }
        if (disk->durable) {
            add_pending(disk, call->offset + at, data + at, true);
        }
    }
}

static bool write_fails(FuzzDisk *disk, const HookedCall *call, GError **error)
{
    bool had_power = !(disk->cut && disk->failed);

    check_write(disk, call);
    if (!fails_now(disk, &disk->fail_write, error)) {
        return false;
    }
    if (had_power) {
        leave(disk, call);
    }
    return true;
}

static bool flush_fails(FuzzDisk *disk, GError **error)
{
    FUZZ_CHECK(!disk->frozen);
    if (fails_now(disk, &disk->fail_write, error)) {
        return true;
    }
    for (guint i = 0; disk->durable && i < disk->pending->len; i++) {
        const Pending *sector = &g_array_index(disk->pending, Pending, i);

        if (sector->failed && fuzz_random(&disk->random) & 1) {
            memcpy(disk->data + sector->offset, sector->data,
                   FUZZ_SECTOR_BYTES);
        }
    }
    if (disk->durable) {
        for (guint i = 0; i < disk->pending->len; i++) {
            uint64_t at = g_array_index(disk->pending, Pending, i).offset;

            memcpy(disk->durable + at, disk->data + at, FUZZ_SECTOR_BYTES);
        }
        g_array_set_size(disk->pending, 0);
    }
    return false;
}

static HookedVerdict before(void *opaque, const HookedCall *call,
                            GError **error)
{
    FuzzDisk *disk = opaque;
    bool fails = false;

    hooked_check(call, disk->bytes);
    if (call->kind == HOOKED_READ) {
        fails = fails_now(disk, &disk->fail_read, error);
    } else if (call->kind == HOOKED_WRITE) {
        fails = write_fails(disk, call, error);
    } else if (call->kind == HOOKED_FLUSH) {
        fails = flush_fails(disk, error);
    } else if (call->kind == HOOKED_GIVE_BACK) {
        check_zeros(disk->store, call->offset, call->bytes);
    }
    return fails ? HOOKED_FAIL : HOOKED_PASS;
}

static void after(void *opaque, const HookedCall *call)
{
    if (call->kind == HOOKED_WRITE) {
        note_taken(opaque, call);
    }
}

static uint64_t known_zero(void *opaque, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeros[FUZZ_SECTOR_BYTES];
    FuzzDisk *disk = opaque;
    uint64_t at = offset;

    FUZZ_CHECK(fuzz_disk_covers(disk, offset, bytes));
    while (disk->knows_zero && at + FUZZ_SECTOR_BYTES <= offset + bytes &&
           !memcmp(disk->data + at, zeros, FUZZ_SECTOR_BYTES)) {
        at += FUZZ_SECTOR_BYTES;
    }
    return at - offset;
}

static const Hooks hooks = {
    .before = before,
    .after = after,
    .known_zero = known_zero,
};

FuzzDisk *fuzz_disk_new(uint64_t bytes)
{
    FuzzDisk *disk = g_new0(FuzzDisk, 1);

    disk->memory = blob_storage_new_memory(bytes);
    disk->storage = hooked_storage_new(disk->memory, &hooks, disk);
    disk->data = blob_storage_memory(disk->memory);
    disk->bytes = bytes;
    return disk;
}

void fuzz_disk_free(FuzzDisk *disk)
{
    if (disk) {
        blob_storage_free(disk->storage);
        blob_storage_free(disk->memory);
        g_free(disk->durable);
        g_clear_pointer(&disk->pending, g_array_unref);
        g_free(disk);
    }
}

void fuzz_disk_track(FuzzDisk *disk)
{
    g_free(disk->durable);
    g_clear_pointer(&disk->pending, g_array_unref);
    disk->durable = g_memdup2(disk->data, disk->bytes);
    disk->pending = g_array_new(FALSE, FALSE, sizeof(Pending));
}

void fuzz_disk_resize(FuzzDisk *disk, uint64_t bytes)
{
    blob_storage_resize_memory(disk->memory, bytes);
    disk->data = blob_storage_memory(disk->memory);
    disk->bytes = bytes;
    if (disk->durable) {
        fuzz_disk_track(disk);
    }
}

/* Garbles @bytes around pending sector @n. */
static void garble(FuzzDisk *disk, guint n, size_t bytes)
{
    uint64_t at = g_array_index(disk->pending, Pending, n).offset;

    at -= at % bytes;
    bytes = MIN(bytes, disk->bytes - at);
    for (size_t i = 0; i < bytes; i++) {
        disk->data[at + i] = fuzz_random(&disk->random);
    }
}

void fuzz_disk_crash(FuzzDisk *disk, FuzzCrash crash)
{
    guint count = disk->pending->len;

    disk->fail_read = 0;
    disk->fail_write = 0;
    disk->cut = false;
    disk->failed = false;
    memcpy(disk->data, disk->durable, disk->bytes);
    for (guint i = 0; crash != FUZZ_CRASH_NONE && i < count; i++) {
        const Pending *sector = &g_array_index(disk->pending, Pending, i);

        if (crash == FUZZ_CRASH_ALL || fuzz_random(&disk->random) & 1) {
            memcpy(disk->data + sector->offset, sector->data,
                   FUZZ_SECTOR_BYTES);
        }
    }
    if (count && crash == FUZZ_CRASH_GARBLED_SECTOR) {
        garble(disk, fuzz_random(&disk->random) % count, FUZZ_SECTOR_BYTES);
    } else if (count && crash == FUZZ_CRASH_GARBLED_BLOCK) {
        garble(disk, fuzz_random(&disk->random) % count, BLOB_BLOCK_BYTES);
    }
    memcpy(disk->durable, disk->data, disk->bytes);
    g_array_set_size(disk->pending, 0);
}
