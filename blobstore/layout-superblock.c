/*
 * Blobstore core: the bytes of the superblock and its key slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "layout-private.h"

#include <stddef.h>
#include <string.h>

typedef struct DiskKeySlot {
    uint32_t type;
    uint32_t kdf_memory_kib;
    uint32_t kdf_passes;
    uint32_t kdf_lanes;
    uint8_t salt[32];
    uint8_t nonce[12];
    uint8_t tag[16];
    uint32_t wrapped_bytes;
    uint32_t mechanism;
    uint32_t hash;
    uint8_t commitment[32];
    uint8_t reserved0[8];
    char uri[384];
    uint8_t wrapped[512];
} DiskKeySlot;

G_STATIC_ASSERT(sizeof(DiskKeySlot) == BLOB_KEY_SLOT_BYTES);
G_STATIC_ASSERT(offsetof(DiskKeySlot, wrapped_bytes) == 76);
G_STATIC_ASSERT(offsetof(DiskKeySlot, commitment) == 88);
G_STATIC_ASSERT(offsetof(DiskKeySlot, uri) == 128);

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
    uint8_t reserved0[4];
    uint8_t keyed_check[32];
    uint8_t head_digest[32];
    uint8_t reserved1[8];
    uint8_t key_slots[BLOB_KEY_SLOTS][BLOB_KEY_SLOT_BYTES];
} DiskSuperblock;

G_STATIC_ASSERT(sizeof(DiskSuperblock) == BLOB_SUPERBLOCK_BYTES);
G_STATIC_ASSERT(offsetof(DiskSuperblock, generation) == 48);
G_STATIC_ASSERT(offsetof(DiskSuperblock, seed) == 88);
G_STATIC_ASSERT(offsetof(DiskSuperblock, key_slot_digests) == 120);
G_STATIC_ASSERT(offsetof(DiskSuperblock, keyed_check) == 440);
G_STATIC_ASSERT(offsetof(DiskSuperblock, head_digest) == 472);
G_STATIC_ASSERT(offsetof(DiskSuperblock, key_slots) ==
                BLOB_SUPERBLOCK_HEAD_BYTES);

static bool is_zero(const uint8_t *bytes, size_t count)
{
    while (count && !bytes[count - 1]) {
        count--;
    }
    return !count;
}

/* Zero for a slot that is not in use */
static void digest_key_slot(const uint8_t slot[BLOB_KEY_SLOT_BYTES],
                            uint8_t out[BLOB_DIGEST_BYTES])
{
    memset(out, 0, BLOB_DIGEST_BYTES);
    if (!is_zero(slot, BLOB_KEY_SLOT_BYTES)) {
        blob_digest_sha256(slot, BLOB_KEY_SLOT_BYTES, out);
    }
}

static bool key_slot_is_intact(const uint8_t slot[BLOB_KEY_SLOT_BYTES],
                               const uint8_t expected[BLOB_DIGEST_BYTES])
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    digest_key_slot(slot, digest);
    return !memcmp(digest, expected, sizeof(digest));
}

static void encode_key_slots(const BlobKeySlots *slots, DiskSuperblock *disk)
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        memcpy(disk->key_slots[n], slots->bytes[n], BLOB_KEY_SLOT_BYTES);
        digest_key_slot(slots->bytes[n], disk->key_slot_digests[n]);
        if (slots->damaged[n]) {
            /* It stays that, until it is removed. */
            disk->key_slot_digests[n][0] ^= 0xff;
        }
    }
}

void blob_layout_encode_superblock(const BlobSuperblock *super,
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
    encode_key_slots(&super->key_slots, &disk);
    if (keyed) {
        blob_digest_check(keyed, &disk, offsetof(DiskSuperblock, keyed_check),
                          disk.keyed_check);
    }
    /* The marker has the same bytes in every version of this program. */
    if (super->state != BLOB_STATE_FORMATTING) {
        blob_digest_sha256(&disk, offsetof(DiskSuperblock, head_digest),
                           disk.head_digest);
    }
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

/* Which conversion there is goes with the state, and with being sealed. */
static bool state_is_sane(const BlobSuperblock *super)
{
    switch (super->state) {
    case BLOB_STATE_FORMATTING:
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
           (super->state == BLOB_STATE_FORMATTING || geometry_is_sane(super));
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
    if (!blob_superblock_is_sealed(super)) {
        return;
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        memcpy(super->key_slots.bytes[n], disk->key_slots[n],
               BLOB_KEY_SLOT_BYTES);
        super->key_slots.damaged[n] =
            !key_slot_is_intact(disk->key_slots[n],
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

        if (!key_slot_is_intact(own + at, digest) &&
            key_slot_is_intact(other + at, digest)) {
            memcpy(own + at, other + at, BLOB_KEY_SLOT_BYTES);
        }
    }
}

void blob_layout_encode_key_slot(const BlobKeySlot *slot,
                                 uint8_t out[BLOB_KEY_SLOT_BYTES])
{
    DiskKeySlot disk = {
        .type = GUINT32_TO_LE(slot->type),
        .kdf_memory_kib = GUINT32_TO_LE(slot->kdf_memory_kib),
        .kdf_passes = GUINT32_TO_LE(slot->kdf_passes),
        .kdf_lanes = GUINT32_TO_LE(slot->kdf_lanes),
        .wrapped_bytes = GUINT32_TO_LE(slot->wrapped_bytes),
        .mechanism = GUINT32_TO_LE(slot->mechanism),
        .hash = GUINT32_TO_LE(slot->hash),
    };

    memcpy(disk.salt, slot->salt, sizeof(disk.salt));
    memcpy(disk.nonce, slot->nonce, sizeof(disk.nonce));
    memcpy(disk.tag, slot->tag, sizeof(disk.tag));
    memcpy(disk.commitment, slot->commitment, sizeof(disk.commitment));
    memcpy(disk.uri, slot->uri, sizeof(disk.uri));
    memcpy(disk.wrapped, slot->wrapped, sizeof(disk.wrapped));
    memcpy(out, &disk, sizeof(disk));
}

/* R15: what a hostile slot may demand before its key has been unwrapped */
enum {
    KDF_MAX_MEMORY_KIB = 1 << 20,
    KDF_MAX_PASSES = 64,
    KDF_MAX_LANES = 16,
    KDF_MAX_WORK_KIB = 4 << 20,
    KDF_MIN_MEMORY_KIB_PER_LANE = 8,
};

static bool kdf_is_sane(const BlobKeySlot *slot)
{
    return slot->kdf_lanes >= 1 && slot->kdf_lanes <= KDF_MAX_LANES &&
           slot->kdf_passes >= 1 && slot->kdf_passes <= KDF_MAX_PASSES &&
           slot->kdf_memory_kib >=
           KDF_MIN_MEMORY_KIB_PER_LANE * slot->kdf_lanes &&
           slot->kdf_memory_kib <= KDF_MAX_MEMORY_KIB &&
           (uint64_t)slot->kdf_memory_kib * slot->kdf_passes <=
           KDF_MAX_WORK_KIB;
}

/* Printable ASCII, as errors and lists of key slots show it, then zeros */
static bool uri_is_sane(const BlobKeySlot *slot)
{
    size_t bytes = 0;

    while (bytes < sizeof(slot->uri) && g_ascii_isgraph(slot->uri[bytes])) {
        bytes++;
    }
    return bytes && bytes < sizeof(slot->uri) &&
           is_zero((const uint8_t *)slot->uri + bytes,
                   sizeof(slot->uri) - bytes);
}

static bool token_is_sane(const BlobKeySlot *slot)
{
    return (slot->mechanism == BLOB_KEY_MECHANISM_RSA_OAEP
            ? slot->hash == BLOB_KEY_HASH_SHA1 ||
              slot->hash == BLOB_KEY_HASH_SHA256
            : slot->mechanism == BLOB_KEY_MECHANISM_AES_KEY_WRAP &&
              slot->hash == BLOB_KEY_HASH_NONE) &&
           slot->wrapped_bytes >= BLOB_KEY_TOKEN_BYTES && uri_is_sane(slot);
}

/* Bytes that mean nothing could make one slot open with many secrets. */
static bool unused_is_zero(const DiskKeySlot *disk, const BlobKeySlot *slot)
{
    bool token = slot->type == BLOB_KEY_SLOT_TOKEN;
    bool stretched = slot->type == BLOB_KEY_SLOT_PASSPHRASE;

    return is_zero(disk->reserved0, sizeof(disk->reserved0)) &&
           is_zero(disk->wrapped + slot->wrapped_bytes,
                   sizeof(disk->wrapped) - slot->wrapped_bytes) &&
           (stretched || (!disk->kdf_memory_kib && !disk->kdf_passes &&
                          !disk->kdf_lanes)) &&
           (token ? is_zero(disk->salt, sizeof(disk->salt)) &&
                    is_zero(disk->nonce, sizeof(disk->nonce)) &&
                    is_zero(disk->tag, sizeof(disk->tag)) &&
                    is_zero(disk->commitment, sizeof(disk->commitment))
                  : !disk->mechanism && !disk->hash &&
                    is_zero((const uint8_t *)disk->uri, sizeof(disk->uri)));
}

static bool type_is_sane(const BlobKeySlot *slot)
{
    switch (slot->type) {
    case BLOB_KEY_SLOT_PASSPHRASE:
        return slot->wrapped_bytes == BLOB_KEY_BYTES && kdf_is_sane(slot);
    case BLOB_KEY_SLOT_RAW:
        return slot->wrapped_bytes == BLOB_KEY_BYTES;
    case BLOB_KEY_SLOT_TOKEN:
        return slot->wrapped_bytes <= BLOB_KEY_WRAPPED_MAX_BYTES &&
               token_is_sane(slot);
    default:
        return false;
    }
}

bool blob_layout_decode_key_slot(const uint8_t in[BLOB_KEY_SLOT_BYTES],
                                 BlobKeySlot *slot)
{
    DiskKeySlot disk;

    memcpy(&disk, in, sizeof(disk));
    *slot = (BlobKeySlot) {
        .type = GUINT32_FROM_LE(disk.type),
        .kdf_memory_kib = GUINT32_FROM_LE(disk.kdf_memory_kib),
        .kdf_passes = GUINT32_FROM_LE(disk.kdf_passes),
        .kdf_lanes = GUINT32_FROM_LE(disk.kdf_lanes),
        .wrapped_bytes = GUINT32_FROM_LE(disk.wrapped_bytes),
        .mechanism = GUINT32_FROM_LE(disk.mechanism),
        .hash = GUINT32_FROM_LE(disk.hash),
    };
    memcpy(slot->salt, disk.salt, sizeof(disk.salt));
    memcpy(slot->nonce, disk.nonce, sizeof(disk.nonce));
    memcpy(slot->tag, disk.tag, sizeof(disk.tag));
    memcpy(slot->commitment, disk.commitment, sizeof(disk.commitment));
    memcpy(slot->uri, disk.uri, sizeof(disk.uri));
    memcpy(slot->wrapped, disk.wrapped, sizeof(disk.wrapped));
    return slot->type == BLOB_KEY_SLOT_UNUSED
           ? is_zero(in, BLOB_KEY_SLOT_BYTES)
           : type_is_sane(slot) && unused_is_zero(&disk, slot);
}
