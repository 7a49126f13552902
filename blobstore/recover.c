/*
 * Blobstore core: what is current after an unclean close
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "store-private.h"

#include <string.h>
#include "wipe.h"

/* How many (blob, sequence) pairs are tried to find what a census lacks */
enum { SEARCH_LIMIT = 1 << 20 };

/* Most of the slots of a hostile image hold none: it takes no memory. */
static const BlobEvidence no_evidence;

/* The evidence in the two slots of one blob */
typedef struct Finding {
    Blob *blob;
    const BlobEvidence *evidence[2];    /* or &no_evidence */
    int current;                /* slot, or -1 */
    uint64_t lost;              /* sequence of damaged content, or 0 */
    unsigned lost_slot;         /* which should hold it */
} Finding;

typedef struct Recovery {
    BlobStore *store;
    GArray *findings;           /* of Finding, as store->blobs: by id */
    uint64_t watermark;         /* the highest of any header of the epoch */
    const BlobHeader *newest;   /* header of the epoch, or NULL */
} Recovery;

static bool is_of_epoch(const BlobStore *store, const BlobHeader *header)
{
    return !memcmp(header->epoch_id, store->epoch.id,
                   sizeof(header->epoch_id));
}

static void clear_finding(gpointer data)
{
    Finding *finding = data;

    for (unsigned n = 0; n < 2; n++) {
        if (finding->evidence[n] != &no_evidence) {
            g_free((gpointer)finding->evidence[n]);
        }
    }
}

static Finding *find_finding(const Recovery *recovery, uint64_t id)
{
    guint low = 0;
    guint high = recovery->findings->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        Finding *finding = &g_array_index(recovery->findings, Finding, middle);

        if (finding->blob->entry.id == id) {
            return finding;
        }
        if (finding->blob->entry.id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static bool check_not_stale(BlobStore *store, const Blob *blob, unsigned n,
                            uint64_t highest, GError **error)
{
    /* R10 */
    if (blob_sequence_epoch(highest) > store->epoch.number) {
        /* R17: another owner may have begun it since the directory was read. */
        if (!blob_store_check_owner(store, error)) {
            return false;
        }
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE,
                    "directory (epoch %u) is older than the slot of blob "
                    "'%s/%s' at offset %" G_GUINT64_FORMAT " (epoch %u): "
                    "restore the whole image from one backup",
                    store->epoch.number, blob->entry.owner, blob->entry.name,
                    blob_slot_of(blob, n).offset,
                    blob_sequence_epoch(highest));
        return false;
    }
    return true;
}

static bool probe_slot(BlobStore *store, const Blob *blob, unsigned n,
                       uint64_t recorded, BlobEvidence *evidence,
                       GError **error)
{
    BlobSlot slot = blob_slot_of(blob, n);
    BlobJudge judge = { .epoch_id = store->epoch.id, .recorded = recorded };

    if (!blob_slot_probe(&store->medium, store->guard, &slot, &judge,
                         evidence, error)) {
        g_prefix_error(error, "blob '%s/%s': ", blob->entry.owner,
                       blob->entry.name);
        return false;
    }
    return true;
}

static bool find_in_slot(BlobStore *store, Finding *finding, unsigned n,
                         GError **error)
{
    Blob *blob = finding->blob;
    uint64_t recorded = n == blob->entry.slot ? blob->entry.sequence : 0;
    BlobEvidence evidence;

    if (!probe_slot(store, blob, n, recorded, &evidence, error)) {
        return false;
    }
    if (evidence.found) {
        finding->evidence[n] = g_memdup2(&evidence, sizeof(evidence));
    }
    blob->seen[n] = (BlobSeen) {
        .recorded = recorded,
        .highest = evidence.highest,
        .complete = evidence.complete,
    };
    return check_not_stale(store, blob, n, evidence.highest, error);
}

bool blob_recover_check_unchanged(BlobStore *store, GError **error)
{
    for (guint i = 0; i < 2 * store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i / 2);
        const BlobSeen *seen = &blob->seen[i % 2];
        BlobEvidence evidence;

        if (!blob->entry.slot_bytes) {
            continue;
        }
        if (!probe_slot(store, blob, i % 2, seen->recorded, &evidence,
                        error)) {
            return false;
        }
        if (evidence.highest != seen->highest ||
            evidence.complete != seen->complete) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                        "store was written to by another process since it was "
                        "opened");
            return false;
        }
    }
    return true;
}

static bool probe_all(Recovery *recovery, GError **error)
{
    BlobStore *store = recovery->store;

    for (guint i = 0; i < store->blobs->len; i++) {
        Finding finding = {
            .blob = g_ptr_array_index(store->blobs, i),
            .evidence = { &no_evidence, &no_evidence },
            .current = -1,
        };

        g_array_append_val(recovery->findings, finding);
    }
    for (guint i = 0; i < recovery->findings->len; i++) {
        Finding *finding = &g_array_index(recovery->findings, Finding, i);

        if (!find_in_slot(store, finding, 0, error) ||
            !find_in_slot(store, finding, 1, error)) {
            return false;
        }
    }
    return true;
}

static void find_newest(Recovery *recovery)
{
    recovery->watermark = blob_sequence(recovery->store->epoch.number, 0);
    for (guint i = 0; i < recovery->findings->len; i++) {
        Finding *finding = &g_array_index(recovery->findings, Finding, i);

        for (unsigned n = 0; n < 2; n++) {
            const BlobHeader *header = &finding->evidence[n]->newest;

            if (!finding->evidence[n]->found ||
                !is_of_epoch(recovery->store, header)) {
                continue;
            }
            recovery->watermark = MAX(recovery->watermark,
                                      header->watermark);
            if (!recovery->newest ||
                header->sequence > recovery->newest->sequence) {
                recovery->newest = header;
            }
        }
    }
}

static bool member_is_valid(const Recovery *recovery,
                            const BlobMember *member)
{
    const Finding *finding = find_finding(recovery, member->id);

    for (unsigned n = 0; finding && n < 2; n++) {
        if (finding->evidence[n]->complete &&
            finding->evidence[n]->newest.sequence == member->sequence &&
            is_of_epoch(recovery->store, &finding->evidence[n]->newest)) {
            return true;
        }
    }
    return false;
}

/*
 * R3: whether a version at the recorded sequence is the recorded one, not one
 * of another branch.  For a sealed payload that shows when it is read.
 */
static bool is_as_recorded(const BlobEntry *entry, const BlobHeader *header)
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    if (!blob_entry_describes(entry, header)) {
        return false;
    }
    if (header->flags & BLOB_FLAG_SEALED && header->stored_bytes) {
        return true;
    }
    blob_layout_digest_version(header, NULL, 0, digest);
    return blob_digest_equal(digest, entry->digest, sizeof(digest));
}

/* R3, R6: whether a valid slot counts */
static bool slot_counts(const Recovery *recovery, const Finding *finding,
                        unsigned n)
{
    const BlobHeader *header = &finding->evidence[n]->newest;

    if (header->sequence == finding->blob->entry.sequence) {
        return is_as_recorded(&finding->blob->entry, header);
    }
    if (header->sequence <= recovery->watermark) {
        return true;
    }
    for (uint32_t i = 0; i < header->member_count; i++) {
        if (!member_is_valid(recovery, &header->members[i])) {
            return false;
        }
    }
    return true;
}

static void mark_lost(Finding *finding, uint64_t sequence, unsigned slot)
{
    finding->lost = sequence;
    finding->lost_slot = slot;
    blob_store_damage(finding->blob, g_strdup_printf(
        "version %" G_GUINT64_FORMAT " was acknowledged, but the slot at "
        "offset %" G_GUINT64_FORMAT " does not hold it intact", sequence,
        blob_slot_of(finding->blob, slot).offset));
}

/* R7, R8 */
static void judge_blob(const Recovery *recovery, Finding *finding)
{
    const BlobEntry *entry = &finding->blob->entry;
    uint64_t best = 0;

    for (unsigned n = 0; n < 2; n++) {
        const BlobEvidence *evidence = finding->evidence[n];

        if (evidence->complete && slot_counts(recovery, finding, n) &&
            evidence->newest.sequence > best) {
            best = evidence->newest.sequence;
            finding->current = n;
        }
    }
    for (unsigned n = 0; n < 2; n++) {
        const BlobEvidence *evidence = finding->evidence[n];
        uint64_t sequence = evidence->newest.sequence;

        if (evidence->found && !evidence->complete && sequence > best &&
            sequence > finding->lost &&
            (sequence == entry->sequence ||
             sequence <= recovery->watermark)) {
            mark_lost(finding, sequence, n);
        }
    }
    /* R11: recorded but absent */
    if (entry->sequence > best && !finding->lost) {
        mark_lost(finding, entry->sequence, entry->slot);
    }
}

static uint64_t decided_sequence(const Finding *finding)
{
    if (finding->lost) {
        return finding->lost;
    }
    return finding->current < 0
           ? 0 : finding->evidence[finding->current]->newest.sequence;
}

/* Whether the newest commit wrote @finding; *@sequence becomes as what. */
static bool is_in_newest(const Recovery *recovery, const Finding *finding,
                         uint64_t *sequence)
{
    const BlobHeader *newest = recovery->newest;
    uint64_t id = finding->blob->entry.id;

    if (!newest->member_count) {
        *sequence = newest->sequence;
        return newest->id == id;
    }
    for (uint32_t i = 0; i < newest->member_count; i++) {
        if (newest->members[i].id == id) {
            *sequence = newest->members[i].sequence;
            return true;
        }
    }
    return false;
}

/* The sequence that @finding had before the newest commit */
static uint64_t sequence_before(const Recovery *recovery,
                                const Finding *finding)
{
    uint64_t decided = decided_sequence(finding);
    uint64_t written;

    if (decided && is_in_newest(recovery, finding, &written) &&
        decided == written && !finding->lost) {
        return finding->evidence[finding->current]->newest.previous;
    }
    return decided;
}

/* Names the one blob whose newer version explains the missing census. */
static bool name_missing(Recovery *recovery,
                         const uint8_t missing[BLOB_CENSUS_BYTES])
{
    BlobStore *store = recovery->store;
    uint64_t base = blob_sequence(store->epoch.number, 0);
    uint64_t tries = 0;

    for (guint i = 0; i < recovery->findings->len; i++) {
        Finding *finding = &g_array_index(recovery->findings, Finding, i);
        uint64_t before = decided_sequence(finding);
        uint8_t rest[BLOB_CENSUS_BYTES];

        if (before != sequence_before(recovery, finding)) {
            continue;           /* its version before is superseded */
        }
        memcpy(rest, missing, sizeof(rest));
        blob_digest_census(store->guard->digest, finding->blob->entry.id,
                           before, rest);
        for (uint64_t sequence = MAX(base, before) + 1;
             sequence <= recovery->watermark; sequence++) {
            uint8_t census[BLOB_CENSUS_BYTES] = { 0 };

            if (++tries > SEARCH_LIMIT) {
                return false;
            }
            blob_digest_census(store->guard->digest, finding->blob->entry.id,
                               sequence, census);
            if (!memcmp(census, rest, sizeof(census))) {
                mark_lost(finding, sequence, finding->current == 0);
                return true;
            }
        }
    }
    return false;
}

/* R9: the versions decided on must be those that the newest header knew. */
static bool check_census(Recovery *recovery, GError **error)
{
    BlobStore *store = recovery->store;
    static const uint8_t zero[BLOB_CENSUS_BYTES];
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };

    if (!recovery->newest) {
        return true;
    }
    for (guint i = 0; i < recovery->findings->len; i++) {
        const Finding *finding = &g_array_index(recovery->findings, Finding,
                                                i);

        blob_digest_census(store->guard->digest, finding->blob->entry.id,
                           sequence_before(recovery, finding), census);
    }
    for (unsigned i = 0; i < sizeof(census); i++) {
        census[i] ^= recovery->newest->census[i];
    }
    if (memcmp(census, zero, sizeof(census)) &&
        !name_missing(recovery, census)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "content that was acknowledged since epoch %u began is "
                    "lost, of more than one blob or of an unknown one: restore "
                    "the image from a backup", store->epoch.number);
        return false;
    }
    return true;
}

static void adopt(BlobStore *store, Finding *finding)
{
    BlobEntry *entry = &finding->blob->entry;
    uint64_t recorded = entry->sequence;

    if (finding->lost) {
        /* The next record says that it is lost, not that it is deleted. */
        entry->sequence = finding->lost;
        entry->slot = finding->lost_slot;
        entry->flags &= ~BLOB_FLAG_DELETED;
        entry->flags |= store->guard->seal ? BLOB_FLAG_SEALED : 0;
        if (entry->sequence != recorded) {
            memset(entry->digest, 0, sizeof(entry->digest));
        }
    } else if (finding->current >= 0) {
        const BlobHeader *header =
            &finding->evidence[finding->current]->newest;

        blob_entry_set_version(entry, header, finding->current);
        /* Of what is on record, the digest is compared when it is read. */
        if (entry->sequence != recorded) {
            memcpy(entry->digest, header->version_digest,
                   sizeof(entry->digest));
        }
        /* S8: the power may have failed before the zeros were written. */
        if (store->guard->seal && header->flags & BLOB_FLAG_DELETED) {
            blob_wipe_later(store, finding->blob);
        }
    }
    blob_digest_census(store->guard->digest, entry->id, recorded,
                       store->epoch.census);
    blob_digest_census(store->guard->digest, entry->id, entry->sequence,
                       store->epoch.census);
    store->epoch.acknowledged = MAX(store->epoch.acknowledged,
                                    entry->sequence);
}

bool blob_recover_store(BlobStore *store, GError **error)
{
    g_autoptr(GArray) findings =
        g_array_sized_new(FALSE, TRUE, sizeof(Finding), store->blobs->len);
    Recovery recovery = {
        .store = store,
        .findings = findings,
    };

    g_array_set_clear_func(findings, clear_finding);
    if (!probe_all(&recovery, error)) {
        return false;
    }
    find_newest(&recovery);
    for (guint i = 0; i < findings->len; i++) {
        judge_blob(&recovery, &g_array_index(findings, Finding, i));
    }
    if (!check_census(&recovery, error)) {
        return false;
    }
    for (guint i = 0; i < findings->len; i++) {
        adopt(store, &g_array_index(findings, Finding, i));
    }
    return true;
}
