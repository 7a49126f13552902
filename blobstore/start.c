/*
 * Blobstore core: making registered blobs writable
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "blank.h"
#include "convert.h"
#include "superblock.h"
#include "wipe.h"

/* A blob with a plan, and the extent that it has until then */
typedef struct Change {
    Blob *blob;
    uint64_t offset;
    uint64_t bytes;             /* 0: none */
} Change;

static bool wants_extent(const Blob *blob)
{
    return blob->registered &&
           (!blob->entry.slot_bytes ||
            blob_layout_slot_bytes(MAX(blob->max_size,
                                       blob->entry.max_size)) !=
            blob->entry.slot_bytes);
}

static uint64_t wanted_bytes(const Blob *blob)
{
    return 2 * blob_layout_slot_bytes(MAX(blob->max_size,
                                          blob->entry.max_size));
}

uint64_t blob_store_required_bytes(const BlobStore *store)
{
    uint64_t data_offset = store->super.data_offset;
    g_autoptr(BlobSpace) space = NULL;

    if (store->space) {
        space = blob_space_copy(store->space);
        blob_space_extend(space, INT64_MAX);
    } else {
        data_offset = BLOB_DIRECTORY_OFFSET +
                      2 * blob_create_directory_slot_bytes(store);
        space = blob_space_new(data_offset, INT64_MAX);
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);
        uint64_t offset;

        if (wants_extent(blob)) {
            blob_space_allocate(space, wanted_bytes(blob), &offset);
        }
    }
    return blob_space_used_end(space);
}

/*
 * The store claims the space that the medium has gained, up to @length, if
 * that is blank.  The new capacity is recorded first: later, its space will
 * not be blank.
 */
static bool extend_capacity(BlobStore *store, uint64_t length, GError **error)
{
    uint64_t data;

    if (!blob_blank_find_data(&store->medium, store->capacity, length, &data,
                              error)) {
        return false;
    }
    if (data < length) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN,
                    "medium has grown, but the new space is not blank: first "
                    "non-zero byte at offset %" G_GUINT64_FORMAT, data);
        return false;
    }
    if (!blob_epoch_record_capacity(store, length, error)) {
        return false;
    }
    blob_space_extend(store->space, length);
    return true;
}

/*
 * Makes sure that the medium has blob_store_required_bytes(), and that both
 * directory copies claim that much of it.  The record that claims it also
 * releases extents, and with other holes more may be required than before.
 */
static bool ensure_capacity(BlobStore *store, GError **error)
{
    uint64_t required = blob_store_required_bytes(store);
    uint64_t length;

    while (!store->space || required > store->capacity) {
        if (!store->medium.storage->ops->length(store->medium.storage,
                                                &length, error)) {
            return false;
        }
        length = length / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES;
        if (length < required) {
            return blob_store_fail_too_small(required, length, error);
        }
        if (!store->space) {
            return true;
        }
        if (!extend_capacity(store, length, error)) {
            return false;
        }
        required = blob_store_required_bytes(store);
    }
    return true;
}

/* Plans an extent of @space for @blob, and copies its current version. */
static bool place_blob(BlobStore *store, Blob *blob, BlobSpace *space,
                       bool *copied, GError **error)
{
    uint64_t bytes = wanted_bytes(blob);
    BlobEntry *entry = &blob_plan(blob)->entry;
    BlobSlot slot;

    /* The next id is read from the medium, which may be hostile. */
    if (!entry->slot_bytes && store->next_id == UINT64_MAX - 1) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has used up its last id and takes no new blobs: "
                    "copy its blobs to a new store");
        return false;
    }
    if (!blob_space_allocate(space, bytes, &entry->offset)) {
        return blob_store_fail_too_small(blob_store_required_bytes(store),
                                         store->capacity, error);
    }
    if (!entry->slot_bytes) {
        entry->id = store->next_id++;
    }
    entry->max_size = MAX(blob->max_size, entry->max_size);
    entry->slot_bytes = bytes / 2;
    entry->slot = 0;
    if (!entry->sequence) {
        return true;
    }
    /* The copy is the same version, so it keeps its sequence. */
    slot = (BlobSlot) {
        .id = entry->id,
        .offset = entry->offset,
        .bytes = entry->slot_bytes,
        .entry = entry,
    };
    *copied = true;
    return blob_version_copy(store, blob, store->guard, &slot, entry->digest,
                             error);
}

/* Adds each blob that it has planned to @changes, even on failure. */
static bool place_all(BlobStore *store, GArray *changes, GError **error)
{
    g_autoptr(BlobSpace) space = blob_space_copy(store->space);
    bool copied = false;

    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);
        Change change = {
            .blob = blob,
            .offset = blob->entry.offset,
            .bytes = 2 * blob->entry.slot_bytes,
        };

        if (wants_extent(blob)) {
            g_array_append_val(changes, change);
            if (!place_blob(store, blob, space, &copied, error)) {
                return false;
            }
        } else if (blob->registered &&
                   blob->max_size > blob->entry.max_size) {
            /* The slots are large enough already. */
            g_array_append_val(changes, change);
            blob_plan(blob)->entry.max_size = blob->max_size;
        }
    }
    return !copied || blob_medium_flush(&store->medium, error);
}

/* Whether a version is to be written outside of its extent */
static bool will_copy(const BlobStore *store)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (wants_extent(blob) && blob->entry.sequence) {
            return true;
        }
    }
    return false;
}

/* R12: no directory names the old extents any more. */
static void settle_extents(BlobStore *store, const GArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        const Change *change = &g_array_index(changes, Change, i);
        const BlobEntry *entry = &change->blob->entry;

        if (change->bytes && change->offset == entry->offset) {
            continue;
        }
        blob_space_take(store->space, entry->offset, 2 * entry->slot_bytes);
    }
    for (guint i = 0; i < changes->len; i++) {
        const Change *change = &g_array_index(changes, Change, i);

        if (change->bytes && change->offset != change->blob->entry.offset) {
            blob_space_release(store->space, change->offset, change->bytes);
        }
    }
}

/*
 * A record that failed may have written a directory that names the new
 * extents.  They are free, but nothing is placed there before the next record:
 * see place_and_record().
 */
static void drop_plans(const GArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        blob_drop_plan(g_array_index(changes, Change, i).blob);
    }
}

static bool place(BlobStore *store, GArray *changes, GError **error)
{
    bool ok;

    if (!blob_commit_begin(store, error)) {
        return false;
    }
    ok = place_all(store, changes, error);
    blob_commit_end(store);
    return ok;
}

static bool place_and_record(BlobStore *store, GError **error)
{
    g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(Change));

    /*
     * R12: nothing may be written over extents that an older copy of the
     * directory names, or a copy whose write has failed.  A copy that
     * failed in another process may have landed since the medium was read.
     */
    if ((!blob_pair_is_whole(&store->directory_pair) ||
         (!store->epoch.open && will_copy(store))) &&
        !blob_epoch_record(store, false, error)) {
        return false;
    }
    if (!ensure_capacity(store, error)) {
        return false;
    }
    if (!place(store, changes, error)) {
        drop_plans(changes);
        return false;
    }
    if (!changes->len && store->epoch.open) {
        return true;
    }
    if (!blob_epoch_record(store, false, error)) {
        drop_plans(changes);
        return false;
    }
    settle_extents(store, changes);
    return true;
}

static bool check_registered(const BlobStore *store, GError **error)
{
    if (store->options.replace_damaged) {
        return true;
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->registered && blob->damage) {
            return blob_version_fail_damaged(blob, error);
        }
    }
    return true;
}

static bool heal_superblock(BlobStore *store, GError **error)
{
    bool is_lost;

    /* The record settles the superblock first. */
    if (store->super_unknown &&
        !blob_epoch_record(store, store->voucher, error)) {
        return false;
    }
    if (!blob_superblock_heal(store, &is_lost, error)) {
        return false;
    }
    return !is_lost ||
           (blob_epoch_settle(store, error) &&
            blob_superblock_change(store, &store->super, store->key, error) &&
            blob_epoch_record(store, store->voucher, error));
}

bool blob_store_check_untouched(BlobStore *store, GError **error)
{
    bool is_recovered = !store->blank && !store->epoch.own &&
                        !store->epoch.clean;

    return blob_store_check_owner(store, error) &&
           (!store->options.fence || !is_recovered ||
            blob_recover_check_unchanged(store, error));
}

bool blob_store_start(BlobStore *store, GError **error)
{
    if (!blob_store_require_writable(store, error) ||
        !check_registered(store, error) ||
        !blob_store_check_untouched(store, error)) {
        return false;
    }
    /*
     * Another user may have written what was read here, and may have crashed
     * before it was durable: the flush makes it so.  The flush also keeps
     * writes of ours that failed from landing on what is written next.
     */
    if ((!store->epoch.open || store->medium.unsettled) &&
        !blob_medium_flush(&store->medium, error)) {
        return false;
    }
    if (store->blank &&
        (!ensure_capacity(store, error) ||
         !blob_create_check_blank(store, error) ||
         !blob_create_store(store, error))) {
        return false;
    }
    if (!heal_superblock(store, error) ||
        !blob_convert_finish(store, error) ||
        !blob_wipe_pending(store, error) ||
        !place_and_record(store, error)) {
        return false;
    }
    store->started = true;
    return true;
}

bool blob_store_resize(BlobStore *store, uint64_t bytes, GError **error)
{
    uint64_t length;
    uint64_t required;

    if (!blob_store_require_started(store, error) ||
        !store->medium.storage->ops->length(store->medium.storage, &length,
                                            error)) {
        return false;
    }
    bytes = MIN(bytes, length) / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES;
    required = blob_store_required_bytes(store);
    if (bytes < required) {
        return blob_store_fail_too_small(required, bytes, error);
    }
    if (bytes > store->capacity) {
        return extend_capacity(store, bytes, error);
    }
    if (bytes < store->capacity) {
        if (!blob_epoch_record_capacity(store, bytes, error)) {
            return false;
        }
        blob_space_cut(store->space, bytes);
    }
    return true;
}

bool blob_store_close_clean(BlobStore *store, GError **error)
{
    if (!store->started || store->epoch.clean) {
        return true;
    }
    return blob_store_check_owner(store, error) &&
           blob_wipe_pending(store, error) &&
           blob_epoch_record(store, true, error);
}
