/*
 * Unit tests of the core: key slots in memory whose key is in a token
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <string.h>

static const uint8_t uuid[BLOB_UUID_BYTES] = { 0xb1, 0x0b };
static const uint8_t other_uuid[BLOB_UUID_BYTES] = { 0xb1, 0x0c };

/* A token that keeps what it wraps, and that a test can make fail */
typedef struct FakeToken {
    BlobToken parent;
    const char *pin;
    unsigned unwraps;
} FakeToken;

static bool fake_wrap(const BlobToken *token, const char *pin,
                      const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                      BlobKeySlot *slot, GError **error)
{
    slot->mechanism = BLOB_KEY_MECHANISM_AES_KEY_WRAP;
    slot->wrapped_bytes = BLOB_KEY_TOKEN_BYTES;
    memcpy(slot->wrapped, data, BLOB_KEY_TOKEN_BYTES);
    return true;
}

static bool fake_unwrap(const BlobToken *token, const char *pin,
                        const BlobKeySlot *slot,
                        uint8_t data[BLOB_KEY_TOKEN_BYTES], GError **error)
{
    FakeToken *fake = (FakeToken *)token;

    fake->unwraps++;
    if (g_strcmp0(pin, fake->pin)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "the PIN is wrong");
        return false;
    }
    memcpy(data, slot->wrapped, BLOB_KEY_TOKEN_BYTES);
    return true;
}

static BlobKeySlots token_slots(FakeToken *fake)
{
    BlobKeySlots slots = { 0 };
    BlobCredential credential = {
        .token = &fake->parent,
        .pin = fake->pin,
        .uri = "pkcs11:token=a",
    };

    g_assert_true(blob_key_slots_put(&slots, 2, keys_data_key(1), uuid,
                                     BLOB_KEY_SLOT_TOKEN, &credential, 0,
                                     NULL));
    credential.uri = "pkcs11:token=b";
    g_assert_true(blob_key_slots_put(&slots, 3, keys_data_key(1), uuid,
                                     BLOB_KEY_SLOT_TOKEN, &credential, 0,
                                     NULL));
    return slots;
}

/* What a token writes in addition to the right wrapped key */
typedef enum Scribble {
    SCRIBBLE_BEHIND,
    SCRIBBLE_ELSEWHERE,
    SCRIBBLE_HARMLESS,          /* the number of those above */
    SCRIBBLE_TOO_LONG = SCRIBBLE_HARMLESS,
    SCRIBBLE_TOO_SHORT,
    SCRIBBLE_MECHANISM,
    SCRIBBLE_HASH,
    SCRIBBLES,
} Scribble;

static Scribble scribble;

static bool scribbling_wrap(const BlobToken *token, const char *pin,
                            const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                            BlobKeySlot *slot, GError **error)
{
    memset(slot->wrapped, 0xaa, sizeof(slot->wrapped));
    fake_wrap(token, pin, data, slot, NULL);
    switch (scribble) {
    case SCRIBBLE_ELSEWHERE:
        memset(slot->salt, 1, sizeof(slot->salt));
        slot->type = BLOB_KEY_SLOT_RAW;
        slot->kdf_iterations = 1;
        strcpy(slot->uri, "pkcs11:token=z");
        break;
    case SCRIBBLE_TOO_LONG:
        slot->wrapped_bytes = BLOB_KEY_WRAPPED_MAX_BYTES + 1;
        break;
    case SCRIBBLE_TOO_SHORT:
        slot->wrapped_bytes--;
        break;
    case SCRIBBLE_MECHANISM:
        slot->mechanism = 3;
        break;
    case SCRIBBLE_HASH:
        slot->hash = BLOB_KEY_HASH_SHA1;
        break;
    default:
        break;
    }
    return true;
}

/* S4: no key slot is made that could not be read back. */
static void test_token_that_scribbles_harms_nothing(void)
{
    FakeToken fake = { { scribbling_wrap, fake_unwrap }, "1234" };
    BlobCredential credential = {
        .token = &fake.parent,
        .pin = "1234",
        .uri = "pkcs11:token=a",
        .slot = BLOB_KEY_SLOT_ANY,
    };

    for (scribble = 0; scribble < SCRIBBLES; scribble++) {
        BlobKeySlots slots = { 0 };
        BlobKeySlots before = slots;
        g_autoptr(BlobKey) key = NULL;
        GError *error = NULL;

        if (scribble < SCRIBBLE_HARMLESS) {
            g_assert_true(blob_key_slots_put(
                &slots, 2, keys_data_key(1), uuid, BLOB_KEY_SLOT_TOKEN,
                &credential, 0, NULL));
            key = blob_key_slots_unlock(&slots, uuid, &credential, NULL);
            g_assert_nonnull(key);
            g_assert_true(blob_key_equal(key, keys_data_key(1)));
            continue;
        }
        g_assert_false(blob_key_slots_put(
            &slots, 2, keys_data_key(1), uuid, BLOB_KEY_SLOT_TOKEN,
            &credential, 0, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_TOKEN, "*");
        g_assert_cmpmem(&slots, sizeof(slots), &before, sizeof(before));
    }
}

static void test_token_is_asked_once_if_it_refuses(void)
{
    FakeToken fake = { { fake_wrap, fake_unwrap }, "1234" };
    BlobKeySlots slots = token_slots(&fake);
    BlobCredential credential = {
        .token = &fake.parent,
        .pin = "4321",
        .slot = BLOB_KEY_SLOT_ANY,
    };
    g_autoptr(BlobSecret) secret = blob_secret_new("4321", 4, NULL);
    BlobCredential passphrase = { .secret = secret };
    g_autoptr(BlobKey) key = NULL;
    GError *error = NULL;

    g_assert_true(blob_key_slots_put(&slots, 6, keys_data_key(1), uuid,
                                     BLOB_KEY_SLOT_PASSPHRASE, &passphrase, 1,
                                     NULL));
    g_assert_null(blob_key_slots_unlock(&slots, uuid, &credential, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_TOKEN,
                      "key slot 2, pkcs11:token=a: the PIN is wrong");
    g_assert_cmpuint(fake.unwraps, ==, 1);
    credential.pin = "1234";
    key = blob_key_slots_unlock(&slots, uuid, &credential, NULL);
    g_assert_true(blob_key_equal(key, keys_data_key(1)));
    g_assert_cmpuint(fake.unwraps, ==, 2);
}

static void test_only_the_named_token_key_is_used(void)
{
    FakeToken fake = { { fake_wrap, fake_unwrap }, "1234" };
    BlobKeySlots slots = token_slots(&fake);
    BlobCredential credential = {
        .token = &fake.parent,
        .pin = "1234",
        .uri = "pkcs11:token=c",
        .slot = BLOB_KEY_SLOT_ANY,
    };
    GError *error = NULL;

    g_assert_null(blob_key_slots_unlock(&slots, uuid, &credential, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY,
                      "no key slot can be tried*want a token: 2, 3");
    credential.uri = NULL;
    credential.token = NULL;
    g_assert_null(blob_key_slots_unlock(&slots, uuid, &credential, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "no key slot can be*");
    g_assert_cmpuint(fake.unwraps, ==, 0);
}

/*
 * OAEP has no label here, and key wrap has none at all, so the data names its
 * slot.
 */
static void test_what_a_token_unwraps_must_be_of_this_slot(void)
{
    FakeToken fake = { { fake_wrap, fake_unwrap }, "1234" };
    BlobKeySlots slots = token_slots(&fake);
    BlobCredential credential = {
        .token = &fake.parent,
        .pin = "1234",
        .slot = 3,
    };
    GError *error = NULL;

    memcpy(slots.bytes[3], slots.bytes[2], BLOB_KEY_SLOT_BYTES);
    g_assert_null(blob_key_slots_unlock(&slots, uuid, &credential, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY,
                      "key slot 3*of another store or slot");
    credential.slot = 2;
    g_assert_null(blob_key_slots_unlock(&slots, other_uuid, &credential,
                                        &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY,
                      "key slot 2*of another store or slot");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/keyslot-token/" #name, test_##name)
    ADD(token_that_scribbles_harms_nothing);
    ADD(token_is_asked_once_if_it_refuses);
    ADD(only_the_named_token_key_is_used);
    ADD(what_a_token_unwraps_must_be_of_this_slot);
    return g_test_run();
}
