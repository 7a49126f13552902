/*
 * Unit tests of the core: media that open, and media that are refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

static void test_blank_medium_is_a_store_to_be(void)
{
    static const uint64_t sizes[] = { 0, 512, 32768, TEST_DISK_BYTES, 1000 };

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(TestDisk) disk = test_disk_new(sizes[i]);
        g_autoptr(BlobStore) store = test_open(disk);

        g_assert_true(store->blank);
        g_assert_cmpuint(blob_store_count(store), ==, 0);
        g_assert_cmpuint(disk->writes + disk->flushes, ==, 0);
    }
}

static void test_blank_medium_is_refused_if_a_store_is_wanted(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    BlobStoreOptions never = { .create_never = true };
    static const uint8_t wanted[BLOB_UUID_BYTES] = {
        0x5d, 0x5f, 0xf9, 0xd0, 0x0d, 0x47, 0x4c, 0x7b,
        0x8d, 0x22, 0x3f, 0xd4, 0x0b, 0x1e, 0xc6, 0xb3,
    };
    BlobStoreOptions uuid = { .uuid = wanted };

    test_open_fails(disk, &never, BLOBSTORE_ERROR_BLANK,
                    "medium is blank, and no store may be created on it: is*");
    test_open_fails(disk, &uuid, BLOBSTORE_ERROR_UUID,
                    "medium is blank*5d5ff9d0-0d47-4c7b-8d22-3fd40b1ec6b3 *");

    /* A medium whose format was cut short counts as blank. */
    {
        g_autoptr(BlobStore) store = test_open(disk);

        disk->fail_write = 1;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    }
    test_open_fails(disk, &never, BLOBSTORE_ERROR_BLANK, "*blank*");
    memset(test_disk_bytes(disk), 0, 512);
    test_open_fails(disk, &never, BLOBSTORE_ERROR_BLANK, "*blank*");
}

static void expect_opens(TestDisk *disk, const BlobStoreOptions *options)
{
    g_autoptr(BlobStore) store =
        blob_store_open(disk->storage, options, NULL);

    g_assert_nonnull(store);
}

static void test_large_blank_medium_is_refused_after_a_look(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    uint8_t *bytes = test_disk_bytes(disk);
    BlobStoreOptions small = { .create_max_bytes = TEST_DISK_BYTES - 4096 };
    BlobStoreOptions large = { .create_max_bytes = TEST_DISK_BYTES };
    BlobStoreOptions never = small;

    never.create_never = true;
    test_open_fails(disk, &small, BLOBSTORE_ERROR_BLANK,
                    "medium of 1048576 bytes seems blank, but has more than "
                    "1044480, so no store is created on it: is*");
    test_open_fails(disk, &never, BLOBSTORE_ERROR_BLANK,
                    "medium is blank, and no store may be created on it: is*");
    expect_opens(disk, &large);

    /* All else is known as before, and the end of the medium is not read. */
    bytes[TEST_DISK_BYTES - 1] = 1;
    test_open_fails(disk, &small, BLOBSTORE_ERROR_BLANK, "*seems blank*");
    bytes[0] = 1;
    test_open_fails(disk, &small, BLOBSTORE_ERROR_FOREIGN, "*offset 0");
    bytes[0] = bytes[TEST_DISK_BYTES - 1] = 0;
    {
        g_autoptr(BlobStore) store = test_open(disk);

        disk->fail_write = 1;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    }
    expect_opens(disk, &small);
    memset(bytes, 0, 512);
    expect_opens(disk, &small);
}

static void test_anything_else_is_refused_and_named(void)
{
    static const struct {
        uint64_t offset;
        const char *bytes;
        const char *pattern;
    } cases[] = {
        { 1080, "\x53\xef", "*not a blobstore*ext4*offset 1080" },
        { 510, "\x55\xaa", "*MBR*offset 510" },
        { 512, "EFI PART", "*GPT*offset 512" },
        { 0, "QFI\xfb", "*qcow2*offset 0" },
        { 0, "LUKS\xba\xbe", "*LUKS*offset 0" },
        { TEST_DISK_BYTES - 1, "\1", "*unknown data*offset 1048575" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);

        memcpy(test_disk_bytes(disk) + cases[i].offset, cases[i].bytes,
               strlen(cases[i].bytes));
        test_open_fails(disk, NULL, BLOBSTORE_ERROR_FOREIGN,
                        cases[i].pattern);
    }
}

static void test_small_medium_with_data_is_refused(void)
{
    static const uint64_t sizes[] = { 512, 1000, 16384 };

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(TestDisk) disk = test_disk_new(sizes[i]);

        test_disk_bytes(disk)[sizes[i] - 1] = 1;
        test_open_fails(disk, NULL, BLOBSTORE_ERROR_FOREIGN,
                        "*unknown data*");
    }
}

static void test_store_is_known_by_its_uuid(Trio *trio, gconstpointer unused)
{
    BlobStoreOptions options = { .create_never = true };
    BlobStoreStatus info;
    g_autoptr(BlobStore) store = NULL;

    blob_store_get_status(trio->store, &info);
    options.uuid = info.uuid;
    store = blob_store_open(trio->disk->storage, &options, NULL);
    g_assert_nonnull(store);
    for (unsigned bit = 0; bit < 8 * BLOB_UUID_BYTES; bit++) {
        info.uuid[bit / 8] ^= 1 << bit % 8;
        test_open_fails(trio->disk, &options, BLOBSTORE_ERROR_UUID,
                        "medium holds the store with uuid *, but uuid * asked*");
        info.uuid[bit / 8] ^= 1 << bit % 8;
    }
}

static void newer_version(BlobSuperblock *super, BlobHeader *header)
{
    super->version = 2;
}

static void incompatible(BlobSuperblock *super, BlobHeader *header)
{
    super->incompatible = 2;
}

static void ro_compatible(BlobSuperblock *super, BlobHeader *header)
{
    super->ro_compatible = 4;
}

static void compatible(BlobSuperblock *super, BlobHeader *header)
{
    super->compatible = 8;
}

static void older(BlobSuperblock *super, BlobHeader *header)
{
    super->generation = --header->sequence;
}

static void last_generation(BlobSuperblock *super, BlobHeader *header)
{
    super->generation = header->sequence = BLOB_GENERATION_MAX;
}

static void beyond_the_last_generation(BlobSuperblock *super,
                                       BlobHeader *header)
{
    super->generation = header->sequence = BLOB_GENERATION_MAX + 1;
}

static void generation_that_would_wrap(BlobSuperblock *super,
                                       BlobHeader *header)
{
    super->generation = header->sequence = UINT64_MAX;
}

static void newer_header(BlobSuperblock *super, BlobHeader *header)
{
    header->sequence++;
}

static void packed(BlobSuperblock *super, BlobHeader *header)
{
    header->flags = BLOB_FLAG_PACKED;
    header->raw_bytes++;
}

static void other_geometry(BlobSuperblock *super, BlobHeader *header)
{
    super->data_offset += BLOB_BLOCK_BYTES;
}

static void test_superblock_that_is_not_ours_is_refused(Trio *trio,
                                                        gconstpointer unused)
{
    static const struct {
        TestEditSuper *edit;
        BlobStoreError code;
        const char *pattern;
    } cases[] = {
        { newer_version, BLOBSTORE_ERROR_UNSUPPORTED,
          "store has format version 2, this program knows version 1*" },
        { incompatible, BLOBSTORE_ERROR_UNSUPPORTED, "*bits 0x2)*" },
        { other_geometry, BLOBSTORE_ERROR_CORRUPT, "superblock*no sense" },
        { beyond_the_last_generation, BLOBSTORE_ERROR_CORRUPT,
          "superblock*no sense" },
        { generation_that_would_wrap, BLOBSTORE_ERROR_CORRUPT,
          "superblock*no sense" },
        { older, BLOBSTORE_ERROR_STALE,
          "superblock (generation 1) is older than the directory (2)*" },
        { newer_header, BLOBSTORE_ERROR_CORRUPT,
          "superblock does not belong to its header" },
        { packed, BLOBSTORE_ERROR_CORRUPT,
          "superblock does not belong to its header" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        test_edit_superblock(trio->disk, cases[i].edit);
        trio_crash_fails(trio, cases[i].code, cases[i].pattern);
        trio_renew(trio);
    }
}

/* R1: the store takes commits, but no change of the superblock. */
static void test_store_of_the_last_generation_is_used(Trio *trio,
                                                      gconstpointer unused)
{
    test_edit_superblock(trio->disk, last_generation);
    trio_crash(trio);
    trio_start(trio);
    trio_write(trio, 0, "a2");
    trio_crash(trio);
    trio_expect(trio, "a2", "b1", "c1");
}

static void test_unknown_ro_compatible_feature_makes_read_only(
    Trio *trio, gconstpointer unused)
{
    BlobStoreStatus info;

    test_edit_superblock(trio->disk, ro_compatible);
    trio_crash(trio);
    blob_store_get_status(trio->store, &info);
    g_assert_true(info.read_only);
    g_assert_true(g_str_has_prefix(blob_store_warnings(trio->store)[0],
                                   "store uses features"));
    trio_expect(trio, "a1", "b1", "c1");
    test_start_fails(trio->store, BLOBSTORE_ERROR_READ_ONLY, "*");
}

/* The feature is still there after the superblock was healed. */
static void test_unknown_compatible_feature_is_ignored_and_kept(
    Trio *trio, gconstpointer unused)
{
    test_edit_superblock(trio->disk, compatible);
    test_disk_bytes(trio->disk)[100] ^= 1;
    trio_crash(trio);
    g_assert_false(trio->store->read_only);
    trio_start(trio);
    test_disk_bytes(trio->disk)[BLOB_SUPERBLOCK_SLOT_BYTES + 100] ^= 1;
    trio_crash(trio);
    g_assert_cmpuint(trio->store->super.compatible, ==, 8);
    trio_expect(trio, "a1", "b1", "c1");
}

static void test_read_only_store_is_not_written(Trio *trio,
                                                gconstpointer unused)
{
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(BlobStore) store = NULL;
    Blob *blob;

    trio_write(trio, 0, "a2");
    test_disk_reset_counts(trio->disk);
    store = blob_store_open(trio->disk->storage, &options, NULL);
    blob = test_register(store, "a", 1000);
    test_expect(store, blob, "a2");
    test_start_fails(store, BLOBSTORE_ERROR_READ_ONLY, "*reading only");
    test_write_fails(store, blob, "a3", BLOBSTORE_ERROR_READ_ONLY, "*");
    test_close(store);
    g_assert_cmpuint(trio->disk->writes + trio->disk->flushes, ==, 0);
}

static void other_epoch(BlobDirectory *directory)
{
    directory->epoch++;
}

static void other_epoch_id(BlobDirectory *directory)
{
    directory->epoch_id[0]++;
}

static void entry_outside(BlobDirectory *directory)
{
    g_array_index(directory->entries, BlobEntry, 0).offset = 4096;
}

static void endless_capacity(BlobDirectory *directory)
{
    directory->capacity = ~UINT64_C(4095);
}

static void entry_behind_the_end(BlobDirectory *directory)
{
    directory->capacity = ~UINT64_C(4095);
    g_array_index(directory->entries, BlobEntry, 0).offset =
        directory->capacity - (1 << 20);
}

static void test_directory_that_makes_no_sense_is_refused(
    Trio *trio, gconstpointer unused)
{
    test_edit_directory(trio->disk, other_epoch);
    trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT, "directory does not*");
    trio_renew(trio);
    test_edit_directory(trio->disk, other_epoch_id);
    trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT, "directory does not*");
    trio_renew(trio);
    test_edit_directory(trio->disk, entry_outside);
    trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT, "directory*no sense");
    trio_renew(trio);
    test_edit_directory(trio->disk, entry_behind_the_end);
    trio_crash_fails(trio, BLOBSTORE_ERROR_TOO_SMALL, "*was it shrunk?");
}

static void other_length(BlobDirectory *directory)
{
    BlobEntry *entry = &g_array_index(directory->entries, BlobEntry, 0);

    entry->raw_bytes = ++entry->stored_bytes;
}

static void other_metadata(BlobDirectory *directory)
{
    g_array_index(directory->entries, BlobEntry, 0).metadata_bytes = 1;
}

static void test_entry_unlike_its_slot_is_damage(Trio *trio,
                                                 gconstpointer unused)
{
    for (int i = 0; i < 2; i++) {
        test_close(trio->store);
        test_edit_directory(trio->disk, i ? other_length : other_metadata);
        trio_crash(trio);
        trio_expect(trio, "damaged", "b1", "c1");
        trio_renew(trio);
    }
}

static void test_capacity_is_what_the_medium_has(Trio *trio,
                                                 gconstpointer unused)
{
    BlobStoreStatus info;

    test_edit_directory(trio->disk, endless_capacity);
    trio_crash(trio);
    blob_store_get_status(trio->store, &info);
    g_assert_cmpuint(info.capacity, ==, test_disk_length(trio->disk));
    trio_start(trio);
    trio_expect(trio, "a1", "b1", "c1");
}

static void test_shrunk_medium_is_refused(Trio *trio, gconstpointer unused)
{
    uint64_t needed = blob_store_required_bytes(trio->store);
    uint64_t data_offset = trio->store->super.data_offset;
    g_autofree char *message = g_strdup_printf(
        "store needs %" G_GUINT64_FORMAT " bytes, the medium has %"
        G_GUINT64_FORMAT ": was it shrunk?", needed, needed - 512);

    /* A shrink down to the space in use does no harm. */
    test_disk_resize(trio->disk, needed);
    trio_crash(trio);
    trio_expect(trio, "a1", "b1", "c1");
    trio_start(trio);
    test_disk_resize(trio->disk, needed - 512);
    trio_crash_fails(trio, BLOBSTORE_ERROR_TOO_SMALL, message);
    test_disk_resize(trio->disk, data_offset - 512);
    trio_crash_fails(trio, BLOBSTORE_ERROR_TOO_SMALL,
                     "store needs at least *was it shrunk?");
}

static void test_open_fails_as_the_storage_does(void)
{
    for (int kind = 0; kind < 3; kind++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        BlobStore *store = NULL;
        GError *error = NULL;
        int n;

        /* The medium is blank, holds a store, or holds a cut format. */
        if (kind) {
            store = test_open(disk);
            disk->fail_write = kind == 2 ? 1 : TEST_NEVER;
            g_assert_true(blob_store_start(store, NULL) == (kind == 1));
            g_clear_pointer(&store, blob_store_free);
        }
        if (kind == 2) {
            memset(test_disk_bytes(disk), 0, 512);
        }
        disk->fail_length = 0;
        test_open_fails(disk, NULL, BLOBSTORE_ERROR_IO, "length failed*");
        for (n = 0; !store; n++) {
            disk->fail_read = n;
            disk->reads = 0;
            store = blob_store_open(disk->storage, NULL, &error);
            if (!store) {
                test_assert_error(&error, BLOBSTORE_ERROR_IO,
                                  "*read failed as told");
            }
        }
        /* Whichever read fails, the opening fails. */
        if (kind != 1) {
            g_assert_cmpint(n, ==, disk->reads + 1);
            g_assert_cmpint(n, >, 3);
        } else {
            /* The exception is a read of one of two copies. */
            g_assert_cmpint(n, ==, 1);
            g_assert_nonnull(blob_store_warnings(store)[0]);
        }
        blob_store_free(store);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/open/" #name, test_##name)
#define ADD_TRIO(name) g_test_add("/open/" #name, Trio, NULL, trio_set_up, \
                                  test_##name, trio_tear_down)
    ADD(blank_medium_is_a_store_to_be);
    ADD(blank_medium_is_refused_if_a_store_is_wanted);
    ADD(large_blank_medium_is_refused_after_a_look);
    ADD(anything_else_is_refused_and_named);
    ADD(small_medium_with_data_is_refused);
    ADD_TRIO(store_is_known_by_its_uuid);
    ADD_TRIO(superblock_that_is_not_ours_is_refused);
    ADD_TRIO(store_of_the_last_generation_is_used);
    ADD_TRIO(unknown_ro_compatible_feature_makes_read_only);
    ADD_TRIO(unknown_compatible_feature_is_ignored_and_kept);
    ADD_TRIO(read_only_store_is_not_written);
    ADD_TRIO(directory_that_makes_no_sense_is_refused);
    ADD_TRIO(entry_unlike_its_slot_is_damage);
    ADD_TRIO(capacity_is_what_the_medium_has);
    ADD_TRIO(shrunk_medium_is_refused);
    ADD(open_fails_as_the_storage_does);
    return g_test_run();
}
