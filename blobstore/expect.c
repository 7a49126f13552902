/*
 * Blobstore core: what a caller expects of the store that it wants
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "expect.h"

#include <string.h>

static char *describe(uint64_t number,
                      const uint8_t epoch_id[BLOB_EPOCH_ID_BYTES])
{
    g_autofree char *id = blob_digest_to_hex(epoch_id, BLOB_EPOCH_ID_BYTES);

    return g_strdup_printf("%" G_GUINT64_FORMAT ":%s", number, id);
}

bool blob_expect_blank(const BlobStoreOptions *options, GError **error)
{
    g_autofree char *wanted = NULL;

    if (options->key_commitment) {
        wanted = blob_digest_to_hex(options->key_commitment,
                                    BLOB_KEY_COMMITMENT_BYTES);
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "medium is blank, but a store with key commitment %s was "
                    "asked for: is this the right image?", wanted);
        return false;
    }
    if (options->min_sequence) {
        wanted = describe(options->min_sequence->number,
                          options->min_sequence->epoch_id);
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_ROLLED_BACK,
                    "medium is blank, but a store that has reached sequence "
                    "%s was asked for: is this the right image?", wanted);
        return false;
    }
    return true;
}

bool blob_expect_key(const BlobStore *store, GError **error)
{
    const uint8_t *wanted = store->options.key_commitment;
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES] = { 0 };
    g_autofree char *wanted_text = NULL;
    g_autofree char *found_text = NULL;

    if (!wanted) {
        return true;
    }
    if (store->key) {
        blob_key_commit(store->key, store->super.uuid, commitment);
        if (blob_digest_equal(commitment, wanted, sizeof(commitment))) {
            return true;
        }
    }
    wanted_text = blob_digest_to_hex(wanted, sizeof(commitment));
    found_text = store->key
                 ? blob_digest_to_hex(commitment, sizeof(commitment))
                 : g_strdup("none, for it is not encrypted");
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                "store has another key commitment (%s) than was asked for "
                "(%s): is this the right image?", found_text, wanted_text);
    return false;
}

/* The entry of @epoch in the history, or in @present; NULL if it is unknown */
static const BlobPastEpoch *find_epoch(const BlobStore *store, uint32_t epoch,
                                       BlobPastEpoch *present)
{
    if (epoch == blob_sequence_epoch(store->epoch.acknowledged)) {
        present->epoch = epoch;
        present->counter = (uint32_t)store->epoch.acknowledged;
        memcpy(present->epoch_id, store->epoch.id,
               sizeof(present->epoch_id));
        return present;
    }
    for (guint i = 0; i < store->epoch.history->len; i++) {
        const BlobPastEpoch *past =
            &g_array_index(store->epoch.history, BlobPastEpoch, i);

        if (past->epoch == epoch) {
            return past;
        }
    }
    return NULL;
}

bool blob_expect_sequence(const BlobStore *store, GError **error)
{
    const BlobSequence *wanted = store->options.min_sequence;
    BlobPastEpoch present;
    const BlobPastEpoch *past;
    const char *why;
    g_autofree char *wanted_text = NULL;
    g_autofree char *found_text = NULL;

    if (!wanted) {
        return true;
    }
    past = find_epoch(store, blob_sequence_epoch(wanted->number), &present);
    if (store->epoch.acknowledged < wanted->number) {
        why = "is older than";
    } else if (!past) {
        why = "is too far on to show whether it continues";
    } else if (past->counter < (uint32_t)wanted->number ||
               memcmp(past->epoch_id, wanted->epoch_id,
                      sizeof(past->epoch_id))) {
        why = "does not continue";
    } else {
        return true;
    }
    wanted_text = describe(wanted->number, wanted->epoch_id);
    found_text = describe(store->epoch.acknowledged, store->epoch.id);
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_ROLLED_BACK,
                "store at sequence %s %s the one that was asked for, %s: has "
                "the image been rolled back?", found_text, why, wanted_text);
    return false;
}
