/*
 * Blobstore benchmark: the cost of encryption before the first commit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <string.h>
#include "blobstore/pkcs11/pkcs11.h"
#include "blobstore/store.h"

enum { UNLOCKS = 5 };

static const uint8_t uuid[BLOB_UUID_BYTES] = { 0xbe, 0x4c };

static double unlock_ms(BlobKeySlotType type,
                        const BlobCredential *credential,
                        unsigned milliseconds)
{
    g_autoptr(BlobKey) key = blob_key_new(NULL);
    g_autofree BlobKeySlots *slots = g_new0(BlobKeySlots, 1);
    double samples[UNLOCKS];
    g_autoptr(GError) error = NULL;

    if (!blob_key_slots_put(slots, 0, key, uuid, type, credential,
                            milliseconds, &error)) {
        bench_die("%s", error->message);
    }
    for (unsigned i = 0; i < UNLOCKS; i++) {
        double start = bench_now_us();
        g_autoptr(BlobKey) found = blob_key_slots_unlock(slots, uuid,
                                                         credential, &error);

        if (!found) {
            bench_die("%s", error->message);
        }
        samples[i] = (bench_now_us() - start) / 1e3;
    }
    return bench_quantile(samples, UNLOCKS, 0.5);
}

static double unlock_by_secret_ms(BlobKeySlotType type, const char *text)
{
    g_autoptr(BlobSecret) secret = blob_secret_new(text, strlen(text), NULL);
    BlobCredential credential = {
        .secret = secret,
        .slot = BLOB_KEY_SLOT_ANY,
    };

    return unlock_ms(type, &credential, BLOB_KEY_KDF_MILLISECONDS);
}

void bench_keys(KeyCost *cost)
{
    BlobCredential credential = {
        .token = blob_pkcs11_token(),
        .uri = g_getenv("BENCH_KEY_URI"),
        .pin = g_getenv("BENCH_PIN"),
        .slot = BLOB_KEY_SLOT_ANY,
    };

    cost->raw_ms = unlock_by_secret_ms(BLOB_KEY_SLOT_RAW,
                                       "exactly 32 bytes of a raw secret");
    cost->passphrase_ms = unlock_by_secret_ms(BLOB_KEY_SLOT_PASSPHRASE,
                                              "passphrase");
    cost->token_ms = credential.token && credential.uri
                     ? unlock_ms(BLOB_KEY_SLOT_TOKEN, &credential, 0) : 0;
}

BlobStore *bench_open(BlobStorage *storage, bool sealed, GError **error)
{
    g_autoptr(BlobKey) key = NULL;
    g_autofree BlobKeySlots *slots = g_new0(BlobKeySlots, 1);
    g_autoptr(BlobSecret) secret = NULL;
    BlobCredential credential = { 0 };
    BlobStoreOptions options = { 0 };

    if (!sealed) {
        return blob_store_open(storage, NULL, error);
    }
    key = blob_key_new(error);
    secret = blob_secret_new(NULL, BLOB_KEY_RAW_BYTES, error);
    credential.secret = secret;
    if (!key || !secret ||
        !blob_key_slots_put(slots, 0, key, uuid, BLOB_KEY_SLOT_RAW,
                            &credential, 0, error)) {
        return NULL;
    }
    options.key = key;
    options.key_slots = slots;
    return blob_store_open(storage, &options, error);
}
