/*
 * Unit tests of the core: the bytes on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/format/layout.h"

#include <string.h>
#include "little-endian.h"

enum { SLOT_BYTES = 16384, SLOT_OFFSET = 1 << 20, ID = 20 };

static const uint64_t room = SLOT_BYTES - 2 * BLOB_HEADER_BYTES;

static void test_sizes_are_as_specified(void)
{
    g_assert_cmpuint(blob_layout_image_bytes(0), ==, 8192);
    g_assert_cmpuint(blob_layout_image_bytes(8192 - 2560), ==, 8192);
    g_assert_cmpuint(blob_layout_image_bytes(8192 - 2559), ==, 12288);
    g_assert_cmpuint(blob_layout_slot_bytes(1), ==, 8192);
    g_assert_cmpuint(blob_layout_slot_bytes(8192 - 2560 - 1024), ==, 8192);
    g_assert_cmpuint(blob_layout_slot_bytes(8192 - 2559 - 1024), ==, 12288);
    g_assert_cmpuint(blob_layout_slot_bytes(BLOB_MAX_SIZE_BYTES), ==,
                     BLOB_MAX_SIZE_BYTES + 4096);
    g_assert_cmpuint(blob_layout_directory_slot_bytes(1), ==, 8192);
    for (uint32_t blobs = 1; blobs < 300; blobs++) {
        uint64_t bytes = blob_layout_directory_slot_bytes(blobs);

        g_assert_cmpuint(blob_layout_directory_room(bytes), >=, blobs);
        g_assert_cmpuint(blob_layout_image_bytes(
            BLOB_DIRECTORY_HEAD_BYTES + blob_layout_directory_room(bytes) *
            BLOB_ENTRY_BYTES), ==, bytes);
    }
    g_assert_cmphex(blob_sequence(3, 7), ==, UINT64_C(0x300000007));
    g_assert_cmpuint(blob_sequence_epoch(blob_sequence(3, 7)), ==, 3);
}

static BlobHeader sample_header(void)
{
    BlobHeader header = {
        .id = ID,
        .sequence = blob_sequence(5, 6),
        .previous = blob_sequence(4, 3),
        .watermark = blob_sequence(5, 2),
        .offset = SLOT_OFFSET,
        .raw_bytes = 300,
        .stored_bytes = 300,
        .metadata_bytes = 20,
        .member_count = 2,
        .members = { { ID, blob_sequence(5, 6) },
                     { ID + 1, blob_sequence(5, 7) } },
    };

    memset(header.epoch_id, 0xe1, sizeof(header.epoch_id));
    memset(header.census, 0xc1, sizeof(header.census));
    memset(header.digest, 0xd1, sizeof(header.digest));
    return header;
}

/* docs/format.md, section 3.1 */
static void test_header_bytes_are_where_specified(void)
{
    g_autoptr(BlobGuard) guard = blob_guard_new_plain(NULL);
    BlobHeader header = sample_header();
    uint8_t bytes[BLOB_HEADER_BYTES];
    uint8_t check[BLOB_DIGEST_BYTES];

    header.flags = BLOB_FLAG_PACKED;
    blob_layout_encode_header(&header, guard, bytes);
    g_assert_cmpmem(bytes, 8, "QEMUBLOB", 8);
    g_assert_cmphex(le_get(bytes + 8, 4), ==, BLOB_FLAG_PACKED);
    g_assert_cmphex(le_get(bytes + 12, 4), ==, 2);
    g_assert_cmpmem(bytes + 16, 16, header.epoch_id, 16);
    g_assert_cmphex(le_get(bytes + 32, 8), ==, header.id);
    g_assert_cmphex(le_get(bytes + 40, 8), ==, header.sequence);
    g_assert_cmphex(le_get(bytes + 48, 8), ==, header.previous);
    g_assert_cmphex(le_get(bytes + 56, 8), ==, header.watermark);
    g_assert_cmphex(le_get(bytes + 64, 8), ==, header.offset);
    g_assert_cmphex(le_get(bytes + 72, 8), ==, header.raw_bytes);
    g_assert_cmphex(le_get(bytes + 80, 8), ==, header.stored_bytes);
    g_assert_cmphex(le_get(bytes + 88, 4), ==, header.metadata_bytes);
    g_assert_cmpmem(bytes + 96, 16, header.census, 16);
    g_assert_cmpmem(bytes + 112, 32, header.digest, 32);
    g_assert_cmphex(le_get(bytes + 224 + 16, 8), ==, ID + 1);
    g_assert_cmphex(le_get(bytes + 224 + 24, 8), ==, blob_sequence(5, 7));
    blob_digest_check(guard->digest, bytes, 1248, check);
    g_assert_cmpmem(bytes + 1248, 32, check, 32);
}

static bool decode(const uint8_t *bytes, BlobHeader *header)
{
    g_autoptr(BlobGuard) guard = blob_guard_new_plain(NULL);

    return blob_layout_decode_header(bytes, guard, ID, SLOT_OFFSET,
                                     SLOT_BYTES, header);
}

static void test_header_comes_back_as_it_was(void)
{
    g_autoptr(BlobGuard) guard = blob_guard_new_plain(NULL);
    BlobHeader header = sample_header();
    BlobHeader back;
    uint8_t bytes[BLOB_HEADER_BYTES];

    for (int i = 0; i < 3; i++) {
        if (i == 1) {
            header.flags = BLOB_FLAG_PACKED;
            header.raw_bytes = room;
        } else if (i == 2) {
            header.flags = BLOB_FLAG_DELETED;
            header.raw_bytes = header.stored_bytes = 0;
            header.metadata_bytes = 0;
            header.member_count = BLOB_MEMBERS_MAX;
            header.members[BLOB_MEMBERS_MAX - 1].sequence = 99;
        }
        blob_layout_encode_header(&header, guard, bytes);
        g_assert_true(decode(bytes, &back));
        g_assert_cmpmem(&back, sizeof(back), &header, sizeof(header));
    }
}

/*
 * Every single damaged byte is found, and a check under another seed does not
 * match.
 */
static void test_header_with_a_wrong_byte_is_refused(void)
{
    uint8_t seed[BLOB_SEED_BYTES] = { 1 };
    g_autoptr(BlobGuard) guard = blob_guard_new_plain(NULL);
    g_autoptr(BlobGuard) seeded = blob_guard_new_plain(seed);
    BlobHeader header = sample_header();
    uint8_t bytes[BLOB_HEADER_BYTES];

    blob_layout_encode_header(&header, guard, bytes);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] ^= 0x10;
        g_assert_false(decode(bytes, &header));
        bytes[i] ^= 0x10;
    }
    g_assert_true(decode(bytes, &header));
    blob_layout_encode_header(&header, seeded, bytes);
    g_assert_false(decode(bytes, &header));
}

/* R15: the check value is right, but a field is wrong. */
static void test_hostile_header_is_refused(void)
{
    static const struct {
        const char *what;
        unsigned at;
        unsigned bytes;
        uint64_t value;
    } hostile[] = {
        { "sealed", 8, 4, BLOB_FLAG_SEALED },
        { "unknown flag", 8, 4, UINT32_C(1) << 31 },
        { "too many members", 12, 4, BLOB_MEMBERS_MAX + 1 },
        { "far too many members", 12, 4, UINT32_MAX },
        { "another blob", 32, 8, ID + 1 },
        { "another slot", 64, 8, SLOT_OFFSET + SLOT_BYTES },
        { "raw longer than stored", 72, 8, 301 },
        { "stored longer than raw", 80, 8, 301 },
        { "stored longer than the slot", 80, 8, UINT64_MAX },
        { "metadata longer than all", 88, 4, 301 },
        { "deleted with content", 8, 4, BLOB_FLAG_DELETED },
        { "packed without saving", 8, 4, BLOB_FLAG_PACKED },
    };
    g_autoptr(BlobGuard) guard = blob_guard_new_plain(NULL);
    BlobHeader header = sample_header();
    BlobHeader back;
    uint8_t bytes[BLOB_HEADER_BYTES];

    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        blob_layout_encode_header(&header, guard, bytes);
        le_put(bytes + hostile[i].at, hostile[i].value, hostile[i].bytes);
        blob_digest_check(guard->digest, bytes, 1248, bytes + 1248);
        if (decode(bytes, &back)) {
            g_error("accepted: %s", hostile[i].what);
        }
    }

    /* The header is at the limits, and one above. */
    header.raw_bytes = header.stored_bytes = room;
    header.metadata_bytes = BLOB_METADATA_MAX_BYTES;
    blob_layout_encode_header(&header, guard, bytes);
    g_assert_true(decode(bytes, &back));
    header.metadata_bytes++;
    blob_layout_encode_header(&header, guard, bytes);
    g_assert_false(decode(bytes, &back));
    header.metadata_bytes = 0;
    header.raw_bytes = header.stored_bytes = room + 1;
    blob_layout_encode_header(&header, guard, bytes);
    g_assert_false(decode(bytes, &back));
    /* The content would inflate to more than the slot was made for. */
    header.flags = BLOB_FLAG_PACKED;
    header.stored_bytes = 10;
    blob_layout_encode_header(&header, guard, bytes);
    g_assert_false(decode(bytes, &back));
    header.flags = BLOB_FLAG_DELETED;
    header.raw_bytes = 0;
    blob_layout_encode_header(&header, guard, bytes);
    g_assert_false(decode(bytes, &back));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/layout/" #name, test_##name)
    ADD(sizes_are_as_specified);
    ADD(header_bytes_are_where_specified);
    ADD(header_comes_back_as_it_was);
    ADD(header_with_a_wrong_byte_is_refused);
    ADD(hostile_header_is_refused);
    return g_test_run();
}
