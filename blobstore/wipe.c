/*
 * Blobstore core: zeroing old content
 *
 * It is no commit: it only touches what nothing refers to, and can be done
 * again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "wipe.h"

#include <string.h>
#include "blobstore/format/sparse.h"

enum { SECTOR_BYTES = 512 };

/*
 * Reads what is to be zeroed.  What cannot be read counts as not zero, unless
 * it is a hole; and so does everything once a write has failed: zeros that are
 * read may then be in a cache only, and the old content still below.
 */
static void read_old(BlobMedium *medium, uint64_t offset, uint8_t *buf,
                     size_t bytes)
{
    if (!medium->write_errors &&
        blob_medium_read(medium, offset, buf, bytes, NULL)) {
        return;
    }
    for (size_t at = 0; at < bytes; at += BLOB_BLOCK_BYTES) {
        size_t n = MIN(bytes - at, BLOB_BLOCK_BYTES);

        memset(buf + at,
               blob_sparse_is_hole(medium, offset + at, n) ? 0 : 0xff, n);
    }
}

/* How many of @bytes at the beginning are in blocks that are zero, or not */
static size_t run_bytes(const uint8_t *buf, size_t bytes, bool zero)
{
    static const uint8_t zeros[BLOB_BLOCK_BYTES];
    size_t at = 0;

    while (at < bytes &&
           !memcmp(buf + at, zeros, MIN(bytes - at, sizeof(zeros))) == zero) {
        at += MIN(bytes - at, sizeof(zeros));
    }
    return at;
}

/*
 * Zeroes the blocks that hold something, and no others: a thin medium would
 * allocate them.  The zeros are written, because a medium that is told to
 * forget may keep the old bytes somewhere.
 */
static bool zero_piece(BlobMedium *medium, uint64_t offset, size_t bytes,
                       GError **error)
{
    g_autofree uint8_t *buf = blob_medium_alloc(bytes);
    size_t at = 0;

    read_old(medium, offset, buf, bytes);
    while (at < bytes) {
        size_t run = run_bytes(buf + at, bytes - at, false);

        memset(buf + at, 0, run);
        if (run && !blob_medium_write(medium, offset + at, buf + at, run,
                                      false, error)) {
            return false;
        }
        at += run;
        at += run_bytes(buf + at, bytes - at, true);
    }
    return true;
}

/*
 * Zeroes from *@at on, up to @end or until *@budget bytes are done, and moves
 * *@at there.  What is known to be zero costs little, however long it is.
 */
static bool zero_some(BlobMedium *medium, uint64_t *at, uint64_t end,
                      uint64_t *budget, GError **error)
{
    while (*at < end && *budget) {
        uint64_t known = blob_sparse_hole(medium, *at, end);
        uint64_t bytes = known;

        if (!known) {
            bytes = MIN(blob_sparse_piece(medium, *at, end), *budget);
            if (!zero_piece(medium, *at, bytes, error)) {
                return false;
            }
        }
        *at += bytes;
        *budget -= MIN(bytes, *budget);
    }
    return true;
}

static bool zero_range(BlobMedium *medium, uint64_t start, uint64_t end,
                       GError **error)
{
    uint64_t budget = UINT64_MAX;

    return zero_some(medium, &start, end, &budget, error);
}

/* Whether slot @n of @blob holds its current version */
static bool is_current(const Blob *blob, unsigned n)
{
    /* What is damaged may be something else, in plain text. */
    return blob->entry.sequence && blob->entry.slot == n && !blob->damage;
}

static bool wipe_blob(BlobStore *store, const Blob *blob, GError **error)
{
    for (unsigned n = 0; n < 2 && blob->entry.slot_bytes; n++) {
        BlobSlot slot = blob_slot_of(blob, n);
        uint64_t image = is_current(blob, n)
                         ? blob_layout_image_bytes(blob->entry.stored_bytes)
                         : 0;

        if (!zero_range(&store->medium, slot.offset + image,
                        slot.offset + slot.bytes, error)) {
            return false;
        }
    }
    return true;
}

void blob_wipe_later(BlobStore *store, Blob *blob)
{
    blob->unwiped = true;
    store->unwiped = true;
}

static bool wipe_pending(BlobStore *store, GError **error)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->unwiped && !wipe_blob(store, blob, error)) {
            return false;
        }
    }
    return blob_medium_flush(&store->medium, error);
}

/* Plans the copies as the current versions. */
static bool copy_current(BlobStore *store, bool all, GError **error)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);
        BlobSlot slot = blob_slot_of(blob, !blob->entry.slot);
        uint8_t digest[BLOB_DIGEST_BYTES];

        if (!blob->entry.sequence || blob->damage ||
            (!all && !blob->unwiped)) {
            continue;
        }
        if (!blob_version_copy(store, blob, store->guard, &slot, digest,
                               error)) {
            return false;
        }
        if (!blob->damage) {
            BlobEntry *entry = &blob_plan(blob)->entry;

            entry->slot = !blob->entry.slot;
            memcpy(entry->digest, digest, sizeof(entry->digest));
        }
    }
    return blob_medium_flush(&store->medium, error);
}

/*
 * No digest covers the bytes between payload and trailer.  If the power failed,
 * or a write did, these may be the old ones in a version that recovery takes
 * for whole, and in a copy of the directory.  So a store that has just been
 * opened writes again what the zeros will spare: @all versions, or those of
 * blobs that are unwiped.
 */
static bool renew(BlobStore *store, bool all, GError **error)
{
    bool ok;

    if (store->started) {
        return true;            /* All that is current was written since. */
    }
    /*
     * A directory that names such copies, of a record that failed, may have
     * landed since the medium was read.  So this takes a record in any case.
     */
    if (!blob_epoch_record(store, false, error) ||
        !blob_commit_begin(store, error)) {
        return false;
    }
    ok = copy_current(store, all, error);
    blob_commit_end(store);
    ok = ok && blob_epoch_record(store, false, error);
    for (guint i = 0; !ok && i < store->blobs->len; i++) {
        blob_drop_plan(g_ptr_array_index(store->blobs, i));
    }
    return ok;
}

bool blob_wipe_pending(BlobStore *store, GError **error)
{
    bool ok;

    if (!store->unwiped) {
        return true;
    }
    /* Zeroes may destroy evidence of which version is current, of any blob. */
    if (!renew(store, false, error) ||
        !blob_epoch_record_all(store, error) ||
        !blob_commit_begin(store, error)) {
        return false;
    }
    ok = wipe_pending(store, error);
    blob_commit_end(store);
    if (!ok) {
        store->epoch.open = false;      /* R4 */
        return false;
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->unwiped && !blob->registered) {
            store->epoch.open = false;  /* The next record releases it. */
        }
        blob->unwiped = false;
    }
    store->unwiped = false;
    return true;
}

/* Both copies are images of the same length. */
static void spare_pair(BlobSpace *rest, const BlobPair *pair,
                       uint64_t payload)
{
    for (unsigned n = 0; n < 2; n++) {
        blob_space_take(rest, blob_pair_slot(pair, n).offset,
                        blob_layout_image_bytes(payload));
    }
}

/* The part of the medium up to @end that holds nothing current */
static BlobSpace *find_rest(const BlobStore *store, uint64_t end)
{
    BlobSpace *rest = blob_space_new(0, end);

    spare_pair(rest, &store->super_pair, BLOB_SUPERBLOCK_BYTES);
    spare_pair(rest, &store->directory_pair, store->directory_bytes);
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);
        const BlobEntry *entry = &blob->entry;

        if (entry->slot_bytes && is_current(blob, entry->slot)) {
            blob_space_take(rest, blob_slot_of(blob, entry->slot).offset,
                            blob_layout_image_bytes(entry->stored_bytes));
        }
    }
    return rest;
}

/*
 * The end of what may hold old content.  A medium that was smaller when the
 * store was opened may have grown since, with its old bytes.
 */
static bool find_end(BlobStore *store, uint64_t *end, GError **error)
{
    if (!store->medium.storage->ops->length(store->medium.storage, end,
                                            error)) {
        return false;
    }
    *end = MAX(*end / SECTOR_BYTES * SECTOR_BYTES, store->capacity);
    return true;
}

/* Free space only: slots are written again, and must find room then. */
static bool give_back_free(BlobStore *store, GError **error)
{
    uint64_t offset;
    uint64_t bytes;

    for (size_t n = 0; blob_space_nth(store->space, n, &offset, &bytes); n++) {
        if (!blob_medium_give_back(&store->medium, offset, bytes, error)) {
            return false;
        }
    }
    return true;
}

static bool wipe_some(BlobStore *store, uint64_t *at, uint64_t bytes,
                      uint64_t medium_end, GError **error)
{
    g_autoptr(BlobSpace) rest = find_rest(store, medium_end);
    uint64_t offset;
    uint64_t length;

    for (size_t n = 0; blob_space_nth(rest, n, &offset, &length); n++) {
        uint64_t end = offset + length;

        if (end > *at) {
            *at = MAX(*at, offset);
            if (!zero_some(&store->medium, at, end, &bytes, error)) {
                return false;
            }
        }
        if (*at < end && !bytes) {
            return blob_medium_flush(&store->medium, error);
        }
    }
    *at = medium_end;
    return blob_medium_flush(&store->medium, error) &&
           give_back_free(store, error);
}

bool blob_wipe_next(BlobStore *store, uint64_t bytes, bool *done,
                    GError **error)
{
    /* renew() moves what a start that failed may have zeroed around. */
    uint64_t at = store->started ? store->wiped : 0;
    uint64_t end = 0;
    bool ok;

    /* Zeroes may destroy evidence of which version is current, of any blob. */
    if (!renew(store, true, error) ||
        (!blob_pair_is_whole(&store->directory_pair) &&
         !blob_epoch_record(store, false, error)) ||
        !blob_epoch_record_all(store, error) ||
        !blob_commit_begin(store, error)) {
        return false;
    }
    ok = find_end(store, &end, error) &&
         wipe_some(store, &at, MAX(bytes, BLOB_BLOCK_BYTES) /
                   BLOB_BLOCK_BYTES * BLOB_BLOCK_BYTES, end, error);
    blob_commit_end(store);
    if (!ok) {
        store->epoch.open = false;      /* R4 */
        return false;
    }
    store->wiped = at;
    *done = at == end;
    return true;
}
