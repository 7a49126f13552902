/*
 * Blobstore in QEMU: what the data key has to do with a stream
 *
 * The key slots travel with the first section, so that a blank medium can
 * become the same store.  Until the section has been authenticated with the
 * data key they serve to find that key, and for nothing else.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/uuid.h"
#include "vmstate.h"

void blobstore_stream_fill_keys(const BlobStoreObject *store,
                                StreamKeys *keys)
{
    const BlobKeySlots *slots = &store->open.keys.slots;

    blob_key_commit(store->open.keys.key, store->open.uuid->data,
                    keys->commitment);
    QEMU_BUILD_BUG_ON(sizeof(keys->slots) != sizeof(slots->bytes));
    memcpy(keys->slots, slots->bytes, sizeof(keys->slots));
    QEMU_BUILD_BUG_ON(BLOB_KEY_SLOTS > 8);
    keys->damaged = 0;
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        keys->damaged |= slots->damaged[n] << n;
    }
}

void blobstore_stream_get_key_slots(const StreamKeys *keys,
                                    BlobKeySlots *slots)
{
    memcpy(slots->bytes, keys->slots, sizeof(slots->bytes));
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        slots->damaged[n] = keys->damaged >> n & 1;
    }
}

typedef struct Unlocking {
    const StreamKeys *keys;
    const QemuUUID *uuid;
    BlobKey *key;
} Unlocking;

static bool coroutine_fn call_unlock(BlobStoreObject *store, void *opaque,
                                     Error **errp)
{
    Unlocking *unlocking = opaque;
    g_autofree BlobKeySlots *slots = g_new(BlobKeySlots, 1);
    GError *error = NULL;

    blobstore_stream_get_key_slots(unlocking->keys, slots);
    unlocking->key = blobstore_keys_unlock(store, slots, unlocking->uuid,
                                           &error);
    if (!unlocking->key) {
        blobstore_report_propagate(store, error, errp);
        return false;
    }
    return true;
}

BlobKey *blobstore_stream_unlock(BlobStoreObject *store,
                                 const StreamKeys *keys, const QemuUUID *uuid,
                                 Error **errp)
{
    Unlocking unlocking = { .keys = keys, .uuid = uuid };

    blobstore_call_core(store, call_unlock, &unlocking, errp);
    return unlocking.key;
}

bool blobstore_stream_has_key(const StreamKeys *keys, const BlobKey *key,
                              const QemuUUID *uuid)
{
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];

    blob_key_commit(key, uuid->data, commitment);
    return !memcmp(commitment, keys->commitment, sizeof(commitment));
}

void blobstore_stream_say_number(GByteArray *said, uint64_t number)
{
    uint64_t bytes = cpu_to_le64(number);

    g_byte_array_append(said, (const uint8_t *)&bytes, sizeof(bytes));
}

void blobstore_stream_say_sequence(GByteArray *said,
                                   const BlobSequence *sequence)
{
    blobstore_stream_say_number(said, sequence->number);
    g_byte_array_append(said, sequence->epoch_id, sizeof(sequence->epoch_id));
}

void blobstore_stream_say_keys(GByteArray *said, const StreamKeys *keys)
{
    g_byte_array_append(said, keys->commitment, sizeof(keys->commitment));
    g_byte_array_append(said, keys->slots, sizeof(keys->slots));
    blobstore_stream_say_number(said, keys->damaged);
}

BlobSeal *blobstore_stream_new_seal(const BlobKey *key, const QemuUUID *uuid,
                                    GError **error)
{
    return blob_key_new_seal(key, BLOB_KEY_FOR_STREAM, uuid->data, error);
}

bool blobstore_stream_seal(BlobSeal *seal, const GByteArray *said,
                           uint8_t *data, size_t bytes, StreamProof *proof,
                           GError **error)
{
    return blob_seal_encrypt(seal, said->data, said->len, data, bytes,
                             proof->nonce, proof->tag, error);
}

bool blobstore_stream_unseal(BlobSeal *seal, const GByteArray *said,
                             uint8_t *data, size_t bytes,
                             const StreamProof *proof)
{
    return blob_seal_decrypt(seal, said->data, said->len, data, bytes,
                             proof->nonce, proof->tag);
}
