/*
 * Blobstore in QEMU: secrets and tokens that open key slots
 *
 * What the emulator and qemu-blobstore share.  It blocks on nothing but the
 * secret objects themselves.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_CREDENTIAL_H
#define BLOBSTORE_QEMU_CREDENTIAL_H

#include "blobstore/crypto/keyslot.h"
#include "qapi/qapi-types-blobstore-object.h"

/* Names a key; strings are borrowed, IDs are of QCryptoSecret objects. */
typedef struct BlobStoreKeySource {
    BlobstoreKeyType type;
    const char *secret;         /* ID; NULL of a token */
    const char *uri;            /* NULL: the one that the key slot names */
    const char *pin_secret;     /* ID; or NULL */
    uint32_t iter_time;         /* milliseconds, of a new passphrase */
} BlobStoreKeySource;

/* The key that opens a store, as its properties name it */
BlobStoreKeySource blobstore_credential_source(const BlobstoreKey *key);
bool blobstore_credential_check_iter_time(uint32_t milliseconds,
                                          Error **errp);

/* What a new key slot for it is */
BlobKeySlotType
blobstore_credential_slot_type(const BlobStoreKeySource *source);

/* A BlobCredential and what it refers to */
typedef struct BlobStoreCredential {
    BlobCredential core;
    BlobSecret *secret;
    BlobSecret *pin;
} BlobStoreCredential;

void blobstore_credential_clear(BlobStoreCredential *credential);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobStoreCredential,
                                 blobstore_credential_clear)

/*
 * Looks the secrets up.  @credential is cleared by the caller, also after a
 * failure, and @source must outlive it.  Main thread.  Errors: KEY,
 * NO_SECURE_MEMORY.
 */
bool blobstore_credential_load(const BlobStoreKeySource *source,
                               BlobStoreCredential *credential,
                               GError **error);

#endif /* BLOBSTORE_QEMU_CREDENTIAL_H */
