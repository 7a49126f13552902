/*
 * Unit tests of the core: a medium that reverts to a state from before a
 * conversion while the store is in use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

#include <string.h>

static const char before[] = "of before, secret";
static const char present[] = "of now, secret as well";

/* Returns a store that was converted, on a medium that was not. */
static BlobStore *make_reverted(TestDisk *disk, const Way *way)
{
    Blob *blobs[2];
    BlobStore *store = conversion_store(disk, way, blobs, 2);
    g_autofree uint8_t *bytes = NULL;

    test_write2(store, blobs[0], before, blobs[1], before);
    test_write2(store, blobs[0], before, blobs[1], before);
    bytes = g_memdup2(test_disk_bytes(disk), CONVERSION_DISK_BYTES);
    g_assert_true(conversion_run(store, way, NULL));
    test_write(store, blobs[0], present);
    memcpy(test_disk_bytes(disk), bytes, CONVERSION_DISK_BYTES);
    return store;
}

/* The medium is now a store whose blobs all have to be written. */
static void expect_superseded(TestDisk *disk, const Way *way)
{
    BlobKeySlots slots = { 0 };
    BlobStoreOptions options = {
        .key = way->to < 0 ? NULL : keys_data_key(way->to),
        .key_slots = &slots,
        .replace_damaged = true,
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
                                                 &error);
    Blob *blobs[2];

    g_assert_no_error(error);
    blobs[0] = test_register(store, "a", 1000);
    blobs[1] = test_register(store, "b", 1000);
    test_expect_damaged(store, blobs[0]);
    test_expect_damaged(store, blobs[1]);
    test_start(store);
    g_assert_false(keys_disk_contains(disk, "secret"));
    test_write2(store, blobs[0], present, blobs[1], before);
    test_close(store);
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, way->to);
    test_expect(store, blob_store_find(store, "t", "a"), present);
    test_expect(store, blob_store_find(store, "t", "b"), before);
    g_assert_cmpint(keys_disk_contains(disk, "secret"), ==, way->to < 0);
}

static void test_reverted_medium_becomes_the_store_again(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_reverted(disk, way);
    g_autoptr(GError) error = NULL;

    blob_store_supersede(store, &error);
    g_assert_no_error(error);
    expect_superseded(disk, way);
    if (way->to >= 0) {
        keys_open_fails(disk, -1, BLOBSTORE_ERROR_KEY, "*no key was given*");
        keys_open_fails(disk, 1, BLOBSTORE_ERROR_KEY, "the key is wrong*");
    }
}

static bool fail_at(const Way *way, int after)
{
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_reverted(disk, way);
    g_autoptr(GError) error = NULL;
    bool failed;

    disk->fail_write = after;
    failed = !blob_store_supersede(store, NULL);
    disk->fail_write = TEST_NEVER;
    if (failed) {
        blob_store_supersede(store, &error);
        g_assert_no_error(error);
    }
    expect_superseded(disk, way);
    return failed;
}

static void test_it_can_be_repeated_after_every_failing_write(
    gconstpointer opaque)
{
    int after = 0;

    while (fail_at(opaque, after)) {
        after++;
    }
    g_assert_cmpint(after, >=, 4);
}

/*
 * The medium is from a branch whose superblock was changed more often.  That
 * superblock must not win against the copy that is written first.
 */
static void test_superblock_that_has_a_higher_number_is_outnumbered(void)
{
    static const Way rekey = { "rekey", 1, 2 };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_reverted(disk, &rekey);
    g_autoptr(BlobStore) other = keys_open(disk, 1);
    uint64_t last;

    test_register(other, "a", 1000);
    test_start(other);
    for (unsigned i = 0; i < 20; i++) {
        g_assert_true(blob_store_set_key_slots(other, keys_data_key(1),
                                               &other->super.key_slots,
                                               NULL));
    }
    last = other->generation;
    g_assert_true(blob_store_supersede(store, NULL));
    g_assert_cmpuint(store->super.generation, >, last);
    expect_superseded(disk, &rekey);
}

static void test_other_media_are_left_alone(void)
{
    static const Way seal = { "seal", -1, 2 };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(TestDisk) other = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_reverted(disk, &seal);
    GError *error = NULL;

    blob_store_free(test_store(other, NULL, 1));
    for (unsigned i = 0; i < 2; i++) {
        memcpy(test_disk_bytes(disk), test_disk_bytes(other),
               CONVERSION_DISK_BYTES);
        g_assert_false(blob_store_supersede(store, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_UUID, "*any more");
        g_assert_false(memcmp(test_disk_bytes(disk), test_disk_bytes(other),
                              CONVERSION_DISK_BYTES));
        memset(test_disk_bytes(other), 0, CONVERSION_DISK_BYTES);
    }
    g_clear_pointer(&store, blob_store_free);
    blob_store_free(test_store(disk, NULL, 1));
    store = test_open(disk);
    g_assert_false(blob_store_supersede(store, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY, "*not started*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < CONVERSION_WAYS; i++) {
#define ADD_WAY(test) do {                                                 \
        g_autofree char *path =                                            \
            g_strdup_printf("/supersede/" #test "/%s",                     \
                            conversion_ways[i].name);                      \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(reverted_medium_becomes_the_store_again);
        ADD_WAY(it_can_be_repeated_after_every_failing_write);
    }
#define ADD(name) g_test_add_func("/supersede/" #name, test_##name)
    ADD(superblock_that_has_a_higher_number_is_outnumbered);
    ADD(other_media_are_left_alone);
    return g_test_run();
}
