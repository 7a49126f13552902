/*
 * Unit tests of the core: opening media with damaged and unreadable copies of
 * superblock and directory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

static void test_both_superblocks_damaged_are_refused(Trio *trio,
                                                      gconstpointer unused)
{
    static const unsigned places[] = { 0, 100, 1300, 12287 };

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        uint8_t *bytes = test_disk_bytes(trio->disk);

        bytes[places[i]] ^= 1;
        bytes[BLOB_SUPERBLOCK_SLOT_BYTES + places[i]] ^= 1;
        trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT,
                         "both copies of the superblock (offsets 0 and 16384)"
                         " are damaged*backup");
        trio_renew(trio);
    }
}

/* A read error must not make a store look like something else. */
static void test_damaged_superblocks_behind_a_read_error(
    Trio *trio, gconstpointer unused)
{
    bool io = true;

    g_clear_pointer(&trio->store, blob_store_free);
    test_disk_bytes(trio->disk)[1300] ^= 1;
    test_disk_bytes(trio->disk)[BLOB_SUPERBLOCK_SLOT_BYTES + 1300] ^= 1;
    for (int n = 0; io; n++) {
        GError *error = NULL;

        trio->disk->fail_read = n;
        g_assert_null(blob_store_open(trio->disk->storage, NULL, &error));
        io = error->code == BLOBSTORE_ERROR_IO;
        g_assert_true(io || error->code == BLOBSTORE_ERROR_CORRUPT);
        g_error_free(error);
    }
}

static void test_damaged_directory_copy_is_lived_with(Trio *trio,
                                                      gconstpointer unused)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(&trio->store->directory_pair, n);
        uint8_t *at = test_disk_bytes(trio->disk) + slot.offset;

        at[1300] ^= 1;
        trio_crash(trio);
        g_assert_true(g_str_has_prefix(blob_store_warnings(trio->store)[0],
                                       "directory copy at offset"));
        g_assert_null(blob_store_warnings(trio->store)[1]);
        trio_expect(trio, "a1", "b1", "c1");
        trio_start(trio);
        trio_crash(trio);
        g_assert_null(blob_store_warnings(trio->store)[0]);
        trio_renew(trio);
    }
}

/*
 * Returns where a copy of superblock or directory begins, for @n from 0 to 3.
 */
static uint64_t copy_offset(const Trio *trio, unsigned n)
{
    return blob_pair_slot(n < 2 ? &trio->store->super_pair
                                : &trio->store->directory_pair, n % 2).offset;
}

static void test_unreadable_copy_is_lived_with(Trio *trio,
                                               gconstpointer unused)
{
    static const unsigned sectors[] = { 0, 3, 8 };

    for (unsigned i = 0; i < 4 * G_N_ELEMENTS(sectors); i++) {
        const char *const *warnings;
        uint64_t at = copy_offset(trio, i % 4) +
                      sectors[i / 4] * TEST_SECTOR_BYTES;
        bool unchanged = false;

        trio->disk->bad_offset = at;
        trio->disk->bad_bytes = TEST_SECTOR_BYTES;
        trio_crash(trio);
        warnings = blob_store_warnings(trio->store);
        g_assert_true(g_str_has_suffix(warnings[0],
                                       " cannot be read: sector is bad; the "
                                       "other copy is used"));
        g_assert_null(warnings[1]);
        trio_expect(trio, "a1", "b1", "c1");
        g_assert_cmpuint(trio->disk->bad_bytes, ==, TEST_SECTOR_BYTES);
        trio_start(trio);
        g_assert_cmpuint(trio->disk->bad_bytes, ==, 0);
        g_assert_true(blob_store_check_unchanged(trio->store, &unchanged,
                                                 NULL));
        g_assert_true(unchanged);
        trio_crash(trio);
        g_assert_cmpstr(blob_store_warnings(trio->store)[0], ==, NULL);
        trio_renew(trio);
    }
}

static void test_unreadable_copy_beside_a_damaged_one_is_an_error(
    Trio *trio, gconstpointer unused)
{
    for (unsigned n = 0; n < 4; n++) {
        uint64_t first = copy_offset(trio, n & 2);
        uint64_t second = copy_offset(trio, n | 1);
        uint64_t other = n & 1 ? first : second;

        trio->disk->bad_offset = n & 1 ? second : first;
        trio->disk->bad_bytes = TEST_SECTOR_BYTES;
        test_disk_bytes(trio->disk)[other + 1300] ^= 1;
        trio_crash_fails(trio, BLOBSTORE_ERROR_IO, "sector is bad");
        test_disk_bytes(trio->disk)[other + 1300] ^= 1;
        /* Both areas are bad at once. */
        trio->disk->bad_offset = first;
        trio->disk->bad_bytes = second - first + TEST_SECTOR_BYTES;
        trio_crash_fails(trio, BLOBSTORE_ERROR_IO, "sector is bad");
        trio->disk->bad_bytes = 0;
        trio_crash(trio);
        trio_expect(trio, "a1", "b1", "c1");
        trio_start(trio);
    }
}

static void test_both_directories_damaged_are_refused(Trio *trio,
                                                      gconstpointer unused)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(&trio->store->directory_pair, n);

        test_disk_bytes(trio->disk)[slot.offset + 10] ^= 1;
    }
    trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT,
                     "both copies of the directory*are damaged*backup");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD_TRIO(name) g_test_add("/open-damaged/" #name, Trio, NULL, \
                                  trio_set_up, test_##name, trio_tear_down)
    ADD_TRIO(both_superblocks_damaged_are_refused);
    ADD_TRIO(damaged_superblocks_behind_a_read_error);
    ADD_TRIO(damaged_directory_copy_is_lived_with);
    ADD_TRIO(unreadable_copy_is_lived_with);
    ADD_TRIO(unreadable_copy_beside_a_damaged_one_is_an_error);
    ADD_TRIO(both_directories_damaged_are_refused);
    return g_test_run();
}
