/*
 * Unit tests of the core: creating and healing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static void test_required_size_is_exact(void)
{
    uint64_t required = test_required_bytes(3, 5000);
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
    g_assert_cmpuint(test_required_bytes(100, 1), ==, BLOB_DIRECTORY_OFFSET +
                     2 * blob_layout_directory_slot_bytes(200) +
                     100 * 2 * blob_layout_slot_bytes(1));
}

static void test_full_directory_takes_no_more_blobs(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    BlobStoreOptions options = { .directory_blobs = 1 };
    g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
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
    /* Blobs that exist already stay in use. */
    test_write(store, first, "two");
    blob_store_unregister(store, extra);
    test_start(store);

    /* A blob that leaves makes room for another. */
    blob_store_unregister(store, blob_store_find(store, "t", "1"));
    test_start(store);
    test_close(store);
    extra = test_register(store, "extra", 10);
    test_start(store);
    test_write(store, extra, "in");
    test_expect(store, first, "two");
}

static void edit_next_id(BlobDirectory *directory)
{
    directory->next_id = UINT64_MAX - 1;
}

/* A directory that names 2^64 - 1 as the next id has to be refused. */
static void test_last_id_is_given_to_no_blob(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);

    test_edit_directory(disk, edit_next_id);
    blob_store_free(store);
    store = test_open(disk);
    test_register(store, "new", 10);
    test_start_fails(store, BLOBSTORE_ERROR_EXHAUSTED, "*its last id*");
    blob_store_free(store);

    /* Blobs that exist already stay in use. */
    store = test_open(disk);
    test_register(store, "a", 1000);
    test_start(store);
    test_write(store, blob_store_find(store, "t", "a"), "one");
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
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
 * Returns how many events there are until the marker is durable.  If a garbled
 * sector is all that is left of the marker, the medium is refused: see
 * docs/design.md, and test-blank.c for its cuts.
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
 * The failing write may have landed or not.  The same process repeats the
 * format, and a power failure cuts that.
 */
static void test_format_that_failed_can_be_repeated_and_cut(void)
{
    for (int n = 0; n < 14; n++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES / 4);
        g_autoptr(BlobStore) store = test_open(disk);
        g_autoptr(TestDisk) left = NULL;
        Blob *blob = test_register(store, "a", 1000);
        const uint8_t none[BLOB_UUID_BYTES] = { 0 };
        BlobStoreStatus info;
        unsigned marked;

        disk->failing_write_lands = n % 2;
        disk->fail_write = n / 2;
        test_start_fails(store, BLOBSTORE_ERROR_IO, "write failed as told");
        blob_store_get_status(store, &info);
        g_assert_true(info.blank == (n / 2 < 5));
        g_assert_true(info.blank == !memcmp(info.uuid, none, 16));
        /* A killed process would leave the medium like this. */
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

/* The code assumes no size of a medium, which may change between two calls. */
static void test_medium_that_shrinks_while_it_is_formatted(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_open(disk);

    test_register(store, "a", 1000);
    disk->shrinks_to = BLOB_DIRECTORY_OFFSET + BLOB_BLOCK_BYTES;
    test_start_fails(store, BLOBSTORE_ERROR_TOO_SMALL, "*too small*");
    test_disk_resize(disk, TEST_DISK_BYTES);
    test_start(store);
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
        disk->fail_read = !n;   /* of the copy that is intact */
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

static void test_superblock_replaced_between_open_and_start_is_an_error(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);

    g_clear_pointer(&store, blob_store_free);
    test_disk_bytes(disk)[20] ^= 1;
    store = test_open(disk);
    test_edit_superblock(disk, make_older);
    test_disk_reset_counts(disk);
    test_start_fails(store, BLOBSTORE_ERROR_CORRUPT, "superblock has changed*");
    g_assert_cmpuint(disk->writes, ==, 0);
}

static void make_newer(BlobSuperblock *super, BlobHeader *header)
{
    super->generation = ++header->sequence;
}

/* A change that failed in another process may land like this. */
static void test_superblock_that_landed_since_opening_is_an_error(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = test_store(disk, NULL, 1);
    uint8_t *copy = test_disk_bytes(disk) + BLOB_SUPERBLOCK_SLOT_BYTES;
    g_autofree uint8_t *before = g_memdup2(copy, BLOB_SUPERBLOCK_SLOT_BYTES);

    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    test_edit_superblock(disk, make_newer);
    memcpy(copy, before, BLOB_SUPERBLOCK_SLOT_BYTES);
    test_start_fails(store, BLOBSTORE_ERROR_STALE,
                     "superblock has changed since*open it again");
    g_clear_pointer(&store, blob_store_free);
    store = test_open(disk);
    test_register(store, "a", 1000);
    test_start(store);
    g_assert_cmpuint(store->super.generation, ==, 3);
    g_assert_true(blob_pair_is_whole(&store->super_pair));
    /* A running store has nothing to look for. */
    test_disk_reset_counts(disk);
    test_start(store);
    g_assert_cmpuint(disk->reads, ==, 0);
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

static void test_blank_medium_becomes_the_store_of_a_uuid(void)
{
    uint8_t uuid[BLOB_UUID_BYTES] = {
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
    };
    BlobStoreOptions options = {
        .uuid = uuid,
        .create_as_uuid = true,
    };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);

    /* The store opens again as the same store, and no other is accepted. */
    for (int i = 0; i < 2; i++) {
        g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
                                                     NULL);
        BlobStoreStatus info;

        g_assert_nonnull(store);
        test_start(store);
        blob_store_get_status(store, &info);
        g_assert_cmpmem(info.uuid, BLOB_UUID_BYTES, uuid, BLOB_UUID_BYTES);
    }
    uuid[0] = 0x11;
    test_open_fails(disk, &options, BLOBSTORE_ERROR_UUID, "*is this the*");
    options.create_never = true;
    g_clear_pointer(&disk, test_disk_free);
    disk = test_disk_new(TEST_DISK_BYTES);
    test_open_fails(disk, &options, BLOBSTORE_ERROR_BLANK, "*is blank*");
}

static void test_new_epoch_is_above_a_minimum(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    uint32_t minimum[] = { 0, 1000, 10, UINT32_MAX - 1 };
    /* R16: that of the second is even, like that of any second record. */
    uint32_t epoch[] = { 1, 1002, 1003, UINT32_MAX };

    for (int i = 0; i < G_N_ELEMENTS(minimum); i++) {
        BlobStoreOptions options = {
            .follows.number = blob_sequence(minimum[i], 0),
        };
        g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
                                                     NULL);
        BlobStoreStatus info;

        test_start(store);
        blob_store_get_status(store, &info);
        g_assert_cmpuint(info.sequence >> 32, ==, epoch[i]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/start/" #name, test_##name)
    ADD(required_size_is_exact);
    ADD(directory_has_room_for_twice_what_is_registered);
    ADD(full_directory_takes_no_more_blobs);
    ADD(last_id_is_given_to_no_blob);
    ADD(format_writes_the_marker_alone_first);
    ADD(format_survives_power_loss_at_every_sector);
    ADD(format_that_failed_can_be_repeated_and_cut);
    ADD(format_fails_if_the_medium_cannot_be_asked);
    ADD(start_flushes_before_it_builds_on_what_was_read);
    ADD(start_again_with_nothing_new_writes_nothing);
    ADD(medium_that_shrinks_while_it_is_formatted);
    ADD(damaged_superblock_copy_is_healed);
    ADD(superblock_lost_between_open_and_start_is_an_error);
    ADD(superblock_replaced_between_open_and_start_is_an_error);
    ADD(superblock_that_landed_since_opening_is_an_error);
    ADD(older_superblock_copy_is_healed);
    ADD(blank_medium_becomes_the_store_of_a_uuid);
    ADD(new_epoch_is_above_a_minimum);
    return g_test_run();
}
