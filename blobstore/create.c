/*
 * Blobstore core: making an empty store on a blank medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "blank.h"
#include "superblock.h"

enum { DEFAULT_ROOM_BLOBS = 128 };

/* @room: for how many blobs; 0: for twice those that there are */
static uint64_t directory_slot_bytes(uint32_t room, uint32_t blobs)
{
    if (!room) {
        room = MAX(DEFAULT_ROOM_BLOBS, 2 * blobs);
    }
    return MIN(blob_layout_directory_slot_bytes(room),
               BLOB_DIRECTORY_SLOT_MAX_BYTES);
}

uint64_t blob_create_directory_slot_bytes(const BlobStore *store)
{
    return directory_slot_bytes(store->options.directory_blobs,
                                store->blobs->len);
}

uint64_t blob_store_bytes_for(const uint64_t *max_sizes, size_t count)
{
    uint64_t bytes = BLOB_DIRECTORY_OFFSET + 2 * directory_slot_bytes(0, count);

    for (size_t i = 0; i < count; i++) {
        bytes += 2 * blob_layout_slot_bytes(max_sizes[i]);
    }
    return bytes;
}

bool blob_create_uuid(uint8_t uuid[BLOB_UUID_BYTES], GError **error)
{
    if (!blob_digest_random(uuid, BLOB_UUID_BYTES, error)) {
        return false;
    }
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    return true;
}

static bool make_superblock(BlobStore *store, GError **error)
{
    uint64_t slot_bytes = blob_create_directory_slot_bytes(store);
    BlobSuperblock super = {
        .version = BLOB_FORMAT_VERSION,
        .state = BLOB_STATE_READY,
        .generation = 1,        /* as the marker has, until it is written */
        .directory_offset = BLOB_DIRECTORY_OFFSET,
        .directory_slot_bytes = slot_bytes,
        .data_offset = BLOB_DIRECTORY_OFFSET + 2 * slot_bytes,
        .key_slots = store->super.key_slots,
    };

    if (!store->named && !blob_create_uuid(store->super.uuid, error)) {
        return false;
    }
    store->named = true;
    memcpy(super.uuid, store->super.uuid, sizeof(super.uuid));
    if (store->key) {
        super.incompatible = BLOB_FEATURE_SEALED;
    } else if (!blob_digest_random(super.seed, sizeof(super.seed), error)) {
        return false;
    }
    store->super = super;
    return true;
}

bool blob_create_plan(BlobStore *store, uint64_t length, GError **error)
{
    if (!make_superblock(store, error)) {
        return false;
    }
    /* It may have shrunk since it was measured. */
    if (length < store->super.data_offset) {
        return blob_store_fail_too_small(store->super.data_offset, length,
                                         error);
    }
    store->guard = store->key
                   ? blob_guard_new_sealed(store->key, store->super.uuid,
                                           error)
                   : blob_guard_new_plain(store->super.seed);
    if (!store->guard) {
        return false;
    }
    store->capacity = length / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES;
    store->space = blob_space_new(store->super.data_offset, store->capacity);
    store->next_id = BLOB_ID_FIRST;
    store->directory_pair = (BlobPair) {
        .id = BLOB_ID_DIRECTORY,
        .offset = store->super.directory_offset,
        .slot_bytes = store->super.directory_slot_bytes,
    };
    return true;
}

bool blob_create_check_blank(BlobStore *store, GError **error)
{
    BlobPair pair = store->super_pair;
    BlobHeader header;
    BlobSuperblock super;
    g_autoptr(GBytes) payload = NULL;

    if (store->space) {
        return true;            /* what has landed is what we create */
    }
    if (!blob_pair_read(&store->medium, store->zero_guard, &pair, &header,
                        &payload, error)) {
        return false;
    }
    if (!payload) {
        return true;
    }
    if (!blob_layout_decode_superblock(g_bytes_get_data(payload, NULL),
                                       g_bytes_get_size(payload), &super,
                                       error)) {
        return false;
    }
    if (super.state != BLOB_STATE_CREATING) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,
                    "medium was blank when it was opened and holds a store "
                    "now: unless it is in use elsewhere, open it again");
        return false;
    }
    return true;
}

bool blob_create_store(BlobStore *store, GError **error)
{
    uint64_t length;

    if (!store->medium.storage->ops->length(store->medium.storage, &length,
                                            error)) {
        return false;
    }
    /* R13: only after the marker is durable is anything else written. */
    if (!store->marked) {
        if (!blob_blank_write_marker(&store->medium, store->zero_guard,
                                     error)) {
            return false;
        }
        store->marked = true;
        store->super_pair.intact[0] = true;
        store->super_pair.sequence[0] = 1;
    }

    /*
     * If writing the superblock failed before, it may be on the medium all the
     * same.  Superblock and directory must have the same seed, so the plan is
     * made only once.
     */
    if (!store->space && !blob_create_plan(store, length, error)) {
        return false;
    }
    /* The superblock names the directory, so that stays as it is, too. */
    if (!store->epoch.own && !blob_epoch_record(store, false, error)) {
        return false;
    }
    store->super.generation = 2;
    memcpy(store->super.epoch_id, store->epoch.id,
           sizeof(store->super.epoch_id));
    if (!blob_superblock_write(store, error)) {
        return false;
    }
    store->blank = false;
    return true;
}
