/*
 * Unit tests of the core: key slots of a store, which are changed and damaged
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <string.h>

enum { DISK_BYTES = 192 << 10 };

static void set_slots(BlobStore *store, const BlobKeySlots *slots)
{
    g_autoptr(GError) error = NULL;

    blob_store_set_key_slots(store, keys_data_key(1), slots, &error);
    g_assert_no_error(error);
}

static void add_slot(BlobStore *store, unsigned n)
{
    g_autoptr(GError) error = NULL;

    keys_add_slot(store, n, &error);
    g_assert_no_error(error);
}

static void remove_slot(BlobStore *store, unsigned n)
{
    BlobKeySlots slots;

    blob_store_get_key_slots(store, &slots);
    g_assert_true(blob_key_slots_remove(&slots, n, NULL));
    set_slots(store, &slots);
}

static void test_slots_are_added_and_removed_without_rewriting_blobs(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = keys_store(disk, blobs, 2);
    uint64_t at = blobs[0]->entry.offset;
    g_autofree uint8_t *before = NULL;
    BlobStoreStatus info;

    test_write(store, blobs[0], "kept");
    before = g_memdup2(test_disk_bytes(disk) + at, DISK_BYTES - at);
    add_slot(store, 4);
    remove_slot(store, 1);
    blob_store_get_status(store, &info);
    g_assert_cmpuint(info.key_slots, ==, 1);
    g_assert_cmpmem(test_disk_bytes(disk) + at, DISK_BYTES - at, before,
                    DISK_BYTES - at);
    test_write(store, blobs[1], "written with another slot");
    g_clear_pointer(&store, blob_store_free);
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_KEY, "the key is wrong*");
    store = keys_open(disk, 4);
    test_expect(store, blob_store_find(store, "t", "a"), "kept");
    test_expect(store, blob_store_find(store, "t", "b"),
                "written with another slot");
}

static void test_slots_of_a_plain_store_another_key_or_none_are_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) plain = test_store(disk, NULL, 1);
    g_autoptr(TestDisk) sealed_disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) sealed = keys_store(sealed_disk, NULL, 1);
    const BlobKey *key = keys_data_key(1);
    BlobKeySlots slots = { 0 };
    GError *error = NULL;

    g_assert_false(blob_store_set_key_slots(sealed, key, &slots, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "no key slot would be*");
    blob_store_get_key_slots(sealed, &slots);
    g_assert_false(blob_store_set_key_slots(sealed, keys_data_key(2), &slots,
                                            &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "the data key*changed*");
    g_assert_false(blob_store_set_key_slots(plain, key, &slots, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "store is not encrypted");
    sealed = keys_reopen(g_steal_pointer(&sealed), sealed_disk, 1);
    g_assert_false(blob_store_set_key_slots(sealed, key, &slots, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY, "*not started*");
}

/*
 * Slot 1 is used before, 1 and 4 in between, 4 afterwards: one of them always
 * opens.
 */
static void check_key_change(TestDisk *crashed, unsigned events, void *opaque)
{
    g_autoptr(BlobStore) store = keys_try_open(crashed, 1, NULL);
    Blob *blob;

    if (!store) {
        store = keys_open(crashed, 4);
    }
    test_expect(store, blob_store_find(store, "t", "a"), "kept");
    blob = test_register(store, "a", 1000);
    test_start(store);
    test_write(store, blob, "changed");
}

static void test_change_of_slots_survives_power_loss_everywhere(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);

    test_write(store, blob, "kept");
    test_disk_record(disk);
    add_slot(store, 4);
    remove_slot(store, 1);
    test_disk_each_crash(disk, check_key_change, NULL);
}

static void fail_key_change(unsigned how, int after, bool *failed)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    BlobKeySlots slots;
    BlobStoreStatus info;
    GError *error = NULL;

    test_write(store, blob, "kept");
    blob_store_get_status(store, &info);
    blob_store_get_key_slots(store, &slots);
    keys_put_raw(&slots, 4, keys_data_key(1), info.uuid);
    disk->failing_write_lands = how & 1;
    disk->failing_write_is_late = how & 2;
    disk->fail_write = after;
    *failed = !blob_store_set_key_slots(store, keys_data_key(1), &slots,
                                        &error);
    disk->fail_write = TEST_NEVER;
    if (!*failed) {
        return;
    }
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*failed as told");
    test_write(store, blob, "written after the failure");
    if (how & 4) {
        /* The next start settles the state of the medium. */
        test_start(store);
        blob_store_get_status(store, &info);
        store = keys_reopen(g_steal_pointer(&store), disk,
                            info.key_slots == 2 ? 4 : 1);
    } else {
        set_slots(store, &slots);
        store = keys_reopen(g_steal_pointer(&store), disk, 4);
    }
    test_expect(store, blob_store_find(store, "t", "a"),
                "written after the failure");
    store = keys_reopen(g_steal_pointer(&store), disk, 1);
    test_register(store, "a", 1000);
    test_start(store);
}

static void test_change_of_slots_that_fails_can_be_repeated(void)
{
    for (unsigned how = 0; how < 8; how++) {
        bool failed = true;

        for (int after = 0; failed; after++) {
            fail_key_change(how, after, &failed);
        }
    }
}

static void fail_to_add_slot(BlobStore *store, TestDisk *disk, unsigned n)
{
    GError *error = NULL;

    disk->fail_write = 1;
    g_assert_false(keys_add_slot(store, n, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*failed as told");
    disk->fail_write = TEST_NEVER;
}

/* S5: each change has left one copy of the superblock. */
static void test_changes_that_fail_are_told_apart(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobPair pair = store->super_pair;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    fail_to_add_slot(store, disk, 4);
    fail_to_add_slot(store, disk, 5);
    g_assert_true(blob_pair_read(&store->medium, store->zero_guard, &pair,
                                 &header, &payload, NULL));
    g_assert_true(pair.intact[0] && pair.intact[1]);
    g_assert_cmpuint(pair.sequence[0], !=, pair.sequence[1]);
    store = keys_reopen(g_steal_pointer(&store), disk, 5);
    test_start(store);
    keys_open_fails(disk, 4, BLOBSTORE_ERROR_KEY, "the key is wrong*");
}

/*
 * R1, S5: otherwise the removed key slot would open the store under a lower
 * number.
 */
static void test_generation_does_not_wrap(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = NULL;
    Blob *blobs[1];
    BlobKeySlots slots;
    GError *error = NULL;

    store = keys_store(disk, blobs, 1);
    store->generation = BLOB_GENERATION_MAX - 1;
    add_slot(store, 4);
    blob_store_get_key_slots(store, &slots);
    memset(slots.bytes[1], 0, BLOB_KEY_SLOT_BYTES);
    g_assert_false(blob_store_set_key_slots(store, keys_data_key(1), &slots,
                                            &error));
    test_assert_error(&error, BLOBSTORE_ERROR_EXHAUSTED,
                      "*last superblock generation*");
    test_write(store, blobs[0], "goes on");
    store = keys_reopen(g_steal_pointer(&store), disk, 4);
    test_expect(store, blob_store_find(store, "t", "a"), "goes on");
}

/* R1: a conversion needs as many generations as it may use up. */
static void test_conversion_begins_with_generations_to_spare(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    const BlobKeySlots none = { 0 };
    GError *error = NULL;

    store->generation = BLOB_GENERATION_MAX - BLOB_GENERATION_RESERVE + 1;
    g_assert_false(blob_store_convert(store, NULL, &none, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_EXHAUSTED,
                      "*too few superblock generations*");
    store->generation--;
    g_assert_true(blob_store_convert(store, NULL, &none, NULL));
}

/* An image with the old superblock would open with a removed key. */
static void test_superblock_with_a_removed_slot_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    g_autofree uint8_t *before = NULL;

    add_slot(store, 4);
    before = g_memdup2(test_disk_bytes(disk), BLOB_DIRECTORY_OFFSET);
    remove_slot(store, 1);
    memcpy(test_disk_bytes(disk), before, BLOB_DIRECTORY_OFFSET);
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_STALE,
                    "superblock*is older than the directory*");
}

static void test_slot_put_back_under_the_present_generation_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobSuperblock super;
    BlobKeySlots before;
    uint8_t *bytes = g_malloc(BLOB_SUPERBLOCK_BYTES);
    g_autoptr(GBytes) payload = g_bytes_new_take(bytes, BLOB_SUPERBLOCK_BYTES);
    BlobHeader header = { .raw_bytes = BLOB_SUPERBLOCK_BYTES };

    add_slot(store, 4);
    blob_store_get_key_slots(store, &before);
    remove_slot(store, 1);
    super = store->super;
    super.key_slots = before;
    header.sequence = super.generation;
    blob_layout_encode_superblock(&super, NULL, bytes);
    g_assert_true(blob_pair_write(&store->medium, store->zero_guard,
                                  &store->super_pair, &header, payload,
                                  NULL));
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_TAMPERED,
                    "superblock was not written with the key*");
    keys_open_fails(disk, 4, BLOBSTORE_ERROR_TAMPERED,
                    "superblock was not written with the key*");
}

static uint8_t *key_slot_at(TestDisk *disk, unsigned copy, unsigned n)
{
    return test_disk_bytes(disk) + copy * BLOB_SUPERBLOCK_SLOT_BYTES +
           BLOB_HEADER_BYTES + BLOB_SUPERBLOCK_HEAD_BYTES +
           n * BLOB_KEY_SLOT_BYTES;
}

static void test_key_slot_damaged_in_one_copy_is_healed(void)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
        g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);

        key_slot_at(disk, copy, 1)[520] ^= 1;
        store = keys_reopen(g_steal_pointer(&store), disk, 1);
        g_assert_nonnull(strstr(blob_store_warnings(store)[0],
                                "superblock copy at offset"));
        test_register(store, "a", 1000);
        test_start(store);
        key_slot_at(disk, !copy, 1)[520] ^= 1;
        store = keys_reopen(g_steal_pointer(&store), disk, 1);
    }
}

/*
 * One slot is damaged in both copies: the others open, and a new one can take
 * its place.
 */
static void test_key_slot_damaged_in_both_copies_costs_no_other(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobStoreStatus info;

    add_slot(store, 4);
    key_slot_at(disk, 0, 1)[520] ^= 1;
    key_slot_at(disk, 1, 1)[521] ^= 1;
    /* The other slots are damaged in one copy each. */
    key_slot_at(disk, 0, 4)[520] ^= 1;
    g_clear_pointer(&store, blob_store_free);
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_KEY,
                    "the key is wrong*tried: 4; damaged: 1");
    store = keys_open(disk, 4);
    g_assert_nonnull(strstr(blob_store_warnings(store)[2],
                            "key slot 1 is damaged"));
    test_register(store, "a", 1000);
    test_start(store);
    store = keys_reopen(g_steal_pointer(&store), disk, 4);
    blob_store_get_status(store, &info);
    g_assert_cmpuint(info.key_slots, ==, 2);
    g_assert_true(blob_pair_is_whole(&store->super_pair));
    test_register(store, "a", 1000);
    test_start(store);
    add_slot(store, 1);
    store = keys_reopen(g_steal_pointer(&store), disk, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/stored-keys/" #name, test_##name)
    ADD(slots_are_added_and_removed_without_rewriting_blobs);
    ADD(slots_of_a_plain_store_another_key_or_none_are_refused);
    ADD(change_of_slots_survives_power_loss_everywhere);
    ADD(change_of_slots_that_fails_can_be_repeated);
    ADD(changes_that_fail_are_told_apart);
    ADD(superblock_with_a_removed_slot_is_refused);
    ADD(generation_does_not_wrap);
    ADD(conversion_begins_with_generations_to_spare);
    ADD(slot_put_back_under_the_present_generation_is_refused);
    ADD(key_slot_damaged_in_one_copy_is_healed);
    ADD(key_slot_damaged_in_both_copies_costs_no_other);
    return g_test_run();
}
