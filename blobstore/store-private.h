/*
 * Blobstore core: what the files of the store share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_STORE_PRIVATE_H
#define BLOBSTORE_STORE_PRIVATE_H

#include "slot.h"
#include "space.h"

struct Blob {
    BlobEntry entry;            /* slot_bytes is 0 before it has space */
    bool registered;
    uint64_t max_size;          /* as registered */
    char *damage;               /* what is wrong with it, or NULL */
};

struct BlobStore {
    BlobMedium medium;
    BlobStoreOptions options;
    char *uuid;                 /* owned copy of options.uuid */
    bool read_only;
    bool blank;                 /* to be formatted by start */
    bool marked;                /* the format marker is on the medium */
    bool started;

    BlobDigest *zero_seed;      /* for the superblock */
    BlobDigest *digest;         /* for everything else; NULL while blank */
    BlobSuperblock super;
    BlobPair super_pair;
    BlobPair directory_pair;

    uint32_t epoch;             /* the highest number used, even in vain */
    uint32_t counter;           /* of the last slot written in this epoch */
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    bool epoch_open;            /* both directory copies name this epoch */
    bool clean;                 /* they have the clean flag */
    bool committing;            /* a commit or epoch record is in flight */
    uint64_t acknowledged;      /* sequence */
    uint8_t census[BLOB_CENSUS_BYTES]; /* of what is acknowledged */

    uint64_t capacity;          /* bytes of the medium known to be ours */
    uint64_t next_id;
    GPtrArray *blobs;           /* of Blob: by id, then those without one */
    GHashTable *by_name;        /* "owner/name" -> Blob */
    BlobSpace *space;           /* NULL while blank */
    GPtrArray *warnings;        /* NULL-terminated strings */
    uint64_t commits;
};

/* store.c */
void blob_store_warn(BlobStore *store, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
Blob *blob_store_add(BlobStore *store, const BlobEntry *entry);
void blob_store_remove(BlobStore *store, Blob *blob);
BlobSlot blob_slot_of(const Blob *blob, unsigned n);

/*
 * recover.c: R3 and R6 to R10.  Decides what is current after an unclean
 * close; damaged blobs are marked.  Writes nothing.  Errors: IO, STALE,
 * CORRUPT.
 */
bool blob_recover(BlobStore *store, GError **error);

/*
 * epoch.c: R5.  Whether no other commit is in flight.  In QEMU the core waits
 * for storage in a coroutine, where a second call could come in.
 * Errors: BUSY.
 */
bool blob_commit_begin(BlobStore *store, GError **error);
void blob_commit_end(BlobStore *store);

/*
 * epoch.c: commits the directory under a new epoch id (R2).  On failure the
 * number is used up, no epoch is open, and the call may be repeated.
 * Errors: IO, FULL, EXHAUSTED, BUSY.
 */
bool blob_epoch_record(BlobStore *store, bool clean, GError **error);

/* format.c: R13.  Makes an empty store on a blank medium. */
bool blob_format(BlobStore *store, GError **error);
/* Writes both copies of store->super. */
bool blob_superblock_write(BlobStore *store, GError **error);

/* How large a directory copy is made in a new store */
uint64_t blob_format_directory_slot_bytes(const BlobStore *store);

/*
 * content.c: the stored payload of a blob's current version as it is on the
 * medium, and its header.  Marks the blob damaged if it is not there.
 * Errors: IO, DAMAGED.
 */
bool blob_content_load(BlobStore *store, Blob *blob, BlobHeader *header,
                       GBytes **payload, GError **error);
bool blob_fail_damaged(const Blob *blob, GError **error);

#endif /* BLOBSTORE_STORE_PRIVATE_H */
