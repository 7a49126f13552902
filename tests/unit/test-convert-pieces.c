/*
 * Unit tests of the core: a conversion zeroes in pieces, and the store is used
 * between them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pieces.h"

#include <string.h>

enum { MAX_PIECES = 200 };

static void test_pieces_are_bounded_and_come_to_an_end(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(TestDisk) old = NULL;
    Blob *blobs[PIECES_BLOBS];
    g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
    unsigned pieces = 0;
    uint64_t bytes;
    bool done;

    old = test_disk_clone(disk);
    pieces_begin(store, way);
    do {
        bytes = store->medium.bytes_written;
        done = pieces_next(store);
        g_assert_true(done || store->medium.bytes_written - bytes <=
                      PIECE_BYTES);
    } while (!done && ++pieces < MAX_PIECES);
    g_assert_true(done);
    g_assert_cmpuint(pieces, >, 5);
    pieces_check_gone(disk, old);
    for (unsigned n = 0; n < PIECES_BLOBS; n++) {
        g_autofree char *text = pieces_old_text(n);

        test_expect(store, blobs[n], text);
    }
}

/* Writes a blob, deletes it, or writes it with another, before piece @n. */
static void use(BlobStore *store, Blob *blobs[PIECES_BLOBS], unsigned n,
                GRand *random)
{
    g_autofree char *text = g_strdup_printf("new %u", n);
    unsigned which = g_rand_int_range(random, 0, PIECES_BLOBS);

    switch (g_rand_int_range(random, 0, 4)) {
    case 0:
        test_write(store, blobs[which], text);
        test_expect(store, blobs[which], text);
        break;
    case 1:
        test_write(store, blobs[which], NULL);
        test_expect(store, blobs[which], NULL);
        break;
    case 2:
        test_write2(store, blobs[which], text,
                    blobs[(which + 1) % PIECES_BLOBS], "both");
        test_expect(store, blobs[which], text);
        break;
    default:
        test_close(store);
        break;
    }
}

static void test_nothing_old_survives_writes_between_pieces(
    gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(GRand) random = test_random();

    for (unsigned round = 0; round < 40 * test_effort(); round++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autoptr(TestDisk) old = NULL;
        Blob *blobs[PIECES_BLOBS];
        g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
        unsigned n = 0;

        old = test_disk_clone(disk);
        pieces_begin(store, way);
        do {
            use(store, blobs, ++n, random);
        } while (!pieces_next(store));
        pieces_check_gone(disk, old);
        test_write(store, blobs[0], "after");
        g_clear_pointer(&store, blob_store_free);
        store = pieces_reopen(disk, way, blobs);
        test_start(store);
        test_expect(store, blobs[0], "after");
        pieces_check_gone(disk, old);
    }
}

/*
 * A start in the running store, with a blob that grows, first ends the
 * conversion.
 */
static void test_growth_waits_for_the_end(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(TestDisk) old = NULL;
    Blob *blobs[PIECES_BLOBS];
    g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
    BlobStoreStatus status;
    GError *error = NULL;
    bool done = false;

    old = test_disk_clone(disk);
    pieces_begin(store, way);
    pieces_next(store);
    test_write(store, blobs[1], "new");
    blobs[1] = test_register_again(store, "b", 20000);
    test_start(store);
    blob_store_get_status(store, &status);
    g_assert_false(status.converting);
    pieces_check_gone(disk, old);
    test_expect(store, blobs[1], "new");
    g_assert_true(blob_store_convert_next(store, PIECE_BYTES, &done,
                                          &error));
    g_assert_true(done);
}

/*
 * The process ends after each number of pieces; the next process does the
 * rest.
 */
static void test_restart_between_pieces_ends_it(gconstpointer opaque)
{
    const Way *way = opaque;
    bool done = false;

    for (unsigned pieces = 0; !done; pieces++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autoptr(TestDisk) old = NULL;
        Blob *blobs[PIECES_BLOBS];
        g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);
        BlobStoreStatus status;

        old = test_disk_clone(disk);
        pieces_begin(store, way);
        for (unsigned n = 0; n < pieces && !done; n++) {
            done = pieces_next(store);
            test_write(store, blobs[n % PIECES_BLOBS], "new");
        }
        if (pieces % 2) {
            test_close(store);
        }
        g_clear_pointer(&store, blob_store_free);
        store = pieces_reopen(disk, way, blobs);
        blob_store_get_status(store, &status);
        g_assert_true(status.converting == !done);
        test_start(store);
        blob_store_get_status(store, &status);
        g_assert_false(status.converting);
        pieces_check_gone(disk, old);
        if (pieces) {
            test_expect(store, blobs[0], "new");
        }
    }
}

/* Puts old bytes between payload and trailer of an image. */
static void tear(TestDisk *disk, uint64_t offset, uint64_t payload)
{
    uint64_t from = BLOB_HEADER_BYTES + payload + TEST_SECTOR_BYTES - 1;
    uint64_t to = blob_layout_image_bytes(payload) - BLOB_HEADER_BYTES;

    for (uint64_t at = from / TEST_SECTOR_BYTES * TEST_SECTOR_BYTES;
         at + TEST_SECTOR_BYTES <= to; at += TEST_SECTOR_BYTES) {
        memset(test_disk_bytes(disk) + offset + at, 'o', TEST_SECTOR_BYTES);
    }
}

/* The last write of each slot was cut short, and what it lacks is padding. */
static void test_nothing_old_survives_in_what_recovery_takes_for_whole(
    gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(TestDisk) old = NULL;
    Blob *blobs[PIECES_BLOBS];
    g_autoptr(BlobStore) store = pieces_store(disk, way, blobs);

    old = test_disk_clone(disk);
    pieces_begin(store, way);
    test_write(store, blobs[0], "new");
    test_write(store, blobs[1], NULL);
    for (unsigned n = 0; n < PIECES_BLOBS; n++) {
        const BlobEntry *entry = &blobs[n]->entry;

        tear(disk, blob_slot_of(blobs[n], entry->slot).offset,
             entry->stored_bytes);
    }
    for (unsigned n = 0; n < 2; n++) {
        tear(disk, blob_pair_slot(&store->directory_pair, n).offset,
             store->directory_bytes);
    }
    g_clear_pointer(&store, blob_store_free);
    store = pieces_reopen(disk, way, blobs);
    g_assert_true(blobs[0]->entry.sequence);
    test_start(store);
    pieces_check_gone(disk, old);
    test_expect(store, blobs[0], "new");
    test_expect(store, blobs[1], NULL);
    g_clear_pointer(&store, blob_store_free);
    store = pieces_reopen(disk, way, blobs);
    test_start(store);
    test_expect(store, blobs[0], "new");
    test_expect(store, blobs[1], NULL);
}

static void test_only_what_has_begun_goes_on(void)
{
    static const Way seal = { "seal", -1, 2 };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[PIECES_BLOBS];
    g_autoptr(BlobStore) store = pieces_store(disk, &seal, blobs);
    unsigned writes = disk->writes;
    BlobKeySlots slots = { 0 };
    GError *error = NULL;
    bool done = false;

    g_assert_true(blob_store_convert_next(store, PIECE_BYTES, &done,
                                          &error));
    g_assert_true(done);
    g_assert_cmpuint(disk->writes, ==, writes);
    pieces_begin(store, &seal);
    blob_store_get_key_slots(store, &slots);
    g_assert_false(blob_store_set_key_slots(store, keys_data_key(2), &slots,
                                            &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY,
                      "store is being converted*");
    g_assert_false(conversion_run(store, &seal, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY,
                      "store is being converted already*");
    /* While the guard itself changes, nothing can be zeroed yet. */
    g_clear_pointer(&store, blob_store_free);
    g_clear_pointer(&disk, test_disk_free);
    disk = test_disk_new(CONVERSION_DISK_BYTES);
    store = pieces_store(disk, &seal, blobs);
    disk->fail_write = 4;
    g_assert_false(conversion_run(store, &seal, NULL));
    disk->fail_write = TEST_NEVER;
    g_assert_false(blob_store_convert_next(store, PIECE_BYTES, &done,
                                           &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY,
                      "store is being converted: start it again first");
}

/* A logical volume that is shrunk and grown again has its old bytes. */
static void test_old_bytes_above_a_lowered_capacity_are_zeroed(
    gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = conversion_store(disk, way, &blob, 1);
    uint64_t end = blob_store_required_bytes(store);

    test_close(store);
    blob_store_free(store);
    test_disk_resize(disk, end);
    store = keys_open(disk, way->from);
    test_register(store, "a", 1000);
    test_start(store);
    test_disk_resize(disk, CONVERSION_DISK_BYTES + TEST_SECTOR_BYTES);
    memset(test_disk_bytes(disk) + end, 'o', test_disk_length(disk) - end);
    g_assert_true(conversion_run(store, way, NULL));
    for (uint64_t at = end; at < test_disk_length(disk); at++) {
        g_assert_cmpuint(test_disk_bytes(disk)[at], ==, 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < CONVERSION_WAYS; i++) {
#define ADD_WAY(test) do {                                                 \
        g_autofree char *path = g_strdup_printf("/pieces/%s/" #test,       \
                                                conversion_ways[i].name);  \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(pieces_are_bounded_and_come_to_an_end);
        ADD_WAY(nothing_old_survives_writes_between_pieces);
        ADD_WAY(growth_waits_for_the_end);
        ADD_WAY(restart_between_pieces_ends_it);
        ADD_WAY(nothing_old_survives_in_what_recovery_takes_for_whole);
        ADD_WAY(old_bytes_above_a_lowered_capacity_are_zeroed);
    }
    g_test_add_func("/pieces/only_what_has_begun_goes_on",
                    test_only_what_has_begun_goes_on);
    return g_test_run();
}
