/*
 * Blobstore core: the data key of a sealed store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "key.h"

#include <string.h>

struct BlobKey {
    gint refs;
    BlobSecret *secret;
    BlobDigest *digest;         /* seeded with it */
};

enum { LABEL_BYTES = 16 };

/* Of equal length, so that none can run into the UUID */
static const char labels[][LABEL_BYTES] = {
    [BLOB_KEY_FOR_CHECKS] = "check",
    [BLOB_KEY_FOR_CENSUS_MASKS] = "census mask",
    [BLOB_KEY_FOR_PAYLOADS] = "payload",
    [BLOB_KEY_FOR_SUPERBLOCK] = "superblock",
    [BLOB_KEY_FOR_PREVIOUS_KEY] = "previous key",
    [BLOB_KEY_FOR_VOUCHERS] = "voucher",
    [BLOB_KEY_FOR_STREAM] = "stream",
};
static const char commitment_label[LABEL_BYTES] = "commitment";

BlobKey *blob_key_new_from_bytes(const uint8_t bytes[BLOB_KEY_BYTES],
                                 GError **error)
{
    g_autoptr(BlobSecret) secret = blob_secret_new(bytes, BLOB_KEY_BYTES,
                                                   error);
    BlobDigest *digest;
    BlobKey *key;

    if (!secret) {
        return NULL;
    }
    digest = blob_digest_new_secret(bytes, error);
    if (!digest) {
        return NULL;
    }
    key = g_new0(BlobKey, 1);
    key->refs = 1;
    key->secret = g_steal_pointer(&secret);
    key->digest = digest;
    return key;
}

BlobKey *blob_key_new(GError **error)
{
    g_autoptr(BlobSecret) random = blob_secret_new(NULL, BLOB_KEY_BYTES,
                                                   error);

    if (!random || !blob_digest_random(random->data, random->bytes, error)) {
        return NULL;
    }
    return blob_key_new_from_bytes(random->data, error);
}

BlobKey *blob_key_ref(BlobKey *key)
{
    g_atomic_int_inc(&key->refs);
    return key;
}

void blob_key_unref(BlobKey *key)
{
    if (key && g_atomic_int_dec_and_test(&key->refs)) {
        blob_digest_free(key->digest);
        blob_secret_free(key->secret);
        g_free(key);
    }
}

const uint8_t *blob_key_bytes(const BlobKey *key)
{
    return key->secret->data;
}

bool blob_key_equal(const BlobKey *a, const BlobKey *b)
{
    return blob_digest_equal(a->secret->data, b->secret->data,
                             BLOB_KEY_BYTES);
}

static void derive(const BlobKey *key, const char label[LABEL_BYTES],
                   const uint8_t uuid[BLOB_KEY_UUID_BYTES], uint8_t *out)
{
    uint8_t input[LABEL_BYTES + BLOB_KEY_UUID_BYTES];

    memcpy(input, label, LABEL_BYTES);
    memcpy(input + LABEL_BYTES, uuid, BLOB_KEY_UUID_BYTES);
    blob_digest_check(key->digest, input, sizeof(input), out);
}

BlobSecret *blob_key_derive(const BlobKey *key, BlobKeyPurpose purpose,
                            const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                            GError **error)
{
    BlobSecret *derived = blob_secret_new(NULL, BLOB_DIGEST_BYTES, error);

    if (derived) {
        derive(key, labels[purpose], uuid, derived->data);
    }
    return derived;
}

BlobDigest *blob_key_new_digest(const BlobKey *key, BlobKeyPurpose purpose,
                                const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                GError **error)
{
    g_autoptr(BlobSecret) seed = blob_key_derive(key, purpose, uuid, error);

    return seed ? blob_digest_new_secret(seed->data, error) : NULL;
}

BlobSeal *blob_key_new_seal(const BlobKey *key, BlobKeyPurpose purpose,
                            const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                            GError **error)
{
    g_autoptr(BlobSecret) secret = blob_key_derive(key, purpose, uuid, error);

    return secret ? blob_seal_new(secret->data, error) : NULL;
}

void blob_key_commit(const BlobKey *key,
                     const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                     uint8_t out[BLOB_KEY_COMMITMENT_BYTES])
{
    derive(key, commitment_label, uuid, out);
}
