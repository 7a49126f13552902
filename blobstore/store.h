/*
 * Blobstore core: the life of a store
 *
 * Everything that may call the core includes this header.  The core knows
 * neither QEMU nor any device; it reaches its medium through BlobStorage.
 * What must hold on the medium, and why, is in docs/design.md; the bytes are
 * in docs/format.md.  "R1" to "R17" in comments are the rules given there.
 *
 * Threads: one thread at a time uses a BlobStore, and makes one call at a
 * time; the caller serialises.  A call blocks only in the storage calls and in
 * the callbacks of blob_store_open(); one that would commit while another does
 * is refused (BUSY).
 *
 * The queries may be made at any time by that thread, also while another call
 * waits for storage (in QEMU: by another coroutine of the thread).  These are
 * blob_store_get_status(), blob_store_required_bytes(), blob_store_count(),
 * blob_store_nth(), blob_store_find(), blob_get_info() and
 * blob_store_warnings().  They read no medium, and show what was acknowledged
 * last: a store, or a blob, as it was before the call that waits or as that
 * has made it durable, never anything between.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_STORE_H
#define BLOBSTORE_STORE_H

#include "blobstore/error.h"
#include "blobstore/storage.h"
#include "blobstore/crypto/keyslot.h"
#include "blobstore/format/limits.h"

typedef struct BlobStore BlobStore;
typedef struct Blob Blob;

/* A sequence of a store and the epoch in which it was acknowledged */
typedef struct BlobSequence {
    uint64_t number;        /* BlobStoreStatus.sequence */
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
} BlobSequence;

/* What can be seen of a medium without a key */
typedef struct BlobStoreLabel {
    bool blank;                 /* or creating a store was cut short */
    bool sealed;                /* opening it takes a key */
    uint8_t uuid[BLOB_UUID_BYTES];
    BlobKeySlots key_slots;     /* valid if @sealed */
    uint8_t head[512];          /* private: what the keyed check is of */
} BlobStoreLabel;

/*
 * Asked by blob_store_open() when the medium holds the sealed store with
 * @label, which is valid during the call: *@key becomes a new reference to its
 * data key, or stays NULL if the caller has none; then the opening fails with
 * KEY.  Returns false with @error set to fail the opening with that error.
 *
 * The superblock has been read and the store is the wanted one, but neither
 * the medium nor the key has been looked at any further: whether the key is
 * right is checked afterwards (TAMPERED).  The call may take seconds and, in
 * QEMU, yield.  It must not change the medium.
 */
typedef bool BlobStoreUnlock(const BlobStoreLabel *label, void *opaque,
                             BlobKey **key, GError **error);

/*
 * Asked by blob_store_open() when the medium is blank, none of the options
 * refuse that, and blob_store_start() may make a new store there, which will
 * have @uuid (BLOB_UUID_BYTES).  To make it a sealed one, *@key becomes a new
 * reference to its data key and *@key_slots, which is zero before, slots of
 * the store @uuid that hold that key, at least one of them.  If *@key stays
 * NULL, the store becomes a plain one.  Returns false with @error set to fail
 * the opening with that error.
 *
 * The call may take seconds and, in QEMU, yield.  It must not change the
 * medium.
 */
typedef bool BlobStoreMake(const uint8_t *uuid, void *opaque, BlobKey **key,
                           BlobKeySlots *key_slots, GError **error);

/*
 * All-zero means: read-write, create a store on a blank medium, any UUID, no
 * packing, a plain store.  Pointers are only used during blob_store_open().
 */
typedef struct BlobStoreOptions {
    bool read_only;         /* write nothing, not even an epoch record */
    bool create_never;      /* refuse a blank medium */
    /* A larger medium that begins with so many zeros is refused; 0: none is. */
    uint64_t create_max_bytes;
    /* BLOB_UUID_BYTES: refuse a store with another UUID; or NULL */
    const uint8_t *uuid;
    bool create_as_uuid;    /* a blank medium becomes the store @uuid */
    bool sealed_only;       /* refuse a plain store: there is a key for it */
    bool pack;              /* deflate payloads where that saves a block */
    /*
     * The medium does not keep other processes away.  Whoever has started the
     * store last owns it: before anything is written, the directory on the
     * medium is compared, and if another process has written one, the call
     * fails with TAKEN and writes nothing.  The store then stays so, until it
     * is opened again.  It costs a read of 4 KiB for each write.  An owner
     * that begins between that read and the write is not noticed.
     */
    bool fence;
    /*
     * The caller has the content of every blob that it registers.  A damaged
     * one does not keep the store from starting, and may be written.  Until
     * it has been, it stays damaged.
     */
    bool replace_damaged;
    /* How many a new directory has room for; 0: 128 or twice those now */
    uint32_t directory_blobs;

    /* New epochs have higher numbers than the epoch of this (zero: any). */
    BlobSequence follows;

    /* Each of them may be NULL.  They are not called if @key is set. */
    BlobStoreUnlock *unlock;
    BlobStoreMake *make;
    void *opaque;           /* of both */

    /*
     * For a caller that knows it before: the data key of a sealed store, or
     * of the one that is to be made.  A plain store is refused.
     */
    BlobKey *key;
    /* The key slots of a sealed store to be created; they hold @key. */
    const BlobKeySlots *key_slots;

    /* What the caller expects, compared before any write; NULL: anything */
    const uint8_t *key_commitment;      /* BLOB_KEY_COMMITMENT_BYTES */
    const BlobSequence *min_sequence;   /* that, or one that follows it */
} BlobStoreOptions;

/*
 * Reads the superblock without opening the store, for a caller that shows what
 * can be seen without a key, or that looks at a medium to which somebody else
 * writes.  A medium that holds something else than a store counts as blank
 * here; blob_store_open() refuses it.  Fills @label.
 *
 * Errors: IO, UNSUPPORTED, CORRUPT.
 */
bool blob_store_read_label(BlobStorage *storage, BlobStoreLabel *label,
                           GError **error);

/* Whether @key is the data key of the sealed store with @label */
bool blob_store_label_fits(const BlobStoreLabel *label, const BlobKey *key);

/*
 * Opens the store on @storage and decides what is current, writing nothing.  A
 * blank medium gives a store without blobs, which blob_store_start() will
 * create.  The store borrows @storage, which must outlive it.  Damage of
 * single blobs does not fail the call: see BlobInfo.damage.
 *
 * The superblock is read once, a blank medium is scanned once, and what the
 * caller has to provide for the one or the other is asked for in between: see
 * BlobStoreUnlock and BlobStoreMake.
 *
 * Errors: IO, BLANK, FOREIGN, TOO_SMALL, UNSUPPORTED, UUID, CORRUPT, STALE,
 * KEY (there is one and none is wanted, the other way round, it is another
 * one, or no key slot holds that of a new store), TAMPERED, ROLLED_BACK,
 * RANDOM (of a blank medium), NO_SECURE_MEMORY, and whatever the callbacks
 * fail with.
 */
BlobStore *blob_store_open(BlobStorage *storage,
                           const BlobStoreOptions *options, GError **error);

/*
 * Frees the store.  Writes nothing: what is on the medium opens as after a
 * crash, losing nothing.  NULL is allowed.
 */
void blob_store_free(BlobStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobStore, blob_store_free)

/*
 * Registers the blob @owner/@name, with at most @max_size bytes of content (1
 * to BLOB_MAX_SIZE_BYTES), as one that the caller uses.  Names are 1 to
 * BLOB_NAME_MAX_BYTES bytes of printable ASCII without space or '/'.  Writes
 * nothing.  The blob belongs to the store and is valid until
 * blob_store_unregister() or blob_store_free().  It can be read at once and
 * written after blob_store_start().
 *
 * Errors: INVALID, EXISTS, KIND, TOO_LARGE (the medium holds more content than
 * @max_size).
 */
Blob *blob_store_register(BlobStore *store, const char *owner,
                          const char *name, BlobKind kind, uint64_t max_size,
                          GError **error);

/*
 * Takes back a registration.  The content on the medium stays.  A blob without
 * content leaves the directory with the next epoch record; if it has no space
 * on the medium either, @blob is freed at once.
 */
void blob_store_unregister(BlobStore *store, Blob *blob);

/*
 * Makes every registered blob writable: creates a store on a blank medium,
 * finds space for what is new or registered larger, heals damaged copies, and
 * starts a new epoch (R2).  May be called again after more blobs were
 * registered.  Durable on return.
 *
 * Errors: IO, TOO_SMALL (the message gives the exact size needed; see also
 * blob_store_required_bytes()), DAMAGED (a registered blob, unless
 * BlobStoreOptions.replace_damaged), FULL,
 * EXHAUSTED, READ_ONLY, FOREIGN (the medium has grown, and the new space is
 * not blank), CORRUPT and STALE (the superblock is not as it was when the
 * store was opened), TAKEN (with BlobStoreOptions.fence: nor is something
 * else), BUSY.  On failure nothing that was acknowledged is
 * lost; the call may be repeated.
 */
bool blob_store_start(BlobStore *store, GError **error);

/*
 * The size in bytes that the medium must have for everything on it plus
 * everything registered.  A multiple of 4096.  Takes time in proportion to
 * the number of blobs and of free extents.
 */
uint64_t blob_store_required_bytes(const BlobStore *store);

/*
 * The size in bytes that a medium must have for a new store with @count blobs
 * of at most @max_sizes bytes of content each (1 to BLOB_MAX_SIZE_BYTES)
 */
uint64_t blob_store_bytes_for(const uint64_t *max_sizes, size_t count);

/*
 * Makes the first @bytes of the medium those that the store uses, or all of it
 * if it has fewer.  A medium that is to become larger grows before this call,
 * and one that is to become smaller shrinks after it.  Durable on return.
 *
 * Errors: IO, TOO_SMALL (below blob_store_required_bytes()), FOREIGN (space
 * that is new to the store is not blank), READ_ONLY (not started), FULL,
 * EXHAUSTED, BUSY, RANDOM, TAKEN.
 */
bool blob_store_resize(BlobStore *store, uint64_t bytes, GError **error);

/*
 * Reads the current version.  *@content becomes the content, owned by the
 * caller, or NULL if the blob is absent: never written, or deleted.
 * *@metadata (@metadata may be NULL) becomes a NULL-terminated array of
 * "key=value", owned by the caller, never NULL on success.
 * The digest is verified before anything is returned.
 *
 * Errors: IO, DAMAGED.
 */
bool blob_store_read(BlobStore *store, Blob *blob, GBytes **content,
                     char ***metadata, GError **error);

/*
 * Whether @content (NULL: delete) and @metadata may be written to the blob
 * @owner/@name of at most @max_size bytes.  blob_store_write() checks that by
 * itself; this is for a caller that accepts a change and writes it later.  For
 * any thread.
 *
 * Errors: TOO_LARGE, INVALID (the metadata).
 */
bool blob_content_check(const char *owner, const char *name,
                        uint64_t max_size, GBytes *content,
                        const char *const *metadata, GError **error);

/* The part of one blob in a write */
typedef struct BlobChange {
    Blob *blob;
    GBytes *content;             /* borrowed; NULL deletes the blob */
    const char *const *metadata; /* NULL-terminated "key=value", or NULL */
    bool delete_again;           /* even if absent, unless never written */
} BlobChange;

/*
 * Writes and deletes 1 to BLOB_MEMBERS_MAX different blobs, all or nothing.
 * Durable on return.  On failure every blob keeps its last acknowledged
 * content and the call may be repeated.  Deleting an absent blob does nothing,
 * unless the change says to delete it again.  That records the deletion even
 * on a medium that has lost everything else.
 *
 * Errors: IO, INVALID, TOO_LARGE, DAMAGED, READ_ONLY (opened so, or not
 * started), EXHAUSTED, BUSY, TAKEN.
 */
bool blob_store_write(BlobStore *store, const BlobChange *changes,
                      size_t count, GError **error);

/* Copies the key slots to @slots; those of a plain store are unused. */
void blob_store_get_key_slots(const BlobStore *store, BlobKeySlots *slots);

/*
 * Makes @slots, all of which hold @key, its key slots.  @key has to be the
 * data key of the store, or nobody could open it any more.  Durable on
 * return: from then on a superblock with others is refused.  On failure
 * either may be on the medium, until this or blob_store_start() succeeds;
 * blob_store_get_key_slots() tells which will be.
 *
 * Errors: IO, KEY (not sealed, another data key, or no slot in use),
 * READ_ONLY (not started, or being converted), EXHAUSTED, BUSY, RANDOM, TAKEN.
 */
bool blob_store_set_key_slots(BlobStore *store, const BlobKey *key,
                              const BlobKeySlots *slots, GError **error);

/*
 * Seals a plain store with the data key @key, which @slots hold; seals a
 * sealed one again with another key; or makes it plain (@key is NULL).  All
 * blobs are rewritten, and what is not current any more is zeroed: on the
 * medium itself, not in snapshots that it has, or what flash keeps.  Durable
 * on return.
 *
 * On failure the content of all blobs stays.  The conversion may have begun:
 * then the next blob_store_start(), in whatever process, goes on with it, and
 * blob_store_open() wants @key (or, if that is NULL, the old one).
 *
 * Errors: IO, KEY, READ_ONLY (not started, or being converted), DAMAGED (a
 * blob), EXHAUSTED, BUSY, RANDOM, NO_SECURE_MEMORY, TAKEN.
 */
bool blob_store_convert(BlobStore *store, BlobKey *key,
                        const BlobKeySlots *slots, GError **error);

/*
 * Do the same in pieces.  When blob_store_convert_begin() has returned, nothing
 * but @key opens the store, and blobs can be written again; the old content is
 * still to be zeroed.  Each blob_store_convert_next() zeroes about @bytes of
 * it, durably, until *@done.  A call that failed may be repeated.  A store that
 * is freed before the end, or started, is as after a crash: blob_store_start()
 * does the rest.
 *
 * Errors: those of blob_store_convert(), FULL.
 */
bool blob_store_convert_begin(BlobStore *store, BlobKey *key,
                              const BlobKeySlots *slots, GError **error);
bool blob_store_convert_next(BlobStore *store, uint64_t bytes, bool *done,
                             GError **error);

/*
 * Records that the store is at rest (R14), so that the next opening reads only
 * superblock and directory.  Durable on return.  The store stays usable; a
 * later write starts a new epoch.  Does nothing if nothing was written since
 * the last clean close.
 *
 * Errors: IO, EXHAUSTED, BUSY, TAKEN.
 */
bool blob_store_close_clean(BlobStore *store, GError **error);

/*
 * Repairs a medium that was made smaller and is large enough again.  Writes
 * the superblock, or the directory, as it was if neither copy of it is left.
 * The caller then writes every blob.  Durable on return; it may be repeated
 * after a failure.
 *
 * Errors: IO, EXHAUSTED, BUSY.
 */
bool blob_store_rewrite_heads(BlobStore *store, GError **error);

/*
 * Repairs a medium that somebody else took back to a state from before a
 * conversion, so that it opens with another key, or without a key.  Writes the
 * superblock and directory of @store there, which refer to content that the
 * medium does not have.  The caller then opens the store again with
 * replace_damaged set, starts it, which zeroes the content that was taken
 * back, and writes every blob.
 *
 * Errors: IO, UUID (no state of this store), READ_ONLY (not started, or being
 * converted), EXHAUSTED, BUSY, RANDOM, NO_SECURE_MEMORY.  After a failure only
 * this call may be made, until it succeeds.
 */
bool blob_store_supersede(BlobStore *store, GError **error);

/*
 * Checks that the directory on the medium is the one that this store wrote
 * last.  *@unchanged becomes false if another user has opened the store for
 * writing, or if the medium was taken back to an earlier epoch.  A medium that
 * was taken back within the present epoch is not noticed.  Reads only the
 * headers of both copies.
 *
 * Errors: IO.
 */
bool blob_store_check_unchanged(BlobStore *store, bool *unchanged,
                                GError **error);

/*
 * With BlobStoreOptions.fence, fails unless the store is still this process's,
 * or as it was when it was opened: the check that precedes each write.
 * Without a fence it does nothing.
 *
 * Errors: IO, TAKEN.
 */
bool blob_store_check_owner(BlobStore *store, GError **error);

/*
 * The same, and a store that was not closed clean must hold what it held when
 * it was opened: R17.  Only until blob_store_start(), which begins with this.
 * A blob that seems to be damaged may just have been overwritten by another
 * owner: then the error here says so.
 *
 * Errors: IO, CORRUPT, TAKEN.
 */
bool blob_store_check_untouched(BlobStore *store, GError **error);

typedef struct BlobStoreStatus {
    uint8_t uuid[BLOB_UUID_BYTES];        /* zero while blank */
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    bool blank;             /* there is no store on the medium yet */
    bool started;
    bool clean;             /* closed so, and nothing was written since */
    bool read_only;         /* by option or by a feature of the medium */
    bool sealed;            /* or being converted to or from that */
    bool converting;        /* blob_store_start() continues it */
    uint64_t wiped;         /* bytes of capacity that are zeroed so far */
    unsigned key_slots;     /* in use */
    uint8_t key_commitment[BLOB_KEY_COMMITMENT_BYTES]; /* zero if plain */
    uint64_t sealings;      /* tried with the data key, at most */
    uint32_t format_version;
    uint32_t block_size;    /* bytes */
    uint64_t capacity;      /* bytes of the medium that it uses; 0 if blank */
    uint64_t free;          /* bytes not taken by any extent; 0 if blank */
    uint64_t sequence;      /* last acknowledged: epoch << 32 | counter */
    uint64_t commits;       /* successful writes since open */
    /* Since open, as it happens: both grow while a call is at work. */
    uint64_t bytes_written; /* to the medium */
    uint64_t write_errors;  /* failed writes and flushes */
} BlobStoreStatus;

/* Fills @info, in a time that does not depend on what the store holds. */
void blob_store_get_status(const BlobStore *store, BlobStoreStatus *info);

typedef struct BlobSlotInfo {
    uint64_t offset;        /* bytes */
    uint64_t length;        /* bytes */
    bool current;
} BlobSlotInfo;

/*
 * Strings belong to the store.  @damage is valid until the next call that
 * writes or reads the blob, the others as long as the blob.
 */
typedef struct BlobInfo {
    const char *owner;
    const char *name;
    BlobKind kind;
    bool registered;
    bool present;           /* it has content: was written and not deleted */
    bool packed;
    uint64_t size;          /* bytes of content */
    uint64_t stored_size;   /* bytes of payload on the medium */
    uint64_t max_size;      /* bytes */
    uint64_t sequence;      /* of the current version; 0: never written */
    unsigned slots;         /* 0 before start, else 2 */
    BlobSlotInfo slot[2];
    const char *damage;     /* what is wrong with it, or NULL */
} BlobInfo;

/*
 * How many blobs there are, on the medium or registered.  A blob that is not
 * registered may be freed by the next call that writes.
 */
size_t blob_store_count(const BlobStore *store);

/* Blob @n (from 0) in order of creation, or NULL if there are not so many */
Blob *blob_store_nth(const BlobStore *store, size_t n);

/* The blob @owner/@name, or NULL if there is none */
Blob *blob_store_find(const BlobStore *store, const char *owner,
                      const char *name);

/* Fills @info. */
void blob_get_info(const Blob *blob, BlobInfo *info);

/*
 * Describes what the opening found wrong without failing, such as a damaged
 * copy that blob_store_start() heals.  A NULL-terminated array, maybe empty,
 * that belongs to the store.
 */
const char *const *blob_store_warnings(const BlobStore *store);

#endif /* BLOBSTORE_STORE_H */
