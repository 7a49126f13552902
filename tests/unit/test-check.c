/*
 * Unit tests of the core: checking and repairing a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/check.h"
#include "fixture.h"

#include <string.h>

/* Notes a finding as one line, "kind owner/name offset". */
static void note(const BlobFinding *finding, void *opaque)
{
    static const char *const kinds[] = { "superblock", "key slot", "directory",
                                         "damaged", "newer", "leak" };
    BlobInfo info = { .owner = "-", .name = "-" };

    g_assert_cmpuint(finding->bytes, >, 0);
    g_assert_nonnull(finding->text);
    if (finding->blob) {
        blob_get_info(finding->blob, &info);
    }
    g_string_append_printf(opaque, "%s %s/%s %" G_GUINT64_FORMAT "%s\n",
                           kinds[finding->kind], info.owner, info.name,
                           finding->offset,
                           finding->heals ? " heals" : "");
}

static void expect_findings(BlobStore *store, const char *expected)
{
    g_autoptr(GString) found = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(blob_store_check(store, note, found, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(found->str, ==, expected);
}

/* Makes a store with a and b, both written twice, and opens it again. */
static BlobStore *reopened_store(TestDisk *disk)
{
    Blob *blobs[2];
    BlobStore *store = test_store(disk, blobs, 2);

    test_write2(store, blobs[0], "old a", blobs[1], "old b");
    test_write2(store, blobs[0], "new a", blobs[1], "new b");
    test_close(store);
    blob_store_free(store);
    return test_open(disk);
}

static void garble_current(TestDisk *disk, BlobStore *store, const char *name)
{
    Blob *blob = blob_store_find(store, "t", name);

    test_slot(disk, blob, blob->entry.slot)[BLOB_HEADER_BYTES] ^= 1;
}

static void test_intact_store_has_no_findings(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    g_autoptr(TestDisk) blank = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) none = test_open(blank);

    test_disk_reset_counts(disk);
    expect_findings(store, "");
    expect_findings(none, "");
    g_assert_cmpuint(disk->writes, ==, 0);
}

static void test_damaged_copies_are_named_and_heal(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);

    test_disk_bytes(disk)[BLOB_SUPERBLOCK_SLOT_BYTES + 100] ^= 1;
    test_disk_bytes(disk)[BLOB_DIRECTORY_OFFSET + 1300] ^= 1;
    expect_findings(store, "superblock -/- 16384 heals\n"
                           "directory -/- 32768 heals\n");
    blob_store_free(store);
    store = test_open(disk);
    test_start(store);
    expect_findings(store, "");
}

static void test_copies_that_are_both_gone_do_not_heal(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);

    memset(test_disk_bytes(disk), 0, BLOB_DIRECTORY_OFFSET);
    expect_findings(store, "superblock -/- 0\nsuperblock -/- 16384\n");
}

static void test_damaged_blob_is_named(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    Blob *blob = blob_store_find(store, "t", "b");
    g_autofree char *expected =
        g_strdup_printf("damaged t/b %" G_GUINT64_FORMAT "\n",
                        blob_slot_of(blob, blob->entry.slot).offset);

    garble_current(disk, store, "b");
    expect_findings(store, expected);
    expect_findings(store, expected);
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
    expect_findings(store, expected);

    /* The result is the same once the damage is on record. */
    test_start(store);
    blob_store_free(store);
    store = test_open(disk);
    expect_findings(store, expected);
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
    expect_findings(store, "");
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    expect_findings(store, expected);
    test_start(store);
    expect_findings(store, "");
    g_assert_cmpuint(blob_store_count(store), ==, 1);
}

static void test_read_error_is_not_damage(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    unsigned reads;

    test_disk_reset_counts(disk);
    expect_findings(store, "");
    reads = disk->reads;
    for (unsigned n = 0; n < reads; n++) {
        g_autoptr(GString) found = g_string_new(NULL);
        g_autoptr(GError) error = NULL;

        disk->fail_read = n;
        if (blob_store_check(store, note, found, &error)) {
            /* The read that failed was of one of two copies. */
            g_assert_cmpuint(n, <, 6);
            g_assert_true(g_str_has_suffix(found->str, " heals\n"));
            continue;
        }
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
        g_assert_cmpstr(found->str, ==, "");
    }
    expect_findings(store, "");
}

static void test_fall_back_serves_the_older_version(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    g_autoptr(GError) error = NULL;

    garble_current(disk, store, "a");
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
    g_assert_true(blob_store_fall_back(store, blob_store_find(store, "t", "a"),
                                       &error));
    test_expect(store, blob_store_find(store, "t", "a"), "old a");
    expect_findings(store, "");
    for (unsigned round = 0; round < 2; round++) {
        Blob *blob;

        blob_store_free(store);
        store = test_open(disk);
        expect_findings(store, "");
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
    g_autoptr(BlobStore) store = reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    Blob *b;

    garble_current(disk, store, "a");
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
    expect_findings(store, expected);
}

static void test_fall_back_that_fails_changes_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    g_autoptr(GError) error = NULL;

    garble_current(disk, store, "a");
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
    garble_current(disk, store, "a");
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
    g_assert_false(blob_store_fall_back(store, blob_store_find(store, "t", "a"),
                                        &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED, "*no older version*");
}

/* No store writes sequence 0; a forged slot is no older version either. */
static void test_fall_back_does_not_believe_sequence_zero(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    BlobSlot older = blob_slot_of(a, !a->entry.slot);
    BlobHeader header = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_true(blob_slot_write(&store->medium, store->guard, &older,
                                  &header, NULL, true, NULL));
    garble_current(disk, store, "a");
    test_expect_damaged(store, a);
    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED, "*no older version*");
}

static void test_fall_back_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = reopened_store(disk);
    Blob *a = blob_store_find(store, "t", "a");
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(GError) error = NULL;

    g_assert_false(blob_store_fall_back(store, a, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*'t/a' is not damaged");
    garble_current(disk, store, "a");
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/check/intact-store-has-no-findings",
                    test_intact_store_has_no_findings);
    g_test_add_func("/check/damaged-copies-are-named-and-heal",
                    test_damaged_copies_are_named_and_heal);
    g_test_add_func("/check/copies-that-are-both-gone-do-not-heal",
                    test_copies_that_are_both_gone_do_not_heal);
    g_test_add_func("/check/damaged-blob-is-named",
                    test_damaged_blob_is_named);
    g_test_add_func("/check/damage-since-the-last-record-is-named-where-it-is",
                    test_damage_since_the_last_record_is_named_where_it_is);
    g_test_add_func("/check/deleted-blob-without-user-is-a-leak-that-heals",
                    test_deleted_blob_without_user_is_a_leak_that_heals);
    g_test_add_func("/check/read-error-is-not-damage",
                    test_read_error_is_not_damage);
    g_test_add_func("/check/fall-back-serves-the-older-version",
                    test_fall_back_serves_the_older_version);
    g_test_add_func("/check/fall-back-is-in-the-census",
                    test_fall_back_is_in_the_census);
    g_test_add_func("/check/fall-back-takes-the-newer-of-two",
                    test_fall_back_takes_the_newer_of_two);
    g_test_add_func("/check/directory-that-was-rolled-back-is-found",
                    test_directory_that_was_rolled_back_is_found);
    g_test_add_func("/check/fall-back-that-fails-changes-nothing",
                    test_fall_back_that_fails_changes_nothing);
    g_test_add_func("/check/fall-back-needs-content",
                    test_fall_back_needs_content);
    g_test_add_func("/check/fall-back-does-not-believe-sequence-zero",
                    test_fall_back_does_not_believe_sequence_zero);
    g_test_add_func("/check/fall-back-is-refused", test_fall_back_is_refused);
    return g_test_run();
}
