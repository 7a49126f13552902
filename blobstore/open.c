/*
 * Blobstore core: opening a store, from what the medium holds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "convert.h"
#include "identify.h"
#include "expect.h"
#include "superblock.h"

static void blob_free(gpointer data)
{
    Blob *blob = data;

    blob_drop_plan(blob);
    g_free(blob->damage);
    g_free(blob);
}

static BlobStore *new_store(BlobStorage *storage,
                            const BlobStoreOptions *options)
{
    BlobStore *store = g_new0(BlobStore, 1);

    store->medium.storage = storage;
    if (options) {
        store->options = *options;
        if (options->key) {
            store->key = blob_key_ref(options->key);
        }
    }
    store->read_only = store->options.read_only;
    store->zero_guard = blob_guard_new_plain(NULL);
    store->next_id = BLOB_ID_FIRST;
    store->epoch.history = g_array_new(FALSE, FALSE, sizeof(BlobPastEpoch));
    store->blobs = g_ptr_array_new_with_free_func(blob_free);
    store->by_name = g_tree_new(blob_layout_compare_names);
    store->warnings = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(store->warnings, NULL);
    store->super_pair = blob_superblock_pair();
    return store;
}

static uint64_t entries_end(const BlobStore *store, const GArray *entries)
{
    uint64_t end = store->super.data_offset;

    for (guint i = 0; i < entries->len; i++) {
        const BlobEntry *entry = &g_array_index(entries, BlobEntry, i);

        end = MAX(end, entry->offset + 2 * entry->slot_bytes);
    }
    return end;
}

static void map_space(BlobStore *store)
{
    g_autoptr(GPtrArray) sorted = blob_store_by_offset(store);

    store->space = blob_space_new(store->super.data_offset, store->capacity);
    for (guint i = 0; i < sorted->len; i++) {
        const BlobEntry *entry = &((Blob *)g_ptr_array_index(sorted, i))->entry;

        blob_space_take(store->space, entry->offset, 2 * entry->slot_bytes);
    }
}

/*
 * S5: a superblock is on record, or it was written in the epoch of this
 * directory and the power failed before it was recorded.
 */
static bool names_each_other(const BlobSuperblock *super,
                             const BlobDirectory *directory)
{
    return directory->superblock_generation == super->generation
           ? !memcmp(directory->superblock_digest, super->digest,
                     sizeof(super->digest))
           : !memcmp(directory->epoch_id, super->epoch_id,
                     sizeof(super->epoch_id));
}

static bool adopt_directory(BlobStore *store, const BlobDirectory *directory,
                            uint64_t length, GError **error)
{
    uint64_t end = entries_end(store, directory->entries);

    if (directory->superblock_generation > store->super.generation) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,
                    "superblock (generation %" G_GUINT64_FORMAT ") is older "
                    "than the directory (%" G_GUINT64_FORMAT "): restore the "
                    "whole image from one backup", store->super.generation,
                    directory->superblock_generation);
        return false;
    }
    if (!names_each_other(&store->super, directory)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,
                    "superblock (generation %" G_GUINT64_FORMAT ") does not "
                    "belong to the directory: they are from two copies of "
                    "the store, restore the whole image from one backup",
                    store->super.generation);
        return false;
    }
    if (end > length) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL,
                    "store needs %" G_GUINT64_FORMAT " bytes, the medium has "
                    "%" G_GUINT64_FORMAT ": was it shrunk?", end, length);
        return false;
    }
    store->epoch.number = directory->epoch;
    memcpy(store->epoch.id, directory->epoch_id, sizeof(store->epoch.id));
    store->epoch.clean = directory->clean;
    store->next_id = directory->next_id;
    store->epoch.acknowledged = blob_sequence(directory->epoch, 0);
    store->capacity = MIN(directory->capacity,
                          length / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES);
    for (guint i = 0; i < directory->entries->len; i++) {
        const BlobEntry *entry =
            &g_array_index(directory->entries, BlobEntry, i);

        blob_store_add(store, entry);
    }
    g_array_set_size(store->epoch.history, 0);
    if (directory->history->len) {
        g_array_append_vals(store->epoch.history, directory->history->data,
                            directory->history->len);
    }
    store->sealings = directory->sealings;
    blob_store_take_census(store);
    map_space(store);
    return true;
}

/* Makes the guard of the store and, during a conversion, the target. */
static bool make_guards(BlobStore *store, GError **error)
{
    const BlobSuperblock *super = &store->super;
    g_autoptr(BlobGuard) sealed = NULL;

    if (!store->key) {
        store->guard = blob_guard_new_plain(super->seed);
        return true;
    }
    sealed = blob_guard_new_sealed(store->key, super->uuid, error);
    if (!sealed) {
        return false;
    }
    if (super->conversion != BLOB_CONVERSION_NONE) {
        store->voucher = blob_key_new_digest(store->key,
                                             BLOB_KEY_FOR_VOUCHERS,
                                             super->uuid, error);
        if (!store->voucher) {
            return false;
        }
    }
    switch (super->conversion) {
    case BLOB_CONVERSION_SEAL:
        store->guard = blob_guard_new_plain(super->seed);
        store->target = g_steal_pointer(&sealed);
        return true;
    case BLOB_CONVERSION_UNSEAL:
        store->guard = g_steal_pointer(&sealed);
        store->target = blob_guard_new_plain(super->seed);
        return true;
    case BLOB_CONVERSION_REKEY:
        store->guard = blob_convert_previous_guard(store, error);
        store->target = g_steal_pointer(&sealed);
        return store->guard;
    default:
        store->guard = g_steal_pointer(&sealed);
        return true;
    }
}

/*
 * During a conversion, the current directory is the newest one under either
 * guard.  If that is the target, nothing under the old guard counts any more.
 */
static bool read_directory(BlobStore *store, BlobHeader *header,
                           GBytes **payload, GError **error)
{
    BlobPair pair = store->directory_pair;
    g_autoptr(GBytes) converted = NULL;
    g_autoptr(GError) failure = NULL;
    BlobHeader other;

    if (!store->target) {
        return blob_pair_read(&store->medium, store->guard,
                              &store->directory_pair, header, payload, error);
    }
    /* One copy may be under the one guard, and unreadable under the other. */
    blob_pair_read(&store->medium, store->guard, &store->directory_pair,
                   header, payload, &failure);
    blob_pair_read(&store->medium, store->target, &pair, &other, &converted,
                   failure ? NULL : &failure);
    if (failure && !*payload && !converted) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (converted && (!*payload || other.sequence > header->sequence)) {
        store->directory_pair = pair;
        *header = other;
        g_clear_pointer(payload, g_bytes_unref);
        *payload = g_steal_pointer(&converted);
        blob_guard_free(store->guard);
        store->guard = g_steal_pointer(&store->target);
    }
    return true;
}

static void warn_of_directory(BlobStore *store)
{
    for (unsigned n = 0; n < 2; n++) {
        const char *failure = store->directory_pair.failure[n];

        if (!store->directory_pair.intact[n]) {
            blob_store_warn(store, "directory copy at offset %"
                            G_GUINT64_FORMAT " %s%s; the other copy is used",
                            blob_pair_slot(&store->directory_pair, n).offset,
                            *failure ? "cannot be read: "
                                     : "is damaged or was cut short",
                            failure);
        }
    }
}

static bool check_directory(const BlobStore *store, const BlobHeader *header,
                            GBytes *payload, const BlobDirectory *directory,
                            GError **error)
{
    uint32_t sealed_flag = store->guard->seal ? BLOB_FLAG_SEALED : 0;

    if (header->flags != sealed_flag ||
        header->sequence != blob_sequence(directory->epoch, 0) ||
        memcmp(header->epoch_id, directory->epoch_id,
               sizeof(header->epoch_id))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "directory does not belong to its header");
        return false;
    }
    if (store->guard->seal &&
        !blob_digest_equal(store->guard->commitment,
                           directory->key_commitment,
                           sizeof(directory->key_commitment))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                    "directory was made for another key");
        return false;
    }
    /* S10 */
    if (store->voucher &&
        (!directory->clean ||
         !blob_layout_directory_is_vouched(payload, store->voucher))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                    "store is being converted, but its directory was not made "
                    "with its key: somebody has changed it, restore the image "
                    "from a backup");
        return false;
    }
    return true;
}

/* Without a fence, or within its window: see blob_owner_check_copies(). */
static bool begun_twice(const BlobPair *pair)
{
    return blob_pair_is_whole(pair) &&
           memcmp(pair->epoch_id[0], pair->epoch_id[1],
                  sizeof(pair->epoch_id[0]));
}

static bool load_directory(BlobStore *store, BlobDirectory *directory,
                           GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    store->directory_pair = (BlobPair) {
        .id = BLOB_ID_DIRECTORY,
        .offset = store->super.directory_offset,
        .slot_bytes = store->super.directory_slot_bytes,
    };
    if (!make_guards(store, error) ||
        !read_directory(store, &header, &payload, error)) {
        return false;
    }
    if (!payload) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "both copies of the directory (offsets %" G_GUINT64_FORMAT
                    " and %" G_GUINT64_FORMAT ") are damaged: restore the "
                    "image from a backup", store->directory_pair.offset,
                    store->directory_pair.offset +
                    store->directory_pair.slot_bytes);
        return false;
    }
    if (begun_twice(&store->directory_pair)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "two processes have begun epoch %u at the same time, and "
                    "the store cannot tell whose it is: restore the image "
                    "from a backup", blob_sequence_epoch(header.sequence));
        return false;
    }
    store->directory_bytes = header.raw_bytes;
    store->directory_pair.last = blob_sequence_epoch(header.sequence) % 2;
    return blob_layout_decode_directory(payload, &store->super,
                                        store->guard->seal, directory,
                                        error) &&
           check_directory(store, &header, payload, directory, error);
}

/*
 * Whether nobody has begun anything since a clean close that succeeded.  A
 * superblock that is not on record may be in a cache only.
 */
static bool is_at_rest(const BlobStore *store, const BlobDirectory *directory)
{
    return store->super.state == BLOB_STATE_READY &&
           directory->superblock_generation == store->super.generation &&
           directory->clean &&
           blob_pair_is_whole(&store->directory_pair);
}

/* Frees what load_directory() has made. */
static void unload_directory(BlobStore *store, BlobDirectory *directory)
{
    blob_layout_clear_directory(directory);
    g_clear_pointer(&store->guard, blob_guard_free);
    g_clear_pointer(&store->target, blob_guard_free);
    g_clear_pointer(&store->voucher, blob_digest_free);
}

/*
 * R16: a directory or a version whose flush has failed may be in a cache only.
 * The superblock need not be read again: if both of its copies are the same,
 * one of them was durable before the other one was begun.
 */
static bool distrust_cache(BlobStore *store, BlobDirectory *directory,
                           GError **error)
{
    bool dropped;

    if (!blob_medium_drop_cache(&store->medium, &dropped, error)) {
        return false;
    }
    if (!dropped) {
        return true;
    }
    unload_directory(store, directory);
    return load_directory(store, directory, error);
}

static bool open_directory(BlobStore *store, uint64_t length, GError **error)
{
    g_auto(BlobDirectory) directory = { 0 };

    if (store->super.data_offset > length) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL,
                    "store needs at least %" G_GUINT64_FORMAT " bytes, the "
                    "medium has %" G_GUINT64_FORMAT ": was it shrunk?",
                    store->super.data_offset, length);
        return false;
    }
    if (!load_directory(store, &directory, error) ||
        (!store->read_only && !is_at_rest(store, &directory) &&
         !distrust_cache(store, &directory, error))) {
        return false;
    }
    warn_of_directory(store);
    return adopt_directory(store, &directory, length, error);
}

static void forget_borrowed(BlobStoreOptions *options)
{
    options->uuid = NULL;
    options->unlock = NULL;
    options->make = NULL;
    options->opaque = NULL;
    options->key = NULL;
    options->key_slots = NULL;
    options->key_commitment = NULL;
    options->min_sequence = NULL;
}

BlobStore *blob_store_open(BlobStorage *storage,
                           const BlobStoreOptions *options, GError **error)
{
    g_autoptr(BlobStore) store = new_store(storage, options);
    uint64_t length;
    bool found;

    if (!storage->ops->length(storage, &length, error) ||
        !blob_identify_medium(store, length, &found, error)) {
        return NULL;
    }
    if (!found) {
        forget_borrowed(&store->options);
        return g_steal_pointer(&store);
    }
    if (!blob_expect_key(store, error) ||
        !open_directory(store, length, error)) {
        return NULL;
    }
    /* R14: after a clean close the directory is all that there is to know. */
    if (!store->epoch.clean && !blob_recover_store(store, error)) {
        return NULL;
    }
    if (!store->epoch.clean) {
        /* The commits of the epoch that can be seen, and one that failed */
        store->sealings += (uint32_t)store->epoch.acknowledged +
                           BLOB_MEMBERS_MAX;
    }
    if (!blob_expect_sequence(store, error)) {
        return NULL;
    }
    forget_borrowed(&store->options);
    return g_steal_pointer(&store);
}
