/*
 * Unit tests of the core: pairs of slots that hold the same
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "slotdisk.h"

#include <string.h>

static BlobPair new_pair(void)
{
    return (BlobPair) {
        .id = SLOT_ID, .offset = SLOT_OFFSET, .slot_bytes = SLOT_BYTES,
    };
}

static bool write_pair(SlotDisk *setup, BlobPair *pair, uint64_t sequence)
{
    g_autoptr(GBytes) payload = slot_content(sequence, 100);
    BlobHeader header = { .sequence = sequence, .raw_bytes = 100 };

    return blob_pair_write(&setup->medium, setup->guard, pair, &header,
                           payload, NULL);
}

/* Returns the sequence that was read, or 0; the payload must match it. */
static uint64_t read_pair(SlotDisk *setup, BlobPair *pair, BlobHeader *header)
{
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) expected = NULL;

    g_assert_true(blob_pair_read(&setup->medium, setup->guard, pair, header,
                                 &payload, NULL));
    if (!payload) {
        return 0;
    }
    expected = slot_content(header->sequence, 100);
    g_assert_true(g_bytes_equal(payload, expected));
    return header->sequence;
}

static void test_pair_is_written_to_the_worse_copy_first(
    SlotDisk *setup, gconstpointer unused)
{
    static const struct {
        bool intact[2];
        uint64_t sequence[2];
        unsigned first;
        unsigned last;
    } cases[] = {
        { { false, false }, { 0, 0 }, 0 },
        { { true, false }, { 1, 9 }, 1 },
        { { false, true }, { 9, 1 }, 0 },
        { { true, true }, { 2, 1 }, 1 },
        { { true, true }, { 1, 2 }, 0 },
        { { true, true }, { 2, 2 }, 0, .last = 0 },
        { { true, true }, { 2, 2 }, 1, .last = 1 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        BlobPair pair = new_pair();
        TestEvent *event;

        memcpy(pair.intact, cases[i].intact, sizeof(pair.intact));
        memcpy(pair.sequence, cases[i].sequence, sizeof(pair.sequence));
        pair.last = cases[i].last;
        test_disk_record(setup->disk);
        g_assert_true(write_pair(setup, &pair, 10));
        g_assert_true(blob_pair_is_whole(&pair));
        g_assert_cmpuint(pair.last, ==, !cases[i].first);
        /* Each step is durable before the next: write, flush, write, flush. */
        g_assert_cmpuint(setup->disk->events->len, ==, 4);
        event = (TestEvent *)setup->disk->events->data;
        g_assert_cmpuint(event[0].offset, ==,
                         SLOT_OFFSET + cases[i].first * SLOT_BYTES);
        g_assert_null(event[1].data);
        g_assert_cmpuint(event[2].offset, ==,
                         SLOT_OFFSET + !cases[i].first * SLOT_BYTES);
        g_assert_null(event[3].data);
    }
}

static void test_pair_that_failed_keeps_one_version(SlotDisk *setup,
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

static void test_pair_reads_the_newest_intact_copy(SlotDisk *setup,
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
        uint8_t *bad = slot_block(setup, 0) + SLOT_BYTES + place[at];

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

static void test_pair_is_healed_where_it_is_not_whole(SlotDisk *setup,
                                                      gconstpointer unused)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobPair pair = new_pair();
        BlobHeader header;
        g_autoptr(GBytes) payload = NULL;

        g_assert_true(write_pair(setup, &pair, 3));
        memset(slot_block(setup, 0) + n * SLOT_BYTES, 0, SLOT_BLOCK);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/pair/" #name, SlotDisk, NULL, \
                             slot_disk_set_up, test_##name, \
                             slot_disk_tear_down)
    ADD(pair_is_written_to_the_worse_copy_first);
    ADD(pair_that_failed_keeps_one_version);
    ADD(pair_reads_the_newest_intact_copy);
    ADD(pair_is_healed_where_it_is_not_whole);
    return g_test_run();
}
