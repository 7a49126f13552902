/*
 * Blobstore core: the bytes of the superblock and its key slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "layout-private.h"

#include <stddef.h>
#include <string.h>
#include "blobstore/crypto/keyslot-layout.h"

typedef struct DiskSuperblock {
    uint32_t version;
    uint32_t state;
    uint64_t incompatible;
    uint64_t ro_compatible;
    uint64_t compatible;
    uint8_t uuid[16];
    uint64_t generation;
    uint32_t block_bytes;
    uint32_t conversion;
    uint64_t directory_offset;
    uint64_t directory_slot_bytes;
    uint64_t data_offset;
    uint8_t seed[32];
    uint8_t key_slot_digests[BLOB_KEY_SLOTS][BLOB_DIGEST_BYTES];
    uint8_t previous_nonce[12];
    uint8_t previous_tag[16];
    uint8_t previous_wrapped[32];
    uint8_t epoch_id[BLOB_LINK_BYTES];
    uint8_t keyed_check[32];
    uint8_t head_digest[32];
    uint8_t key_slots[BLOB_KEY_SLOTS][BLOB_KEY_SLOT_BYTES];
} DiskSuperblock;

G_STATIC_ASSERT(sizeof(DiskSuperblock) == BLOB_SUPERBLOCK_BYTES);
G_STATIC_ASSERT(offsetof(DiskSuperblock, generation) == 48);
G_STATIC_ASSERT(offsetof(DiskSuperblock, seed) == 88);
G_STATIC_ASSERT(offsetof(DiskSuperblock, key_slot_digests) == 120);
G_STATIC_ASSERT(offsetof(DiskSuperblock, keyed_check) == 448);
G_STATIC_ASSERT(offsetof(DiskSuperblock, head_digest) == 480);
G_STATIC_ASSERT(offsetof(DiskSuperblock, key_slots) ==
                BLOB_SUPERBLOCK_HEAD_BYTES);

static void encode_key_slots(const BlobKeySlots *slots, DiskSuperblock *disk)
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        memcpy(disk->key_slots[n], slots->bytes[n], BLOB_KEY_SLOT_BYTES);
        blob_key_slot_digest(slots->bytes[n], disk->key_slot_digests[n]);
        if (slots->damaged[n]) {
            /* A damaged key slot stays damaged until it is removed. */
            disk->key_slot_digests[n][0] ^= 0xff;
        }
    }
}

void blob_layout_encode_superblock(BlobSuperblock *super,
                                   BlobDigest *keyed,
                                   uint8_t out[BLOB_SUPERBLOCK_BYTES])
{
    DiskSuperblock disk = {
        .version = GUINT32_TO_LE(super->version),
        .state = GUINT32_TO_LE(super->state),
        .incompatible = GUINT64_TO_LE(super->incompatible),
        .ro_compatible = GUINT64_TO_LE(super->ro_compatible),
        .compatible = GUINT64_TO_LE(super->compatible),
        .generation = GUINT64_TO_LE(super->generation),
        .block_bytes = GUINT32_TO_LE(BLOB_BLOCK_BYTES),
        .conversion = GUINT32_TO_LE(super->conversion),
        .directory_offset = GUINT64_TO_LE(super->directory_offset),
        .directory_slot_bytes = GUINT64_TO_LE(super->directory_slot_bytes),
        .data_offset = GUINT64_TO_LE(super->data_offset),
    };

    memcpy(disk.uuid, super->uuid, sizeof(disk.uuid));
    memcpy(disk.seed, super->seed, sizeof(disk.seed));
    memcpy(disk.previous_nonce, super->previous_key.nonce,
           sizeof(disk.previous_nonce));
    memcpy(disk.previous_tag, super->previous_key.tag,
           sizeof(disk.previous_tag));
    memcpy(disk.previous_wrapped, super->previous_key.wrapped,
           sizeof(disk.previous_wrapped));
    memcpy(disk.epoch_id, super->epoch_id, sizeof(disk.epoch_id));
    encode_key_slots(&super->key_slots, &disk);
    if (keyed) {
        blob_digest_check(keyed, &disk, offsetof(DiskSuperblock, keyed_check),
                          disk.keyed_check);
    }
    /* The marker has the same bytes in every version of this program. */
    if (super->state != BLOB_STATE_CREATING) {
        blob_digest_sha256(&disk, offsetof(DiskSuperblock, head_digest),
                           disk.head_digest);
    }
    memcpy(super->digest, disk.head_digest, sizeof(super->digest));
    memcpy(out, &disk, sizeof(disk));
}

bool blob_layout_superblock_head_is_intact(
    const uint8_t in[BLOB_SUPERBLOCK_BYTES])
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    blob_digest_sha256(in, offsetof(DiskSuperblock, head_digest), digest);
    return !memcmp(digest, in + offsetof(DiskSuperblock, head_digest),
                   sizeof(digest));
}

bool blob_layout_superblock_is_authentic(
    const uint8_t in[BLOB_SUPERBLOCK_HEAD_BYTES], BlobDigest *keyed)
{
    uint8_t check[BLOB_DIGEST_BYTES];

    blob_digest_check(keyed, in, offsetof(DiskSuperblock, keyed_check),
                      check);
    return blob_digest_equal(check,
                             in + offsetof(DiskSuperblock, keyed_check),
                             sizeof(check));
}

static bool geometry_is_sane(const BlobSuperblock *super)
{
    return super->directory_offset == BLOB_DIRECTORY_OFFSET &&
           blob_layout_is_aligned(super->directory_slot_bytes) &&
           super->directory_slot_bytes >= 2 * BLOB_BLOCK_BYTES &&
           super->directory_slot_bytes <= BLOB_DIRECTORY_SLOT_MAX_BYTES &&
           super->data_offset == super->directory_offset +
                                 2 * super->directory_slot_bytes;
}

/* Whether the conversion agrees with the state and with the sealed feature */
static bool state_is_sane(const BlobSuperblock *super)
{
    switch (super->state) {
    case BLOB_STATE_CREATING:
        return true;
    case BLOB_STATE_READY:
    case BLOB_STATE_WIPING:
        return super->conversion == BLOB_CONVERSION_NONE;
    case BLOB_STATE_CONVERTING:
        return super->conversion >= BLOB_CONVERSION_SEAL &&
               super->conversion <= BLOB_CONVERSION_UNSEAL &&
               blob_superblock_is_sealed(super);
    default:
        return false;
    }
}

static bool superblock_is_sane(const BlobSuperblock *super, size_t bytes,
                               uint32_t block_bytes)
{
    return bytes == sizeof(DiskSuperblock) &&
           block_bytes == BLOB_BLOCK_BYTES && state_is_sane(super) &&
           super->generation <= BLOB_GENERATION_MAX &&
           (super->state == BLOB_STATE_CREATING || geometry_is_sane(super));
}

static void decode_fields(const DiskSuperblock *disk, BlobSuperblock *super)
{
    *super = (BlobSuperblock) {
        .version = GUINT32_FROM_LE(disk->version),
        .state = GUINT32_FROM_LE(disk->state),
        .conversion = GUINT32_FROM_LE(disk->conversion),
        .incompatible = GUINT64_FROM_LE(disk->incompatible),
        .ro_compatible = GUINT64_FROM_LE(disk->ro_compatible),
        .compatible = GUINT64_FROM_LE(disk->compatible),
        .generation = GUINT64_FROM_LE(disk->generation),
        .directory_offset = GUINT64_FROM_LE(disk->directory_offset),
        .directory_slot_bytes = GUINT64_FROM_LE(disk->directory_slot_bytes),
        .data_offset = GUINT64_FROM_LE(disk->data_offset),
    };
    memcpy(super->uuid, disk->uuid, sizeof(disk->uuid));
    memcpy(super->seed, disk->seed, sizeof(disk->seed));
    memcpy(super->previous_key.nonce, disk->previous_nonce,
           sizeof(disk->previous_nonce));
    memcpy(super->previous_key.tag, disk->previous_tag,
           sizeof(disk->previous_tag));
    memcpy(super->previous_key.wrapped, disk->previous_wrapped,
           sizeof(disk->previous_wrapped));
    memcpy(super->epoch_id, disk->epoch_id, sizeof(disk->epoch_id));
    memcpy(super->digest, disk->head_digest, sizeof(super->digest));
    if (!blob_superblock_is_sealed(super)) {
        return;
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        memcpy(super->key_slots.bytes[n], disk->key_slots[n],
               BLOB_KEY_SLOT_BYTES);
        super->key_slots.damaged[n] =
            !blob_key_slot_is_intact(disk->key_slots[n],
                                     disk->key_slot_digests[n]);
    }
}

bool blob_layout_decode_superblock(const uint8_t *in, size_t bytes,
                                   BlobSuperblock *super, GError **error)
{
    DiskSuperblock disk = { 0 };
    uint64_t unknown;

    /* A newer version may have another length: look at the version first. */
    if (bytes) {
        memcpy(&disk, in, MIN(bytes, sizeof(disk)));
    }
    decode_fields(&disk, super);
    if (super->version != BLOB_FORMAT_VERSION) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED,
                    "store has format version %u, this program knows "
                    "version %u: use a newer one",
                    super->version, BLOB_FORMAT_VERSION);
        return false;
    }
    unknown = super->incompatible & ~BLOB_FEATURE_SEALED;
    if (unknown) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED,
                    "store uses features (bits 0x%" G_GINT64_MODIFIER "x) "
                    "that this program does not know: use a newer one",
                    unknown);
        return false;
    }
    if (!superblock_is_sane(super, bytes,
                            GUINT32_FROM_LE(disk.block_bytes))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "superblock is intact but makes no sense");
        return false;
    }
    return true;
}

void blob_layout_mend_key_slots(uint8_t own[BLOB_SUPERBLOCK_BYTES],
                                const uint8_t other[BLOB_SUPERBLOCK_BYTES])
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        const uint8_t *digest = own +
            offsetof(DiskSuperblock, key_slot_digests) +
            n * BLOB_DIGEST_BYTES;
        size_t at = offsetof(DiskSuperblock, key_slots) +
                    n * BLOB_KEY_SLOT_BYTES;

        if (!blob_key_slot_is_intact(own + at, digest) &&
            blob_key_slot_is_intact(other + at, digest)) {
            memcpy(own + at, other + at, BLOB_KEY_SLOT_BYTES);
        }
    }
}
