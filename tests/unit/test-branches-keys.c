/*
 * Unit tests of the core: superblocks of two branches of one store, mixed
 *
 * An image was copied, both went on, and both changed their key slots.  So
 * there are two superblocks of the same generation.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

#include <string.h>

/* What a branch does to its superblock */
typedef enum Change {
    CHANGE_NOTHING,
    CHANGE_KEY_SLOTS,
    CHANGE_DATA_KEY,            /* to one that the other branch has, too */
    CHANGE_COUNT,
} Change;

/* How a branch is left when the other superblock is put into it */
typedef enum End {
    END_CLOSED,
    END_CRASHED,
    END_RESTARTED,
    END_COUNT,
} End;

static BlobStore *restart(TestDisk *disk, BlobStore *store, unsigned key)
{
    store = keys_reopen(store, disk, key);
    test_start_with(store, NULL, 1);
    return store;
}

/* Returns the key that opens the store from now on. */
static unsigned change(BlobStore *store, Change what, unsigned key)
{
    static const Way rekey = { "rekey", 1, 2 };
    GError *error = NULL;

    if (what == CHANGE_KEY_SLOTS) {
        keys_add_slot(store, 4, &error);
    } else if (what == CHANGE_DATA_KEY) {
        conversion_run(store, &rekey, &error);
        key = rekey.to;
    }
    g_assert_no_error(error);
    return key;
}

/* Puts the superblock of a branch that did @theirs into one that did @mine. */
static void mix(Change mine, Change theirs, bool is_running, End end)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    g_autoptr(TestDisk) other_disk = NULL;
    g_autoptr(BlobStore) other = NULL;
    unsigned key;

    if (!is_running) {
        test_close(store);
    }
    other_disk = test_disk_clone(disk);
    store = restart(disk, g_steal_pointer(&store), 1);
    other = restart(other_disk, NULL, 1);
    key = change(store, mine, 1);
    change(other, theirs, 1);
    if (end == END_CLOSED) {
        test_close(store);
    } else if (end == END_RESTARTED) {
        store = restart(disk, g_steal_pointer(&store), key);
    }
    g_clear_pointer(&store, blob_store_free);
    memcpy(test_disk_bytes(disk), test_disk_bytes(other_disk),
           BLOB_DIRECTORY_OFFSET);
    keys_open_fails(disk, key, BLOBSTORE_ERROR_STALE,
                    mine < theirs || mine == theirs
                    ? "superblock*does not belong to the directory*"
                    : "superblock*is older than the directory*");
}

/* S5 */
static void test_superblock_of_another_branch_is_refused(void)
{
    for (End end = 0; end < END_COUNT; end++) {
        for (int is_running = 0; is_running < 2; is_running++) {
            mix(CHANGE_NOTHING, CHANGE_KEY_SLOTS, is_running, end);
            mix(CHANGE_KEY_SLOTS, CHANGE_NOTHING, is_running, end);
            mix(CHANGE_KEY_SLOTS, CHANGE_KEY_SLOTS, is_running, end);
            mix(CHANGE_DATA_KEY, CHANGE_DATA_KEY, is_running, end);
        }
    }
}

/* ... also if that branch is what a VM was taken back from. */
static void test_superblock_from_before_going_back_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    g_autoptr(TestDisk) snapshot = test_disk_clone(disk);
    g_autoptr(TestDisk) before = NULL;

    change(store, CHANGE_KEY_SLOTS, 1);
    before = test_disk_clone(disk);
    store = restart(snapshot, g_steal_pointer(&store), 1);
    memcpy(test_disk_bytes(snapshot), test_disk_bytes(before),
           BLOB_DIRECTORY_OFFSET);
    keys_open_fails(snapshot, 4, BLOBSTORE_ERROR_STALE,
                    "superblock*does not belong to the directory*");
}

/*
 * A snapshot was taken in the epoch in which the key slots changed.  A
 * superblock names a record that is new, so that snapshot has an older one.
 */
static void test_superblock_does_not_go_back_within_its_epoch(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    g_autoptr(TestDisk) snapshot = NULL;

    test_write(store, blob, "one");
    snapshot = test_disk_clone(disk);
    test_write(store, blob, "two");
    change(store, CHANGE_KEY_SLOTS, 1);
    memcpy(test_disk_bytes(snapshot), test_disk_bytes(disk),
           BLOB_DIRECTORY_OFFSET);
    keys_open_fails(snapshot, 1, BLOBSTORE_ERROR_STALE,
                    "superblock*does not belong to the directory*");
}

/* Damages a key slot in both copies of the superblock. */
static void damage_key_slot(TestDisk *disk)
{
    unsigned at = BLOB_HEADER_BYTES + BLOB_SUPERBLOCK_HEAD_BYTES +
                  5 * BLOB_KEY_SLOT_BYTES;

    test_disk_bytes(disk)[at] ^= 1;
    test_disk_bytes(disk)[BLOB_SUPERBLOCK_SLOT_BYTES + at] ^= 1;
}

/*
 * A key slot that is damaged in both copies takes another superblock.  That
 * has to name a record that is on the medium for sure.
 */
static void test_superblock_names_no_record_that_may_be_outdated(void)
{
    for (int writes = 0; writes < 8; writes++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(TestDisk) late = NULL;
        g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
        BlobSlot first;

        test_close(store);
        late = test_disk_clone(disk);
        store = restart(late, g_steal_pointer(&store), 1);
        first = blob_pair_slot(&store->directory_pair,
                               !store->directory_pair.last);
        damage_key_slot(disk);
        store = keys_reopen(g_steal_pointer(&store), disk, 1);
        test_register(store, "a", 1000);
        /* The first copy that the other process failed to write lands. */
        memcpy(test_disk_bytes(disk) + first.offset,
               test_disk_bytes(late) + first.offset, first.bytes);
        disk->fail_write = writes;
        blob_store_start(store, NULL);
        g_clear_pointer(&store, blob_store_free);
        disk->fail_write = TEST_NEVER;
        store = restart(disk, NULL, 1);
    }
}

/*
 * S10: nobody knows which superblock is on the medium when the conversion
 * begins.  The power fails in each of its writes.
 */
static void test_conversion_begins_with_a_superblock_for_sure(void)
{
    bool done = false;

    for (int writes = 0; !done; writes++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
        BlobKeySlots slots = { 0 };
        GError *error = NULL;

        keys_put_raw(&slots, 1, keys_data_key(1), store->super.uuid);
        disk->fail_write = 0;
        g_assert_false(blob_store_set_key_slots(store, keys_data_key(1),
                                                &slots, NULL));
        memset(&slots, 0, sizeof(slots));
        keys_put_raw(&slots, 1, keys_data_key(2), store->super.uuid);
        disk->fail_write = writes;
        done = blob_store_convert(store, keys_data_key(2), &slots, NULL);
        disk->fail_write = TEST_NEVER;
        g_clear_pointer(&store, blob_store_free);
        store = keys_try_open(disk, 1, &error);
        g_assert_no_error(error);
        test_start_with(store, NULL, 1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/branches-keys/" #name, test_##name)
    ADD(superblock_of_another_branch_is_refused);
    ADD(superblock_from_before_going_back_is_refused);
    ADD(superblock_does_not_go_back_within_its_epoch);
    ADD(superblock_names_no_record_that_may_be_outdated);
    ADD(conversion_begins_with_a_superblock_for_sure);
    return g_test_run();
}
