/*
 * Unit tests of the core: the current version after an unclean close
 *
 * The store itself makes every medium here; then the power fails, or something
 * is damaged.  test-crash.c cuts the power at every place.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>
#include "sealed.h"

static void test_acknowledged_versions_are_current(Trio *trio,
                                                   gconstpointer unused)
{
    trio_crash(trio);
    trio_expect(trio, "a1", "b1", "c1");
    trio_renew(trio);
    trio_write(trio, 0, "a2");
    trio_write_ab(trio, "a3", "b3");
    trio_write(trio, 2, NULL);
    trio_crash(trio);
    trio_expect(trio, "a3", "b3", NULL);
    if (sealed_key()) {
        /* The store writes an epoch record after deleting. */
        g_assert_cmpuint((uint32_t)trio->store->epoch.acknowledged, ==, 0);
    } else {
        g_assert_cmpuint(trio->store->epoch.acknowledged, ==,
                         trio->blobs[2]->entry.sequence);
    }
    g_assert_null(blob_store_warnings(trio->store)[0]);
}

/* R3: half of a write of two blobs is left from an old epoch. */
static void test_half_of_a_failed_write_stays_dead(Trio *trio,
                                                   gconstpointer unused)
{
    g_autoptr(GBytes) text = g_bytes_new_static("half", 4);
    BlobChange changes[] = { { trio->blobs[0], text },
                             { trio->blobs[1], text } };

    trio->disk->fail_flush = 0;
    g_assert_false(blob_store_write(trio->store, changes, 2, NULL));
    trio_wipe(trio_slot(trio, 1, 1));         /* it never reached the medium */
    trio_write(trio, 2, "c2");
    trio_crash(trio);
    trio_expect(trio, "a1", "b1", "c2");
    test_start(trio->store);
    test_close(trio->store);
    trio_crash(trio);
    trio_expect(trio, "a1", "b1", "c2");
}

/*
 * R3: the slot is from another branch of the image, under the same epoch
 * number.
 */
static void test_branch_of_a_copied_image_stays_dead(Trio *trio,
                                                     gconstpointer unused)
{
    g_autoptr(TestDisk) copy = NULL;
    g_autoptr(BlobStore) branch = NULL;
    Blob *blobs[TRIO_BLOBS];

    test_close(trio->store);
    copy = test_disk_clone(trio->disk);
    branch = test_store(copy, blobs, TRIO_BLOBS);
    test_write(branch, blobs[0], "other branch");
    trio_crash(trio);
    trio_start(trio);
    g_assert_cmpuint(trio->store->epoch.number, ==, branch->epoch.number);
    trio_write(trio, 1, "b2");
    memcpy(trio_slot(trio, 0, 1), test_slot(copy, blobs[0], 1), 8192);
    trio_crash(trio);
    trio_expect(trio, "a1", "b2", "c1");
}

/* R6 */
static void test_half_of_a_cut_write_does_not_count(Trio *trio,
                                                    gconstpointer unused)
{
    for (unsigned lost = 0; lost < 2; lost++) {
        trio_write_ab(trio, "a2", "b2");
        trio_wipe(trio_current(trio, lost));
        trio_crash(trio);
        trio_expect(trio, "a1", "b1", "c1");
        trio_renew(trio);
    }
}

/* R6: below the watermark the members need not exist any more. */
static void test_members_may_be_superseded(Trio *trio,
                                           gconstpointer unused)
{
    trio_write_ab(trio, "a2", "b2");
    trio_write(trio, 1, "b3");
    trio_write(trio, 1, "b4");           /* where "b2" was */
    trio_crash(trio);
    trio_expect(trio, "a2", "b4", "c1");
    trio_renew(trio);
    trio_write_ab(trio, "a2", "b2");
    trio_write(trio, 1, "b3");
    trio_write(trio, 1, "b4");
    trio_current(trio, 1)[0] ^= 1;          /* torn */
    trio_crash(trio);
    trio_expect(trio, "a2", "b3", "c1");
}

/* R6, R8: the watermark names the damage; the other member stays. */
static void test_damaged_member_below_the_watermark(Trio *trio,
                                                    gconstpointer unused)
{
    trio_write_ab(trio, "a2", "b2");
    trio_write(trio, 2, "c2");
    trio_current(trio, 1)[BLOB_HEADER_BYTES] ^= 1;
    trio_crash(trio);
    trio_expect(trio, "a2", "damaged", "c2");
}

/*
 * R7: the trailer may be all that is left of a torn write.  That trailer lies
 * behind an older version whose payload was overwritten in part.  "b2" would
 * not count without the trailer's watermark.
 */
static void test_trailer_of_a_torn_write_has_its_watermark(
    Trio *trio, gconstpointer unused)
{
    g_autofree char *wide = g_strnfill(900, 'w');
    Blob *blob;
    uint8_t *slot;
    g_autofree uint8_t *old = NULL;

    blob_store_unregister(trio->store, trio->blobs[0]);
    blob = test_register(trio->store, "a", 20000);
    test_start(trio->store);
    trio_write(trio, 0, wide);           /* slot 1, current epoch */
    test_write2(trio->store, blob, "a3", trio->blobs[1], "b3");
    slot = trio_slot(trio, 0, 1);
    old = g_memdup2(slot, 8192);
    {
        g_autofree char *longer = g_strnfill(12000, 'l');

        trio_write(trio, 0, longer);     /* slot 1 again */
    }
    memcpy(slot, old, 8192);
    slot[2000] ^= 1;                    /* one sector of the new payload */
    trio_current(trio, 1)[BLOB_HEADER_BYTES] ^= 1;
    trio_crash(trio);
    trio_expect(trio, "a3", "damaged", "c1");
}

/*
 * R8: damage of each part of the slot is found, because a later commit
 * confirms it.
 */
static void test_damage_of_a_confirmed_version_is_found(
    Trio *trio, gconstpointer unused)
{
    static const unsigned places[] = { 0, 100, 1279, 1280, 1281, 8191 - 1279,
                                       8191 };

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        BlobInfo info;

        trio_write(trio, 0, "a2");
        trio_write(trio, 1, "b2");
        trio_current(trio, 0)[places[i]] ^= 1;
        trio_crash(trio);
        trio_expect(trio, "damaged", "b2", "c1");
        blob_get_info(trio->blobs[0], &info);
        g_assert_cmpuint(info.sequence, ==,
                         blob_sequence(trio->store->epoch.number, 1));
        trio_renew(trio);
    }
}

/*
 * R8: damage of all versions that left evidence is reported, however many they
 * are.
 */
static void test_damage_of_many_confirmed_versions_is_found(
    Trio *trio, gconstpointer unused)
{
    trio_write(trio, 0, "a2");
    trio_write(trio, 1, "b2");
    trio_write(trio, 2, "c2");
    trio_current(trio, 0)[0] ^= 1;
    trio_current(trio, 1)[8191] ^= 1;
    trio_crash(trio);
    trio_expect(trio, "damaged", "damaged", "c2");
}

/*
 * This is the one case that nobody can tell from a torn write; see design.md.
 */
static void test_damage_of_the_last_commit_reads_as_the_one_before(
    Trio *trio, gconstpointer unused)
{
    static const unsigned places[] = { 0, 1280, 8191 };

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        trio_write(trio, 1, "b2");
        trio_write(trio, 0, "a2");
        trio_current(trio, 0)[places[i]] ^= 1;
        trio_crash(trio);
        trio_expect(trio, "a1", "b2", "c1");
        trio_renew(trio);
    }
    /* The same holds for all members of a commit with several. */
    trio_write_ab(trio, "a2", "b2");
    trio_current(trio, 0)[0] ^= 1;
    trio_crash(trio);
    trio_expect(trio, "a1", "b1", "c1");
}

/* R8: the directory confirms a version that is on record. */
static void test_damage_of_a_recorded_version_is_found(Trio *trio,
                                                       gconstpointer unused)
{
    trio_current(trio, 0)[0] ^= 1;
    trio_current(trio, 1)[BLOB_HEADER_BYTES] ^= 1;
    trio_wipe(trio_current(trio, 2));
    trio_crash(trio);
    trio_expect(trio, "damaged", "damaged", "damaged");
}

/* R8 */
static void test_damage_of_a_superseded_version_is_none(
    Trio *trio, gconstpointer unused)
{
    trio_write(trio, 0, "a2");
    trio_write(trio, 0, "a3");
    trio_write(trio, 1, "b2");
    trio_slot(trio, 0, 1)[0] ^= 1;
    trio_wipe(trio_slot(trio, 1, 0));
    trio_crash(trio);
    trio_expect(trio, "a3", "b2", "c1");
}

/* A lost tombstone does not bring anything back to life. */
static void test_damaged_tombstone_is_found(Trio *trio,
                                            gconstpointer unused)
{
    trio_write(trio, 0, NULL);
    trio_write(trio, 1, "b2");
    trio_wipe(trio_current(trio, 0));
    trio_crash(trio);
    trio_expect(trio, "damaged", "b2", "c1");
}

/* R11 */
static void test_cut_first_write_reads_as_absent(Trio *trio,
                                                 gconstpointer unused)
{
    Blob *blob = test_register(trio->store, "new", 1000);

    test_start(trio->store);
    trio->disk->fail_write = 1;
    test_write_fails(trio->store, blob, "new1", BLOBSTORE_ERROR_IO, "*");
    test_slot(trio->disk, blob, 0)[0] ^= 1;
    trio_crash(trio);
    blob = blob_store_find(trio->store, "t", "new");
    test_expect(trio->store, blob, NULL);
    trio_expect(trio, "a1", "b1", "c1");
}

/* Damage does not heal by itself, and the rest of the store stays usable. */
static void test_damage_is_not_forgotten(Trio *trio, gconstpointer unused)
{
    Blob *b;

    trio_write(trio, 0, "a2");
    trio_write(trio, 1, "b2");
    trio_wipe(trio_current(trio, 0));
    trio_crash(trio);
    b = test_register(trio->store, "b", 1000);
    test_start(trio->store);
    test_write(trio->store, b, "b3");
    trio_crash(trio);
    trio_expect(trio, "damaged", "b3", "c1");
    test_register(trio->store, "b", 1000);
    test_start(trio->store);
    test_close(trio->store);
    trio_crash(trio);
    trio_expect(trio, "damaged", "b3", "c1");

    test_register(trio->store, "a", 1000);
    test_start_fails(trio->store, BLOBSTORE_ERROR_DAMAGED,
                     "blob 't/a' is damaged*");
}

/* An earlier deletion does not make the damaged blob absent. */
static void test_damage_after_a_delete_is_not_forgotten(Trio *trio,
                                                        gconstpointer unused)
{
    trio_write(trio, 0, NULL);
    test_close(trio->store);
    trio_write(trio, 0, "a2");
    trio_write(trio, 1, "b2");
    trio_wipe(trio_current(trio, 0));
    trio_crash(trio);
    trio_expect(trio, "damaged", "b2", "c1");
    test_register(trio->store, "b", 1000);
    test_start(trio->store);
    test_close(trio->store);
    trio_crash(trio);
    trio_expect(trio, "damaged", "b2", "c1");
}

static void test_recovery_writes_nothing(Trio *trio, gconstpointer unused)
{
    trio_write(trio, 0, "a2");
    trio_current(trio, 0)[0] ^= 1;
    test_disk_reset_counts(trio->disk);
    trio_crash(trio);
    g_assert_cmpuint(trio->disk->writes + trio->disk->flushes, ==, 0);
}

static void test_recovery_fails_as_the_storage_does(Trio *trio,
                                                    gconstpointer unused)
{
    GError *error = NULL;
    unsigned lived_with = 0;
    int n;

    trio_write(trio, 0, "a2");
    for (n = 0; trio->disk->fail_read == TEST_NEVER; n++) {
        g_autoptr(BlobStore) store = NULL;

        trio->disk->fail_read = n;
        store = blob_store_open(trio->disk->storage, NULL, &error);
        if (!store) {
            test_assert_error(&error, BLOBSTORE_ERROR_IO,
                              "*read failed as told");
        } else if (blob_store_warnings(store)[0]) {
            lived_with++;       /* The other copy was intact. */
        }
    }
    g_assert_cmpuint(lived_with, ==, 6);
    g_assert_cmpint(n, >, 12);
    trio->disk->fail_read = TEST_NEVER;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/recover/" #name, Trio, NULL, trio_set_up, \
                             test_##name, trio_tear_down)
    ADD(acknowledged_versions_are_current);
    ADD(half_of_a_failed_write_stays_dead);
    ADD(branch_of_a_copied_image_stays_dead);
    ADD(half_of_a_cut_write_does_not_count);
    ADD(members_may_be_superseded);
    ADD(damaged_member_below_the_watermark);
    ADD(trailer_of_a_torn_write_has_its_watermark);
    ADD(damage_of_a_confirmed_version_is_found);
    ADD(damage_of_many_confirmed_versions_is_found);
    ADD(damage_of_the_last_commit_reads_as_the_one_before);
    ADD(damage_of_a_recorded_version_is_found);
    ADD(damage_of_a_superseded_version_is_none);
    ADD(damaged_tombstone_is_found);
    ADD(cut_first_write_reads_as_absent);
    ADD(damage_is_not_forgotten);
    ADD(damage_after_a_delete_is_not_forgotten);
    ADD(recovery_writes_nothing);
    ADD(recovery_fails_as_the_storage_does);
    return g_test_run();
}
