/*
 * Unit tests of the core: deleted content disappears from a sealed store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE             /* memmem() */
#include "keys.h"

#include <string.h>

enum { DISK_BYTES = 192 << 10 };

static const char long_text[] =
    "long enough, with what is in front of it, to reach into another block";

static bool is_zero(const uint8_t *bytes, uint64_t from, uint64_t to)
{
    while (from < to && !bytes[from]) {
        from++;
    }
    return from >= to;
}

/* Returns whether the slots of @blob hold nothing but a tombstone. */
static bool is_wiped(TestDisk *disk, const Blob *blob)
{
    const BlobEntry *entry = &blob->entry;
    const uint8_t *current = test_slot(disk, blob, entry->slot);
    uint64_t image = blob_layout_image_bytes(0);

    return is_zero(current, BLOB_HEADER_BYTES, image - BLOB_HEADER_BYTES) &&
           is_zero(current, image, entry->slot_bytes) &&
           is_zero(test_slot(disk, blob, !entry->slot), 0,
                   entry->slot_bytes);
}

/* Makes "t/a" of up to 9000 bytes, written long and short, and "t/b". */
static BlobStore *make_store(TestDisk *disk, Blob *blobs[2])
{
    g_autofree char *big = g_strnfill(9000, 'x');
    BlobStore *store = keys_store(disk, NULL, 0);

    blobs[0] = test_register(store, "a", 9000);
    blobs[1] = test_register(store, "b", 1000);
    test_start(store);
    test_write(store, blobs[0], big);
    test_write(store, blobs[0], big);
    test_write(store, blobs[0], long_text);
    test_write(store, blobs[1], "other");
    return store;
}

static void test_deleted_content_is_zeroed(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);

    g_assert_false(is_wiped(disk, blobs[0]));
    test_write(store, blobs[0], NULL);
    g_assert_true(is_wiped(disk, blobs[0]));
    /* Deletes in the same write that changes another blob. */
    test_write(store, blobs[0], long_text);
    test_write2(store, blobs[0], NULL, blobs[1], "written");
    g_assert_true(is_wiped(disk, blobs[0]));
    test_expect(store, blobs[1], "written");
    test_expect(store, blobs[0], NULL);
}

static void test_plain_store_keeps_the_superseded_slot(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    unsigned writes;

    test_write(store, blob, "content");
    writes = disk->writes;
    test_write(store, blob, NULL);
    g_assert_cmpuint(disk->writes, ==, writes + 1);
}

/* The deletion is as durable as before; the next start does the rest. */
static void check_crash(TestDisk *crashed, unsigned events, void *opaque)
{
    g_autoptr(BlobStore) store = keys_open(crashed, 1);
    Blob *blob = blob_store_find(store, "t", "a");
    g_autofree char *found = test_read(store, blob, NULL);

    g_assert_true(!found || !strcmp(found, long_text));
    g_assert_null(blob->damage);
    blob = test_register(store, "a", 9000);
    test_register(store, "b", 1000);
    test_start(store);
    if (!found) {
        g_assert_true(is_wiped(crashed, blob));
    }
    test_write(store, blob, "new");
    test_expect(store, blob, "new");
    test_expect(store, blob_store_find(store, "t", "b"), "other");
}

static void test_deleting_survives_power_loss_everywhere(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);

    test_disk_record(disk);
    test_write(store, blobs[0], NULL);
    test_disk_each_crash(disk, check_crash, NULL);
}

/*
 * Returns whether a directory is the first thing written since recording
 * began.
 */
static bool begins_with_a_record(const TestDisk *disk)
{
    for (guint i = 0; i < disk->events->len; i++) {
        const TestEvent *event = &g_array_index(disk->events, TestEvent, i);

        if (event->data) {
            return event->offset < BLOB_DIRECTORY_OFFSET +
                   2 * blob_layout_directory_slot_bytes(128);
        }
    }
    return false;
}

/*
 * The zeroed slot belonged to a write of several blobs.  The other members
 * count only as long as the medium shows that the write was complete.
 */
static void test_zeroing_costs_no_other_blob_if_the_tombstone_is_lost(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);
    Blob *b;

    test_write2(store, blobs[0], "written", blobs[1], "together");
    test_write(store, blobs[1], NULL);
    memset(test_slot(disk, blobs[1], blobs[1]->entry.slot), 0,
           blobs[1]->entry.slot_bytes);
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, 1);
    test_expect(store, blob_store_find(store, "t", "a"), "written");
    b = blob_store_find(store, "t", "b");
    test_expect_damaged(store, b);
}

/* The same holds if the power failed right after the tombstone was written. */
static void test_start_zeroes_after_it_has_recorded(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);

    disk->fail_write = 1;
    test_write(store, blobs[0], NULL);
    disk->fail_write = TEST_NEVER;
    g_assert_false(is_wiped(disk, blobs[0]));
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, 1);
    blobs[0] = test_register(store, "a", 9000);
    test_register(store, "b", 1000);
    test_disk_record(disk);
    test_start(store);
    g_assert_true(begins_with_a_record(disk));
    g_assert_true(is_wiped(disk, blobs[0]));
}

/* Space that was only waiting to be zeroed becomes free. */
static void test_start_releases_what_it_has_zeroed(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);

    test_write(store, blobs[0], NULL);
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, 1);
    test_register(store, "b", 1000);
    test_start(store);
    g_assert_null(blob_store_find(store, "t", "a"));
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, 1);
    g_assert_null(blob_store_find(store, "t", "a"));
}

/* Zeros whose write failed must not land on later content. */
static void fail_to_wipe(bool flush, int after, unsigned how)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);

    disk->failing_write_is_late = how & 1;
    disk->failing_write_lands = how & 2;
    *(flush ? &disk->fail_flush : &disk->fail_write) = after;
    test_write(store, blobs[0], NULL);
    *(flush ? &disk->fail_flush : &disk->fail_write) = TEST_NEVER;
    test_expect(store, blobs[0], NULL);
    if (how & 4) {
        test_write(store, blobs[0], "written after");
        test_expect(store, blobs[0], "written after");
    } else {
        test_write(store, blobs[1], "written after");
        g_assert_true(is_wiped(disk, blobs[0]));
    }
    test_close(store);
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, 1);
    test_expect(store, blob_store_find(store, "t", how & 4 ? "a" : "b"),
                "written after");
}

static void test_wiping_that_fails_is_done_later(void)
{
    for (unsigned how = 0; how < 8; how++) {
        fail_to_wipe(true, 0, how);
        for (int after = 1; after < 5; after++) {
            fail_to_wipe(false, after, how);
        }
    }
}

static void test_clean_close_waits_for_what_is_to_be_wiped(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);
    GError *error = NULL;

    disk->fail_write = 1;
    test_write(store, blobs[0], NULL);
    g_assert_false(is_wiped(disk, blobs[0]));
    disk->fail_write = 0;
    g_assert_false(blob_store_close_clean(store, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*failed as told");
    disk->fail_write = TEST_NEVER;
    test_close(store);
    g_assert_true(is_wiped(disk, blobs[0]));
}

/* The blob's space must not be given away with the content in it. */
static void test_unregistered_blob_stays_until_it_is_wiped(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = make_store(disk, blobs);
    uint64_t at = blobs[0]->entry.offset;
    uint64_t bytes = 2 * blobs[0]->entry.slot_bytes;
    const uint8_t *data = test_disk_bytes(disk);

    disk->fail_write = 1;
    test_write(store, blobs[0], NULL);
    disk->fail_write = TEST_NEVER;
    blob_store_unregister(store, blobs[0]);
    test_close(store);
    test_close(store);
    g_assert_true(data[at] == 0 || data[at + bytes / 2] == 0);
    g_assert_null(memmem(data + at + blob_layout_image_bytes(0),
                         bytes / 2 - blob_layout_image_bytes(0), "QEMUBLOB",
                         8));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/wipe/" #name, test_##name)
    ADD(deleted_content_is_zeroed);
    ADD(plain_store_keeps_the_superseded_slot);
    ADD(deleting_survives_power_loss_everywhere);
    ADD(zeroing_costs_no_other_blob_if_the_tombstone_is_lost);
    ADD(start_zeroes_after_it_has_recorded);
    ADD(start_releases_what_it_has_zeroed);
    ADD(wiping_that_fails_is_done_later);
    ADD(clean_close_waits_for_what_is_to_be_wiped);
    ADD(unregistered_blob_stays_until_it_is_wiped);
    return g_test_run();
}
