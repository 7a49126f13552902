/*
 * Unit tests of the core: a conversion whose writes fail, or land late
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pieces.h"

#include <string.h>

/* Starts the store; the write after @after others fails, if there is one. */
static bool start_failing(TestDisk *disk, BlobStore *store, int after)
{
    bool ok;

    disk->fail_write = after;
    disk->failing_write_is_late = true;
    ok = blob_store_start(store, NULL);
    disk->fail_write = TEST_NEVER;
    return ok;
}

/*
 * Write @first of the start that is to end the conversion fails, and lands when
 * the next start has read the medium.  The power fails in write @second of that
 * one.  Returns if there are these writes.
 */
static bool fail_starts(const Way *way, int first, int second)
{
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[PIECES_BLOBS];
    g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
    g_autofree char *text = pieces_old_text(1);

    pieces_begin(store, way);
    test_write(store, blobs[0], "new");
    test_close(store);
    for (unsigned n = 0; n < 2; n++) {
        g_clear_pointer(&store, blob_store_free);
        store = pieces_reopen(disk, way, blobs);
        if (start_failing(disk, store, n ? second : first) ||
            !disk->late.data) {
            return false;       /* or a superblock has landed: STALE */
        }
    }
    memset(test_disk_bytes(disk) + disk->late.offset, 'g', disk->late.bytes);
    g_clear_pointer(&disk->late.data, g_free);
    g_clear_pointer(&store, blob_store_free);
    store = pieces_reopen(disk, way, blobs);
    test_expect(store, blobs[0], "new");
    test_expect(store, blobs[1], text);
    test_start(store);
    test_expect(store, blobs[0], "new");
    test_expect(store, blobs[1], text);
    return true;
}

static void test_write_that_lands_late_loses_nothing(gconstpointer opaque)
{
    unsigned pairs = 0;

    for (int first = 0; first < 12; first++) {
        for (int second = 0; fail_starts(opaque, first, second); second++) {
            pairs++;
        }
    }
    g_assert_cmpuint(pairs, >, 100);
}

/* Each write, or flush, of the pieces fails once; later writes stay. */
static void fail_pieces(const Way *way, bool flush, unsigned how)
{
    unsigned failed;
    int after = 0;

    do {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autoptr(TestDisk) old = NULL;
        Blob *blobs[PIECES_BLOBS];
        g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
        int *fail = flush ? &disk->fail_flush : &disk->fail_write;
        bool done = false;

        old = test_disk_clone(disk);
        pieces_begin(store, way);
        disk->failing_write_is_late = how & 1;
        disk->failing_write_lands = how & 2;
        *fail = after;
        failed = 0;
        while (!done) {
            if (!blob_store_convert_next(store, PIECE_BYTES, &done, NULL)) {
                failed++;
                done = false;
                *fail = TEST_NEVER;
                for (unsigned n = 0; n < PIECES_BLOBS; n++) {
                    test_write(store, blobs[n], "written since");
                }
            }
        }
        *fail = TEST_NEVER;
        g_assert_cmpuint(failed, <=, 1);
        pieces_check_gone(disk, old);
        g_clear_pointer(&store, blob_store_free);
        store = pieces_reopen(disk, way, blobs);
        test_start(store);
        for (unsigned n = 0; failed && n < PIECES_BLOBS; n++) {
            test_expect(store, blobs[n], "written since");
        }
        after++;
    } while (failed);
    g_assert_cmpint(after, >, 5);
}

static void test_piece_that_fails_is_repeated(gconstpointer opaque)
{
    for (unsigned how = 0; how < 4; how++) {
        fail_pieces(opaque, false, how);
    }
    fail_pieces(opaque, true, 0);
}

/* The zeros of a piece fail, and land with the flush after the next commits. */
static void test_zeros_that_land_late_hit_no_commit(gconstpointer opaque)
{
    const Way *way = opaque;
    bool done = false;

    for (unsigned pieces = 1; !done; pieces++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        Blob *blobs[PIECES_BLOBS];
        g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);

        pieces_begin(store, way);
        test_write(store, blobs[0], "new");
        for (unsigned n = 0; n < pieces && !done; n++) {
            done = pieces_next(store);
        }
        disk->fail_write = 0;
        disk->failing_write_is_late = true;
        if (done || blob_store_convert_next(store, PIECE_BYTES, &done, NULL)) {
            continue;
        }
        disk->fail_write = TEST_NEVER;
        for (unsigned n = 0; n < PIECES_BLOBS; n++) {
            test_write(store, blobs[n], "since");
        }
        g_assert_true(blob_medium_flush(&store->medium, NULL));
        for (unsigned n = 0; n < PIECES_BLOBS; n++) {
            test_expect(store, blobs[n], "since");
        }
    }
}

/*
 * The power fails between the two copies of the directory that names the new
 * versions, and later after write @n of the start that goes on.  One copy of
 * the directory is damaged then, and the other one is enough.
 */
static bool lose_a_directory(const Way *way, int n, unsigned copy)
{
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    /* A store that becomes plain opens with its old key until then. */
    const Way begun = { way->name, way->from, MAX(way->to, 1) };
    Blob *blobs[PIECES_BLOBS];
    g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
    g_autofree char *text = pieces_old_text(1);
    BlobSlot slot;
    bool ok;

    /* The superblock and the directory before take four writes. */
    disk->fail_write = 4 + PIECES_BLOBS + 1;
    g_assert_false(conversion_run(store, way, NULL));
    disk->fail_write = TEST_NEVER;
    g_clear_pointer(&store, blob_store_free);
    store = pieces_reopen(disk, way->to < 0 ? &begun : way, blobs);
    g_assert_null(store->target);
    g_assert_false(blob_pair_is_whole(&store->directory_pair));
    disk->fail_write = n;
    ok = blob_store_start(store, NULL);
    disk->fail_write = TEST_NEVER;
    if (store->super.state != BLOB_STATE_CONVERTING) {
        slot = blob_pair_slot(&store->directory_pair, copy);
        memset(test_disk_bytes(disk) + slot.offset, 'g', slot.bytes);
        g_clear_pointer(&store, blob_store_free);
        store = pieces_reopen(disk, way, blobs);
        test_expect(store, blobs[1], text);
    }
    return !ok;
}

static void test_one_directory_is_enough_without_the_old_guard(
    gconstpointer opaque)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        int n = 0;

        while (lose_a_directory(opaque, n, copy)) {
            n++;
        }
    }
}

/* What a conversion that failed has written is its own, wherever it failed. */
static void test_failed_conversion_is_not_another_writer(gconstpointer opaque)
{
    const Way *way = opaque;
    bool failed = true;

    for (int n = 0; failed; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        Blob *blob;
        g_autoptr(BlobStore) store = conversion_store(disk, way, &blob, 1);
        bool unchanged = false;

        disk->fail_write = n;
        disk->failing_write_lands = n % 2;
        failed = !conversion_run(store, way, NULL);
        disk->fail_write = TEST_NEVER;
        g_assert_true(blob_store_check_unchanged(store, &unchanged, NULL));
        g_assert_true(unchanged);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < CONVERSION_WAYS; i++) {
#define ADD_WAY(test) do {                                                 \
        g_autofree char *path = g_strdup_printf(                           \
            "/convert-failing/%s/" #test, conversion_ways[i].name);        \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(write_that_lands_late_loses_nothing);
        ADD_WAY(piece_that_fails_is_repeated);
        ADD_WAY(zeros_that_land_late_hit_no_commit);
        ADD_WAY(one_directory_is_enough_without_the_old_guard);
        ADD_WAY(failed_conversion_is_not_another_writer);
    }
    return g_test_run();
}
