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

/* What a plan changes, to be taken back if it fails */
typedef struct Change {
    Blob *blob;
    BlobEntry before;
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

/* On record before it is written to: it will not be blank any more. */
static bool extend_capacity(BlobStore *store, uint64_t length, GError **error)
{
    uint64_t capacity = store->capacity;
    BlobSpace *space = blob_space_copy(store->space);

    store->capacity = length;
    blob_space_extend(store->space, length);
    if (!blob_epoch_record(store, false, error)) {
        store->capacity = capacity;
        blob_space_free(store->space);
        store->space = space;
        return false;
    }
    blob_space_free(space);
    return true;
}

/*
 * Makes sure that the medium has what blob_store_required_bytes() says, and
 * both directory copies say that it is ours.
 */
static bool ensure_capacity(BlobStore *store, GError **error)
{
    uint64_t required = blob_store_required_bytes(store);
    uint64_t length;
    uint64_t data;

    if (store->space && required <= store->capacity) {
        return true;
    }
    if (!store->medium.storage->ops->length(store->medium.storage, &length,
                                            error)) {
        return false;
    }
    length = length / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES;
    if (length < required) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL,
                    "medium is too small: %" G_GUINT64_FORMAT " bytes are "
                    "needed, it has %" G_GUINT64_FORMAT, required, length);
        return false;
    }
    if (!store->space) {
        return true;
    }
    /* Space that the medium has gained must be blank to become ours. */
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
    return extend_capacity(store, length, error);
}

static bool place_blob(BlobStore *store, Blob *blob, GArray *changes,
                       bool *copied, GError **error)
{
    Change change = { blob, blob->entry };
    uint64_t bytes = wanted_bytes(blob);
    uint64_t offset;
    bool found;

    /* Where ids begin is for the medium to say, and it may lie. */
    if (!blob->entry.slot_bytes && store->next_id == UINT64_MAX - 1) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has used up its last id and takes no new blobs: "
                    "copy its blobs to a new store");
        return false;
    }
    found = blob_space_allocate(store->space, bytes, &offset);
    g_assert(found);            /* ensure_capacity() */
    if (!blob->entry.slot_bytes) {
        blob->entry.id = store->next_id++;
    }
    blob->entry.max_size = MAX(blob->max_size, blob->entry.max_size);
    if (blob->entry.sequence) {
        BlobSlot slot = {
            .id = blob->entry.id,
            .offset = offset,
            .bytes = bytes / 2,
            .entry = &blob->entry,
        };

        /* The same version: no new sequence, nothing else changes. */
        if (!blob_version_copy(store, blob, store->guard, &slot, error)) {
            blob->entry = change.before;
            blob_space_release(store->space, offset, bytes);
            return false;
        }
        *copied = true;
    }
    blob->entry.offset = offset;
    blob->entry.slot_bytes = bytes / 2;
    blob->entry.slot = 0;
    g_array_append_val(changes, change);
    return true;
}

static bool place_all(BlobStore *store, GArray *changes, GError **error)
{
    bool copied = false;

    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);
        Change change = { blob, blob->entry };

        if (wants_extent(blob)) {
            if (!place_blob(store, blob, changes, &copied, error)) {
                return false;
            }
        } else if (blob->registered &&
                   blob->max_size > blob->entry.max_size) {
            /* The slots have room for it already. */
            blob->entry.max_size = blob->max_size;
            g_array_append_val(changes, change);
        }
    }
    return !copied || blob_medium_flush(&store->medium, error);
}

/* R12: no directory names the extents left behind any more. */
static void leave_extents(BlobStore *store, const GArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        const Change *change = &g_array_index(changes, Change, i);

        if (change->before.slot_bytes &&
            change->before.offset != change->blob->entry.offset) {
            blob_space_release(store->space, change->before.offset,
                               2 * change->before.slot_bytes);
        }
    }
}

/*
 * A directory that failed to be written may name the new extents.  They are
 * free, but nothing is placed before another record: see
 * place_and_record().
 */
static void take_back(BlobStore *store, const GArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        const Change *change = &g_array_index(changes, Change, i);
        BlobEntry *entry = &change->blob->entry;

        if (change->before.offset != entry->offset) {
            blob_space_release(store->space, entry->offset,
                               2 * entry->slot_bytes);
        }
        *entry = change->before;
    }
}

static bool place_and_record(BlobStore *store, GError **error)
{
    g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(Change));

    /*
     * R12: what an older copy of the directory names, or one that failed to
     * be written may name, must not be overwritten.
     */
    if (!blob_pair_is_whole(&store->directory_pair) &&
        !blob_epoch_record(store, false, error)) {
        return false;
    }
    if (!ensure_capacity(store, error)) {
        return false;
    }
    if (!place_all(store, changes, error)) {
        take_back(store, changes);
        return false;
    }
    if (!changes->len && store->epoch_open) {
        return true;
    }
    if (!blob_epoch_record(store, false, error)) {
        take_back(store, changes);
        return false;
    }
    leave_extents(store, changes);
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

/*
 * A superblock whose write had failed may have landed since the medium was
 * read.  Its directory is under its own seed: it must not be overwritten.
 */
static bool check_still_blank(BlobStore *store, GError **error)
{
    BlobPair pair = store->super_pair;
    BlobHeader header;
    BlobSuperblock super;
    g_autoptr(GBytes) payload = NULL;

    if (store->space) {
        return true;            /* what has landed is of this format */
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
    if (super.state != BLOB_STATE_FORMATTING) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,
                    "medium was blank when it was opened and holds a store "
                    "now: unless it is in use elsewhere, open it again");
        return false;
    }
    return true;
}

bool blob_store_start(BlobStore *store, GError **error)
{
    if (store->read_only) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "store is open for reading only");
        return false;
    }
    if (!check_registered(store, error)) {
        return false;
    }
    /*
     * What was read may be in a volatile cache only, written by a user who
     * crashed or whose write failed.  Nothing is built on that.  And what we
     * failed to write must not land on what is put in its place.
     */
    if ((!store->epoch_open || store->medium.unsettled) &&
        !blob_medium_flush(&store->medium, error)) {
        return false;
    }
    if (store->blank &&
        (!ensure_capacity(store, error) || !check_still_blank(store, error) ||
         !blob_create_store(store, error))) {
        return false;
    }
    if (!blob_superblock_heal(store, error) ||
        !blob_convert_finish(store, error) ||
        !blob_wipe_pending(store, error) ||
        !place_and_record(store, error)) {
        return false;
    }
    store->started = true;
    return true;
}

bool blob_store_close_clean(BlobStore *store, GError **error)
{
    if (!store->started || store->clean) {
        return true;
    }
    return blob_wipe_pending(store, error) &&
           blob_epoch_record(store, true, error);
}
