/*
 * Blobstore core: what the files of the store share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_STORE_PRIVATE_H
#define BLOBSTORE_STORE_PRIVATE_H

#include "blobstore/format/slot.h"
#include "store.h"
#include "space.h"

/* How much is sealed with one data key, under random nonces of 96 bits */
#define BLOB_SEALINGS_MAX (UINT64_C(1) << 40)

/* What a blob is to be, once that is acknowledged */
typedef struct BlobPlan {
    BlobEntry entry;
    bool replaces;              /* its content, even if that is damaged */
} BlobPlan;

struct Blob {
    BlobEntry entry;            /* slot_bytes is 0 before it has space */
    BlobPlan *plan;             /* or NULL; see blob_plan() */
    bool registered;
    uint64_t max_size;          /* as registered */
    char *damage;               /* what is wrong with it, or NULL */
    bool unwiped;               /* see wipe.c */
};

/*
 * An epoch, as its record and the commits since then have made it.  The next
 * state is made on the stack, and takes the place of this one when it is
 * acknowledged: nothing has to be put back, and whoever asks while a call
 * waits for storage sees what was acknowledged last.
 */
typedef struct BlobEpoch {
    uint32_t number;
    uint32_t counter;           /* of the last commit in it */
    uint8_t id[BLOB_EPOCH_ID_BYTES];
    bool open;                  /* both directory copies name it */
    bool clean;                 /* they have the clean flag */
    uint64_t acknowledged;      /* sequence */
    GArray *history;            /* of BlobPastEpoch: epochs before it */
    uint8_t census[BLOB_CENSUS_BYTES]; /* of what is acknowledged */
} BlobEpoch;

struct BlobStore {
    BlobMedium medium;
    BlobStoreOptions options;
    bool read_only;
    bool blank;                 /* start is to create the store */
    bool named;                 /* super.uuid is what a blank one becomes */
    bool marked;                /* the creation marker is on the medium */
    bool started;

    BlobGuard *zero_guard;      /* of the superblock */
    BlobGuard *guard;           /* of everything else; NULL while blank */
    BlobGuard *target;          /* which is to take its place; or NULL */
    BlobDigest *voucher;        /* S10: of directories, while converting */
    BlobKey *key;               /* in the key slots; NULL if there are none */
    BlobSuperblock super;
    uint64_t generation;        /* the highest used, even in vain */
    bool super_unknown;         /* a change of the superblock has failed */
    BlobPair super_pair;
    BlobPair directory_pair;
    uint64_t directory_bytes;   /* of its payload */

    BlobEpoch epoch;            /* the present one */
    uint32_t last_epoch;        /* the highest number used, even in vain */
    bool committing;            /* a commit or epoch record is in flight */
    uint64_t sealings;          /* made with this key, at most */
    bool unwiped;               /* a blob is */

    uint64_t capacity;          /* bytes of the medium known to be ours */
    uint64_t next_id;
    GPtrArray *blobs;           /* of Blob: by id, then those without one */
    GHashTable *by_name;        /* "owner/name" -> Blob */
    BlobSpace *space;           /* NULL while blank */
    GPtrArray *warnings;        /* NULL-terminated strings */
    uint64_t commits;
};

static inline bool blob_is_present(const Blob *blob)
{
    return blob->entry.sequence && !(blob->entry.flags & BLOB_FLAG_DELETED);
}

/* store.c */
void blob_store_warn(BlobStore *store, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
Blob *blob_store_add(BlobStore *store, const BlobEntry *entry);
void blob_store_remove(BlobStore *store, Blob *blob);
BlobSlot blob_slot_of(const Blob *blob, unsigned n);

/*
 * What @blob is to be: as it is, for the caller to change.  The next epoch
 * record says so, and adopts it when it is durable.
 */
BlobPlan *blob_plan(Blob *blob);
/* Makes @blob what it was to be, if anything, and updates its @census. */
void blob_adopt_plan(const BlobStore *store, Blob *blob,
                     uint8_t census[BLOB_CENSUS_BYTES]);
void blob_drop_plan(Blob *blob);

/* The census of all blobs, under the present guard */
void blob_store_take_census(BlobStore *store);

/*
 * recover.c: R3 and R6 to R10.  Decides what is current after an unclean
 * close; damaged blobs are marked.  Writes nothing.  Errors: IO, STALE,
 * CORRUPT.
 */
bool blob_recover_store(BlobStore *store, GError **error);

/*
 * epoch.c: R5.  Whether no other commit is in flight.  In QEMU the core waits
 * for storage in a coroutine, where a second call could come in.
 * Errors: BUSY.
 */
bool blob_commit_begin(BlobStore *store, GError **error);
void blob_commit_end(BlobStore *store);

/*
 * epoch.c: commits the directory under a new epoch id (R2), with what blobs
 * are planned to be.  On failure the number is used up, no epoch is open, all
 * else is as it was, plans included, and the call may be repeated.
 * Errors: IO, FULL, EXHAUSTED, BUSY, RANDOM, READ_ONLY (being converted).
 */
bool blob_epoch_record(BlobStore *store, bool clean, GError **error);

/* epoch.c: the same, which also makes @capacity bytes of the medium ours. */
bool blob_epoch_record_capacity(BlobStore *store, uint64_t capacity,
                                GError **error);

/* epoch.c: the same, unless every current version is on record already. */
bool blob_epoch_record_all(BlobStore *store, GError **error);

/* create.c: R13.  Creates an empty store on a blank medium. */
bool blob_create_store(BlobStore *store, GError **error);

/* RFC 9562, version 4.  Errors: RANDOM. */
bool blob_create_uuid(uint8_t uuid[BLOB_UUID_BYTES], GError **error);

/* How large a directory copy is made in a new store */
uint64_t blob_create_directory_slot_bytes(const BlobStore *store);

/*
 * read.c: the stored payload of a blob's current version as it is on the
 * medium, and its header.  Marks the blob damaged if it is not there.
 * Errors: IO, DAMAGED.
 */
bool blob_version_load(BlobStore *store, Blob *blob, BlobHeader *header,
                       GBytes **payload, GError **error);
bool blob_version_fail_damaged(const Blob *blob, GError **error);

/*
 * read.c: notes the digest of the current version for a directory with a
 * voucher.  There is none of a tombstone, nor of a damaged blob that shall be
 * replaced.  Errors: IO, DAMAGED.
 */
bool blob_version_digest(BlobStore *store, Blob *blob, GError **error);

/*
 * read.c: writes the current version of @blob, as it is, to another slot
 * under @guard.  Not durable before a flush.  Of a damaged blob that shall be
 * replaced there is nothing to write.  Errors: IO, DAMAGED, RANDOM.
 */
bool blob_version_copy(BlobStore *store, Blob *blob, const BlobGuard *guard,
                       const BlobSlot *to, GError **error);

#endif /* BLOBSTORE_STORE_PRIVATE_H */
