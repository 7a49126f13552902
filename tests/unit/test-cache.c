/*
 * Unit tests of the core: what a flush that failed has left in a cache (R16)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

/* The next write fails, and what it writes is in the cache only. */
static void fail_into_cache(TestDisk *disk)
{
    test_disk_hide_writes(disk);
    disk->fail_write = 0;
    disk->failing_write_lands = true;
}

static void write_in_vain(TestDisk *disk, BlobStore *store, const char *text)
{
    fail_into_cache(disk);
    test_write_fails(store, blob_store_find(store, "t", "a"), text,
                     BLOBSTORE_ERROR_IO, "*");
}

/* A medium with "one"; its cache shows "two", whose flush has failed. */
static TestDisk *doubtful_disk(void)
{
    TestDisk *disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    write_in_vain(disk, store, "two");
    test_disk_reset_counts(disk);
    return disk;
}

static void test_version_in_the_cache_only_is_not_adopted(void)
{
    g_autoptr(TestDisk) disk = doubtful_disk();
    g_autoptr(BlobStore) store = test_open(disk);

    g_assert_cmpuint(disk->drops, ==, 1);
    g_assert_cmpuint(disk->writes, ==, 0);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
}

static void test_opening_that_only_reads_shows_what_the_cache_has(void)
{
    g_autoptr(TestDisk) disk = doubtful_disk();
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
                                                 NULL);

    g_assert_cmpuint(disk->drops + disk->flushes, ==, 0);
    test_expect(store, blob_store_find(store, "t", "a"), "two");
}

static void test_opening_fails_if_the_cache_cannot_be_dropped(void)
{
    g_autoptr(TestDisk) disk = doubtful_disk();
    g_autoptr(BlobStore) store = NULL;

    disk->fail_flush = 0;
    test_open_fails(disk, NULL, BLOBSTORE_ERROR_IO, "*flush*");
    g_assert_cmpuint(disk->writes, ==, 0);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
}

static void make_and_close(TestDisk *disk)
{
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);

    test_close(store);
}

static void test_start_after_a_clean_close_drops_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    unsigned reads[2];
    unsigned flushes[2];

    make_and_close(disk);
    for (int i = 0; i < 2; i++) {
        g_autoptr(BlobStore) store = NULL;

        if (i == 1) {
            test_disk_hide_writes(disk);
        }
        test_disk_reset_counts(disk);
        store = test_store(disk, NULL, 1);
        reads[i] = disk->reads;
        flushes[i] = disk->flushes;
        test_close(store);
    }
    g_assert_cmpuint(disk->drops, ==, 0);
    g_assert_cmpuint(reads[0], ==, reads[1]);
    g_assert_cmpuint(flushes[0], ==, flushes[1]);
}

static void test_blank_medium_drops_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = NULL;

    test_disk_hide_writes(disk);
    store = test_store(disk, NULL, 1);
    g_assert_cmpuint(disk->drops, ==, 0);
}

/* The marker was not durable, so the next creation writes it again. */
static void test_creation_in_the_cache_only_begins_again(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);
    g_autoptr(GBytes) blank =
        g_bytes_new(test_disk_bytes(disk), test_disk_length(disk));

    test_register(store, "a", 1000);
    fail_into_cache(disk);
    test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    g_assert_cmpuint(disk->drops, ==, 1);
    g_assert_cmpmem(test_disk_bytes(disk), test_disk_length(disk),
                    g_bytes_get_data(blank, NULL), g_bytes_get_size(blank));
    test_start_with(store, NULL, 1);
}

/* A clean close whose first copy has failed is none. */
static void test_clean_close_in_the_cache_only_is_none(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_autoptr(GError) error = NULL;

    test_write(store, blob, "one");
    fail_into_cache(disk);
    g_assert_false(blob_store_close_clean(store, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    g_assert_cmpuint(disk->drops, ==, 1);
    g_assert_false(store->epoch.clean);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
}

static uint64_t first_write(TestDisk *disk)
{
    return g_array_index(disk->events, TestEvent, 0).offset;
}

/*
 * Nothing says whether the copy that was written last is durable, if no other
 * record came after it.  So the next process writes that copy first.
 */
static void check_order(TestDisk *disk, uint64_t follows)
{
    BlobStoreOptions options = { .follows.number = blob_sequence(follows, 0) };
    g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
                                                 NULL);
    const BlobPair *pair = &store->directory_pair;
    uint64_t second;

    test_start_with(store, NULL, 1);
    test_disk_record(disk);
    test_close(store);
    second = pair->offset + !(first_write(disk) != pair->offset) *
             pair->slot_bytes;
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    test_register(store, "a", 1000);
    test_disk_record(disk);
    test_start(store);
    /* The first event is the flush with which a start begins. */
    g_assert_null(g_array_index(disk->events, TestEvent, 0).data);
    g_assert_cmpuint(g_array_index(disk->events, TestEvent, 1).offset, ==,
                     second);
    test_close(store);
}

static void test_copy_that_was_written_last_is_the_next_to_be_written(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);

    make_and_close(disk);
    for (unsigned i = 0; i < 4; i++) {
        check_order(disk, 0);
        check_order(disk, 100 + 100 * i + i / 2);
    }
}

static bool count_unlocks(const BlobStoreLabel *label, void *opaque,
                          BlobKey **key, GError **error)
{
    ++*(unsigned *)opaque;
    *key = blob_key_ref(keys_data_key(1));
    return true;
}

static void test_key_is_asked_for_once(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    unsigned unlocks = 0;
    BlobStoreOptions options = { .unlock = count_unlocks, .opaque = &unlocks };

    test_write(store, blob, "one");
    write_in_vain(disk, store, "two");
    g_clear_pointer(&store, blob_store_free);
    store = blob_store_open(disk->storage, &options, NULL);
    g_assert_nonnull(store);
    g_assert_cmpuint(disk->drops, ==, 1);
    g_assert_cmpuint(unlocks, ==, 1);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
}

/* A secret that the cache alone lets in does not open the store. */
static void test_key_slot_in_the_cache_only_opens_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);

    fail_into_cache(disk);
    g_assert_false(keys_add_slot(store, 2, NULL));
    g_clear_pointer(&store, blob_store_free);
    keys_open_fails(disk, 2, BLOBSTORE_ERROR_KEY, "*");
    g_assert_cmpuint(disk->drops, ==, 1);
    store = keys_open(disk, 1);
    test_start_with(store, NULL, 1);
}

/* After a clean close the copies of the superblock are beyond doubt. */
static void test_clean_close_writes_a_superblock_that_failed(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);

    disk->fail_write = 1;
    disk->failing_write_lands = true;
    g_assert_false(keys_add_slot(store, 2, NULL));
    test_disk_record(disk);
    disk->fail_write = 0;
    g_assert_false(blob_store_close_clean(store, NULL));
    g_assert_cmpuint(first_write(disk), <, BLOB_DIRECTORY_OFFSET);
    test_close(store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cache/version",
                    test_version_in_the_cache_only_is_not_adopted);
    g_test_add_func("/cache/read-only",
                    test_opening_that_only_reads_shows_what_the_cache_has);
    g_test_add_func("/cache/flush-fails",
                    test_opening_fails_if_the_cache_cannot_be_dropped);
    g_test_add_func("/cache/clean",
                    test_start_after_a_clean_close_drops_nothing);
    g_test_add_func("/cache/blank", test_blank_medium_drops_nothing);
    g_test_add_func("/cache/creation",
                    test_creation_in_the_cache_only_begins_again);
    g_test_add_func("/cache/clean-close",
                    test_clean_close_in_the_cache_only_is_none);
    g_test_add_func("/cache/order",
                    test_copy_that_was_written_last_is_the_next_to_be_written);
    g_test_add_func("/cache/key", test_key_is_asked_for_once);
    g_test_add_func("/cache/key-slot",
                    test_key_slot_in_the_cache_only_opens_nothing);
    g_test_add_func("/cache/superblock",
                    test_clean_close_writes_a_superblock_that_failed);
    return g_test_run();
}
