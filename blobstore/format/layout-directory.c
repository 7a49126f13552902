/*
 * Blobstore core: the bytes of the directory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "layout-private.h"

#include <stddef.h>
#include <string.h>

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
    uint64_t sealings;
    uint32_t history_count;
    uint8_t superblock_digest[BLOB_LINK_BYTES];
    uint8_t voucher[16];
} DiskDirectory;

enum { DISK_DIRECTORY_CLEAN = 1 << 0 };

G_STATIC_ASSERT(sizeof(DiskDirectory) == BLOB_DIRECTORY_HEAD_BYTES);
G_STATIC_ASSERT(offsetof(DiskDirectory, key_commitment) == 56);
G_STATIC_ASSERT(offsetof(DiskDirectory, history_count) == 96);
G_STATIC_ASSERT(offsetof(DiskDirectory, superblock_digest) == 100);
G_STATIC_ASSERT(offsetof(DiskDirectory, voucher) == 112);

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
    uint8_t digest[32];
} DiskEntry;

G_STATIC_ASSERT(sizeof(DiskEntry) == BLOB_ENTRY_BYTES);
G_STATIC_ASSERT(offsetof(DiskEntry, owner) == 64);

typedef struct DiskPastEpoch {
    uint32_t epoch;
    uint32_t counter;
    uint8_t epoch_id[16];
} DiskPastEpoch;

G_STATIC_ASSERT(sizeof(DiskPastEpoch) == BLOB_PAST_EPOCH_BYTES);

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

uint32_t blob_layout_history_room(uint64_t slot_bytes, uint32_t entries)
{
    uint64_t taken = 2 * BLOB_HEADER_BYTES + BLOB_DIRECTORY_HEAD_BYTES +
                     (uint64_t)entries * BLOB_ENTRY_BYTES;

    return MIN((slot_bytes - taken) / BLOB_PAST_EPOCH_BYTES, BLOB_HISTORY_MAX);
}

void blob_layout_clear_directory(BlobDirectory *directory)
{
    g_clear_pointer(&directory->entries, g_array_unref);
    g_clear_pointer(&directory->history, g_array_unref);
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
    memcpy(disk->digest, entry->digest, sizeof(disk->digest));
}

/* The first half of the HMAC of the payload, with zeros for the voucher */
static void make_voucher(const uint8_t *payload, size_t bytes,
                         BlobDigest *voucher,
                         uint8_t out[BLOB_DIGEST_BYTES])
{
    g_autofree uint8_t *copy = g_memdup2(payload, bytes);

    memset(copy + offsetof(DiskDirectory, voucher), 0,
           sizeof(((DiskDirectory *)NULL)->voucher));
    blob_digest_check(voucher, copy, bytes, out);
}

static void vouch(uint8_t *payload, size_t bytes, BlobDigest *voucher)
{
    uint8_t check[BLOB_DIGEST_BYTES];

    make_voucher(payload, bytes, voucher, check);
    memcpy(payload + offsetof(DiskDirectory, voucher), check,
           sizeof(((DiskDirectory *)NULL)->voucher));
}

bool blob_layout_directory_is_vouched(GBytes *payload, BlobDigest *voucher)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(payload, &bytes);
    uint8_t check[BLOB_DIGEST_BYTES];

    make_voucher(data, bytes, voucher, check);
    return blob_digest_equal(data + offsetof(DiskDirectory, voucher), check,
                             sizeof(((DiskDirectory *)NULL)->voucher));
}

GBytes *blob_layout_encode_directory(const BlobDirectory *directory,
                                     BlobDigest *voucher)
{
    uint32_t count = directory->entries->len;
    uint32_t history_count = directory->history->len;
    size_t bytes = sizeof(DiskDirectory) + count * sizeof(DiskEntry) +
                   history_count * sizeof(DiskPastEpoch);
    uint8_t *out = g_malloc0(bytes);
    uint8_t *at = out;
    DiskDirectory disk = {
        .epoch = GUINT32_TO_LE(directory->epoch),
        .flags = GUINT32_TO_LE(directory->clean ? DISK_DIRECTORY_CLEAN : 0),
        .superblock_generation =
            GUINT64_TO_LE(directory->superblock_generation),
        .capacity = GUINT64_TO_LE(directory->capacity),
        .next_id = GUINT64_TO_LE(directory->next_id),
        .entry_count = GUINT32_TO_LE(count),
        .sealings = GUINT64_TO_LE(directory->sealings),
        .history_count = GUINT32_TO_LE(history_count),
    };

    memcpy(disk.epoch_id, directory->epoch_id, sizeof(disk.epoch_id));
    memcpy(disk.superblock_digest, directory->superblock_digest,
           sizeof(disk.superblock_digest));
    memcpy(disk.key_commitment, directory->key_commitment,
           sizeof(disk.key_commitment));
    memcpy(at, &disk, sizeof(disk));
    at += sizeof(disk);
    for (uint32_t i = 0; i < count; i++) {
        DiskEntry entry;

        encode_entry(&g_array_index(directory->entries, BlobEntry, i), &entry);
        memcpy(at, &entry, sizeof(entry));
        at += sizeof(entry);
    }
    for (uint32_t i = 0; i < history_count; i++) {
        const BlobPastEpoch *past =
            &g_array_index(directory->history, BlobPastEpoch, i);
        DiskPastEpoch to = {
            .epoch = GUINT32_TO_LE(past->epoch),
            .counter = GUINT32_TO_LE(past->counter),
        };

        memcpy(to.epoch_id, past->epoch_id, sizeof(to.epoch_id));
        memcpy(at, &to, sizeof(to));
        at += sizeof(to);
    }
    if (voucher) {
        vouch(out, bytes, voucher);
    }
    return g_bytes_new_take(out, bytes);
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

static bool version_is_sane(const BlobEntry *entry, bool sealed,
                            uint32_t epoch)
{
    static const uint8_t none[BLOB_DIGEST_BYTES];

    if (entry->sequence == 0) {
        return !entry->raw_bytes && !entry->stored_bytes &&
               !entry->metadata_bytes && !entry->flags && !entry->slot &&
               !memcmp(entry->digest, none, sizeof(none));
    }
    return blob_flags_are_sealed(entry->flags) == sealed &&
           blob_sequence_epoch(entry->sequence) < epoch &&
           blob_layout_lengths_are_sane(entry->flags, entry->raw_bytes,
                                        entry->stored_bytes,
                                        entry->metadata_bytes,
                                        entry->slot_bytes);
}

static bool decode_entry(const DiskEntry *disk, const BlobSuperblock *super,
                         bool sealed, const BlobDirectory *directory,
                         BlobEntry *entry)
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
    memcpy(entry->digest, disk->digest, sizeof(entry->digest));
    return decode_name(disk->owner, entry->owner) &&
           decode_name(disk->name, entry->name) &&
           entry->id >= BLOB_ID_FIRST && entry->id < directory->next_id &&
           (entry->kind == BLOB_KIND_PERMANENT ||
            entry->kind == BLOB_KIND_SAVESTATE) &&
           entry->slot <= 1 &&
           entry->max_size >= 1 && entry->max_size <= BLOB_MAX_SIZE_BYTES &&
           entry->slot_bytes == blob_layout_slot_bytes(entry->max_size) &&
           blob_layout_is_aligned(entry->offset) &&
           entry->offset >= super->data_offset &&
           entry->offset <= directory->capacity &&
           2 * entry->slot_bytes <= directory->capacity - entry->offset &&
           version_is_sane(entry, sealed, directory->epoch);
}

gint blob_layout_compare_names(gconstpointer a, gconstpointer b)
{
    const BlobEntry *x = a;
    const BlobEntry *y = b;
    int order = strcmp(x->owner, y->owner);

    return order ? order : strcmp(x->name, y->name);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
    return blob_layout_compare_names(*(BlobEntry *const *)a,
                                     *(BlobEntry *const *)b);
}

static gint by_offset(gconstpointer a, gconstpointer b)
{
    uint64_t x = (*(BlobEntry *const *)a)->offset;
    uint64_t y = (*(BlobEntry *const *)b)->offset;

    return x < y ? -1 : x > y;
}

/* Sorted, for a hash table's time depends on names that may be hostile */
static bool entries_are_distinct(const GArray *entries)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_sized_new(entries->len);
    uint64_t end = 0;

    for (guint i = 0; i < entries->len; i++) {
        g_ptr_array_add(sorted, &g_array_index(entries, BlobEntry, i));
    }
    g_ptr_array_sort(sorted, by_offset);
    for (guint i = 0; i < sorted->len; i++) {
        const BlobEntry *entry = g_ptr_array_index(sorted, i);

        if (entry->offset < end) {
            return false;
        }
        end = entry->offset + 2 * entry->slot_bytes;
    }
    g_ptr_array_sort(sorted, by_name);
    for (guint i = 1; i < sorted->len; i++) {
        if (!by_name(&sorted->pdata[i - 1], &sorted->pdata[i])) {
            return false;
        }
    }
    return true;
}

/* Reads epochs in ascending order, all before @epoch, that of the directory. */
static bool decode_history(const uint8_t *in, uint32_t count, uint32_t epoch,
                        GArray *out)
{
    uint32_t last = 0;

    for (uint32_t i = 0; i < count; i++) {
        DiskPastEpoch disk;
        BlobPastEpoch past;

        memcpy(&disk, in + i * sizeof(disk), sizeof(disk));
        past.epoch = GUINT32_FROM_LE(disk.epoch);
        past.counter = GUINT32_FROM_LE(disk.counter);
        memcpy(past.epoch_id, disk.epoch_id, sizeof(past.epoch_id));
        if (past.epoch <= last || past.epoch >= epoch) {
            return false;
        }
        last = past.epoch;
        g_array_append_val(out, past);
    }
    return true;
}

static bool decode_entries(const uint8_t *in, uint32_t count,
                           const BlobSuperblock *super, bool sealed,
                           BlobDirectory *directory)
{
    uint64_t last_id = 0;

    for (uint32_t i = 0; i < count; i++) {
        DiskEntry disk;
        BlobEntry entry;

        memcpy(&disk, in + i * sizeof(disk), sizeof(disk));
        if (!decode_entry(&disk, super, sealed, directory, &entry) ||
            entry.id <= last_id) {
            return false;
        }
        last_id = entry.id;
        g_array_append_val(directory->entries, entry);
    }
    return entries_are_distinct(directory->entries);
}

/* Reads the head; *@count and *@history_count become what fits @bytes. */
static bool decode_directory_head(const uint8_t *in, size_t bytes,
                                  const BlobSuperblock *super,
                                  BlobDirectory *directory, uint32_t *count,
                                  uint32_t *history_count)
{
    DiskDirectory disk;

    if (bytes < sizeof(disk)) {
        return false;
    }
    memcpy(&disk, in, sizeof(disk));
    directory->epoch = GUINT32_FROM_LE(disk.epoch);
    directory->clean = GUINT32_FROM_LE(disk.flags) & DISK_DIRECTORY_CLEAN;
    directory->superblock_generation =
        GUINT64_FROM_LE(disk.superblock_generation);
    directory->capacity = GUINT64_FROM_LE(disk.capacity);
    directory->next_id = GUINT64_FROM_LE(disk.next_id);
    directory->sealings = GUINT64_FROM_LE(disk.sealings);
    memcpy(directory->superblock_digest, disk.superblock_digest,
           sizeof(disk.superblock_digest));
    memcpy(directory->epoch_id, disk.epoch_id, sizeof(disk.epoch_id));
    memcpy(directory->key_commitment, disk.key_commitment,
           sizeof(disk.key_commitment));
    *count = GUINT32_FROM_LE(disk.entry_count);
    *history_count = GUINT32_FROM_LE(disk.history_count);
    bytes -= sizeof(disk);
    return directory->epoch && blob_layout_is_aligned(directory->capacity) &&
           directory->capacity >= super->data_offset &&
           directory->next_id >= BLOB_ID_FIRST &&
           directory->next_id != UINT64_MAX &&
           directory->sealings <= BLOB_SEALINGS_LIMIT &&
           *history_count <= BLOB_HISTORY_MAX &&
           bytes == (uint64_t)*count * sizeof(DiskEntry) +
                    *history_count * sizeof(DiskPastEpoch);
}

bool blob_layout_decode_directory(GBytes *payload,
                                  const BlobSuperblock *super, bool sealed,
                                  BlobDirectory *directory, GError **error)
{
    gsize bytes;
    const uint8_t *in = g_bytes_get_data(payload, &bytes);
    uint32_t count = 0;
    uint32_t history_count = 0;

    *directory = (BlobDirectory) { 0 };
    if (decode_directory_head(in, bytes, super, directory, &count,
                              &history_count)) {
        const uint8_t *entries = in + sizeof(DiskDirectory);

        directory->entries =
            g_array_sized_new(FALSE, FALSE, sizeof(BlobEntry), count);
        directory->history =
            g_array_sized_new(FALSE, FALSE, sizeof(BlobPastEpoch),
                              history_count);
        if (decode_entries(entries, count, super, sealed, directory) &&
            decode_history(entries + count * sizeof(DiskEntry), history_count,
                        directory->epoch, directory->history)) {
            return true;
        }
    }
    blob_layout_clear_directory(directory);
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                "directory is intact but makes no sense");
    return false;
}
