/*
 * Unit tests of the core: slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "slotdisk.h"

#include <string.h>
#include "blobstore/format/sparse.h"
#include "hex.h"
#include "hooked.h"

static const uint8_t epoch_id[BLOB_EPOCH_ID_BYTES] = { 0xee };
static const BlobSlot slot = { SLOT_ID, SLOT_OFFSET, SLOT_BYTES };

/* Writes version @sequence, whose image takes @blocks blocks. */
static BlobHeader put(SlotDisk *setup, uint64_t sequence, unsigned blocks)
{
    size_t bytes = blocks * SLOT_BLOCK - 2 * BLOB_HEADER_BYTES;
    g_autoptr(GBytes) payload = slot_content(sequence, bytes);
    BlobHeader header = { .sequence = sequence, .raw_bytes = bytes };

    memcpy(header.epoch_id, epoch_id, sizeof(epoch_id));
    g_assert_true(blob_slot_write(&setup->medium, setup->guard, &slot,
                                  &header, payload, true, NULL));
    return header;
}

static BlobEvidence probe(SlotDisk *setup, const uint8_t *id, uint64_t recorded)
{
    BlobJudge judge = { .epoch_id = id, .recorded = recorded };
    BlobEvidence evidence;

    g_assert_true(blob_slot_probe(&setup->medium, setup->guard, &slot,
                                  &judge, &evidence, NULL));
    return evidence;
}

static void test_version_is_written_at_once_and_read_back(SlotDisk *setup,
                                                          gconstpointer unused)
{
    BlobHeader header = put(setup, 5, 3);
    BlobEvidence evidence = probe(setup, epoch_id, 0);
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) expected = slot_content(5, 3 * SLOT_BLOCK -
                                              2 * BLOB_HEADER_BYTES);

    g_assert_cmpuint(setup->disk->writes, ==, 1);
    g_assert_cmpuint(setup->medium.bytes_written, ==, 3 * SLOT_BLOCK);
    g_assert_true(evidence.found && evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 5);
    g_assert_cmpuint(evidence.highest, ==, 5);
    g_assert_cmpmem(&evidence.newest, sizeof(header), &header,
                    sizeof(header));
    g_assert_true(blob_slot_read(&setup->medium, setup->guard, &slot, &header,
                                 &payload, NULL));
    g_assert_true(g_bytes_equal(payload, expected));
    g_assert_cmpmem(slot_block(setup, 0), 1280, slot_block(setup, 3) - 1280,
                    1280);
}

static void test_only_what_matters_is_found(SlotDisk *setup,
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

static void test_empty_slot_holds_nothing(SlotDisk *setup, gconstpointer unused)
{
    BlobEvidence evidence = probe(setup, epoch_id, 5);

    g_assert_false(evidence.found || evidence.complete);
    g_assert_cmpuint(evidence.highest, ==, 0);
}

/* R7 */
static void test_torn_header_leaves_the_trailer_as_evidence(
    SlotDisk *setup, gconstpointer unused)
{
    for (unsigned blocks = 2; blocks <= 8; blocks++) {
        BlobEvidence evidence;

        put(setup, 5 + blocks, blocks);
        memset(slot_block(setup, 0), 0, TEST_SECTOR_BYTES);
        evidence = probe(setup, epoch_id, 0);
        g_assert_true(evidence.found);
        g_assert_false(evidence.complete);
        g_assert_cmpuint(evidence.newest.sequence, ==, 5 + blocks);
    }
}

static void test_torn_trailer_leaves_the_header_as_evidence(
    SlotDisk *setup, gconstpointer unused)
{
    BlobEvidence evidence;

    put(setup, 5, 4);
    slot_block(setup, 3)[SLOT_BLOCK - 1] ^= 1;
    evidence = probe(setup, epoch_id, 0);
    g_assert_true(evidence.found);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 5);
}

/* R7: the header is still that of the version before. */
static void test_newer_trailer_wins_over_the_header(SlotDisk *setup,
                                                    gconstpointer unused)
{
    g_autofree uint8_t *header = NULL;
    BlobEvidence evidence;

    put(setup, 5, 4);
    header = g_memdup2(slot_block(setup, 0), SLOT_BLOCK);
    put(setup, 7, 4);
    memcpy(slot_block(setup, 0), header, SLOT_BLOCK);
    evidence = probe(setup, epoch_id, 5);
    g_assert_true(evidence.found);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
    g_assert_cmpuint(evidence.highest, ==, 7);
}

/* R7: so it is with a payload that was overwritten in part. */
static void test_newer_trailer_behind_a_torn_payload_is_found(
    SlotDisk *setup, gconstpointer unused)
{
    g_autofree uint8_t *first = NULL;
    g_autofree uint8_t *third = NULL;
    BlobEvidence evidence;

    put(setup, 5, 3);
    first = g_memdup2(slot_block(setup, 0), SLOT_BLOCK);
    third = g_memdup2(slot_block(setup, 2), SLOT_BLOCK);
    put(setup, 7, 5);
    memcpy(slot_block(setup, 0), first, SLOT_BLOCK);
    memcpy(slot_block(setup, 2), third, SLOT_BLOCK);
    evidence = probe(setup, epoch_id, 0);
    g_assert_true(evidence.found);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
}

static void test_old_trailer_behind_a_shorter_version_is_dead(
    SlotDisk *setup, gconstpointer unused)
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
    memset(slot_block(setup, 1) + SLOT_BLOCK - 1280, 0, 1280);
    evidence = probe(setup, epoch_id, 0);
    g_assert_false(evidence.complete);
    g_assert_cmpuint(evidence.newest.sequence, ==, 7);
    memset(slot_block(setup, 0), 0, 1280);
    evidence = probe(setup, epoch_id, 0);
    g_assert_cmpuint(evidence.newest.sequence, ==, 5);
    evidence = probe(setup, other, 0);
    g_assert_false(evidence.found);
}

/* R7: a trailer counts only where its own length puts it. */
static void test_trailer_in_the_wrong_place_is_ignored(SlotDisk *setup,
                                                       gconstpointer unused)
{
    BlobEvidence evidence;

    put(setup, 5, 3);
    memcpy(slot_block(setup, 5) + SLOT_BLOCK - 1280,
           slot_block(setup, 2) + SLOT_BLOCK - 1280, 1280);
    memset(slot_block(setup, 0), 0, SLOT_BLOCK);
    memset(slot_block(setup, 2), 0, SLOT_BLOCK);
    evidence = probe(setup, epoch_id, 5);
    g_assert_false(evidence.found);
    g_assert_cmpuint(evidence.highest, ==, 0);
}

static void test_large_slot_is_scanned_to_its_end(SlotDisk *setup,
                                                  gconstpointer unused)
{
    BlobSlot large = { SLOT_ID, 0, 3 << 20 };
    BlobJudge judge = { .recorded = 9 };
    BlobEvidence evidence;
    BlobHeader header = { .sequence = 9 };
    g_autoptr(GBytes) payload = slot_content(9, (3 << 20) - 2560);

    test_disk_resize(setup->disk, 3 << 20);
    header.raw_bytes = g_bytes_get_size(payload);
    g_assert_true(blob_slot_write(&setup->medium, setup->guard, &large,
                                  &header, payload, true, NULL));
    memset(test_disk_bytes(setup->disk), 0, SLOT_BLOCK);
    g_assert_true(blob_slot_probe(&setup->medium, setup->guard, &large,
                                  &judge, &evidence, NULL));
    g_assert_true(evidence.found);
}

/* All is known to be zero from that offset on. */
static uint64_t hole_start;

static uint64_t hole(void *opaque, uint64_t offset, uint64_t bytes)
{
    return offset >= hole_start ? bytes : 0;
}

static const Hooks with_hole = { .known_zero = hole };

static void test_holes_are_not_searched(SlotDisk *setup, gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = hooked_storage_new(setup->disk->storage,
                                                        &with_hole, NULL);
    BlobSlot large = slot;
    BlobJudge judge = { .any = true };
    BlobEvidence evidence;

    setup->medium.storage = storage;
    large.bytes = TEST_DISK_BYTES - SLOT_OFFSET;
    for (unsigned blocks = 0; blocks < 3; blocks++) {
        hole_start = SLOT_OFFSET + blocks * SLOT_BLOCK;
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
}

static void test_content_in_holes_has_a_limit(SlotDisk *setup,
                                              gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = hooked_storage_new(setup->disk->storage,
                                                        &with_hole, NULL);
    GError *error = NULL;

    setup->medium.storage = storage;
    hole_start = BLOB_MAX_SIZE_BYTES / 2;
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
}

static void test_probe_fails_as_the_storage_does(SlotDisk *setup,
                                                 gconstpointer unused)
{
    BlobJudge judge = { .epoch_id = epoch_id };
    BlobEvidence evidence;
    GError *error = NULL;

    put(setup, 5, 2);
    for (int n = 0; n < 3; n++) {
        if (n == 2) {
            memset(slot_block(setup, 1), 0, SLOT_BLOCK);
        }
        setup->disk->fail_read = n;
        g_assert_false(blob_slot_probe(&setup->medium, setup->guard, &slot,
                                       &judge, &evidence, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "read failed as told");
    }
}

static void test_damaged_payload_is_not_returned(SlotDisk *setup,
                                                 gconstpointer unused)
{
    BlobHeader header = put(setup, 5, 3);
    g_autoptr(GBytes) payload = NULL;
    GError *error = NULL;

    slot_block(setup, 1)[17] ^= 4;
    g_assert_true(blob_slot_read(&setup->medium, setup->guard, &slot, &header,
                                 &payload, NULL));
    g_assert_null(payload);
    setup->disk->fail_read = 0;
    g_assert_false(blob_slot_read(&setup->medium, setup->guard, &slot, &header,
                                  &payload, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "read failed as told");
}

static void test_failed_writes_are_counted(SlotDisk *setup,
                                           gconstpointer unused)
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

static void test_sealed_version_made_elsewhere_is_read(SlotDisk *setup,
                                                       gconstpointer unused)
{
    static const uint8_t uuid[BLOB_UUID_BYTES] = { 0xb1, 0x0b };
    static const BlobEntry entry = {
        .kind = BLOB_KIND_PERMANENT,
        .owner = "tpm",
        .name = "permanent",
    };
    const BlobSlot sealed_slot = { SLOT_ID, SLOT_OFFSET, SLOT_BYTES, &entry };
    BlobJudge judge = { .epoch_id = epoch_id };
    uint8_t key_bytes[BLOB_KEY_BYTES];
    g_autoptr(BlobKey) key = NULL;
    g_autoptr(BlobGuard) guard = NULL;
    g_autoptr(GBytes) payload = NULL;
    BlobEvidence evidence;
    uint8_t census[BLOB_CENSUS_BYTES];
    uint8_t *image = slot_block(setup, 0);

    memset(key_bytes, 1, sizeof(key_bytes));
    key = blob_key_new_from_bytes(key_bytes, NULL);
    guard = blob_guard_new_sealed(key, uuid, NULL);
    from_hex(known_head, image);
    from_hex(known_members, image + 224);
    from_hex(known_check, image + 1248);
    from_hex(known_payload, image + BLOB_HEADER_BYTES);
    memcpy(image + 2 * SLOT_BLOCK - BLOB_HEADER_BYTES, image,
           BLOB_HEADER_BYTES);

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
#define ADD(name) g_test_add("/slot/" #name, SlotDisk, NULL, \
                             slot_disk_set_up, test_##name, \
                             slot_disk_tear_down)
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
    return g_test_run();
}
