/*
 * Unit tests of the core: versions that are gone without a trace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

/*
 * R9: the slot does not show that a version is missing, but later commits do.
 */
static void test_wiped_slot_is_missed(Trio *trio, gconstpointer unused)
{
    for (int commits = 1; commits < 4; commits++) {
        for (int i = 0; i < commits; i++) {
            trio_write(trio, 0, "a, new");
        }
        trio_write(trio, 1, "b2");
        trio_wipe(trio_current(trio, 0));
        trio_crash(trio);
        trio_expect(trio, "damaged", "b2", "c1");
        trio_renew(trio);
    }
}

/* R9: the whole slot, header, payload and trailer, is as it was before. */
static void test_slot_that_was_rolled_back_is_missed(Trio *trio,
                                                     gconstpointer unused)
{
    g_autofree uint8_t *old = NULL;
    BlobInfo info;

    trio_write(trio, 0, "a2");
    old = g_memdup2(trio_current(trio, 0), 8192);
    trio_write(trio, 0, "a3");
    trio_write(trio, 0, "a4");
    trio_write(trio, 1, "b2");
    memcpy(trio_current(trio, 0), old, 8192);
    trio_crash(trio);
    trio_expect(trio, "damaged", "b2", "c1");
    blob_get_info(trio->blobs[0], &info);
    g_assert_cmpuint(info.sequence, ==,
                     blob_sequence(trio->store->epoch.number, 3));
}

/*
 * R9: a torn write that wrote over nothing of value confirms the census, too.
 */
static void test_torn_write_confirms_what_was_before(Trio *trio,
                                                     gconstpointer unused)
{
    for (unsigned other = 0; other < 2; other++) {
        trio_write(trio, 0, "a2");
        trio_write(trio, other, "torn");
        trio_current(trio, other)[BLOB_HEADER_BYTES] ^= 1;
        trio_wipe(trio_slot(trio, 0, 1));
        trio_crash(trio);
        trio_expect(trio, "damaged", "b1", "c1");
        trio_renew(trio);
    }
}

/*
 * R9: the newest commit has several members, and replaces their earlier
 * versions.
 */
static void test_census_before_a_write_of_many(Trio *trio,
                                               gconstpointer unused)
{
    trio_write(trio, 0, "a2");
    trio_write(trio, 2, "c2");
    trio_write_ab(trio, "a3", "b3");
    trio_crash(trio);
    trio_expect(trio, "a3", "b3", "c2");
    trio_renew(trio);
    trio_write(trio, 2, "c2");
    trio_write_ab(trio, "a3", "b3");
    trio_wipe(trio_current(trio, 2));
    trio_crash(trio);
    trio_expect(trio, "a3", "b3", "damaged");
}

/* R9 */
static void test_two_missing_blobs_fail_the_store(Trio *trio,
                                                  gconstpointer unused)
{
    trio_write(trio, 0, "a2");
    trio_write(trio, 1, "b2");
    trio_write(trio, 2, "c2");
    trio_wipe(trio_current(trio, 0));
    trio_wipe(trio_current(trio, 1));
    trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT,
                "content that was acknowledged since epoch * began is lost, *");
}

/* R9: the search for what is missing ends. */
static void test_missing_blob_among_very_many_commits(Trio *trio,
                                                      gconstpointer unused)
{
    for (unsigned i = 0; i < 2; i++) {
        trio->store->epoch.counter = (i ? 1 << 20 : 100) - 1;
        trio_write(trio, 2, "c2");
        trio_write(trio, 0, "a2");
        trio_wipe(trio_current(trio, 2));
        if (i == 0) {
            trio_crash(trio);
            trio_expect(trio, "a2", "b1", "damaged");
            trio_renew(trio);
        } else {
            trio_crash_fails(trio, BLOBSTORE_ERROR_CORRUPT,
                             "*is lost, of more than one*");
        }
    }
}

/* R10 */
static void test_stale_directory_is_refused(Trio *trio,
                                            gconstpointer unused)
{
    uint8_t *at = test_disk_bytes(trio->disk) + BLOB_DIRECTORY_OFFSET;
    size_t bytes = trio->store->super.data_offset - BLOB_DIRECTORY_OFFSET;
    g_autofree uint8_t *old = g_memdup2(at, bytes);

    /*
     * Nothing is wrong as long as the store is still in the epoch of the old
     * directory.
     */
    trio_write(trio, 0, "a2");
    memcpy(at, old, bytes);
    trio_crash(trio);
    trio_expect(trio, "a2", "b1", "c1");
    trio_start(trio);
    trio_write(trio, 0, "a3");
    memcpy(at, old, bytes);
    trio_crash_fails(trio, BLOBSTORE_ERROR_STALE,
                "directory (epoch *) is older than the slot of blob 't/a'*");
}

/* R10: one copy alone is not enough to take the store back in time. */
static void test_stale_directory_copy_is_not_used(Trio *trio,
                                                  gconstpointer unused)
{
    uint64_t slot_bytes = trio->store->super.directory_slot_bytes;
    uint8_t *at = test_disk_bytes(trio->disk) + BLOB_DIRECTORY_OFFSET;
    g_autofree uint8_t *old = g_memdup2(at, slot_bytes);

    trio_write(trio, 0, "a2");
    test_close(trio->store);
    trio_write(trio, 0, "a3");
    memcpy(at, old, slot_bytes);
    trio_crash(trio);
    trio_expect(trio, "a3", "b1", "c1");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/census/" #name, Trio, NULL, trio_set_up, \
                             test_##name, trio_tear_down)
    ADD(wiped_slot_is_missed);
    ADD(slot_that_was_rolled_back_is_missed);
    ADD(torn_write_confirms_what_was_before);
    ADD(census_before_a_write_of_many);
    ADD(two_missing_blobs_fail_the_store);
    ADD(missing_blob_among_very_many_commits);
    ADD(stale_directory_is_refused);
    ADD(stale_directory_copy_is_not_used);
    return g_test_run();
}
