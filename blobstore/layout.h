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

#include "digest.h"
#include "store.h"

enum {
    BLOB_FORMAT_VERSION = 1,
    BLOB_BLOCK_BYTES = 4096,
    BLOB_HEADER_BYTES = 1280,
    BLOB_SUPERBLOCK_SLOT_BYTES = 16384,
    BLOB_SUPERBLOCK_BYTES = 8704,
    BLOB_DIRECTORY_OFFSET = 2 * BLOB_SUPERBLOCK_SLOT_BYTES,
    BLOB_DIRECTORY_HEAD_BYTES = 128,
    BLOB_ENTRY_BYTES = 224,
    BLOB_DIRECTORY_SLOT_MAX_BYTES = 64 << 20,

    BLOB_ID_SUPERBLOCK = 0,
    BLOB_ID_DIRECTORY = 1,
    BLOB_ID_FIRST = 16,
};

#define BLOB_MAGIC "QEMUBLOB"

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
    uint8_t census[BLOB_CENSUS_BYTES];
    uint8_t digest[BLOB_DIGEST_BYTES]; /* SHA-256 of the stored payload */
    uint32_t member_count;      /* 0 for a write of one blob */
    BlobMember members[BLOB_MEMBERS_MAX];
} BlobHeader;

void blob_layout_encode_header(const BlobHeader *header, BlobDigest *digest,
                               uint8_t out[BLOB_HEADER_BYTES]);

/*
 * Returns false unless @in is the intact header of blob @id for the slot of
 * @slot_bytes at @offset.
 */
bool blob_layout_decode_header(const uint8_t in[BLOB_HEADER_BYTES],
                               BlobDigest *digest, uint64_t id,
                               uint64_t offset, uint64_t slot_bytes,
                               BlobHeader *header);

typedef enum BlobState {
    BLOB_STATE_FORMATTING = 1,
    BLOB_STATE_READY = 2,
    BLOB_STATE_CONVERTING = 3,
} BlobState;

typedef struct BlobSuperblock {
    uint32_t version;
    BlobState state;
    uint64_t incompatible;
    uint64_t ro_compatible;
    uint64_t compatible;
    uint8_t uuid[BLOB_UUID_BYTES];
    uint64_t generation;
    uint64_t directory_offset;
    uint64_t directory_slot_bytes;
    uint64_t data_offset;
    uint8_t seed[BLOB_SEED_BYTES];
} BlobSuperblock;

void blob_layout_encode_superblock(const BlobSuperblock *super,
                                   uint8_t out[BLOB_SUPERBLOCK_BYTES]);

/*
 * Errors: UNSUPPORTED (version or incompatible feature), CORRUPT.  Whether
 * ro_compatible has unknown bits is for the caller to see.
 */
bool blob_layout_decode_superblock(const uint8_t *in, size_t bytes,
                                   BlobSuperblock *super, GError **error);

/* What the directory knows of one blob */
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
    char owner[BLOB_NAME_MAX_BYTES + 1];
    char name[BLOB_NAME_MAX_BYTES + 1];
} BlobEntry;

typedef struct BlobDirectory {
    uint32_t epoch;
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    bool clean;
    uint64_t superblock_generation;
    uint64_t capacity;
    uint64_t next_id;
    GArray *entries;            /* of BlobEntry, in ascending order of id */
} BlobDirectory;

void blob_layout_clear_directory(BlobDirectory *directory);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobDirectory, blob_layout_clear_directory)

/* Returns the payload, to be released by the caller. */
GBytes *blob_layout_encode_directory(const BlobDirectory *directory);

/* Fills @directory, to be cleared by the caller.  Errors: CORRUPT. */
bool blob_layout_decode_directory(GBytes *payload,
                                  const BlobSuperblock *super,
                                  BlobDirectory *directory, GError **error);

#endif /* BLOBSTORE_LAYOUT_H */
