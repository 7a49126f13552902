/*
 * Blobstore core: the bytes on the medium
 *
 * Encoding and decoding happen here and nowhere else; docs/format.md is the
 * specification.  Decoders take hostile bytes: what they return is checked
 * (R15).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_LAYOUT_H
#define BLOBSTORE_LAYOUT_H

#include "blobstore/crypto/guard.h"
#include "blobstore/crypto/keyslot.h"
#include "limits.h"

enum {
    BLOB_FORMAT_VERSION = 1,
    BLOB_BLOCK_BYTES = 4096,
    BLOB_HEADER_BYTES = 1280,
    BLOB_HEADER_CHECKED_BYTES = 1248,
    BLOB_SUPERBLOCK_SLOT_BYTES = 16384,
    BLOB_SUPERBLOCK_BYTES = 8704,
    BLOB_DIRECTORY_OFFSET = 2 * BLOB_SUPERBLOCK_SLOT_BYTES,
    BLOB_SUPERBLOCK_HEAD_BYTES = 512,
    BLOB_DIRECTORY_HEAD_BYTES = 128,
    BLOB_ENTRY_BYTES = 224,
    BLOB_PAST_EPOCH_BYTES = 24,
    BLOB_HISTORY_MAX = 64,
    BLOB_LINK_BYTES = 12,
    BLOB_DIRECTORY_SLOT_MAX_BYTES = 64 << 20,

    BLOB_ID_SUPERBLOCK = 0,
    BLOB_ID_DIRECTORY = 1,
    BLOB_ID_FIRST = 16,
};

#define BLOB_MAGIC "QEMUBLOB"

/*
 * The last generation of a superblock, and how many of sealings a directory
 * may name.  No store gets there by what it does, and nothing that is counted
 * from there on wraps (R1).
 */
#define BLOB_GENERATION_MAX (UINT64_C(1) << 62)
#define BLOB_SEALINGS_LIMIT (UINT64_C(1) << 62)

/* Generations that a conversion finds free, for its steps and their retries */
#define BLOB_GENERATION_RESERVE (UINT64_C(1) << 20)

/* R1: one number, compared as a whole; the counter starts at 1. */
static inline uint64_t blob_sequence(uint32_t epoch, uint32_t counter)
{
    return (uint64_t)epoch << 32 | counter;
}

static inline uint32_t blob_sequence_epoch(uint64_t sequence)
{
    return sequence >> 32;
}

/* Bytes that a slot takes on the medium for @payload stored bytes. */
uint64_t blob_layout_image_bytes(uint64_t payload);

/* Bytes of one slot for a blob of at most @max_size bytes of content. */
uint64_t blob_layout_slot_bytes(uint64_t max_size);

/* Bytes of one directory copy with room for @blobs entries. */
uint64_t blob_layout_directory_slot_bytes(uint32_t blobs);

/* How many entries a directory copy of @slot_bytes has room for. */
uint32_t blob_layout_directory_room(uint64_t slot_bytes);

/* How many epochs of the history fit besides @entries. */
uint32_t blob_layout_history_room(uint64_t slot_bytes, uint32_t entries);

enum {
    BLOB_FLAG_DELETED = 1 << 0,
    BLOB_FLAG_PACKED = 1 << 1,
    BLOB_FLAG_SEALED = 1 << 2,
};

typedef struct BlobMember {
    uint64_t id;
    uint64_t sequence;
} BlobMember;

/* The header of a slot, repeated byte for byte as its trailer */
typedef struct BlobHeader {
    uint32_t flags;
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    uint64_t id;
    uint64_t sequence;
    uint64_t previous;          /* sequence of the version before, or 0 */
    uint64_t watermark;         /* last acknowledged sequence of the epoch */
    uint64_t offset;            /* of this slot on the medium */
    uint64_t raw_bytes;         /* metadata and content */
    uint64_t stored_bytes;      /* the same as stored */
    uint32_t metadata_bytes;
    uint8_t census[BLOB_CENSUS_BYTES];  /* not as it is hidden when sealed */
    uint8_t digest[BLOB_DIGEST_BYTES]; /* SHA-256, or tag and nonce */
    uint32_t member_count;      /* 0 for a write of one blob */
    BlobMember members[BLOB_MEMBERS_MAX];
    /* Not on the medium: blob_layout_digest_version(), once it is written */
    uint8_t version_digest[BLOB_DIGEST_BYTES];
} BlobHeader;

/* Fills @out with @header and its check value under @guard. */
void blob_layout_encode_header(const BlobHeader *header,
                               const BlobGuard *guard,
                               uint8_t out[BLOB_HEADER_BYTES]);

/*
 * Returns false unless @in is the intact header of blob @id for the slot of
 * @slot_bytes at @offset, sealed if @guard seals and else not.
 */
bool blob_layout_decode_header(const uint8_t in[BLOB_HEADER_BYTES],
                               const BlobGuard *guard, uint64_t id,
                               uint64_t offset, uint64_t slot_bytes,
                               BlobHeader *header);

/*
 * What tells a version from all others, those of other branches of the store
 * included: the SHA-256 of @header without its check value and, if it is
 * sealed, of the payload, which is not sealed here.  A plain header has the
 * digest of its payload.
 */
void blob_layout_digest_version(const BlobHeader *header, const void *payload,
                                size_t bytes, uint8_t out[BLOB_DIGEST_BYTES]);

/* Where tag and nonce of a sealed payload are */
static inline uint8_t *blob_header_tag(BlobHeader *header)
{
    return header->digest;
}

static inline uint8_t *blob_header_nonce(BlobHeader *header)
{
    return header->digest + BLOB_TAG_BYTES;
}

typedef enum BlobState {
    BLOB_STATE_CREATING = 1,
    BLOB_STATE_READY = 2,
    BLOB_STATE_CONVERTING = 3,  /* see convert.c */
    BLOB_STATE_WIPING = 4,      /* converted, but the old bytes are there */
} BlobState;

/* From what to what a store is converted */
typedef enum BlobConversion {
    BLOB_CONVERSION_NONE,
    BLOB_CONVERSION_SEAL,       /* plain to sealed */
    BLOB_CONVERSION_REKEY,      /* from the previous data key to this one */
    BLOB_CONVERSION_UNSEAL,     /* sealed to plain */
} BlobConversion;

/* Incompatible features */
#define BLOB_FEATURE_SEALED (UINT64_C(1) << 0)

/* A data key as wrapped by the one that follows it */
typedef struct BlobPreviousKey {
    uint8_t nonce[BLOB_NONCE_BYTES];
    uint8_t tag[BLOB_TAG_BYTES];
    uint8_t wrapped[BLOB_KEY_BYTES];
} BlobPreviousKey;

typedef struct BlobSuperblock {
    uint32_t version;
    BlobState state;
    BlobConversion conversion;  /* while converting */
    uint64_t incompatible;
    uint64_t ro_compatible;
    uint64_t compatible;
    uint8_t uuid[BLOB_UUID_BYTES];
    uint64_t generation;
    uint64_t directory_offset;
    uint64_t directory_slot_bytes;
    uint64_t data_offset;
    uint8_t seed[BLOB_SEED_BYTES];  /* of check values, where plain */
    BlobKeySlots key_slots;
    BlobPreviousKey previous_key;   /* while rekeying */
    /*
     * Superblock and directory name each other, so that those of two branches
     * of a store do not go together: the id of the epoch in which this was
     * written, and what its directories have as superblock_digest.
     */
    uint8_t epoch_id[BLOB_LINK_BYTES];
    uint8_t digest[BLOB_LINK_BYTES];
} BlobSuperblock;

static inline bool blob_superblock_is_sealed(const BlobSuperblock *super)
{
    return super->incompatible & BLOB_FEATURE_SEALED;
}

/*
 * @keyed makes the keyed check of a sealed store; NULL if it is plain.
 * super->digest is set.
 */
void blob_layout_encode_superblock(BlobSuperblock *super,
                                   BlobDigest *keyed,
                                   uint8_t out[BLOB_SUPERBLOCK_BYTES]);

/*
 * Errors: UNSUPPORTED (version or incompatible feature), CORRUPT.  Whether
 * ro_compatible has unknown bits is for the caller to see.
 */
bool blob_layout_decode_superblock(const uint8_t *in, size_t bytes,
                                   BlobSuperblock *super, GError **error);

/* Whether the head of a superblock, without its key slots, is intact. */
bool blob_layout_superblock_head_is_intact(
    const uint8_t in[BLOB_SUPERBLOCK_BYTES]);

/* Whether the keyed check is right. */
bool blob_layout_superblock_is_authentic(
    const uint8_t in[BLOB_SUPERBLOCK_HEAD_BYTES], BlobDigest *keyed);

/*
 * Repairs damaged key slots in @own from @other, another copy of the same
 * superblock.  The head of @own is intact.
 */
void blob_layout_mend_key_slots(uint8_t own[BLOB_SUPERBLOCK_BYTES],
                                const uint8_t other[BLOB_SUPERBLOCK_BYTES]);

/* The directory's entry of one blob */
typedef struct BlobEntry {
    uint64_t id;
    uint64_t sequence;          /* current version; 0: never written */
    uint64_t max_size;
    uint64_t offset;            /* of slot 0; slot 1 follows it */
    uint64_t slot_bytes;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
    uint32_t metadata_bytes;
    BlobKind kind;
    uint32_t flags;             /* of the current version */
    unsigned slot;              /* which slot holds the current version */
    uint8_t digest[BLOB_DIGEST_BYTES]; /* of the version, and its header */
    char owner[BLOB_NAME_MAX_BYTES + 1];
    char name[BLOB_NAME_MAX_BYTES + 1];
} BlobEntry;

/*
 * The associated data of a sealed payload bind it to the store, to its blob
 * (@entry; NULL for the directory), and to all of its header except its
 * place.
 */
enum { BLOB_AAD_BYTES = 1400 };
void blob_layout_encode_aad(const BlobHeader *header, const BlobGuard *guard,
                            const BlobEntry *entry,
                            uint8_t out[BLOB_AAD_BYTES]);

/* An epoch that is over, and the counter that it had reached */
typedef struct BlobPastEpoch {
    uint32_t epoch;
    uint32_t counter;
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
} BlobPastEpoch;

/*
 * During a conversion some versions are not sealed with the key that the key
 * slots hold: they are plain, or sealed with the other key.  The directory
 * then has a voucher, made with the key in the key slots.  Nobody can forge the
 * versions, of which it has the digests, without that key.
 */
typedef struct BlobDirectory {
    uint32_t epoch;
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    bool clean;
    uint64_t superblock_generation;
    uint8_t superblock_digest[BLOB_LINK_BYTES];
    uint64_t capacity;
    uint64_t next_id;
    uint8_t key_commitment[BLOB_KEY_COMMITMENT_BYTES];
    uint64_t sealings;          /* made with this data key, at most */
    GArray *entries;            /* of BlobEntry, in ascending order of id */
    GArray *history;            /* of BlobPastEpoch, ascending */
} BlobDirectory;

/* Frees the arrays of @directory. */
void blob_layout_clear_directory(BlobDirectory *directory);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobDirectory, blob_layout_clear_directory)

/*
 * Returns the payload, which the caller releases with g_bytes_unref().
 * @voucher makes the voucher; if it is NULL, the payload has none.
 */
GBytes *blob_layout_encode_directory(const BlobDirectory *directory,
                                     BlobDigest *voucher);

/* Whether the voucher is right. */
bool blob_layout_directory_is_vouched(GBytes *payload, BlobDigest *voucher);

/* Compares two BlobEntry by owner and name, as g_strcmp0() does strings. */
gint blob_layout_compare_names(gconstpointer a, gconstpointer b);

/*
 * Fills @directory, to be cleared by the caller.  @sealed: so are the blobs
 * that it lists.  Errors: CORRUPT.
 */
bool blob_layout_decode_directory(GBytes *payload,
                                  const BlobSuperblock *super, bool sealed,
                                  BlobDirectory *directory, GError **error);

#endif /* BLOBSTORE_LAYOUT_H */
