/*
 * Blobstore core: the content of blobs, read
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "blobstore/format/pack.h"

bool blob_version_fail_damaged(const Blob *blob, GError **error)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED,
                "blob '%s/%s' is damaged: %s", blob->entry.owner,
                blob->entry.name, blob->damage);
    return false;
}

/* R3: whether it is the recorded version, not one of another branch */
static bool is_as_recorded(const Blob *blob, const BlobHeader *header,
                           GBytes *payload)
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    blob_layout_digest_version(header, g_bytes_get_data(payload, NULL),
                               g_bytes_get_size(payload), digest);
    return blob_digest_equal(digest, blob->entry.digest, sizeof(digest));
}

/*
 * Reads the version that is current according to the directory.  *@payload
 * becomes NULL if the slot does not hold that version.
 */
static bool load(BlobStore *store, const Blob *blob, BlobHeader *header,
                 GBytes **payload, GError **error)
{
    BlobSlot slot = blob_slot_of(blob, blob->entry.slot);
    BlobJudge judge = { .recorded = blob->entry.sequence };
    BlobEvidence evidence;
    g_autoptr(GError) local = NULL;

    *payload = NULL;
    if (!blob_slot_probe(&store->medium, store->guard, &slot, &judge,
                         &evidence, &local)) {
        goto failed;
    }
    if (evidence.complete &&
        blob_entry_describes(&blob->entry, &evidence.newest)) {
        *header = evidence.newest;
        if (!blob_slot_read(&store->medium, store->guard, &slot, header,
                            payload, &local)) {
            goto failed;
        }
    }
    return true;

failed:
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                "blob '%s/%s': %s", blob->entry.owner, blob->entry.name,
                local->message);
    return false;
}

static char *describe_damage(const Blob *blob)
{
    return g_strdup_printf("the slot at offset %" G_GUINT64_FORMAT " does "
                           "not hold version %" G_GUINT64_FORMAT " as it was "
                           "acknowledged",
                           blob_slot_of(blob, blob->entry.slot).offset,
                           blob->entry.sequence);
}

bool blob_version_load(BlobStore *store, Blob *blob, BlobHeader *header,
                       GBytes **payload, GError **error)
{
    if (!load(store, blob, header, payload, error)) {
        return false;
    }
    if (*payload && !is_as_recorded(blob, header, *payload)) {
        g_clear_pointer(payload, g_bytes_unref);
    }
    if (!*payload) {
        blob_store_damage(blob, describe_damage(blob));
        return blob_version_fail_damaged(blob, error);
    }
    return true;
}

bool blob_version_copy(BlobStore *store, Blob *blob, const BlobGuard *guard,
                       const BlobSlot *to, uint8_t digest[BLOB_DIGEST_BYTES],
                       GError **error)
{
    const BlobEntry *entry = &blob->entry;
    BlobHeader header = {
        .flags = entry->flags,
        .sequence = entry->sequence,
    };
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GError) local = NULL;

    /* A tombstone has no payload to be read. */
    if (blob_is_present(blob) && !blob->damage &&
        !blob_version_load(store, blob, &header, &payload, &local) &&
        !(blob->damage && store->options.replace_damaged)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    /* R11: recorded but absent in the new slot too, it stays damaged. */
    if (blob->damage) {
        memset(digest, 0, BLOB_DIGEST_BYTES);
        return true;
    }
    if (guard != store->guard) {
        /* R9: it is a sum under the guard that the copy leaves behind. */
        memset(header.census, 0, sizeof(header.census));
    }
    store->sealings++;
    if (!blob_slot_write(&store->medium, guard, to, &header, payload, false,
                         error)) {
        return false;
    }
    memcpy(digest, header.version_digest, sizeof(header.version_digest));
    return true;
}

static char **decode_metadata(const char *bytes, size_t length)
{
    GPtrArray *strings = g_ptr_array_new();

    for (size_t at = 0; at < length; ) {
        size_t n = strnlen(bytes + at, length - at);

        g_ptr_array_add(strings, g_strndup(bytes + at, n));
        at += n + 1;
    }
    g_ptr_array_add(strings, NULL);
    return (char **)g_ptr_array_free(strings, FALSE);
}

bool blob_store_read(BlobStore *store, Blob *blob, GBytes **content,
                     char ***metadata, GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) raw = NULL;

    *content = NULL;
    if (metadata) {
        *metadata = NULL;
    }
    if (blob->damage) {
        return blob_version_fail_damaged(blob, error);
    }
    if (!blob_is_present(blob)) {
        if (metadata) {
            *metadata = g_new0(char *, 1);
        }
        return true;
    }
    if (!blob_version_load(store, blob, &header, &payload, error)) {
        return false;
    }
    raw = header.flags & BLOB_FLAG_PACKED
          ? blob_unpack(payload, header.raw_bytes) : g_bytes_ref(payload);
    if (!raw) {
        blob_store_damage(blob, g_strdup_printf(
            "the packed content in the slot at offset %" G_GUINT64_FORMAT
            " cannot be inflated",
            blob_slot_of(blob, blob->entry.slot).offset));
        return blob_version_fail_damaged(blob, error);
    }
    if (metadata) {
        *metadata = decode_metadata(g_bytes_get_data(raw, NULL),
                                    header.metadata_bytes);
    }
    *content = g_bytes_new_from_bytes(raw, header.metadata_bytes,
                                      header.raw_bytes -
                                      header.metadata_bytes);
    return true;
}
