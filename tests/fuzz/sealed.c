/*
 * Sealed stores in fuzz inputs: keys, and sealed data, sealed again or opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "sealed.h"

#include <string.h>
#include "fuzz.h"
#include "blobstore/superblock.h"

enum {
    AT_MEMBER_COUNT = 12,
    AT_EPOCH_ID = 16,
    AT_OFFSET = 64,
    AT_STORED_BYTES = 80,
    AT_RESERVED = 92,
    AT_CENSUS = 96,
    AT_TAG = 112,
    AT_NONCE = 128,
    AT_MEMBERS = 224,
    AT_CHECK = 1248,
    MEMBER_BYTES = 16,
    SUPER_AT_STATE = 4,
    SUPER_AT_FEATURES = 8,
    SUPER_AT_UUID = 32,
    SUPER_AT_CONVERSION = 60,
    SUPER_AT_KEY_SLOT_DIGESTS = 120,
    SUPER_AT_PREVIOUS_NONCE = 376,
    SUPER_AT_PREVIOUS_TAG = 388,
    SUPER_AT_PREVIOUS_KEY = 404,
    SUPER_AT_EPOCH_ID = 436,
    SUPER_AT_KEYED_CHECK = 448,
    SUPER_AT_HEAD_DIGEST = 480,
};

const uint8_t fuzz_uuid[BLOB_UUID_BYTES] = {
    'F', 'U', 'Z', 'Z', 0, 0, 0x40, 0, 0x80,
};

BlobKey *fuzz_key(unsigned n)
{
    static BlobKey *keys[FUZZ_KEYS + 1];

    if (!keys[n]) {
        uint8_t bytes[BLOB_KEY_BYTES];

        memset(bytes, n, sizeof(bytes));
        keys[n] = blob_key_new_from_bytes(bytes, NULL);
        FUZZ_CHECK(keys[n]);
    }
    return keys[n];
}

static const BlobSecret *raw_secret(void)
{
    static BlobSecret *secret;

    if (!secret) {
        static const uint8_t bytes[BLOB_KEY_RAW_BYTES] = "raw";

        secret = blob_secret_new(bytes, sizeof(bytes), NULL);
        FUZZ_CHECK(secret);
    }
    return secret;
}

void fuzz_key_slots(BlobKeySlots *slots, unsigned n)
{
    BlobCredential credential = { .secret = raw_secret() };

    memset(slots, 0, sizeof(*slots));
    FUZZ_CHECK(blob_key_slots_put(slots, 0, fuzz_key(n), fuzz_uuid,
                                  BLOB_KEY_SLOT_RAW, &credential, 0, NULL));
}

static bool token_unwrap(const BlobToken *token, const char *pin,
                         const BlobKeySlot *slot,
                         uint8_t data[BLOB_KEY_TOKEN_BYTES], GError **error)
{
    FUZZ_CHECK(slot->wrapped_bytes >= BLOB_KEY_TOKEN_BYTES);
    memcpy(data, slot->wrapped, BLOB_KEY_TOKEN_BYTES);
    return true;
}

BlobKey *fuzz_unlock(const BlobKeySlots *slots, const uint8_t *uuid)
{
    static const BlobToken token = { .unwrap = token_unwrap };

    for (int n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobCredential credential = { .slot = n };
        g_autoptr(GError) error = NULL;
        BlobKeySlot slot;
        BlobKey *key;

        if (!blob_key_slots_get(slots, n, &slot)) {
            continue;
        }
        if (slot.type == BLOB_KEY_SLOT_RAW) {
            credential.secret = raw_secret();
        } else if (slot.type == BLOB_KEY_SLOT_TOKEN) {
            credential.token = &token;
        } else {
            continue;
        }
        key = blob_key_slots_unlock(slots, uuid, &credential, &error);
        if (fuzz_outcome(key, &error, FUZZ_CODE(KEY)) == FUZZ_OK) {
            return key;
        }
    }
    return NULL;
}

void fuzz_find_key(const BlobStoreLabel *label, BlobStoreOptions *options)
{
    options->key = NULL;
    for (unsigned n = 1; label->sealed && n <= FUZZ_KEYS; n++) {
        if (blob_store_label_fits(label, fuzz_key(n))) {
            options->key = fuzz_key(n);
        }
    }
}

static void make_aad(const BlobGuard *guard, const BlobEntry *entry,
                     const uint8_t *header, uint8_t aad[BLOB_AAD_BYTES])
{
    uint8_t *copy = aad + BLOB_AAD_BYTES - AT_CHECK;
    uint32_t members = MIN(fuzz_get32(header + AT_MEMBER_COUNT),
                           BLOB_MEMBERS_MAX);

    memset(aad, 0, BLOB_AAD_BYTES);
    memcpy(aad, guard->uuid, BLOB_UUID_BYTES);
    if (entry) {
        aad[16] = entry->kind;
        memcpy(aad + 24, entry->owner, sizeof(entry->owner));
        memcpy(aad + 88, entry->name, sizeof(entry->name));
    }
    memcpy(copy, header, AT_CHECK);
    memset(copy + AT_OFFSET, 0, 8);
    memset(copy + AT_RESERVED, 0, 4);
    memset(copy + AT_TAG, 0, AT_MEMBERS - AT_TAG);
    memset(copy + AT_MEMBERS + members * MEMBER_BYTES, 0,
           (BLOB_MEMBERS_MAX - members) * MEMBER_BYTES);
}

void fuzz_census_mask(const BlobGuard *guard, uint8_t *header)
{
    enum { NUMBERS_BYTES = 32 };        /* epoch id, id, sequence */
    uint8_t input[NUMBERS_BYTES + BLOB_DIGEST_BYTES];
    uint8_t mask[BLOB_DIGEST_BYTES];

    memcpy(input, header + AT_EPOCH_ID, NUMBERS_BYTES);
    memcpy(input + NUMBERS_BYTES, header + AT_TAG, BLOB_DIGEST_BYTES);
    blob_digest_check(guard->mask, input, sizeof(input), mask);
    for (unsigned i = 0; i < BLOB_CENSUS_BYTES; i++) {
        header[AT_CENSUS + i] ^= mask[i];
    }
}

void fuzz_payload_seal(const BlobGuard *guard, const BlobEntry *entry,
                       uint8_t *header)
{
    uint8_t aad[BLOB_AAD_BYTES];
    uint8_t nonce[BLOB_NONCE_BYTES];

    make_aad(guard, entry, header, aad);
    fuzz_next_random(header + AT_NONCE, BLOB_NONCE_BYTES);
    FUZZ_CHECK(blob_seal_encrypt(guard->seal, aad, sizeof(aad),
                                 header + BLOB_HEADER_BYTES,
                                 fuzz_get64(header + AT_STORED_BYTES), nonce,
                                 header + AT_TAG, NULL));
    fuzz_census_mask(guard, header);
}

bool fuzz_payload_unseal(const BlobGuard *guard, const BlobEntry *entry,
                         uint8_t *header)
{
    uint8_t aad[BLOB_AAD_BYTES];
    uint64_t bytes = fuzz_get64(header + AT_STORED_BYTES);
    g_autofree uint8_t *payload = g_memdup2(header + BLOB_HEADER_BYTES,
                                            bytes);

    fuzz_census_mask(guard, header);
    make_aad(guard, entry, header, aad);
    if (!blob_seal_decrypt(guard->seal, aad, sizeof(aad), payload, bytes,
                           header + AT_NONCE, header + AT_TAG)) {
        fuzz_census_mask(guard, header);
        return false;
    }
    if (bytes) {
        memcpy(header + BLOB_HEADER_BYTES, payload, bytes);
    }
    memset(header + AT_TAG, 0, BLOB_TAG_BYTES);
    return true;
}

static bool is_sealed(const uint8_t *payload)
{
    return fuzz_get64(payload + SUPER_AT_FEATURES) & BLOB_FEATURE_SEALED;
}

static bool is_rekeyed(const uint8_t *payload)
{
    return is_sealed(payload) &&
           fuzz_get32(payload + SUPER_AT_STATE) == BLOB_STATE_CONVERTING &&
           fuzz_get32(payload + SUPER_AT_CONVERSION) == BLOB_CONVERSION_REKEY;
}

static void wrap_previous_key(uint8_t *payload)
{
    const uint8_t *uuid = payload + SUPER_AT_UUID;
    g_autoptr(BlobSeal) seal =
        blob_key_new_seal(fuzz_key(1), BLOB_KEY_FOR_PREVIOUS_KEY, uuid, NULL);
    uint8_t nonce[BLOB_NONCE_BYTES];

    memcpy(payload + SUPER_AT_PREVIOUS_KEY, blob_key_bytes(fuzz_key(2)),
           BLOB_KEY_BYTES);
    fuzz_next_random(payload + SUPER_AT_PREVIOUS_NONCE, BLOB_NONCE_BYTES);
    FUZZ_CHECK(blob_seal_encrypt(seal, uuid, BLOB_UUID_BYTES,
                                 payload + SUPER_AT_PREVIOUS_KEY,
                                 BLOB_KEY_BYTES, nonce,
                                 payload + SUPER_AT_PREVIOUS_TAG, NULL));
}

static void digest_key_slots(uint8_t *payload)
{
    static const uint8_t zero[BLOB_KEY_SLOT_BYTES];

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        const uint8_t *slot = payload + BLOB_SUPERBLOCK_HEAD_BYTES +
                              n * BLOB_KEY_SLOT_BYTES;
        uint8_t *digest = payload + SUPER_AT_KEY_SLOT_DIGESTS +
                          n * BLOB_DIGEST_BYTES;

        memset(digest, 0, BLOB_DIGEST_BYTES);
        if (memcmp(slot, zero, sizeof(zero))) {
            blob_digest_sha256(slot, BLOB_KEY_SLOT_BYTES, digest);
        }
    }
}

void fuzz_superblock_finish(uint8_t *payload, const uint8_t *epoch_id)
{
    memcpy(payload + SUPER_AT_EPOCH_ID, epoch_id, BLOB_LINK_BYTES);
    digest_key_slots(payload);
    if (is_rekeyed(payload)) {
        wrap_previous_key(payload);
    }
    if (is_sealed(payload)) {
        g_autoptr(BlobDigest) keyed =
            blob_key_new_digest(fuzz_key(1), BLOB_KEY_FOR_SUPERBLOCK,
                                payload + SUPER_AT_UUID, NULL);

        blob_digest_check(keyed, payload, SUPER_AT_KEYED_CHECK,
                          payload + SUPER_AT_KEYED_CHECK);
    }
    if (fuzz_get32(payload + SUPER_AT_STATE) != BLOB_STATE_CREATING) {
        blob_digest_sha256(payload, SUPER_AT_HEAD_DIGEST,
                           payload + SUPER_AT_HEAD_DIGEST);
    }
}

void fuzz_superblock_strip(uint8_t *payload)
{
    memset(payload + SUPER_AT_KEY_SLOT_DIGESTS, 0,
           SUPER_AT_PREVIOUS_NONCE - SUPER_AT_KEY_SLOT_DIGESTS);
    if (is_rekeyed(payload)) {
        memset(payload + SUPER_AT_PREVIOUS_TAG, 0,
               SUPER_AT_EPOCH_ID - SUPER_AT_PREVIOUS_TAG);
    }
    if (is_sealed(payload)) {
        memset(payload + SUPER_AT_KEYED_CHECK, 0, BLOB_DIGEST_BYTES);
    }
    memset(payload + SUPER_AT_HEAD_DIGEST, 0, BLOB_DIGEST_BYTES);
}
