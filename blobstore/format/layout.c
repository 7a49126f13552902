/*
 * Blobstore core: the bytes of slots and their headers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "layout-private.h"

#include <stddef.h>
#include <string.h>

typedef struct DiskMember {
    uint64_t id;
    uint64_t sequence;
} DiskMember;

typedef struct DiskHeader {
    char magic[8];
    uint32_t flags;
    uint32_t member_count;
    uint8_t epoch_id[16];
    uint64_t id;
    uint64_t sequence;
    uint64_t previous;
    uint64_t watermark;
    uint64_t offset;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
    uint32_t metadata_bytes;
    uint32_t reserved0;
    uint8_t census[16];
    uint8_t digest[32];
    uint8_t reserved1[80];
    DiskMember members[BLOB_MEMBERS_MAX];
    uint8_t check[32];
} DiskHeader;

G_STATIC_ASSERT(sizeof(DiskHeader) == BLOB_HEADER_BYTES);
G_STATIC_ASSERT(offsetof(DiskHeader, id) == 32);
G_STATIC_ASSERT(offsetof(DiskHeader, census) == 96);
G_STATIC_ASSERT(offsetof(DiskHeader, members) == 224);
G_STATIC_ASSERT(offsetof(DiskHeader, check) == BLOB_HEADER_CHECKED_BYTES);

/* Not on the medium, but encryption and decryption must agree on the bytes */
typedef struct DiskAad {
    uint8_t uuid[16];
    uint64_t kind;
    char owner[64];
    char name[64];
    uint8_t header[offsetof(DiskHeader, check)];
} DiskAad;

G_STATIC_ASSERT(sizeof(DiskAad) == BLOB_AAD_BYTES);

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + BLOB_BLOCK_BYTES - 1) / BLOB_BLOCK_BYTES *
           BLOB_BLOCK_BYTES;
}

uint64_t blob_layout_image_bytes(uint64_t payload)
{
    /*
     * Header and trailer lie in different blocks: one damaged block leaves
     * evidence of what was there.
     */
    return MAX(round_up(2 * BLOB_HEADER_BYTES + payload),
               2 * BLOB_BLOCK_BYTES);
}

uint64_t blob_layout_slot_bytes(uint64_t max_size)
{
    return blob_layout_image_bytes(BLOB_METADATA_MAX_BYTES + max_size);
}

static DiskHeader to_disk(const BlobHeader *header)
{
    DiskHeader disk = {
        .magic = { 'Q', 'E', 'M', 'U', 'B', 'L', 'O', 'B' },
        .flags = GUINT32_TO_LE(header->flags),
        .member_count = GUINT32_TO_LE(header->member_count),
        .id = GUINT64_TO_LE(header->id),
        .sequence = GUINT64_TO_LE(header->sequence),
        .previous = GUINT64_TO_LE(header->previous),
        .watermark = GUINT64_TO_LE(header->watermark),
        .offset = GUINT64_TO_LE(header->offset),
        .raw_bytes = GUINT64_TO_LE(header->raw_bytes),
        .stored_bytes = GUINT64_TO_LE(header->stored_bytes),
        .metadata_bytes = GUINT32_TO_LE(header->metadata_bytes),
    };

    memcpy(disk.epoch_id, header->epoch_id, sizeof(disk.epoch_id));
    memcpy(disk.census, header->census, sizeof(disk.census));
    memcpy(disk.digest, header->digest, sizeof(disk.digest));
    for (uint32_t i = 0; i < header->member_count; i++) {
        disk.members[i].id = GUINT64_TO_LE(header->members[i].id);
        disk.members[i].sequence = GUINT64_TO_LE(header->members[i].sequence);
    }
    return disk;
}

/*
 * R9: hides the census of a sealed store, or shows it again.  An XOR of hashes
 * is linear: who sees sums of them can find versions whose loss leaves a sum
 * as it is.  Tag and nonce make the mask another one for each header.
 */
static void mask_census(const BlobGuard *guard, DiskHeader *disk)
{
    struct {
        uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
        uint64_t id;
        uint64_t sequence;
        uint8_t digest[BLOB_DIGEST_BYTES];
    } input = { .id = disk->id, .sequence = disk->sequence };
    uint8_t mask[BLOB_DIGEST_BYTES];

    if (!guard->mask) {
        return;
    }
    memcpy(input.epoch_id, disk->epoch_id, sizeof(input.epoch_id));
    memcpy(input.digest, disk->digest, sizeof(input.digest));
    blob_digest_check(guard->mask, &input, sizeof(input), mask);
    for (unsigned i = 0; i < sizeof(disk->census); i++) {
        disk->census[i] ^= mask[i];
    }
}

void blob_layout_encode_header(const BlobHeader *header,
                               const BlobGuard *guard,
                               uint8_t out[BLOB_HEADER_BYTES])
{
    DiskHeader disk = to_disk(header);

    mask_census(guard, &disk);
    blob_digest_check(guard->digest, &disk, offsetof(DiskHeader, check),
                      disk.check);
    memcpy(out, &disk, sizeof(disk));
}

void blob_layout_digest_version(const BlobHeader *header, const void *payload,
                                size_t bytes, uint8_t out[BLOB_DIGEST_BYTES])
{
    DiskHeader disk = to_disk(header);

    blob_digest_sha256_of_two(&disk, offsetof(DiskHeader, check), payload,
                              blob_flags_are_sealed(header->flags) ? bytes : 0,
                              out);
}

void blob_layout_encode_aad(const BlobHeader *header, const BlobGuard *guard,
                            const BlobEntry *entry,
                            uint8_t out[BLOB_AAD_BYTES])
{
    DiskHeader disk = to_disk(header);
    DiskAad aad = { .kind = GUINT64_TO_LE(entry ? entry->kind : 0) };

    /* S3: all of the header except its place, which changes with a copy. */
    disk.offset = 0;
    memset(disk.digest, 0, sizeof(disk.digest));
    memcpy(aad.uuid, guard->uuid, sizeof(aad.uuid));
    if (entry) {
        memcpy(aad.owner, entry->owner, sizeof(aad.owner));
        memcpy(aad.name, entry->name, sizeof(aad.name));
    }
    memcpy(aad.header, &disk, sizeof(aad.header));
    memcpy(out, &aad, sizeof(aad));
}

bool blob_layout_lengths_are_sane(uint32_t flags, uint64_t raw_bytes,
                                  uint64_t stored_bytes,
                                  uint32_t metadata_bytes, uint64_t slot_bytes)
{
    if (raw_bytes > slot_bytes - 2 * BLOB_HEADER_BYTES ||
        metadata_bytes > BLOB_METADATA_MAX_BYTES ||
        metadata_bytes > raw_bytes) {
        return false;
    }
    switch (flags & ~BLOB_FLAG_SEALED) {
    case 0:
        return stored_bytes == raw_bytes;
    case BLOB_FLAG_PACKED:
        return stored_bytes < raw_bytes;
    case BLOB_FLAG_DELETED:
        return !stored_bytes && !raw_bytes;
    default:
        return false;
    }
}

/* S1: a sealed store has sealed payloads only, and a plain store plain ones. */
static bool header_is_sane(const BlobHeader *header, const BlobGuard *guard,
                           uint64_t slot_bytes)
{
    return blob_flags_are_sealed(header->flags) == (guard->seal != NULL) &&
           header->member_count <= BLOB_MEMBERS_MAX &&
           blob_layout_lengths_are_sane(header->flags, header->raw_bytes,
                                        header->stored_bytes,
                                        header->metadata_bytes, slot_bytes);
}

bool blob_layout_decode_header(const uint8_t in[BLOB_HEADER_BYTES],
                               const BlobGuard *guard, uint64_t id,
                               uint64_t offset, uint64_t slot_bytes,
                               BlobHeader *header)
{
    DiskHeader disk;
    uint8_t check[BLOB_DIGEST_BYTES];

    memcpy(&disk, in, sizeof(disk));
    if (memcmp(disk.magic, BLOB_MAGIC, sizeof(disk.magic))) {
        return false;
    }
    blob_digest_check(guard->digest, &disk, offsetof(DiskHeader, check),
                      check);
    if (!blob_digest_equal(disk.check, check, sizeof(check))) {
        return false;
    }
    mask_census(guard, &disk);
    *header = (BlobHeader) {
        .flags = GUINT32_FROM_LE(disk.flags),
        .member_count = GUINT32_FROM_LE(disk.member_count),
        .id = GUINT64_FROM_LE(disk.id),
        .sequence = GUINT64_FROM_LE(disk.sequence),
        .previous = GUINT64_FROM_LE(disk.previous),
        .watermark = GUINT64_FROM_LE(disk.watermark),
        .offset = GUINT64_FROM_LE(disk.offset),
        .raw_bytes = GUINT64_FROM_LE(disk.raw_bytes),
        .stored_bytes = GUINT64_FROM_LE(disk.stored_bytes),
        .metadata_bytes = GUINT32_FROM_LE(disk.metadata_bytes),
    };
    memcpy(header->epoch_id, disk.epoch_id, sizeof(disk.epoch_id));
    memcpy(header->census, disk.census, sizeof(disk.census));
    memcpy(header->digest, disk.digest, sizeof(disk.digest));
    if (header->id != id || header->offset != offset ||
        !header_is_sane(header, guard, slot_bytes)) {
        return false;
    }
    for (uint32_t i = 0; i < header->member_count; i++) {
        header->members[i].id = GUINT64_FROM_LE(disk.members[i].id);
        header->members[i].sequence =
            GUINT64_FROM_LE(disk.members[i].sequence);
    }
    return true;
}
