/*
 * Makes every store of a test a sealed one
 *
 * Linked into a test with -Wl,--wrap=blob_store_open, this file gives a key to
 * every store that the test opens without keys of its own.  The same must hold
 * for plain and for sealed stores.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "sealed.h"

#include <string.h>

BlobStore *__real_blob_store_open(BlobStorage *storage,
                                  const BlobStoreOptions *options,
                                  GError **error);
BlobStore *__wrap_blob_store_open(BlobStorage *storage,
                                  const BlobStoreOptions *options,
                                  GError **error);

BlobKey *sealed_key(void)
{
    static BlobKey *key;

    if (!key) {
        uint8_t bytes[BLOB_KEY_BYTES];

        memset(bytes, 1, sizeof(bytes));    /* as keyring_key(1) */
        key = blob_key_new_from_bytes(bytes, NULL);
        g_assert_nonnull(key);
    }
    return key;
}

const BlobKeySlots *sealed_key_slots(void)
{
    static BlobKeySlots slots;
    static bool done;

    if (!done) {
        static const uint8_t raw[BLOB_KEY_RAW_BYTES] = { 'r', 'a', 'w' };
        static const uint8_t uuid[BLOB_UUID_BYTES];
        g_autoptr(BlobSecret) secret = blob_secret_new(raw, sizeof(raw),
                                                       NULL);
        BlobCredential credential = { .secret = secret };

        done = blob_key_slots_put(&slots, 0, sealed_key(), uuid,
                                  BLOB_KEY_SLOT_RAW, &credential, 0, NULL);
        g_assert_true(done);
    }
    return &slots;
}

BlobStore *__wrap_blob_store_open(BlobStorage *storage,
                                  const BlobStoreOptions *options,
                                  GError **error)
{
    BlobStoreOptions sealed = options ? *options : (BlobStoreOptions) { 0 };

    if (!sealed.key && !sealed.unlock && !sealed.make) {
        sealed.key = sealed_key();
        sealed.key_slots = sealed_key_slots();
    }
    return __real_blob_store_open(storage, &sealed, error);
}
