/*
 * Blobstore core: epoch records, the commits of the directory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>

/* A deleted or never written blob stays only as long as somebody uses it. */
static bool is_listed(const Blob *blob)
{
    bool has_version = blob->entry.sequence &&
                       !(blob->entry.flags & BLOB_FLAG_DELETED);

    return blob->entry.slot_bytes &&
           (blob->registered || has_version || blob->damage ||
            blob->unwiped);
}

/* The epochs that are over when the next one begins, as far as there is room */
static GArray *make_past(const BlobStore *store, uint32_t entries)
{
    GArray *past = g_array_copy(store->past);
    const BlobSequence *follows = &store->options.follows;
    uint64_t last = store->acknowledged;
    const uint8_t *id = store->epoch_id;
    BlobPast present = { 0 };
    uint32_t room =
        blob_layout_past_room(store->super.directory_slot_bytes, entries);

    /* What came from elsewhere has a past that is not this medium's. */
    if (blob_sequence_epoch(follows->number) > blob_sequence_epoch(last)) {
        g_array_set_size(past, 0);
        last = follows->number;
        id = follows->epoch_id;
    }
    if (last) {
        present.epoch = blob_sequence_epoch(last);
        present.counter = (uint32_t)last;
        memcpy(present.epoch_id, id, sizeof(present.epoch_id));
        g_array_append_val(past, present);
    }
    if (past->len > room) {
        g_array_remove_range(past, 0, past->len - room);
    }
    return past;
}

static bool make_directory(BlobStore *store, bool clean,
                           BlobDirectory *directory, GError **error)
{
    uint32_t room =
        blob_layout_directory_room(store->super.directory_slot_bytes);

    *directory = (BlobDirectory) {
        .epoch = store->epoch,
        .clean = clean,
        .superblock_generation = store->super.generation,
        .capacity = store->capacity,
        .next_id = store->next_id,
        .sealings = store->guard->seal ? store->sealings : 0,
        .entries = g_array_new(FALSE, FALSE, sizeof(BlobEntry)),
    };
    if (!blob_digest_random(directory->epoch_id,
                            sizeof(directory->epoch_id), error)) {
        return false;
    }
    memcpy(directory->key_commitment, store->guard->commitment,
           sizeof(directory->key_commitment));
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (is_listed(blob)) {
            g_array_append_val(directory->entries, blob->entry);
        }
    }
    if (directory->entries->len > room) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FULL,
                    "store was made for at most %u blobs, %u are wanted: "
                    "use another store for some of them",
                    room, directory->entries->len);
        return false;
    }
    directory->past = make_past(store, directory->entries->len);
    return true;
}

/* R12: what no directory on the medium names any more is free. */
static void release_unlisted(BlobStore *store)
{
    for (guint i = 0; i < store->blobs->len; ) {
        Blob *blob = g_ptr_array_index(store->blobs, i);

        if (!is_listed(blob) && blob->entry.slot_bytes) {
            blob_digest_census(store->guard->digest, blob->entry.id,
                               blob->entry.sequence, store->census);
            blob_space_release(store->space, blob->entry.offset,
                               2 * blob->entry.slot_bytes);
            blob_store_remove(store, blob);
        } else {
            i++;
        }
    }
}

bool blob_commit_begin(BlobStore *store, GError **error)
{
    if (store->committing) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BUSY,
                    "store is used while a commit is in flight: "
                    "its user must serialise calls");
        return false;
    }
    store->committing = true;
    return true;
}

void blob_commit_end(BlobStore *store)
{
    store->committing = false;
}

static bool record(BlobStore *store, bool clean, GError **error)
{
    g_auto(BlobDirectory) directory = { 0 };
    g_autoptr(GBytes) payload = NULL;
    BlobHeader header = { 0 };
    uint32_t before = store->epoch;
    uint32_t last =
        MAX(before, blob_sequence_epoch(store->options.follows.number));

    if (store->voucher && !clean) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "store is being converted: start it again first");
        return false;
    }
    if (last == UINT32_MAX) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has used up its last epoch and can only be read: "
                    "copy its blobs to a new store");
        return false;
    }
    /*
     * R4: a write that failed must not land on top of what comes after this
     * record.  A durable write settles nothing but itself.
     */
    if (store->medium.unsettled &&
        !blob_medium_flush(&store->medium, error)) {
        return false;
    }
    /* A number is never used twice, even if this record fails. */
    store->epoch = last + 1;
    store->epoch_open = false;
    store->sealings += 2;       /* one for each copy */
    if (!make_directory(store, clean, &directory, error)) {
        store->epoch = before;
        return false;
    }
    payload = blob_layout_encode_directory(&directory, store->voucher);
    header.sequence = blob_sequence(store->epoch, 0);
    header.raw_bytes = g_bytes_get_size(payload);
    memcpy(header.epoch_id, directory.epoch_id, sizeof(header.epoch_id));
    store->clean = false;
    if (!blob_pair_write(&store->medium, store->guard,
                         &store->directory_pair, &header, payload, error)) {
        return false;
    }

    memcpy(store->epoch_id, directory.epoch_id, sizeof(store->epoch_id));
    g_array_unref(store->past);
    store->past = g_steal_pointer(&directory.past);
    store->counter = 0;
    store->acknowledged = header.sequence;
    store->clean = clean;
    store->epoch_open = !clean;
    store->directory_bytes = header.raw_bytes;
    release_unlisted(store);
    return true;
}

bool blob_epoch_record(BlobStore *store, bool clean, GError **error)
{
    bool ok;

    if (!blob_commit_begin(store, error)) {
        return false;
    }
    ok = record(store, clean, error);
    blob_commit_end(store);
    return ok;
}

bool blob_epoch_record_all(BlobStore *store, GError **error)
{
    if (store->clean || (store->epoch_open && !store->counter)) {
        return true;
    }
    return blob_epoch_record(store, false, error);
}
