/*
 * The keys of stores in histories, and the answers of a medium to them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keyring.h"

#include <string.h>

enum { UNLOCKED = 8, NO_SUCH_KEY = 0xff };

/*
 * The results of the secrets on some key slots, kept so as to try each secret
 * only once
 */
typedef struct Unlocked {
    BlobKeySlots slots;
    uint8_t uuid[BLOB_UUID_BYTES];
    uint8_t data_key[KEYRING_SECRETS];  /* 0: it unlocks none */
} Unlocked;

bool key_state_equal(const KeyState *a, const KeyState *b)
{
    return a->data_key == b->data_key && a->secrets == b->secrets &&
           a->target == b->target;
}

KeyState key_state_completed(const KeyState *state)
{
    KeyState completed = *state;

    if (state->target == KEY_TARGET_PLAIN) {
        return (KeyState) { 0 };
    }
    completed.target = KEY_TARGET_NONE;
    return completed;
}

BlobKey *keyring_key(unsigned number)
{
    static BlobKey *keys[KEYRING_DATA_KEYS + 1];
    uint8_t bytes[BLOB_KEY_BYTES];

    g_assert(number <= KEYRING_DATA_KEYS);
    if (number && !keys[number]) {
        memset(bytes, number, sizeof(bytes));
        keys[number] = blob_key_new_from_bytes(bytes, NULL);
        g_assert(keys[number]);
    }
    return keys[number];
}

unsigned keyring_next_key(unsigned number)
{
    return number % KEYRING_DATA_KEYS + 1;
}

static const BlobSecret *raw_secret(unsigned number)
{
    static BlobSecret *secrets[KEYRING_SECRETS];
    uint8_t bytes[BLOB_KEY_RAW_BYTES];

    if (!secrets[number]) {
        memset(bytes, 0x80 + number, sizeof(bytes));
        secrets[number] = blob_secret_new(bytes, sizeof(bytes), NULL);
        g_assert(secrets[number]);
    }
    return secrets[number];
}

static void add(BlobKeySlots *slots, const uint8_t *uuid, unsigned data_key,
                unsigned secret)
{
    BlobCredential credential = { .secret = raw_secret(secret) };
    int n = blob_key_slots_find_unused(slots);

    if (n < 0 || !blob_key_slots_put(slots, n, keyring_key(data_key), uuid,
                                     BLOB_KEY_SLOT_RAW, &credential, 0,
                                     NULL)) {
        g_error("secret %u does not fit into the key slots", secret);
    }
}

/*
 * Returns the data key that @secret unlocks, to be released; NULL if there is
 * none.
 */
static BlobKey *unlock(const BlobKeySlots *slots, const uint8_t *uuid,
                       unsigned secret, int slot)
{
    BlobCredential credential = {
        .secret = raw_secret(secret),
        .slot = slot,
    };

    return blob_key_slots_unlock(slots, uuid, &credential, NULL);
}

/* Removes the key slot that @secret unlocks. */
static void remove_secret(BlobKeySlots *slots, const uint8_t *uuid,
                          unsigned secret)
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        g_autoptr(BlobKey) key = unlock(slots, uuid, secret, n);

        if (key) {
            if (!blob_key_slots_remove(slots, n, NULL)) {
                g_error("key slot %u cannot be removed", n);
            }
            return;
        }
    }
    g_error("secret %u unlocks nothing", secret);
}

void keyring_change(BlobKeySlots *slots, const uint8_t *uuid, KeyState *keys,
                    unsigned *last)
{
    if (keys->secrets & (keys->secrets - 1)) {
        unsigned older = g_bit_nth_lsf(keys->secrets & ~(1u << *last), -1);

        remove_secret(slots, uuid, older);
        keys->secrets &= ~(1u << older);
    } else {
        /* The last secret may be absent although the next one exists. */
        do {
            *last = (*last + 1) % KEYRING_SECRETS;
        } while (keys->secrets & 1u << *last);
        add(slots, uuid, keys->data_key, *last);
        keys->secrets |= 1u << *last;
    }
}

static uint8_t number_of(const BlobKey *key)
{
    for (unsigned n = 1; n <= KEYRING_DATA_KEYS; n++) {
        if (blob_key_equal(key, keyring_key(n))) {
            return n;
        }
    }
    return NO_SUCH_KEY;
}

static const Unlocked *try_secrets(const BlobKeySlots *slots,
                                   const uint8_t *uuid)
{
    static Unlocked known[UNLOCKED];
    static unsigned next;
    Unlocked *unlocked;

    for (unsigned i = 0; i < UNLOCKED; i++) {
        if (!memcmp(&known[i].slots, slots, sizeof(*slots)) &&
            !memcmp(known[i].uuid, uuid, BLOB_UUID_BYTES)) {
            return &known[i];
        }
    }
    unlocked = &known[next++ % UNLOCKED];
    unlocked->slots = *slots;
    memcpy(unlocked->uuid, uuid, BLOB_UUID_BYTES);
    for (unsigned n = 0; n < KEYRING_SECRETS; n++) {
        g_autoptr(BlobKey) key = unlock(slots, uuid, n, BLOB_KEY_SLOT_ANY);

        unlocked->data_key[n] = key ? number_of(key) : 0;
    }
    return unlocked;
}

unsigned keyring_secrets(const BlobKeySlots *slots, const uint8_t *uuid)
{
    const Unlocked *unlocked = try_secrets(slots, uuid);
    unsigned secrets = 0;

    for (unsigned n = 0; n < KEYRING_SECRETS; n++) {
        secrets |= unlocked->data_key[n] ? 1u << n : 0;
    }
    return secrets;
}

/* Finds the secrets that open a sealed store with these key slots. */
static bool look(const BlobKeySlots *slots, const uint8_t *uuid,
                 KeyState *state, GError **error)
{
    const Unlocked *unlocked = try_secrets(slots, uuid);

    for (unsigned n = 0; n < KEYRING_SECRETS; n++) {
        uint8_t number = unlocked->data_key[n];

        if (number == NO_SUCH_KEY || (number && state->data_key &&
                                      number != state->data_key)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                        "secret %u unlocks another key than there is", n);
            return false;
        }
        if (number) {
            state->data_key = number;
            state->secrets |= 1u << n;
        }
    }
    if (!state->data_key) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "no secret unlocks the store");
    }
    return state->data_key;
}

static bool unlock_label(const BlobStoreLabel *label, void *opaque,
                         BlobKey **key, GError **error)
{
    KeyState state = { 0 };

    if (!look(&label->key_slots, label->uuid, &state, error)) {
        return false;
    }
    *key = blob_key_ref(keyring_key(state.data_key));
    return true;
}

static bool make(const uint8_t *uuid, void *opaque, BlobKey **key,
                 BlobKeySlots *key_slots, GError **error)
{
    unsigned blank_key = *(const unsigned *)opaque;

    if (blank_key) {
        add(key_slots, uuid, blank_key, 0);
        *key = blob_key_ref(keyring_key(blank_key));
    }
    return true;
}

BlobStore *keyring_open(BlobStorage *storage, const BlobStoreOptions *options,
                        unsigned blank_key, GError **error)
{
    BlobStoreOptions with_key = *options;

    with_key.unlock = unlock_label;
    with_key.make = make;
    with_key.opaque = &blank_key;
    return blob_store_open(storage, &with_key, error);
}

bool keyring_state(const BlobStore *store, KeyState *state, GError **error)
{
    const BlobSuperblock *super = &store->super;

    *state = (KeyState) { 0 };
    if (store->blank) {
        return true;
    }
    if (super->state == BLOB_STATE_CONVERTING &&
        super->conversion == BLOB_CONVERSION_UNSEAL) {
        state->target = KEY_TARGET_PLAIN;
    } else if (super->state != BLOB_STATE_READY) {
        state->target = KEY_TARGET_SAME;
    }
    return !blob_superblock_is_sealed(super) ||
           look(&super->key_slots, super->uuid, state, error);
}

bool keyring_look(BlobStorage *storage, KeyState *state, GError **error)
{
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(BlobStore) store = keyring_open(storage, &options, 0, error);

    return store && keyring_state(store, state, error);
}
