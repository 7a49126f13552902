/*
 * Unit tests of the core: blank media, and media that hold something else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>
#include "blobstore/blank.h"
#include "hooked.h"

enum { MARKER_BYTES = 12288, MEDIUM_BYTES = 3 << 20 };

typedef struct Setup {
    TestDisk *disk;
    BlobMedium medium;
    BlobGuard *zero_guard;
    uint8_t *bytes;
} Setup;

static void set_up(Setup *setup, gconstpointer unused)
{
    setup->disk = test_disk_new(MEDIUM_BYTES);
    setup->medium = (BlobMedium) { .storage = setup->disk->storage };
    setup->zero_guard = blob_guard_new_plain(NULL);
    setup->bytes = test_disk_bytes(setup->disk);
}

static void tear_down(Setup *setup, gconstpointer unused)
{
    blob_guard_free(setup->zero_guard);
    test_disk_free(setup->disk);
}

static uint64_t find(Setup *setup, uint64_t start, uint64_t end)
{
    uint64_t offset;

    g_assert_true(blob_blank_find_data(&setup->medium, start, end, &offset,
                                       NULL));
    return offset;
}

static void test_first_byte_is_found_wherever_it_is(Setup *setup,
                                                    gconstpointer unused)
{
    static const uint64_t places[] = { 0, 1, 511, 512, (1 << 20) - 1, 1 << 20,
                                       MEDIUM_BYTES - 1 };

    g_assert_cmpuint(find(setup, 0, MEDIUM_BYTES), ==, MEDIUM_BYTES);
    g_assert_cmpuint(find(setup, 4096, 4096), ==, 4096);
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        setup->bytes[places[i]] = 0x80;
        g_assert_cmpuint(find(setup, 0, MEDIUM_BYTES), ==, places[i]);
        setup->bytes[places[i]] = 0;
    }
    setup->bytes[4095] = 1;
    setup->bytes[8192] = 1;
    g_assert_cmpuint(find(setup, 4096, 8192), ==, 8192);
}

static void test_find_fails_as_the_storage_does(Setup *setup,
                                                gconstpointer unused)
{
    uint64_t offset;
    GError *error = NULL;

    setup->disk->fail_read = 2;
    g_assert_false(blob_blank_find_data(&setup->medium, 0, MEDIUM_BYTES,
                                        &offset, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "read failed as told");
}

/*
 * The holes lie on an odd grid, and may reach past the range that was asked
 * for.
 */
static uint64_t some_holes(void *opaque, uint64_t offset, uint64_t bytes)
{
    if (offset < 1 << 20) {
        return (1 << 20) + 100 - offset;
    }
    return offset < 2 << 20 ? 0 : 2 * bytes;
}

static void test_holes_are_not_read(Setup *setup, gconstpointer unused)
{
    static const Hooks hooks = { .known_zero = some_holes };
    g_autoptr(BlobStorage) storage = hooked_storage_new(setup->disk->storage,
                                                        &hooks, NULL);

    setup->medium.storage = storage;
    g_assert_cmpuint(find(setup, 0, MEDIUM_BYTES), ==, MEDIUM_BYTES);
    g_assert_cmpuint(setup->disk->bytes_read, ==, 1 << 20);
    setup->bytes[(1 << 20) + 50] = 1;
    g_assert_cmpuint(find(setup, 0, MEDIUM_BYTES), ==, (1 << 20) + 50);
}

/* One block of sixteen is allocated, and holds zeros. */
static uint64_t scattered(void *opaque, uint64_t offset, uint64_t bytes)
{
    uint64_t within = offset % (16 * BLOB_BLOCK_BYTES);

    return within < BLOB_BLOCK_BYTES ? 0 : 16 * BLOB_BLOCK_BYTES - within;
}

static void test_what_is_read_is_in_proportion_to_what_is_allocated(
    Setup *setup, gconstpointer unused)
{
    static const Hooks hooks = { .known_zero = scattered };
    g_autoptr(BlobStorage) storage = hooked_storage_new(setup->disk->storage,
                                                        &hooks, NULL);

    setup->medium.storage = storage;
    g_assert_cmpuint(find(setup, 0, MEDIUM_BYTES), ==, MEDIUM_BYTES);
    g_assert_cmpuint(setup->disk->bytes_read, ==, MEDIUM_BYTES / 16);
}

static void test_what_is_there_is_named(Setup *setup, gconstpointer unused)
{
    static const struct {
        uint32_t offset;
        const char *signature;
        const char *what;
    } known[] = {
        { 0, "QFI\xfb", "*qcow2*" },
        { 0, "LUKS\xba\xbe", "*LUKS*" },
        { 0, "VMDK", "*VMDK*" },
        { 0, "KDMV", "*VMDK*" },
        { 0, "conectix", "*VHD image" },
        { 0, "vhdxfile", "*VHDX*" },
        { 64, "\x7f\x10\xda\xbe", "*VDI*" },
        { 512, "EFI PART", "*GPT*" },
        { 4096, "EFI PART", "*GPT*" },
        { 512, "LABELONE", "*LVM*" },
        { 0, "XFSB", "*XFS*" },
        { 3, "NTFS    ", "*NTFS*" },
        { 82, "FAT32", "*FAT*" },
        { 54, "FAT16", "*FAT*" },
        { 0, "hsqs", "*squashfs*" },
        { 1080, "\x53\xef", "*ext4*" },
        { 65600, "_BHRfS_M", "*btrfs*" },
        { 32769, "CD001", "*ISO 9660*" },
        { 4086, "SWAPSPACE2", "swap*" },
        { 0, "\x1f\x8b", "*gzip*" },
        { 257, "ustar", "*tar*" },
        { 0, "\x7f" "ELF", "*ELF*" },
        { 510, "\x55\xaa", "*MBR*" },
        { 0, "something", "unknown data" },
    };

    for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
        size_t bytes = strlen(known[i].signature);
        const char *what;

        memcpy(setup->bytes + known[i].offset, known[i].signature, bytes);
        what = blob_blank_describe(&setup->medium, MEDIUM_BYTES);
        if (!g_pattern_match_simple(known[i].what, what)) {
            g_error("%s taken for %s", known[i].what, what);
        }
        /* Many formats have a boot sector's signature. */
        memcpy(setup->bytes + 510, "\x55\xaa", 2);
        if (i < G_N_ELEMENTS(known) - 1) {
            g_assert_true(blob_blank_describe(&setup->medium,
                                              MEDIUM_BYTES) == what);
        }
        memset(setup->bytes, 0, 1 << 20);
    }
}

static void test_small_or_unreadable_media_are_described(
    Setup *setup, gconstpointer unused)
{
    setup->disk->fail_read = 0;
    g_assert_cmpstr(blob_blank_describe(&setup->medium, MEDIUM_BYTES), ==,
                    "unreadable data");
    test_disk_resize(setup->disk, 512);
    g_assert_cmpstr(blob_blank_describe(&setup->medium, 512), ==,
                    "unknown data");
    memcpy(test_disk_bytes(setup->disk) + 510, "\x55\xaa", 2);
    g_assert_true(g_str_has_prefix(blob_blank_describe(&setup->medium, 512),
                                   "a boot sector"));
}

static bool is_cut(Setup *setup)
{
    bool result;

    g_assert_true(blob_blank_is_cut_marker(&setup->medium, setup->zero_guard,
                                           MEDIUM_BYTES, &result, NULL));
    return result;
}

/*
 * Returns the marker that a format would write; the medium is blank
 * afterwards.
 */
static uint8_t *marker(Setup *setup)
{
    uint8_t *copy;

    g_assert_true(blob_blank_write_marker(&setup->medium, setup->zero_guard,
                                          NULL));
    g_assert_cmpuint(setup->disk->durable_writes, ==, 1);
    copy = g_memdup2(setup->bytes, MARKER_BYTES);
    g_assert_cmpuint(find(setup, MARKER_BYTES, MEDIUM_BYTES), ==,
                     MEDIUM_BYTES);
    memset(setup->bytes, 0, MARKER_BYTES);
    return copy;
}

/* docs/format.md, section 8, (a): the bytes are the same for every store. */
static void test_marker_is_always_the_same(Setup *setup, gconstpointer unused)
{
    g_autofree uint8_t *first = marker(setup);
    uint8_t hash[BLOB_DIGEST_BYTES];
    BlobHeader header;

    setup->disk->durable_writes = 0;
    {
        g_autofree uint8_t *second = marker(setup);

        g_assert_cmpmem(first, MARKER_BYTES, second, MARKER_BYTES);
    }
    g_assert_true(blob_layout_decode_header(first, setup->zero_guard, 0, 0,
                                            BLOB_SUPERBLOCK_SLOT_BYTES,
                                            &header));
    g_assert_cmpuint(header.sequence, ==, 1);
    g_assert_cmpuint(header.previous, ==, 0);
    g_assert_cmpuint(header.raw_bytes, ==, 8704);
    blob_digest_sha256(first + 1280, 8704, hash);
    g_assert_cmpmem(hash, 32, header.digest, 32);
    g_assert_cmpuint(first[1280], ==, 1);
    g_assert_cmpuint(first[1284], ==, BLOB_STATE_CREATING);
    g_assert_cmpmem(first + MARKER_BYTES - 1280, 1280, first, 1280);
}

/*
 * R13: any subset of the marker's sectors counts, except the empty one, which
 * is blank.
 */
static void test_any_part_of_the_marker_is_a_cut_marker(
    Setup *setup, gconstpointer unused)
{
    g_autofree uint8_t *whole = marker(setup);
    g_autoptr(GArray) sectors = g_array_new(FALSE, FALSE, sizeof(unsigned));

    for (unsigned at = 0; at < MARKER_BYTES; at += TEST_SECTOR_BYTES) {
        if (memcmp(whole + at, setup->bytes + at, TEST_SECTOR_BYTES)) {
            g_array_append_val(sectors, at);
        }
    }
    g_assert_cmpuint(sectors->len, >=, 4);
    for (unsigned mask = 0; mask < 1 << sectors->len; mask++) {
        memset(setup->bytes, 0, MARKER_BYTES);
        for (guint i = 0; i < sectors->len; i++) {
            unsigned at = g_array_index(sectors, unsigned, i);

            if (mask >> i & 1) {
                memcpy(setup->bytes + at, whole + at, TEST_SECTOR_BYTES);
            }
        }
        g_assert_true(is_cut(setup) == (mask != 0));
    }
}

/* The sector or block in which the cut happened may hold anything. */
static void test_cut_marker_may_have_one_garbled_block(Setup *setup,
                                                       gconstpointer unused)
{
    static const unsigned sizes[] = { 512, 4096 };
    g_autofree uint8_t *whole = marker(setup);

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        for (unsigned at = 0; at < MARKER_BYTES; at += sizes[i]) {
            memcpy(setup->bytes, whole, MARKER_BYTES);
            memset(setup->bytes + at, 0xe5, sizes[i]);
            g_assert_true(is_cut(setup));
            setup->bytes[(at + 4096) % MARKER_BYTES] ^= 0x5a;
            g_assert_false(is_cut(setup));
        }
    }
    /* A medium with garbled bytes alone might be anybody's. */
    memset(setup->bytes, 0, MARKER_BYTES);
    setup->bytes[0] = 'Q';
    g_assert_false(is_cut(setup));
}

static void test_cut_marker_with_anything_behind_is_none(
    Setup *setup, gconstpointer unused)
{
    static const uint64_t places[] = { MARKER_BYTES, 20000,
                                       MEDIUM_BYTES - 1 };
    g_autofree uint8_t *whole = marker(setup);

    memcpy(setup->bytes, whole, 512);
    g_assert_true(is_cut(setup));
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        setup->bytes[places[i]] = 1;
        g_assert_false(is_cut(setup));
        setup->bytes[places[i]] = 0;
    }
}

static void test_cut_marker_check_fails_as_the_storage_does(
    Setup *setup, gconstpointer unused)
{
    g_autofree uint8_t *whole = marker(setup);
    bool result;
    GError *error = NULL;

    memcpy(setup->bytes, whole, 512);
    for (int n = 0; n < 2; n++) {
        setup->disk->fail_read = n;
        g_assert_false(blob_blank_is_cut_marker(&setup->medium,
                                                setup->zero_guard,
                                                MEDIUM_BYTES, &result,
                                                &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "read failed as told");
    }
    g_assert_true(blob_blank_is_cut_marker(&setup->medium, setup->zero_guard,
                                           8192, &result, NULL));
    g_assert_false(result);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/blank/" #name, Setup, NULL, set_up, \
                             test_##name, tear_down)
    ADD(first_byte_is_found_wherever_it_is);
    ADD(find_fails_as_the_storage_does);
    ADD(holes_are_not_read);
    ADD(what_is_read_is_in_proportion_to_what_is_allocated);
    ADD(what_is_there_is_named);
    ADD(small_or_unreadable_media_are_described);
    ADD(marker_is_always_the_same);
    ADD(any_part_of_the_marker_is_a_cut_marker);
    ADD(cut_marker_may_have_one_garbled_block);
    ADD(cut_marker_with_anything_behind_is_none);
    ADD(cut_marker_check_fails_as_the_storage_does);
    return g_test_run();
}
