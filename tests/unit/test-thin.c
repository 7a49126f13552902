/*
 * Unit tests of the core: only what held something is zeroed, so that a thin
 * medium stays thin
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

#include <string.h>
#include "hooked.h"

enum {
    BLOBS = 2,
    JUNK_BYTES = 2 * BLOB_BLOCK_BYTES + 10, /* A hole is looked for in steps. */
};

static bool is_zero(const uint8_t *bytes, size_t count)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, count - 1);
}

/*
 * Returns how many blocks were zeroed since recording began.  Each of them must
 * have held something.
 */
static unsigned count_zeroed(const TestDisk *disk)
{
    g_autofree uint8_t *medium = g_memdup2(disk->start,
                                           test_disk_length(disk));
    unsigned zeroed = 0;

    for (guint i = 0; i < disk->events->len; i++) {
        const TestEvent *event = &g_array_index(disk->events, TestEvent, i);

        if (!event->data) {
            continue;
        }
        for (size_t at = 0; is_zero(event->data, event->bytes) &&
             at < event->bytes; at += BLOB_BLOCK_BYTES) {
            g_assert_false(is_zero(medium + event->offset + at,
                                   MIN(event->bytes - at, BLOB_BLOCK_BYTES)));
            zeroed++;
        }
        memcpy(medium + event->offset, event->data, event->bytes);
    }
    return zeroed;
}

/* A store with two versions of each blob, and junk in its free space */
static BlobStore *make_store(TestDisk *disk, const Way *way,
                             Blob *blobs[BLOBS], uint64_t *junk)
{
    BlobStore *store = conversion_store(disk, way, blobs, BLOBS);
    uint64_t bytes;

    for (unsigned n = 0; n < 2 * BLOBS; n++) {
        test_write(store, blobs[n % BLOBS], "old content");
    }
    g_assert_true(blob_space_nth(store->space, 0, junk, &bytes));
    g_assert_cmpuint(bytes, >, 8 * BLOB_BLOCK_BYTES);
    *junk += 3 * BLOB_BLOCK_BYTES;
    memset(test_disk_bytes(disk) + *junk, 'o', JUNK_BYTES);
    test_disk_record(disk);
    return store;
}

static void test_conversion_zeroes_only_what_held_something(
    gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[BLOBS];
    uint64_t junk;
    g_autoptr(BlobStore) store = make_store(disk, way, blobs, &junk);

    g_assert_true(conversion_run(store, way, NULL));
    g_assert_cmpuint(count_zeroed(disk), >=, BLOBS + 2);
    g_assert_true(is_zero(test_disk_bytes(disk) + junk, JUNK_BYTES));
}

typedef struct GivenBack {
    TestDisk *disk;
    const Blob *const *blobs;
    uint64_t bytes;
} GivenBack;

/* What is given back has been zeroed, durably, and no blob is there. */
static HookedVerdict note_given_back(void *opaque, const HookedCall *call,
                                     GError **error)
{
    GivenBack *given = opaque;
    const GArray *events = given->disk->events;

    if (call->kind != HOOKED_GIVE_BACK) {
        return HOOKED_PASS;
    }
    g_assert_null(g_array_index(events, TestEvent, events->len - 1).data);
    g_assert_true(is_zero(test_disk_bytes(given->disk) + call->offset,
                          call->bytes));
    for (unsigned n = 0; n < BLOBS; n++) {
        const BlobEntry *entry = &given->blobs[n]->entry;

        g_assert_true(entry->offset + 2 * entry->slot_bytes <= call->offset ||
                      entry->offset >= call->offset + call->bytes);
    }
    given->bytes += call->bytes;
    return HOOKED_PASS;
}

static void test_free_space_is_given_back_at_the_end(gconstpointer opaque)
{
    static const Hooks hooks = { .before = note_given_back };
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[BLOBS];
    GivenBack given = { disk, (const Blob *const *)blobs };
    g_autoptr(BlobStorage) storage = hooked_storage_new(disk->storage, &hooks,
                                                        &given);
    uint64_t junk;
    g_autoptr(BlobStore) store = make_store(disk, way, blobs, &junk);

    store->medium.storage = storage;
    g_assert_true(conversion_run(store, way, NULL));
    g_assert_cmpuint(given.bytes, >, 0);
    g_assert_cmpuint(given.bytes, ==, blob_space_free_bytes(store->space));
}

static uint64_t known_zero(void *opaque, uint64_t offset, uint64_t bytes)
{
    const uint8_t *medium = test_disk_bytes(opaque);
    uint64_t known = 0;

    while (known < bytes && !medium[offset + known]) {
        known++;
    }
    return known;
}

/* What is read proves nothing any more then, but what is a hole is one. */
static void test_holes_stay_holes_after_a_write_has_failed(
    gconstpointer opaque)
{
    static const Hooks hooks = { .known_zero = known_zero };
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStorage) thin = hooked_storage_new(disk->storage, &hooks,
                                                     disk);
    Blob *blobs[BLOBS];
    uint64_t junk;
    g_autoptr(BlobStore) store = make_store(disk, way, blobs, &junk);

    disk->fail_write = 0;
    test_write_fails(store, blobs[0], "new", BLOBSTORE_ERROR_IO, "*");
    disk->fail_write = TEST_NEVER;
    store->medium.storage = thin;
    g_assert_true(conversion_run(store, way, NULL));
    g_assert_cmpuint(count_zeroed(disk), >=, BLOBS + 2);
    g_assert_true(is_zero(test_disk_bytes(disk) + junk, JUNK_BYTES));
}

static void test_what_cannot_be_read_is_zeroed(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[BLOBS];
    uint64_t junk;
    g_autoptr(BlobStore) store = make_store(disk, way, blobs, &junk);

    disk->bad_offset = junk;
    disk->bad_bytes = TEST_SECTOR_BYTES;
    g_assert_true(conversion_run(store, way, NULL));
    g_assert_cmpuint(disk->bad_bytes, ==, 0);
    g_assert_true(is_zero(test_disk_bytes(disk) + junk, JUNK_BYTES));
}

static void test_delete_zeroes_only_what_held_something(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 0);
    Blob *blob = test_register(store, "a", 10 * BLOB_BLOCK_BYTES);

    test_start(store);
    test_write(store, blob, "one");
    test_write(store, blob, "two");
    test_disk_record(disk);
    test_write(store, blob, NULL);
    /* "two"; where "one" was is the tombstone, of the same two blocks. */
    g_assert_cmpuint(count_zeroed(disk), ==, 2);
}

/*
 * Zeros that a failed flush has not written are still in the cache, and would
 * be read from there.
 */
static void test_zeros_of_a_failed_flush_are_written_again(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = keys_store(disk, blobs, BLOBS);
    const uint8_t *zeroed;
    unsigned writes = 0;

    test_write(store, blobs[0], "one");
    test_write(store, blobs[0], "two");
    zeroed = test_slot(disk, blobs[0], blobs[0]->entry.slot);
    test_disk_record(disk);
    disk->fail_flush = 0;
    test_write(store, blobs[0], NULL);
    g_assert_cmpint(disk->fail_flush, ==, TEST_NEVER);
    g_assert_true(store->unwiped);
    g_assert_true(is_zero(zeroed, BLOB_BLOCK_BYTES));
    test_disk_record(disk);
    test_write(store, blobs[1], "other");
    g_assert_false(store->unwiped);
    for (guint i = 0; i < disk->events->len; i++) {
        const TestEvent *event = &g_array_index(disk->events, TestEvent, i);
        const uint8_t *at = test_disk_bytes(disk) + event->offset;

        writes += event->data && is_zero(event->data, event->bytes) &&
                  at <= zeroed && zeroed < at + event->bytes;
    }
    g_assert_cmpuint(writes, ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < CONVERSION_WAYS; i++) {
#define ADD_WAY(test) do {                                                 \
        g_autofree char *path = g_strdup_printf("/thin/%s/" #test,         \
                                                conversion_ways[i].name);  \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(conversion_zeroes_only_what_held_something);
        ADD_WAY(free_space_is_given_back_at_the_end);
        ADD_WAY(holes_stay_holes_after_a_write_has_failed);
        ADD_WAY(what_cannot_be_read_is_zeroed);
    }
    g_test_add_func("/thin/delete_zeroes_only_what_held_something",
                    test_delete_zeroes_only_what_held_something);
    g_test_add_func("/thin/zeros_of_a_failed_flush_are_written_again",
                    test_zeros_of_a_failed_flush_are_written_again);
    return g_test_run();
}
