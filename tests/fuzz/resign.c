/*
 * Makes slots of a hostile image look written by a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "resign-private.h"

#include <string.h>
#include "fuzz.h"
#include "sealed.h"
#include "blobstore/superblock.h"

enum { WATERMARK_REACH = 256 };

static void put64(uint8_t *at, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(at, &value, sizeof(value));
}

uint64_t signing_stored_bytes(const uint8_t *header)
{
    return fuzz_get64(header + AT_STORED_BYTES);
}

bool signing_is_inside(const FuzzDisk *disk, const BlobSlot *slot)
{
    return fuzz_disk_covers(disk, slot->offset, slot->bytes);
}

bool signing_is_zero(const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (at[i]) {
            return false;
        }
    }
    return true;
}

uint64_t signing_image_end(const BlobSlot *slot, const uint8_t *header)
{
    uint64_t stored = fuzz_get64(header + AT_STORED_BYTES);
    uint64_t end;

    if (stored > slot->bytes) {
        return 0;
    }
    end = blob_layout_image_bytes(stored);
    return end <= slot->bytes ? end : 0;
}

static void sign_header(const Signing *signing, const BlobSlot *slot,
                        const BlobGuard *guard, uint8_t *header)
{
    uint64_t base = blob_sequence(signing->directory.epoch, 0);

    if (signing->head->repair & FUZZ_REPAIR_PLACE) {
        memcpy(header, BLOB_MAGIC, 8);
        put64(header + AT_ID, slot->id);
        put64(header + AT_OFFSET, slot->offset);
    }
    if (signing->head->repair & FUZZ_REPAIR_WATERMARK &&
        slot->id >= BLOB_ID_FIRST &&
        fuzz_get64(header + AT_WATERMARK) > base + WATERMARK_REACH) {
        put64(header + AT_WATERMARK,
              base + fuzz_get64(header + AT_WATERMARK) % WATERMARK_REACH);
    }
    blob_digest_check(guard->digest, header, AT_CHECK, header + AT_CHECK);
}

bool signing_is_sealed(const BlobGuard *guard, const uint8_t *header)
{
    return guard->seal && fuzz_get32(header + AT_FLAGS) & BLOB_FLAG_SEALED;
}

/*
 * Signs the payload of the image in @slot, as the image's header describes it.
 */
static void sign_payload(const BlobSlot *slot, const BlobGuard *guard,
                         uint8_t *header)
{
    if (signing_is_sealed(guard, header)) {
        fuzz_payload_seal(guard, slot->entry, header);
    } else {
        blob_digest_sha256(header + BLOB_HEADER_BYTES,
                           fuzz_get64(header + AT_STORED_BYTES),
                           header + AT_DIGEST);
    }
}

void signing_do_slot(const Signing *signing, const BlobSlot *slot,
                     const BlobGuard *guard, FuzzSign sign)
{
    uint8_t *header = signing->disk->data + slot->offset;
    uint64_t end;

    if (signing_is_zero(header, AT_CHECK)) {
        return;
    }
    if (signing->head->repair & FUZZ_REPAIR_SHAPE &&
        !(fuzz_get32(header + AT_FLAGS) & ~BLOB_FLAG_SEALED)) {
        put64(header + AT_STORED_BYTES, fuzz_get64(header + AT_RAW_BYTES));
    }
    end = signing_image_end(slot, header);
    if (end && signing->head->repair & FUZZ_REPAIR_DIGEST) {
        sign_payload(slot, guard, header);
    }
    sign_header(signing, slot, guard, header);
    if (end && sign != FUZZ_SIGN_APART) {
        memcpy(header + end - BLOB_HEADER_BYTES, header, BLOB_HEADER_BYTES);
        return;
    }
    for (uint64_t at = BLOB_BLOCK_BYTES; at <= slot->bytes;
         at += BLOB_BLOCK_BYTES) {
        uint8_t *trailer = header + at - BLOB_HEADER_BYTES;

        if (!memcmp(trailer, BLOB_MAGIC, 8)) {
            sign_header(signing, slot, guard, trailer);
        }
    }
}

FuzzSign signing_sign(const Signing *signing, unsigned n)
{
    return signing->head->sign[n] % FUZZ_SIGN_COUNT;
}

/* Returns the guard of slot @n of the head. */
const BlobGuard *signing_guard(const Signing *signing, unsigned n)
{
    return signing->former && signing->head->sign[n] & FUZZ_SIGN_FORMER
           ? signing->former : signing->guard;
}

BlobSlot signing_slot(const BlobPair *pair, const BlobEntry *entry,
                        unsigned n)
{
    BlobSlot slot = blob_pair_slot(pair, n);

    slot.entry = entry;
    return slot;
}

static bool pair_is_inside(const FuzzDisk *disk, const BlobPair *pair)
{
    BlobSlot both = { .offset = pair->offset, .bytes = 2 * pair->slot_bytes };

    return pair->slot_bytes <= disk->bytes && signing_is_inside(disk, &both);
}

/*
 * Makes copies of those slots of a pair that the head says are copies, except
 * for their nonces.
 */
static void copy_slots(const Signing *signing, const BlobPair *pair,
                       unsigned first)
{
    for (unsigned n = 0; n < 2; n++) {
        uint8_t *to = signing->disk->data + blob_pair_slot(pair, n).offset;
        const uint8_t *from = signing->disk->data +
                              blob_pair_slot(pair, !n).offset;
        uint8_t nonce[BLOB_NONCE_BYTES];

        if (signing_sign(signing, first + n) == FUZZ_SIGN_COPY) {
            memcpy(nonce, to + AT_NONCE, sizeof(nonce));
            memcpy(to, from, pair->slot_bytes);
            if (fuzz_get32(to + AT_FLAGS) & BLOB_FLAG_SEALED) {
                memcpy(to + AT_NONCE, nonce, sizeof(nonce));
            }
        }
    }
}

/* Signs the slots of a pair, which are @first and @first + 1 in the head. */
static void sign_pair(const Signing *signing, const BlobPair *pair,
                      const BlobEntry *entry, unsigned first)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = signing_slot(pair, entry, n);
        FuzzSign sign = signing_sign(signing, first + n);

        if (sign != FUZZ_SIGN_NOT) {
            signing_do_slot(signing, &slot,
                      pair->id == BLOB_ID_SUPERBLOCK
                      ? signing->zero_guard : signing_guard(signing, first + n),
                      sign);
        }
    }
}

/*
 * Sets the lengths of a directory copy, and the fields of the header that
 * repeat them.
 */
static void shape_directory(const Signing *signing, const BlobSlot *slot)
{
    uint8_t *header = signing->disk->data + slot->offset;
    uint8_t *payload = header + BLOB_HEADER_BYTES;
    uint32_t count = MIN(fuzz_get32(payload + DIRECTORY_AT_COUNT),
                         blob_layout_directory_room(slot->bytes));
    uint32_t past = MIN(fuzz_get32(payload + DIRECTORY_AT_PAST_COUNT),
                        blob_layout_history_room(slot->bytes, count));
    uint64_t bytes = BLOB_DIRECTORY_HEAD_BYTES + count * BLOB_ENTRY_BYTES +
                     past * BLOB_PAST_EPOCH_BYTES;

    /* Without the digests, sealed data stays as it is. */
    if (signing_is_zero(header, AT_CHECK) ||
        (fuzz_get32(header + AT_FLAGS) & BLOB_FLAG_SEALED &&
         !(signing->head->repair & FUZZ_REPAIR_DIGEST))) {
        return;
    }
    put64(header + AT_RAW_BYTES, bytes);
    put64(header + AT_STORED_BYTES, bytes);
    put64(header + AT_SEQUENCE, blob_sequence(fuzz_get32(payload), 0));
    memcpy(header + AT_EPOCH_ID, payload + DIRECTORY_AT_EPOCH_ID,
           BLOB_EPOCH_ID_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = payload + BLOB_DIRECTORY_HEAD_BYTES +
                         i * BLOB_ENTRY_BYTES;
        uint64_t max_size = fuzz_get64(entry + ENTRY_AT_MAX_SIZE);

        if (max_size <= BLOB_MAX_SIZE_BYTES) {
            put64(entry + ENTRY_AT_SLOT_BYTES,
                  blob_layout_slot_bytes(max_size));
        }
        if (!(entry[ENTRY_AT_FLAGS] & ~BLOB_FLAG_SEALED)) {
            put64(entry + ENTRY_AT_STORED_BYTES,
                  fuzz_get64(entry + ENTRY_AT_RAW_BYTES));
        }
    }
}

static GBytes *read_pair(Signing *signing, const BlobGuard *guard,
                         BlobPair *pair, BlobHeader *header)
{
    GBytes *payload = NULL;

    FUZZ_CHECK(blob_pair_read(&signing->medium, guard, pair, header, &payload,
                              NULL));
    return payload;
}

static BlobGuard *sealed_guard(const BlobSuperblock *super, unsigned n)
{
    BlobGuard *guard = blob_guard_new_sealed(fuzz_key(n), super->uuid, NULL);

    FUZZ_CHECK(guard);
    return guard;
}

static void make_guards(Signing *signing)
{
    const BlobSuperblock *super = &signing->super;

    if (!blob_superblock_is_sealed(super)) {
        signing->guard = blob_guard_new_plain(super->seed);
        return;
    }
    switch (super->conversion) {
    case BLOB_CONVERSION_SEAL:
        signing->former = blob_guard_new_plain(super->seed);
        signing->guard = sealed_guard(super, 1);
        break;
    case BLOB_CONVERSION_REKEY:
        signing->former = sealed_guard(super, 2);
        signing->guard = sealed_guard(super, 1);
        break;
    case BLOB_CONVERSION_UNSEAL:
        signing->former = sealed_guard(super, 1);
        signing->guard = blob_guard_new_plain(super->seed);
        break;
    default:
        signing->guard = sealed_guard(super, 1);
    }
}

/* The epoch id of the first copy of the directory, or zeros */
static const uint8_t *directory_epoch_id(const Signing *signing)
{
    static const uint8_t none[BLOB_LINK_BYTES];
    BlobSlot slot = { .offset = BLOB_DIRECTORY_OFFSET,
                      .bytes = BLOB_BLOCK_BYTES };

    return signing_is_inside(signing->disk, &slot)
           ? signing->disk->data + slot.offset + BLOB_HEADER_BYTES +
             DIRECTORY_AT_EPOCH_ID : none;
}

bool signing_do_superblock(Signing *signing)
{
    BlobPair pair = blob_superblock_pair();
    g_autoptr(GBytes) payload = NULL;
    BlobHeader header;

    if (signing->disk->bytes < BLOB_DIRECTORY_OFFSET) {
        return false;
    }
    copy_slots(signing, &pair, 0);
    for (unsigned n = 0; n < 2; n++) {
        uint8_t *copy = signing->disk->data +
                        blob_pair_slot(&pair, n).offset;

        if (signing_sign(signing, n) != FUZZ_SIGN_NOT &&
            signing->head->repair & FUZZ_REPAIR_DIGEST &&
            !signing_is_zero(copy, AT_CHECK)) {
            fuzz_superblock_finish(copy + BLOB_HEADER_BYTES,
                                   directory_epoch_id(signing));
        }
    }
    sign_pair(signing, &pair, NULL, 0);
    payload = read_pair(signing, signing->zero_guard, &pair, &header);
    if (!payload ||
        !blob_layout_decode_superblock(g_bytes_get_data(payload, NULL),
                                       g_bytes_get_size(payload),
                                       &signing->super, NULL) ||
        signing->super.state == BLOB_STATE_CREATING ||
        signing->super.data_offset > signing->disk->bytes) {
        return false;
    }
    make_guards(signing);
    return true;
}

/* Returns the newest directory under either guard, as the core chooses it. */
static GBytes *read_directory(Signing *signing, BlobPair *pair)
{
    BlobHeader header;
    BlobHeader other;
    g_autoptr(GBytes) payload = read_pair(signing, signing->guard, pair,
                                          &header);
    g_autoptr(GBytes) former = NULL;

    signing->active = signing->guard;
    if (signing->former) {
        former = read_pair(signing, signing->former, pair, &other);
    }
    if (former && (!payload || other.sequence >= header.sequence)) {
        signing->active = signing->former;
        return g_steal_pointer(&former);
    }
    return g_steal_pointer(&payload);
}

/*
 * Vouches for the directory of a store that is converted; otherwise the core
 * refuses the store at once.
 */
void signing_vouch(const Signing *signing, const BlobSlot *slot)
{
    const BlobSuperblock *super = &signing->super;
    uint8_t *header = signing->disk->data + slot->offset;
    uint8_t *payload = header + BLOB_HEADER_BYTES;
    uint8_t check[BLOB_DIGEST_BYTES];
    g_autoptr(BlobDigest) voucher = NULL;

    if (super->conversion == BLOB_CONVERSION_NONE ||
        signing_is_zero(header, AT_CHECK) ||
        !signing_image_end(slot, header)) {
        return;
    }
    voucher = blob_key_new_digest(fuzz_key(1), BLOB_KEY_FOR_VOUCHERS,
                                  super->uuid, NULL);
    memset(payload + DIRECTORY_AT_VOUCHER, 0, VOUCHER_BYTES);
    blob_digest_check(voucher, payload, fuzz_get64(header + AT_STORED_BYTES),
                      check);
    memcpy(payload + DIRECTORY_AT_VOUCHER, check, VOUCHER_BYTES);
}

/* Makes a directory name the superblock, if it is of the same generation. */
static void name_superblock(const Signing *signing, const BlobSlot *slot)
{
    uint8_t *header = signing->disk->data + slot->offset;
    uint8_t *payload = header + BLOB_HEADER_BYTES;

    if (!signing_is_zero(header, AT_CHECK) &&
        signing_image_end(slot, header) &&
        fuzz_get64(payload + DIRECTORY_AT_GENERATION) ==
        signing->super.generation) {
        memcpy(payload + DIRECTORY_AT_SUPERBLOCK_DIGEST,
               signing->super.digest, BLOB_LINK_BYTES);
    }
}

BlobPair signing_directory(const Signing *signing)
{
    return (BlobPair) {
        .id = BLOB_ID_DIRECTORY,
        .offset = signing->super.directory_offset,
        .slot_bytes = signing->super.directory_slot_bytes,
    };
}

bool signing_do_directory(Signing *signing)
{
    BlobPair pair = signing_directory(signing);
    g_autoptr(GBytes) payload = NULL;

    if (!pair_is_inside(signing->disk, &pair)) {
        return false;
    }
    copy_slots(signing, &pair, 2);
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(&pair, n);

        if (signing->head->repair & FUZZ_REPAIR_SHAPE &&
            signing_sign(signing, 2 + n) != FUZZ_SIGN_NOT) {
            shape_directory(signing, &slot);
        }
        if (signing->head->repair & FUZZ_REPAIR_DIGEST &&
            signing_sign(signing, 2 + n) != FUZZ_SIGN_NOT) {
            name_superblock(signing, &slot);
            signing_vouch(signing, &slot);
        }
    }
    sign_pair(signing, &pair, NULL, 2);
    payload = read_directory(signing, &pair);
    return payload &&
           blob_layout_decode_directory(payload, &signing->super,
                                        signing->active->seal,
                                        &signing->directory, NULL);
}

const BlobEntry *signing_entry(const Signing *signing, guint i)
{
    return &g_array_index(signing->directory.entries, BlobEntry, i);
}

BlobPair signing_pair(const Signing *signing, guint i)
{
    const BlobEntry *entry = signing_entry(signing, i);

    return (BlobPair) {
        .id = entry->id,
        .offset = entry->offset,
        .slot_bytes = entry->slot_bytes,
    };
}

guint signing_count(const Signing *signing)
{
    return MIN(signing->directory.entries->len, (FUZZ_SLOTS - 4) / 2);
}

void signing_clear(Signing *signing)
{
    blob_layout_clear_directory(&signing->directory);
    blob_guard_free(signing->guard);
    blob_guard_free(signing->former);
    blob_guard_free(signing->zero_guard);
}

void fuzz_resign(FuzzDisk *disk, const FuzzHead *head)
{
    Signing signing = {
        .disk = disk,
        .medium = { .storage = disk->storage },
        .head = head,
        .zero_guard = blob_guard_new_plain(NULL),
    };

    if (signing_do_superblock(&signing) && signing_do_directory(&signing)) {
        for (guint i = 0; i < signing_count(&signing); i++) {
            BlobPair pair = signing_pair(&signing, i);

            if (pair_is_inside(disk, &pair)) {
                copy_slots(&signing, &pair, 4 + 2 * i);
                sign_pair(&signing, &pair, signing_entry(&signing, i),
                          4 + 2 * i);
            }
        }
        if (head->repair & FUZZ_REPAIR_CENSUS && !signing.directory.clean) {
            signing_do_census(&signing);
        }
        if (head->repair & FUZZ_REPAIR_DIGEST) {
            signing_digest_entries(&signing);
        }
    }
    signing_clear(&signing);
}
