/*
 * Blobstore core: the superblock on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "superblock.h"

#include <string.h>

BlobPair blob_superblock_pair(void)
{
    return (BlobPair) {
        .id = BLOB_ID_SUPERBLOCK,
        .slot_bytes = BLOB_SUPERBLOCK_SLOT_BYTES,
        .usual_bytes = blob_layout_image_bytes(BLOB_SUPERBLOCK_BYTES),
    };
}

/*
 * Reads copy @n, *@usable becomes whether its header, trailer and head are
 * intact; its key slots may be damaged.
 */
static bool read_head(BlobMedium *medium, const BlobGuard *zero_guard,
                      const BlobPair *pair, unsigned n, uint8_t *image,
                      BlobHeader *header, bool *usable, GError **error)
{
    BlobSlot slot = blob_pair_slot(pair, n);
    uint64_t bytes = blob_layout_image_bytes(BLOB_SUPERBLOCK_BYTES);

    *usable = false;
    if (!blob_medium_read(medium, slot.offset, image, bytes, error)) {
        return false;
    }
    *usable = blob_layout_decode_header(image, zero_guard, slot.id,
                                        slot.offset, slot.bytes, header) &&
              header->stored_bytes == BLOB_SUPERBLOCK_BYTES &&
              !memcmp(image, image + bytes - BLOB_HEADER_BYTES,
                      BLOB_HEADER_BYTES) &&
              blob_layout_superblock_head_is_intact(image +
                                                    BLOB_HEADER_BYTES);
    return true;
}

/* A damaged key slot must cost neither the store nor the other key slots. */
static bool salvage(BlobMedium *medium, const BlobGuard *zero_guard,
                    BlobPair *pair, BlobHeader *header, GBytes **payload,
                    GError **error)
{
    uint64_t bytes = blob_layout_image_bytes(BLOB_SUPERBLOCK_BYTES);
    g_autofree uint8_t *image0 = blob_medium_alloc(bytes);
    g_autofree uint8_t *image1 = blob_medium_alloc(bytes);
    uint8_t *payloads[] = { image0 + BLOB_HEADER_BYTES,
                            image1 + BLOB_HEADER_BYTES };
    BlobHeader headers[2];
    bool usable[2];
    unsigned n;

    if (!read_head(medium, zero_guard, pair, 0, image0, &headers[0],
                   &usable[0], error) ||
        !read_head(medium, zero_guard, pair, 1, image1, &headers[1],
                   &usable[1], error)) {
        return false;
    }
    if (!usable[0] && !usable[1]) {
        return true;
    }
    n = !usable[0] || (usable[1] && headers[1].sequence > headers[0].sequence);
    blob_layout_mend_key_slots(payloads[n], payloads[!n]);
    pair->partly[n] = true;
    *header = headers[n];
    *payload = g_bytes_new(payloads[n], BLOB_SUPERBLOCK_BYTES);
    return true;
}

bool blob_superblock_read(BlobMedium *medium, const BlobGuard *zero_guard,
                          BlobPair *pair, BlobHeader *header,
                          GBytes **payload, GError **error)
{
    if (!blob_pair_read(medium, zero_guard, pair, header, payload, error)) {
        return false;
    }
    if (*payload || (!pair->begun[0] && !pair->begun[1])) {
        return true;
    }
    return salvage(medium, zero_guard, pair, header, payload, error);
}

bool blob_superblock_decode(const BlobHeader *header, GBytes *payload,
                            BlobSuperblock *super, GError **error)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(payload, &bytes);

    if (!blob_layout_decode_superblock(data, bytes, super, error)) {
        return false;
    }
    if (super->generation != header->sequence || header->flags) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "superblock does not belong to its header");
        return false;
    }
    return true;
}

static GBytes *encode(BlobSuperblock *super, const BlobKey *key,
                      GError **error)
{
    g_autofree uint8_t *bytes = g_malloc(BLOB_SUPERBLOCK_BYTES);
    g_autoptr(BlobDigest) keyed = NULL;

    if (key) {
        keyed = blob_key_new_digest(key, BLOB_KEY_FOR_SUPERBLOCK, super->uuid,
                                    error);
        if (!keyed) {
            return NULL;
        }
    }
    blob_layout_encode_superblock(super, keyed, bytes);
    return g_bytes_new_take(g_steal_pointer(&bytes), BLOB_SUPERBLOCK_BYTES);
}

static bool write_pair(BlobStore *store, BlobSuperblock *super,
                       const BlobKey *key, GError **error)
{
    g_autoptr(GBytes) payload = encode(super, key, error);
    BlobHeader header = {
        .sequence = super->generation,
        .previous = super->generation - 1,
        .raw_bytes = BLOB_SUPERBLOCK_BYTES,
    };

    return payload && blob_pair_write(&store->medium, store->zero_guard,
                                      &store->super_pair, &header, payload,
                                      error);
}

bool blob_superblock_write(BlobStore *store, GError **error)
{
    store->generation = store->super.generation;
    return write_pair(store, &store->super, store->key, error);
}

bool blob_superblock_change(BlobStore *store, const BlobSuperblock *wanted,
                            BlobKey *key, GError **error)
{
    BlobSuperblock super = *wanted;

    /* R1: a number that began again would let removed key slots back in. */
    if (store->generation >= BLOB_GENERATION_MAX) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has used up its last superblock generation: copy "
                    "its blobs to a new store");
        return false;
    }
    if (!blob_store_check_owner(store, error)) {
        return false;
    }
    store->super_unknown = true;
    /* A write that failed before must not land on top of this one. */
    if (store->medium.unsettled &&
        !blob_medium_flush(&store->medium, error)) {
        return false;
    }
    /* A number is never used twice, even if this write fails. */
    super.generation = ++store->generation;
    memcpy(super.epoch_id, store->epoch.id, sizeof(super.epoch_id));
    if (!write_pair(store, &super, key, error)) {
        return false;
    }
    store->super_unknown = false;
    store->super = super;
    if (super.state != BLOB_STATE_CONVERTING) {
        g_clear_pointer(&store->voucher, blob_digest_free);
    }
    if (key != store->key) {
        blob_key_unref(store->key);
        store->key = key ? blob_key_ref(key) : NULL;
    }
    return true;
}

bool blob_superblock_settle(BlobStore *store, GError **error)
{
    return !store->super_unknown ||
           blob_superblock_change(store, &store->super, store->key, error);
}

bool blob_superblock_outnumber(BlobStore *store, GError **error)
{
    BlobPair pair = blob_superblock_pair();
    BlobHeader header;
    BlobSuperblock found;
    g_autoptr(GBytes) payload = NULL;

    if (!blob_superblock_read(&store->medium, store->zero_guard, &pair,
                              &header, &payload, error)) {
        return false;
    }
    if (payload && !blob_superblock_decode(&header, payload, &found, error)) {
        return false;
    }
    if (!payload || memcmp(found.uuid, store->super.uuid, BLOB_UUID_BYTES)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UUID,
                    "medium does not hold a state of this store any more");
        return false;
    }
    store->generation = MAX(store->generation, found.generation);
    return true;
}

bool blob_superblock_heal(BlobStore *store, bool *lost, GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    *lost = false;
    /*
     * A change that another process failed to write may have landed since the
     * medium was read.  It has landed after the flush with which a start
     * begins.
     */
    if (store->started && blob_pair_is_whole(&store->super_pair)) {
        return true;
    }
    if (!blob_superblock_read(&store->medium, store->zero_guard,
                              &store->super_pair, &header, &payload, error)) {
        return false;
    }
    if (payload && header.sequence > store->super.generation) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,
                    "superblock has changed since the store was opened: "
                    "unless it is in use elsewhere, open it again");
        return false;
    }
    /* It may be in the copy that could be read when the store was opened. */
    if (payload && header.sequence < store->super.generation &&
        !blob_pair_fail_unreadable(&store->super_pair, error)) {
        return false;
    }
    if (!payload || header.sequence != store->super.generation) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "superblock has changed or been damaged since the store "
                    "was opened: is the image in use elsewhere?");
        return false;
    }
    *lost = blob_pair_current(&store->super_pair) < 0;
    return *lost ||
           blob_pair_heal(&store->medium, store->zero_guard,
                          &store->super_pair, &header, payload, error);
}
