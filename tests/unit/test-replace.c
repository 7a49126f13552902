/*
 * Unit tests of the core: lost blobs whose content the caller has
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

static const BlobStoreOptions replacing = { .replace_damaged = true };

/* Damages the content of a, and opens the store to replace it. */
static void damage_and_open(Trio *trio, bool clean, uint64_t max_size)
{
    g_autoptr(GError) error = NULL;

    if (clean) {
        test_close(trio->store);
    }
    trio_current(trio, 0)[BLOB_HEADER_BYTES] ^= 1;
    blob_store_free(trio->store);
    trio->store = blob_store_open(trio->disk->storage, &replacing, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < TRIO_BLOBS; i++) {
        char name[] = { 'a' + i, '\0' };

        trio->blobs[i] = test_register(trio->store, name, max_size);
    }
    test_start(trio->store);
}

static void expect_after_a_crash(Trio *trio, const char *a)
{
    trio_crash(trio);
    trio_expect(trio, a, "b1", "c1");
}

/*
 * Damage is found while opening, or by reading if the store was closed clean.
 */
static void test_damaged_blob_can_be_replaced(Trio *trio,
                                              gconstpointer unused)
{
    for (unsigned clean = 0; clean < 2; clean++) {
        trio_renew(trio);
        damage_and_open(trio, clean, 1000);
        test_expect_damaged(trio->store, trio->blobs[0]);
        trio_write(trio, 0, "a2");
        trio_expect(trio, "a2", "b1", "c1");
        trio_write(trio, 0, "a3");
        expect_after_a_crash(trio, "a3");
        trio_start(trio);
    }
}

static void test_damaged_blob_can_be_deleted(Trio *trio,
                                             gconstpointer unused)
{
    damage_and_open(trio, false, 1000);
    trio_write(trio, 0, NULL);
    trio_expect(trio, NULL, "b1", "c1");
    expect_after_a_crash(trio, NULL);
}

/* The start copies nothing of a damaged blob to its larger place. */
static void test_damaged_blob_can_grow(Trio *trio, gconstpointer unused)
{
    for (unsigned clean = 0; clean < 2; clean++) {
        trio_renew(trio);
        damage_and_open(trio, clean, 6000);
        test_expect_damaged(trio->store, trio->blobs[0]);
        trio_write(trio, 0, "a2");
        expect_after_a_crash(trio, "a2");
    }
}

/*
 * A start does not replace: a caller that has no content must not continue
 * without.
 */
static void test_damage_stays_until_it_is_replaced(Trio *trio,
                                                   gconstpointer unused)
{
    static const uint64_t sizes[] = { 1000, 6000 };

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        trio_renew(trio);
        damage_and_open(trio, false, sizes[i]);
        trio_write(trio, 1, "b2");
        trio_crash(trio);
        trio_expect(trio, "damaged", "b2", "c1");
        test_register(trio->store, "a", sizes[i]);
        test_start_fails(trio->store, BLOBSTORE_ERROR_DAMAGED, "*'t/a'*");
    }
}

static void test_replacing_that_fails_changes_nothing(Trio *trio,
                                                      gconstpointer unused)
{
    damage_and_open(trio, false, 1000);
    trio->disk->fail_write = 0;
    test_write_fails(trio->store, trio->blobs[0], "a2", BLOBSTORE_ERROR_IO,
                     "*");
    test_expect_damaged(trio->store, trio->blobs[0]);
    trio_write(trio, 0, "a2");
    expect_after_a_crash(trio, "a2");
}

static void expect_damaged_or_replaced(TestDisk *crashed, unsigned events,
                                       void *opaque)
{
    g_autoptr(BlobStore) store = test_open(crashed);
    Blob *a = blob_store_find(store, "t", "a");
    g_autoptr(GError) error = NULL;
    g_autofree char *text = test_read(store, a, &error);

    if (!text) {
        g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED);
    } else {
        g_assert_cmpstr(text, ==, "a2");
    }
    test_expect(store, blob_store_find(store, "t", "b"), "b1");
    test_expect(store, blob_store_find(store, "t", "c"), "c1");
}

static void test_power_failure_leaves_it_damaged_or_replaced(
    Trio *trio, gconstpointer unused)
{
    for (unsigned clean = 0; clean < 2; clean++) {
        trio_renew(trio);
        damage_and_open(trio, clean, 1000);
        test_disk_record(trio->disk);
        trio_write(trio, 0, "a2");
        test_disk_each_crash(trio->disk, expect_damaged_or_replaced, NULL);
    }
}

static bool restore(Trio *trio, GError **error)
{
    return blob_store_rewrite_heads(trio->store, error);
}

/*
 * The store restores superblock and directory; the caller has to write the
 * blobs.
 */
static void test_medium_that_was_cut_off_is_restored(Trio *trio,
                                                     gconstpointer unused)
{
    static const uint64_t sizes[] = { 0, 512, 16384, 32768, 49152 };
    uint64_t length = test_disk_length(trio->disk);

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        trio_renew(trio);
        test_disk_resize(trio->disk, sizes[i]);
        test_disk_resize(trio->disk, length);
        g_assert_true(restore(trio, NULL));
        trio_write(trio, 0, "a2");
        trio_write(trio, 1, "b2");
        trio_write(trio, 2, "c2");
        trio_crash(trio);
        trio_expect(trio, "a2", "b2", "c2");
    }
}

static void test_restoring_what_is_there_writes_nothing(Trio *trio,
                                                        gconstpointer unused)
{
    test_disk_reset_counts(trio->disk);
    g_assert_true(restore(trio, NULL));
    g_assert_cmpuint(trio->disk->writes, ==, 0);
    trio_crash(trio);
    trio_expect(trio, "a1", "b1", "c1");
}

static void test_restoring_that_fails_can_be_repeated(Trio *trio,
                                                      gconstpointer unused)
{
    uint64_t length = test_disk_length(trio->disk);
    g_autoptr(GError) error = NULL;

    for (int n = 0; n < 4; n++) {
        trio_renew(trio);
        test_disk_resize(trio->disk, 0);
        test_disk_resize(trio->disk, length);
        trio->disk->fail_write = n;
        g_assert_false(restore(trio, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "*");
        trio->disk->fail_write = TEST_NEVER;
        g_assert_true(restore(trio, NULL));
        trio_write(trio, 0, "a2");
        trio_write_ab(trio, "a3", "b3");
        trio_write(trio, 2, "c3");
        trio_crash(trio);
        trio_expect(trio, "a3", "b3", "c3");
    }
}

static void add(const char *path, void (*test)(Trio *, gconstpointer))
{
    g_test_add(path, Trio, NULL, trio_set_up, test, trio_tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/replace/damaged-blob-can-be-replaced",
        test_damaged_blob_can_be_replaced);
    add("/replace/damaged-blob-can-be-deleted",
        test_damaged_blob_can_be_deleted);
    add("/replace/damaged-blob-can-grow", test_damaged_blob_can_grow);
    add("/replace/damage-stays-until-it-is-replaced",
        test_damage_stays_until_it_is_replaced);
    add("/replace/failure-changes-nothing",
        test_replacing_that_fails_changes_nothing);
    add("/replace/power-failure-leaves-it-damaged-or-replaced",
        test_power_failure_leaves_it_damaged_or_replaced);
    add("/restore/medium-that-was-cut-off-is-restored",
        test_medium_that_was_cut_off_is_restored);
    add("/restore/what-is-there-is-not-written",
        test_restoring_what_is_there_writes_nothing);
    add("/restore/failure-can-be-repeated",
        test_restoring_that_fails_can_be_repeated);
    return g_test_run();
}
