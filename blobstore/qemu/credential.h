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

/* Whether it can name a key; it need not. */
bool blobstore_credential_source_is_valid(const BlobstoreKeySource *source,
                                          Error **errp);
bool blobstore_credential_source_names_key(const BlobstoreKeySource *source);

/* What a new key slot for it is */
BlobKeySlotType
blobstore_credential_slot_type(const BlobstoreKeySource *source);

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
bool blobstore_credential_load(const BlobstoreKeySource *source,
                               BlobStoreCredential *credential,
                               GError **error);

#endif /* BLOBSTORE_QEMU_CREDENTIAL_H */
