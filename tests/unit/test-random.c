/*
 * Unit tests of the core: the source of random bytes fails
 *
 * Linked with -Wl,--wrap=getentropy.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <errno.h>
#include <string.h>
#include "entropy.h"

/* The number of calls that succeed before the next ones fail */
static int calls_left = TEST_NEVER;

int __wrap_getentropy(void *buf, size_t bytes)
{
    if (!calls_left) {
        errno = EIO;
        return -1;
    }
    calls_left -= calls_left > 0;
    return __real_getentropy(buf, bytes);
}

static void test_commit_without_a_nonce_fails_and_changes_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    g_autofree uint8_t *before = NULL;

    test_write(store, blob, "content");
    before = g_memdup2(test_disk_bytes(disk), TEST_DISK_BYTES);
    calls_left = 0;
    test_write_fails(store, blob, "not written", BLOBSTORE_ERROR_RANDOM,
                     "the system has no random bytes*");
    g_assert_cmpmem(test_disk_bytes(disk), TEST_DISK_BYTES, before,
                    TEST_DISK_BYTES);
    test_expect(store, blob, "content");
    calls_left = TEST_NEVER;
    test_write(store, blob, "written");
    test_expect(store, blob, "written");
}

static void test_epoch_without_an_id_does_not_begin(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    GError *error = NULL;

    test_write(store, blob, "content");
    calls_left = 0;
    /* A commit to a plain store needs no random bytes. */
    test_write(store, blob, "more");
    g_assert_false(blob_store_close_clean(store, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_RANDOM, "*no random bytes*");
    calls_left = TEST_NEVER;
    test_write(store, blob, "after that");
    test_close(store);
    test_expect(store, blob, "after that");
}

/*
 * Each call of getentropy() may fail while a store is made, sealed, or gets
 * other keys.
 */
static void test_store_is_made_and_keyed_with_random_bytes_or_not(void)
{
    bool failed = true;

    for (int after = 0; failed; after++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) store = test_open(disk);
        BlobKeySlots slots = { 0 };
        uint8_t uuid[BLOB_UUID_BYTES] = { 0 };

        test_register(store, "a", 1000);
        keys_put_raw(&slots, 2, keys_data_key(2), uuid);
        calls_left = after;
        failed = !blob_store_start(store, NULL) ||
                 !blob_store_convert(store, keys_data_key(2), &slots, NULL);
        calls_left = TEST_NEVER;
        test_start(store);
        test_write(store, blob_store_find(store, "t", "a"), "content");
        test_expect(store, blob_store_find(store, "t", "a"), "content");
    }
}

static void test_no_key_is_made_without_random_bytes(void)
{
    BlobKeySlots slots = { 0 };
    uint8_t uuid[BLOB_UUID_BYTES] = { 0 };
    g_autoptr(BlobSecret) secret = blob_secret_new("sesame", 6, NULL);
    BlobCredential credential = { .secret = secret };
    GError *error = NULL;

    calls_left = 0;
    g_assert_null(blob_key_new(&error));
    test_assert_error(&error, BLOBSTORE_ERROR_RANDOM, "*no random bytes*");
    g_assert_false(blob_key_slots_put(&slots, 0, keys_data_key(1), uuid,
                                      BLOB_KEY_SLOT_PASSPHRASE, &credential,
                                      1, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_RANDOM, "*no random bytes*");
    g_assert_cmpuint(blob_key_slots_count_used(&slots), ==, 0);
    calls_left = TEST_NEVER;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/random/" #name, test_##name)
    ADD(commit_without_a_nonce_fails_and_changes_nothing);
    ADD(epoch_without_an_id_does_not_begin);
    ADD(store_is_made_and_keyed_with_random_bytes_or_not);
    ADD(no_key_is_made_without_random_bytes);
    return g_test_run();
}
