/*
 * Blobstore core: the bytes of a key slot
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keyslot-layout.h"

#include <stddef.h>
#include <string.h>

typedef struct DiskKeySlot {
    uint32_t type;
    uint32_t kdf_memory_kib;
    uint32_t kdf_iterations;
    uint32_t kdf_parallelism;
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

static bool is_zero(const uint8_t *bytes, size_t count)
{
    while (count && !bytes[count - 1]) {
        count--;
    }
    return !count;
}

/* Zero for a slot that is not in use */
void blob_key_slot_digest(const uint8_t slot[BLOB_KEY_SLOT_BYTES],
                            uint8_t out[BLOB_DIGEST_BYTES])
{
    memset(out, 0, BLOB_DIGEST_BYTES);
    if (!is_zero(slot, BLOB_KEY_SLOT_BYTES)) {
        blob_digest_sha256(slot, BLOB_KEY_SLOT_BYTES, out);
    }
}

bool blob_key_slot_is_intact(const uint8_t slot[BLOB_KEY_SLOT_BYTES],
                               const uint8_t expected[BLOB_DIGEST_BYTES])
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    blob_key_slot_digest(slot, digest);
    return !memcmp(digest, expected, sizeof(digest));
}

void blob_key_slot_encode(const BlobKeySlot *slot,
                          uint8_t out[BLOB_KEY_SLOT_BYTES])
{
    DiskKeySlot disk = {
        .type = GUINT32_TO_LE(slot->type),
        .kdf_memory_kib = GUINT32_TO_LE(slot->kdf_memory_kib),
        .kdf_iterations = GUINT32_TO_LE(slot->kdf_iterations),
        .kdf_parallelism = GUINT32_TO_LE(slot->kdf_parallelism),
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
    KDF_MAX_MEMORY_KIB = 1 << 17,
    KDF_MAX_ITERATIONS = 64,
    KDF_MAX_PARALLELISM = 16,
    KDF_MIN_MEMORY_KIB_PER_LANE = 8,
};

uint64_t blob_key_slot_work(const BlobKeySlot *slot)
{
    return (uint64_t)slot->kdf_memory_kib * slot->kdf_iterations;
}

static bool kdf_is_sane(const BlobKeySlot *slot)
{
    return slot->kdf_parallelism >= 1 &&
           slot->kdf_parallelism <= KDF_MAX_PARALLELISM &&
           slot->kdf_iterations >= 1 &&
           slot->kdf_iterations <= KDF_MAX_ITERATIONS &&
           slot->kdf_memory_kib >=
           KDF_MIN_MEMORY_KIB_PER_LANE * slot->kdf_parallelism &&
           slot->kdf_memory_kib <= KDF_MAX_MEMORY_KIB &&
           blob_key_slot_work(slot) <= BLOB_KEY_WORK_MAX_KIB;
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
           (stretched || (!disk->kdf_memory_kib && !disk->kdf_iterations &&
                          !disk->kdf_parallelism)) &&
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

bool blob_key_slot_decode(const uint8_t in[BLOB_KEY_SLOT_BYTES],
                          BlobKeySlot *slot)
{
    DiskKeySlot disk;

    memcpy(&disk, in, sizeof(disk));
    *slot = (BlobKeySlot) {
        .type = GUINT32_FROM_LE(disk.type),
        .kdf_memory_kib = GUINT32_FROM_LE(disk.kdf_memory_kib),
        .kdf_iterations = GUINT32_FROM_LE(disk.kdf_iterations),
        .kdf_parallelism = GUINT32_FROM_LE(disk.kdf_parallelism),
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
