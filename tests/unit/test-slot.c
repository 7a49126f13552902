/*
 * Unit tests of the core: slots and slot pairs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>
#include "blobstore/format/sparse.h"
#include "hex.h"

enum { ID = 30, OFFSET = 8 * 4096, SLOT_BYTES = 8 * 4096, BLOCK = 4096 };

static const uint8_t epoch_id[BLOB_EPOCH_ID_BYTES] = { 0xee };
static const BlobSlot slot = { ID, OFFSET, SLOT_BYTES };

typedef struct Setup {
    TestDisk *disk;
    BlobGuard *guard;
    BlobMedium medium;
} Setup;

static void set_up(Setup *setup, gconstpointer unused)
{
    setup->disk = test_disk_new(TEST_DISK_BYTES);
    setup->guard = blob_guard_new_plain(NULL);
    setup->medium = (BlobMedium) { .storage = &setup->disk->parent };
}

static void tear_down(Setup *setup, gconstpointer unused)
{
    blob_guard_free(setup->guard);
    test_disk_free(setup->disk);
}

static uint8_t *block(Setup *setup, unsigned n)
{
    return test_disk_bytes(setup->disk) + OFFSET + n * BLOCK;
}

static GBytes *content(uint64_t sequence, size_t bytes)
{
    return g_bytes_new_take(memset(g_malloc(bytes), 'A' + sequence % 26,
                                   bytes), bytes);
}

/* Writes version @sequence, whose image takes @blocks blocks. */
static BlobHeader put(Setup *setup, uint64_t sequence, unsigned blocks)
{
    size_t bytes = blocks * BLOCK - 2 * BLOB_HEADER_BYTES;
    g_autoptr(GBytes) payload = content(sequence, bytes);
    BlobHeader header = { .sequence = sequence, .raw_bytes = bytes };

    memcpy(header.epoch_id, epoch_id, sizeof(epoch_id));
    g_assert_true(blob_slot_write(&setup->medium, setup->guard, &slot,
                                  &header, payload, true, NULL));
    return header;
}

static BlobEvidence probe(Setup *setup, const uint8_t *id, uint64_t recorded)
{
    BlobJudge judge = { .epoch_id = id, .recorded = recorded };
    BlobEvidence evidence;

    g_assert_true(blob_slot_probe(&setup->medium, setup->guard, &slot,
                                  &judge, &evidence, NULL));
    return evidence;
}

static void test_version_is_written_at_once_and_read_back(Setup *setup,
                                                          gconstpointer unused)
{
    BlobHeader header = put(setup, 5, 3);
    BlobEvidence evidence = probe(setup, epoch_id, 0);
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) expected = content(5, 3 * BLOCK -
                                         2 * BLOB_HEADER_BYTES);

    g_assert_cmpuint(setup->disk->writes, ==, 1);
    g_assert_cmpuint(setup->medium.bytes_written, ==, 3 * BLOCK);
    g_assert_true(evidence.found && evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 5);
    g_assert_cmpuint(evidence.highest, ==, 5);
    g_assert_cmpmem(&evidence.newest, sizeof(header), &header,
                    sizeof(header));
    g_assert_true(blob_slot_read(&setup->medium, setup->guard, &slot, &header,
                                 &payload, NULL));
    g_assert_true(g_bytes_equal(payload, expected));
    g_assert_cmpmem(block(setup, 0), 1280, block(setup, 3) - 1280, 1280);
}

static void test_only_what_matters_is_found(Setup *setup,
                                            gconstpointer unused)
{
    const uint8_t other[BLOB_EPOCH_ID_BYTES] = { 0xaa };
    BlobEvidence evidence;

    put(setup, 5, 2);
    evidence = probe(setup, other, 0);
    g_assert_false(evidence.found || evidence.complete);
    g_assert_cmpuint(evidence.highest, ==, 5);
    evidence = probe(setup, other, 6);
    g_assert_false(evidence.found || evidence.complete);
    evidence = probe(setup, other, 5);
    g_assert_true(evidence.found && evidence.complete);
    evidence = probe(setup, NULL, 0);
    g_assert_false(evidence.found || evidence.complete);
}

static void test_empty_slot_holds_nothing(Setup *setup, gconstpointer unused)
{
    BlobEvidence evidence = probe(setup, epoch_id, 5);

    g_assert_false(evidence.found || evidence.complete);
    g_assert_cmpuint(evidence.highest, ==, 0);
}

/* R7 */
static void test_torn_header_leaves_the_trailer_as_evidence(
    Setup *setup, gconstpointer unused)
{
    for (unsigned blocks = 2; blocks <= 8; blocks++) {
        BlobEvidence evidence;

        put(setup, 5 + blocks, blocks);
        memset(block(setup, 0), 0, TEST_SECTOR_BYTES);
        evidence = probe(setup, epoch_id, 0);
        g_assert_true(evidence.found);
        g_assert_false(evidence.complete);
        g_assert_cmpuint(evidence.newest.sequence, ==, 5 + blocks);
    }
}

static void test_torn_trailer_leaves_the_header_as_evidence(
    Setup *setup, gconstpointer unused)
{
    BlobEvidence evidence;

    put(setup, 5, 4);
    block(setup, 3)[BLOCK - 1] ^= 1;
    evidence = probe(setup, epoch_id, 0);
    g_assert_true(evidence.found);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 5);
}

/* R7: the header is still that of the version before. */
static void test_newer_trailer_wins_over_the_header(Setup *setup,
                                                    gconstpointer unused)
{
    g_autofree uint8_t *header = NULL;
    BlobEvidence evidence;

    put(setup, 5, 4);
    header = g_memdup2(block(setup, 0), BLOCK);
    put(setup, 7, 4);
    memcpy(block(setup, 0), header, BLOCK);
    evidence = probe(setup, epoch_id, 5);
    g_assert_true(evidence.found);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
    g_assert_cmpuint(evidence.highest, ==, 7);
}

/* R7: so it is with a payload that was overwritten in part. */
static void test_newer_trailer_behind_a_torn_payload_is_found(
    Setup *setup, gconstpointer unused)
{
    g_autofree uint8_t *first = NULL;
    g_autofree uint8_t *third = NULL;
    BlobEvidence evidence;

    put(setup, 5, 3);
    first = g_memdup2(block(setup, 0), BLOCK);
    third = g_memdup2(block(setup, 2), BLOCK);
    put(setup, 7, 5);
    memcpy(block(setup, 0), first, BLOCK);
    memcpy(block(setup, 2), third, BLOCK);
    evidence = probe(setup, epoch_id, 0);
    g_assert_true(evidence.found);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
}

static void test_old_trailer_behind_a_shorter_version_is_dead(
    Setup *setup, gconstpointer unused)
{
    const uint8_t other[BLOB_EPOCH_ID_BYTES] = { 0xaa };
    BlobEvidence evidence;

    put(setup, 5, 6);
    put(setup, 7, 2);
    evidence = probe(setup, epoch_id, 0);
    g_assert_true(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
    g_assert_cmpuint(evidence.highest, ==, 7);

    /* It is found, but is no newer, if the shorter one is torn. */
    memset(block(setup, 1) + BLOCK - 1280, 0, 1280);
    evidence = probe(setup, epoch_id, 0);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
    memset(block(setup, 0), 0, 1280);
    evidence = probe(setup, epoch_id, 0);
    g_assert_cmpuint(evidence.newest.sequence, ==, 5);
    evidence = probe(setup, other, 0);
    g_assert_false(evidence.found);
}

/* R7: a trailer counts only where its own length puts it. */
static void test_trailer_in_the_wrong_place_is_ignored(Setup *setup,
                                                       gconstpointer unused)
{
    BlobEvidence evidence;

    put(setup, 5, 3);
    memcpy(block(setup, 5) + BLOCK - 1280, block(setup, 2) + BLOCK - 1280,
           1280);
    memset(block(setup, 0), 0, BLOCK);
    memset(block(setup, 2), 0, BLOCK);
    evidence = probe(setup, epoch_id, 5);
    g_assert_false(evidence.found);
    g_assert_cmpuint(evidence.highest, ==, 0);
}

static void test_large_slot_is_scanned_to_its_end(Setup *setup,
                                                  gconstpointer unused)
{
    BlobSlot large = { ID, 0, 3 << 20 };
    BlobJudge judge = { .recorded = 9 };
    BlobEvidence evidence;
    BlobHeader header = { .sequence = 9 };
    g_autoptr(GBytes) payload = content(9, (3 << 20) - 2560);

    test_disk_resize(setup->disk, 3 << 20);
    header.raw_bytes = g_bytes_get_size(payload);
    g_assert_true(blob_slot_write(&setup->medium, setup->guard, &large,
                                  &header, payload, true, NULL));
    memset(test_disk_bytes(setup->disk), 0, BLOCK);
    g_assert_true(blob_slot_probe(&setup->medium, setup->guard, &large,
                                  &judge, &evidence, NULL));
    g_assert_true(evidence.found);
}

/* All is known to be zero from that offset on. */
static uint64_t hole_start;

static uint64_t hole(BlobStorage *storage, uint64_t offset, uint64_t bytes)
{
    return offset >= hole_start ? bytes : 0;
}

static void test_holes_are_not_searched(Setup *setup, gconstpointer unused)
{
    const BlobStorageOps *without = setup->disk->parent.ops;
    BlobStorageOps ops = *without;
    BlobSlot large = slot;
    BlobJudge judge = { .any = true };
    BlobEvidence evidence;

    ops.known_zero = hole;
    setup->disk->parent.ops = &ops;
    large.bytes = TEST_DISK_BYTES - OFFSET;
    for (unsigned blocks = 0; blocks < 3; blocks++) {
        hole_start = OFFSET + blocks * BLOCK;
        test_disk_reset_counts(setup->disk);
        g_assert_true(blob_slot_probe(&setup->medium, setup->guard, &large,
                                      &judge, &evidence, NULL));
        g_assert_false(evidence.found);
        if (blocks) {
            g_assert_cmpuint(setup->disk->highest_read, <=, TEST_DISK_BYTES);
            g_assert_cmpuint(setup->disk->reads, <=, 2);
        } else {
            g_assert_cmpuint(setup->disk->reads, ==, 0);
        }
    }
    setup->disk->parent.ops = without;
}

static void test_content_in_holes_has_a_limit(Setup *setup,
                                              gconstpointer unused)
{
    const BlobStorageOps *without = setup->disk->parent.ops;
    BlobStorageOps ops = *without;
    GError *error = NULL;

    ops.known_zero = hole;
    hole_start = BLOB_MAX_SIZE_BYTES / 2;
    setup->disk->parent.ops = &ops;
    /* Half of it is a hole. */
    for (unsigned n = 0; n < 8; n++) {
        g_assert_true(blob_sparse_charge(&setup->medium, 0,
                                         BLOB_MAX_SIZE_BYTES, NULL));
    }
    g_assert_cmpuint(setup->medium.hollow, ==, BLOB_HOLLOW_MAX_BYTES);
    g_assert_true(blob_sparse_charge(&setup->medium, 0,
                                     BLOB_MAX_SIZE_BYTES / 2, NULL));
    g_assert_false(blob_sparse_charge(&setup->medium, 0, BLOB_MAX_SIZE_BYTES,
                                      &error));
    test_assert_error(&error, BLOBSTORE_ERROR_UNSUPPORTED, "*in holes*");
    setup->disk->parent.ops = without;
}

static void test_probe_fails_as_the_storage_does(Setup *setup,
                                                 gconstpointer unused)
{
    BlobJudge judge = { .epoch_id = epoch_id };
    BlobEvidence evidence;
    GError *error = NULL;

    put(setup, 5, 2);
    for (int n = 0; n < 3; n++) {
        if (n == 2) {
            memset(block(setup, 1), 0, BLOCK);
        }
        setup->disk->fail_read = n;
        g_assert_false(blob_slot_probe(&setup->medium, setup->guard, &slot,
                                       &judge, &evidence, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "read failed as told");
    }
}

static void test_damaged_payload_is_not_returned(Setup *setup,
                                                 gconstpointer unused)
{
    BlobHeader header = put(setup, 5, 3);
    g_autoptr(GBytes) payload = NULL;
    GError *error = NULL;

    block(setup, 1)[17] ^= 4;
    g_assert_true(blob_slot_read(&setup->medium, setup->guard, &slot, &header,
                                 &payload, NULL));
    g_assert_null(payload);
    setup->disk->fail_read = 0;
    g_assert_false(blob_slot_read(&setup->medium, setup->guard, &slot, &header,
                                  &payload, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "read failed as told");
}

static void test_failed_writes_are_counted(Setup *setup, gconstpointer unused)
{
    BlobHeader header = { .sequence = 1 };
    GError *error = NULL;

    setup->disk->fail_write = 0;
    g_assert_false(blob_slot_write(&setup->medium, setup->guard, &slot,
                                   &header, NULL, true, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "write failed as told");
    setup->disk->fail_flush = 0;
    g_assert_false(blob_medium_flush(&setup->medium, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "flush failed as told");
    g_assert_cmpuint(setup->medium.write_errors, ==, 2);
    g_assert_cmpuint(setup->medium.bytes_written, ==, 0);
}

static BlobPair new_pair(void)
{
    return (BlobPair) {
        .id = ID, .offset = OFFSET, .slot_bytes = SLOT_BYTES,
    };
}

static bool write_pair(Setup *setup, BlobPair *pair, uint64_t sequence)
{
    g_autoptr(GBytes) payload = content(sequence, 100);
    BlobHeader header = { .sequence = sequence, .raw_bytes = 100 };

    return blob_pair_write(&setup->medium, setup->guard, pair, &header,
                           payload, NULL);
}

/* Returns the sequence that was read, or 0; the payload must match it. */
static uint64_t read_pair(Setup *setup, BlobPair *pair, BlobHeader *header)
{
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) expected = NULL;

    g_assert_true(blob_pair_read(&setup->medium, setup->guard, pair, header,
                                 &payload, NULL));
    if (!payload) {
        return 0;
    }
    expected = content(header->sequence, 100);
    g_assert_true(g_bytes_equal(payload, expected));
    return header->sequence;
}

static void test_pair_is_written_to_the_worse_copy_first(
    Setup *setup, gconstpointer unused)
{
    static const struct {
        bool intact[2];
        uint64_t sequence[2];
        unsigned first;
    } cases[] = {
        { { false, false }, { 0, 0 }, 0 },
        { { true, false }, { 1, 9 }, 1 },
        { { false, true }, { 9, 1 }, 0 },
        { { true, true }, { 2, 1 }, 1 },
        { { true, true }, { 1, 2 }, 0 },
        { { true, true }, { 2, 2 }, 1 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        BlobPair pair = new_pair();
        TestEvent *event;

        memcpy(pair.intact, cases[i].intact, sizeof(pair.intact));
        memcpy(pair.sequence, cases[i].sequence, sizeof(pair.sequence));
        test_disk_record(setup->disk);
        g_assert_true(write_pair(setup, &pair, 10));
        g_assert_true(blob_pair_is_whole(&pair));
        /* Each step is durable before the next: write, flush, write, flush. */
        g_assert_cmpuint(setup->disk->events->len, ==, 4);
        event = (TestEvent *)setup->disk->events->data;
        g_assert_cmpuint(event[0].offset, ==,
                         OFFSET + cases[i].first * SLOT_BYTES);
        g_assert_null(event[1].data);
        g_assert_cmpuint(event[2].offset, ==,
                         OFFSET + !cases[i].first * SLOT_BYTES);
        g_assert_null(event[3].data);
    }
}

static void test_pair_that_failed_keeps_one_version(Setup *setup,
                                                    gconstpointer unused)
{
    BlobHeader header;

    for (int n = 0; n < 4; n++) {
        BlobPair pair = new_pair();

        g_assert_true(write_pair(setup, &pair, 3));
        setup->disk->failing_write_lands = n % 2;
        setup->disk->fail_write = n / 2;
        g_assert_false(write_pair(setup, &pair, 4));
        g_assert_false(blob_pair_is_whole(&pair));
        g_assert_cmpint(blob_pair_current(&pair), >=, 0);
        /* Repeated, the operation leaves out the steps that are certain. */
        setup->disk->fail_write = 0;
        g_assert_false(write_pair(setup, &pair, 5));
        g_assert_cmpuint(read_pair(setup, &pair, &header), >=, 3);
        g_assert_true(write_pair(setup, &pair, 6));
        g_assert_cmpuint(read_pair(setup, &pair, &header), ==, 6);
        g_assert_true(blob_pair_is_whole(&pair));
    }
}

static void test_pair_reads_the_newest_intact_copy(Setup *setup,
                                                   gconstpointer unused)
{
    BlobPair pair = new_pair();
    BlobHeader header;

    g_assert_cmpuint(read_pair(setup, &pair, &header), ==, 0);
    g_assert_cmpint(blob_pair_current(&pair), ==, -1);
    g_assert_true(write_pair(setup, &pair, 3));
    setup->disk->fail_write = 1;
    g_assert_false(write_pair(setup, &pair, 4));
    g_assert_cmpuint(read_pair(setup, &pair, &header), ==, 4);
    g_assert_cmpint(blob_pair_current(&pair), ==, 1);
    g_assert_false(blob_pair_is_whole(&pair));

    /* Each kind of damage hits the newer version: header, payload, trailer. */
    for (unsigned at = 0; at < 3; at++) {
        static const unsigned place[] = { 8, 1290, 8191 };
        uint8_t *bad = block(setup, 0) + SLOT_BYTES + place[at];

        *bad ^= 1;
        g_assert_cmpuint(read_pair(setup, &pair, &header), ==, 3);
        g_assert_cmpint(blob_pair_current(&pair), ==, 0);
        *bad ^= 1;
    }
    /* Header and rest of each copy are read, and each byte of a copy once. */
    test_disk_reset_counts(setup->disk);
    g_assert_cmpuint(read_pair(setup, &pair, &header), ==, 4);
    g_assert_cmpuint(setup->disk->reads, ==, 4);
    /* An unreadable part of one copy costs only that copy. */
    for (int n = 0; n < 4; n++) {
        setup->disk->fail_read = n;
        g_assert_cmpuint(read_pair(setup, &pair, &header), ==,
                         n < 2 ? 4 : 3);
        g_assert_cmpstr(pair.failure[n / 2], ==, "read failed as told");
        g_assert_cmpstr(pair.failure[n < 2], ==, "");
        g_assert_false(pair.intact[n / 2]);
    }
}

static void test_pair_is_healed_where_it_is_not_whole(Setup *setup,
                                                      gconstpointer unused)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobPair pair = new_pair();
        BlobHeader header;
        g_autoptr(GBytes) payload = NULL;

        g_assert_true(write_pair(setup, &pair, 3));
        memset(block(setup, 0) + n * SLOT_BYTES, 0, BLOCK);
        g_assert_true(blob_pair_read(&setup->medium, setup->guard, &pair,
                                     &header, &payload, NULL));
        setup->disk->writes = 0;
        setup->disk->fail_write = 0;
        g_assert_false(blob_pair_heal(&setup->medium, setup->guard, &pair,
                                      &header, payload, NULL));
        g_assert_true(blob_pair_heal(&setup->medium, setup->guard, &pair,
                                     &header, payload, NULL));
        g_assert_true(blob_pair_heal(&setup->medium, setup->guard, &pair,
                                     &header, payload, NULL));
        g_assert_cmpuint(setup->disk->writes, ==, 2);
        g_assert_cmpuint(read_pair(setup, &pair, &header), ==, 3);
        g_assert_true(blob_pair_is_whole(&pair));
    }
}

/*
 * A sealed version made by the second reader (tests/format, which is based on
 * docs/format.md alone), without the zeros in its header.  The data key is 32
 * times 1, the UUID b1 0b and then zeros.
 */
static const char known_head[] =
    "51454d55424c4f420400000002000000ee000000000000000000000000000000"
    "1e00000000000000070000000300000005000000020000000600000003000000"
    "0080000000000000110000000000000011000000000000000a00000000000000"
    "db28f74bcca91aa9c28b2a7d37500023eb6d79420b8e77f2bd2c2f9ad59f1839"
    "b0b1b2b3b4b5b6b7b8b9babb00000000";
static const char known_members[] =
    "1e0000000000000007000000030000001f000000000000000800000003000000";
static const char known_check[] =
    "fcf4d916cc92dd4582c98b8aa6b2b761ab8d29dee67f3080da40e5dc585eddb0";
static const char known_payload[] = "bdb682fef9fbfd1695970a215a96c5e1a8";
static const char known_content[] = "key=value\0content";

static void test_sealed_version_made_elsewhere_is_read(Setup *setup,
                                                       gconstpointer unused)
{
    static const uint8_t uuid[BLOB_UUID_BYTES] = { 0xb1, 0x0b };
    static const BlobEntry entry = {
        .kind = BLOB_KIND_PERMANENT,
        .owner = "tpm",
        .name = "permanent",
    };
    const BlobSlot sealed_slot = { ID, OFFSET, SLOT_BYTES, &entry };
    BlobJudge judge = { .epoch_id = epoch_id };
    uint8_t key_bytes[BLOB_KEY_BYTES];
    g_autoptr(BlobKey) key = NULL;
    g_autoptr(BlobGuard) guard = NULL;
    g_autoptr(GBytes) payload = NULL;
    BlobEvidence evidence;
    uint8_t census[BLOB_CENSUS_BYTES];
    uint8_t *image = block(setup, 0);

    memset(key_bytes, 1, sizeof(key_bytes));
    key = blob_key_new_from_bytes(key_bytes, NULL);
    guard = blob_guard_new_sealed(key, uuid, NULL);
    from_hex(known_head, image);
    from_hex(known_members, image + 224);
    from_hex(known_check, image + 1248);
    from_hex(known_payload, image + BLOB_HEADER_BYTES);
    memcpy(image + 2 * BLOCK - BLOB_HEADER_BYTES, image, BLOB_HEADER_BYTES);

    g_assert_true(blob_slot_probe(&setup->medium, guard, &sealed_slot, &judge,
                                  &evidence, NULL));
    g_assert_true(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, blob_sequence(3, 7));
    g_assert_cmpuint(evidence.newest.member_count, ==, 2);
    from_hex("000102030405060708090a0b0c0d0e0f", census);
    g_assert_cmpmem(evidence.newest.census, BLOB_CENSUS_BYTES, census,
                    BLOB_CENSUS_BYTES);
    g_assert_true(blob_slot_read(&setup->medium, guard, &sealed_slot,
                                 &evidence.newest, &payload, NULL));
    g_assert_nonnull(payload);
    g_assert_cmpmem(g_bytes_get_data(payload, NULL), g_bytes_get_size(payload),
                    known_content, sizeof(known_content) - 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/slot/" #name, Setup, NULL, set_up, test_##name, \
                             tear_down)
    ADD(version_is_written_at_once_and_read_back);
    ADD(only_what_matters_is_found);
    ADD(empty_slot_holds_nothing);
    ADD(torn_header_leaves_the_trailer_as_evidence);
    ADD(torn_trailer_leaves_the_header_as_evidence);
    ADD(newer_trailer_wins_over_the_header);
    ADD(newer_trailer_behind_a_torn_payload_is_found);
    ADD(old_trailer_behind_a_shorter_version_is_dead);
    ADD(trailer_in_the_wrong_place_is_ignored);
    ADD(large_slot_is_scanned_to_its_end);
    ADD(holes_are_not_searched);
    ADD(content_in_holes_has_a_limit);
    ADD(probe_fails_as_the_storage_does);
    ADD(damaged_payload_is_not_returned);
    ADD(sealed_version_made_elsewhere_is_read);
    ADD(failed_writes_are_counted);
    ADD(pair_is_written_to_the_worse_copy_first);
    ADD(pair_that_failed_keeps_one_version);
    ADD(pair_reads_the_newest_intact_copy);
    ADD(pair_is_healed_where_it_is_not_whole);
    return g_test_run();
}
