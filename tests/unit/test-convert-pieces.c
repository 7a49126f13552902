/*
 * Unit tests of the core: a conversion zeroes in pieces, and the store is used
 * between them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE             /* memmem() */
#include "conversion.h"
#include "keys.h"

#include <string.h>

enum {
    PIECE_BYTES = 8192,
    BLOBS = 3,
    MAX_PIECES = 200,
};

/* Returns old content, which is longer than what is written later. */
static char *old_text(unsigned n)
{
    g_autofree char *rest = g_strnfill(700, 'a' + n);

    return g_strdup_printf("old content %u %s", n, rest);
}

/* Makes three blobs with both slots full, and old bytes in free space. */
static BlobStore *make_store(TestDisk *disk, const Way *way,
                             Blob *blobs[BLOBS])
{
    BlobStore *store = conversion_store(disk, way, blobs, BLOBS);
    uint8_t *medium = test_disk_bytes(disk);
    uint64_t offset;
    uint64_t bytes;

    for (unsigned n = 0; n < BLOBS; n++) {
        g_autofree char *text = old_text(n);

        test_write(store, blobs[n], text);
        test_write(store, blobs[n], text);
    }
    for (size_t n = 0; blob_space_nth(store->space, n, &offset, &bytes);
         n++) {
        memset(medium + offset, 'o', bytes);
    }
    return store;
}

static void begin(BlobStore *store, const Way *way)
{
    BlobStoreStatus status;
    GError *error = NULL;

    if (!conversion_begin(store, way, &error)) {
        g_error("%s", error->message);
    }
    blob_store_get_status(store, &status);
    g_assert_true(status.converting);
    g_assert_cmpuint(status.wiped, ==, 0);
}

/* Zeroes the next piece.  Returns whether it was the last one. */
static bool next_piece(BlobStore *store)
{
    BlobStoreStatus before;
    BlobStoreStatus after;
    GError *error = NULL;
    bool done;

    blob_store_get_status(store, &before);
    if (!blob_store_convert_next(store, PIECE_BYTES, &done, &error)) {
        g_error("%s", error->message);
    }
    blob_store_get_status(store, &after);
    g_assert_cmpuint(after.wiped, >, before.wiped);
    g_assert_cmpuint(after.wiped, <=, after.capacity);
    g_assert_true(after.converting == !done);
    return done;
}

/* Each sector that was on @old and is not zero is gone from @disk. */
static void check_gone(TestDisk *disk, const TestDisk *old)
{
    static const uint8_t zeros[TEST_SECTOR_BYTES];
    const uint8_t *is = test_disk_bytes(disk);
    const uint8_t *was = test_disk_bytes(old);

    for (uint64_t i = 0; i < test_disk_length(old);
         i += TEST_SECTOR_BYTES) {
        g_assert_true(!memcmp(was + i, zeros, TEST_SECTOR_BYTES) ||
                      !memmem(is, test_disk_length(disk), was + i,
                              TEST_SECTOR_BYTES));
    }
}

static BlobStore *reopen(TestDisk *disk, const Way *way, Blob *blobs[BLOBS])
{
    BlobStore *store = keys_open(disk, way->to);

    for (unsigned n = 0; n < BLOBS; n++) {
        char name[] = { 'a' + n, 0 };

        blobs[n] = test_register(store, name, 1000);
    }
    return store;
}

static void test_pieces_are_bounded_and_come_to_an_end(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(TestDisk) old = NULL;
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = make_store(disk, way, blobs);
    unsigned pieces = 0;
    uint64_t bytes;
    bool done;

    old = test_disk_clone(disk);
    begin(store, way);
    do {
        bytes = store->medium.bytes_written;
        done = next_piece(store);
        g_assert_true(done || store->medium.bytes_written - bytes <=
                      PIECE_BYTES);
    } while (!done && ++pieces < MAX_PIECES);
    g_assert_true(done);
    g_assert_cmpuint(pieces, >, 5);
    check_gone(disk, old);
    for (unsigned n = 0; n < BLOBS; n++) {
        g_autofree char *text = old_text(n);

        test_expect(store, blobs[n], text);
    }
}

/* Writes a blob, deletes it, or writes it with another, before piece @n. */
static void use(BlobStore *store, Blob *blobs[BLOBS], unsigned n,
                GRand *random)
{
    g_autofree char *text = g_strdup_printf("new %u", n);
    unsigned which = g_rand_int_range(random, 0, BLOBS);

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
        test_write2(store, blobs[which], text, blobs[(which + 1) % BLOBS],
                    "both");
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
        Blob *blobs[BLOBS];
        g_autoptr(BlobStore) store = make_store(disk, way, blobs);
        unsigned n = 0;

        old = test_disk_clone(disk);
        begin(store, way);
        do {
            use(store, blobs, ++n, random);
        } while (!next_piece(store));
        check_gone(disk, old);
        test_write(store, blobs[0], "after");
        g_clear_pointer(&store, blob_store_free);
        store = reopen(disk, way, blobs);
        test_start(store);
        test_expect(store, blobs[0], "after");
        check_gone(disk, old);
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
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = make_store(disk, way, blobs);
    BlobStoreStatus status;
    GError *error = NULL;
    bool done = false;

    old = test_disk_clone(disk);
    begin(store, way);
    next_piece(store);
    test_write(store, blobs[1], "new");
    blobs[1] = test_register_again(store, "b", 20000);
    test_start(store);
    blob_store_get_status(store, &status);
    g_assert_false(status.converting);
    check_gone(disk, old);
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
        Blob *blobs[BLOBS];
        g_autoptr(BlobStore) store = make_store(disk, way, blobs);
        BlobStoreStatus status;

        old = test_disk_clone(disk);
        begin(store, way);
        for (unsigned n = 0; n < pieces && !done; n++) {
            done = next_piece(store);
            test_write(store, blobs[n % BLOBS], "new");
        }
        if (pieces % 2) {
            test_close(store);
        }
        g_clear_pointer(&store, blob_store_free);
        store = reopen(disk, way, blobs);
        blob_store_get_status(store, &status);
        g_assert_true(status.converting == !done);
        test_start(store);
        blob_store_get_status(store, &status);
        g_assert_false(status.converting);
        check_gone(disk, old);
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
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = make_store(disk, way, blobs);

    old = test_disk_clone(disk);
    begin(store, way);
    test_write(store, blobs[0], "new");
    test_write(store, blobs[1], NULL);
    for (unsigned n = 0; n < BLOBS; n++) {
        const BlobEntry *entry = &blobs[n]->entry;

        tear(disk, blob_slot_of(blobs[n], entry->slot).offset,
             entry->stored_bytes);
    }
    for (unsigned n = 0; n < 2; n++) {
        tear(disk, blob_pair_slot(&store->directory_pair, n).offset,
             store->directory_bytes);
    }
    g_clear_pointer(&store, blob_store_free);
    store = reopen(disk, way, blobs);
    g_assert_true(blobs[0]->entry.sequence);
    test_start(store);
    check_gone(disk, old);
    test_expect(store, blobs[0], "new");
    test_expect(store, blobs[1], NULL);
    g_clear_pointer(&store, blob_store_free);
    store = reopen(disk, way, blobs);
    test_start(store);
    test_expect(store, blobs[0], "new");
    test_expect(store, blobs[1], NULL);
}

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
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = make_store(disk, way, blobs);
    g_autofree char *text = old_text(1);

    begin(store, way);
    test_write(store, blobs[0], "new");
    test_close(store);
    for (unsigned n = 0; n < 2; n++) {
        g_clear_pointer(&store, blob_store_free);
        store = reopen(disk, way, blobs);
        if (start_failing(disk, store, n ? second : first) ||
            !disk->late.data) {
            return false;       /* or a superblock has landed: STALE */
        }
    }
    memset(test_disk_bytes(disk) + disk->late.offset, 'g', disk->late.bytes);
    g_clear_pointer(&disk->late.data, g_free);
    g_clear_pointer(&store, blob_store_free);
    store = reopen(disk, way, blobs);
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
        Blob *blobs[BLOBS];
        g_autoptr(BlobStore) store = make_store(disk, way, blobs);
        int *fail = flush ? &disk->fail_flush : &disk->fail_write;
        bool done = false;

        old = test_disk_clone(disk);
        begin(store, way);
        disk->failing_write_is_late = how & 1;
        disk->failing_write_lands = how & 2;
        *fail = after;
        failed = 0;
        while (!done) {
            if (!blob_store_convert_next(store, PIECE_BYTES, &done, NULL)) {
                failed++;
                done = false;
                *fail = TEST_NEVER;
                for (unsigned n = 0; n < BLOBS; n++) {
                    test_write(store, blobs[n], "written since");
                }
            }
        }
        *fail = TEST_NEVER;
        g_assert_cmpuint(failed, <=, 1);
        check_gone(disk, old);
        g_clear_pointer(&store, blob_store_free);
        store = reopen(disk, way, blobs);
        test_start(store);
        for (unsigned n = 0; failed && n < BLOBS; n++) {
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
        Blob *blobs[BLOBS];
        g_autoptr(BlobStore) store = make_store(disk, way, blobs);

        begin(store, way);
        test_write(store, blobs[0], "new");
        for (unsigned n = 0; n < pieces && !done; n++) {
            done = next_piece(store);
        }
        disk->fail_write = 0;
        disk->failing_write_is_late = true;
        if (done || blob_store_convert_next(store, PIECE_BYTES, &done, NULL)) {
            continue;
        }
        disk->fail_write = TEST_NEVER;
        for (unsigned n = 0; n < BLOBS; n++) {
            test_write(store, blobs[n], "since");
        }
        g_assert_true(blob_medium_flush(&store->medium, NULL));
        for (unsigned n = 0; n < BLOBS; n++) {
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
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = make_store(disk, way, blobs);
    g_autofree char *text = old_text(1);
    BlobSlot slot;
    bool ok;

    /* The superblock and the directory before take four writes. */
    disk->fail_write = 4 + BLOBS + 1;
    g_assert_false(conversion_run(store, way, NULL));
    disk->fail_write = TEST_NEVER;
    g_clear_pointer(&store, blob_store_free);
    store = reopen(disk, way->to < 0 ? &begun : way, blobs);
    g_assert_null(store->target);
    g_assert_false(blob_pair_is_whole(&store->directory_pair));
    disk->fail_write = n;
    ok = blob_store_start(store, NULL);
    disk->fail_write = TEST_NEVER;
    if (store->super.state != BLOB_STATE_CONVERTING) {
        slot = blob_pair_slot(&store->directory_pair, copy);
        memset(test_disk_bytes(disk) + slot.offset, 'g', slot.bytes);
        g_clear_pointer(&store, blob_store_free);
        store = reopen(disk, way, blobs);
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

static void test_only_what_has_begun_goes_on(void)
{
    static const Way seal = { "seal", -1, 2 };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    Blob *blobs[BLOBS];
    g_autoptr(BlobStore) store = make_store(disk, &seal, blobs);
    unsigned writes = disk->writes;
    BlobKeySlots slots = { 0 };
    GError *error = NULL;
    bool done = false;

    g_assert_true(blob_store_convert_next(store, PIECE_BYTES, &done,
                                          &error));
    g_assert_true(done);
    g_assert_cmpuint(disk->writes, ==, writes);
    begin(store, &seal);
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
    store = make_store(disk, &seal, blobs);
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
        g_autofree char *path = g_strdup_printf("/pieces/%s/" #test,       \
                                                conversion_ways[i].name);  \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(pieces_are_bounded_and_come_to_an_end);
        ADD_WAY(nothing_old_survives_writes_between_pieces);
        ADD_WAY(growth_waits_for_the_end);
        ADD_WAY(restart_between_pieces_ends_it);
        ADD_WAY(nothing_old_survives_in_what_recovery_takes_for_whole);
        ADD_WAY(write_that_lands_late_loses_nothing);
        ADD_WAY(piece_that_fails_is_repeated);
        ADD_WAY(zeros_that_land_late_hit_no_commit);
        ADD_WAY(one_directory_is_enough_without_the_old_guard);
        ADD_WAY(failed_conversion_is_not_another_writer);
        ADD_WAY(old_bytes_above_a_lowered_capacity_are_zeroed);
    }
    g_test_add_func("/pieces/only_what_has_begun_goes_on",
                    test_only_what_has_begun_goes_on);
    return g_test_run();
}
