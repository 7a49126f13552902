/*
 * Blobstore core: whether this process still owns the store (R17)
 *
 * Nothing but the directory says so: whoever starts the store records an epoch.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "owner.h"

#include <string.h>

/* Whether @block is that of a directory; *@header becomes its header. */
static bool decode(const BlobStore *store, unsigned n, const void *block,
                   BlobHeader *header)
{
    BlobSlot slot = blob_pair_slot(&store->directory_pair, n);

    /* A conversion that failed between the copies has one under its target. */
    return blob_layout_decode_header(block, store->guard, slot.id, slot.offset,
                                     slot.bytes, header) ||
           (store->target &&
            blob_layout_decode_header(block, store->target, slot.id,
                                      slot.offset, slot.bytes, header));
}

static bool is_known(const BlobPair *pair, unsigned n,
                     const BlobHeader *header)
{
    return header->sequence == pair->sequence[n] &&
           !memcmp(header->epoch_id, pair->epoch_id[n],
                   sizeof(header->epoch_id));
}

bool blob_owner_knows(const BlobStore *store, unsigned n, const void *block)
{
    BlobHeader header;

    return decode(store, n, block, &header) &&
           is_known(&store->directory_pair, n, &header);
}

static bool fail_taken(const BlobStore *store, GError **error)
{
    g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                        store->taken);
    return false;
}

/* The store stays so until it is opened again. */
static void note_taken(BlobStore *store, const BlobHeader *header)
{
    g_free(store->taken);
    store->taken = header
        ? g_strdup_printf("store was taken over by another process, which has "
                          "begun epoch %u",
                          blob_sequence_epoch(header->sequence))
        : g_strdup("store was taken over by another process, which has changed "
                   "its key");
}

typedef enum Copy {
    COPY_OURS,
    COPY_FOREIGN,               /* *@error is set */
    COPY_DAMAGED,               /* or being written */
    COPY_UNREADABLE,            /* *@error is set */
} Copy;

static Copy look_at_copy(BlobStore *store, unsigned n, GError **error)
{
    BlobSlot slot = blob_pair_slot(&store->directory_pair, n);
    g_autofree uint8_t *block = blob_medium_alloc(BLOB_BLOCK_BYTES);
    BlobHeader header;

    if (!blob_medium_read(&store->medium, slot.offset, block,
                          BLOB_BLOCK_BYTES, error)) {
        return COPY_UNREADABLE;
    }
    if (decode(store, n, block, &header)) {
        if (is_known(&store->directory_pair, n, &header)) {
            return COPY_OURS;
        }
        note_taken(store, &header);
        fail_taken(store, error);
        return COPY_FOREIGN;
    }
    if (!memcmp(block, BLOB_MAGIC, strlen(BLOB_MAGIC))) {
        note_taken(store, NULL);
        fail_taken(store, error);
        return COPY_FOREIGN;
    }
    return COPY_DAMAGED;
}

/*
 * The next record, whoever makes it, begins with the copy that was written
 * last, while both are whole (R16).  So that one is enough if it is ours.
 */
bool blob_store_check_owner(BlobStore *store, GError **error)
{
    const BlobPair *pair = &store->directory_pair;
    g_autoptr(GError) failure = NULL;
    bool is_seen = false;

    if (!store->options.fence || store->blank) {
        return true;
    }
    if (store->taken) {
        return fail_taken(store, error);
    }
    for (unsigned i = 0; i < 2; i++) {
        unsigned n = i ? !pair->last : pair->last;

        if (!pair->intact[n]) {
            continue;           /* A record of ours has failed there. */
        }
        is_seen = true;
        g_clear_error(&failure);
        switch (look_at_copy(store, n, &failure)) {
        case COPY_OURS:
            return true;
        case COPY_FOREIGN:
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        default:
            break;              /* A bad sector is damage of that copy. */
        }
    }
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return false;
    }
    if (is_seen) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "both copies of the directory have been damaged since "
                    "the store was opened");
    }
    return !is_seen;
}

bool blob_owner_check_copies(BlobStore *store, GError **error)
{
    for (unsigned n = 0; store->options.fence && n < 2; n++) {
        switch (look_at_copy(store, n, error)) {
        case COPY_FOREIGN:
        case COPY_UNREADABLE:
            return false;
        default:
            break;
        }
    }
    return true;
}
