/*
 * Blobstore core: a whole store, copied to a blank medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "copy.h"

#include <string.h>
#include "store-private.h"
#include "superblock.h"

/* Of each of the two slots that @blob gets in the copy */
static uint64_t slot_bytes(const Blob *blob)
{
    return blob_layout_slot_bytes(blob->entry.max_size);
}

/* The options with which a directory as large as that of @source is made */
static uint32_t directory_room(const BlobStore *source)
{
    return blob_layout_directory_room(source->super.directory_slot_bytes);
}

uint64_t blob_store_copy_bytes(const BlobStore *source)
{
    uint64_t bytes = BLOB_DIRECTORY_OFFSET +
        2 * blob_layout_directory_slot_bytes(directory_room(source));

    for (guint i = 0; i < source->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(source->blobs, i);

        bytes += blob_is_present(blob) ? 2 * slot_bytes(blob) : 0;
    }
    return bytes;
}

static bool check_target(const BlobStore *target, GError **error)
{
    if (!blob_store_require_writable(target, error)) {
        return false;
    }
    if (!target->blank) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXISTS,
                    "target holds a store already: a copy wants a blank "
                    "image");
        return false;
    }
    if (target->marked || target->space) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN,
                    "target holds what is left of the creation of a store: a "
                    "copy wants a blank image");
        return false;
    }
    return true;
}

/* What is refused here is refused before anything is written. */
static bool check_blobs(BlobStore *source, GError **error)
{
    for (guint i = 0; i < source->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(source->blobs, i);
        BlobHeader header;
        g_autoptr(GBytes) payload = NULL;

        if (blob->damage) {
            return blob_version_fail_damaged(blob, error);
        }
        if (blob_is_present(blob) &&
            !blob_version_load(source, blob, &header, &payload, error)) {
            return false;
        }
    }
    return true;
}

static bool check_source(BlobStore *source, GError **error)
{
    if (source->blank) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "source is blank: there is no store to be copied");
        return false;
    }
    if (source->super.state != BLOB_STATE_READY) {
        return blob_store_fail_converting(error);
    }
    return check_blobs(source, error);
}

/* Whether a secret of @source guards @target, too */
static bool has_same_key(const BlobStore *source, const BlobStore *target)
{
    return source->key && target->key &&
           !memcmp(source->guard->commitment, target->guard->commitment,
                   sizeof(source->guard->commitment));
}

/*
 * Decides in memory what @target becomes.  R1: its epoch numbers are above
 * those of the versions that it is going to list.
 */
static bool plan(const BlobStore *source, BlobStore *target, GError **error)
{
    uint64_t required = blob_store_copy_bytes(source);
    uint64_t length;

    if (!target->medium.storage->ops->length(target->medium.storage, &length,
                                             error)) {
        return false;
    }
    if (length < required) {
        return blob_store_fail_too_small(required, length, error);
    }
    target->options.directory_blobs = directory_room(source);
    if (!blob_create_plan(target, length, error)) {
        return false;
    }
    target->super.generation = 2;
    target->next_id = source->next_id;
    target->last_epoch = MAX(source->epoch.number, source->last_epoch);
    if (has_same_key(source, target)) {
        target->sealings = source->sealings;
    }
    if (!memcmp(source->super.uuid, target->super.uuid, BLOB_UUID_BYTES)) {
        g_array_unref(target->epoch.history);
        target->epoch.history = g_array_copy(source->epoch.history);
        target->epoch.acknowledged = source->epoch.acknowledged;
        memcpy(target->epoch.id, source->epoch.id, sizeof(target->epoch.id));
        /* It may have other key slots than the superblock of the source. */
        target->super.generation = MIN(source->super.generation,
                                       BLOB_GENERATION_MAX - 1) + 1;
    }
    return true;
}

/* The version stays the same, so it keeps its sequence. */
static bool copy_version(BlobStore *source, Blob *blob, BlobStore *target,
                         GError **error)
{
    BlobEntry entry = blob->entry;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    BlobSlot slot;

    if (!blob_version_load(source, blob, &header, &payload, error)) {
        return false;
    }
    entry.slot_bytes = slot_bytes(blob);
    if (!blob_space_allocate(target->space, 2 * entry.slot_bytes,
                             &entry.offset)) {
        return blob_store_fail_too_small(blob_store_copy_bytes(source),
                                         target->capacity, error);
    }
    slot = (BlobSlot) {
        .id = entry.id,
        .offset = entry.offset,
        .bytes = entry.slot_bytes,
        .entry = &entry,
    };
    /* R9: it is a sum under the guard of the source. */
    memset(header.census, 0, sizeof(header.census));
    target->sealings++;
    if (!blob_slot_write(&target->medium, target->guard, &slot, &header,
                         payload, false, error)) {
        return false;
    }
    blob_entry_set_version(&entry, &header, 0);
    memcpy(entry.digest, header.version_digest, sizeof(entry.digest));
    blob_store_add(target, &entry);
    return true;
}

static bool copy_versions(BlobStore *source, BlobStore *target,
                          GError **error)
{
    for (guint i = 0; i < source->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(source->blobs, i);

        if (blob_is_present(blob) &&
            !copy_version(source, blob, target, error)) {
            return false;
        }
    }
    blob_store_take_census(target);
    return true;
}

static bool has_same_blobs(const BlobStore *a, const BlobStore *b)
{
    for (guint i = 0; i < a->blobs->len; i++) {
        const BlobEntry *entry =
            &((Blob *)g_ptr_array_index(a->blobs, i))->entry;
        const Blob *other = blob_store_find(b, entry->owner, entry->name);

        if (entry->sequence &&
            (!other || other->entry.sequence != entry->sequence)) {
            return false;
        }
    }
    return true;
}

/*
 * Another process may have committed while the source was opened and copied:
 * what was read may be of two times.  If two openings find the same, it was so
 * between them.
 */
static bool check_unchanged(const BlobStore *source, GError **error)
{
    BlobStoreOptions options = { .read_only = true, .key = source->key };
    g_autoptr(GError) local = NULL;
    g_autoptr(BlobStore) again = blob_store_open(source->medium.storage,
                                                 &options, &local);

    if (g_error_matches(local, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    if (!again || again->blank ||
        again->super.generation != source->super.generation ||
        memcmp(again->super.uuid, source->super.uuid, BLOB_UUID_BYTES) ||
        memcmp(again->epoch.id, source->epoch.id, BLOB_EPOCH_ID_BYTES) ||
        !has_same_blobs(source, again) || !has_same_blobs(again, source)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                    "source was written to while it was copied: blank the "
                    "target and copy it again, while nothing writes to the "
                    "source");
        return false;
    }
    return true;
}

bool blob_store_copy(BlobStore *source, BlobStore *target, GError **error)
{
    if (!check_target(target, error) || !check_source(source, error) ||
        !blob_medium_flush(&target->medium, error) ||
        !blob_create_check_blank(target, error) ||
        !plan(source, target, error)) {
        return false;
    }
    /*
     * R13: what was flushed before the superblock keeps it from being taken
     * for a marker that was cut short.  Without a directory, which comes last,
     * a superblock is not a store.
     */
    if (!copy_versions(source, target, error) ||
        !blob_medium_flush(&target->medium, error) ||
        !check_unchanged(source, error) ||
        !blob_superblock_write(target, error) ||
        !blob_epoch_record(target, true, error)) {
        return false;
    }
    target->blank = false;
    target->started = true;
    return true;
}
