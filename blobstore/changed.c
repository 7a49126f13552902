/*
 * Blobstore core: a medium that has changed under the feet of its store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "superblock.h"

/* *@lost becomes whether neither copy is intact on the medium. */
static bool is_lost(BlobStore *store, const BlobGuard *guard,
                    const BlobPair *known, bool *lost, GError **error)
{
    BlobPair pair = *known;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    if (!blob_pair_read(&store->medium, guard, &pair, &header, &payload,
                        error)) {
        return false;
    }
    *lost = !payload;
    return true;
}

bool blob_store_rewrite_heads(BlobStore *store, GError **error)
{
    bool lost;

    if (!is_lost(store, store->zero_guard, &store->super_pair, &lost, error) ||
        (lost && !blob_superblock_write(store, error)) ||
        !is_lost(store, store->guard, &store->directory_pair, &lost, error)) {
        return false;
    }
    /* S10: a store that is being converted has only clean directories. */
    return !lost || blob_epoch_record(store, store->voucher, error);
}

bool blob_store_supersede(BlobStore *store, GError **error)
{
    BlobSuperblock super = store->super;

    if (!blob_store_require_started(store, error)) {
        return false;
    }
    if (super.state == BLOB_STATE_CONVERTING) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "store was being converted");
        return false;
    }
    super.state = BLOB_STATE_WIPING;
    return blob_superblock_outnumber(store, error) &&
           blob_superblock_change(store, &super, store->key, error) &&
           blob_epoch_record(store, false, error);
}

/* Whether @block begins copy @n of the directory as the store knows it */
static bool is_known(const BlobStore *store, unsigned n, const void *block)
{
    const BlobPair *pair = &store->directory_pair;
    BlobSlot slot = blob_pair_slot(pair, n);
    BlobHeader header;

    /* A conversion that failed between the copies has one under its target. */
    return (blob_layout_decode_header(block, store->guard, slot.id,
                                      slot.offset, slot.bytes, &header) ||
            (store->target &&
             blob_layout_decode_header(block, store->target, slot.id,
                                       slot.offset, slot.bytes, &header))) &&
           header.sequence == pair->sequence[n] &&
           !memcmp(header.epoch_id, pair->epoch_id[n],
                   sizeof(header.epoch_id));
}

static bool fail_taken(const BlobHeader *header, GError **error)
{
    if (header) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                    "store was taken over by another process, which has begun "
                    "epoch %u", blob_sequence_epoch(header->sequence));
    } else {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                    "store was taken over by another process");
    }
    return false;
}

/*
 * The next record, whoever makes it, begins with the copy that was written
 * last, while both are whole (R16).  So that one is enough if it is ours.  A
 * copy that is neither ours nor another's is damaged, or is being written.
 */
static bool check_directory(BlobStore *store, GError **error)
{
    const BlobPair *pair = &store->directory_pair;
    g_autofree uint8_t *block = blob_medium_alloc(BLOB_BLOCK_BYTES);
    g_autoptr(GError) failure = NULL;
    bool is_doubtful = false;

    for (unsigned i = 0; i < 2; i++) {
        unsigned n = i ? !pair->last : pair->last;
        BlobSlot slot = blob_pair_slot(pair, n);
        BlobHeader header;

        if (!pair->intact[n]) {
            continue;           /* A record of ours has failed there. */
        }
        if (!blob_medium_read(&store->medium, slot.offset, block,
                              BLOB_BLOCK_BYTES, failure ? NULL : &failure)) {
            continue;           /* A bad sector is damage of that copy. */
        }
        if (is_known(store, n, block)) {
            return true;
        }
        if (blob_layout_decode_header(block, store->guard, slot.id,
                                      slot.offset, slot.bytes, &header)) {
            return fail_taken(&header, error);
        }
        is_doubtful = true;
    }
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    return !is_doubtful || fail_taken(NULL, error);
}

/*
 * Whoever owned the store when it was opened may have committed since.  Once
 * there is another epoch, nobody would see that commit.
 */
static bool check_slots(BlobStore *store, GError **error)
{
    g_autofree uint8_t *block = blob_medium_alloc(BLOB_BLOCK_BYTES);

    for (guint i = 0; i < 2 * store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i / 2);
        BlobHeader header;
        BlobSlot slot;

        if (!blob->entry.slot_bytes) {
            continue;
        }
        slot = blob_slot_of(blob, i % 2);
        if (!blob_medium_read(&store->medium, slot.offset, block,
                              BLOB_BLOCK_BYTES, error)) {
            return false;
        }
        if (blob_layout_decode_header(block, store->guard, slot.id,
                                      slot.offset, slot.bytes, &header) &&
            !memcmp(header.epoch_id, store->epoch.id,
                    sizeof(header.epoch_id)) &&
            header.sequence > store->last_seen) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                        "store was written to by another process since it was "
                        "opened");
            return false;
        }
    }
    return true;
}

bool blob_store_check_owner(BlobStore *store, GError **error)
{
    if (!store->options.fence || store->blank) {
        return true;
    }
    return check_directory(store, error) &&
           (store->epoch.own || store->epoch.clean ||
            check_slots(store, error));
}

/*
 * A copy that cannot be read is damage of that copy, which the next record
 * rewrites.  The other one shows whether somebody has written: nobody commits
 * before both are durable (R2).
 */
bool blob_store_check_unchanged(BlobStore *store, bool *unchanged,
                                GError **error)
{
    BlobPair *pair = &store->directory_pair;
    g_autofree uint8_t *block = blob_medium_alloc(BLOB_BLOCK_BYTES);
    g_autoptr(GError) failure = NULL;
    bool unreadable[2] = { false, false };
    unsigned seen = 0;

    *unchanged = true;
    for (unsigned n = 0; n < 2 && !store->blank; n++) {
        if (!pair->intact[n]) {
            continue;
        }
        if (blob_medium_read(&store->medium, blob_pair_slot(pair, n).offset,
                             block, BLOB_BLOCK_BYTES,
                             failure ? NULL : &failure)) {
            seen++;
            *unchanged = *unchanged && is_known(store, n, block);
        } else {
            unreadable[n] = true;
        }
    }
    if (failure && !seen) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    for (unsigned n = 0; n < 2; n++) {
        if (unreadable[n]) {
            pair->intact[n] = false;
            store->epoch.open = false;
        }
    }
    return true;
}
