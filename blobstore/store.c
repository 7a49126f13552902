/*
 * Blobstore core: the life of a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "superblock.h"
#include "wipe.h"

void blob_store_warn(BlobStore *store, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_insert(store->warnings, store->warnings->len - 1,
                       g_strdup_vprintf(format, args));
    va_end(args);
}

bool blob_store_fail_too_small(uint64_t required, uint64_t length,
                               GError **error)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_SMALL,
                "medium is too small: %" G_GUINT64_FORMAT " bytes are "
                "needed, it has %" G_GUINT64_FORMAT, required, length);
    return false;
}

bool blob_store_fail_converting(GError **error)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                "store is being converted: start it again first");
    return false;
}

bool blob_store_require_writable(const BlobStore *store, GError **error)
{
    if (store->read_only) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "store is open for reading only");
    }
    return !store->read_only;
}

bool blob_store_require_started(const BlobStore *store, GError **error)
{
    if (!store->started) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "store is not started for writing");
    }
    return store->started;
}

void blob_store_damage(Blob *blob, char *text)
{
    g_free(blob->damage);
    blob->damage = text;
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

BlobPlan *blob_plan(Blob *blob)
{
    g_assert(!blob->plan);
    blob->plan = g_new0(BlobPlan, 1);
    blob->plan->entry = blob->entry;
    return blob->plan;
}

void blob_drop_plan(Blob *blob)
{
    g_clear_pointer(&blob->plan, g_free);
}

void blob_adopt_plan(const BlobStore *store, Blob *blob,
                     uint8_t census[BLOB_CENSUS_BYTES])
{
    BlobDigest *digest = store->guard->digest;

    if (!blob->plan) {
        return;
    }
    blob_digest_census(digest, blob->entry.id, blob->entry.sequence, census);
    blob->entry = blob->plan->entry;
    blob_digest_census(digest, blob->entry.id, blob->entry.sequence, census);
    if (blob->plan->replaces) {
        g_clear_pointer(&blob->damage, g_free);
    }
    blob_drop_plan(blob);
}

Blob *blob_store_add(BlobStore *store, const BlobEntry *entry)
{
    Blob *blob = g_new0(Blob, 1);

    blob->entry = *entry;
    g_ptr_array_add(store->blobs, blob);
    g_tree_insert(store->by_name, &blob->entry, blob);
    return blob;
}

void blob_store_remove(BlobStore *store, Blob *blob)
{
    g_tree_remove(store->by_name, &blob->entry);
    g_ptr_array_remove(store->blobs, blob);
}

static gint compare_offsets(gconstpointer a, gconstpointer b)
{
    uint64_t x = (*(Blob *const *)a)->entry.offset;
    uint64_t y = (*(Blob *const *)b)->entry.offset;

    return x < y ? -1 : x > y;
}

GPtrArray *blob_store_by_offset(const BlobStore *store)
{
    GPtrArray *sorted = g_ptr_array_new();

    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->entry.slot_bytes) {
            g_ptr_array_add(sorted, blob);
        }
    }
    g_ptr_array_sort(sorted, compare_offsets);
    return sorted;
}

void blob_store_take_census(BlobStore *store)
{
    memset(store->epoch.census, 0, sizeof(store->epoch.census));
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        blob_digest_census(store->guard->digest, blob->entry.id,
                           blob->entry.sequence, store->epoch.census);
    }
}

void blob_store_free(BlobStore *store)
{
    if (!store) {
        return;
    }
    g_clear_pointer(&store->by_name, g_tree_unref);
    g_clear_pointer(&store->blobs, g_ptr_array_unref);
    g_clear_pointer(&store->warnings, g_ptr_array_unref);
    g_free(store->taken);
    blob_space_free(store->space);
    g_clear_pointer(&store->epoch.history, g_array_unref);
    blob_guard_free(store->guard);
    blob_guard_free(store->target);
    blob_digest_free(store->voucher);
    blob_guard_free(store->zero_guard);
    blob_key_unref(store->key);
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

size_t blob_store_count(const BlobStore *store)
{
    return store->blobs->len;
}

Blob *blob_store_nth(const BlobStore *store, size_t n)
{
    return n < store->blobs->len ? g_ptr_array_index(store->blobs, n) : NULL;
}

Blob *blob_store_find(const BlobStore *store, const char *owner,
                      const char *name)
{
    BlobEntry wanted = { 0 };

    /* No blob has a name that would have to be cut. */
    if (g_strlcpy(wanted.owner, owner, sizeof(wanted.owner)) >
        BLOB_NAME_MAX_BYTES ||
        g_strlcpy(wanted.name, name, sizeof(wanted.name)) >
        BLOB_NAME_MAX_BYTES) {
        return NULL;
    }
    return g_tree_lookup(store->by_name, &wanted);
}

const char *const *blob_store_warnings(const BlobStore *store)
{
    return (const char *const *)store->warnings->pdata;
}
