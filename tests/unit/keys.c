/*
 * Helpers that the tests of sealed stores share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE             /* memmem() */
#include "keys.h"

#include <string.h>

enum { MAX_KEYS = 8 };

BlobKey *keys_data_key(unsigned n)
{
    static BlobKey *keys[MAX_KEYS];
    uint8_t bytes[BLOB_KEY_BYTES];

    if (!keys[n]) {
        memset(bytes, n, sizeof(bytes));
        keys[n] = blob_key_new_from_bytes(bytes, NULL);
        g_assert_nonnull(keys[n]);
    }
    return keys[n];
}

static BlobSecret *raw_secret(unsigned n)
{
    uint8_t bytes[BLOB_KEY_RAW_BYTES];

    memset(bytes, n, sizeof(bytes));
    return blob_secret_new(bytes, sizeof(bytes), NULL);
}

void keys_put_raw(BlobKeySlots *slots, unsigned n, const BlobKey *key,
                  const uint8_t *uuid)
{
    g_autoptr(BlobSecret) secret = raw_secret(n);
    BlobCredential credential = { .secret = secret };
    g_autoptr(GError) error = NULL;

    blob_key_slots_put(slots, n, key, uuid, BLOB_KEY_SLOT_RAW, &credential, 0,
                       &error);
    g_assert_no_error(error);
}

bool keys_add_slot(BlobStore *store, unsigned n, GError **error)
{
    BlobKeySlots slots;

    blob_store_get_key_slots(store, &slots);
    keys_put_raw(&slots, n, keys_data_key(1), store->super.uuid);
    return blob_store_set_key_slots(store, keys_data_key(1), &slots, error);
}

static bool unlock(const BlobStoreLabel *label, void *opaque, BlobKey **key,
                   GError **error)
{
    g_autoptr(BlobSecret) secret = raw_secret(*(const int *)opaque);
    BlobCredential credential = {
        .secret = secret,
        .slot = BLOB_KEY_SLOT_ANY,
    };

    *key = blob_key_slots_unlock(&label->key_slots, label->uuid, &credential,
                                 error);
    return *key;
}

BlobStore *keys_try_open(TestDisk *disk, int n, GError **error)
{
    BlobStoreOptions options = {
        .unlock = n >= 0 ? unlock : NULL,
        .opaque = &n,
    };

    return blob_store_open(disk->storage, &options, error);
}

BlobStore *keys_open(TestDisk *disk, int n)
{
    g_autoptr(GError) error = NULL;
    BlobStore *store = keys_try_open(disk, n, &error);

    g_assert_no_error(error);
    return store;
}

BlobStore *keys_reopen(BlobStore *store, TestDisk *disk, int n)
{
    blob_store_free(store);
    return keys_open(disk, n);
}

void keys_open_fails(TestDisk *disk, int n, BlobStoreError code,
                     const char *pattern)
{
    GError *error = NULL;

    g_assert_null(keys_try_open(disk, n, &error));
    test_assert_error(&error, code, pattern);
}

BlobStore *keys_store(TestDisk *disk, Blob **blobs, unsigned count)
{
    uint8_t uuid[BLOB_UUID_BYTES];
    BlobKeySlots slots = { 0 };
    BlobStoreOptions options = {
        .uuid = uuid,
        .create_as_uuid = true,
        .key = keys_data_key(1),
        .key_slots = &slots,
    };
    g_autoptr(GError) error = NULL;
    BlobStore *store;

    memset(uuid, 1, sizeof(uuid));
    keys_put_raw(&slots, 1, options.key, uuid);
    store = blob_store_open(disk->storage, &options, &error);
    g_assert_no_error(error);
    test_start_with(store, blobs, count);
    return store;
}

bool keys_disk_contains(TestDisk *disk, const char *text)
{
    return memmem(test_disk_bytes(disk), test_disk_length(disk), text,
                  strlen(text));
}
