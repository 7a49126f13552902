/*
 * Unit tests of the core: commits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>
#include "sealed.h"

/* Returns the header of the slot that @blob is current in. */
static BlobHeader header_of(BlobStore *store, TestDisk *disk,
                            const Blob *blob)
{
    BlobHeader header;
    unsigned n = blob->entry.slot;

    g_assert_true(blob_layout_decode_header(test_slot(disk, blob, n),
                                            store->guard, blob->entry.id,
                                            blob_slot_of(blob, n).offset,
                                            blob->entry.slot_bytes, &header));
    return header;
}

static void test_write_of_one_blob_is_one_durable_write(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    BlobStoreStatus before;
    BlobStoreStatus after;

    test_write(store, blob, "one");
    test_disk_reset_counts(disk);
    blob_store_get_status(store, &before);
    test_write(store, blob, "two");
    g_assert_cmpuint(disk->writes, ==, 1);
    g_assert_cmpuint(disk->durable_writes, ==, 1);
    g_assert_cmpuint(disk->flushes, ==, 0);
    g_assert_cmpuint(disk->reads, ==, 0);
    blob_store_get_status(store, &after);
    g_assert_cmpuint(after.commits - before.commits, ==, 1);
    g_assert_cmpuint(after.bytes_written - before.bytes_written, ==, 8192);
    g_assert_cmpuint(after.sequence, ==, before.sequence + 1);
    g_assert_cmpuint(after.write_errors, ==, 0);
    test_expect(store, blob, "two");
}

static void test_write_of_many_blobs_is_one_flush(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[3];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 3);
    g_autoptr(GBytes) content = g_bytes_new_static("xyz", 3);
    BlobChange changes[3];

    for (int i = 0; i < 3; i++) {
        changes[i] = (BlobChange) { blobs[i], content };
        test_write(store, blobs[i], "first");
    }
    test_disk_reset_counts(disk);
    g_assert_true(blob_store_write(store, changes, 3, NULL));
    g_assert_cmpuint(disk->writes, ==, 3);
    g_assert_cmpuint(disk->durable_writes, ==, 0);
    g_assert_cmpuint(disk->flushes, ==, 1);
    for (int i = 0; i < 3; i++) {
        test_expect(store, blobs[i], "xyz");
    }
}

static void test_headers_say_what_recovery_needs(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };
    uint64_t first_a;
    uint64_t first_b;
    BlobHeader a;
    BlobHeader b;

    test_write(store, blobs[0], "a1");
    test_write(store, blobs[1], "b1");
    first_a = blobs[0]->entry.sequence;
    first_b = blobs[1]->entry.sequence;
    blob_digest_census(store->guard->digest, blobs[0]->entry.id,
                       first_a, census);
    blob_digest_census(store->guard->digest, blobs[1]->entry.id,
                       first_b, census);

    test_write(store, blobs[0], "a2");
    a = header_of(store, disk, blobs[0]);
    g_assert_cmpuint(a.sequence, ==, blob_sequence(store->epoch.number, 1));
    g_assert_cmpuint(a.previous, ==, first_a);
    g_assert_cmpuint(a.watermark, ==, blob_sequence(store->epoch.number, 0));
    g_assert_cmpuint(a.member_count, ==, 0);
    g_assert_cmpmem(a.census, 16, census, 16);
    g_assert_cmpmem(a.epoch_id, 16, store->epoch.id, 16);

    blob_digest_census(store->guard->digest, blobs[0]->entry.id,
                       first_a, census);
    blob_digest_census(store->guard->digest, blobs[0]->entry.id,
                       a.sequence, census);
    test_write2(store, blobs[0], "a3", blobs[1], "b3");
    a = header_of(store, disk, blobs[0]);
    b = header_of(store, disk, blobs[1]);
    g_assert_cmpuint(a.sequence, ==, blob_sequence(store->epoch.number, 2));
    g_assert_cmpuint(b.sequence, ==, blob_sequence(store->epoch.number, 3));
    g_assert_cmpuint(b.previous, ==, first_b);
    g_assert_cmpuint(b.watermark, ==, blob_sequence(store->epoch.number, 1));
    g_assert_cmpmem(a.census, 16, census, 16);
    g_assert_cmpmem(b.census, 16, census, 16);
    for (int i = 0; i < 2; i++) {
        BlobHeader *header = i ? &b : &a;

        g_assert_cmpuint(header->member_count, ==, 2);
        g_assert_cmpuint(header->members[0].id, ==, blobs[0]->entry.id);
        g_assert_cmpuint(header->members[0].sequence, ==, a.sequence);
        g_assert_cmpuint(header->members[1].id, ==, blobs[1]->entry.id);
        g_assert_cmpuint(header->members[1].sequence, ==, b.sequence);
    }
}

/* R11 */
static void test_first_write_is_recorded_before_it_is_acknowledged(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint32_t epoch = store->epoch.number;

    test_disk_reset_counts(disk);
    test_write(store, blob, "one");
    g_assert_cmpuint(disk->durable_writes, ==, 3);
    g_assert_cmpuint(store->epoch.number, ==, epoch + 1);

    /*
     * A blob that is wiped from the medium is reported missing, not taken for
     * never written.
     */
    memset(test_slot(disk, blob, 0), 0, 2 * blob->entry.slot_bytes);
    blob_store_free(store);
    store = test_open(disk);
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
}

static void test_first_write_of_a_deleted_blob_is_not_first(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_write(store, blob, NULL);
    test_disk_reset_counts(disk);
    test_write(store, blob, "two");
    g_assert_cmpuint(disk->writes, ==, 1);
    test_expect(store, blob, "two");
}

static void test_delete_is_a_commit_and_twice_is_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    BlobInfo info;

    test_write(store, blobs[0], NULL);
    test_write(store, blobs[0], "one");
    test_disk_reset_counts(disk);
    test_write(store, blobs[0], NULL);
    /* In a sealed store the other slot is wiped, after an epoch record. */
    g_assert_cmpuint(disk->durable_writes, ==, sealed_key() ? 3 : 1);
    test_expect(store, blobs[0], NULL);
    blob_get_info(blobs[0], &info);
    g_assert_false(info.present);
    g_assert_cmpuint(info.size, ==, 0);

    test_disk_reset_counts(disk);
    test_write2(store, blobs[0], NULL, blobs[1], NULL);
    g_assert_cmpuint(disk->writes, ==, 0);
    /* Without the absent blob, the other one is a single write. */
    test_write(store, blobs[1], "b");
    test_disk_reset_counts(disk);
    test_write2(store, blobs[0], NULL, blobs[1], "b2");
    g_assert_cmpuint(disk->durable_writes, ==, 1);
    g_assert_cmpuint(disk->flushes, ==, 0);

    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), NULL);
    test_expect(store, blob_store_find(store, "t", "b"), "b2");
}

/* A failed write may have landed: a deleted blob must not come back to life. */
static void test_delete_of_an_absent_blob_settles_a_failed_write(void)
{
    for (int fails = 0; fails < 2; fails++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

        disk->failing_write_lands = true;
        disk->fail_write = 0;
        test_write_fails(store, blob, "one", BLOBSTORE_ERROR_IO, "*");
        if (fails) {
            disk->failing_write_lands = false;
            disk->fail_write = 0;
            test_write_fails(store, blob, NULL, BLOBSTORE_ERROR_IO, "*");
        }
        test_write(store, blob, NULL);
        blob_store_free(store);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), NULL);
    }
}

/* R1 */
static void test_full_counter_starts_a_new_epoch(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint32_t epoch;

    test_write(store, blobs[0], "a1");
    test_write(store, blobs[1], "b1");
    epoch = store->epoch.number;
    store->epoch.counter = UINT32_MAX - 1;
    store->epoch.acknowledged = blob_sequence(epoch, store->epoch.counter);
    test_write(store, blobs[0], "a2");
    g_assert_cmpuint(blobs[0]->entry.sequence, ==,
                     blob_sequence(epoch, UINT32_MAX));
    g_assert_cmpuint(store->epoch.number, ==, epoch);
    test_write(store, blobs[0], "a3");
    g_assert_cmpuint(blobs[0]->entry.sequence, ==,
                     blob_sequence(epoch + 1, 1));

    /* All members of a write are in one epoch. */
    store->epoch.counter = UINT32_MAX - 1;
    store->epoch.acknowledged = blob_sequence(epoch + 1, store->epoch.counter);
    test_write2(store, blobs[0], "a4", blobs[1], "b4");
    g_assert_cmpuint(blobs[0]->entry.sequence, ==,
                     blob_sequence(epoch + 2, 1));
    g_assert_cmpuint(blobs[1]->entry.sequence, ==,
                     blob_sequence(epoch + 2, 2));
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "a4");
}

/* R1 */
static void test_last_epoch_can_be_read_but_not_left(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    GError *error = NULL;

    test_write(store, blobs[0], "a1");
    store->epoch.number = UINT32_MAX - 1;
    store->epoch.open = false;
    test_write(store, blobs[0], "a2");
    g_assert_cmpuint(store->epoch.number, ==, UINT32_MAX);
    test_write(store, blobs[0], "a3");
    g_assert_false(blob_store_close_clean(store, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_EXHAUSTED, "*can only be read*");
    test_write(store, blobs[0], "a4");

    store->epoch.counter = UINT32_MAX;
    test_write_fails(store, blobs[0], "a5", BLOBSTORE_ERROR_EXHAUSTED, "*");
    test_expect(store, blobs[0], "a4");
    blob_store_free(store);
    store = test_open(disk);
    blobs[0] = test_register(store, "a", 1000);
    test_start_fails(store, BLOBSTORE_ERROR_EXHAUSTED, "*new store*");
    test_expect(store, blobs[0], "a4");
}

/* R4: in the last epoch, too, nothing follows a commit that failed. */
static void test_unrecordable_first_write_ends_the_last_epoch(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);

    test_write(store, blobs[0], "a1");
    store->epoch.number = UINT32_MAX - 1;
    store->epoch.open = false;
    test_write(store, blobs[0], "a2");
    test_write_fails(store, blobs[1], "b1", BLOBSTORE_ERROR_EXHAUSTED, "*");
    test_expect(store, blobs[1], NULL);
    test_write_fails(store, blobs[0], "a3", BLOBSTORE_ERROR_EXHAUSTED, "*");
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "a2");
}

/* R4 */
static void test_failed_write_changes_nothing_and_can_be_repeated(void)
{
    for (int i = 0; i < 2; i++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
        BlobStoreStatus info;
        uint32_t epoch;

        test_write(store, blob, "one");
        epoch = store->epoch.number;
        disk->failing_write_lands = i;
        disk->fail_write = 0;
        test_write_fails(store, blob, "two", BLOBSTORE_ERROR_IO,
                         "write failed as told");
        test_expect(store, blob, "one");
        blob_store_get_status(store, &info);
        g_assert_cmpuint(info.write_errors, ==, 1);
        g_assert_cmpuint(store->epoch.number, ==, epoch);

        test_write(store, blob, "three");
        g_assert_cmpuint(store->epoch.number, ==, epoch + 1);
        test_expect(store, blob, "three");
        blob_store_free(store);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), "three");
    }
}

/* The medium may have lost even the tombstone. */
static void test_absent_blob_is_deleted_again_when_asked(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    BlobChange again = { .blob = blobs[0], .delete_again = true };
    BlobChange never_written = { .blob = blobs[1], .delete_again = true };
    uint64_t sequence;

    test_write(store, blobs[0], "a");
    g_assert_true(blob_store_write(store, &again, 1, NULL));
    memset(test_slot(disk, blobs[0], 0), 0, 2 * blobs[0]->entry.slot_bytes);
    sequence = blobs[0]->entry.sequence;
    g_assert_true(blob_store_write(store, &again, 1, NULL));
    g_assert_cmpuint(blobs[0]->entry.sequence, >, sequence);

    test_disk_reset_counts(disk);
    g_assert_true(blob_store_write(store, &never_written, 1, NULL));
    g_assert_cmpuint(disk->writes, ==, 0);

    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, test_register(store, "a", 1000), NULL);
}

static void test_failed_flush_fails_all_members(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    g_autoptr(GBytes) content = g_bytes_new_static("2", 1);
    BlobChange changes[] = { { blobs[0], content }, { blobs[1], content } };
    GError *error = NULL;

    test_write2(store, blobs[0], "a1", blobs[1], "b1");
    disk->fail_flush = 0;
    g_assert_false(blob_store_write(store, changes, 2, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "flush failed as told");
    test_expect(store, blobs[0], "a1");
    test_expect(store, blobs[1], "b1");

    /* Nothing relies on pages that the failed flush may have dropped. */
    test_disk_reset_counts(disk);
    g_assert_true(blob_store_write(store, changes, 2, NULL));
    g_assert_cmpuint(disk->writes, ==, 4);
    /* One flush settles the failed write, one makes the members durable. */
    g_assert_cmpuint(disk->flushes, ==, 2);
    test_expect(store, blobs[0], "2");
}

static void test_first_write_fails_wherever_the_storage_does(void)
{
    for (int n = 0; n < 3; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blobs[2];
        g_autoptr(BlobStore) store = test_store(disk, blobs, 2);

        test_write(store, blobs[1], "b1");
        disk->fail_write = n;
        test_write_fails(store, blobs[0], "a1", BLOBSTORE_ERROR_IO, "*");
        test_expect(store, blobs[0], NULL);
        /* A commit of another blob settles the failed write. */
        test_write(store, blobs[1], "b2");
        g_clear_pointer(&store, blob_store_free);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), NULL);
        test_expect(store, blob_store_find(store, "t", "b"), "b2");
    }
}

/*
 * R4: the failed write may still land until then; a durable write settles only
 * itself.
 */
static void test_flush_comes_between_a_failed_write_and_the_next(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    disk->failing_write_is_late = true;
    disk->fail_write = 0;
    test_write_fails(store, blob, "two", BLOBSTORE_ERROR_IO, "*");
    test_disk_record(disk);
    test_write(store, blob, "three");
    /* A flush makes the failed write land before anything else is written. */
    g_assert_nonnull(g_array_index(disk->events, TestEvent, 0).data);
    g_assert_null(g_array_index(disk->events, TestEvent, 1).data);
    test_expect(store, blob, "three");
}

static void test_new_epoch_that_fails_fails_the_write(void)
{
    for (int n = 0; n < 2; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

        test_write(store, blob, "one");
        test_close(store);
        disk->fail_write = n;
        test_write_fails(store, blob, "two", BLOBSTORE_ERROR_IO, "*");
        test_expect(store, blob, "one");
        test_write(store, blob, "three");
        blob_store_free(store);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), "three");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/write/" #name, test_##name)
    ADD(write_of_one_blob_is_one_durable_write);
    ADD(write_of_many_blobs_is_one_flush);
    ADD(headers_say_what_recovery_needs);
    ADD(first_write_is_recorded_before_it_is_acknowledged);
    ADD(first_write_of_a_deleted_blob_is_not_first);
    ADD(delete_is_a_commit_and_twice_is_nothing);
    ADD(delete_of_an_absent_blob_settles_a_failed_write);
    ADD(full_counter_starts_a_new_epoch);
    ADD(last_epoch_can_be_read_but_not_left);
    ADD(unrecordable_first_write_ends_the_last_epoch);
    ADD(failed_write_changes_nothing_and_can_be_repeated);
    ADD(absent_blob_is_deleted_again_when_asked);
    ADD(failed_flush_fails_all_members);
    ADD(first_write_fails_wherever_the_storage_does);
    ADD(flush_comes_between_a_failed_write_and_the_next);
    ADD(new_epoch_that_fails_fails_the_write);
    return g_test_run();
}
