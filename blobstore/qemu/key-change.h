/*
 * Blobstore in QEMU: a change of the keys of a store, by command or by job
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_KEY_CHANGE_H
#define BLOBSTORE_QEMU_KEY_CHANGE_H

#include "qapi/qapi-types-blobstore.h"
#include "credential.h"
#include "glue.h"

typedef struct BlobStoreKeyChange {
    BlobStoreObject *store;     /* a reference */
    Error *blocker;             /* of migration and snapshots */
    QemuUUID uuid;              /* of the store when the change began */
    BlobKey *key;               /* in @slots; NULL: none */
    BlobKeySlots slots;
    unsigned n;                 /* which of them changes, if only one does */
} BlobStoreKeyChange;

/*
 * Finds the store @id, which must be open and writable, and blocks migration
 * and snapshots until blobstore_key_change_end().
 */
bool blobstore_key_change_begin(BlobStoreKeyChange *change, const char *id,
                                Error **errp);
void blobstore_key_change_end(BlobStoreKeyChange *change);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobStoreKeyChange,
                                 blobstore_key_change_end)

BlobStoreObject *blobstore_key_change_find(const char *id, Error **errp);
bool blobstore_key_change_check_encrypted(const BlobStoreObject *store,
                                          bool wanted, Error **errp);

typedef bool coroutine_fn BlobStoreKeyCall(BlobStoreKeyChange *change,
                                           GError **error);
/*
 * Runs @call with the core locked and the medium as the core believes it to
 * be.  What was interrupted before is completed first.  Fails in a drained
 * section, and if the store is no longer the one that the change is about.
 */
bool coroutine_fn blobstore_key_change_run(BlobStoreKeyChange *change,
                                           BlobStoreKeyCall *call,
                                           Error **errp);

/* Makes @change->slots hold @change->key in slot @change->n. */
bool coroutine_fn blobstore_key_change_put(BlobStoreKeyChange *change,
                                           const BlobStoreKeySource *source,
                                           Error **errp);

/* A key that QMP adds; each member of the union is given in a place. */
BlobStoreKeySource
blobstore_key_change_source(BlobstoreKeyType type,
                            const BlobstoreNewPassphrase *passphrase,
                            const BlobstoreNewRaw *raw,
                            const BlobstoreNewToken *token);

#endif /* BLOBSTORE_QEMU_KEY_CHANGE_H */
