/*
 * Blobstore core: changing how a whole store is guarded
 *
 * A plain store becomes a sealed one, or a sealed store becomes plain or sealed
 * under another data key, in place.  Each step is durable before the next one
 * begins, and each start continues after the last durable step (S7):
 *
 * 1. A clean directory like the one before is written, but with a voucher: a
 *    digest under the key that step 2 puts into the key slots.  Until step 5
 *    only directories with a voucher count.
 * 2. The superblock announces the new guard and holds its key.  The superblock
 *    of a rekeyed store holds both keys.
 * 3. Each current version is copied, with its sequence, to the other slot of
 *    its blob, under the new guard.
 * 4. A clean directory under the new guard names the copies.  Once one copy of
 *    this directory is on the medium, nothing else counts.
 * 5. The superblock knows the new guard only.
 * 6. Everything that is not current is zeroed, in pieces.  Between two pieces
 *    the store takes commits: see blob_wipe_next().
 * 7. The superblock records the end of the conversion, and an epoch record
 *    names this superblock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "convert.h"

#include <string.h>
#include "superblock.h"
#include "wipe.h"

static bool wrap_previous_key(const BlobKey *key, const BlobKey *previous,
                              BlobSuperblock *super, GError **error)
{
    BlobPreviousKey *out = &super->previous_key;
    g_autoptr(BlobSeal) seal = blob_key_new_seal(key,
                                                 BLOB_KEY_FOR_PREVIOUS_KEY,
                                                 super->uuid, error);
    g_autoptr(BlobSecret) data = NULL;

    if (!seal) {
        return false;
    }
    data = blob_secret_new(blob_key_bytes(previous), BLOB_KEY_BYTES, error);
    if (!data ||
        !blob_seal_encrypt(seal, super->uuid, sizeof(super->uuid), data->data,
                           data->bytes, out->nonce, out->tag, error)) {
        return false;
    }
    memcpy(out->wrapped, data->data, sizeof(out->wrapped));
    return true;
}

BlobGuard *blob_convert_previous_guard(const BlobStore *store,
                                       GError **error)
{
    const BlobSuperblock *super = &store->super;
    const BlobPreviousKey *wrapped = &super->previous_key;
    g_autoptr(BlobSeal) seal = blob_key_new_seal(store->key,
                                                 BLOB_KEY_FOR_PREVIOUS_KEY,
                                                 super->uuid, error);
    g_autoptr(BlobSecret) data = NULL;
    g_autoptr(BlobKey) previous = NULL;

    if (!seal) {
        return NULL;
    }
    data = blob_secret_new(wrapped->wrapped, BLOB_KEY_BYTES, error);
    if (!data) {
        return NULL;
    }
    if (!blob_seal_decrypt(seal, super->uuid, sizeof(super->uuid), data->data,
                           data->bytes, wrapped->nonce, wrapped->tag)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                    "store is being rekeyed, but the previous data key was "
                    "not wrapped by the present one");
        return NULL;
    }
    previous = blob_key_new_from_bytes(data->data, error);
    return previous ? blob_guard_new_sealed(previous, super->uuid, error)
                    : NULL;
}

static bool check_convertible(BlobStore *store, const BlobKey *key,
                              const BlobKeySlots *slots, GError **error)
{
    if (!blob_store_require_started(store, error)) {
        return false;
    }
    if (store->super.state != BLOB_STATE_READY) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_READ_ONLY,
                    "store is being converted already: start it again");
        return false;
    }
    if (store->committing) {
        return blob_commit_begin(store, error);     /* says so */
    }
    if (!key && !store->key) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "store is not encrypted");
        return false;
    }
    /* A conversion that began must be able to end. */
    if (store->generation > BLOB_GENERATION_MAX - BLOB_GENERATION_RESERVE) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXHAUSTED,
                    "store has too few superblock generations left: copy its "
                    "blobs to a new store");
        return false;
    }
    if (key && !blob_key_slots_count_used(slots)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "no key slot holds the new data key");
        return false;
    }
    return true;
}

/* Fills @super for step 2, and returns the new guard. */
static BlobGuard *plan(const BlobStore *store, const BlobKey *key,
                       const BlobKeySlots *slots, BlobSuperblock *super,
                       GError **error)
{
    *super = store->super;
    super->state = BLOB_STATE_CONVERTING;
    if (!key) {
        super->conversion = BLOB_CONVERSION_UNSEAL;
        return blob_digest_random(super->seed, sizeof(super->seed), error)
               ? blob_guard_new_plain(super->seed) : NULL;
    }
    super->conversion = store->key ? BLOB_CONVERSION_REKEY
                                   : BLOB_CONVERSION_SEAL;
    super->incompatible |= BLOB_FEATURE_SEALED;
    super->key_slots = *slots;
    if (store->key &&
        !wrap_previous_key(key, store->key, super, error)) {
        return NULL;
    }
    return blob_guard_new_sealed(key, super->uuid, error);
}

/* S10: nobody could vouch for a damaged version. */
static bool verify_versions(BlobStore *store, GError **error)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        Blob *blob = g_ptr_array_index(store->blobs, i);
        BlobHeader header;
        g_autoptr(GBytes) payload = NULL;

        if (blob_is_present(blob) &&
            !blob_version_load(store, blob, &header, &payload, error)) {
            return false;
        }
    }
    return true;
}

/* Step 1 */
static bool vouch(BlobStore *store, const BlobKey *key, GError **error)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        const Blob *blob = g_ptr_array_index(store->blobs, i);

        if (blob->damage) {
            return blob_version_fail_damaged(blob, error);
        }
    }
    /* S8: with a clean directory the next start would not know of it. */
    if (!blob_wipe_pending(store, error) || !verify_versions(store, error)) {
        return false;
    }
    store->voucher = blob_key_new_digest(key, BLOB_KEY_FOR_VOUCHERS,
                                         store->super.uuid, error);
    return store->voucher && blob_epoch_record(store, true, error);
}

/* Step 3.  A tombstone holds nothing that would have to be read. */
static bool copy_version(BlobStore *store, Blob *blob, GError **error)
{
    BlobSlot slot = blob_slot_of(blob, !blob->entry.slot);
    uint8_t digest[BLOB_DIGEST_BYTES];
    BlobEntry *entry;

    /* What its other slot may hold still would be lost as well. */
    if (blob->damage && !store->options.replace_damaged) {
        return blob_version_fail_damaged(blob, error);
    }
    if (!blob->entry.sequence) {
        return true;
    }
    if (!blob_version_copy(store, blob, store->target, &slot, digest, error)) {
        return false;
    }
    entry = &blob_plan(blob)->entry;
    memcpy(entry->digest, digest, sizeof(entry->digest));
    entry->slot = !entry->slot;
    entry->flags &= ~BLOB_FLAG_SEALED;
    entry->flags |= store->target->seal ? BLOB_FLAG_SEALED : 0;
    return true;
}

/* Plans the copies as the current versions. */
static bool copy_versions(BlobStore *store, GError **error)
{
    for (guint i = 0; i < store->blobs->len; i++) {
        if (!copy_version(store, g_ptr_array_index(store->blobs, i), error)) {
            return false;
        }
    }
    return blob_medium_flush(&store->medium, error);
}

/* Steps 3 and 4 */
static bool move_to_target(BlobStore *store, GError **error)
{
    if (copy_versions(store, error) &&
        blob_epoch_record_switch(store, error)) {
        return true;
    }
    for (guint i = 0; i < store->blobs->len; i++) {
        blob_drop_plan(g_ptr_array_index(store->blobs, i));
    }
    return false;
}

/* Step 5 */
static bool forget_old_guard(BlobStore *store, GError **error)
{
    BlobSuperblock super = store->super;
    bool sealed = store->guard->seal;

    super.state = BLOB_STATE_WIPING;
    super.conversion = BLOB_CONVERSION_NONE;
    memset(&super.previous_key, 0, sizeof(super.previous_key));
    if (sealed) {
        memset(super.seed, 0, sizeof(super.seed));
    } else {
        super.incompatible &= ~BLOB_FEATURE_SEALED;
        memset(&super.key_slots, 0, sizeof(super.key_slots));
    }
    store->wiped = 0;
    return blob_superblock_change(store, &super, sealed ? store->key : NULL,
                                  error);
}

/* Steps 3 to 5 */
static bool switch_guards(BlobStore *store, GError **error)
{
    if (store->super.state != BLOB_STATE_CONVERTING) {
        return true;
    }
    if (store->target && !move_to_target(store, error)) {
        return false;
    }
    /* If a record was cut short, one copy may be under the old guard. */
    return blob_epoch_settle(store, error) && forget_old_guard(store, error);
}

/* Step 7 */
static bool finish(BlobStore *store, GError **error)
{
    BlobSuperblock super = store->super;

    super.state = BLOB_STATE_READY;
    return blob_epoch_settle(store, error) &&
           blob_superblock_change(store, &super, store->key, error) &&
           blob_epoch_record(store, false, error);
}

bool blob_store_convert_begin(BlobStore *store, BlobKey *key,
                              const BlobKeySlots *slots, GError **error)
{
    BlobKey *keys = key ?: store->key;
    BlobSuperblock super;
    g_autoptr(BlobGuard) target = NULL;

    /*
     * The superblock of a conversion that failed to begin may have landed, and
     * under it no directory without a voucher counts.
     */
    if (!check_convertible(store, key, slots, error) ||
        !blob_store_check_owner(store, error) ||
        !blob_superblock_settle(store, error)) {
        return false;
    }
    target = plan(store, key, slots, &super, error);
    if (!target) {
        return false;
    }
    if (!vouch(store, keys, error)) {
        g_clear_pointer(&store->voucher, blob_digest_free);
        return false;
    }
    if (!blob_superblock_change(store, &super, keys, error)) {
        blob_superblock_settle(store, NULL);
        return false;
    }
    store->target = g_steal_pointer(&target);
    return switch_guards(store, error);
}

bool blob_store_convert_next(BlobStore *store, uint64_t bytes, bool *done,
                             GError **error)
{
    *done = store->super.state == BLOB_STATE_READY;
    if (*done) {
        /* Unless the record of that has failed, it is on the medium. */
        if (!store->epoch.open && !store->epoch.clean) {
            return blob_epoch_record(store, false, error);
        }
        return true;
    }
    if (!store->started || store->super.state != BLOB_STATE_WIPING) {
        return blob_store_fail_converting(error);
    }
    if (!blob_store_check_owner(store, error) ||
        !blob_wipe_next(store, bytes, done, error)) {
        return false;
    }
    return !*done || finish(store, error);
}

bool blob_store_convert(BlobStore *store, BlobKey *key,
                        const BlobKeySlots *slots, GError **error)
{
    bool done;

    return blob_store_convert_begin(store, key, slots, error) &&
           blob_store_convert_next(store, UINT64_MAX, &done, error);
}

bool blob_convert_finish(BlobStore *store, GError **error)
{
    bool done;

    if (store->super.state != BLOB_STATE_CONVERTING &&
        store->super.state != BLOB_STATE_WIPING) {
        return true;
    }
    /*
     * A directory that names copies, of a record that failed, may have landed
     * since the medium was read.  They are about to be made again.
     */
    if (store->target && !blob_epoch_record(store, true, error)) {
        return false;
    }
    return switch_guards(store, error) &&
           blob_wipe_next(store, UINT64_MAX, &done, error) &&
           finish(store, error);
}

void blob_store_get_key_slots(const BlobStore *store, BlobKeySlots *slots)
{
    *slots = store->super.key_slots;
}

static bool check_key_slots(const BlobStore *store, const BlobKey *key,
                            const BlobKeySlots *slots, GError **error)
{
    const char *text = NULL;

    if (!store->key) {
        text = "store is not encrypted";
    } else if (!blob_key_equal(key, store->key)) {
        text = "the data key of the store has changed meanwhile";
    } else if (!blob_key_slots_count_used(slots)) {
        text = "no key slot would be left";
    }
    if (text) {
        g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                            text);
    }
    return !text;
}

bool blob_store_set_key_slots(BlobStore *store, const BlobKey *key,
                              const BlobKeySlots *slots, GError **error)
{
    BlobSuperblock super = store->super;

    if (!blob_store_require_started(store, error)) {
        return false;
    }
    if (super.state != BLOB_STATE_READY) {
        return blob_store_fail_converting(error);
    }
    if (!check_key_slots(store, key, slots, error)) {
        return false;
    }
    if (store->committing) {
        return blob_commit_begin(store, error);     /* says so */
    }
    super.key_slots = *slots;
    /* S5: what was there before is refused once this is on record. */
    return blob_epoch_settle(store, error) &&
           blob_superblock_change(store, &super, store->key, error) &&
           blob_epoch_record(store, false, error);
}
