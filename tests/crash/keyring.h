/*
 * The keys of stores in histories, and the answers of a medium to them
 *
 * Data keys and raw secrets have numbers.  They are few, and are used again:
 * secure memory is small, and it only matters that one differs from the next.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_KEYRING_H
#define TESTS_CRASH_KEYRING_H

#include "blobstore/store-private.h"

enum {
    KEYRING_DATA_KEYS = 5,      /* numbers 1 to 5 */
    KEYRING_SECRETS = 4,        /* numbers 0 to 3 */
};

/* The state that a conversion leads to */
typedef enum KeyTarget {
    KEY_TARGET_NONE,            /* no conversion */
    KEY_TARGET_SAME,            /* sealed, or plain, as the store says now */
    KEY_TARGET_PLAIN,
} KeyTarget;

/* The keys that open a store */
typedef struct KeyState {
    uint8_t data_key;           /* 0: plain, or blank */
    uint8_t secrets;            /* a bit for each secret that unlocks it */
    uint8_t target;
} KeyState;

bool key_state_equal(const KeyState *a, const KeyState *b);

/* Returns the state after the next start. */
KeyState key_state_completed(const KeyState *state);

/* Returns the data key @number, borrowed; NULL for 0. */
BlobKey *keyring_key(unsigned number);
unsigned keyring_next_key(unsigned number);

/*
 * Returns the secrets, a bit for each, that unlock these key slots of the
 * store @uuid.
 */
unsigned keyring_secrets(const BlobKeySlots *slots, const uint8_t *uuid);

/*
 * Changes @slots, of the store @uuid in state @keys, and @keys with them: adds
 * a secret that opens the store, or of two removes the older one.  *@last is
 * the secret that was added last.
 */
void keyring_change(BlobKeySlots *slots, const uint8_t *uuid, KeyState *keys,
                    unsigned *last);

/*
 * Opens a store with the key that one of the secrets unlocks, if it needs
 * one.  A blank medium becomes a store of data key @blank_key, behind secret
 * 0, when the store is started.  @options has the other options.
 */
BlobStore *keyring_open(BlobStorage *storage, const BlobStoreOptions *options,
                        unsigned blank_key, GError **error);

/* Finds the state of @store.  Returns false if a secret unlocks a wrong key. */
bool keyring_state(const BlobStore *store, KeyState *state, GError **error);

/* The same for whatever is on @storage */
bool keyring_look(BlobStorage *storage, KeyState *state, GError **error);

#endif /* TESTS_CRASH_KEYRING_H */
