/*
 * Blobstore core: what a medium is, before its store is opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "identify.h"

#include <string.h>
#include "blank.h"
#include "expect.h"
#include "superblock.h"

static char *describe_uuid(const uint8_t *uuid)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < BLOB_UUID_BYTES; i++) {
        bool dash = i == 4 || i == 6 || i == 8 || i == 10;

        g_string_append_printf(text, "%s%02x", dash ? "-" : "", uuid[i]);
    }
    return g_string_free(text, FALSE);
}

/* Asks the caller for the key of the store that is about to be created. */
static bool ask_for_new_key(BlobStore *store, GError **error)
{
    BlobSuperblock *super = &store->super;

    if (!store->named && !blob_create_uuid(super->uuid, error)) {
        return false;
    }
    store->named = true;
    return store->options.make(super->uuid, store->options.opaque,
                               &store->key, &super->key_slots, error);
}

/* Decides on the key of a new store; blob_create_store() decides the rest. */
static bool choose_key(BlobStore *store, GError **error)
{
    BlobKeySlots *slots = &store->super.key_slots;

    if (!store->key && store->options.make && !store->read_only) {
        if (!ask_for_new_key(store, error)) {
            return false;
        }
    } else if (store->key && store->options.key_slots) {
        *slots = *store->options.key_slots;
    }
    if (!store->key) {
        memset(slots, 0, sizeof(*slots));
    } else if (!blob_key_slots_count_used(slots)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "medium is blank: a new encrypted store wants key slots");
        return false;
    }
    return true;
}

/*
 * A blank medium is accepted, and so is one where creating a store was cut
 * short, unless the caller wants an existing store.
 */
static bool accept_blank(const BlobStore *store, GError **error)
{
    const uint8_t *uuid = store->options.uuid;

    if (uuid && !store->options.create_as_uuid) {
        g_autofree char *text = describe_uuid(uuid);

        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UUID,
                    "medium is blank, but the store with uuid %s was asked "
                    "for: is this the right image?", text);
        return false;
    }
    if (store->options.create_never) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "medium is blank, and no store may be created on it: is "
                    "this the right image?");
        return false;
    }
    return blob_expect_blank(&store->options, error);
}

static bool open_blank(BlobStore *store, GError **error)
{
    const uint8_t *uuid = store->options.uuid;

    store->blank = true;
    if (!accept_blank(store, error)) {
        return false;
    }
    memset(&store->super, 0, sizeof(store->super));
    if (uuid) {
        memcpy(store->super.uuid, uuid, sizeof(store->super.uuid));
        store->named = true;
    }
    return choose_key(store, error);
}

/* *@found becomes whether the magic is in one of the places of a copy. */
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

/*
 * A large medium that seems blank is rather somebody's data disk, and reading
 * all of it could take hours.
 */
static bool refuse_large(const BlobStore *store, uint64_t length,
                         GError **error)
{
    if (accept_blank(store, error)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "medium of %" G_GUINT64_FORMAT " bytes seems blank, but "
                    "has more than %" G_GUINT64_FORMAT ", so no store is "
                    "created on it: is this the right image?", length,
                    store->options.create_max_bytes);
    }
    return false;
}

/*
 * No superblock is intact: the medium is blank, or creating a store was cut
 * short, or it holds something else.
 */
static bool open_without_superblock(BlobStore *store, uint64_t length,
                                    GError **error)
{
    uint64_t end = MIN(length, store->options.create_max_bytes ?: length);
    uint64_t data;
    bool is_cut = false;
    bool has_traces;

    if (!blob_blank_find_data(&store->medium, 0, end, &data, error)) {
        return false;
    }
    if (data == end && end < length) {
        return refuse_large(store, length, error);
    }
    if (data < length &&
        !blob_blank_is_cut_marker(&store->medium, store->zero_guard, length,
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

static bool check_uuid(const BlobStore *store, GError **error)
{
    const uint8_t *wanted = store->options.uuid;
    g_autofree char *wanted_text = NULL;
    g_autofree char *found_text = NULL;

    if (!wanted || !memcmp(wanted, store->super.uuid, BLOB_UUID_BYTES)) {
        return true;
    }
    wanted_text = describe_uuid(wanted);
    found_text = describe_uuid(store->super.uuid);
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UUID,
                "medium holds the store with uuid %s, but uuid %s was asked "
                "for: is this the right image?", found_text, wanted_text);
    return false;
}

static void fill_label(const BlobSuperblock *super, GBytes *payload,
                       BlobStoreLabel *label)
{
    label->blank = super->state == BLOB_STATE_CREATING;
    label->sealed = blob_superblock_is_sealed(super);
    memcpy(label->uuid, super->uuid, sizeof(label->uuid));
    label->key_slots = super->key_slots;
    memcpy(label->head, g_bytes_get_data(payload, NULL), sizeof(label->head));
}

/* Asks the caller for the data key, unless the options had it. */
static bool ask_for_key(BlobStore *store, GBytes *payload, GError **error)
{
    g_autofree BlobStoreLabel *label = NULL;

    if (!store->key && store->options.unlock) {
        label = g_new0(BlobStoreLabel, 1);
        fill_label(&store->super, payload, label);
        if (!store->options.unlock(label, store->options.opaque, &store->key,
                                   error)) {
            return false;
        }
    }
    if (!store->key) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "store is encrypted (key slots in use: %u) and no key was "
                    "given",
                    blob_key_slots_count_used(&store->super.key_slots));
        return false;
    }
    return true;
}

/* S2, S6: the superblock is checked before anything else is believed. */
static bool check_key(BlobStore *store, GBytes *payload, GError **error)
{
    g_autoptr(BlobDigest) keyed = NULL;

    if (!blob_superblock_is_sealed(&store->super)) {
        if (store->key || store->options.sealed_only) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                        "medium holds a store that is not encrypted, but a key "
                        "was given: is this the right image?");
            return false;
        }
        return true;
    }
    if (!ask_for_key(store, payload, error)) {
        return false;
    }
    keyed = blob_key_new_digest(store->key, BLOB_KEY_FOR_SUPERBLOCK,
                                store->super.uuid, error);
    if (!keyed) {
        return false;
    }
    if (!blob_layout_superblock_is_authentic(g_bytes_get_data(payload, NULL),
                                             keyed)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                    "superblock was not written with the key of the store: "
                    "somebody has changed it: restore the image from a "
                    "backup");
        return false;
    }
    return true;
}

static void warn_of_superblock(BlobStore *store)
{
    bool is_lost = blob_pair_current(&store->super_pair) < 0;

    for (unsigned n = 0; n < 2; n++) {
        const char *failure = store->super_pair.failure[n];

        if (!store->super_pair.intact[n]) {
            blob_store_warn(store, "superblock copy at offset %d %s%s; %s is "
                            "used", n * BLOB_SUPERBLOCK_SLOT_BYTES,
                            *failure ? "cannot be read: " : "is damaged",
                            failure,
                            is_lost ? "what is intact of both copies"
                                    : "the other copy");
        }
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (store->super.key_slots.damaged[n]) {
            blob_store_warn(store, "key slot %u is damaged; the others still "
                            "open the store", n);
        }
    }
}

/*
 * R16: of two copies that are not the same one may be in a cache only, because
 * the flush of it has failed.  On a blank medium there is nothing to doubt.
 */
static bool read_superblock(BlobStore *store, BlobHeader *header,
                            GBytes **payload, GError **error)
{
    BlobPair *pair = &store->super_pair;
    bool dropped;

    if (!blob_superblock_read(&store->medium, store->zero_guard, pair, header,
                              payload, error)) {
        return false;
    }
    if (store->read_only || blob_pair_is_whole(pair) ||
        (!pair->begun[0] && !pair->begun[1])) {
        return true;
    }
    if (!blob_medium_drop_cache(&store->medium, &dropped, error)) {
        g_clear_pointer(payload, g_bytes_unref);
        return false;
    }
    if (!dropped) {
        return true;
    }
    g_clear_pointer(payload, g_bytes_unref);
    *pair = blob_superblock_pair();
    return blob_superblock_read(&store->medium, store->zero_guard, pair,
                                header, payload, error);
}

bool blob_identify_medium(BlobStore *store, uint64_t length, bool *found,
                          GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    *found = false;
    if (length < BLOB_DIRECTORY_OFFSET) {
        return open_without_superblock(store, length, error);
    }
    if (!read_superblock(store, &header, &payload, error)) {
        return false;
    }
    if (!payload) {
        return open_without_superblock(store, length, error);
    }
    if (!blob_superblock_decode(&header, payload, &store->super, error)) {
        return false;
    }
    store->generation = store->super.generation;
    if (store->super.state == BLOB_STATE_CREATING) {
        store->marked = true;
        return open_blank(store, error);
    }
    if (!check_uuid(store, error) || !check_key(store, payload, error)) {
        return false;
    }
    if (store->super.ro_compatible) {
        store->read_only = true;
        blob_store_warn(store, "store uses features that this program does "
                        "not know: opened for reading only");
    }
    warn_of_superblock(store);
    *found = true;
    return true;
}

bool blob_store_read_label(BlobStorage *storage, BlobStoreLabel *label,
                           GError **error)
{
    BlobMedium medium = { .storage = storage };
    g_autoptr(BlobGuard) zero_guard = blob_guard_new_plain(NULL);
    BlobPair pair = blob_superblock_pair();
    g_autoptr(GBytes) payload = NULL;
    BlobSuperblock super;
    BlobHeader header;
    uint64_t length;

    *label = (BlobStoreLabel) { .blank = true };
    if (!storage->ops->length(storage, &length, error)) {
        return false;
    }
    if (length < BLOB_DIRECTORY_OFFSET) {
        return true;
    }
    if (!blob_superblock_read(&medium, zero_guard, &pair, &header, &payload,
                              error)) {
        return false;
    }
    if (!payload) {
        return true;
    }
    if (!blob_superblock_decode(&header, payload, &super, error)) {
        return false;
    }
    fill_label(&super, payload, label);
    return true;
}

bool blob_store_label_fits(const BlobStoreLabel *label, const BlobKey *key)
{
    g_autoptr(BlobDigest) keyed =
        blob_key_new_digest(key, BLOB_KEY_FOR_SUPERBLOCK, label->uuid, NULL);

    return label->sealed && keyed &&
           blob_layout_superblock_is_authentic(label->head, keyed);
}
