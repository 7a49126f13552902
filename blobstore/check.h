/*
 * Blobstore core: looking at all of a store, and repairing what is safe
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_CHECK_H
#define BLOBSTORE_CHECK_H

#include "store.h"

typedef enum BlobFindingKind {
    /* One of two copies of the superblock is unreadable or older. */
    BLOB_FINDING_SUPERBLOCK_COPY,
    /* A key slot is damaged in both copies; the others open the store. */
    BLOB_FINDING_KEY_SLOT,
    /* One of two copies of the directory is unreadable or older. */
    BLOB_FINDING_DIRECTORY_COPY,
    /* A blob's acknowledged content is gone. */
    BLOB_FINDING_DAMAGED_BLOB,
    /* A slot is newer than the directory: an older one has been restored. */
    BLOB_FINDING_NEWER_SLOT,
    /* An entry without content that nobody has registered takes space. */
    BLOB_FINDING_LEAK,
} BlobFindingKind;

typedef struct BlobFinding {
    BlobFindingKind kind;
    Blob *blob;             /* NULL unless it is about one */
    uint64_t offset;        /* bytes */
    uint64_t bytes;         /* from there on */
    const char *text;       /* what is wrong; valid during the call */
    bool heals;             /* blob_store_start() repairs it */
} BlobFinding;

typedef void BlobCheckReport(const BlobFinding *finding, void *opaque);

/*
 * Reads everything that counts in @store, open but not necessarily started,
 * and reports what is wrong with it: both copies of superblock and directory,
 * the current version of every blob, and the epoch of both of its slots.
 * Damage to superseded content in the other slot is not reported.
 * blob_store_open() has checked that nothing overlaps and, after an unclean
 * close, that slots and census agree; it refuses a store where they do not.
 * Writes nothing.  Like blob_store_read(), it marks the blobs that it finds
 * damaged.  @report is called with a finding that is valid during the call; it
 * must not change the store.
 *
 * Returns false only if the storage fails.  Errors: IO.
 */
bool blob_store_check(BlobStore *store, BlobCheckReport *report, void *opaque,
                      GError **error);

/* What the slots of a damaged blob hold besides the version that is lost */
typedef struct BlobOlder {
    bool found;             /* the others are valid only if this is set */
    uint64_t sequence;
    uint64_t size;          /* bytes of content */
} BlobOlder;

/*
 * Looks for the version that blob_store_fall_back() would make current.  Fills
 * @older; writes nothing.  Errors: IO.
 */
bool blob_store_find_older(BlobStore *store, const Blob *blob,
                           BlobOlder *older, GError **error);

/*
 * Makes the older version of a damaged blob current again, if the other slot
 * still holds it.  This gives up the content that was acknowledged last, and
 * the older version may be of a write that failed.  So call it only if a user
 * has asked for exactly that.  @store is open, not started, not read-only, and
 * @blob not registered.  Durable on return, and the store is started.
 *
 * Errors: INVALID (the blob is not damaged), DAMAGED (there is no older
 * version either), and those of blob_store_start().
 */
bool blob_store_fall_back(BlobStore *store, Blob *blob, GError **error);

/*
 * Deletes a damaged blob, whatever its slots hold: it reads as absent, and its
 * device begins anew.  So call it only if a user has asked for exactly that.
 * @store is open, not read-only, and @blob not registered.  Durable on return,
 * and the store is started.  After a failure the blob is damaged as before,
 * and the call may be repeated.
 *
 * Errors: INVALID (the blob is not damaged), and those of blob_store_start()
 * and blob_store_write().
 */
bool blob_store_give_up(BlobStore *store, Blob *blob, GError **error);

#endif /* BLOBSTORE_CHECK_H */
