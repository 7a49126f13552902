/*
 * Blobstore core: the content of blobs, written
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "blobstore/format/pack.h"
#include "wipe.h"

static void encode_metadata(const char *const *metadata, GByteArray *out)
{
    for (; metadata && *metadata; metadata++) {
        g_byte_array_append(out, (const uint8_t *)*metadata,
                            strlen(*metadata) + 1);
    }
}

/* Copies the content only if there is metadata to be put before it. */
static GBytes *join_payload(const GByteArray *metadata, GBytes *content)
{
    gsize bytes;
    const void *data = g_bytes_get_data(content, &bytes);
    uint8_t *payload;

    if (!metadata->len) {
        return g_bytes_ref(content);
    }
    payload = g_malloc(metadata->len + bytes);
    memcpy(payload, metadata->data, metadata->len);
    if (bytes) {
        memcpy(payload + metadata->len, data, bytes);
    }
    return g_bytes_new_take(payload, metadata->len + bytes);
}

/* One blob's part of a commit */
typedef struct Version {
    Blob *blob;
    BlobHeader header;
    GBytes *payload;
} Version;

static void version_clear(gpointer data)
{
    g_clear_pointer(&((Version *)data)->payload, g_bytes_unref);
}

bool blob_content_check(const char *owner, const char *name,
                        uint64_t max_size, GBytes *content,
                        const char *const *metadata, GError **error)
{
    if (!content) {
        return true;
    }
    if (g_bytes_get_size(content) > max_size) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_LARGE,
                    "blob '%s/%s': %zu bytes are more than its registered "
                    "maximum of %" G_GUINT64_FORMAT, owner, name,
                    g_bytes_get_size(content), max_size);
        return false;
    }
    if (!blob_metadata_is_valid(metadata)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "blob '%s/%s': metadata is not a list of key=value of at "
                    "most %d bytes", owner, name, BLOB_METADATA_MAX_BYTES);
        return false;
    }
    return true;
}

static bool check_change(const BlobStore *store, const BlobChange *change,
                         GError **error)
{
    const Blob *blob = change->blob;

    if (blob->damage && !store->options.replace_damaged) {
        return blob_version_fail_damaged(blob, error);
    }
    /* A blob that was registered larger gets its room in the next start. */
    if (!blob->registered || !blob->entry.slot_bytes ||
        blob->max_size > blob->entry.max_size) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "blob '%s/%s' is not registered and started",
                    blob->entry.owner, blob->entry.name);
        return false;
    }
    return blob_content_check(blob->entry.owner, blob->entry.name,
                              blob->max_size, change->content,
                              change->metadata, error);
}

static bool prepare_version(BlobStore *store, const BlobChange *change,
                            Version *version, GError **error)
{
    g_autoptr(GByteArray) metadata = g_byte_array_new();

    version->blob = change->blob;
    if (!check_change(store, change, error)) {
        return false;
    }
    if (!change->content) {
        version->header.flags = BLOB_FLAG_DELETED;
        return true;
    }
    encode_metadata(change->metadata, metadata);
    version->header.metadata_bytes = metadata->len;
    version->payload = join_payload(metadata, change->content);
    version->header.raw_bytes = g_bytes_get_size(version->payload);
    if (store->options.pack) {
        GBytes *packed = blob_pack(version->payload);

        if (packed) {
            g_bytes_unref(version->payload);
            version->payload = packed;
            version->header.flags = BLOB_FLAG_PACKED;
        }
    }
    return true;
}

/* Checks @changes, and makes of them the versions to be written. */
static bool prepare_versions(BlobStore *store, const BlobChange *changes,
                             size_t count, GArray *versions, GError **error)
{
    if (count < 1 || count > BLOB_MEMBERS_MAX) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "a write takes 1 to %d blobs, not %zu", BLOB_MEMBERS_MAX,
                    count);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        Version *version;

        for (size_t j = 0; j < i; j++) {
            if (changes[i].blob == changes[j].blob) {
                g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                            "blob '%s/%s' is in the same write twice",
                            changes[i].blob->entry.owner,
                            changes[i].blob->entry.name);
                return false;
            }
        }
        g_array_set_size(versions, versions->len + 1);
        version = &g_array_index(versions, Version, versions->len - 1);
        if (!prepare_version(store, &changes[i], version, error)) {
            return false;
        }
        if (!changes[i].content && !blob_is_present(changes[i].blob) &&
            !(changes[i].delete_again && changes[i].blob->entry.sequence)) {
            g_array_set_size(versions, versions->len - 1);
        }
    }
    return true;
}

/*
 * Gives every version its sequence, in @next, and what the headers share.
 * @next becomes the epoch as it is once they are acknowledged.
 */
static void number_versions(const BlobStore *store, BlobEpoch *next,
                            GArray *versions)
{
    BlobMember members[BLOB_MEMBERS_MAX];

    for (guint i = 0; i < versions->len; i++) {
        Version *version = &g_array_index(versions, Version, i);

        version->header.sequence = blob_sequence(next->number,
                                                 ++next->counter);
        version->header.previous = version->blob->entry.sequence;
        members[i].id = version->blob->entry.id;
        members[i].sequence = version->header.sequence;
    }
    for (guint i = 0; i < versions->len; i++) {
        BlobHeader *header = &g_array_index(versions, Version, i).header;

        memcpy(header->epoch_id, store->epoch.id, sizeof(header->epoch_id));
        memcpy(header->census, store->epoch.census, sizeof(header->census));
        header->watermark = store->epoch.acknowledged;
        if (versions->len > 1) {
            header->member_count = versions->len;
            memcpy(header->members, members,
                   versions->len * sizeof(members[0]));
        }
    }
    next->acknowledged = MAX(next->acknowledged,
                             blob_sequence(next->number, next->counter));
}

/* The slot that does not hold the current version */
static unsigned target_slot(const BlobEntry *entry)
{
    return entry->sequence ? !entry->slot : 0;
}

static bool write_versions(BlobStore *store, GArray *versions, GError **error)
{
    bool single = versions->len == 1;

    store->sealings += versions->len;
    for (guint i = 0; i < versions->len; i++) {
        Version *version = &g_array_index(versions, Version, i);
        BlobSlot slot = blob_slot_of(version->blob,
                                     target_slot(&version->blob->entry));

        if (!blob_slot_write(&store->medium, store->guard, &slot,
                             &version->header, version->payload, single,
                             error)) {
            return false;
        }
    }
    return single || blob_medium_flush(&store->medium, error);
}

/* S9: limits what one key seals, so that no two nonces are the same. */
static bool check_sealings(const BlobStore *store, guint count,
                           GError **error)
{
    if (store->guard->seal &&
        count > BLOB_SEALINGS_MAX - MIN(store->sealings, BLOB_SEALINGS_MAX)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has encrypted as much as is safe with one data key: "
                    "change the key (rekey)");
        return false;
    }
    return true;
}

/* S8: zeroes what deleted blobs held.  It is sealed, so failure is no error. */
static void wipe_deleted(BlobStore *store, const GArray *versions)
{
    for (guint i = 0; store->guard->seal && i < versions->len; i++) {
        const Version *version = &g_array_index(versions, Version, i);

        if (version->header.flags & BLOB_FLAG_DELETED) {
            blob_wipe_later(store, version->blob);
        }
    }
    blob_wipe_pending(store, NULL);
}

/* Plans the versions, which have been written, as the current ones. */
static void plan_versions(const GArray *versions)
{
    for (guint i = 0; i < versions->len; i++) {
        const Version *version = &g_array_index(versions, Version, i);
        const BlobHeader *header = &version->header;
        BlobPlan *plan = blob_plan(version->blob);

        plan->replaces = true;
        blob_entry_set_version(&plan->entry, header,
                               target_slot(&version->blob->entry));
        memcpy(plan->entry.digest, header->version_digest,
               sizeof(plan->entry.digest));
    }
}

static void drop_versions(const GArray *versions)
{
    for (guint i = 0; i < versions->len; i++) {
        blob_drop_plan(g_array_index(versions, Version, i).blob);
    }
}

static bool has_first_version(const GArray *versions)
{
    for (guint i = 0; i < versions->len; i++) {
        if (!g_array_index(versions, Version, i).blob->entry.sequence) {
            return true;
        }
    }
    return false;
}

/* Acknowledges in the open epoch, or by beginning the next one. */
static bool acknowledge(BlobStore *store, BlobEpoch *next,
                        const GArray *versions, GError **error)
{
    /* R11: a first version is acknowledged only when it is recorded. */
    bool is_first = has_first_version(versions);

    plan_versions(versions);
    if (is_first) {
        if (!blob_epoch_record(store, false, error)) {
            drop_versions(versions);
            store->epoch.open = false;
            return false;
        }
    } else {
        for (guint i = 0; i < versions->len; i++) {
            blob_adopt_plan(store, g_array_index(versions, Version, i).blob,
                            next->census);
        }
        store->epoch = *next;
    }
    store->commits++;
    return true;
}

static bool commit(BlobStore *store, GArray *versions, GError **error)
{
    BlobEpoch next;
    bool ok;

    if (!check_sealings(store, versions->len, error) ||
        !blob_commit_begin(store, error)) {
        return false;
    }
    next = store->epoch;
    number_versions(store, &next, versions);
    ok = write_versions(store, versions, error);
    blob_commit_end(store);
    if (!ok) {
        store->epoch.open = false;
        return false;
    }
    return acknowledge(store, &next, versions, error);
}

bool blob_store_write(BlobStore *store, const BlobChange *changes,
                      size_t count, GError **error)
{
    g_autoptr(GArray) versions = g_array_new(FALSE, TRUE, sizeof(Version));

    if (!blob_store_require_started(store, error)) {
        return false;
    }
    g_array_set_clear_func(versions, version_clear);
    if (!prepare_versions(store, changes, count, versions, error) ||
        !blob_store_check_owner(store, error)) {
        return false;
    }
    if (!versions->len) {
        /*
         * Deleting an absent blob takes no commit.  But a failed write may
         * have left a version of it, which must never become current.
         */
        return store->epoch.open || store->epoch.clean ||
               blob_epoch_record(store, false, error);
    }
    /*
     * R4, R14, R1: after a failed commit, after a clean close and with a full
     * counter a new epoch must begin first.
     */
    if ((!store->epoch.open ||
         versions->len > UINT32_MAX - store->epoch.counter) &&
        !blob_epoch_record(store, false, error)) {
        return false;
    }
    if (!commit(store, versions, error)) {
        return false;
    }
    wipe_deleted(store, versions);
    return true;
}
