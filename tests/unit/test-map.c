/*
 * Unit tests of the core: which bytes hold what, and how many they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/map.h"
#include "fixture.h"

#include <string.h>

typedef struct Seen {
    GString *text;
    uint64_t end;
} Seen;

/* Notes a region as one line: kind, slot, blocks, bytes used. */
static void note(const BlobRegion *region, void *opaque)
{
    static const char *const kinds[] = { "superblock", "directory", "blob",
                                         "free", "outside" };
    Seen *seen = opaque;
    BlobInfo info = { .name = "-" };

    g_assert_cmpuint(region->offset, ==, seen->end);
    g_assert_cmpuint(region->bytes, >, 0);
    g_assert_cmpuint(region->used, <=, region->bytes);
    seen->end += region->bytes;
    if (region->blob) {
        blob_get_info(region->blob, &info);
    }
    g_string_append_printf(seen->text, "%s %s%u%s %" G_GUINT64_FORMAT " %"
                           G_GUINT64_FORMAT "\n", kinds[region->kind],
                           info.name, region->slot,
                           region->current ? "!" : "", region->bytes / 4096,
                           region->used);
}

static void expect_map(const BlobStore *store, uint64_t length,
                       const char *expected)
{
    Seen seen = { g_string_new(NULL) };

    blob_store_map(store, length, note, &seen);
    g_assert_cmpstr(seen.text->str, ==, expected);
    g_assert_cmpuint(seen.end, ==, length);
    g_string_free(seen.text, TRUE);
}

static void test_map_of_a_store(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[3];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 3);
    g_autofree char *text = g_strnfill(6000, 'x');

    blobs[0] = test_register_again(store, "a", 20000);
    test_start(store);
    test_write(store, blobs[0], text);
    test_write(store, blobs[1], "older");
    test_write(store, blobs[1], "newer");
    expect_map(store, TEST_DISK_BYTES + 512,
               "superblock -0! 4 12288\nsuperblock -1! 4 12288\n"
               "directory -0! 8 8192\ndirectory -1! 8 8192\n"
               "free -0 4 0\n"
               "blob b0 2 0\nblob b1! 2 8192\n"
               "blob c0 2 0\nblob c1 2 0\n"
               "blob a0! 6 12288\nblob a1 6 0\n"
               "free -0 208 0\noutside -0 0 0\n");
}

static void test_map_of_a_blank_medium(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);

    expect_map(store, TEST_DISK_BYTES, "free -0 256 0\n");
}

static void test_damaged_copies_hold_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    BlobStore *store = test_store(disk, &blob, 1);

    test_write(store, blob, "lost");
    test_close(store);
    test_disk_bytes(disk)[100] ^= 1;
    test_disk_bytes(disk)[BLOB_DIRECTORY_OFFSET + 100] ^= 1;
    test_slot(disk, blob, 0)[BLOB_HEADER_BYTES] ^= 1;
    blob_store_free(store);
    store = test_open(disk);
    test_expect_damaged(store, blob_store_find(store, "t", "a"));
    expect_map(store, 30 * 4096,
               "superblock -0 4 0\nsuperblock -1! 4 12288\n"
               "directory -0 8 0\ndirectory -1! 8 8192\n"
               "blob a0 2 0\nblob a1 2 0\nfree -0 2 0\n");
    blob_store_free(store);
}

/* A store that is made on a medium of that size has room for just these. */
static void test_bytes_for_a_store(void)
{
    uint64_t sizes[200] = { 1, 5632, 5633, 100000 };

    for (unsigned i = 4; i < 200; i++) {
        sizes[i] = i;
    }
    for (unsigned count = 0; count <= 200; count += 50) {
        g_autoptr(TestDisk) disk = test_disk_new(0);
        g_autoptr(BlobStore) store = test_open(disk);
        uint64_t bytes = blob_store_bytes_for(sizes, count);

        for (unsigned i = 0; i < count; i++) {
            g_autofree char *name = g_strdup_printf("%u", i);

            test_register(store, name, sizes[i]);
        }
        g_assert_cmpuint(bytes, ==, blob_store_required_bytes(store));
        test_disk_resize(disk, bytes - 512);
        test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, "*");
        test_disk_resize(disk, bytes);
        test_start(store);
    }
}

static void resize(BlobStore *store, uint64_t bytes, uint64_t capacity)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_resize(store, bytes, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
    g_assert_cmpuint(store->capacity, ==, capacity);
}

static void test_store_resizes(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint64_t required = blob_store_required_bytes(store);
    g_autoptr(GError) error = NULL;

    test_write2(store, blobs[0], "a", blobs[1], "b");
    resize(store, UINT64_MAX, TEST_DISK_BYTES);
    resize(store, required + 4096 + 100, required + 4096);
    resize(store, required, required);
    g_assert_false(blob_store_resize(store, required - 1, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_TOO_SMALL, "*");
    g_assert_cmpuint(blob_space_free_bytes(store->space), ==, 0);
    test_disk_resize(disk, required);
    test_close(store);
    blob_store_free(store);

    /* It does not take what is above by itself, but does when it is told. */
    test_disk_resize(disk, TEST_DISK_BYTES);
    store = test_open(disk);
    test_start(store);
    g_assert_cmpuint(store->capacity, ==, required);
    resize(store, UINT64_MAX, TEST_DISK_BYTES);
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    g_assert_cmpuint(store->capacity, ==, TEST_DISK_BYTES);
    test_expect(store, blob_store_find(store, "t", "a"), "a");
    test_expect(store, blob_store_find(store, "t", "b"), "b");
}

static void test_resize_that_fails_changes_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint64_t required = blob_store_required_bytes(store);
    g_autoptr(GError) error = NULL;

    test_write(store, blob, "a");
    disk->fail_write = 0;
    g_assert_false(blob_store_resize(store, required, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
    g_assert_cmpuint(store->capacity, ==, TEST_DISK_BYTES);
    disk->fail_write = TEST_NEVER;
    resize(store, required, required);

    /* What lies above is not the store's any more. */
    test_disk_bytes(disk)[TEST_DISK_BYTES - 1] = 1;
    g_assert_false(blob_store_resize(store, UINT64_MAX, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_FOREIGN, "*is not blank*");
    resize(store, TEST_DISK_BYTES - 4096, TEST_DISK_BYTES - 4096);
    blob_store_free(store);
    store = test_open(disk);
    g_assert_false(blob_store_resize(store, required, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY, "*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/map/" #name, test_##name)
    ADD(map_of_a_store);
    ADD(map_of_a_blank_medium);
    ADD(damaged_copies_hold_nothing);
    ADD(bytes_for_a_store);
    ADD(store_resizes);
    ADD(resize_that_fails_changes_nothing);
    return g_test_run();
}
