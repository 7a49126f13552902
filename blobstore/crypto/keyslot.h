/*
 * Blobstore core: key slots, the ways to the data key of a sealed store
 *
 * A store has eight of them in its superblock.  Each holds the data key,
 * wrapped by something that a user has: a passphrase, a secret of 256 bits,
 * or a key in a token.  These functions work on key slots in
 * memory; blob_store_set_key_slots() writes them to the medium.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_KEYSLOT_H
#define BLOBSTORE_KEYSLOT_H

#include "key.h"
#include "seal.h"

enum {
    BLOB_KEY_SLOTS = 8,
    BLOB_KEY_SLOT_BYTES = 1024,
    BLOB_KEY_SLOT_ANY = -1,
    BLOB_KEY_SALT_BYTES = 32,
    BLOB_KEY_RAW_BYTES = 32,            /* of a raw secret */
    BLOB_KEY_PASSPHRASE_MAX_BYTES = 4096,
    BLOB_KEY_URI_MAX_BYTES = 383,       /* without the NUL */
    BLOB_KEY_WRAPPED_MAX_BYTES = 512,   /* RSA of 4096 bits */
    /* Key, UUID and slot number, which a token wraps together */
    BLOB_KEY_TOKEN_BYTES = BLOB_KEY_BYTES + BLOB_KEY_UUID_BYTES + 8,

    BLOB_KEY_KDF_MEMORY_KIB = 64 << 10,
    BLOB_KEY_KDF_MIN_ITERATIONS = 3,    /* as RFC 9106 wants with 64 MiB */
    /* R15: Argon2id at most, in KiB times iterations, of one key slot, ... */
    BLOB_KEY_WORK_MAX_KIB = 4 << 20,
    /* ... and of all those together that one passphrase is tried on */
    BLOB_KEY_WORK_ALL_KIB = 2 * BLOB_KEY_WORK_MAX_KIB,
    BLOB_KEY_KDF_MILLISECONDS = 1000,
};

typedef enum BlobKeySlotType {
    BLOB_KEY_SLOT_UNUSED = 0,
    BLOB_KEY_SLOT_PASSPHRASE = 1,
    BLOB_KEY_SLOT_RAW = 2,
    BLOB_KEY_SLOT_TOKEN = 3,
} BlobKeySlotType;

/* How a key in a token wraps */
typedef enum BlobKeyMechanism {
    BLOB_KEY_MECHANISM_RSA_OAEP = 1,    /* RFC 8017, no label */
    BLOB_KEY_MECHANISM_AES_KEY_WRAP = 2,/* RFC 3394 */
} BlobKeyMechanism;

/* The hash of OAEP and of its MGF1 */
typedef enum BlobKeyHash {
    BLOB_KEY_HASH_NONE = 0,
    BLOB_KEY_HASH_SHA1 = 1,
    BLOB_KEY_HASH_SHA256 = 2,
} BlobKeyHash;

/* The fields of a key slot; those that its type does not use are zero. */
typedef struct BlobKeySlot {
    BlobKeySlotType type;
    uint32_t kdf_memory_kib;    /* Argon2id (RFC 9106) */
    uint32_t kdf_iterations;
    uint32_t kdf_parallelism;
    uint8_t salt[BLOB_KEY_SALT_BYTES];
    uint8_t nonce[BLOB_NONCE_BYTES];
    uint8_t tag[BLOB_TAG_BYTES];
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];  /* to the wrapping key */
    BlobKeyMechanism mechanism;
    BlobKeyHash hash;
    char uri[BLOB_KEY_URI_MAX_BYTES + 1];   /* RFC 7512; readable by all */
    uint32_t wrapped_bytes;
    uint8_t wrapped[BLOB_KEY_WRAPPED_MAX_BYTES];
} BlobKeySlot;

/* All key slots of a store, as they are on the medium and in a migration */
typedef struct BlobKeySlots {
    uint8_t bytes[BLOB_KEY_SLOTS][BLOB_KEY_SLOT_BYTES];
    bool damaged[BLOB_KEY_SLOTS];   /* not what was written */
} BlobKeySlots;

/*
 * An implementation of keys in tokens.  Both calls may take long, and run in
 * the thread of the caller.  @pin is NULL if there is none.
 */
typedef struct BlobToken BlobToken;
struct BlobToken {
    /*
     * Wraps @data with the key that @slot->uri names; fills mechanism, hash
     * and wrapped bytes of @slot.  Errors: TOKEN, INVALID (the URI),
     * NO_SECURE_MEMORY.
     */
    bool (*wrap)(const BlobToken *token, const char *pin,
                 const uint8_t data[BLOB_KEY_TOKEN_BYTES], BlobKeySlot *slot,
                 GError **error);

    /*
     * Unwraps what wrap() has wrapped.  Both present the PIN at most once.
     * Errors: TOKEN, KEY, INVALID (the URI), NO_SECURE_MEMORY.
     */
    bool (*unwrap)(const BlobToken *token, const char *pin,
                   const BlobKeySlot *slot,
                   uint8_t data[BLOB_KEY_TOKEN_BYTES], GError **error);
};

/* What a user opens a store with; all pointers are borrowed */
typedef struct BlobCredential {
    const BlobSecret *secret;   /* passphrase or raw secret; or NULL */
    const BlobToken *token;     /* or NULL: token slots cannot be used */
    const char *pin;            /* or NULL */
    const char *uri;            /* use no token key but this; or NULL: any */
    int slot;                   /* use only this one; or BLOB_KEY_SLOT_ANY */
} BlobCredential;

/*
 * Returns a new reference to the data key of the store @uuid, from the first
 * of @slots that @credential opens.  Raw secrets are tried first, then tokens,
 * then passphrases, each of which takes the time for which it was made (about
 * a second).  A slot that needs more memory than there is is skipped, and so
 * is one with which all passphrase slots together would cost more than
 * BLOB_KEY_WORK_ALL_KIB: name it in @credential->slot.  A token
 * slot is tried only if no secret is given; if that fails, no other one is
 * tried, because tokens lock.  Any thread may call this.
 *
 * Errors: KEY (none opens; the message says which were tried), TOKEN, INVALID
 * (@credential->slot, or the URI in a slot), NO_SECURE_MEMORY.
 */
BlobKey *blob_key_slots_unlock(const BlobKeySlots *slots,
                               const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                               const BlobCredential *credential,
                               GError **error);

/* The number of the first unused slot, or -1 */
int blob_key_slots_find_unused(const BlobKeySlots *slots);

/* How many are in use, damaged ones included */
unsigned blob_key_slots_count_used(const BlobKeySlots *slots);

/*
 * Wraps @key, of the store @uuid, into slot @n (0 to BLOB_KEY_SLOTS - 1),
 * whatever that held: with @credential->secret as a passphrase, which then
 * takes about @milliseconds of a processor to try, and never fewer than
 * BLOB_KEY_KDF_MIN_ITERATIONS; or as a raw secret of BLOB_KEY_RAW_BYTES, or
 * with the key in a token that @credential->uri names.  Any thread may call
 * this; others that compute meanwhile do not make the slot weaker.
 *
 * Errors: INVALID (secret empty or of a wrong length, URI), TOKEN, RANDOM,
 * NO_SECURE_MEMORY.
 */
bool blob_key_slots_put(BlobKeySlots *slots, unsigned n, const BlobKey *key,
                        const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                        BlobKeySlotType type,
                        const BlobCredential *credential,
                        unsigned milliseconds, GError **error);

/* Empties slot @n.  Errors: INVALID (not in use, or the last one). */
bool blob_key_slots_remove(BlobKeySlots *slots, unsigned n, GError **error);

/* Whether slot @n is in use, be it damaged; false if there is none such. */
bool blob_key_slots_is_used(const BlobKeySlots *slots, unsigned n);

/* Takes slot @n apart.  Returns false if it is damaged or makes no sense. */
bool blob_key_slots_get(const BlobKeySlots *slots, unsigned n,
                        BlobKeySlot *slot);

/*
 * Whether a passphrase is cheaper to guess in @slot than in any that
 * blob_key_slots_put() makes
 */
bool blob_key_slot_is_weak(const BlobKeySlot *slot);

/* "unused", "passphrase", "raw", "token"; static. */
const char *blob_key_slot_type_name(BlobKeySlotType type);

#endif /* BLOBSTORE_KEYSLOT_H */
