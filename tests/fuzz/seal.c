/*
 * Makes slots of a hostile image look written by a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "seal.h"

#include <string.h>
#include "fuzz.h"

/* Where fields are: docs/format.md, written down here a second time. */
enum {
    AT_FLAGS = 8,
    AT_EPOCH_ID = 16,
    AT_ID = 32,
    AT_SEQUENCE = 40,
    AT_WATERMARK = 56,
    AT_OFFSET = 64,
    AT_RAW_BYTES = 72,
    AT_STORED_BYTES = 80,
    AT_CENSUS = 96,
    AT_DIGEST = 112,
    AT_CHECK = 1248,
    DIRECTORY_AT_EPOCH_ID = 8,
    DIRECTORY_AT_COUNT = 48,
    ENTRY_AT_MAX_SIZE = 16,
    ENTRY_AT_SLOT_BYTES = 32,
    ENTRY_AT_RAW_BYTES = 40,
    ENTRY_AT_STORED_BYTES = 48,
    ENTRY_AT_FLAGS = 61,
    WATERMARK_REACH = 256,
};

/* What is known of the store while its slots are sealed */
typedef struct Sealing {
    FuzzDisk *disk;
    BlobMedium medium;
    const FuzzHead *head;
    BlobGuard *zero_guard;
    BlobGuard *guard;           /* NULL before the seed is known */
    BlobSuperblock super;
    BlobDirectory directory;
} Sealing;

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT64_FROM_LE(value);
}

static void put64(uint8_t *at, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static bool is_inside(const FuzzDisk *disk, const BlobSlot *slot)
{
    return slot->offset <= disk->bytes &&
           slot->bytes <= disk->bytes - slot->offset;
}

static bool is_zero(const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i]) {
            return false;
        }
    }
    return true;
}

/* Where the image ends that the header at @header describes, or 0 */
static uint64_t image_end(const BlobSlot *slot, const uint8_t *header)
{
    uint64_t stored = get64(header + AT_STORED_BYTES);
    uint64_t end;

    if (stored > slot->bytes) {
        return 0;
    }
    end = blob_layout_image_bytes(stored);
    return end <= slot->bytes ? end : 0;
}

static void seal_header(const Sealing *sealing, const BlobSlot *slot,
                        const BlobGuard *guard, uint8_t *header)
{
    uint64_t base = blob_sequence(sealing->directory.epoch, 0);

    if (sealing->head->repair & FUZZ_REPAIR_PLACE) {
        memcpy(header, BLOB_MAGIC, 8);
        put64(header + AT_ID, slot->id);
        put64(header + AT_OFFSET, slot->offset);
    }
    if (sealing->head->repair & FUZZ_REPAIR_WATERMARK &&
        slot->id >= BLOB_ID_FIRST &&
        get64(header + AT_WATERMARK) > base + WATERMARK_REACH) {
        put64(header + AT_WATERMARK,
              base + get64(header + AT_WATERMARK) % WATERMARK_REACH);
    }
    blob_digest_check(guard->digest, header, AT_CHECK, header + AT_CHECK);
}

static void seal_slot(const Sealing *sealing, const BlobSlot *slot,
                      const BlobGuard *guard, FuzzSeal seal)
{
    uint8_t *header = sealing->disk->data + slot->offset;
    uint64_t end;

    if (is_zero(header, AT_CHECK)) {
        return;
    }
    if (sealing->head->repair & FUZZ_REPAIR_SHAPE &&
        !get32(header + AT_FLAGS)) {
        put64(header + AT_STORED_BYTES, get64(header + AT_RAW_BYTES));
    }
    end = image_end(slot, header);
    if (end && sealing->head->repair & FUZZ_REPAIR_DIGEST) {
        blob_digest_sha256(header + BLOB_HEADER_BYTES,
                           get64(header + AT_STORED_BYTES),
                           header + AT_DIGEST);
    }
    seal_header(sealing, slot, guard, header);
    if (end && seal != FUZZ_SEAL_APART) {
        memcpy(header + end - BLOB_HEADER_BYTES, header, BLOB_HEADER_BYTES);
        return;
    }
    for (uint64_t at = BLOB_BLOCK_BYTES; at <= slot->bytes;
         at += BLOB_BLOCK_BYTES) {
        uint8_t *trailer = header + at - BLOB_HEADER_BYTES;

        if (!memcmp(trailer, BLOB_MAGIC, 8)) {
            seal_header(sealing, slot, guard, trailer);
        }
    }
}

static FuzzSeal seal_of(const Sealing *sealing, unsigned n)
{
    return sealing->head->seal[n] % FUZZ_SEAL_COUNT;
}

/* The two slots of a pair that has numbers @first and @first + 1 in the head */
static void seal_pair(const Sealing *sealing, const BlobPair *pair,
                      const BlobGuard *guard, unsigned first)
{
    for (unsigned i = 0; i < 2; i++) {
        /* A copy is made of what is finished. */
        unsigned n = seal_of(sealing, first) == FUZZ_SEAL_COPY ? !i : i;
        BlobSlot slot = blob_pair_slot(pair, n);
        BlobSlot other = blob_pair_slot(pair, !n);
        FuzzSeal seal = seal_of(sealing, first + n);

        if (seal == FUZZ_SEAL_NOT || !is_inside(sealing->disk, &slot) ||
            !is_inside(sealing->disk, &other)) {
            continue;
        }
        if (seal == FUZZ_SEAL_COPY) {
            memcpy(sealing->disk->data + slot.offset,
                   sealing->disk->data + other.offset, slot.bytes);
        }
        seal_slot(sealing, &slot, guard, seal);
    }
}

/* Lengths of a directory copy, and what its header repeats of it */
static void shape_directory(const Sealing *sealing, const BlobSlot *slot)
{
    uint8_t *header = sealing->disk->data + slot->offset;
    uint8_t *payload = header + BLOB_HEADER_BYTES;
    uint32_t count = MIN(get32(payload + DIRECTORY_AT_COUNT),
                         blob_layout_directory_room(slot->bytes));
    uint64_t bytes = BLOB_DIRECTORY_HEAD_BYTES + count * BLOB_ENTRY_BYTES;

    if (is_zero(header, AT_CHECK)) {
        return;
    }
    put64(header + AT_RAW_BYTES, bytes);
    put64(header + AT_STORED_BYTES, bytes);
    put64(header + AT_SEQUENCE, blob_sequence(get32(payload), 0));
    memcpy(header + AT_EPOCH_ID, payload + DIRECTORY_AT_EPOCH_ID,
           BLOB_EPOCH_ID_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = payload + BLOB_DIRECTORY_HEAD_BYTES +
                         i * BLOB_ENTRY_BYTES;
        uint64_t max_size = get64(entry + ENTRY_AT_MAX_SIZE);

        if (max_size <= BLOB_MAX_SIZE_BYTES) {
            put64(entry + ENTRY_AT_SLOT_BYTES,
                  blob_layout_slot_bytes(max_size));
        }
        if (!entry[ENTRY_AT_FLAGS]) {
            put64(entry + ENTRY_AT_STORED_BYTES,
                  get64(entry + ENTRY_AT_RAW_BYTES));
        }
    }
}

static GBytes *read_pair(Sealing *sealing, const BlobGuard *guard, BlobPair *pair)
{
    BlobHeader header;
    GBytes *payload = NULL;

    FUZZ_CHECK(blob_pair_read(&sealing->medium, guard, pair, &header,
                              &payload, NULL));
    return payload;
}

/* Whether a superblock came out that leads on to a directory */
static bool seal_superblock(Sealing *sealing)
{
    BlobPair pair = {
        .id = BLOB_ID_SUPERBLOCK,
        .slot_bytes = BLOB_SUPERBLOCK_SLOT_BYTES,
    };
    g_autoptr(GBytes) payload = NULL;

    if (sealing->disk->bytes < BLOB_DIRECTORY_OFFSET) {
        return false;
    }
    seal_pair(sealing, &pair, sealing->zero_guard, 0);
    payload = read_pair(sealing, sealing->zero_guard, &pair);
    if (!payload ||
        !blob_layout_decode_superblock(g_bytes_get_data(payload, NULL),
                                       g_bytes_get_size(payload),
                                       &sealing->super, NULL) ||
        sealing->super.state != BLOB_STATE_READY ||
        sealing->super.data_offset > sealing->disk->bytes) {
        return false;
    }
    sealing->guard = blob_guard_new_plain(sealing->super.seed);
    return true;
}

static bool seal_directory(Sealing *sealing)
{
    BlobPair pair = {
        .id = BLOB_ID_DIRECTORY,
        .offset = sealing->super.directory_offset,
        .slot_bytes = sealing->super.directory_slot_bytes,
    };
    g_autoptr(GBytes) payload = NULL;

    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(&pair, n);

        if (sealing->head->repair & FUZZ_REPAIR_SHAPE &&
            seal_of(sealing, 2 + n) != FUZZ_SEAL_NOT) {
            shape_directory(sealing, &slot);
        }
    }
    seal_pair(sealing, &pair, sealing->guard, 2);
    payload = read_pair(sealing, sealing->guard, &pair);
    return payload &&
           blob_layout_decode_directory(payload, &sealing->super, false,
                                        &sealing->directory, NULL);
}

static BlobPair blob_pair(const Sealing *sealing, guint i)
{
    const BlobEntry *entry =
        &g_array_index(sealing->directory.entries, BlobEntry, i);

    return (BlobPair) {
        .id = entry->id,
        .offset = entry->offset,
        .slot_bytes = entry->slot_bytes,
    };
}

static guint blob_count(const Sealing *sealing)
{
    return MIN(sealing->directory.entries->len, (FUZZ_SLOTS - 4) / 2);
}

/* The header in a slot if it is one of the present epoch */
static bool present_header(const Sealing *sealing, const BlobSlot *slot,
                           BlobHeader *header)
{
    return is_inside(sealing->disk, slot) &&
           blob_layout_decode_header(sealing->disk->data + slot->offset,
                                     sealing->guard, slot->id, slot->offset,
                                     slot->bytes, header) &&
           !memcmp(header->epoch_id, sealing->directory.epoch_id,
                   sizeof(header->epoch_id));
}

static bool is_member(const BlobHeader *newest, uint64_t id)
{
    for (uint32_t i = 0; i < newest->member_count; i++) {
        if (newest->members[i].id == id) {
            return true;
        }
    }
    return !newest->member_count && newest->id == id;
}

/*
 * Makes the newest header agree with the rest, near enough: of each blob its
 * newest version, or the one before if that is of the newest commit.
 */
static void seal_census(const Sealing *sealing)
{
    BlobHeader header;
    BlobHeader newest = { 0 };
    unsigned newest_number = 0;
    BlobSlot newest_slot = { 0 };
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };

    for (guint i = 0; i < 2 * blob_count(sealing); i++) {
        BlobPair pair = blob_pair(sealing, i / 2);
        BlobSlot slot = blob_pair_slot(&pair, i % 2);

        if (present_header(sealing, &slot, &header) &&
            header.sequence > newest.sequence) {
            newest = header;
            newest_slot = slot;
            newest_number = 4 + i;
        }
    }
    if (!newest.sequence ||
        seal_of(sealing, newest_number) == FUZZ_SEAL_NOT) {
        return;
    }
    for (guint i = 0; i < sealing->directory.entries->len; i++) {
        BlobPair pair = blob_pair(sealing, i);
        uint64_t best = g_array_index(sealing->directory.entries, BlobEntry,
                                      i).sequence;
        uint64_t folded = best;

        for (unsigned n = 0; n < 2; n++) {
            BlobSlot slot = blob_pair_slot(&pair, n);

            if (present_header(sealing, &slot, &header) &&
                header.sequence > best) {
                best = header.sequence;
                folded = is_member(&newest, header.id) ? header.previous
                                                       : best;
            }
        }
        blob_digest_census(sealing->guard->digest, pair.id, folded, census);
    }
    memcpy(sealing->disk->data + newest_slot.offset + AT_CENSUS, census,
           sizeof(census));
    seal_slot(sealing, &newest_slot, sealing->guard,
              seal_of(sealing, newest_number));
}

void fuzz_seal(FuzzDisk *disk, const FuzzHead *head)
{
    Sealing sealing = {
        .disk = disk,
        .medium = { .storage = &disk->parent },
        .head = head,
        .zero_guard = blob_guard_new_plain(NULL),
    };

    if (seal_superblock(&sealing) && seal_directory(&sealing)) {
        for (guint i = 0; i < blob_count(&sealing); i++) {
            BlobPair pair = blob_pair(&sealing, i);

            seal_pair(&sealing, &pair, sealing.guard, 4 + 2 * i);
        }
        if (head->repair & FUZZ_REPAIR_CENSUS && !sealing.directory.clean) {
            seal_census(&sealing);
        }
    }
    blob_layout_clear_directory(&sealing.directory);
    blob_guard_free(sealing.guard);
    blob_guard_free(sealing.zero_guard);
}

/* Whether both slots hold the same, but for the offset and what follows */
static bool is_copy(const FuzzDisk *disk, const BlobPair *pair)
{
    const uint8_t *a = disk->data + pair->offset;
    const uint8_t *b = a + pair->slot_bytes;
    uint64_t end = image_end(&(BlobSlot) { .bytes = pair->slot_bytes }, a);

    return end && !memcmp(a, b, AT_OFFSET) &&
           !memcmp(a + AT_RAW_BYTES, b + AT_RAW_BYTES,
                   AT_CHECK - AT_RAW_BYTES) &&
           !memcmp(a + BLOB_HEADER_BYTES, b + BLOB_HEADER_BYTES,
                   end - 2 * BLOB_HEADER_BYTES);
}

static void unseal_pair(FuzzDisk *disk, FuzzHead *head, const BlobPair *pair,
                        unsigned first)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(pair, n);
        uint8_t *header = disk->data + slot.offset;
        uint64_t end = image_end(&slot, header);
        uint8_t *trailer = header + end - BLOB_HEADER_BYTES;

        head->seal[first + n] = FUZZ_SEAL_WHOLE;
        if (n == 0 && is_copy(disk, pair)) {
            head->seal[first + 1] = FUZZ_SEAL_COPY;
            memset(header + slot.bytes, 0, slot.bytes);
            n = 1;
        }
        if (end && !memcmp(header, trailer, BLOB_HEADER_BYTES)) {
            memset(trailer, 0, BLOB_HEADER_BYTES);
            memset(header + AT_CHECK, 0, BLOB_DIGEST_BYTES);
            if (head->repair & FUZZ_REPAIR_DIGEST) {
                memset(header + AT_DIGEST, 0, BLOB_DIGEST_BYTES);
            }
        } else {
            head->seal[first + n] = FUZZ_SEAL_APART;
        }
    }
}

void fuzz_unseal(FuzzDisk *disk, FuzzHead *head)
{
    FuzzHead none = { 0 };
    Sealing sealing = {
        .disk = disk,
        .medium = { .storage = &disk->parent },
        .head = &none,
        .zero_guard = blob_guard_new_plain(NULL),
    };
    BlobPair super_pair = {
        .id = BLOB_ID_SUPERBLOCK,
        .slot_bytes = BLOB_SUPERBLOCK_SLOT_BYTES,
    };

    if (seal_superblock(&sealing) && seal_directory(&sealing)) {
        BlobPair directory_pair = {
            .id = BLOB_ID_DIRECTORY,
            .offset = sealing.super.directory_offset,
            .slot_bytes = sealing.super.directory_slot_bytes,
        };

        unseal_pair(disk, head, &super_pair, 0);
        unseal_pair(disk, head, &directory_pair, 2);
        for (guint i = 0; i < blob_count(&sealing); i++) {
            BlobPair pair = blob_pair(&sealing, i);

            unseal_pair(disk, head, &pair, 4 + 2 * i);
        }
    }
    blob_layout_clear_directory(&sealing.directory);
    blob_guard_free(sealing.guard);
    blob_guard_free(sealing.zero_guard);
}
