/*
 * Blobstore core: a medium that has changed under the feet of its store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "owner.h"
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

    if (!blob_owner_check_copies(store, error) ||
        !is_lost(store, store->zero_guard, &store->super_pair, &lost, error) ||
        (lost && !blob_superblock_write(store, error)) ||
        !is_lost(store, store->guard, &store->directory_pair, &lost, error)) {
        return false;
    }
    if (lost) {
        store->directory_pair.intact[0] = false;
        store->directory_pair.intact[1] = false;
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
    store->options.fence = false;       /* The medium is not as we left it. */
    return blob_superblock_outnumber(store, error) &&
           blob_superblock_change(store, &super, store->key, error) &&
           blob_epoch_record(store, false, error);
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
            *unchanged = *unchanged && blob_owner_knows(store, n, block);
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
