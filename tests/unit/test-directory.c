/*
 * Unit tests of the core: the bytes of the directory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/format/layout.h"

#include <string.h>
#include "little-endian.h"

enum {
    DATA_OFFSET = BLOB_DIRECTORY_OFFSET + 2 * 16384,
    CAPACITY = 1 << 20,
    HEAD = BLOB_DIRECTORY_HEAD_BYTES,
    SECOND = HEAD + BLOB_ENTRY_BYTES,
    PAST = SECOND + BLOB_ENTRY_BYTES,
};

static const BlobSuperblock super = {
    .directory_offset = BLOB_DIRECTORY_OFFSET,
    .directory_slot_bytes = 16384,
    .data_offset = DATA_OFFSET,
};

/* Returns a directory of two blobs: 16 with content, 18 never written. */
static GBytes *sample(void)
{
    g_auto(BlobDirectory) directory = {
        .epoch = 7,
        .epoch_id = { 1, 2, 3 },
        .clean = true,
        .superblock_generation = 4,
        .superblock_digest = { 5, 6 },
        .capacity = CAPACITY,
        .next_id = 19,
        .key_commitment = { 7, 7, 7 },
        .sealings = 1234,
        .entries = g_array_new(FALSE, FALSE, sizeof(BlobEntry)),
        .history = g_array_new(FALSE, FALSE, sizeof(BlobPastEpoch)),
    };
    BlobEntry entries[] = {
        {
            .id = 16,
            .sequence = blob_sequence(6, 9),
            .max_size = 9000,
            .offset = DATA_OFFSET + 16384,
            .slot_bytes = blob_layout_slot_bytes(9000),
            .raw_bytes = 8000,
            .stored_bytes = 8000,
            .metadata_bytes = 15,
            .kind = BLOB_KIND_SAVESTATE,
            .slot = 1,
            .owner = "tpm",
            .name = "savestate",
        },
        {
            .id = 18,
            .max_size = 100,
            .offset = DATA_OFFSET,
            .slot_bytes = 8192,
            .kind = BLOB_KIND_PERMANENT,
            .owner = "tpm",
            .name = "permanent",
        },
    };

    BlobPastEpoch past[] = {
        { .epoch = 4, .counter = 9, .epoch_id = { 4, 4 } },
        { .epoch = 6, .counter = 10, .epoch_id = { 6, 6 } },
    };

    g_array_append_vals(directory.entries, entries, 2);
    g_array_append_vals(directory.history, past, 2);
    return blob_layout_encode_directory(&directory, NULL);
}

/* docs/format.md, section 5.2 */
static void test_directory_bytes_are_where_specified(void)
{
    g_autoptr(GBytes) payload = sample();
    gsize bytes;
    const uint8_t *at = g_bytes_get_data(payload, &bytes);
    const uint8_t *entry = at + HEAD;

    g_assert_cmpuint(bytes, ==, 128 + 2 * 224 + 2 * 24);
    g_assert_cmpuint(le_get(at, 4), ==, 7);
    g_assert_cmpuint(le_get(at + 4, 4), ==, 1);
    g_assert_cmpmem(at + 8, 4, "\1\2\3\0", 4);
    g_assert_cmpuint(le_get(at + 24, 8), ==, 4);
    g_assert_cmpuint(le_get(at + 32, 8), ==, CAPACITY);
    g_assert_cmpuint(le_get(at + 40, 8), ==, 19);
    g_assert_cmpuint(le_get(at + 48, 4), ==, 2);
    g_assert_cmpmem(at + 56, 4, "\7\7\7\0", 4);
    g_assert_cmpuint(le_get(at + 88, 8), ==, 1234);
    g_assert_cmpuint(le_get(at + 96, 4), ==, 2);
    g_assert_cmpuint(le_get(entry, 8), ==, 16);
    g_assert_cmpuint(le_get(entry + 8, 8), ==, blob_sequence(6, 9));
    g_assert_cmpuint(le_get(entry + 16, 8), ==, 9000);
    g_assert_cmpuint(le_get(entry + 24, 8), ==, DATA_OFFSET + 16384);
    g_assert_cmpuint(le_get(entry + 32, 8), ==, 16384);
    g_assert_cmpuint(le_get(entry + 40, 8), ==, 8000);
    g_assert_cmpuint(le_get(entry + 48, 8), ==, 8000);
    g_assert_cmpuint(le_get(entry + 56, 4), ==, 15);
    g_assert_cmpuint(entry[60], ==, 2);
    g_assert_cmpuint(entry[61], ==, 0);
    g_assert_cmpuint(entry[62], ==, 1);
    g_assert_cmpstr((const char *)entry + 64, ==, "tpm");
    g_assert_cmpstr((const char *)entry + 128, ==, "savestate");
    g_assert_cmpuint(le_get(at + PAST, 4), ==, 4);
    g_assert_cmpuint(le_get(at + PAST + 4, 4), ==, 9);
    g_assert_cmpmem(at + PAST + 8, 3, "\4\4\0", 3);
    g_assert_cmpuint(le_get(at + PAST + 24, 4), ==, 6);
}

static void test_directory_comes_back_as_it_was(void)
{
    g_autoptr(GBytes) payload = sample();
    g_auto(BlobDirectory) directory = { 0 };
    g_autoptr(GBytes) again = NULL;
    BlobEntry *entry;

    g_assert_true(blob_layout_decode_directory(payload, &super, false,
                                               &directory, NULL));
    g_assert_true(directory.clean);
    g_assert_cmpuint(directory.epoch, ==, 7);
    g_assert_cmpuint(directory.superblock_generation, ==, 4);
    g_assert_cmpmem(directory.superblock_digest, 3, "\5\6\0", 3);
    g_assert_cmpuint(directory.entries->len, ==, 2);
    entry = &g_array_index(directory.entries, BlobEntry, 0);
    g_assert_cmpuint(entry->metadata_bytes, ==, 15);
    g_assert_cmpstr(entry->name, ==, "savestate");
    again = blob_layout_encode_directory(&directory, NULL);
    g_assert_true(g_bytes_equal(again, payload));
}

typedef struct Hostile {
    const char *what;
    unsigned at;
    unsigned bytes;
    uint64_t value;
} Hostile;

static const Hostile hostile[] = {
    { "epoch 0", 0, 4, 0 },
    { "epoch of a recorded sequence", 0, 4, 6 },
    { "capacity not aligned", 32, 8, CAPACITY + 1 },
    { "capacity below the data", 32, 8, DATA_OFFSET - 4096 },
    { "capacity below an extent", 32, 8, DATA_OFFSET + 16384 },
    { "capacity within an extent", 32, 8, DATA_OFFSET + 2 * 16384 },
    { "next id reserved", 40, 8, 15 },
    { "next id in use", 40, 8, 18 },
    { "next id without a next", 40, 8, UINT64_MAX },
    { "sealings beyond the limit", 88, 8, BLOB_SEALINGS_LIMIT + 1 },
    { "sealings about to wrap", 88, 8, UINT64_MAX },
    { "fewer entries", 48, 4, 1 },
    { "more entries", 48, 4, 3 },
    { "far more entries", 48, 4, UINT32_MAX },
    { "reserved id", HEAD, 8, 15 },
    { "id above the next", HEAD, 8, 19 },
    { "same id", HEAD, 8, 18 },
    { "ids descending", SECOND, 8, 16 },
    { "future sequence", HEAD + 8, 8, UINT64_C(7) << 32 },
    { "never written with content", HEAD + 8, 8, 0 },
    { "maximum 0", HEAD + 16, 8, 0 },
    { "maximum above the limit", HEAD + 16, 8, BLOB_MAX_SIZE_BYTES + 1 },
    { "maximum above the slot", HEAD + 16, 8, 20000 },
    { "offset not aligned", HEAD + 24, 8, DATA_OFFSET + 16385 },
    { "offset in the directory", HEAD + 24, 8, DATA_OFFSET - 4096 },
    { "offset at the end", HEAD + 24, 8, CAPACITY },
    { "offset near the end", HEAD + 24, 8, CAPACITY - 16384 },
    { "offset endless", HEAD + 24, 8, ~UINT64_C(4095) },
    { "extents overlap", HEAD + 24, 8, DATA_OFFSET + 12288 },
    { "slot too small", HEAD + 32, 8, 12288 },
    { "slot too large", HEAD + 32, 8, 20480 },
    { "slot endless", HEAD + 32, 8, UINT64_C(1) << 63 },
    { "raw above the slot", HEAD + 40, 8, 16384 },
    { "raw unlike stored", HEAD + 40, 8, 8001 },
    { "stored above the slot", HEAD + 48, 8, UINT64_MAX },
    { "stored unlike raw", HEAD + 48, 8, 7999 },
    { "metadata above the limit", HEAD + 56, 4, 1025 },
    { "no kind", HEAD + 60, 1, 0 },
    { "volatile", HEAD + 60, 1, 3 },
    { "deleted with content", HEAD + 61, 1, BLOB_FLAG_DELETED },
    { "packed without saving", HEAD + 61, 1, BLOB_FLAG_PACKED },
    { "sealed", HEAD + 61, 1, BLOB_FLAG_SEALED },
    { "third slot", HEAD + 62, 1, 2 },
    { "no owner", HEAD + 64, 1, 0 },
    { "space in the owner", HEAD + 64, 1, ' ' },
    { "slash in the name", HEAD + 129, 1, '/' },
    { "byte behind the owner", HEAD + 64 + 40, 1, 'x' },
    { "name without an end", HEAD + 128 + 63, 1, 'x' },
    { "never written, raw", SECOND + 40, 8, 1 },
    { "never written, stored", SECOND + 48, 8, 1 },
    { "never written, metadata", SECOND + 56, 4, 1 },
    { "never written, flags", SECOND + 61, 1, BLOB_FLAG_DELETED },
    { "never written, slot", SECOND + 62, 1, 1 },
    { "fewer epochs of the past", 96, 4, 1 },
    { "more epochs of the past", 96, 4, 3 },
    { "far more epochs of the past", 96, 4, UINT32_MAX },
    { "past epoch 0", PAST, 4, 0 },
    { "past epochs descending", PAST, 4, 6 },
    { "past epoch is present", PAST + 24, 4, 7 },
};

static void refuse(const uint8_t *at, size_t bytes, const char *what)
{
    g_autoptr(GBytes) payload = g_bytes_new(at, bytes);
    g_auto(BlobDirectory) directory = { 0 };
    g_autoptr(GError) error = NULL;

    if (blob_layout_decode_directory(payload, &super, false, &directory,
                                     &error)) {
        g_error("accepted: %s", what);
    }
    g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT);
    g_assert_null(directory.entries);
    g_assert_null(directory.history);
}

/* R15 */
static void test_hostile_directory_is_refused(void)
{
    g_autoptr(GBytes) payload = sample();
    gsize bytes;
    const uint8_t *good = g_bytes_get_data(payload, &bytes);

    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree uint8_t *copy = g_memdup2(good, bytes);

        le_put(copy + hostile[i].at, hostile[i].value, hostile[i].bytes);
        refuse(copy, bytes, hostile[i].what);
    }
}

static void test_directory_of_a_wrong_length_is_refused(void)
{
    g_autoptr(GBytes) payload = sample();
    gsize bytes;
    const uint8_t *good = g_bytes_get_data(payload, &bytes);

    refuse(NULL, 0, "empty");
    refuse(good, HEAD - 1, "cut in the head");
    refuse(good, HEAD, "without its entries");
    refuse(good, PAST - 1, "cut in an entry");
    refuse(good, PAST, "without its past");
    refuse(good, bytes - 1, "cut in its past");
    refuse(good, bytes - BLOB_PAST_EPOCH_BYTES, "without its last epoch");
}

static void test_two_blobs_of_one_name_are_refused(void)
{
    g_autoptr(GBytes) payload = sample();
    gsize bytes = g_bytes_get_size(payload);
    uint8_t *copy = g_memdup2(g_bytes_get_data(payload, NULL), bytes);

    memset(copy + SECOND + 128, 0, 64);
    strcpy((char *)copy + SECOND + 128, "savestate");
    refuse(copy, bytes, "same name");
    g_free(copy);
}

static void test_longest_name_is_accepted(void)
{
    g_autoptr(GBytes) payload = sample();
    g_autoptr(GBytes) edited = NULL;
    g_auto(BlobDirectory) directory = { 0 };
    gsize bytes = g_bytes_get_size(payload);
    uint8_t *copy = g_memdup2(g_bytes_get_data(payload, NULL), bytes);

    memset(copy + HEAD + 128, 'n', BLOB_NAME_MAX_BYTES);
    edited = g_bytes_new_take(copy, bytes);
    g_assert_true(blob_layout_decode_directory(edited, &super, false,
                                               &directory, NULL));
    g_assert_cmpuint(strlen(g_array_index(directory.entries, BlobEntry,
                                          0).name), ==, BLOB_NAME_MAX_BYTES);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/directory/" #name, test_##name)
    ADD(directory_bytes_are_where_specified);
    ADD(directory_comes_back_as_it_was);
    ADD(hostile_directory_is_refused);
    ADD(directory_of_a_wrong_length_is_refused);
    ADD(two_blobs_of_one_name_are_refused);
    ADD(longest_name_is_accepted);
    return g_test_run();
}
