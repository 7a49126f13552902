/*
 * Unit tests of the core: commits that are refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static void test_write_takes_64_blobs_and_no_more(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(2 * TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);
    g_autoptr(GBytes) content = g_bytes_new_static("x", 1);
    BlobChange changes[BLOB_MEMBERS_MAX + 1];
    GError *error = NULL;

    for (int i = 0; i <= BLOB_MEMBERS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("%d", i);

        changes[i] = (BlobChange) { test_register(store, name, 10), content };
    }
    test_start(store);
    g_assert_false(blob_store_write(store, changes, BLOB_MEMBERS_MAX + 1,
                                    &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*1 to 64 blobs*65");
    g_assert_false(blob_store_write(store, changes, 0, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*1 to 64 blobs*0");
    for (int round = 0; round < 2; round++) {
        g_assert_true(blob_store_write(store, changes, BLOB_MEMBERS_MAX,
                                       NULL));
    }
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "63"), "x");
    test_expect(store, blob_store_find(store, "t", "64"), NULL);
}

static void test_write_refuses_the_same_blob_twice(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    g_autoptr(GBytes) content = g_bytes_new_static("x", 1);
    BlobChange changes[] = {
        { blobs[0], content }, { blobs[1], content }, { blobs[0], NULL },
    };
    GError *error = NULL;

    test_disk_reset_counts(disk);
    g_assert_false(blob_store_write(store, changes, 3, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*'t/a'*twice*");
    g_assert_cmpuint(disk->writes, ==, 0);
}

static void test_write_refuses_what_is_not_started(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_open(disk);

    blob = test_register(store, "a", 100);
    test_write_fails(store, blob, "x", BLOBSTORE_ERROR_READ_ONLY,
                     "store is not started*");
    test_start(store);
    test_write(store, blob, "x");
    test_write_fails(store, test_register(store, "b", 100), "x",
                     BLOBSTORE_ERROR_READ_ONLY, "blob 't/b' is not *started");
    blob_store_unregister(store, blob);
    test_write_fails(store, blob, "y", BLOBSTORE_ERROR_READ_ONLY,
                     "blob 't/a' is not registered*");
    test_expect(store, blob, "x");
}

/* The slots on the medium keep their old size until the next start. */
static void test_write_refuses_a_blob_registered_larger_until_started(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_autofree char *text = g_strnfill(50000, 'x');

    test_write(store, blob, "small");
    blob_store_unregister(store, blob);
    blob = test_register(store, "a", 100000);
    test_write_fails(store, blob, text, BLOBSTORE_ERROR_READ_ONLY, "*'t/a'*");
    test_expect(store, blob, "small");
    test_start(store);
    test_write(store, blob, text);
    test_expect(store, blob, text);
}

static void test_write_refuses_content_above_the_maximum(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_autofree char *most = g_strnfill(1000, 'm');
    g_autofree char *more = g_strnfill(1001, 'm');

    test_write_fails(store, blob, more, BLOBSTORE_ERROR_TOO_LARGE,
                     "blob 't/a': 1001 bytes*maximum of 1000");
    test_write(store, blob, most);
    test_write(store, blob, "");
    test_expect(store, blob, "");
}

static void test_write_refuses_a_damaged_blob(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_slot(disk, blob, 0)[BLOB_HEADER_BYTES] ^= 1;
    test_expect_damaged(store, blob);
    test_write_fails(store, blob, "two", BLOBSTORE_ERROR_DAMAGED, "*'t/a'*");
    test_write_fails(store, blob, NULL, BLOBSTORE_ERROR_DAMAGED, "*'t/a'*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/write-limits/" #name, test_##name)
    ADD(write_takes_64_blobs_and_no_more);
    ADD(write_refuses_the_same_blob_twice);
    ADD(write_refuses_what_is_not_started);
    ADD(write_refuses_a_blob_registered_larger_until_started);
    ADD(write_refuses_content_above_the_maximum);
    ADD(write_refuses_a_damaged_blob);
    return g_test_run();
}
