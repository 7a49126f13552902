/*
 * Unit tests of the core: sealing a store, unsealing it, changing its key
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

#include <string.h>

static const char first_a[] = "the first content of a, secret";
static const char last_a[] = "the last content of a, secret too";
static const char content_b[] = "the content of b, secret as well";
static const char content_c[] = "the content of c, which goes, secret";

/*
 * Makes "t/a" with a superseded version, "t/b", "t/c", which was deleted, and
 * "t/d" and one with a secret name, which were never written.
 */
static BlobStore *make_store(TestDisk *disk, const Way *way)
{
    Blob *blobs[4];
    BlobStore *store = conversion_store(disk, way, blobs, 4);

    test_register(store, "secret", 1000);
    test_start(store);
    test_write(store, blobs[0], first_a);
    test_write2(store, blobs[0], last_a, blobs[2], content_c);
    test_write(store, blobs[1], content_b);
    test_write(store, blobs[2], NULL);
    return store;
}

static void register_all(BlobStore *store)
{
    const char *names[] = { "a", "b", "c", "d", "secret" };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        test_register_again(store, names[i], 1000);
    }
}

static void expect_content(BlobStore *store)
{
    Blob *c = blob_store_find(store, "t", "c");
    Blob *d = blob_store_find(store, "t", "d");

    test_expect(store, blob_store_find(store, "t", "a"), last_a);
    test_expect(store, blob_store_find(store, "t", "b"), content_b);
    g_assert_true(!c || !test_read(store, c, NULL));
    g_assert_true(!d || !test_read(store, d, NULL));
}

static bool is_converted(const BlobStoreStatus *info, const Way *way)
{
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES] = { 0 };

    if (way->to >= 0) {
        blob_key_commit(keys_data_key(way->to), info->uuid, commitment);
    }
    return info->sealed == (way->to >= 0) &&
           !memcmp(info->key_commitment, commitment, sizeof(commitment));
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    while (count && !bytes[count - 1]) {
        count--;
    }
    return !count;
}

/*
 * Nothing of the old store is left: neither content nor seed nor wrapped key.
 */
static void expect_no_traces(TestDisk *disk, const Way *way)
{
    const uint8_t *super = test_disk_bytes(disk) + BLOB_HEADER_BYTES;

    for (unsigned n = 0; n < 2; n++) {
        g_assert_true(is_zero(super + 376, sizeof(BlobPreviousKey)));
        if (way->to >= 0) {
            g_assert_true(is_zero(super + 88, BLOB_SEED_BYTES));
        } else {
            g_assert_true(is_zero(super + 512,
                                  BLOB_KEY_SLOTS * BLOB_KEY_SLOT_BYTES));
        }
        super += BLOB_SUPERBLOCK_SLOT_BYTES;
    }
    g_assert_cmpint(keys_disk_contains(disk, "secret"), ==, way->to < 0);
    g_assert_false(keys_disk_contains(disk, first_a));
    g_assert_false(keys_disk_contains(disk, content_c));
}

static void expect_converted(BlobStore *store, TestDisk *disk, const Way *way)
{
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    g_assert_false(info.converting);
    g_assert_true(is_converted(&info, way));
    g_assert_cmpuint(info.key_slots, ==, way->to >= 0);
    expect_no_traces(disk, way);
    expect_content(store);
}

static BlobStore *open_either(TestDisk *disk, const Way *way)
{
    return keys_try_open(disk, way->to, NULL) ?: keys_open(disk, way->from);
}

/*
 * Whatever a crash has left holds the content.  If the conversion has begun,
 * the next start ends it.
 */
static void expect_resumed(TestDisk *disk, const Way *way)
{
    g_autoptr(BlobStore) store = open_either(disk, way);
    BlobStoreStatus info;
    bool begun;

    blob_store_get_status(store, &info);
    begun = info.converting || is_converted(&info, way);
    if (begun && !info.converting && way->to >= 0) {
        /* S7: the name is gone from the medium before that is on record. */
        g_assert_false(keys_disk_contains(disk, "secret"));
    }
    expect_content(store);
    register_all(store);
    test_start(store);
    expect_content(store);
    if (begun) {
        expect_converted(store, disk, way);
    }
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, begun ? way->to : way->from);
    expect_content(store);
    register_all(store);
    test_start(store);
    test_write(store, blob_store_find(store, "t", "b"), "written after");
    test_expect(store, blob_store_find(store, "t", "b"), "written after");
}

static void test_conversion_keeps_the_content(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, way);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(keys_disk_contains(disk, "secret"), ==, way->from < 0);
    conversion_run(store, way, &error);
    g_assert_no_error(error);
    expect_converted(store, disk, way);
    /* The store can be used as it is, and after a restart. */
    test_write(store, blob_store_find(store, "t", "c"), "new content");
    test_expect(store, blob_store_find(store, "t", "c"), "new content");
    test_write(store, blob_store_find(store, "t", "c"), NULL);
    expect_content(store);
    g_clear_pointer(&store, blob_store_free);
    if (way->to >= 0) {
        keys_open_fails(disk, -1, BLOBSTORE_ERROR_KEY, "*no key was given*");
        keys_open_fails(disk, way->from < 0 ? 1 : way->from,
                        BLOBSTORE_ERROR_KEY, "the key is wrong*tried: 2*");
    }
    expect_resumed(disk, way);
}

typedef struct Cut {
    const Way *way;
    bool again;                 /* a second cut has happened */
} Cut;

static void check_second_crash(TestDisk *crashed, unsigned events,
                               void *opaque)
{
    expect_resumed(crashed, opaque);
}

/*
 * Cuts once more: the power fails when one copy of the directory is converted.
 */
static void crash_again(TestDisk *crashed, Cut *cut)
{
    g_autoptr(TestDisk) disk = test_disk_clone(crashed);
    g_autoptr(BlobStore) store = open_either(disk, cut->way);

    if (store->super.state == BLOB_STATE_CONVERTING && !store->target &&
        !blob_pair_is_whole(&store->directory_pair)) {
        cut->again = true;
        register_all(store);
        test_disk_record(disk);
        test_start(store);
        test_disk_each_crash(disk, check_second_crash, (void *)cut->way);
    }
}

static void check_crash(TestDisk *crashed, unsigned events, void *opaque)
{
    Cut *cut = opaque;

    if (!cut->again) {
        crash_again(crashed, cut);
    }
    expect_resumed(crashed, cut->way);
}

static void test_conversion_survives_power_loss_everywhere(
    gconstpointer opaque)
{
    Cut cut = { .way = opaque };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, cut.way);

    test_disk_record(disk);
    g_assert_true(conversion_run(store, cut.way, NULL));
    test_disk_each_crash(disk, check_crash, &cut);
    g_assert_true(cut.again);
}

/*
 * The calls that can fail in a conversion, indexed like the counters that let
 * them
 */
typedef enum Call { READ, WRITE, FLUSH, CALLS } Call;

static int *counter_of(TestDisk *disk, Call call)
{
    return call == READ ? &disk->fail_read
                        : call == WRITE ? &disk->fail_write
                                        : &disk->fail_flush;
}

/* The running store can be used; its next start ends the begun conversion. */
static void expect_goes_on(BlobStore *store, TestDisk *disk, const Way *way,
                           bool lands)
{
    BlobStoreStatus info;
    bool begun;

    Blob *b = blob_store_find(store, "t", "b");

    expect_content(store);
    if (store->voucher) {
        test_write_fails(store, b, "in between", BLOBSTORE_ERROR_READ_ONLY,
                         "store is being converted: start it again first");
        expect_content(store);
    } else {
        test_write(store, b, "in between");
        test_write(store, b, content_b);
    }
    test_start(store);
    blob_store_get_status(store, &info);
    begun = is_converted(&info, way);
    expect_content(store);
    if (begun) {
        expect_converted(store, disk, way);
    } else {
        g_assert_true(conversion_run(store, way, NULL));
        expect_converted(store, disk, way);
    }
}

static void fail_at(const Way *way, Call call, int after, bool lands,
                    bool restart, bool *failed)
{
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, way);
    GError *error = NULL;

    disk->failing_write_lands = lands;
    *counter_of(disk, call) = after;
    *failed = !conversion_run(store, way, &error);
    *counter_of(disk, call) = TEST_NEVER;
    if (!*failed) {
        return;
    }
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*failed as told*");
    if (restart) {
        g_clear_pointer(&store, blob_store_free);
        expect_resumed(disk, way);
    } else {
        expect_goes_on(store, disk, way, lands);
    }
}

static void test_conversion_survives_every_failing_call(gconstpointer opaque)
{
    const Way *way = opaque;

    for (Call call = READ; call < CALLS; call++) {
        bool failed = true;

        for (int after = 0; failed; after++) {
            for (unsigned how = 0; how < 4; how++) {
                fail_at(way, call, after, how & 1, how & 2, &failed);
            }
        }
    }
}

static bool is_directory(const BlobStore *store, const TestEvent *write)
{
    uint64_t offset = store->super.directory_offset;

    return write->data && write->offset >= offset &&
           write->offset < offset + 2 * store->super.directory_slot_bytes;
}

/*
 * A failed write of the directory lands after the next core has started and
 * read the medium; then the power fails.
 */
static void test_conversion_survives_a_write_that_lands_late(
    gconstpointer opaque)
{
    const Way *way = opaque;
    bool failed = true;
    unsigned tried = 0;

    for (int after = 0; failed; after++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autoptr(BlobStore) store = make_store(disk, way);

        disk->failing_write_is_late = true;
        disk->fail_write = after;
        failed = !conversion_run(store, way, NULL);
        disk->fail_write = TEST_NEVER;
        g_clear_pointer(&store, blob_store_free);
        store = open_either(disk, way);
        if (store->target && is_directory(store, &disk->late)) {
            tried++;
            register_all(store);
            test_disk_record(disk);
            test_start(store);
            expect_converted(store, disk, way);
            test_disk_each_crash(disk, check_second_crash, (void *)way);
        }
    }
    g_assert_cmpuint(tried, >, 0);
}

/* S8: a deleted blob still waits to be zeroed when a conversion begins. */
static void test_conversion_that_fails_to_begin_forgets_no_zeros(void)
{
    static const Way rekey = { "rekey", 1, 2 };
    unsigned failed = 0;

    for (int after = 0; after < 12; after++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autoptr(BlobStore) store = keys_store(disk, NULL, 4);
        Blob *c = blob_store_find(store, "t", "c");
        uint8_t *slot = test_slot(disk, c, 0) + BLOB_HEADER_BYTES;
        g_autofree uint8_t *was = NULL;

        test_write(store, c, content_c);
        was = g_memdup2(slot, sizeof(content_c));
        /* The tombstone and a record in both copies are written, then zeros. */
        disk->fail_write = 3;
        test_write(store, c, NULL);
        disk->fail_write = after;
        g_assert_true(store->unwiped);
        failed += !conversion_run(store, &rekey, NULL);
        disk->fail_write = TEST_NEVER;
        g_clear_pointer(&store, blob_store_free);
        store = open_either(disk, &rekey);
        test_start(store);
        g_assert_cmpint(memcmp(slot, was, sizeof(content_c)), !=, 0);
    }
    g_assert_cmpuint(failed, >, 3);
}

static void test_nothing_is_converted_twice_or_while_it_cannot_be(void)
{
    static const Way seal = { "seal", -1, 2 };
    static const Way unseal = { "unseal", 1, -1 };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, &seal);
    BlobKeySlots none = { 0 };
    GError *error = NULL;

    g_assert_false(conversion_run(store, &unseal, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "store is not encrypted");
    g_assert_false(blob_store_convert(store, keys_data_key(2), &none,
                                      &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "no key slot holds*");
    /* A conversion that stopped half way has to be continued. */
    disk->fail_write = 4;
    g_assert_false(conversion_run(store, &seal, NULL));
    disk->fail_write = TEST_NEVER;
    g_assert_false(conversion_run(store, &seal, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY,
                      "store is being converted already*");
    g_assert_false(blob_store_set_key_slots(store, keys_data_key(1),
                                            &none, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY,
                      "store is being converted*");
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, 2);
    g_assert_false(conversion_run(store, &unseal, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY,
                      "store is not started for writing");
}

static void test_damaged_blob_keeps_a_store_from_being_converted(void)
{
    static const Way seal = { "seal", -1, 2 };
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, &seal);
    Blob *a = blob_store_find(store, "t", "a");
    g_autofree uint8_t *before = NULL;
    GError *error = NULL;

    test_slot(disk, a, a->entry.slot)[BLOB_HEADER_BYTES] ^= 1;
    before = g_memdup2(test_disk_bytes(disk), CONVERSION_DISK_BYTES);
    g_assert_false(conversion_run(store, &seal, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED,
                      "blob 't/a' is damaged*");
    g_assert_cmpmem(test_disk_bytes(disk), CONVERSION_DISK_BYTES, before,
                    CONVERSION_DISK_BYTES);
}

/*
 * The store was used after zeroing had failed.  The next start may zero what
 * is evidence of that use.
 */
static void test_zeroing_waits_for_a_record_of_what_came_since(
    gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, way);
    const TestEvent *event;
    uint64_t at = 0;

    for (int after = 0; store->super.state != BLOB_STATE_WIPING; after++) {
        disk->fail_write = after;
        g_assert_false(conversion_run(store, way, NULL));
        disk->fail_write = TEST_NEVER;
        if (store->super.state != BLOB_STATE_WIPING) {
            g_clear_pointer(&store, blob_store_free);
            g_clear_pointer(&disk, test_disk_free);
            disk = test_disk_new(CONVERSION_DISK_BYTES);
            store = make_store(disk, way);
        }
    }
    test_write(store, blob_store_find(store, "t", "b"), "in between");
    g_clear_pointer(&store, blob_store_free);
    store = keys_open(disk, way->to);
    register_all(store);
    test_disk_record(disk);
    test_start(store);
    for (guint i = 0; !at; i++) {
        event = &g_array_index(disk->events, TestEvent, i);
        at = event->data ? event->offset : 0;
    }
    g_assert_true(at == store->directory_pair.offset ||
                  at == store->directory_pair.offset +
                        store->directory_pair.slot_bytes);
    test_expect(store, blob_store_find(store, "t", "b"), "in between");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < CONVERSION_WAYS; i++) {
#define ADD_WAY(test) do {                                                 \
        g_autofree char *path = g_strdup_printf("/convert/%s/" #test,      \
                                                conversion_ways[i].name);  \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(conversion_keeps_the_content);
        ADD_WAY(conversion_survives_power_loss_everywhere);
        ADD_WAY(conversion_survives_every_failing_call);
        ADD_WAY(zeroing_waits_for_a_record_of_what_came_since);
        ADD_WAY(conversion_survives_a_write_that_lands_late);
    }
#define ADD(name) g_test_add_func("/convert/" #name, test_##name)
    ADD(conversion_that_fails_to_begin_forgets_no_zeros);
    ADD(nothing_is_converted_twice_or_while_it_cannot_be);
    ADD(damaged_blob_keeps_a_store_from_being_converted);
    return g_test_run();
}
