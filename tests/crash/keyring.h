/*
 * The keys of stores in histories, and how a medium answers to them
 *
 * Data keys and raw secrets have numbers.  There are few, and they come again:
 * secure memory is small, and what matters is that one differs from the next.
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

/* What a store that is being converted is going to be */
typedef enum KeyTarget {
    KEY_TARGET_NONE,            /* it is not */
    KEY_TARGET_SAME,            /* sealed, or plain, as it says it is */
    KEY_TARGET_PLAIN,
} KeyTarget;

/* What opens a store */
typedef struct KeyState {
    uint8_t data_key;           /* 0: plain, or blank */
    uint8_t secrets;            /* a bit for each that unlocks it */
    uint8_t target;
} KeyState;

bool key_state_equal(const KeyState *a, const KeyState *b);

/* What the next start makes of it */
KeyState key_state_completed(const KeyState *state);

/* The data key @number, borrowed; NULL for 0. */
BlobKey *keyring_key(unsigned number);
unsigned keyring_next_key(unsigned number);

/* Which secrets these key slots of the store @uuid answer to, a bit for each */
unsigned keyring_secrets(const BlobKeySlots *slots, const uint8_t *uuid);

/*
 * Changes @slots, of the store @uuid and what @keys says, and @keys with them:
 * one more secret opens it, or of two the older one does no more.  *@last is
 * the secret that was added last.
 */
void keyring_change(BlobKeySlots *slots, const uint8_t *uuid, KeyState *keys,
                    unsigned *last);

/*
 * Opens a store with the key that one of the secrets unlocks, if it wants one.
 * A blank medium becomes a store of data key @blank_key, behind secret 0, when
 * it is started.  Other options are those of @options.
 */
BlobStore *keyring_open(BlobStorage *storage, const BlobStoreOptions *options,
                        unsigned blank_key, GError **error);

/*
 * What @store says of itself.  Returns false if a secret unlocks a key that it
 * should not.
 */
bool keyring_state(const BlobStore *store, KeyState *state, GError **error);

/* The same of whatever is on @storage */
bool keyring_look(BlobStorage *storage, KeyState *state, GError **error);

#endif /* TESTS_CRASH_KEYRING_H */
