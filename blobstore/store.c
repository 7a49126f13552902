/*
 * Blobstore core: the life of a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "superblock.h"
#include "wipe.h"

GQuark blobstore_error_quark(void)
{
    return g_quark_from_static_string("blobstore-error-quark");
}

const char *blob_kind_name(BlobKind kind)
{
    return kind == BLOB_KIND_PERMANENT ? "permanent" : "savestate";
}

void blob_store_warn(BlobStore *store, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_insert(store->warnings, store->warnings->len - 1,
                       g_strdup_vprintf(format, args));
    va_end(args);
}

BlobSlot blob_slot_of(const Blob *blob, unsigned n)
{
    return (BlobSlot) {
        .id = blob->entry.id,
        .offset = blob->entry.offset + n * blob->entry.slot_bytes,
        .bytes = blob->entry.slot_bytes,
        .entry = &blob->entry,
    };
}

static char *full_name(const BlobEntry *entry)
{
    return g_strdup_printf("%s/%s", entry->owner, entry->name);
}

Blob *blob_store_add(BlobStore *store, const BlobEntry *entry)
{
    Blob *blob = g_new0(Blob, 1);

    blob->entry = *entry;
    g_ptr_array_add(store->blobs, blob);
    g_hash_table_insert(store->by_name, full_name(entry), blob);
    return blob;
}

void blob_store_remove(BlobStore *store, Blob *blob)
{
    g_autofree char *name = full_name(&blob->entry);

    g_hash_table_remove(store->by_name, name);
    g_ptr_array_remove(store->blobs, blob);
}

void blob_store_take_census(BlobStore *store)
{
    memset(store->census, 0, sizeof(store->census));
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        blob_digest_census(store->guard->digest, blob->entry.id,
                           blob->entry.sequence, store->census);
    }
}

void blob_store_free(BlobStore *store)
{
    if (!store) {
        return;
    }
    g_clear_pointer(&store->by_name, g_hash_table_unref);
    g_clear_pointer(&store->blobs, g_ptr_array_unref);
    g_clear_pointer(&store->warnings, g_ptr_array_unref);
    blob_space_free(store->space);
    g_clear_pointer(&store->past, g_array_unref);
    blob_guard_free(store->guard);
    blob_guard_free(store->target);
    blob_digest_free(store->voucher);
    blob_guard_free(store->zero_guard);
    blob_key_unref(store->key);
    g_free(store->uuid);
    g_free(store);
}

static bool check_registration(const BlobStore *store, const char *owner,
                               const char *name, uint64_t max_size,
                               GError **error)
{
    if (!blob_name_is_valid(owner) || !blob_name_is_valid(name)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "'%s/%s': owner and name are 1 to %d printable ASCII "
                    "characters without space or '/'", owner, name,
                    BLOB_NAME_MAX_BYTES);
        return false;
    }
    if (max_size < 1 || max_size > BLOB_MAX_SIZE_BYTES) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "blob '%s/%s': maximum size %" G_GUINT64_FORMAT " is not "
                    "between 1 and %" G_GUINT64_FORMAT " bytes", owner, name,
                    max_size, BLOB_MAX_SIZE_BYTES);
        return false;
    }
    return true;
}

static bool check_known(const Blob *blob, BlobKind kind, uint64_t max_size,
                        GError **error)
{
    const BlobEntry *entry = &blob->entry;
    uint64_t size = entry->raw_bytes - entry->metadata_bytes;

    if (blob->registered) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXISTS,
                    "blob '%s/%s' is registered already", entry->owner,
                    entry->name);
        return false;
    }
    if (entry->kind != kind) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KIND,
                    "blob '%s/%s' is of kind %s on the medium, not %s",
                    entry->owner, entry->name, blob_kind_name(entry->kind),
                    blob_kind_name(kind));
        return false;
    }
    if (size > max_size) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_LARGE,
                    "blob '%s/%s' has %" G_GUINT64_FORMAT " bytes on the "
                    "medium, more than the maximum of %" G_GUINT64_FORMAT
                    " that its device registers", entry->owner, entry->name,
                    size, max_size);
        return false;
    }
    return true;
}

Blob *blob_store_register(BlobStore *store, const char *owner,
                          const char *name, BlobKind kind, uint64_t max_size,
                          GError **error)
{
    BlobEntry entry = { .kind = kind };
    Blob *blob;

    if (!check_registration(store, owner, name, max_size, error)) {
        return NULL;
    }
    blob = blob_store_find(store, owner, name);
    if (blob) {
        if (!check_known(blob, kind, max_size, error)) {
            return NULL;
        }
    } else {
        g_strlcpy(entry.owner, owner, sizeof(entry.owner));
        g_strlcpy(entry.name, name, sizeof(entry.name));
        blob = blob_store_add(store, &entry);
    }
    blob->registered = true;
    blob->max_size = max_size;
    return blob;
}

void blob_store_unregister(BlobStore *store, Blob *blob)
{
    blob->registered = false;
    blob->max_size = 0;
    if (!blob->entry.slot_bytes) {
        blob_store_remove(store, blob);
    }
}

bool blob_store_close_clean(BlobStore *store, GError **error)
{
    if (!store->started || store->clean) {
        return true;
    }
    return blob_wipe_pending(store, error) &&
           blob_epoch_record(store, true, error);
}

/* *@lost becomes whether neither copy is intact on the medium. */
static bool is_lost(BlobStore *store, const BlobGuard *guard,
                    const BlobPair *known, bool *lost, GError **error)
{
    BlobPair pair = *known;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    if (!blob_pair_read(&store->medium, guard, &pair, &header, &payload,
                        error)) {
        return false;
    }
    *lost = !payload;
    return true;
}

bool blob_store_restore(BlobStore *store, GError **error)
{
    bool lost;

    if (!is_lost(store, store->zero_guard, &store->super_pair, &lost, error) ||
        (lost && !blob_superblock_write(store, error)) ||
        !is_lost(store, store->guard, &store->directory_pair, &lost, error)) {
        return false;
    }
    /* S10: a store that is being converted has only clean directories. */
    return !lost || blob_epoch_record(store, store->voucher, error);
}

bool blob_store_supersede(BlobStore *store, GError **error)
{
    BlobSuperblock super = store->super;

    if (!store->started || super.state == BLOB_STATE_CONVERTING) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    store->started ? "store was being converted"
                                   : "store is not started for writing");
        return false;
    }
    super.state = BLOB_STATE_WIPING;
    return blob_superblock_outnumber(store, error) &&
           blob_superblock_change(store, &super, store->key, error) &&
           blob_epoch_record(store, false, error);
}

bool blob_store_check_unchanged(BlobStore *store, bool *unchanged,
                                GError **error)
{
    *unchanged = true;
    for (unsigned n = 0; n < 2 && !store->blank; n++) {
        BlobSlot slot = blob_pair_slot(&store->directory_pair, n);
        g_autofree uint8_t *block = blob_medium_alloc(BLOB_BLOCK_BYTES);
        BlobHeader header;

        if (!blob_medium_read(&store->medium, slot.offset, block,
                              BLOB_BLOCK_BYTES, error)) {
            return false;
        }
        if (store->directory_pair.intact[n] &&
            (!blob_layout_decode_header(block, store->guard, slot.id,
                                        slot.offset, slot.bytes, &header) ||
             header.sequence != store->directory_pair.sequence[n] ||
             memcmp(header.epoch_id, store->directory_pair.epoch_id[n],
                    sizeof(header.epoch_id)))) {
            *unchanged = false;
        }
    }
    return true;
}
