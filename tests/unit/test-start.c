/*
 * Unit tests of the core: formatting, growing and healing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static uint64_t required_for(unsigned count, uint64_t max_size)
{
    g_autoptr(TestDisk) disk = test_disk_new(0);
    g_autoptr(BlobStore) store = test_open(disk);

    for (unsigned i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);

        test_register(store, name, max_size);
    }
    return blob_store_required_bytes(store);
}

/* Registers and starts again, larger. */
static Blob *grow(BlobStore *store, const char *name, uint64_t max_size)
{
    Blob *blob = blob_store_find(store, "t", name);

    if (blob) {
        blob_store_unregister(store, blob);
    }
    return test_register(store, name, max_size);
}

static void test_required_size_is_exact(void)
{
    uint64_t required = required_for(3, 5000);
    g_autoptr(TestDisk) disk = test_disk_new(required - BLOB_BLOCK_BYTES);
    g_autoptr(BlobStore) store = NULL;
    g_autofree char *message =
        g_strdup_printf("*: %" G_GUINT64_FORMAT " bytes are needed, it has %"
                        G_GUINT64_FORMAT, required,
                        required - BLOB_BLOCK_BYTES);

    g_assert_cmpuint(required, ==, BLOB_DIRECTORY_OFFSET +
                     2 * blob_layout_directory_slot_bytes(128) +
                     3 * 2 * blob_layout_slot_bytes(5000));
    for (int i = 0; i < 2; i++) {
        g_clear_pointer(&store, blob_store_free);
        store = test_open(disk);
        test_register(store, "a", 5000);
        test_register(store, "b", 5000);
        test_register(store, "c", 5000);
        if (i == 0) {
            test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, message);
            /* Nothing was written: the medium is as blank as before. */
            g_assert_cmpuint(disk->writes, ==, 0);
            test_disk_resize(disk, required);
        }
    }
    test_start(store);
    test_write(store, blob_store_find(store, "t", "c"), "last");
    g_assert_cmpuint(blob_store_required_bytes(store), ==, required);
}

static void test_directory_has_room_for_twice_what_is_registered(void)
{
    g_assert_cmpuint(required_for(100, 1), ==, BLOB_DIRECTORY_OFFSET +
                     2 * blob_layout_directory_slot_bytes(200) +
                     100 * 2 * blob_layout_slot_bytes(1));
}

static void test_full_directory_takes_no_more_blobs(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    BlobStoreOptions options = { .directory_blobs = 1 };
    g_autoptr(BlobStore) store = blob_store_open(&disk->parent, &options,
                                                 NULL);
    uint32_t room = blob_layout_directory_room(2 * BLOB_BLOCK_BYTES);
    Blob *extra;
    Blob *first = test_register(store, "0", 10);

    for (unsigned i = 1; i < room; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);

        test_register(store, name, 10);
    }
    test_start(store);
    test_write(store, first, "one");
    extra = test_register(store, "extra", 10);
    test_start_fails(store, BLOBSTORE_ERROR_FULL, "*at most 24*25 are*");
    /* What is there goes on. */
    test_write(store, first, "two");
    blob_store_unregister(store, extra);
    test_start(store);

    /* One that leaves makes room for another. */
    blob_store_unregister(store, blob_store_find(store, "t", "1"));
    test_start(store);
    test_close(store);
    extra = test_register(store, "extra", 10);
    test_start(store);
    test_write(store, extra, "in");
    test_expect(store, first, "two");
}

/* R13 */
static void test_format_writes_the_marker_alone_first(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = NULL;
    g_autofree uint64_t *writes = NULL;
    guint count = 0;

    test_disk_record(disk);
    store = test_store(disk, NULL, 1);
    writes = g_new(uint64_t, disk->events->len);
    for (guint i = 0; i < disk->events->len; i++) {
        TestEvent *event = &g_array_index(disk->events, TestEvent, i);

        if (event->data) {
            writes[count++] = event->offset;
            /* Each is durable before the next. */
            g_assert_cmpuint(i + 1, <, disk->events->len);
            g_assert_null(g_array_index(disk->events, TestEvent,
                                        i + 1).data);
        }
    }
    g_assert_cmpuint(count, ==, 7);
    g_assert_cmpuint(writes[0], ==, 0);
    g_assert_cmpuint(writes[1], >=, BLOB_DIRECTORY_OFFSET);
    g_assert_cmpuint(writes[2], >=, BLOB_DIRECTORY_OFFSET);
    g_assert_cmpuint(writes[3], ==, BLOB_SUPERBLOCK_SLOT_BYTES);
    g_assert_cmpuint(writes[4], ==, 0);
}

static void use_store(TestDisk *disk)
{
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_expect(store, blob, NULL);
    test_write(store, blob, "used");
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "used");
}

/*
 * How many events there are until the marker is durable.  If all that is
 * left of it is a garbled sector, it is refused: see docs/design.md, and
 * test-blank.c for its cuts.
 */
static unsigned marker_events(const TestDisk *disk)
{
    for (guint i = 0; i < disk->events->len; i++) {
        const TestEvent *event = &g_array_index(disk->events, TestEvent, i);

        if (event->data) {
            return event->offset ? 0 : i + 2;
        }
    }
    return 0;
}

static void opens_for_use(TestDisk *crashed, unsigned events, void *opaque)
{
    if (events >= *(unsigned *)opaque) {
        use_store(crashed);
    }
}

/* R13 */
static void test_format_survives_power_loss_at_every_sector(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES / 4);
    g_autoptr(BlobStore) store = NULL;
    unsigned marked;

    test_disk_record(disk);
    store = test_store(disk, NULL, 1);
    marked = marker_events(disk);
    g_assert_cmpuint(marked, >, 0);
    test_disk_each_crash(disk, opens_for_use, &marked);
}

/*
 * The failing write may have landed or not; the format is repeated by the
 * same process, and that is cut by a power failure.
 */
static void test_format_that_failed_can_be_repeated_and_cut(void)
{
    for (int n = 0; n < 14; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES / 4);
        g_autoptr(BlobStore) store = test_open(disk);
        g_autoptr(TestDisk) left = NULL;
        Blob *blob = test_register(store, "a", 1000);
        const uint8_t none[BLOB_UUID_BYTES] = { 0 };
        BlobStoreInfo info;
        unsigned marked;

        disk->failing_write_lands = n % 2;
        disk->fail_write = n / 2;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "write failed as told");
        blob_store_get_info(store, &info);
        g_assert_true(info.blank == (n / 2 < 5));
        g_assert_true(info.blank == !memcmp(info.uuid, none, 16));
        /* As a killed process would leave it */
        left = test_disk_clone(disk);
        use_store(left);

        test_disk_record(disk);
        test_start(store);
        marked = marker_events(disk);
        test_disk_each_crash(disk, opens_for_use, &marked);
        test_write(store, blob, "repeated");
        test_expect(store, blob, "repeated");
    }
}

static void test_format_fails_if_the_medium_cannot_be_asked(void)
{
    for (int n = 0; n < 2; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) store = test_open(disk);

        test_register(store, "a", 1000);
        disk->fail_length = n;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "length failed as told");
        test_start(store);
    }
}

static void test_start_flushes_before_it_builds_on_what_was_read(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);

    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    test_disk_record(disk);
    test_start(store);
    g_assert_null(g_array_index(disk->events, TestEvent, 0).data);
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    disk->fail_flush = 0;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "flush failed as told");
}

static void test_start_again_with_nothing_new_writes_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_disk_reset_counts(disk);
    test_start(store);
    g_assert_cmpuint(disk->writes, ==, 0);
    test_close(store);
    test_start(store);
    g_assert_cmpuint(disk->writes, ==, 4);
}

static void test_growth_moves_the_current_version(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    g_autofree char *text = g_strnfill(20000, 'g');
    BlobInfo before;
    BlobInfo after;

    test_write(store, blobs[0], "one");
    test_write(store, blobs[0], "two");
    test_write(store, blobs[1], "x");
    test_write(store, blobs[1], NULL);
    blob_get_info(blobs[0], &before);
    blobs[0] = grow(store, "a", 20000);
    blobs[1] = grow(store, "b", 20000);
    test_start(store);
    blob_get_info(blobs[0], &after);
    g_assert_cmpuint(after.slot[0].offset, !=, before.slot[0].offset);
    g_assert_cmpuint(after.slot[0].length, ==, blob_layout_slot_bytes(20000));
    g_assert_cmpuint(after.max_size, ==, 20000);
    g_assert_cmpuint(after.sequence, ==, before.sequence);
    test_expect(store, blobs[0], "two");
    test_expect(store, blobs[1], NULL);
    test_write(store, blobs[0], text);
    test_write(store, blobs[1], text);
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), text);
    test_expect(store, blob_store_find(store, "t", "b"), text);
}

static void test_growth_within_the_slot_moves_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint64_t offset = blob->entry.offset;

    test_write(store, blob, "one");
    blob = grow(store, "a", 1001);
    test_start(store);
    g_assert_cmpuint(blob->entry.offset, ==, offset);
    g_assert_cmpuint(blob->entry.max_size, ==, 1001);
    test_close(store);
    blob_store_free(store);
    store = test_open(disk);
    blob = blob_store_find(store, "t", "a");
    g_assert_cmpuint(blob->entry.max_size, ==, 1001);

    /* A smaller registration takes nothing away. */
    blob = test_register(store, "a", 10);
    test_start(store);
    g_assert_cmpuint(blob->entry.max_size, ==, 1001);
    test_expect(store, blob, "one");
}

static void grown_or_not(TestDisk *crashed, unsigned events, void *opaque)
{
    g_autofree char *text = g_strnfill(20000, 'g');
    g_autoptr(BlobStore) store = test_open(crashed);
    Blob *blob = test_register(store, "a", 20000);

    test_expect(store, blob, "two");
    test_start(store);
    test_expect(store, blob, "two");
    test_write(store, blob, text);
    test_expect(store, blob, text);
}

static void test_growth_survives_power_loss_at_every_sector(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES / 4);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_write(store, blob, "two");
    grow(store, "a", 20000);
    test_disk_record(disk);
    test_start(store);
    test_disk_each_crash(disk, grown_or_not, NULL);
}

/* The new space is no longer blank when the cut growth is repeated. */
static void test_growth_into_new_space_survives_power_loss(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(required_for(1, 1000));
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_write(store, blob, "two");
    grow(store, "a", 20000);
    test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, "*too small*");
    test_disk_resize(disk, blob_store_required_bytes(store));
    test_disk_record(disk);
    test_start(store);
    test_disk_each_crash(disk, grown_or_not, NULL);
}

static void test_growth_refuses_new_space_that_is_not_blank(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(required_for(1, 1000));
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    uint64_t end = test_disk_length(disk);
    g_autofree char *message = g_strdup_printf(
        "*new space is not blank*at offset %" G_GUINT64_FORMAT, end + 70000);

    test_write(store, blob, "one");
    grow(store, "a", 20000);
    test_disk_resize(disk, end + 100 * BLOB_BLOCK_BYTES);
    test_disk_bytes(disk)[end + 70000] = 1;
    test_disk_reset_counts(disk);
    test_start_fails(store, BLOBSTORE_ERROR_FOREIGN, message);
    g_assert_cmpuint(disk->writes, ==, 0);
    test_disk_bytes(disk)[end + 70000] = 0;
    disk->fail_read = 0;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "read failed as told");
    disk->fail_length = 0;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "length failed as told");
    test_start(store);
    test_expect(store, blob, "one");
}

/* Every read, write and flush of a start, failing once */
static void test_growth_that_failed_anywhere_can_be_repeated(void)
{
    bool failed = true;

    for (int kind = 0; kind < 3; kind++) {
        for (int n = 0; n == 0 || failed; n++) {
            g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
            Blob *blobs[2];
            g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
            g_autoptr(GError) error = NULL;
            BlobStoreInfo info;

            test_write(store, blobs[0], "a");
            test_write(store, blobs[1], "b");
            grow(store, "a", 20000);
            grow(store, "b", 30000);
            disk->fail_read = kind == 0 ? n : TEST_NEVER;
            disk->fail_write = kind == 1 ? n : TEST_NEVER;
            disk->fail_flush = kind == 2 ? n : TEST_NEVER;
            failed = !blob_store_start(store, &error);
            if (failed) {
                g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO);
                grow(store, "a", 500);
                grow(store, "b", 500);
                test_write(store, blobs[0], "a2");
                test_expect(store, blobs[1], "b");
            }
            disk->fail_read = disk->fail_write = disk->fail_flush =
                TEST_NEVER;
            grow(store, "a", 20000);
            grow(store, "b", 30000);
            test_start(store);
            test_expect(store, blobs[0], failed ? "a2" : "a");
            test_expect(store, blobs[1], "b");
            /* No extent is lost on the way. */
            blob_store_get_info(store, &info);
            g_assert_cmpuint(info.capacity - info.free, ==,
                             store->super.data_offset +
                             2 * blob_layout_slot_bytes(20000) +
                             2 * blob_layout_slot_bytes(30000));
        }
    }
}

static void test_growth_of_a_blob_that_cannot_be_read_fails(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_slot(disk, blob, 0)[BLOB_HEADER_BYTES] ^= 1;
    grow(store, "a", 20000);
    test_start_fails(store, BLOBSTORE_ERROR_DAMAGED, "blob 't/a' is damaged*");
    test_start_fails(store, BLOBSTORE_ERROR_DAMAGED, "blob 't/a' is damaged*");
}

/* R12 */
static void test_extent_is_reused_only_when_no_directory_names_it(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);
    uint64_t old = blobs[0]->entry.offset;

    test_write(store, blobs[0], "one");
    test_write(store, blobs[0], NULL);
    blob_store_unregister(store, blobs[0]);
    /* The directories still name it. */
    g_assert_cmpuint(test_register(store, "c", 1000)->entry.slot_bytes, ==, 0);
    test_start(store);
    g_assert_cmpuint(blob_store_find(store, "t", "c")->entry.offset, !=, old);
    g_assert_null(blob_store_find(store, "t", "a"));
    /* Now they do not. */
    test_register(store, "d", 1000);
    test_start(store);
    g_assert_cmpuint(blob_store_find(store, "t", "d")->entry.offset, ==, old);
    test_write(store, blob_store_find(store, "t", "d"), "new");
    g_assert_cmpuint(blob_store_find(store, "t", "d")->entry.id, ==, 19);
}

/*
 * R12: after a directory was cut short, one copy still names the extent that
 * a blob has left.  If the other is damaged then, nothing may be missing.
 */
static void test_extent_named_by_one_copy_only_is_not_reused(void)
{
    for (int n = 0; n < 5; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) store = test_open(disk);
        Blob *a = test_register(store, "a", 20000);
        Blob *b = test_register(store, "b", 1000);
        BlobSlot current;

        test_start(store);
        test_write(store, a, "a");
        test_write(store, b, "b");
        grow(store, "a", 40000);
        disk->fail_write = 2;   /* the copy, one directory, not the other */
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
        blob_store_free(store);

        /* Now "b" fits where "a" was. */
        store = test_open(disk);
        g_assert_false(blob_pair_is_whole(&store->directory_pair));
        current = blob_pair_slot(&store->directory_pair,
                                 blob_pair_current(&store->directory_pair));
        test_register(store, "b", 20000);
        disk->fail_write = n;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
        blob_store_free(store);
        memset(test_disk_bytes(disk) + current.offset, 0, BLOB_BLOCK_BYTES);
        store = test_open(disk);
        test_expect(store, blob_store_find(store, "t", "a"), "a");
        test_expect(store, blob_store_find(store, "t", "b"), "b");
    }
}

static void make_older(BlobSuperblock *super, BlobHeader *header)
{
    super->generation = --header->sequence;
}

static void test_damaged_superblock_copy_is_healed(void)
{
    for (int n = 0; n < 2; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) store = test_store(disk, NULL, 1);
        uint8_t *copies = test_disk_bytes(disk);

        g_clear_pointer(&store, blob_store_free);
        copies[n * BLOB_SUPERBLOCK_SLOT_BYTES + 20] ^= 1;
        store = test_open(disk);
        g_assert_true(g_str_has_prefix(blob_store_warnings(store)[0],
                                       "superblock copy at offset"));
        g_assert_null(blob_store_warnings(store)[1]);
        test_register(store, "a", 1000);
        disk->fail_read = 0;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "read failed as told");
        disk->fail_write = 0;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "write failed as told");
        test_start(store);
        g_clear_pointer(&store, blob_store_free);
        copies[!n * BLOB_SUPERBLOCK_SLOT_BYTES + 20] ^= 1;
        store = test_open(disk);
    }
}

static void test_superblock_lost_between_open_and_start_is_an_error(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);

    g_clear_pointer(&store, blob_store_free);
    test_disk_bytes(disk)[20] ^= 1;
    store = test_open(disk);
    test_disk_bytes(disk)[BLOB_SUPERBLOCK_SLOT_BYTES + 20] ^= 1;
    test_start_fails(store, BLOBSTORE_ERROR_CORRUPT, "*superblock*");
}

static void test_older_superblock_copy_is_healed(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);
    g_autofree uint8_t *newer = NULL;
    uint8_t *bytes = test_disk_bytes(disk);

    g_clear_pointer(&store, blob_store_free);
    newer = g_memdup2(bytes, BLOB_SUPERBLOCK_SLOT_BYTES);
    test_edit_superblock(disk, make_older);
    memcpy(bytes, newer, BLOB_SUPERBLOCK_SLOT_BYTES);
    store = test_open(disk);
    test_start(store);
    g_assert_cmpuint(store->super.generation, ==, 2);
    g_assert_true(blob_pair_is_whole(&store->super_pair));
    memset(bytes, 0, BLOB_SUPERBLOCK_SLOT_BYTES);
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    g_assert_cmpuint(store->super.generation, ==, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/start/" #name, test_##name)
    ADD(required_size_is_exact);
    ADD(directory_has_room_for_twice_what_is_registered);
    ADD(full_directory_takes_no_more_blobs);
    ADD(format_writes_the_marker_alone_first);
    ADD(format_survives_power_loss_at_every_sector);
    ADD(format_that_failed_can_be_repeated_and_cut);
    ADD(format_fails_if_the_medium_cannot_be_asked);
    ADD(start_flushes_before_it_builds_on_what_was_read);
    ADD(start_again_with_nothing_new_writes_nothing);
    ADD(growth_moves_the_current_version);
    ADD(growth_within_the_slot_moves_nothing);
    ADD(growth_survives_power_loss_at_every_sector);
    ADD(growth_into_new_space_survives_power_loss);
    ADD(growth_refuses_new_space_that_is_not_blank);
    ADD(growth_that_failed_anywhere_can_be_repeated);
    ADD(growth_of_a_blob_that_cannot_be_read_fails);
    ADD(extent_is_reused_only_when_no_directory_names_it);
    ADD(extent_named_by_one_copy_only_is_not_reused);
    ADD(damaged_superblock_copy_is_healed);
    ADD(superblock_lost_between_open_and_start_is_an_error);
    ADD(older_superblock_copy_is_healed);
    return g_test_run();
}
