/*
 * Unit tests of the core: registering, reading, closing and asking
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static void register_fails(BlobStore *store, const char *owner,
                           const char *name, BlobKind kind, uint64_t max_size,
                           BlobStoreError code, const char *pattern)
{
    GError *error = NULL;
    size_t count = blob_store_count(store);

    g_assert_null(blob_store_register(store, owner, name, kind, max_size,
                                      &error));
    test_assert_error(&error, code, pattern);
    g_assert_cmpuint(blob_store_count(store), ==, count);
}

static void test_register_keeps_its_limits(void)
{
    static const char *const bad[] = { "", "a/b", "a b", "\x7f", "\xc3\xa4",
                                       "tab\t" };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);
    g_autofree char *most = g_strnfill(BLOB_NAME_MAX_BYTES, 'n');
    g_autofree char *more = g_strnfill(BLOB_NAME_MAX_BYTES + 1, 'n');
    Blob *blob;

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        register_fails(store, bad[i], "x", BLOB_KIND_PERMANENT, 1,
                       BLOBSTORE_ERROR_INVALID, "*1 to 63 printable*");
        register_fails(store, "x", bad[i], BLOB_KIND_PERMANENT, 1,
                       BLOBSTORE_ERROR_INVALID, "*1 to 63 printable*");
    }
    register_fails(store, "x", more, BLOB_KIND_PERMANENT, 1,
                   BLOBSTORE_ERROR_INVALID, "*");
    register_fails(store, "x", "y", BLOB_KIND_PERMANENT, 0,
                   BLOBSTORE_ERROR_INVALID, "blob 'x/y': maximum size 0 *");
    register_fails(store, "x", "y", BLOB_KIND_PERMANENT,
                   BLOB_MAX_SIZE_BYTES + 1, BLOBSTORE_ERROR_INVALID,
                   "*67108865 is not between 1 and 67108864*");
    blob = blob_store_register(store, most, most, BLOB_KIND_SAVESTATE,
                               BLOB_MAX_SIZE_BYTES, NULL);
    g_assert_nonnull(blob);
    g_assert_true(blob_store_find(store, most, most) == blob);
    g_assert_null(blob_store_find(store, most, "x"));
    g_assert_cmpuint(disk->writes, ==, 0);
}

static void test_register_refuses_what_disagrees_with_the_medium(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "12345");
    register_fails(store, "t", "a", BLOB_KIND_PERMANENT, 1000,
                   BLOBSTORE_ERROR_EXISTS, "blob 't/a' is registered*");
    blob_store_unregister(store, blob);
    register_fails(store, "t", "a", BLOB_KIND_SAVESTATE, 1000,
                   BLOBSTORE_ERROR_KIND,
                   "*'t/a' is of kind permanent*, not savestate");
    register_fails(store, "t", "a", BLOB_KIND_PERMANENT, 4,
                   BLOBSTORE_ERROR_TOO_LARGE, "*'t/a' has 5 bytes*of 4 *");
    g_assert_true(test_register(store, "a", 5) == blob);
    test_write_fails(store, blob, "123456", BLOBSTORE_ERROR_TOO_LARGE, "*");
}

static void test_unregister_takes_back(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    BlobInfo info;

    /* A blob that has no place on the medium is gone at once. */
    blob_store_unregister(store, test_register(store, "b", 10));
    g_assert_cmpuint(blob_store_count(store), ==, 1);
    g_assert_null(blob_store_find(store, "t", "b"));

    /* A blob that has content stays. */
    test_write(store, blob, "kept");
    blob_store_unregister(store, blob);
    test_close(store);
    blob_get_info(blob, &info);
    g_assert_false(info.registered);
    test_expect(store, blob, "kept");

    /* A blob that was registered larger, but never started, keeps its size. */
    blob_store_unregister(store, test_register(store, "a", 50000));
    blob_get_info(blob, &info);
    g_assert_cmpuint(info.max_size, ==, 1000);

    /* An absent blob leaves with the next epoch record. */
    test_register(store, "a", 1000);
    test_write(store, blob, NULL);
    blob_store_unregister(store, blob);
    g_assert_cmpuint(blob_store_count(store), ==, 1);
    test_close(store);
    g_assert_cmpuint(blob_store_count(store), ==, 0);
    blob_store_free(store);
    store = test_open(disk);
    g_assert_cmpuint(blob_store_count(store), ==, 0);
}

static void test_names_of_kinds(void)
{
    g_assert_cmpstr(blob_kind_name(BLOB_KIND_PERMANENT), ==, "permanent");
    g_assert_cmpstr(blob_kind_name(BLOB_KIND_SAVESTATE), ==, "savestate");
}

static void test_read_fails_as_the_storage_does(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_auto(GStrv) metadata = NULL;
    GBytes *content;
    GError *error = NULL;

    test_write(store, blob, "one");
    for (int n = 0; n < 3; n++) {
        disk->fail_read = n;
        g_assert_false(blob_store_read(store, blob, &content, &metadata,
                                       &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO,
                          "blob 't/a': read failed as told");
        g_assert_null(content);
        g_assert_null(metadata);
    }
    /* A read error may pass, so it is no damage. */
    test_expect(store, blob, "one");
}

static void test_read_finds_every_damaged_sector(void)
{
    g_autofree char *text = g_strnfill(1000, 'x');

    for (unsigned sector = 0; sector < 16; sector++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
        uint8_t *at;

        test_write(store, blob, text);
        test_write(store, blob, text);
        g_assert_cmpuint(test_slot_image(blob), ==, 8192);
        at = test_slot(disk, blob, 1) + sector * TEST_SECTOR_BYTES;
        memset(at, 0x5a, TEST_SECTOR_BYTES);
        if (sector >= 5 && sector < 13) {
            test_expect(store, blob, text);     /* the sector is padding */
        } else {
            test_expect_damaged(store, blob);
            test_expect_damaged(store, blob);
        }
    }
}

/* The check value is right, but the content does not inflate. */
static void test_read_refuses_packed_content_that_does_not_inflate(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autofree char *text = g_strnfill(50000, 'p');
    g_autoptr(BlobStore) store = NULL;
    BlobStoreOptions options = { .pack = true };
    BlobHeader header;
    BlobSlot slot;
    g_autoptr(GBytes) junk = NULL;
    g_autoptr(GBytes) payload = NULL;
    GError *error = NULL;
    Blob *blob;
    BlobInfo info;

    store = blob_store_open(disk->storage, &options, NULL);
    blob = test_register(store, "a", 50000);
    test_start(store);
    test_write(store, blob, text);
    blob_get_info(blob, &info);
    g_assert_true(info.packed);
    g_assert_cmpuint(info.size, ==, 50000);
    g_assert_cmpuint(info.stored_size, <, 1000);
    test_expect(store, blob, text);

    g_assert_true(blob_version_load(store, blob, &header, &payload, NULL));
    junk = g_bytes_new("junk that is not deflated", header.stored_bytes < 25 ?
                       header.stored_bytes : 25);
    slot = blob_slot_of(blob, blob->entry.slot);
    g_assert_true(blob_slot_write(&store->medium, store->guard, &slot,
                                  &header, junk, true, NULL));
    memcpy(blob->entry.digest, header.version_digest, BLOB_DIGEST_BYTES);
    /* The directory says how much of it is stored. */
    g_assert_null(test_read(store, blob, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED,
                      "*'t/a' is damaged: *does not hold version*");
    g_clear_pointer(&blob->damage, g_free);
    blob->entry.stored_bytes = header.stored_bytes;
    g_assert_null(test_read(store, blob, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED,
                      "*'t/a' is damaged: *offset*cannot be inflated");
}

/* R14 */
static void test_clean_store_opens_by_its_directory_alone(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint64_t data_offset = store->super.data_offset;

    test_write(store, blobs[0], "a");
    test_write2(store, blobs[0], "a2", blobs[1], "b");
    test_close(store);
    test_disk_reset_counts(disk);
    test_close(store);
    g_assert_cmpuint(disk->writes, ==, 0);

    blob_store_free(store);
    test_disk_reset_counts(disk);
    store = test_open(disk);
    g_assert_cmpuint(disk->highest_read, <=, data_offset);
    g_assert_cmpuint(disk->writes + disk->flushes, ==, 0);
    test_expect(store, blob_store_find(store, "t", "a"), "a2");
    test_expect(store, blob_store_find(store, "t", "b"), "b");

    blob_store_free(store);
    store = test_store(disk, blobs, 2);
    blob_store_free(store);
    test_disk_reset_counts(disk);
    store = test_open(disk);
    g_assert_cmpuint(disk->highest_read, >, data_offset);
}

static void test_store_is_usable_after_a_clean_close(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_close(store);
    test_write(store, blob, "two");
    g_assert_false(store->epoch.clean);
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "two");
    /* A store that was not started has nothing to close. */
    test_disk_reset_counts(disk);
    test_close(store);
    g_assert_cmpuint(disk->writes, ==, 0);
}

static void test_clean_close_that_failed_can_be_repeated(void)
{
    for (int n = 0; n < 2; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
        GError *error = NULL;

        test_write(store, blob, "one");
        disk->fail_write = n;
        g_assert_false(blob_store_close_clean(store, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "write failed as told");
        test_close(store);
        blob_store_free(store);
        store = test_open(disk);
        g_assert_true(store->epoch.clean);
        test_expect(store, blob_store_find(store, "t", "a"), "one");
    }
}

/*
 * The failed record of a new epoch may be on the medium, so the store closes
 * again.
 */
static void test_clean_close_follows_a_failed_epoch(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_close(store);
    disk->fail_write = 1;
    test_write_fails(store, blob, "two", BLOBSTORE_ERROR_IO, "*");
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    g_assert_true(store->epoch.clean);
}

static void assert_unchanged(BlobStore *store, bool expected)
{
    bool unchanged = !expected;

    g_assert_true(blob_store_check_unchanged(store, &unchanged, NULL));
    g_assert_true(unchanged == expected);
}

static void test_another_writer_is_noticed(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_autoptr(BlobStore) other = NULL;
    g_autoptr(TestDisk) snapshot = NULL;
    bool unchanged;
    GError *error = NULL;

    test_write(store, blob, "one");
    assert_unchanged(store, true);
    test_write(store, blob, "two");
    test_close(store);
    assert_unchanged(store, true);
    snapshot = test_disk_clone(disk);
    test_write(store, blob, "three");
    assert_unchanged(store, true);

    /* A reader is not another writer. */
    other = test_open(disk);
    assert_unchanged(store, true);
    assert_unchanged(other, true);
    test_start(other);
    assert_unchanged(store, false);
    assert_unchanged(other, true);

    /* An older state of the medium is restored. */
    memcpy(test_disk_bytes(disk), test_disk_bytes(snapshot),
           test_disk_length(disk));
    assert_unchanged(other, false);
    memset(test_disk_bytes(disk), 0, test_disk_length(disk));
    assert_unchanged(other, false);
    disk->bad_bytes = test_disk_length(disk);
    g_assert_false(blob_store_check_unchanged(other, &unchanged, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "sector is bad");
}

/* An unreadable copy is healed by the next write. */
static void test_unreadable_copy_is_not_another_writer(void)
{
    for (unsigned n = 0; n < 2; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
        g_autoptr(BlobStore) other = NULL;
        BlobSlot copy = blob_pair_slot(&store->directory_pair, n);

        test_write(store, blob, "one");     /* on record: see R11 */
        other = test_open(disk);
        disk->bad_offset = copy.offset;
        disk->bad_bytes = TEST_SECTOR_BYTES;
        assert_unchanged(store, true);
        test_write(store, blob, "two");
        g_assert_cmpuint(disk->bad_bytes, ==, 0);
        assert_unchanged(store, true);
        assert_unchanged(other, false);
        disk->bad_offset = copy.offset;
        disk->bad_bytes = TEST_SECTOR_BYTES;
        assert_unchanged(other, false);
    }
}

/* A record that was cut short, by us or before us, is no other writer's. */
static void test_own_cut_record_is_not_another_writer(void)
{
    for (int n = 0; n < 4; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
        g_autoptr(BlobStore) next = NULL;

        test_write(store, blob, "one");
        test_close(store);
        disk->fail_write = n / 2;
        disk->failing_write_lands = n % 2;
        test_write_fails(store, blob, "two", BLOBSTORE_ERROR_IO, "*");
        assert_unchanged(store, true);
        next = test_open(disk);
        assert_unchanged(next, true);
        test_write(store, blob, "two");
        assert_unchanged(store, true);
    }
}

static void test_blank_medium_is_unchanged(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);

    assert_unchanged(store, true);
}

static void test_info_tells_what_there_is(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);
    BlobStoreStatus info;
    BlobInfo blob_info;
    Blob *blob = test_register(store, "a", 5000);

    blob_store_get_status(store, &info);
    g_assert_true(info.blank);
    g_assert_false(info.started);
    g_assert_cmpuint(info.capacity, ==, 0);
    blob_get_info(blob, &blob_info);
    g_assert_cmpuint(blob_info.slots, ==, 0);
    g_assert_cmpuint(blob_info.max_size, ==, 5000);

    test_start(store);
    test_write(store, blob, "one");
    test_write(store, blob, "two");
    blob_store_get_status(store, &info);
    g_assert_false(info.blank);
    g_assert_true(info.started);
    g_assert_false(info.read_only);
    g_assert_cmpuint(info.format_version, ==, 1);
    g_assert_cmpuint(info.block_size, ==, 4096);
    g_assert_cmpuint(info.capacity, ==, TEST_DISK_BYTES);
    g_assert_cmpuint(info.commits, ==, 2);
    g_assert_cmpuint(blob_store_required_bytes(store) + info.free, ==,
                     TEST_DISK_BYTES);
    g_assert_cmpuint(info.uuid[6] >> 4, ==, 4);
    g_assert_cmpuint(info.uuid[8] >> 6, ==, 2);
    g_assert_cmpmem(info.epoch_id, 16, store->epoch.id, 16);

    blob_get_info(blob, &blob_info);
    g_assert_cmpstr(blob_info.owner, ==, "t");
    g_assert_cmpstr(blob_info.name, ==, "a");
    g_assert_true(blob_info.registered && blob_info.present);
    g_assert_false(blob_info.packed);
    g_assert_cmpuint(blob_info.sequence, ==, info.sequence);
    g_assert_cmpuint(blob_info.slots, ==, 2);
    g_assert_false(blob_info.slot[0].current);
    g_assert_true(blob_info.slot[1].current);
    g_assert_cmpuint(blob_info.slot[1].offset, ==,
                     blob_info.slot[0].offset + blob_info.slot[0].length);
    g_assert_true(blob_store_nth(store, 0) == blob);
    g_assert_null(blob_store_nth(store, 1));
}

static void test_freeing_nothing_is_fine(void)
{
    blob_store_free(NULL);
    blob_storage_free(NULL);
    blob_digest_free(NULL);
    blob_space_free(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/store/" #name, test_##name)
    ADD(register_keeps_its_limits);
    ADD(register_refuses_what_disagrees_with_the_medium);
    ADD(unregister_takes_back);
    ADD(names_of_kinds);
    ADD(read_fails_as_the_storage_does);
    ADD(read_finds_every_damaged_sector);
    ADD(read_refuses_packed_content_that_does_not_inflate);
    ADD(clean_store_opens_by_its_directory_alone);
    ADD(store_is_usable_after_a_clean_close);
    ADD(clean_close_that_failed_can_be_repeated);
    ADD(clean_close_follows_a_failed_epoch);
    ADD(another_writer_is_noticed);
    ADD(unreadable_copy_is_not_another_writer);
    ADD(own_cut_record_is_not_another_writer);
    ADD(blank_medium_is_unchanged);
    ADD(info_tells_what_there_is);
    ADD(freeing_nothing_is_fine);
    return g_test_run();
}
