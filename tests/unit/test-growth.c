/*
 * Unit tests of the core: growing, and the reuse of space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static void test_growth_moves_the_current_version(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    g_autofree char *text = g_strnfill(20000, 'g');
    BlobInfo before;
    BlobInfo after;

    test_write(store, blobs[0], "one");
    test_write(store, blobs[0], "two");
    test_write(store, blobs[1], "x");
    test_write(store, blobs[1], NULL);
    blob_get_info(blobs[0], &before);
    blobs[0] = test_register_again(store, "a", 20000);
    blobs[1] = test_register_again(store, "b", 20000);
    test_start(store);
    blob_get_info(blobs[0], &after);
    g_assert_cmpuint(after.slot[0].offset, !=, before.slot[0].offset);
    g_assert_cmpuint(after.slot[0].length, ==, blob_layout_slot_bytes(20000));
    g_assert_cmpuint(after.max_size, ==, 20000);
    g_assert_cmpuint(after.sequence, ==, before.sequence);
    test_expect(store, blobs[0], "two");
    test_expect(store, blobs[1], NULL);
    test_write(store, blobs[0], text);
    test_write(store, blobs[1], text);
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), text);
    test_expect(store, blob_store_find(store, "t", "b"), text);
}

static void test_growth_within_the_slot_moves_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint64_t offset = blob->entry.offset;

    test_write(store, blob, "one");
    blob = test_register_again(store, "a", 1001);
    test_start(store);
    g_assert_cmpuint(blob->entry.offset, ==, offset);
    g_assert_cmpuint(blob->entry.max_size, ==, 1001);
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    blob = blob_store_find(store, "t", "a");
    g_assert_cmpuint(blob->entry.max_size, ==, 1001);

    /* A smaller registration does not make the blob smaller. */
    blob = test_register(store, "a", 10);
    test_start(store);
    g_assert_cmpuint(blob->entry.max_size, ==, 1001);
    test_expect(store, blob, "one");
}

static void grown_or_not(TestDisk *crashed, unsigned events, void *opaque)
{
    g_autofree char *text = g_strnfill(20000, 'g');
    g_autoptr(BlobStore) store = test_open(crashed);
    Blob *blob = test_register(store, "a", 20000);

    test_expect(store, blob, "two");
    test_start(store);
    test_expect(store, blob, "two");
    test_write(store, blob, text);
    test_expect(store, blob, text);
}

static void test_growth_survives_power_loss_at_every_sector(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES / 4);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_write(store, blob, "two");
    test_register_again(store, "a", 20000);
    test_disk_record(disk);
    test_start(store);
    test_disk_each_crash(disk, grown_or_not, NULL);
}

/* The new space is no longer blank when the cut growth is repeated. */
static void test_growth_into_new_space_survives_power_loss(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(test_required_bytes(1, 1000));
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_write(store, blob, "two");
    test_register_again(store, "a", 20000);
    test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, "*too small*");
    test_disk_resize(disk, blob_store_required_bytes(store));
    test_disk_record(disk);
    test_start(store);
    test_disk_each_crash(disk, grown_or_not, NULL);
}

static void test_growth_refuses_new_space_that_is_not_blank(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(test_required_bytes(1, 1000));
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint64_t end = test_disk_length(disk);
    const uint64_t bytes = 100 * BLOB_BLOCK_BYTES;
    const uint64_t places[] = { 0, 70000, bytes - 1 };

    test_write(store, blob, "one");
    test_register_again(store, "a", 20000);
    test_disk_resize(disk, end + bytes);
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *message = g_strdup_printf(
            "*new space is not blank*at offset %" G_GUINT64_FORMAT,
            end + places[i]);

        test_disk_bytes(disk)[end + places[i]] = 1;
        test_disk_reset_counts(disk);
        test_start_fails(store, BLOBSTORE_ERROR_FOREIGN, message);
        g_assert_cmpuint(disk->writes, ==, 0);
        test_disk_bytes(disk)[end + places[i]] = 0;
    }
    disk->fail_read = 0;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "read failed as told");
    disk->fail_length = 0;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "length failed as told");
    test_start(store);
    test_expect(store, blob, "one");
}

/* Returns the maximum size of a blob whose two slots take @blocks. */
static uint64_t max_size_of(unsigned blocks)
{
    return blocks / 2 * BLOB_BLOCK_BYTES - 2 * BLOB_HEADER_BYTES -
           BLOB_METADATA_MAX_BYTES;
}

static void register_all(BlobStore *store, char first, const unsigned *blocks,
                         unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[] = { first + i, '\0' };

        test_register(store, name, max_size_of(blocks[i]));
    }
}

/*
 * The record of the new capacity releases the space between two holes.  The
 * first new blob then takes the one hole, which would have been enough for two
 * others.
 */
static void test_released_space_may_make_more_necessary(void)
{
    static const unsigned old[] = { 8, 4, 10, 16 };
    static const unsigned new[] = { 16, 8, 10, 12, 16 };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);
    uint64_t required;

    register_all(store, 'a', old, G_N_ELEMENTS(old));
    test_disk_resize(disk, blob_store_required_bytes(store));
    test_start(store);
    blob_store_unregister(store, blob_store_find(store, "t", "a"));
    blob_store_unregister(store, blob_store_find(store, "t", "c"));
    test_close(store);
    test_start(store);
    blob_store_unregister(store, blob_store_find(store, "t", "b"));
    register_all(store, 'e', new, G_N_ELEMENTS(new));
    required = blob_store_required_bytes(store);
    test_disk_resize(disk, required);
    test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, "*too small*");
    g_assert_cmpuint(blob_store_required_bytes(store), ==,
                     required + 2 * BLOB_BLOCK_BYTES);
    test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, "*too small*");
    test_disk_resize(disk, required + 2 * BLOB_BLOCK_BYTES);
    test_start(store);
    test_close(store);
}

/*
 * The directory that a process failed to write, which names the new extent,
 * lands when the next process has read the one before.
 */
static void test_directory_that_lands_late_loses_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    GError *error = NULL;

    test_write(store, blob, "one");
    test_write(store, blob, "two");
    test_close(store);
    test_register_again(store, "a", 20000);
    disk->fail_write = 1;       /* behind the copy of the version */
    disk->failing_write_is_late = true;
    g_assert_false(blob_store_start(store, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
    disk->fail_write = TEST_NEVER;
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    test_register(store, "a", 20000);
    test_disk_record(disk);
    test_start(store);
    test_disk_each_crash(disk, grown_or_not, NULL);
}

/* A copy that failed and lands late must not hit what takes its place. */
static void test_copy_that_lands_late_hits_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);

    test_write2(store, blobs[0], "one", blobs[1], "two");
    test_register_again(store, "b", 20000);
    disk->failing_write_is_late = true;
    disk->fail_write = 0;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "write failed as told");
    test_register_again(store, "b", 1000);
    test_register_again(store, "a", 20000);
    test_start(store);
    test_expect(store, blobs[0], "one");
    test_expect(store, blobs[1], "two");
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
    test_expect(store, blob_store_find(store, "t", "b"), "two");
}

/* Each read, write and flush of a start fails once. */
static void test_growth_that_failed_anywhere_can_be_repeated(void)
{
    bool failed = true;

    for (int kind = 0; kind < 3; kind++) {
        for (int n = 0; n == 0 || failed; n++) {
            g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
            Blob *blobs[2];
            g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
            g_autoptr(GError) error = NULL;
            BlobStoreStatus info;

            test_write(store, blobs[0], "a");
            test_write(store, blobs[1], "b");
            test_register_again(store, "a", 20000);
            test_register_again(store, "b", 30000);
            disk->fail_read = kind == 0 ? n : TEST_NEVER;
            disk->fail_write = kind == 1 ? n : TEST_NEVER;
            disk->fail_flush = kind == 2 ? n : TEST_NEVER;
            failed = !blob_store_start(store, &error);
            if (failed) {
                g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO);
                test_register_again(store, "a", 500);
                test_register_again(store, "b", 500);
                test_write(store, blobs[0], "a2");
                test_expect(store, blobs[1], "b");
            }
            disk->fail_read = disk->fail_write = disk->fail_flush =
                TEST_NEVER;
            test_register_again(store, "a", 20000);
            test_register_again(store, "b", 30000);
            test_start(store);
            test_expect(store, blobs[0], failed ? "a2" : "a");
            test_expect(store, blobs[1], "b");
            /* No extent is lost on the way. */
            blob_store_get_status(store, &info);
            g_assert_cmpuint(info.capacity - info.free, ==,
                             store->super.data_offset +
                             2 * blob_layout_slot_bytes(20000) +
                             2 * blob_layout_slot_bytes(30000));
        }
    }
}

static void test_growth_of_a_blob_that_cannot_be_read_fails(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_slot(disk, blob, 0)[BLOB_HEADER_BYTES] ^= 1;
    test_register_again(store, "a", 20000);
    test_start_fails(store, BLOBSTORE_ERROR_DAMAGED, "blob 't/a' is damaged*");
    test_start_fails(store, BLOBSTORE_ERROR_DAMAGED, "blob 't/a' is damaged*");
}

/* R12 */
static void test_extent_is_reused_only_when_no_directory_names_it(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint64_t old = blobs[0]->entry.offset;

    test_write(store, blobs[0], "one");
    test_write(store, blobs[0], NULL);
    blob_store_unregister(store, blobs[0]);
    /* The directories still name it. */
    g_assert_cmpuint(test_register(store, "c", 1000)->entry.slot_bytes, ==, 0);
    test_start(store);
    g_assert_cmpuint(blob_store_find(store, "t", "c")->entry.offset, !=, old);
    g_assert_null(blob_store_find(store, "t", "a"));
    /* Now the directories do not name it. */
    test_register(store, "d", 1000);
    test_start(store);
    g_assert_cmpuint(blob_store_find(store, "t", "d")->entry.offset, ==, old);
    test_write(store, blob_store_find(store, "t", "d"), "new");
    g_assert_cmpuint(blob_store_find(store, "t", "d")->entry.id, ==, 19);
}

/* R12: until the record is durable, a crash leads back to the old extents. */
static void test_extent_that_is_being_left_is_not_reused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);
    Blob *a = test_register(store, "a", 20000);
    Blob *b = test_register(store, "b", 1000);
    uint64_t start;
    uint64_t end;

    test_start(store);
    test_write2(store, a, "one", b, "two");
    start = a->entry.offset;
    end = start + 2 * a->entry.slot_bytes;
    /* The extent that @a leaves would be large enough for @b. */
    a = test_register_again(store, "a", 40000);
    b = test_register_again(store, "b", 20000);
    test_start(store);
    g_assert_cmpuint(a->entry.offset, >=, end);
    g_assert_true(b->entry.offset >= end ||
                  b->entry.offset + 2 * b->entry.slot_bytes <= start);
    test_expect(store, a, "one");
    test_expect(store, b, "two");
}

/*
 * R12: a write of the directory was cut short, and one copy still names the
 * extent that a blob has left.  If the other copy is damaged then, nothing may
 * be missing.
 */
static void test_extent_named_by_one_copy_only_is_not_reused(void)
{
    for (int n = 0; n < 5; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) store = test_open(disk);
        Blob *a = test_register(store, "a", 20000);
        Blob *b = test_register(store, "b", 1000);
        BlobSlot current;

        test_start(store);
        test_write(store, a, "a");
        test_write(store, b, "b");
        test_register_again(store, "a", 40000);
        disk->fail_write = 2;   /* the copy, one directory, not the other */
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
        blob_store_free(store);

        /* Now "b" fits where "a" was. */
        store = test_open(disk);
        g_assert_false(blob_pair_is_whole(&store->directory_pair));
        current = blob_pair_slot(&store->directory_pair,
                                 blob_pair_current(&store->directory_pair));
        test_register(store, "b", 20000);
        disk->fail_write = n;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
        blob_store_free(store);
        memset(test_disk_bytes(disk) + current.offset, 0, BLOB_BLOCK_BYTES);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), "a");
        test_expect(store, blob_store_find(store, "t", "b"), "b");
    }
}

/*
 * R12: an extent that a failed start may have left in a directory stays taken.
 */
static void test_start_that_failed_twice_gives_no_extent_away(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 1);
    BlobStoreStatus before;
    BlobStoreStatus after;

    blob_store_get_status(store, &before);
    blobs[1] = test_register(store, "b", 1000);
    disk->fail_write = 0;       /* the directory that names it */
    test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    disk->fail_write = 2;       /* again, after one without it */
    test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    test_start(store);
    blob_store_get_status(store, &after);
    g_assert_cmpuint(after.free + 2 * blobs[1]->entry.slot_bytes, ==,
                     before.free);
}

/*
 * The extent is taken only for a while: the medium need not grow because of
 * it.
 */
static void test_start_that_failed_can_be_repeated_in_the_space_it_asked_for(
    void)
{
    for (int n = 0; n < 4; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_open(disk);
        BlobStoreStatus before;
        BlobStoreStatus after;

        test_register(store, "a", 1000);
        test_disk_resize(disk, blob_store_required_bytes(store));
        test_start(store);
        blob_store_get_status(store, &before);
        blob = test_register(store, "b", 1000);
        test_disk_resize(disk, blob_store_required_bytes(store));
        disk->fail_write = n;   /* the new capacity is recorded first */
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
        blob_store_get_status(store, &after);
        g_assert_cmpuint(after.capacity, ==, n < 2 ? before.capacity
                                                   : test_disk_length(disk));
        test_start(store);
        test_write(store, blob, "b");
        blob_store_get_status(store, &after);
        g_assert_cmpuint(after.free, ==, 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/growth/" #name, test_##name)
    ADD(growth_moves_the_current_version);
    ADD(growth_within_the_slot_moves_nothing);
    ADD(growth_survives_power_loss_at_every_sector);
    ADD(growth_into_new_space_survives_power_loss);
    ADD(growth_refuses_new_space_that_is_not_blank);
    ADD(released_space_may_make_more_necessary);
    ADD(copy_that_lands_late_hits_nothing);
    ADD(directory_that_lands_late_loses_nothing);
    ADD(growth_that_failed_anywhere_can_be_repeated);
    ADD(growth_of_a_blob_that_cannot_be_read_fails);
    ADD(extent_is_reused_only_when_no_directory_names_it);
    ADD(extent_that_is_being_left_is_not_reused);
    ADD(extent_named_by_one_copy_only_is_not_reused);
    ADD(start_that_failed_twice_gives_no_extent_away);
    ADD(start_that_failed_can_be_repeated_in_the_space_it_asked_for);
    return g_test_run();
}
