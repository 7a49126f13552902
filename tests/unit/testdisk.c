/*
 * A medium that fails, counts, records and crashes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "testdisk.h"

#include <stdlib.h>
#include <string.h>
#include "hooked.h"

enum {
    EXHAUSTIVE_SECTORS = 7,     /* all subsets of at most so many */
    RANDOM_SUBSETS = 60,
};

static bool fails_now(int *countdown, const char *what, GError **error)
{
    if (*countdown == TEST_NEVER || (*countdown)-- > 0) {
        return false;
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                "%s failed as told", what);
    return true;
}

/* Returns whether the range has a bad sector, which a write makes good. */
static bool is_bad(const TestDisk *disk, const HookedCall *call,
                   GError **error)
{
    if (!disk->bad_bytes ||
        call->offset >= disk->bad_offset + disk->bad_bytes ||
        call->offset + call->bytes <= disk->bad_offset) {
        return false;
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                "sector is bad");
    return true;
}

static bool read_fails(TestDisk *disk, const HookedCall *call, GError **error)
{
    disk->reads++;
    disk->bytes_read += call->bytes;
    disk->highest_read = MAX(disk->highest_read, call->offset + call->bytes);
    return fails_now(&disk->fail_read, "read", error) ||
           is_bad(disk, call, error);
}

static void record(TestDisk *disk, uint64_t offset, const void *buf,
                   size_t bytes)
{
    TestEvent event = { offset, bytes, buf ? g_memdup2(buf, bytes) : NULL };

    if (disk->start) {
        g_array_append_val(disk->events, event);
    } else {
        g_free(event.data);
    }
}

/* Notes that a write has reached the medium. */
static void note_landed(TestDisk *disk, const HookedCall *call)
{
    record(disk, call->offset, call->data, call->bytes);
    if (call->offset <= disk->bad_offset &&
        call->offset + call->bytes >= disk->bad_offset + disk->bad_bytes) {
        disk->bad_bytes = 0;
    }
}

static bool write_fails(TestDisk *disk, const HookedCall *call, GError **error)
{
    disk->writes++;
    disk->durable_writes += call->durable;
    if (!fails_now(&disk->fail_write, "write", error)) {
        return false;
    }
    if (disk->failing_write_lands) {
        memcpy(test_disk_bytes(disk) + call->offset, call->data, call->bytes);
        note_landed(disk, call);
    }
    if (disk->failing_write_is_late) {
        g_free(disk->late.data);
        disk->late = (TestEvent) {
            call->offset, call->bytes, g_memdup2(call->data, call->bytes),
        };
    }
    return true;
}

static bool flush_fails(TestDisk *disk, GError **error)
{
    disk->flushes++;
    if (fails_now(&disk->fail_flush, "flush", error)) {
        return true;
    }
    if (disk->late.data) {
        memcpy(test_disk_bytes(disk) + disk->late.offset, disk->late.data,
               disk->late.bytes);
        record(disk, disk->late.offset, disk->late.data, disk->late.bytes);
        g_clear_pointer(&disk->late.data, g_free);
    }
    return false;
}

static bool fails(TestDisk *disk, const HookedCall *call, GError **error)
{
    switch (call->kind) {
    case HOOKED_LENGTH:
        return fails_now(&disk->fail_length, "length", error);
    case HOOKED_READ:
        return read_fails(disk, call, error);
    case HOOKED_WRITE:
        return write_fails(disk, call, error);
    case HOOKED_GIVE_BACK:
        return false;
    default:
        return flush_fails(disk, error);
    }
}

static HookedVerdict before(void *opaque, const HookedCall *call,
                            GError **error)
{
    TestDisk *disk = opaque;

    hooked_check(call, test_disk_length(disk));
    return fails(disk, call, error) ? HOOKED_FAIL : HOOKED_PASS;
}

static void after(void *opaque, const HookedCall *call)
{
    TestDisk *disk = opaque;

    if (call->kind == HOOKED_LENGTH && disk->shrinks_to) {
        test_disk_resize(disk, disk->shrinks_to);
        disk->shrinks_to = 0;
    }
    if (call->kind == HOOKED_WRITE) {
        note_landed(disk, call);
    }
    if (call->kind == HOOKED_FLUSH || call->durable) {
        record(disk, 0, NULL, 0);
    }
}

static bool drop_cache(void *opaque, GError **error)
{
    TestDisk *disk = opaque;

    if (!disk->storage->ops->flush(disk->storage, error)) {
        return false;
    }
    disk->drops++;
    if (disk->behind) {
        memcpy(test_disk_bytes(disk), disk->behind, test_disk_length(disk));
        g_clear_pointer(&disk->behind, g_free);
    }
    return true;
}

static const Hooks hooks = { .before = before, .after = after };

static const Hooks cached_hooks = {
    .before = before,
    .after = after,
    .drop_cache = drop_cache,
};

static void clear_event(gpointer data)
{
    g_free(((TestEvent *)data)->data);
}

TestDisk *test_disk_new(uint64_t bytes)
{
    TestDisk *disk = g_new0(TestDisk, 1);

    disk->memory = blob_storage_new_memory(bytes);
    disk->storage = hooked_storage_new(disk->memory, &hooks, disk);
    disk->fail_length = TEST_NEVER;
    disk->fail_read = TEST_NEVER;
    disk->fail_write = TEST_NEVER;
    disk->fail_flush = TEST_NEVER;
    disk->events = g_array_new(FALSE, FALSE, sizeof(TestEvent));
    g_array_set_clear_func(disk->events, clear_event);
    return disk;
}

TestDisk *test_disk_clone(const TestDisk *disk)
{
    TestDisk *clone = test_disk_new(test_disk_length(disk));

    memcpy(test_disk_bytes(clone), test_disk_bytes(disk),
           test_disk_length(disk));
    return clone;
}

void test_disk_free(TestDisk *disk)
{
    if (disk) {
        blob_storage_free(disk->uncached);
        blob_storage_free(disk->storage);
        blob_storage_free(disk->memory);
        g_array_unref(disk->events);
        g_free(disk->late.data);
        g_free(disk->behind);
        g_free(disk->start);
        g_free(disk);
    }
}

uint8_t *test_disk_bytes(const TestDisk *disk)
{
    return blob_storage_memory(disk->memory);
}

void test_disk_hide_writes(TestDisk *disk)
{
    if (!disk->uncached) {
        disk->uncached = disk->storage;
        disk->storage = hooked_storage_new(disk->memory, &cached_hooks, disk);
    }
    g_free(disk->behind);
    disk->behind = g_memdup2(test_disk_bytes(disk), test_disk_length(disk));
}

uint64_t test_disk_length(const TestDisk *disk)
{
    uint64_t bytes;

    g_assert_true(disk->memory->ops->length(disk->memory, &bytes, NULL));
    return bytes;
}

void test_disk_resize(TestDisk *disk, uint64_t bytes)
{
    blob_storage_resize_memory(disk->memory, bytes);
}

void test_disk_reset_counts(TestDisk *disk)
{
    disk->reads = 0;
    disk->bytes_read = 0;
    disk->writes = 0;
    disk->durable_writes = 0;
    disk->flushes = 0;
    disk->highest_read = 0;
}

void test_disk_record(TestDisk *disk)
{
    g_free(disk->start);
    disk->start = g_memdup2(test_disk_bytes(disk), test_disk_length(disk));
    g_array_set_size(disk->events, 0);
}

/* A sector that has yet to reach the medium, and would change it */
typedef struct Sector {
    uint64_t offset;
    const uint8_t *data;
} Sector;

/*
 * Makes @medium the state that is durable after @events events, and lists the
 * rest.
 */
static GArray *replay(const TestDisk *disk, unsigned events, uint8_t *medium)
{
    GArray *sectors = g_array_new(FALSE, FALSE, sizeof(Sector));
    unsigned durable = 0;

    memcpy(medium, disk->start, test_disk_length(disk));
    for (unsigned i = 0; i < events; i++) {
        if (!g_array_index(disk->events, TestEvent, i).data) {
            durable = i + 1;
        }
    }
    for (unsigned i = 0; i < events; i++) {
        const TestEvent *event = &g_array_index(disk->events, TestEvent, i);

        if (i < durable && event->data) {
            memcpy(medium + event->offset, event->data, event->bytes);
            continue;
        }
        for (size_t at = 0; event->data && at < event->bytes;
             at += TEST_SECTOR_BYTES) {
            Sector sector = { event->offset + at, event->data + at };

            if (memcmp(medium + sector.offset, sector.data,
                       TEST_SECTOR_BYTES)) {
                g_array_append_val(sectors, sector);
            }
        }
    }
    return sectors;
}

/*
 * Checks @medium with the sectors in @mask, of which @garbled is torn (or -1).
 */
static void check_one(const TestDisk *disk, unsigned events,
                      const uint8_t *medium, const GArray *sectors,
                      uint64_t mask, int garbled, TestCrashCheck *check,
                      void *opaque)
{
    g_autoptr(TestDisk) crashed = test_disk_new(test_disk_length(disk));
    uint8_t *bytes = test_disk_bytes(crashed);

    memcpy(bytes, medium, test_disk_length(disk));
    for (guint i = 0; i < sectors->len; i++) {
        const Sector *sector = &g_array_index(sectors, Sector, i);

        if (mask >> (i % 64) & 1) {
            memcpy(bytes + sector->offset, sector->data, TEST_SECTOR_BYTES);
        }
        if (garbled == i) {
            memset(bytes + sector->offset + 100, 0xe5, 300);
        }
    }
    check(crashed, events, opaque);
}

void test_disk_each_crash(const TestDisk *disk, TestCrashCheck *check,
                          void *opaque)
{
    g_autofree uint8_t *medium = g_malloc(test_disk_length(disk));
    GRand *random = test_random();

    for (unsigned events = 0; events <= disk->events->len; events++) {
        g_autoptr(GArray) sectors = replay(disk, events, medium);
        bool all = sectors->len <= EXHAUSTIVE_SECTORS;
        unsigned subsets = all ? 1 << sectors->len
                               : RANDOM_SUBSETS * test_effort();

        for (unsigned n = 0; n < subsets; n++) {
            uint64_t mask = (uint64_t)g_rand_int(random) << 32 |
                            g_rand_int(random);

            check_one(disk, events, medium, sectors, all ? n : mask, -1,
                      check, opaque);
        }
        for (guint i = 0; i < sectors->len; i++) {
            check_one(disk, events, medium, sectors,
                      (uint64_t)g_rand_int(random) << 32 |
                      g_rand_int(random), i, check, opaque);
        }
    }
    g_rand_free(random);
}

unsigned test_effort(void)
{
    const char *effort = g_getenv("EFFORT");

    return effort ? MAX(1, atoi(effort)) : 1;
}

GRand *test_random(void)
{
    const char *given = g_getenv("SEED");
    guint32 seed = given ? g_ascii_strtoull(given, NULL, 0) : g_random_int();

    g_test_message("SEED=%u", seed);
    return g_rand_new_with_seed(seed);
}
