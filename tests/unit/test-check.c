/*
 * Unit tests of the core: checking a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static void test_intact_store_has_no_findings(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    g_autoptr(TestDisk) blank = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) none = test_open(blank);

    test_disk_reset_counts(disk);
    test_expect_findings(store, "");
    test_expect_findings(none, "");
    g_assert_cmpuint(disk->writes, ==, 0);
}

static void test_damaged_copies_are_named_and_heal(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);

    test_disk_bytes(disk)[BLOB_SUPERBLOCK_SLOT_BYTES + 100] ^= 1;
    test_disk_bytes(disk)[BLOB_DIRECTORY_OFFSET + 1300] ^= 1;
    test_expect_findings(store, "superblock -/- 16384 heals\n"
                                "directory -/- 32768 heals\n");
    blob_store_free(store);
    store = test_open(disk);
    test_start(store);
    test_expect_findings(store, "");
}

static void test_copies_that_are_both_gone_do_not_heal(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);

    memset(test_disk_bytes(disk), 0, BLOB_DIRECTORY_OFFSET);
    test_expect_findings(store, "superblock -/- 0\nsuperblock -/- 16384\n");
}

static void test_damaged_blob_is_named(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    Blob *blob = blob_store_find(store, "t", "b");
    g_autofree char *expected =
        g_strdup_printf("damaged t/b %" G_GUINT64_FORMAT "\n",
                        blob_slot_of(blob, blob->entry.slot).offset);

    test_garble_current(disk, store, "b");
    test_expect_findings(store, expected);
    test_expect_findings(store, expected);
}

/* The damaged slot is named, not the one that is on record. */
static void test_damage_since_the_last_record_is_named_where_it_is(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint64_t offset = blob_slot_of(blobs[0], 1).offset;
    g_autofree char *expected =
        g_strdup_printf("damaged t/a %" G_GUINT64_FORMAT "\n", offset);

    test_write2(store, blobs[0], "old a", blobs[1], "old b");
    test_write(store, blobs[0], "new a");
    test_write(store, blobs[1], "new b");
    test_disk_bytes(disk)[offset] ^= 1;
    blob_store_free(store);
    store = test_open(disk);
    test_expect_findings(store, expected);

    /* The result is the same once the damage is on record. */
    test_start(store);
    blob_store_free(store);
    store = test_open(disk);
    test_expect_findings(store, expected);
}

static void test_deleted_blob_without_user_is_a_leak_that_heals(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    BlobChange change = { .blob = blobs[1] };
    g_autofree char *expected =
        g_strdup_printf("leak t/b %" G_GUINT64_FORMAT " heals\n",
                        blobs[1]->entry.offset);

    test_write2(store, blobs[0], "a", blobs[1], "b");
    g_assert_true(blob_store_write(store, &change, 1, NULL));
    test_expect_findings(store, "");
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    test_expect_findings(store, expected);
    test_start(store);
    test_expect_findings(store, "");
    g_assert_cmpuint(blob_store_count(store), ==, 1);
}

static void test_read_error_is_not_damage(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_reopened_store(disk);
    unsigned reads;

    test_disk_reset_counts(disk);
    test_expect_findings(store, "");
    reads = disk->reads;
    for (unsigned n = 0; n < reads; n++) {
        g_autoptr(GString) found = g_string_new(NULL);
        g_autoptr(GError) error = NULL;

        disk->fail_read = n;
        if (blob_store_check(store, test_note_finding, found, &error)) {
            /* The read that failed was of one of two copies. */
            g_assert_cmpuint(n, <, 6);
            g_assert_true(g_str_has_suffix(found->str, " heals\n"));
            continue;
        }
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
        g_assert_cmpstr(found->str, ==, "");
    }
    test_expect_findings(store, "");
}

/* After a clean close, opening does not look at the slots (R10, R14). */
static void test_directory_that_was_rolled_back_is_found(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint64_t at = store->directory_pair.offset;
    uint64_t bytes = 2 * store->directory_pair.slot_bytes;
    g_autofree uint8_t *older = NULL;
    g_autofree char *expected = NULL;

    test_write(store, blob, "one");
    test_close(store);
    older = g_memdup2(test_disk_bytes(disk) + at, bytes);
    test_write(store, blob, "two");
    expected = g_strdup_printf("newer t/a %" G_GUINT64_FORMAT "\n",
                               blob_slot_of(blob, blob->entry.slot).offset);
    test_close(store);
    memcpy(test_disk_bytes(disk) + at, older, bytes);
    blob_store_free(store);
    store = test_open(disk);
    test_expect_findings(store, expected);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/check/" #name, test_##name)
    ADD(intact_store_has_no_findings);
    ADD(damaged_copies_are_named_and_heal);
    ADD(copies_that_are_both_gone_do_not_heal);
    ADD(damaged_blob_is_named);
    ADD(damage_since_the_last_record_is_named_where_it_is);
    ADD(deleted_blob_without_user_is_a_leak_that_heals);
    ADD(read_error_is_not_damage);
    ADD(directory_that_was_rolled_back_is_found);
    return g_test_run();
}
