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

/* S9: how many sealings one data key allows, with random nonces of 96 bits */
#define BLOB_SEALINGS_MAX (UINT64_C(1) << 40)

/* What a blob becomes when it is acknowledged */
typedef struct BlobPlan {
    BlobEntry entry;
    bool replaces;              /* its content, even if that is damaged */
} BlobPlan;

/* What recovery has found in a slot */
typedef struct BlobSeen {
    uint64_t recorded;          /* sequence that it looked for; 0: none */
    uint64_t highest;           /* sequence of any intact header or trailer */
    bool complete;
} BlobSeen;

struct Blob {
    BlobEntry entry;            /* slot_bytes is 0 before it has space */
    BlobPlan *plan;             /* or NULL; see blob_plan() */
    bool registered;
    uint64_t max_size;          /* as registered */
    char *damage;               /* what is wrong with it, or NULL */
    bool unwiped;               /* see wipe.c */
    BlobSeen seen[2];           /* in its slots, when recovery looked */
};

/*
 * The state of an epoch after its record and the commits since then.  The next
 * state is built on the stack and assigned when it is acknowledged.  So
 * nothing is patched back after a failure, and a query that is made while a
 * call waits for storage sees what was acknowledged last.
 */
typedef struct BlobEpoch {
    uint32_t number;
    uint32_t counter;           /* of the last commit in it */
    uint8_t id[BLOB_EPOCH_ID_BYTES];
    bool open;                  /* both directory copies name it */
    bool clean;                 /* they have the clean flag */
    bool own;                   /* this process has recorded it */
    uint64_t acknowledged;      /* sequence */
    GArray *history;            /* of BlobPastEpoch: epochs before it */
    uint8_t census[BLOB_CENSUS_BYTES]; /* of what is acknowledged */
} BlobEpoch;

struct BlobStore {
    BlobMedium medium;
    BlobStoreOptions options;
    bool read_only;
    bool blank;                 /* start is to create the store */
    bool named;                 /* super.uuid is that of the store to be made */
    bool marked;                /* the creation marker is on the medium */
    bool started;

    BlobGuard *zero_guard;      /* of the superblock */
    BlobGuard *guard;           /* of everything else; NULL while blank */
    BlobGuard *target;          /* replaces it during a conversion; or NULL */
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
    char *taken;                /* why it is another process's; NULL: it is not */
    bool committing;            /* a commit or epoch record is in flight */
    uint64_t sealings;          /* made with this key, at most */
    bool unwiped;               /* a blob is */
    uint64_t wiped;             /* bytes: so far a conversion has zeroed */

    uint64_t capacity;          /* bytes of the medium known to be ours */
    uint64_t next_id;
    GPtrArray *blobs;           /* of Blob: by id, then those without one */
    GTree *by_name;             /* &entry -> Blob, by owner and name */
    BlobSpace *space;           /* NULL while blank */
    GPtrArray *warnings;        /* NULL-terminated strings */
    uint64_t commits;
};

static inline bool blob_is_present(const Blob *blob)
{
    return blob->entry.sequence && !(blob->entry.flags & BLOB_FLAG_DELETED);
}

/*
 * Makes the version with @header, in slot @slot, the current one of @entry.
 * Its digest is left to the caller: each has it from another place.
 */
static inline void blob_entry_set_version(BlobEntry *entry,
                                          const BlobHeader *header,
                                          unsigned slot)
{
    entry->sequence = header->sequence;
    entry->raw_bytes = header->raw_bytes;
    entry->stored_bytes = header->stored_bytes;
    entry->metadata_bytes = header->metadata_bytes;
    entry->flags = header->flags;
    entry->slot = slot;
}

/* Whether @entry says of its version what @header does, but for the digest */
static inline bool blob_entry_describes(const BlobEntry *entry,
                                        const BlobHeader *header)
{
    return entry->flags == header->flags &&
           entry->raw_bytes == header->raw_bytes &&
           entry->stored_bytes == header->stored_bytes &&
           entry->metadata_bytes == header->metadata_bytes;
}

/* store.c: adds a text to what blob_store_warnings() returns. */
void blob_store_warn(BlobStore *store, const char *format, ...)
    G_GNUC_PRINTF(2, 3);
/* Marks @blob damaged, whatever it was; takes ownership of @text. */
void blob_store_damage(Blob *blob, char *text);
/* Returns false.  Errors: TOO_SMALL. */
bool blob_store_fail_too_small(uint64_t required, uint64_t length,
                               GError **error);
/* Returns false.  Errors: READ_ONLY. */
bool blob_store_fail_converting(GError **error);
/* Whether the store may be started, and whether it is.  Errors: READ_ONLY. */
bool blob_store_require_writable(const BlobStore *store, GError **error);
bool blob_store_require_started(const BlobStore *store, GError **error);
/* Adds a blob with a copy of @entry; it belongs to the store. */
Blob *blob_store_add(BlobStore *store, const BlobEntry *entry);
/* Frees @blob and forgets its name. */
void blob_store_remove(BlobStore *store, Blob *blob);
/*
 * The blobs that have an extent, in the order of these.  The caller releases
 * the array.
 */
GPtrArray *blob_store_by_offset(const BlobStore *store);
/* Slot @n (0 or 1) of @blob, which has an extent; borrows its entry. */
BlobSlot blob_slot_of(const Blob *blob, unsigned n);

/*
 * Begins a plan for @blob, which has none: a copy of its entry, for the caller
 * to change.  The next epoch record writes the plan to the directory, and
 * adopts it when that is durable.
 */
BlobPlan *blob_plan(Blob *blob);
/* Makes the plan of @blob, if it has one, its entry, and updates @census. */
void blob_adopt_plan(const BlobStore *store, Blob *blob,
                     uint8_t census[BLOB_CENSUS_BYTES]);
/* Frees the plan of @blob, if it has one. */
void blob_drop_plan(Blob *blob);

/* Computes the census of all blobs again, under the present guard. */
void blob_store_take_census(BlobStore *store);

/*
 * recover.c: R3 and R6 to R10.  Decides after an unclean close which versions
 * are current, and marks damaged blobs.  Writes nothing.
 * Errors: IO, STALE, CORRUPT.
 */
bool blob_recover_store(BlobStore *store, GError **error);

/*
 * recover.c: R17.  Fails if a slot is not as blob_recover_store() has found it:
 * whoever owned the store then may have committed since, and once there is
 * another epoch, nobody would see that commit.  Errors: IO, TAKEN.
 */
bool blob_recover_check_unchanged(BlobStore *store, GError **error);

/*
 * epoch.c: R5.  Begins a commit, unless another one is in flight.  In QEMU
 * another coroutine could make a second call while the first one waits for
 * storage.  Errors: BUSY.
 */
bool blob_commit_begin(BlobStore *store, GError **error);
/* Ends the commit that blob_commit_begin() has begun. */
void blob_commit_end(BlobStore *store);

/*
 * epoch.c: commits the directory, with all plans of blobs, under a new epoch
 * id (R2).  On failure the number is used up and no epoch is open; all else
 * stays as it was, plans included, and the call may be repeated.
 * Errors: IO, FULL, EXHAUSTED, BUSY, RANDOM, READ_ONLY (being converted).
 */
bool blob_epoch_record(BlobStore *store, bool clean, GError **error);

/* epoch.c: the same; the store then uses @capacity bytes of the medium. */
bool blob_epoch_record_capacity(BlobStore *store, uint64_t capacity,
                                GError **error);

/*
 * epoch.c: the same, clean, while the store is converted: the directory is
 * under store->target, which becomes store->guard when that is durable.
 */
bool blob_epoch_record_switch(BlobStore *store, GError **error);

/* epoch.c: blob_epoch_record(), unless all current versions are on record. */
bool blob_epoch_record_all(BlobStore *store, GError **error);

/*
 * epoch.c: the same before a change of the superblock, which names the present
 * epoch (S5).  So the record has to be one of this process: a later one, which
 * another process failed to write, may have landed since the medium was read.
 */
bool blob_epoch_settle(BlobStore *store, GError **error);

/*
 * create.c: R13.  Creates an empty store on a blank medium; durable on return.
 * After a failure the call may be repeated.  Errors: those of
 * blob_epoch_record(), and NO_SECURE_MEMORY.
 */
bool blob_create_store(BlobStore *store, GError **error);

/*
 * create.c: a superblock whose write had failed may have landed since the
 * medium was read.  Its directory has another seed, so nothing must be written
 * over it.  Errors: IO, STALE, UNSUPPORTED, CORRUPT.
 */
bool blob_create_check_blank(BlobStore *store, GError **error);

/*
 * create.c: decides what a new store on a medium of @length bytes will be, in
 * memory only.  Errors: TOO_SMALL, RANDOM, NO_SECURE_MEMORY.
 */
bool blob_create_plan(BlobStore *store, uint64_t length, GError **error);

/* Makes a random UUID (RFC 9562, version 4).  Errors: RANDOM. */
bool blob_create_uuid(uint8_t uuid[BLOB_UUID_BYTES], GError **error);

/* Bytes of one directory copy in a store that is created now */
uint64_t blob_create_directory_slot_bytes(const BlobStore *store);

/*
 * read.c: reads the current version of @blob.  *@header becomes its header,
 * and *@payload its payload as it is stored (packed, for example), which the
 * caller releases.  If the version is not there, marks the blob damaged.
 * Errors: IO, DAMAGED.
 */
bool blob_version_load(BlobStore *store, Blob *blob, BlobHeader *header,
                       GBytes **payload, GError **error);
/* Sets @error to DAMAGED with the damage of @blob; returns false. */
bool blob_version_fail_damaged(const Blob *blob, GError **error);

/*
 * read.c: writes the current version of @blob, with its sequence, to the slot
 * @to under @guard; @digest becomes that of the copy.  Not durable before a
 * flush.  Writes nothing if the blob is damaged and
 * BlobStoreOptions.replace_damaged is set.  Errors: IO, DAMAGED, RANDOM.
 */
bool blob_version_copy(BlobStore *store, Blob *blob, const BlobGuard *guard,
                       const BlobSlot *to, uint8_t digest[BLOB_DIGEST_BYTES],
                       GError **error);

#endif /* BLOBSTORE_STORE_PRIVATE_H */
