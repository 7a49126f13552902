/*
 * Unit tests of the core: a caller's knowledge of the store that it wants
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <string.h>
#include "sealed.h"

enum { DISK_BYTES = 192 << 10 };

static BlobSequence sequence_of(const BlobStore *store)
{
    BlobStoreStatus info;
    BlobSequence sequence;

    blob_store_get_status(store, &info);
    sequence.number = info.sequence;
    memcpy(sequence.epoch_id, info.epoch_id, sizeof(sequence.epoch_id));
    return sequence;
}

static void expect_accepted(TestDisk *disk, const BlobSequence *wanted)
{
    BlobStoreOptions options = { .min_sequence = wanted };
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = blob_store_open(disk->storage, &options,
                                                 &error);

    g_assert_no_error(error);
}

static void expect_refused(TestDisk *disk, const BlobSequence *wanted,
                           const char *pattern)
{
    BlobStoreOptions options = { .min_sequence = wanted };

    test_open_fails(disk, &options, BLOBSTORE_ERROR_ROLLED_BACK, pattern);
}

/*
 * Plays one run of a VM: it opens, writes @writes times, and closes or does
 * not.
 */
static BlobSequence run(TestDisk *disk, unsigned writes, bool clean)
{
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    BlobSequence sequence;

    for (unsigned i = 0; i < writes; i++) {
        test_write(store, blob, "content");
    }
    if (clean) {
        test_close(store);
    }
    sequence = sequence_of(store);
    return sequence;
}

static void test_what_was_seen_is_accepted_for_long(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobSequence seen = run(disk, 3, false);
    BlobSequence closed;

    expect_accepted(disk, &seen);
    closed = run(disk, 2, true);
    for (int i = 0; i < 20; i++) {
        expect_accepted(disk, &seen);
        expect_accepted(disk, &closed);
        run(disk, 1, i & 1);
    }
}

static void test_older_image_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(TestDisk) older = NULL;
    BlobSequence seen;

    run(disk, 3, false);
    older = test_disk_clone(disk);
    seen = run(disk, 1, false);
    expect_accepted(disk, &seen);
    expect_refused(older, &seen, "store at sequence * is older than the *");
}

/*
 * The image was rolled back and used since: its numbers are as high, or
 * higher.
 */
static void test_branch_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(TestDisk) branch = NULL;
    BlobSequence seen;

    run(disk, 3, false);
    branch = test_disk_clone(disk);
    seen = run(disk, 1, false);
    for (int i = 0; i < 3; i++) {
        run(branch, 5, false);
        expect_refused(branch, &seen,
                       "store at sequence * does not continue *");
    }
}

/*
 * A branch off the middle of the epoch that the caller saw has the same epoch.
 */
static void test_branch_within_an_epoch_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_autoptr(TestDisk) branch = NULL;
    BlobSequence seen;

    test_write(store, blob, "first");
    test_write(store, blob, "second");
    branch = test_disk_clone(disk);
    test_write(store, blob, "third");
    seen = sequence_of(store);
    expect_refused(branch, &seen, "*is older than*");
    run(branch, 9, true);
    expect_refused(branch, &seen, "*does not continue*");
    expect_accepted(disk, &seen);
}

static void test_same_number_of_another_epoch_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobSequence seen = run(disk, 3, false);

    seen.epoch_id[0] ^= 1;
    expect_refused(disk, &seen, "*does not continue*");
}

static void test_blank_medium_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobSequence seen = { 5 };
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES] = { 0xc0 };
    BlobStoreOptions options = { .key_commitment = commitment };

    expect_refused(disk, &seen, "medium is blank*sequence 5:000*");
    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "medium is blank*commitment c000*");
}

/* Nobody can tell any more whether it is the same store, so it is refused. */
static void test_what_was_seen_too_long_ago_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobSequence seen = run(disk, 1, false);

    for (unsigned i = 0; i < BLOB_HISTORY_MAX; i++) {
        expect_accepted(disk, &seen);
        g_assert_cmpuint(run(disk, 0, false).number >> 32, ==,
                         (seen.number >> 32) + i + 1);
    }
    expect_accepted(disk, &seen);
    run(disk, 0, false);
    expect_refused(disk, &seen, "*is too far on to show*");
}

/*
 * The store continues from the sequence that an incoming VM reached elsewhere.
 */
static void test_epoch_that_is_followed_is_part_of_the_past(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobStoreOptions options = {
        .follows = { blob_sequence(100, 7), { 0x10, 0x20 } },
    };
    BlobSequence seen;
    Blob *blob;
    g_autoptr(BlobStore) store = NULL;

    seen = run(disk, 3, false);
    store = blob_store_open(disk->storage, &options, NULL);
    blob = test_register(store, "a", 1000);
    test_start(store);
    test_write(store, blob, "after the move");
    expect_accepted(disk, &options.follows);
    options.follows.number++;
    expect_refused(disk, &options.follows, "*does not continue*");
    /* The sequence that the medium itself had reached is not the VM's past. */
    expect_refused(disk, &seen, "*is too far on to show*");
}

static void test_key_commitment_is_that_of_the_store(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobStoreStatus info;
    uint8_t wanted[BLOB_KEY_COMMITMENT_BYTES];
    BlobStoreOptions options = {
        .key = keys_data_key(1),
        .key_commitment = wanted,
    };
    g_autoptr(TestDisk) plain = test_disk_new(DISK_BYTES);

    blob_store_get_status(store, &info);
    blob_key_commit(keys_data_key(1), info.uuid, wanted);
    g_assert_cmpmem(info.key_commitment, sizeof(wanted), wanted,
                    sizeof(wanted));
    g_clear_pointer(&store, blob_store_free);
    store = blob_store_open(disk->storage, &options, NULL);
    g_assert_nonnull(store);
    g_clear_pointer(&store, blob_store_free);
    wanted[31] ^= 1;
    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "store has another key commitment*");
    if (sealed_key()) {
        return;                 /* Plain stores are not tested here. */
    }
    run(plain, 1, false);
    options.key = NULL;
    test_open_fails(plain, &options, BLOBSTORE_ERROR_KEY,
                    "*(none, for it is not encrypted)*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/expect/" #name, test_##name)
    ADD(what_was_seen_is_accepted_for_long);
    ADD(older_image_is_refused);
    ADD(branch_is_refused);
    ADD(branch_within_an_epoch_is_refused);
    ADD(same_number_of_another_epoch_is_refused);
    ADD(blank_medium_is_refused);
    ADD(what_was_seen_too_long_ago_is_refused);
    ADD(epoch_that_is_followed_is_part_of_the_past);
    ADD(key_commitment_is_that_of_the_store);
    return g_test_run();
}
