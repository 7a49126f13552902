/*
 * Unit tests of the core: the reads of an opening, and its questions to the
 * caller
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <string.h>

/* The callbacks' questions, and the answers */
typedef struct Caller {
    unsigned unlocks;
    unsigned makes;
    unsigned data_key;          /* that both callbacks give; 0: none */
    bool no_slots;              /* no slot holds the key of a new store */
    bool fails;
    uint8_t uuid[BLOB_UUID_BYTES];      /* the UUID that the callbacks got */
} Caller;

static bool answer(Caller *caller, const uint8_t *uuid, BlobKey **key,
                   GError **error)
{
    memcpy(caller->uuid, uuid, sizeof(caller->uuid));
    g_assert_null(*key);
    if (caller->fails) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN, "no token");
        return false;
    }
    if (caller->data_key) {
        *key = blob_key_ref(keys_data_key(caller->data_key));
    }
    return true;
}

static bool unlock(const BlobStoreLabel *label, void *opaque, BlobKey **key,
                   GError **error)
{
    Caller *caller = opaque;

    caller->unlocks++;
    g_assert_true(label->sealed);
    g_assert_false(label->blank);
    g_assert_cmpuint(blob_key_slots_count_used(&label->key_slots), ==, 1);
    g_assert_true(blob_store_label_fits(label, keys_data_key(1)));
    g_assert_false(blob_store_label_fits(label, keys_data_key(2)));
    return answer(caller, label->uuid, key, error);
}

static bool make(const uint8_t *uuid, void *opaque, BlobKey **key,
                 BlobKeySlots *key_slots, GError **error)
{
    Caller *caller = opaque;

    caller->makes++;
    g_assert_cmpuint(blob_key_slots_count_used(key_slots), ==, 0);
    if (caller->data_key && !caller->no_slots) {
        keys_put_raw(key_slots, 1, keys_data_key(caller->data_key), uuid);
    }
    return answer(caller, uuid, key, error);
}

static BlobStoreOptions options_of(Caller *caller)
{
    return (BlobStoreOptions) {
        .unlock = unlock,
        .make = make,
        .opaque = caller,
    };
}

static BlobStore *open_for(Caller *caller, TestDisk *disk)
{
    BlobStoreOptions options = options_of(caller);
    g_autoptr(GError) error = NULL;
    BlobStore *store;

    test_disk_reset_counts(disk);
    store = blob_store_open(disk->storage, &options, &error);
    g_assert_no_error(error);
    return store;
}

static TestDisk *plain_disk(void)
{
    TestDisk *disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_close(store);
    return disk;
}

static TestDisk *sealed_disk(void)
{
    TestDisk *disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);

    test_write(store, blob, "one");
    test_close(store);
    return disk;
}

/*
 * Opening reads each copy of the superblock once and each copy of the
 * directory twice.
 */
enum { OPEN_READS = 6, BLANK_READS = 3 };

static void test_plain_store_is_opened_with_few_reads(void)
{
    g_autoptr(TestDisk) disk = plain_disk();
    Caller caller = { .data_key = 1 };
    g_autoptr(BlobStore) store = open_for(&caller, disk);

    g_assert_cmpuint(disk->reads, ==, OPEN_READS);
    g_assert_cmpuint(caller.unlocks + caller.makes, ==, 0);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
}

static void test_sealed_store_asks_for_its_key_and_reads_no_more(void)
{
    g_autoptr(TestDisk) disk = sealed_disk();
    Caller caller = { .data_key = 1 };
    g_autoptr(BlobStore) store = open_for(&caller, disk);
    BlobStoreStatus info;

    g_assert_cmpuint(disk->reads, ==, OPEN_READS);
    g_assert_cmpuint(caller.unlocks, ==, 1);
    g_assert_cmpuint(caller.makes, ==, 0);
    blob_store_get_status(store, &info);
    g_assert_cmpmem(caller.uuid, BLOB_UUID_BYTES, info.uuid, BLOB_UUID_BYTES);
    test_expect(store, blob_store_find(store, "t", "a"), "one");
}

/*
 * Opening reads the superblock twice, and the medium, which is one chunk,
 * once.
 */
static void test_blank_medium_is_scanned_once(void)
{
    for (unsigned data_key = 0; data_key < 2; data_key++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        Caller caller = { .data_key = data_key };
        g_autoptr(BlobStore) asking = open_for(&caller, disk);
        g_autoptr(BlobStore) store = NULL;

        g_assert_cmpuint(disk->reads, ==, BLANK_READS);
        test_disk_reset_counts(disk);
        store = test_open(disk);
        g_assert_cmpuint(disk->reads, ==, BLANK_READS);
    }
}

static void test_new_store_has_the_key_and_the_uuid_it_was_made_for(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Caller caller = { .data_key = 1 };
    BlobStore *store = open_for(&caller, disk);
    BlobStoreStatus info;

    g_assert_cmpuint(caller.makes, ==, 1);
    g_assert_cmpuint(disk->writes, ==, 0);
    test_start_with(store, NULL, 1);
    blob_store_get_status(store, &info);
    g_assert_true(info.sealed);
    g_assert_cmpuint(info.key_slots, ==, 1);
    g_assert_cmpmem(caller.uuid, BLOB_UUID_BYTES, info.uuid, BLOB_UUID_BYTES);
    g_assert_cmpuint(info.uuid[6] >> 4, ==, 4);
    blob_store_free(store);

    /* The key slots are made for the UUID that the callback got. */
    store = keys_open(disk, 1);
    blob_store_free(store);
    g_assert_cmpuint(caller.makes + caller.unlocks, ==, 1);
}

static void test_new_store_is_plain_without_a_key(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Caller caller = { 0 };
    g_autoptr(BlobStore) store = open_for(&caller, disk);
    BlobStoreStatus info;

    g_assert_cmpuint(caller.makes, ==, 1);
    test_start(store);
    blob_store_get_status(store, &info);
    g_assert_false(info.sealed);
    g_assert_cmpmem(caller.uuid, BLOB_UUID_BYTES, info.uuid, BLOB_UUID_BYTES);
}

static void test_new_store_may_be_given_its_uuid(void)
{
    uint8_t uuid[BLOB_UUID_BYTES] = { 1, 2, 3 };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Caller caller = { .data_key = 1 };
    BlobStoreOptions options = options_of(&caller);
    g_autoptr(BlobStore) store = NULL;

    options.uuid = uuid;
    options.create_as_uuid = true;
    store = blob_store_open(disk->storage, &options, NULL);
    g_assert_nonnull(store);
    uuid[0] = 9;                /* The store has its own copy. */
    test_start(store);
    g_assert_cmpuint(caller.uuid[0], ==, 1);
    g_assert_cmpuint(store->super.uuid[0], ==, 1);
}

/*
 * The caller is asked again, and the store keeps the UUID that the first
 * format chose.
 */
static void test_format_that_was_cut_short_asks_again(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Caller caller = { .data_key = 1 };
    BlobStore *store = open_for(&caller, disk);

    disk->fail_write = 1;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    disk->fail_write = TEST_NEVER;
    blob_store_free(store);
    store = open_for(&caller, disk);
    g_assert_cmpuint(caller.makes, ==, 2);
    disk->fail_write = 1;
    test_start_fails(store, BLOBSTORE_ERROR_IO, "*");
    disk->fail_write = TEST_NEVER;
    test_start(store);
    g_assert_cmpmem(caller.uuid, BLOB_UUID_BYTES, store->super.uuid,
                    BLOB_UUID_BYTES);
    blob_store_free(store);
}

static void test_caller_may_refuse(void)
{
    Caller caller = { .data_key = 1, .fails = true };
    BlobStoreOptions options = options_of(&caller);
    TestDisk *disks[] = { test_disk_new(TEST_DISK_BYTES), sealed_disk() };

    for (guint i = 0; i < G_N_ELEMENTS(disks); i++) {
        test_open_fails(disks[i], &options, BLOBSTORE_ERROR_TOKEN, "no token");
        test_disk_free(disks[i]);
    }
    g_assert_cmpuint(caller.makes, ==, 1);
    g_assert_cmpuint(caller.unlocks, ==, 1);
}

static void test_no_key_and_the_wrong_key_are_refused(void)
{
    g_autoptr(TestDisk) disk = sealed_disk();
    Caller caller = { 0 };
    BlobStoreOptions options = options_of(&caller);

    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "store is encrypted (key slots in use: 1) and no key was "
                    "given");
    caller.data_key = 2;
    test_open_fails(disk, &options, BLOBSTORE_ERROR_TAMPERED, "*");
}

static void test_new_key_wants_a_slot(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Caller caller = { .data_key = 1, .no_slots = true };
    BlobStoreOptions options = options_of(&caller);

    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY, "*key slots");
}

/*
 * A medium that is refused must not cost the user a token's PIN or a
 * passphrase.
 */
static void test_refused_medium_asks_nothing(void)
{
    static const uint8_t other[BLOB_UUID_BYTES] = { 1 };
    static const BlobSequence far = { .number = UINT64_MAX };
    g_autoptr(TestDisk) blank = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) foreign = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) sealed = sealed_disk();
    Caller caller = { .data_key = 1 };
    BlobStoreOptions options = options_of(&caller);

    test_disk_bytes(foreign)[TEST_DISK_BYTES - 1] = 1;
    test_open_fails(foreign, &options, BLOBSTORE_ERROR_FOREIGN, "*");
    options.min_sequence = &far;
    test_open_fails(blank, &options, BLOBSTORE_ERROR_ROLLED_BACK, "*");
    options.min_sequence = NULL;
    options.uuid = other;
    test_open_fails(sealed, &options, BLOBSTORE_ERROR_UUID, "*");
    test_open_fails(blank, &options, BLOBSTORE_ERROR_UUID, "*");
    options.uuid = NULL;
    options.create_never = true;
    test_open_fails(blank, &options, BLOBSTORE_ERROR_BLANK, "*");
    g_assert_cmpuint(caller.unlocks + caller.makes, ==, 0);
}

static void test_nothing_is_made_where_nothing_may_be_written(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Caller caller = { .data_key = 1 };
    BlobStoreOptions options = options_of(&caller);
    g_autoptr(BlobStore) store = NULL;

    options.read_only = true;
    store = blob_store_open(disk->storage, &options, NULL);
    g_assert_nonnull(store);
    g_assert_cmpuint(caller.makes, ==, 0);
}

static void test_plain_store_is_refused_if_there_is_a_key_for_it(void)
{
    g_autoptr(TestDisk) disk = plain_disk();
    Caller caller = { .data_key = 1 };
    BlobStoreOptions options = options_of(&caller);

    options.sealed_only = true;
    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "medium holds a store that is not encrypted, but a key*");
    g_assert_cmpuint(caller.unlocks + caller.makes, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/asking/" #name, test_##name)
    ADD(plain_store_is_opened_with_few_reads);
    ADD(sealed_store_asks_for_its_key_and_reads_no_more);
    ADD(blank_medium_is_scanned_once);
    ADD(new_store_has_the_key_and_the_uuid_it_was_made_for);
    ADD(new_store_is_plain_without_a_key);
    ADD(new_store_may_be_given_its_uuid);
    ADD(format_that_was_cut_short_asks_again);
    ADD(caller_may_refuse);
    ADD(no_key_and_the_wrong_key_are_refused);
    ADD(new_key_wants_a_slot);
    ADD(refused_medium_asks_nothing);
    ADD(nothing_is_made_where_nothing_may_be_written);
    ADD(plain_store_is_refused_if_there_is_a_key_for_it);
    return g_test_run();
}
