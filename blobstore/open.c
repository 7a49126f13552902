/*
 * Blobstore core: opening a store, from what the medium holds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "blank.h"

static void blob_free(gpointer data)
{
    Blob *blob = data;

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
        store->uuid = g_strdup(options->uuid);
        store->options.uuid = store->uuid;
    }
    store->read_only = store->options.read_only;
    store->zero_seed = blob_digest_new(NULL);
    store->next_id = BLOB_ID_FIRST;
    store->blobs = g_ptr_array_new_with_free_func(blob_free);
    store->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                           NULL);
    store->warnings = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(store->warnings, NULL);
    store->super_pair = (BlobPair) {
        .id = BLOB_ID_SUPERBLOCK,
        .slot_bytes = BLOB_SUPERBLOCK_SLOT_BYTES,
    };
    return store;
}

/*
 * A blank medium, or one whose format was cut short, is fine unless the
 * caller wants a store that exists.
 */
static bool open_blank(BlobStore *store, GError **error)
{
    store->blank = true;
    if (store->uuid && !store->options.format_as_uuid) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UUID,
                    "medium is blank, but the store with uuid %s was asked "
                    "for: is this the right image?", store->uuid);
        return false;
    }
    if (store->options.format_never) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "medium is blank and must not be formatted "
                    "(format=never): is this the right image?");
        return false;
    }
    return true;
}

/* Whether one of the places of a superblock copy bears the magic */
static bool find_superblock_traces(BlobStore *store, uint64_t length,
                                   bool *found, GError **error)
{
    uint64_t trailer = blob_layout_image_bytes(BLOB_SUPERBLOCK_BYTES) -
                       BLOB_HEADER_BYTES;
    g_autofree uint8_t *area = NULL;

    *found = false;
    if (length < BLOB_DIRECTORY_OFFSET) {
        return true;
    }
    area = blob_medium_alloc(BLOB_DIRECTORY_OFFSET);
    if (!blob_medium_read(&store->medium, 0, area, BLOB_DIRECTORY_OFFSET,
                          error)) {
        return false;
    }
    for (unsigned n = 0; n < 2; n++) {
        const uint8_t *copy = area + n * BLOB_SUPERBLOCK_SLOT_BYTES;

        *found = *found ||
                 !memcmp(copy, BLOB_MAGIC, strlen(BLOB_MAGIC)) ||
                 !memcmp(copy + trailer, BLOB_MAGIC, strlen(BLOB_MAGIC));
    }
    return true;
}

/* No intact superblock: blank, a format cut short, or something else? */
static bool open_without_superblock(BlobStore *store, uint64_t length,
                                    GError **error)
{
    uint64_t data;
    bool is_cut = false;
    bool has_traces;

    if (!blob_blank_find_data(&store->medium, 0, length, &data, error)) {
        return false;
    }
    if (data < length &&
        !blob_blank_is_cut_marker(&store->medium, store->zero_seed, length,
                                  &is_cut, error)) {
        return false;
    }
    if (data == length || is_cut) {
        return open_blank(store, error);
    }
    if (!find_superblock_traces(store, length, &has_traces, error)) {
        return false;
    }
    if (has_traces) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "both copies of the superblock (offsets 0 and %d) are "
                    "damaged: restore the image from a backup",
                    BLOB_SUPERBLOCK_SLOT_BYTES);
    } else {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN,
                    "medium is not a blobstore and not blank: it holds %s, "
                    "first non-zero byte at offset %" G_GUINT64_FORMAT,
                    blob_blank_describe(&store->medium, length), data);
    }
    return false;
}

/* *@found becomes whether there is a superblock of a finished format. */
static bool open_superblock(BlobStore *store, uint64_t length, bool *found,
                            GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    gsize bytes;
    const uint8_t *data;

    *found = false;
    if (length < BLOB_DIRECTORY_OFFSET) {
        return open_without_superblock(store, length, error);
    }
    if (!blob_pair_read(&store->medium, store->zero_seed, &store->super_pair,
                        &header, &payload, error)) {
        return false;
    }
    if (!payload) {
        return open_without_superblock(store, length, error);
    }
    data = g_bytes_get_data(payload, &bytes);
    if (!blob_layout_decode_superblock(data, bytes, &store->super, error)) {
        return false;
    }
    if (store->super.generation != header.sequence || header.flags) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "superblock does not belong to its header");
        return false;
    }
    if (store->super.state == BLOB_STATE_FORMATTING) {
        store->marked = true;
        return open_blank(store, error);
    }
    if (store->super.ro_compatible) {
        store->read_only = true;
        blob_store_warn(store, "store uses features that this program does "
                        "not know: opened for reading only");
    }
    for (unsigned n = 0; n < 2; n++) {
        if (!store->super_pair.intact[n]) {
            blob_store_warn(store, "superblock copy at offset %d is damaged; "
                            "the other copy is used",
                            n * BLOB_SUPERBLOCK_SLOT_BYTES);
        }
    }
    *found = true;
    return true;
}

static bool check_uuid(const BlobStore *store, GError **error)
{
    g_autoptr(GString) found = g_string_new(NULL);

    for (unsigned i = 0; i < BLOB_UUID_BYTES; i++) {
        bool dash = i == 4 || i == 6 || i == 8 || i == 10;

        g_string_append_printf(found, "%s%02x", dash ? "-" : "",
                               store->super.uuid[i]);
    }
    if (store->uuid && g_ascii_strcasecmp(store->uuid, found->str)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UUID,
                    "medium holds the store with uuid %s, but uuid %s was "
                    "asked for: is this the right image?", found->str,
                    store->uuid);
        return false;
    }
    return true;
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

static gint compare_offsets(gconstpointer a, gconstpointer b)
{
    uint64_t x = (*(Blob *const *)a)->entry.offset;
    uint64_t y = (*(Blob *const *)b)->entry.offset;

    return x < y ? -1 : x > y;
}

static void map_space(BlobStore *store)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();

    for (guint i = 0; i < store->blobs->len; i++) {
        g_ptr_array_add(sorted, g_ptr_array_index(store->blobs, i));
    }
    g_ptr_array_sort(sorted, compare_offsets);
    store->space = blob_space_new(store->super.data_offset, store->capacity);
    for (guint i = 0; i < sorted->len; i++) {
        const BlobEntry *entry = &((Blob *)g_ptr_array_index(sorted, i))->entry;

        blob_space_take(store->space, entry->offset, 2 * entry->slot_bytes);
    }
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
    if (end > length) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL,
                    "store needs %" G_GUINT64_FORMAT " bytes, the medium has "
                    "%" G_GUINT64_FORMAT ": was it shrunk?", end, length);
        return false;
    }
    store->epoch = directory->epoch;
    memcpy(store->epoch_id, directory->epoch_id, sizeof(store->epoch_id));
    store->clean = directory->clean;
    store->next_id = directory->next_id;
    store->acknowledged = blob_sequence(directory->epoch, 0);
    store->capacity = MIN(directory->capacity,
                          length / BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES);
    for (guint i = 0; i < directory->entries->len; i++) {
        const BlobEntry *entry =
            &g_array_index(directory->entries, BlobEntry, i);

        blob_store_add(store, entry);
        blob_digest_census(store->digest, entry->id, entry->sequence,
                           store->census);
    }
    map_space(store);
    return true;
}

static bool open_directory(BlobStore *store, uint64_t length, GError **error)
{
    g_auto(BlobDirectory) directory = { 0 };
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    if (store->super.data_offset > length) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL,
                    "store needs at least %" G_GUINT64_FORMAT " bytes, the "
                    "medium has %" G_GUINT64_FORMAT ": was it shrunk?",
                    store->super.data_offset, length);
        return false;
    }
    store->digest = blob_digest_new(store->super.seed);
    store->directory_pair = (BlobPair) {
        .id = BLOB_ID_DIRECTORY,
        .offset = store->super.directory_offset,
        .slot_bytes = store->super.directory_slot_bytes,
    };
    if (!blob_pair_read(&store->medium, store->digest, &store->directory_pair,
                        &header, &payload, error)) {
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
    for (unsigned n = 0; n < 2; n++) {
        if (!store->directory_pair.intact[n]) {
            blob_store_warn(store, "directory copy at offset %"
                            G_GUINT64_FORMAT " is damaged or was cut short; "
                            "the other copy is used",
                            blob_pair_slot(&store->directory_pair, n).offset);
        }
    }
    if (!blob_layout_decode_directory(payload, &store->super, &directory,
                                      error)) {
        return false;
    }
    if (header.flags ||
        header.sequence != blob_sequence(directory.epoch, 0) ||
        memcmp(header.epoch_id, directory.epoch_id,
               sizeof(header.epoch_id))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "directory does not belong to its header");
        return false;
    }
    return adopt_directory(store, &directory, length, error);
}

BlobStore *blob_store_open(BlobStorage *storage,
                           const BlobStoreOptions *options, GError **error)
{
    g_autoptr(BlobStore) store = new_store(storage, options);
    uint64_t length;
    bool found;

    if (!storage->ops->length(storage, &length, error) ||
        !open_superblock(store, length, &found, error)) {
        return NULL;
    }
    if (!found) {
        return g_steal_pointer(&store);
    }
    if (!check_uuid(store, error) || !open_directory(store, length, error)) {
        return NULL;
    }
    /* R14: after a clean close the directory tells everything. */
    if (!store->clean && !blob_recover(store, error)) {
        return NULL;
    }
    return g_steal_pointer(&store);
}
