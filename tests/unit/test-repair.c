/*
 * Unit tests of the core: a damaged blob falls back, or is given up
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static void test_fall_back_serves_the_older_version(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    g_autoptr(GError) error = NULL;

    test_garble_current(disk, store, "a");
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
    g_assert_true(blob_store_fall_back(store, blob_store_find(store, "t", "a"),
                                       &error));
    test_expect(store, blob_store_find(store, "t", "a"), "old a");
    test_expect_findings(store, "");
    for (unsigned round = 0; round < 2; round++) {
        Blob *blob;

        blob_store_free(store);
        store = test_open(disk);
        test_expect_findings(store, "");
        blob = test_register(store, "a", 1000);
        test_expect(store, blob, round ? "newer a" : "old a");
        test_expect(store, blob_store_find(store, "t", "b"), "new b");
        test_start(store);
        test_write(store, blob, "newer a");
    }
}

/* R9: from then on, the version that was restored counts as acknowledged. */
static void test_fall_back_is_in_the_census(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    Blob *b;

    test_garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    g_assert_true(blob_store_fall_back(store, a, NULL));
    b = test_register(store, "b", 1000);
    test_start(store);
    test_write(store, b, "newer b");
    test_write(store, b, "newest b");
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "old a");
    test_expect(store, blob_store_find(store, "t", "b"), "newest b");
}

/* Recovery found the blob lost, and both of its slots hold an older version. */
static void test_fall_back_takes_the_newer_of_two(void)
{
    for (unsigned n = 0; n < 2; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blobs[2];
        g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
        g_autofree uint8_t *older = NULL;
        unsigned slot;

        for (unsigned i = 0; i < 3 + n; i++) {
            g_autofree char *text = g_strdup_printf("version %u", i);

            test_write(store, blobs[0], text);
        }
        /*
         * The test later restores the current content of the slot that is
         * written next.
         */
        slot = !blobs[0]->entry.slot;
        older = g_memdup2(test_slot(disk, blobs[0], slot),
                          blobs[0]->entry.slot_bytes);
        test_write(store, blobs[0], "lost");
        test_write(store, blobs[1], "confirms it");
        memcpy(test_slot(disk, blobs[0], slot), older,
               blobs[0]->entry.slot_bytes);
        blob_store_free(store);
        store = test_open(disk);
        blobs[0] = blob_store_find(store, "t", "a");
        test_expect_damaged(store, blobs[0]);
        g_assert_true(blob_store_fall_back(store, blobs[0], NULL));
        test_expect(store, blobs[0], n ? "version 3" : "version 2");
    }
}

static void test_fall_back_that_fails_changes_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    g_autoptr(GError) error = NULL;

    test_garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    disk->fail_write = 0;
    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
    test_expect_damaged(store, a);
    for (int n = 0; n < 3; n++) {
        disk->fail_read = n;
        g_assert_false(blob_store_fall_back(store, a, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
    }
    disk->fail_read = TEST_NEVER;
    test_expect_damaged(store, a);
    g_assert_true(blob_store_fall_back(store, a, &error));
    test_expect(store, a, "old a");
}

/*
 * Another process has failed to write to where the older version is, and that
 * lands with the next flush.  What the store falls back to must stay.
 */
static void test_fall_back_is_not_written_over(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) other = test_store(disk, &blob, 1);
    g_autoptr(BlobStore) store = NULL;
    g_autoptr(GError) error = NULL;

    test_write(other, blob, "one");
    test_write(other, blob, "two");
    test_close(other);                  /* "two" is on record. */
    blob_store_free(other);
    other = test_store(disk, &blob, 1);
    test_garble_current(disk, other, "a");
    store = test_open(disk);
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
    disk->fail_write = 0;
    disk->failing_write_is_late = true;
    test_write_fails(other, blob, "three", BLOBSTORE_ERROR_IO, "*");
    g_assert_false(blob_store_fall_back(store, blob_store_find(store, "t", "a"),
                                        &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED, "*no older version*");
}

/* A deletion in the past is no content to fall back to. */
static void test_fall_back_needs_content(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[1];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 1);
    BlobChange change = { .blob = blobs[0] };
    g_autoptr(GError) error = NULL;

    test_write(store, blobs[0], "deleted");
    g_assert_true(blob_store_write(store, &change, 1, NULL));
    test_write(store, blobs[0], "lost");
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    test_garble_current(disk, store, "a");
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
    g_assert_false(blob_store_fall_back(store, blob_store_find(store, "t", "a"),
                                        &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED, "*no older version*");
}

/* No store writes sequence 0; a forged slot is no older version either. */
static void test_fall_back_does_not_believe_sequence_zero(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    BlobSlot older = blob_slot_of(a, !a->entry.slot);
    BlobHeader header = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_true(blob_slot_write(&store->medium, store->guard, &older,
                                  &header, NULL, true, NULL));
    test_garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED, "*no older version*");
}

static void test_fall_back_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(GError) error = NULL;

    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*'t/a' is not damaged");
    test_garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    test_register(store, "a", 1000);
    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*'t/a' is in use");

    memset(test_slot(disk, a, 0), 0, 2 * a->entry.slot_bytes);
    blob_store_free(store);
    store = test_open(disk);
    a = blob_store_find(store, "t", "a");
    test_expect_damaged(store, a);
    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED, "*no older version*");

    blob_store_free(store);
    store = blob_store_open(disk->storage, &options, &error);
    g_assert_no_error(error);
    a = blob_store_find(store, "t", "a");
    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY, "*");
}

static void expect_older(BlobStore *store, const Blob *blob, bool found,
                         uint64_t sequence, uint64_t size)
{
    BlobOlder older;

    g_assert_true(blob_store_find_older(store, blob, &older, NULL));
    g_assert_true(older.found == found);
    g_assert_cmpuint(older.sequence, ==, sequence);
    g_assert_cmpuint(older.size, ==, size);
}

/* What falling back gives can be seen before. */
static void test_older_version_is_shown(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    BlobOlder older;

    test_garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    test_disk_reset_counts(disk);
    g_assert_true(blob_store_find_older(store, a, &older, NULL));
    g_assert_cmpuint(disk->writes, ==, 0);
    g_assert_cmpuint(older.sequence, <, a->entry.sequence);
    expect_older(store, a, true, older.sequence, strlen("old a"));
    g_assert_true(blob_store_fall_back(store, a, NULL));
    g_assert_cmpuint(a->entry.sequence, ==, older.sequence);

    test_slot(disk, a, !a->entry.slot)[BLOB_HEADER_BYTES] ^= 1;
    expect_older(store, a, false, 0, 0);
}

/* Damages everything of a, whose last version may be one after a deletion. */
static BlobStore *lose_a(TestDisk *disk, bool was_deleted)
{
    BlobStore *store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");

    if (was_deleted) {
        Blob *blobs[2];

        test_start_with(store, blobs, 2);
        test_write(store, a, NULL);
        test_close(store);
        test_write(store, a, "written again");
        test_write(store, blobs[1], "new b");
    }
    memset(test_slot(disk, a, 0), 0xaa, 2 * a->entry.slot_bytes);
    blob_store_free(store);
    return test_open(disk);
}

static void test_given_up_blob_is_absent(void)
{
    for (unsigned was_deleted = 0; was_deleted < 2; was_deleted++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        BlobStore *store = lose_a(disk, was_deleted);
        Blob *a = blob_store_find(store, "t", "a");
        g_autoptr(GError) error = NULL;

        test_expect_damaged(store, a);
        g_assert_true(blob_store_give_up(store, a, &error));
        g_assert_no_error(error);
        test_expect(store, a, NULL);
        test_expect(store, blob_store_find(store, "t", "b"), "new b");
        test_close(store);
        blob_store_free(store);
        store = test_open(disk);
        test_expect_findings(store, "");
        g_assert_null(blob_store_find(store, "t", "a"));
        test_start_with(store, &a, 1);
        test_write(store, a, "anew");
        blob_store_free(store);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), "anew");
        blob_store_free(store);
    }
}

static void test_giving_up_that_fails_changes_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    g_autoptr(GError) error = NULL;

    g_assert_false(blob_store_give_up(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*'t/a' is not damaged");
    test_garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    for (int n = 0; n < 3; n++) {
        disk->fail_write = n;
        g_assert_false(blob_store_give_up(store, a, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
        test_expect_damaged(store, a);
        g_assert_false(a->registered);
    }
    disk->fail_write = TEST_NEVER;
    test_register(store, "a", 1000);
    g_assert_false(blob_store_give_up(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*'t/a' is in use");
    blob_store_unregister(store, a);
    g_assert_true(blob_store_give_up(store, a, &error));
    test_expect(store, a, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/repair/" #name, test_##name)
    ADD(fall_back_serves_the_older_version);
    ADD(fall_back_is_in_the_census);
    ADD(fall_back_takes_the_newer_of_two);
    ADD(fall_back_that_fails_changes_nothing);
    ADD(fall_back_is_not_written_over);
    ADD(fall_back_needs_content);
    ADD(fall_back_does_not_believe_sequence_zero);
    ADD(fall_back_is_refused);
    ADD(older_version_is_shown);
    ADD(given_up_blob_is_absent);
    ADD(giving_up_that_fails_changes_nothing);
    return g_test_run();
}
