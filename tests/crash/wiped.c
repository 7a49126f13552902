/*
 * Checks that what had to be zeroed is zero
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "wiped.h"

static bool is_zero(const uint8_t *disk, uint64_t from, uint64_t to)
{
    while (from < to && !disk[from]) {
        from++;
    }
    return from >= to;
}

/* Returns whether what the image leaves of @slot is zero. */
static bool wiped_slot(const uint8_t *disk, const BlobSlot *slot,
                       uint64_t payload)
{
    uint64_t end = slot->offset + blob_layout_image_bytes(payload);

    return is_zero(disk, slot->offset + BLOB_HEADER_BYTES + payload,
                   end - BLOB_HEADER_BYTES) &&
           is_zero(disk, end, slot->offset + slot->bytes);
}

/*
 * Returns whether all is zero behind the images in both slots, whose payload
 * has so many bytes.
 */
static bool wiped_pair(const uint8_t *disk, const BlobPair *pair,
                       uint64_t payload)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(pair, n);

        if (!wiped_slot(disk, &slot, payload)) {
            return false;
        }
    }
    return true;
}

bool wiped_blob(const uint8_t *disk, const Blob *blob)
{
    const BlobEntry *entry = &blob->entry;

    for (unsigned n = 0; n < 2 && entry->slot_bytes; n++) {
        BlobSlot slot = blob_slot_of(blob, n);
        bool is_current = entry->sequence && entry->slot == n;

        if (is_current ? !wiped_slot(disk, &slot, entry->stored_bytes)
                       : !is_zero(disk, slot.offset,
                                  slot.offset + slot.bytes)) {
            return false;
        }
    }
    return true;
}

bool wiped_deleted(const uint8_t *disk, const BlobStore *store)
{
    for (guint i = 0; store->guard->seal && i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->entry.sequence && blob->entry.flags & BLOB_FLAG_DELETED &&
            !wiped_blob(disk, blob)) {
            return false;
        }
    }
    return true;
}

bool wiped_store(const uint8_t *disk, const BlobStore *store)
{
    uint64_t offset;
    uint64_t bytes;

    if (!wiped_pair(disk, &store->super_pair, BLOB_SUPERBLOCK_BYTES) ||
        !wiped_pair(disk, &store->directory_pair, store->directory_bytes)) {
        return false;
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        if (!wiped_blob(disk, g_ptr_array_index(store->blobs, i))) {
            return false;
        }
    }
    for (size_t n = 0; blob_space_nth(store->space, n, &offset, &bytes);
         n++) {
        if (!is_zero(disk, offset, offset + bytes)) {
            return false;
        }
    }
    return true;
}
