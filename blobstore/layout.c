/*
 * Blobstore core: the bytes on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "layout.h"

#include <stddef.h>
#include <string.h>

/* All integers little-endian; reserved bytes are written as zero. */

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
G_STATIC_ASSERT(offsetof(DiskHeader, check) == 1248);

typedef struct DiskSuperblock {
    uint32_t version;
    uint32_t state;
    uint64_t incompatible;
    uint64_t ro_compatible;
    uint64_t compatible;
    uint8_t uuid[16];
    uint64_t generation;
    uint32_t block_bytes;
    uint32_t reserved0;
    uint64_t directory_offset;
    uint64_t directory_slot_bytes;
    uint64_t data_offset;
    uint8_t seed[32];
    uint8_t reserved1[392];
    uint8_t key_slots[8][1024];
} DiskSuperblock;

G_STATIC_ASSERT(sizeof(DiskSuperblock) == BLOB_SUPERBLOCK_BYTES);
G_STATIC_ASSERT(offsetof(DiskSuperblock, generation) == 48);
G_STATIC_ASSERT(offsetof(DiskSuperblock, seed) == 88);
G_STATIC_ASSERT(offsetof(DiskSuperblock, key_slots) == 512);

typedef struct DiskDirectory {
    uint32_t epoch;
    uint32_t flags;
    uint8_t epoch_id[16];
    uint64_t superblock_generation;
    uint64_t capacity;
    uint64_t next_id;
    uint32_t entry_count;
    uint32_t reserved0;
    uint8_t key_commitment[32];
    uint8_t reserved1[40];
} DiskDirectory;

enum { DISK_DIRECTORY_CLEAN = 1 << 0 };

G_STATIC_ASSERT(sizeof(DiskDirectory) == BLOB_DIRECTORY_HEAD_BYTES);
G_STATIC_ASSERT(offsetof(DiskDirectory, key_commitment) == 56);

typedef struct DiskEntry {
    uint64_t id;
    uint64_t sequence;
    uint64_t max_size;
    uint64_t offset;
    uint64_t slot_bytes;
    uint64_t raw_bytes;
    uint64_t stored_bytes;
    uint32_t metadata_bytes;
    uint8_t kind;
    uint8_t flags;
    uint8_t slot;
    uint8_t reserved0;
    char owner[64];
    char name[64];
    uint8_t reserved1[32];
} DiskEntry;

G_STATIC_ASSERT(sizeof(DiskEntry) == BLOB_ENTRY_BYTES);
G_STATIC_ASSERT(offsetof(DiskEntry, owner) == 64);

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + BLOB_BLOCK_BYTES - 1) / BLOB_BLOCK_BYTES *
           BLOB_BLOCK_BYTES;
}

static bool is_aligned(uint64_t bytes)
{
    return bytes % BLOB_BLOCK_BYTES == 0;
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

uint64_t blob_layout_directory_slot_bytes(uint32_t blobs)
{
    return blob_layout_image_bytes(BLOB_DIRECTORY_HEAD_BYTES +
                                   (uint64_t)blobs * BLOB_ENTRY_BYTES);
}

uint32_t blob_layout_directory_room(uint64_t slot_bytes)
{
    return (slot_bytes - 2 * BLOB_HEADER_BYTES - BLOB_DIRECTORY_HEAD_BYTES) /
           BLOB_ENTRY_BYTES;
}

void blob_layout_encode_header(const BlobHeader *header, BlobDigest *digest,
                               uint8_t out[BLOB_HEADER_BYTES])
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
    blob_digest_check(digest, &disk, offsetof(DiskHeader, check), disk.check);
    memcpy(out, &disk, sizeof(disk));
}

/*
 * R15: lengths may be anything, also where the check value is right.  The
 * slot was made for the raw length: this bounds inflation.
 */
static bool lengths_are_sane(uint32_t flags, uint64_t raw_bytes,
                             uint64_t stored_bytes, uint32_t metadata_bytes,
                             uint64_t slot_bytes)
{
    if (raw_bytes > slot_bytes - 2 * BLOB_HEADER_BYTES ||
        metadata_bytes > BLOB_METADATA_MAX_BYTES ||
        metadata_bytes > raw_bytes) {
        return false;
    }
    switch (flags) {
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

static bool header_is_sane(const BlobHeader *header, uint64_t slot_bytes)
{
    return header->member_count <= BLOB_MEMBERS_MAX &&
           lengths_are_sane(header->flags, header->raw_bytes,
                            header->stored_bytes, header->metadata_bytes,
                            slot_bytes);
}

bool blob_layout_decode_header(const uint8_t in[BLOB_HEADER_BYTES],
                               BlobDigest *digest, uint64_t id,
                               uint64_t offset, uint64_t slot_bytes,
                               BlobHeader *header)
{
    DiskHeader disk;
    uint8_t check[BLOB_DIGEST_BYTES];

    memcpy(&disk, in, sizeof(disk));
    if (memcmp(disk.magic, BLOB_MAGIC, sizeof(disk.magic))) {
        return false;
    }
    blob_digest_check(digest, &disk, offsetof(DiskHeader, check), check);
    if (memcmp(disk.check, check, sizeof(check))) {
        return false;
    }
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
        !header_is_sane(header, slot_bytes)) {
        return false;
    }
    for (uint32_t i = 0; i < header->member_count; i++) {
        header->members[i].id = GUINT64_FROM_LE(disk.members[i].id);
        header->members[i].sequence =
            GUINT64_FROM_LE(disk.members[i].sequence);
    }
    return true;
}

void blob_layout_encode_superblock(const BlobSuperblock *super,
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
        .directory_offset = GUINT64_TO_LE(super->directory_offset),
        .directory_slot_bytes = GUINT64_TO_LE(super->directory_slot_bytes),
        .data_offset = GUINT64_TO_LE(super->data_offset),
    };

    memcpy(disk.uuid, super->uuid, sizeof(disk.uuid));
    memcpy(disk.seed, super->seed, sizeof(disk.seed));
    memcpy(out, &disk, sizeof(disk));
}

static bool geometry_is_sane(const BlobSuperblock *super)
{
    return super->directory_offset == BLOB_DIRECTORY_OFFSET &&
           is_aligned(super->directory_slot_bytes) &&
           super->directory_slot_bytes >= 2 * BLOB_BLOCK_BYTES &&
           super->directory_slot_bytes <= BLOB_DIRECTORY_SLOT_MAX_BYTES &&
           super->data_offset == super->directory_offset +
                                 2 * super->directory_slot_bytes;
}

bool blob_layout_decode_superblock(const uint8_t *in, size_t bytes,
                                   BlobSuperblock *super, GError **error)
{
    DiskSuperblock disk = { 0 };

    /* A newer version may have another length: look at the version first. */
    if (bytes) {
        memcpy(&disk, in, MIN(bytes, sizeof(disk)));
    }
    *super = (BlobSuperblock) {
        .version = GUINT32_FROM_LE(disk.version),
        .state = GUINT32_FROM_LE(disk.state),
        .incompatible = GUINT64_FROM_LE(disk.incompatible),
        .ro_compatible = GUINT64_FROM_LE(disk.ro_compatible),
        .compatible = GUINT64_FROM_LE(disk.compatible),
        .generation = GUINT64_FROM_LE(disk.generation),
        .directory_offset = GUINT64_FROM_LE(disk.directory_offset),
        .directory_slot_bytes = GUINT64_FROM_LE(disk.directory_slot_bytes),
        .data_offset = GUINT64_FROM_LE(disk.data_offset),
    };
    memcpy(super->uuid, disk.uuid, sizeof(disk.uuid));
    memcpy(super->seed, disk.seed, sizeof(disk.seed));
    if (super->version != BLOB_FORMAT_VERSION) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED,
                    "store has format version %u, this program knows "
                    "version %u: use a newer one",
                    super->version, BLOB_FORMAT_VERSION);
        return false;
    }
    if (super->incompatible) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED,
                    "store uses features (bits 0x%" G_GINT64_MODIFIER "x) "
                    "that this program does not know: use a newer one",
                    super->incompatible);
        return false;
    }
    if (bytes != sizeof(disk) ||
        (super->state != BLOB_STATE_FORMATTING &&
         super->state != BLOB_STATE_READY) ||
        GUINT32_FROM_LE(disk.block_bytes) != BLOB_BLOCK_BYTES ||
        (super->state == BLOB_STATE_READY && !geometry_is_sane(super))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "superblock is intact but makes no sense");
        return false;
    }
    return true;
}

void blob_layout_clear_directory(BlobDirectory *directory)
{
    g_clear_pointer(&directory->entries, g_array_unref);
}

static void encode_entry(const BlobEntry *entry, DiskEntry *disk)
{
    *disk = (DiskEntry) {
        .id = GUINT64_TO_LE(entry->id),
        .sequence = GUINT64_TO_LE(entry->sequence),
        .max_size = GUINT64_TO_LE(entry->max_size),
        .offset = GUINT64_TO_LE(entry->offset),
        .slot_bytes = GUINT64_TO_LE(entry->slot_bytes),
        .raw_bytes = GUINT64_TO_LE(entry->raw_bytes),
        .stored_bytes = GUINT64_TO_LE(entry->stored_bytes),
        .metadata_bytes = GUINT32_TO_LE(entry->metadata_bytes),
        .kind = entry->kind,
        .flags = entry->flags,
        .slot = entry->slot,
    };
    memcpy(disk->owner, entry->owner, sizeof(disk->owner));
    memcpy(disk->name, entry->name, sizeof(disk->name));
}

GBytes *blob_layout_encode_directory(const BlobDirectory *directory)
{
    uint32_t count = directory->entries->len;
    size_t bytes = sizeof(DiskDirectory) + count * sizeof(DiskEntry);
    uint8_t *out = g_malloc0(bytes);
    DiskDirectory disk = {
        .epoch = GUINT32_TO_LE(directory->epoch),
        .flags = GUINT32_TO_LE(directory->clean ? DISK_DIRECTORY_CLEAN : 0),
        .superblock_generation =
            GUINT64_TO_LE(directory->superblock_generation),
        .capacity = GUINT64_TO_LE(directory->capacity),
        .next_id = GUINT64_TO_LE(directory->next_id),
        .entry_count = GUINT32_TO_LE(count),
    };

    memcpy(disk.epoch_id, directory->epoch_id, sizeof(disk.epoch_id));
    memcpy(out, &disk, sizeof(disk));
    for (uint32_t i = 0; i < count; i++) {
        DiskEntry entry;

        encode_entry(&g_array_index(directory->entries, BlobEntry, i), &entry);
        memcpy(out + sizeof(disk) + i * sizeof(entry), &entry, sizeof(entry));
    }
    return g_bytes_new_take(out, bytes);
}

bool blob_name_is_valid(const char *name)
{
    size_t length = strlen(name);

    if (length < 1 || length > BLOB_NAME_MAX_BYTES) {
        return false;
    }
    for (const char *c = name; *c; c++) {
        if (*c <= ' ' || *c > '~' || *c == '/') {
            return false;
        }
    }
    return true;
}

/* NUL-terminated and zero-filled, so that equal names are equal bytes */
static bool decode_name(const char in[64], char out[64])
{
    memcpy(out, in, 64);
    if (out[63]) {
        return false;
    }
    for (size_t i = strlen(out); i < 64; i++) {
        if (out[i]) {
            return false;
        }
    }
    return blob_name_is_valid(out);
}

static bool version_is_sane(const BlobEntry *entry, uint32_t epoch)
{
    if (entry->sequence == 0) {
        return !entry->raw_bytes && !entry->stored_bytes &&
               !entry->metadata_bytes && !entry->flags && !entry->slot;
    }
    return blob_sequence_epoch(entry->sequence) < epoch &&
           lengths_are_sane(entry->flags, entry->raw_bytes,
                            entry->stored_bytes, entry->metadata_bytes,
                            entry->slot_bytes);
}

static bool decode_entry(const DiskEntry *disk, const BlobSuperblock *super,
                         const BlobDirectory *directory, BlobEntry *entry)
{
    *entry = (BlobEntry) {
        .id = GUINT64_FROM_LE(disk->id),
        .sequence = GUINT64_FROM_LE(disk->sequence),
        .max_size = GUINT64_FROM_LE(disk->max_size),
        .offset = GUINT64_FROM_LE(disk->offset),
        .slot_bytes = GUINT64_FROM_LE(disk->slot_bytes),
        .raw_bytes = GUINT64_FROM_LE(disk->raw_bytes),
        .stored_bytes = GUINT64_FROM_LE(disk->stored_bytes),
        .metadata_bytes = GUINT32_FROM_LE(disk->metadata_bytes),
        .kind = disk->kind,
        .flags = disk->flags,
        .slot = disk->slot,
    };
    return decode_name(disk->owner, entry->owner) &&
           decode_name(disk->name, entry->name) &&
           entry->id >= BLOB_ID_FIRST && entry->id < directory->next_id &&
           (entry->kind == BLOB_KIND_PERMANENT ||
            entry->kind == BLOB_KIND_SAVESTATE) &&
           entry->slot <= 1 &&
           entry->max_size >= 1 && entry->max_size <= BLOB_MAX_SIZE_BYTES &&
           entry->slot_bytes == blob_layout_slot_bytes(entry->max_size) &&
           is_aligned(entry->offset) && entry->offset >= super->data_offset &&
           entry->offset <= directory->capacity &&
           2 * entry->slot_bytes <= directory->capacity - entry->offset &&
           version_is_sane(entry, directory->epoch);
}

static gint compare_offsets(gconstpointer a, gconstpointer b)
{
    uint64_t x = ((const BlobEntry *)a)->offset;
    uint64_t y = ((const BlobEntry *)b)->offset;

    return x < y ? -1 : x > y;
}

static bool entries_are_distinct(const GArray *entries)
{
    g_autoptr(GHashTable) names =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GArray) sorted =
        g_array_sized_new(FALSE, FALSE, sizeof(BlobEntry), entries->len);
    uint64_t end = 0;

    if (entries->len) {
        g_array_append_vals(sorted, entries->data, entries->len);
    }
    g_array_sort(sorted, compare_offsets);
    for (guint i = 0; i < sorted->len; i++) {
        const BlobEntry *entry = &g_array_index(sorted, BlobEntry, i);
        char *name = g_strdup_printf("%s/%s", entry->owner, entry->name);

        if (!g_hash_table_add(names, name) || entry->offset < end) {
            return false;
        }
        end = entry->offset + 2 * entry->slot_bytes;
    }
    return true;
}

bool blob_layout_decode_directory(GBytes *payload,
                                  const BlobSuperblock *super,
                                  BlobDirectory *directory, GError **error)
{
    gsize bytes;
    const uint8_t *in = g_bytes_get_data(payload, &bytes);
    DiskDirectory disk;
    uint32_t count;
    uint64_t last_id = 0;

    *directory = (BlobDirectory) { 0 };
    if (bytes < sizeof(disk)) {
        goto corrupt;
    }
    memcpy(&disk, in, sizeof(disk));
    directory->epoch = GUINT32_FROM_LE(disk.epoch);
    directory->clean = GUINT32_FROM_LE(disk.flags) & DISK_DIRECTORY_CLEAN;
    directory->superblock_generation =
        GUINT64_FROM_LE(disk.superblock_generation);
    directory->capacity = GUINT64_FROM_LE(disk.capacity);
    directory->next_id = GUINT64_FROM_LE(disk.next_id);
    memcpy(directory->epoch_id, disk.epoch_id, sizeof(disk.epoch_id));
    count = GUINT32_FROM_LE(disk.entry_count);
    if (!directory->epoch || !is_aligned(directory->capacity) ||
        directory->capacity < super->data_offset ||
        directory->next_id < BLOB_ID_FIRST ||
        directory->next_id == UINT64_MAX ||
        (bytes - sizeof(disk)) % sizeof(DiskEntry) ||
        (bytes - sizeof(disk)) / sizeof(DiskEntry) != count) {
        goto corrupt;
    }

    directory->entries =
        g_array_sized_new(FALSE, FALSE, sizeof(BlobEntry), count);
    for (uint32_t i = 0; i < count; i++) {
        DiskEntry disk_entry;
        BlobEntry entry;

        memcpy(&disk_entry, in + sizeof(disk) + i * sizeof(disk_entry),
               sizeof(disk_entry));
        if (!decode_entry(&disk_entry, super, directory, &entry) ||
            entry.id <= last_id) {
            goto corrupt;
        }
        last_id = entry.id;
        g_array_append_val(directory->entries, entry);
    }
    if (!entries_are_distinct(directory->entries)) {
        goto corrupt;
    }
    return true;

corrupt:
    blob_layout_clear_directory(directory);
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                "directory is intact but makes no sense");
    return false;
}
