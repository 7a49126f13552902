/*
 * Blobstore core: what a store holds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>

void blob_store_get_status(const BlobStore *store, BlobStoreStatus *info)
{
    *info = (BlobStoreStatus) {
        .blank = store->blank,
        .started = store->started,
        .clean = store->epoch.clean,
        .read_only = store->read_only,
        .format_version = BLOB_FORMAT_VERSION,
        .block_size = BLOB_BLOCK_BYTES,
        .commits = store->commits,
        .bytes_written = store->medium.bytes_written,
        .write_errors = store->medium.write_errors,
    };
    /* A store that is still being created is not shown: it may yet fail. */
    if (!store->blank) {
        info->capacity = store->capacity;
        info->free = blob_space_free_bytes(store->space);
        info->sequence = store->epoch.acknowledged;
        info->sealed = blob_superblock_is_sealed(&store->super);
        info->converting = store->super.state != BLOB_STATE_READY;
        /* Until it is being wiped, that is what the last conversion did. */
        info->wiped = store->super.state == BLOB_STATE_CONVERTING
                      ? 0 : MIN(store->wiped, store->capacity);
        memcpy(info->uuid, store->super.uuid, sizeof(info->uuid));
        memcpy(info->epoch_id, store->epoch.id, sizeof(info->epoch_id));
    }
    if (!store->blank && store->key) {
        info->key_slots = blob_key_slots_count_used(&store->super.key_slots);
        info->sealings = store->sealings;
        memcpy(info->key_commitment,
               (store->target && store->target->seal ? store->target
                                                     : store->guard)
               ->commitment, sizeof(info->key_commitment));
    }
}

void blob_get_info(const Blob *blob, BlobInfo *info)
{
    const BlobEntry *entry = &blob->entry;

    *info = (BlobInfo) {
        .owner = entry->owner,
        .name = entry->name,
        .kind = entry->kind,
        .registered = blob->registered,
        .present = entry->sequence && !(entry->flags & BLOB_FLAG_DELETED),
        .packed = entry->flags & BLOB_FLAG_PACKED,
        .size = entry->raw_bytes - entry->metadata_bytes,
        .stored_size = entry->stored_bytes,
        .max_size = MAX(entry->max_size, blob->max_size),
        .sequence = entry->sequence,
        .slots = entry->slot_bytes ? 2 : 0,
        .damage = blob->damage,
    };
    for (unsigned n = 0; n < info->slots; n++) {
        BlobSlot slot = blob_slot_of(blob, n);

        info->slot[n].offset = slot.offset;
        info->slot[n].length = slot.bytes;
        info->slot[n].current = entry->sequence && entry->slot == n;
    }
}
