/*
 * Blobstore core: looking at all of a store, and repairing what is safe
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "check.h"

#include "store-private.h"
#include "superblock.h"

typedef struct Check {
    BlobStore *store;
    BlobCheckReport *report;
    void *opaque;
} Check;

static bool check_pair(Check *check, const BlobGuard *guard,
                       const BlobPair *known, BlobFindingKind kind,
                       GError **error)
{
    BlobPair pair = *known;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    int current;

    if (!(kind == BLOB_FINDING_SUPERBLOCK_COPY ? blob_superblock_read
                                               : blob_pair_read)
         (&check->store->medium, guard, &pair, &header, &payload, error)) {
        return false;
    }
    current = blob_pair_current(&pair);
    for (unsigned n = 0; n < 2; n++) {
        BlobFinding finding = {
            .kind = kind,
            .offset = blob_pair_slot(&pair, n).offset,
            .bytes = pair.slot_bytes,
            .heals = payload,
        };

        if (!pair.intact[n]) {
            finding.text = pair.failure[n][0] ? pair.failure[n]
                                              : "damaged or cut short";
        } else if (pair.sequence[n] < pair.sequence[current]) {
            finding.text = "older than the other copy";
        } else {
            continue;
        }
        check->report(&finding, check->opaque);
    }
    return true;
}

/* Reports the key slots that are damaged in both copies of the superblock. */
static void check_key_slots(Check *check)
{
    const BlobSuperblock *super = &check->store->super;

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        g_autofree char *text =
            g_strdup_printf("key slot %u is damaged", n);
        BlobFinding finding = {
            .kind = BLOB_FINDING_KEY_SLOT,
            .offset = BLOB_HEADER_BYTES + BLOB_SUPERBLOCK_HEAD_BYTES +
                      n * BLOB_KEY_SLOT_BYTES,
            .bytes = BLOB_KEY_SLOT_BYTES,
            .text = text,
        };

        if (super->key_slots.damaged[n]) {
            check->report(&finding, check->opaque);
        }
    }
}

/* R10.  An opening after a clean close does not check it. */
static bool check_epochs(Check *check, Blob *blob, GError **error)
{
    BlobJudge judge = { .any = true };

    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_slot_of(blob, n);
        BlobFinding finding = {
            .kind = BLOB_FINDING_NEWER_SLOT,
            .blob = blob,
            .offset = slot.offset,
            .bytes = slot.bytes,
            .text = "of a newer epoch than the directory, which has been "
                    "rolled back",
        };
        BlobEvidence evidence;

        if (!blob_slot_probe(&check->store->medium, check->store->guard,
                             &slot, &judge, &evidence, error)) {
            return false;
        }
        if (blob_sequence_epoch(evidence.highest) >
            check->store->epoch.number) {
            check->report(&finding, check->opaque);
        }
    }
    return true;
}

static bool check_blob(Check *check, Blob *blob, GError **error)
{
    BlobSlot slot = blob_slot_of(blob, blob->entry.slot);
    BlobFinding finding = {
        .blob = blob,
        .offset = slot.offset,
        .bytes = slot.bytes,
    };
    g_autoptr(GBytes) content = NULL;
    g_autoptr(GError) local = NULL;

    if (!blob_store_read(check->store, blob, &content, NULL, &local) &&
        !blob->damage) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    if (blob->damage) {
        finding.kind = BLOB_FINDING_DAMAGED_BLOB;
        finding.text = blob->damage;
        check->report(&finding, check->opaque);
    } else if (!content && !blob->registered) {
        finding.kind = BLOB_FINDING_LEAK;
        finding.text = "takes space, but has no content and no user";
        finding.offset = blob->entry.offset;
        finding.bytes = 2 * blob->entry.slot_bytes;
        finding.heals = true;
        check->report(&finding, check->opaque);
    }
    return check_epochs(check, blob, error);
}

bool blob_store_check(BlobStore *store, BlobCheckReport *report, void *opaque,
                      GError **error)
{
    Check check = { store, report, opaque };

    if (store->blank) {
        return true;
    }
    if (!check_pair(&check, store->zero_guard, &store->super_pair,
                    BLOB_FINDING_SUPERBLOCK_COPY, error) ||
        !check_pair(&check, store->guard, &store->directory_pair,
                    BLOB_FINDING_DIRECTORY_COPY, error)) {
        return false;
    }
    check_key_slots(&check);
    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->entry.slot_bytes && !check_blob(&check, blob, error)) {
            return false;
        }
    }
    return true;
}

/* *@found becomes whether some slot holds older content that is readable. */
static bool find_older(BlobStore *store, const Blob *blob, BlobEntry *older,
                       bool *found, GError **error)
{
    BlobJudge judge = { .any = true };

    *found = false;
    *older = blob->entry;
    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_slot_of(blob, n);
        BlobEvidence evidence;
        g_autoptr(GBytes) payload = NULL;
        const BlobHeader *header = &evidence.newest;

        if (!blob_slot_probe(&store->medium, store->guard, &slot, &judge,
                             &evidence, error)) {
            return false;
        }
        if (!evidence.complete || header->flags & BLOB_FLAG_DELETED ||
            !header->sequence || header->sequence >= blob->entry.sequence ||
            (*found && header->sequence < older->sequence)) {
            continue;
        }
        if (!blob_slot_read(&store->medium, store->guard, &slot, header,
                            &payload, error)) {
            return false;
        }
        if (payload) {
            *found = true;
            blob_entry_set_version(older, header, n);
            blob_layout_digest_version(header,
                                       g_bytes_get_data(payload, NULL),
                                       g_bytes_get_size(payload),
                                       older->digest);
        }
    }
    return true;
}

bool blob_store_find_older(BlobStore *store, const Blob *blob,
                           BlobOlder *older, GError **error)
{
    BlobEntry entry;

    *older = (BlobOlder) { 0 };
    if (!find_older(store, blob, &entry, &older->found, error)) {
        return false;
    }
    if (older->found) {
        older->sequence = entry.sequence;
        older->size = entry.raw_bytes - entry.metadata_bytes;
    }
    return true;
}

static bool check_damaged(const BlobStore *store, const Blob *blob,
                          bool is_used, GError **error)
{
    if (!blob_store_require_writable(store, error)) {
        return false;
    }
    if (!blob->damage || is_used) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "blob '%s/%s' is %s", blob->entry.owner, blob->entry.name,
                    blob->damage ? "in use" : "not damaged");
        return false;
    }
    return true;
}

bool blob_store_fall_back(BlobStore *store, Blob *blob, GError **error)
{
    const BlobEntry *entry = &blob->entry;
    BlobEntry older;
    bool found;

    if (!check_damaged(store, blob, blob->registered || store->started,
                       error)) {
        return false;
    }
    /* What another process failed to write may land on the older version. */
    if (!blob_medium_flush(&store->medium, error) ||
        !find_older(store, blob, &older, &found, error)) {
        return false;
    }
    if (!found) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_DAMAGED,
                    "blob '%s/%s' is damaged, and its other slot holds no "
                    "older version: restore the image from a backup",
                    entry->owner, entry->name);
        return false;
    }
    /* An epoch record makes any version that it names the current one (R3). */
    *blob_plan(blob) = (BlobPlan) { .entry = older, .replaces = true };
    if (!blob_store_start(store, error)) {
        blob_drop_plan(blob);
        return false;
    }
    return true;
}

bool blob_store_give_up(BlobStore *store, Blob *blob, GError **error)
{
    BlobChange change = { .blob = blob };
    bool replace_damaged = store->options.replace_damaged;
    bool started = store->started;
    bool ok;

    if (!check_damaged(store, blob, blob->registered, error)) {
        return false;
    }
    /* A registered blob may be written, and this one although it is damaged. */
    blob->registered = true;
    blob->max_size = blob->entry.max_size;
    store->options.replace_damaged = true;
    ok = blob_store_start(store, error) &&
         blob_store_write(store, &change, 1, error);
    store->options.replace_damaged = replace_damaged;
    store->started = ok || started;
    blob_store_unregister(store, blob);
    return ok;
}
