/*
 * Blobstore core: zeroing what is not needed any more
 *
 * It is no commit: it only touches what nothing refers to, and can be done
 * again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "wipe.h"

#include <string.h>

enum { CHUNK_BYTES = 64 * BLOB_BLOCK_BYTES };

static bool zero_range(BlobMedium *medium, uint64_t start, uint64_t end,
                       GError **error)
{
    const BlobStorageOps *ops = medium->storage->ops;
    g_autofree uint8_t *zeros = NULL;

    while (start < end) {
        uint64_t known = 0;
        size_t bytes = MIN(end - start, CHUNK_BYTES);

        if (ops->known_zero) {
            known = ops->known_zero(medium->storage, start, end - start);
            known = MIN(known, end - start) / BLOB_BLOCK_BYTES *
                    BLOB_BLOCK_BYTES;
        }
        if (known) {
            start += known;
            continue;
        }
        if (!zeros) {
            zeros = blob_medium_alloc(CHUNK_BYTES);
            memset(zeros, 0, CHUNK_BYTES);
        }
        if (!ops->write(medium->storage, start, zeros, bytes, false, error)) {
            medium->write_errors++;
            medium->unsettled = true;
            return false;
        }
        medium->bytes_written += bytes;
        start += bytes;
    }
    return true;
}

/* What lies behind the image of @payload bytes in a slot */
static bool zero_rest(BlobMedium *medium, const BlobSlot *slot,
                      uint64_t payload, GError **error)
{
    return zero_range(medium, slot->offset + blob_layout_image_bytes(payload),
                      slot->offset + slot->bytes, error);
}

static bool wipe_blob(BlobStore *store, const Blob *blob, GError **error)
{
    const BlobEntry *entry = &blob->entry;

    for (unsigned n = 0; n < 2 && entry->slot_bytes; n++) {
        BlobSlot slot = blob_slot_of(blob, n);
        /* What is damaged may be something else, in plain text. */
        bool is_current = entry->sequence && entry->slot == n &&
                          !blob->damage;

        if (is_current
            ? !zero_rest(&store->medium, &slot, entry->stored_bytes, error)
            : !zero_range(&store->medium, slot.offset,
                          slot.offset + slot.bytes, error)) {
            return false;
        }
    }
    return true;
}

void blob_wipe_later(BlobStore *store, Blob *blob)
{
    blob->unwiped = true;
    store->unwiped = true;
}

static bool wipe_pending(BlobStore *store, GError **error)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->unwiped && !wipe_blob(store, blob, error)) {
            return false;
        }
    }
    return blob_medium_flush(&store->medium, error);
}

bool blob_wipe_pending(BlobStore *store, GError **error)
{
    bool ok;

    if (!store->unwiped) {
        return true;
    }
    /* What is zeroed may be evidence for what is current, of any blob. */
    if (!blob_epoch_record_all(store, error) ||
        !blob_commit_begin(store, error)) {
        return false;
    }
    ok = wipe_pending(store, error);
    blob_commit_end(store);
    if (!ok) {
        store->epoch.open = false;      /* R4 */
        return false;
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->unwiped && !blob->registered) {
            store->epoch.open = false;  /* The next record releases it. */
        }
        blob->unwiped = false;
    }
    store->unwiped = false;
    return true;
}

/* Both copies are of the same length, or of what is damaged. */
static bool wipe_pair(BlobStore *store, const BlobPair *pair,
                      uint64_t payload, GError **error)
{
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(pair, n);

        if (!zero_rest(&store->medium, &slot, payload, error)) {
            return false;
        }
    }
    return true;
}

bool blob_wipe_all(BlobStore *store, GError **error)
{
    uint64_t offset;
    uint64_t bytes;

    if (!wipe_pair(store, &store->super_pair, BLOB_SUPERBLOCK_BYTES, error) ||
        !wipe_pair(store, &store->directory_pair, store->directory_bytes,
                   error)) {
        return false;
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        if (!wipe_blob(store, g_ptr_array_index(store->blobs, i), error)) {
            return false;
        }
    }
    for (size_t n = 0; blob_space_nth(store->space, n, &offset, &bytes);
         n++) {
        if (!zero_range(&store->medium, offset, offset + bytes, error)) {
            return false;
        }
    }
    return blob_medium_flush(&store->medium, error);
}
