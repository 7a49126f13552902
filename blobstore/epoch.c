/*
 * Blobstore core: epoch records, the commits of the directory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "owner.h"
#include "superblock.h"

/* The directory keeps a blob without content only while it is registered. */
static bool is_listed(const Blob *blob, const BlobEntry *entry)
{
    bool has_version = entry->sequence && !(entry->flags & BLOB_FLAG_DELETED);

    return entry->slot_bytes &&
           (blob->registered || has_version || blob->damage ||
            blob->unwiped);
}

/*
 * The epoch history that the next record has: the epochs before it in
 * ascending order, as many of the latest as there is room for
 */
static GArray *make_history(const BlobStore *store, uint32_t entries)
{
    GArray *history = g_array_copy(store->epoch.history);
    const BlobSequence *follows = &store->options.follows;
    uint64_t last = store->epoch.acknowledged;
    const uint8_t *id = store->epoch.id;
    BlobPastEpoch present = { 0 };
    uint32_t room =
        blob_layout_history_room(store->super.directory_slot_bytes, entries);

    /* A VM that was migrated in has a history that is not this medium's. */
    if (blob_sequence_epoch(follows->number) > blob_sequence_epoch(last)) {
        g_array_set_size(history, 0);
        last = follows->number;
        id = follows->epoch_id;
    }
    if (last) {
        present.epoch = blob_sequence_epoch(last);
        present.counter = (uint32_t)last;
        memcpy(present.epoch_id, id, sizeof(present.epoch_id));
        g_array_append_val(history, present);
    }
    if (history->len > room) {
        g_array_remove_range(history, 0, history->len - room);
    }
    return history;
}

/* A record to be made */
typedef struct Record {
    bool clean;
    bool switches;              /* to the target, under which it is */
    uint64_t capacity;          /* of the store from then on */
    uint64_t sealings;          /* made with the key, at most */
} Record;

static const BlobGuard *guard_of(const BlobStore *store, const Record *record)
{
    return record->switches ? store->target : store->guard;
}

/* Fills the directory that begins @next, and @next except for its census. */
static bool make_directory(const BlobStore *store, const Record *record,
                           BlobEpoch *next, BlobDirectory *directory,
                           GError **error)
{
    const BlobGuard *guard = guard_of(store, record);
    uint32_t room =
        blob_layout_directory_room(store->super.directory_slot_bytes);

    *directory = (BlobDirectory) {
        .epoch = next->number,
        .clean = next->clean,
        .superblock_generation = store->super.generation,
        .capacity = record->capacity,
        .next_id = store->next_id,
        .sealings = guard->seal ? record->sealings : 0,
        .entries = g_array_new(FALSE, FALSE, sizeof(BlobEntry)),
    };
    if (!blob_digest_random(directory->epoch_id,
                            sizeof(directory->epoch_id), error)) {
        return false;
    }
    memcpy(next->id, directory->epoch_id, sizeof(next->id));
    memcpy(directory->superblock_digest, store->super.digest,
           sizeof(directory->superblock_digest));
    memcpy(directory->key_commitment, guard->commitment,
           sizeof(directory->key_commitment));
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);
        const BlobEntry *entry = blob->plan ? &blob->plan->entry
                                            : &blob->entry;

        if (is_listed(blob, entry)) {
            g_array_append_val(directory->entries, *entry);
        }
    }
    if (directory->entries->len > room) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FULL,
                    "store was made for at most %u blobs, %u are wanted: "
                    "use another store for some of them",
                    room, directory->entries->len);
        return false;
    }
    directory->history = make_history(store, directory->entries->len);
    return true;
}

/*
 * R12: frees the extents that no directory on the medium names any more.  The
 * blobs that stay move to the front, in their order; the others are cut off.
 */
static void release_unlisted(BlobStore *store)
{
    g_autoptr(GArray) released = g_array_new(FALSE, FALSE, sizeof(BlobExtent));
    gpointer *blobs = store->blobs->pdata;
    guint kept = 0;

    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = blobs[i];
        const BlobEntry *entry = &blob->entry;

        if (is_listed(blob, entry) || !entry->slot_bytes) {
            blobs[i] = blobs[kept];
            blobs[kept++] = blob;
        } else {
            BlobExtent extent = {
                entry->offset, entry->offset + 2 * entry->slot_bytes,
            };

            blob_digest_census(store->guard->digest, entry->id,
                               entry->sequence, store->epoch.census);
            g_array_append_val(released, extent);
            g_tree_remove(store->by_name, entry);
        }
    }
    if (released->len) {
        blob_space_release_all(store->space, released);
        g_ptr_array_set_size(store->blobs, kept);
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

/* @next is durable.  This function never waits for storage. */
static void adopt(BlobStore *store, const Record *record, BlobEpoch *next)
{
    store->capacity = record->capacity;
    if (record->switches) {
        blob_guard_free(store->guard);
        store->guard = g_steal_pointer(&store->target);
        store->sealings = record->sealings;
    }
    memcpy(next->census, store->epoch.census, sizeof(next->census));
    for (guint i = 0; i < store->blobs->len; i++) {
        blob_adopt_plan(store, g_ptr_array_index(store->blobs, i),
                        next->census);
    }
    g_array_unref(store->epoch.history);
    store->epoch = *next;
    if (record->switches) {
        blob_store_take_census(store);  /* under the other guard */
    }
    release_unlisted(store);
}

static bool check_recordable(const BlobStore *store, const BlobEpoch *next,
                             GError **error)
{
    if (store->voucher && !next->clean) {
        return blob_store_fail_converting(error);
    }
    if (!next->number) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has used up its last epoch and can only be read: "
                    "copy its blobs to a new store");
        return false;
    }
    return true;
}

/*
 * R1: a number above every number that was used, or 0 if none is left.  It is
 * odd if copy 1 of the directory will be written last, which the next process
 * has to know (R16); the very last number is used in any case.
 */
static uint32_t next_number(const BlobStore *store)
{
    uint32_t last = MAX(store->epoch.number, store->last_epoch);
    bool is_odd = !blob_pair_first(&store->directory_pair);

    last = MAX(last, blob_sequence_epoch(store->options.follows.number));
    if (last >= UINT32_MAX - 1) {
        return last == UINT32_MAX ? 0 : UINT32_MAX;
    }
    return last + 1 + ((last + 1) % 2 != is_odd);
}

/* S9: one for each copy of the directory, and for each copy of a version */
static void count_sealings(BlobStore *store, Record *record)
{
    if (record->switches) {
        record->sealings = store->blobs->len + 2;
    } else {
        store->sealings += 2;
        record->sealings = store->sealings;
    }
}

static bool write_record(BlobStore *store, Record *record, GError **error)
{
    BlobEpoch next = {
        .number = next_number(store),
        .open = !record->clean,
        .clean = record->clean,
        .own = true,
    };
    g_auto(BlobDirectory) directory = { 0 };
    g_autoptr(GBytes) payload = NULL;
    BlobHeader header = { 0 };

    /* S5: a record names the superblock, so there has to be one for sure. */
    if (!check_recordable(store, &next, error) ||
        !blob_store_check_owner(store, error) ||
        !blob_superblock_settle(store, error)) {
        return false;
    }
    /*
     * R4: a write that failed must not land on top of what is written after
     * this record.  A durable write settles only itself, so this takes a
     * flush.
     */
    if (store->medium.unsettled &&
        !blob_medium_flush(&store->medium, error)) {
        return false;
    }
    /* If anything fails from here on, the present epoch is over. */
    store->epoch.open = false;
    count_sealings(store, record);
    if (!make_directory(store, record, &next, &directory, error)) {
        return false;
    }
    payload = blob_layout_encode_directory(&directory, store->voucher);
    next.acknowledged = blob_sequence(next.number, 0);
    header.sequence = next.acknowledged;
    header.raw_bytes = g_bytes_get_size(payload);
    memcpy(header.epoch_id, next.id, sizeof(header.epoch_id));
    /* A number is never used twice, even if this record fails. */
    store->last_epoch = next.number;
    store->epoch.clean = false;
    if (!blob_pair_write(&store->medium, guard_of(store, record),
                         &store->directory_pair, &header, payload, error) ||
        !blob_owner_check_copies(store, error)) {
        return false;
    }
    next.history = g_steal_pointer(&directory.history);
    store->directory_bytes = header.raw_bytes;
    adopt(store, record, &next);
    return true;
}

static bool commit_record(BlobStore *store, Record record, GError **error)
{
    bool ok;

    if (!blob_commit_begin(store, error)) {
        return false;
    }
    ok = write_record(store, &record, error);
    blob_commit_end(store);
    return ok;
}

bool blob_epoch_record_capacity(BlobStore *store, uint64_t capacity,
                                GError **error)
{
    return commit_record(store, (Record) { .capacity = capacity }, error);
}

bool blob_epoch_record(BlobStore *store, bool clean, GError **error)
{
    Record record = { .clean = clean, .capacity = store->capacity };

    return commit_record(store, record, error);
}

bool blob_epoch_record_switch(BlobStore *store, GError **error)
{
    Record record = {
        .clean = true,
        .switches = true,
        .capacity = store->capacity,
    };

    return commit_record(store, record, error);
}

bool blob_epoch_record_all(BlobStore *store, GError **error)
{
    if (store->epoch.clean || (store->epoch.open && !store->epoch.counter)) {
        return true;
    }
    return blob_epoch_record(store, false, error);
}

bool blob_epoch_settle(BlobStore *store, GError **error)
{
    if (store->epoch.own && !store->epoch.counter &&
        (store->epoch.open || store->epoch.clean)) {
        return true;
    }
    /* S10: a store that is being converted has only clean directories. */
    return blob_epoch_record(store, store->voucher, error);
}
