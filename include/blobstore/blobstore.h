/*
 * Blobstore: what a device needs
 *
 * A device keeps state that must not be lost as a few named blobs:
 *
 *     client = blobstore_attach("nvram", "tpm", errp);
 *     blob = blobstore_register_blob(client, "permanent",
 *                                    BLOBSTORE_PERMANENT, 512 * KiB, errp);
 *     blobstore_start(client, errp);
 *     blobstore_read_blob(blob, &content, NULL, errp);
 *     blobstore_write_blob(blob, data, size, NULL, errp);
 *     blobstore_detach(client);
 *
 * Threads: attach, register, start and detach belong to the main thread and
 * hold the BQL.  Read, write and delete may be called from the main thread
 * with the BQL, from a worker thread without it, and from a coroutine in the
 * main thread.  Calls of one client are not made concurrently.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_BLOBSTORE_H
#define BLOBSTORE_BLOBSTORE_H

#include "qom/object.h"

#define TYPE_BLOBSTORE "blobstore"

typedef struct BlobStoreClient BlobStoreClient;
typedef struct BlobStoreBlob BlobStoreBlob;

typedef enum BlobStoreKind {
    /* On the medium, durable when a write returns. */
    BLOBSTORE_PERMANENT,
    /* The same; the device deletes it when it has consumed it. */
    BLOBSTORE_SAVESTATE,
    /* Never on the medium: in RAM, and in the migration stream. */
    BLOBSTORE_VOLATILE,
} BlobStoreKind;

/* Limits of one store */
#define BLOBSTORE_NAME_MAX_BYTES     63
#define BLOBSTORE_METADATA_MAX_BYTES 1024
#define BLOBSTORE_MAX_BLOB_BYTES     (64 * 1024 * 1024)
#define BLOBSTORE_MAX_BLOBS_PER_WRITE 64

/**
 * blobstore_attach:
 * @store: the id of an -object blobstore, or a drive id or node-name, for
 *         which a store with default options is made and shared by all
 *         devices that name it
 * @owner: under which name the device's blobs are filed; 1 to 63 bytes of
 *         printable ASCII without space or '/'.  It must be the same at every
 *         start of the VM, so it never depends on the order of creation.
 * @errp: pointer to a NULL-initialized error object
 *
 * Opens the store if it is not open yet.  Writes nothing.
 *
 * Returns: the device's handle, owned by the caller; NULL on failure (no
 * such store, medium unusable or in use, @owner attached already), or while
 * the drive is drained.
 */
BlobStoreClient *blobstore_attach(const char *store, const char *owner,
                                  Error **errp);

/**
 * blobstore_register_blob:
 * @client: the device's handle
 * @name: 1 to 63 bytes of printable ASCII without space or '/'
 * @kind: where the blob lives
 * @max_size: bytes of content that it can grow to, 1 to
 *            BLOBSTORE_MAX_BLOB_BYTES; may be larger than at the last start
 *            of the VM
 * @errp: pointer to a NULL-initialized error object
 *
 * Announces a blob.  To be called before blobstore_start().  Writes nothing.
 *
 * Returns: the blob, owned by @client; NULL on failure (bad name or size,
 * registered already, on the medium as another kind or larger than
 * @max_size), or while the drive is drained.
 */
BlobStoreBlob *blobstore_register_blob(BlobStoreClient *client,
                                       const char *name, BlobStoreKind kind,
                                       uint64_t max_size, Error **errp);

/* What a device does when the state of the VM is saved and loaded */
typedef struct BlobStoreClientOps {
    /*
     * The device is about to start: its blobs have been read, and nothing has
     * been written yet.  The device reads them and says whether it can use
     * them; it writes nothing.  A failure fails blobstore_start().  Not
     * called in a VM that waits for a migration.  May be NULL.
     */
    bool (*check)(void *opaque, Error **errp);

    /*
     * The VM has stopped and its state is about to be saved: the device
     * finishes what it is doing and writes its volatile blobs.  They, and all
     * others, are saved next; then the vmstate of devices.  May be NULL.
     */
    bool (*save)(void *opaque, Error **errp);

    /*
     * A stream begins to come in, and its source, which may still run, has
     * @blob with @metadata (NULL-terminated, "key=value", at least one): the
     * device says whether it can use a blob that has them.  Nothing has been
     * loaded.  If the store is not encrypted anybody may have written them.
     * They may change until BlobStoreClientOps.load is called.  A failure
     * fails the load.  May be NULL.
     */
    bool (*accepts)(void *opaque, const BlobStoreBlob *blob, char **metadata,
                    Error **errp);

    /*
     * All blobs have been loaded: the device reads them.  Its own vmstate
     * comes later.  What it writes is kept in RAM until the VM starts.  A
     * failure fails the load.  May be NULL.
     */
    bool (*load)(void *opaque, Error **errp);
} BlobStoreClientOps;

/**
 * blobstore_set_ops:
 * @client: the device's handle
 * @ops: must stay valid until blobstore_detach()
 * @opaque: for the calls, which are made in the main thread with the BQL,
 *          perhaps in a coroutine
 */
void blobstore_set_ops(BlobStoreClient *client, const BlobStoreClientOps *ops,
                       void *opaque);

/**
 * blobstore_set_device:
 * @client: the device's handle
 * @dev: the device
 *
 * Shows the drive of the store as that of @dev: in query-block,
 * query-blockstats and events.  Several calls are as one.  Of several devices
 * that share a store the first one is shown; it must not go before the last
 * one has called blobstore_detach().
 */
void blobstore_set_device(BlobStoreClient *client, DeviceState *dev);

/**
 * blobstore_start:
 * @client: the device's handle
 * @errp: pointer to a NULL-initialized error object
 *
 * Reconciles what is registered with what is on the medium: loads and
 * verifies every registered blob, asks BlobStoreClientOps.check, then finds
 * space for what is new or has grown, formatting a blank medium first.
 * Nothing is written if a blob cannot be read, or the device cannot use it.
 * A device calls this when the machine is complete (see blobstore/machine.h),
 * or when it is realized if the machine is.  A failure keeps the VM from
 * starting.
 *
 * In a VM that waits for an incoming migration it does nothing of this: every
 * blob is absent until BlobStoreClientOps.load is called, and the medium is
 * brought up to date when the VM starts.
 *
 * Returns: true on success; false on failure (medium too small, damaged
 * blob, I/O error), or while the drive is drained.
 */
bool blobstore_start(BlobStoreClient *client, Error **errp);

/**
 * blobstore_read_blob:
 * @blob: the blob
 * @content: becomes its content, to be released with g_bytes_unref(), or
 *           NULL if it is absent: never written, or deleted
 * @metadata: NULL, or becomes a NULL-terminated array of "key=value", to be
 *            freed with g_strfreev(); never NULL on success
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns the content last written.  Served from RAM: never waits, and works
 * in a drained section too.
 *
 * Returns: true on success, also when the store has failed since: what was
 * accepted is in RAM.  Should a failure be returned one day, it does not mean
 * that the blob is absent.
 */
bool blobstore_read_blob(BlobStoreBlob *blob, GBytes **content,
                         char ***metadata, Error **errp);

/* One blob's part of blobstore_write_blobs() */
typedef struct BlobStoreChange {
    BlobStoreBlob *blob;
    GBytes *content;             /* borrowed; NULL deletes the blob */
    const char *const *metadata; /* NULL-terminated "key=value", or NULL */
} BlobStoreChange;

/**
 * blobstore_write_blobs:
 * @client: the device's handle
 * @changes: what to write or delete; different blobs of @client
 * @count: 1 to BLOBSTORE_MAX_BLOBS_PER_WRITE
 * @errp: pointer to a NULL-initialized error object
 *
 * Writes several blobs, all or nothing.  Permanent and savestate blobs are
 * durable on return.  While the medium cannot be written for reasons that
 * are not errors (incoming migration, a drained section), the content is
 * kept in RAM, the store counts as dirty, and it is written as soon as that
 * is possible.
 *
 * Returns: true on success; false on failure, which leaves every blob with
 * its old content: the call may be repeated.
 */
bool blobstore_write_blobs(BlobStoreClient *client,
                           const BlobStoreChange *changes, size_t count,
                           Error **errp);

/**
 * blobstore_write_blob: writes one blob; see blobstore_write_blobs()
 * @blob: the blob
 * @data: its new content, copied
 * @size: bytes, 0 to the registered maximum
 * @metadata: NULL-terminated "key=value", or NULL
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: true on success; false on failure, with nothing changed.
 */
bool blobstore_write_blob(BlobStoreBlob *blob, const void *data, size_t size,
                          const char *const *metadata, Error **errp);

/**
 * blobstore_delete_blob: deletes one blob; see blobstore_write_blobs()
 * @blob: the blob; deleting an absent one does nothing
 * @errp: pointer to a NULL-initialized error object
 *
 * Returns: true on success; false on failure, with nothing changed.
 */
bool blobstore_delete_blob(BlobStoreBlob *blob, Error **errp);

/**
 * blobstore_detach:
 * @client: the device's handle, or NULL
 *
 * Gives the handle and its blobs back.  What was written stays, unless it
 * cannot be written any more: that is reported.  An implicit store goes with
 * its last client.
 */
void blobstore_detach(BlobStoreClient *client);

#endif /* BLOBSTORE_BLOBSTORE_H */
