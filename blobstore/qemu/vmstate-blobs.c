/*
 * Blobstore in QEMU: the blobs as they travel with the state of the VM
 *
 * The second of two sections, see vmstate.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "vmstate.h"
#include "trace.h"

/*
 * No store reaches this epoch by itself, and one that begins with it has
 * enough left.  The limit holds for streams only: a store that was migrated in
 * at the limit is past it as soon as it runs.
 */
enum { EPOCH_MAX = INT32_MAX };

struct BlobsState {
    BlobStoreObject *store;
    const IdentityState *identity;
    BlobSequence sequence;
    uint32_t carried_count;     /* as in the stream */
    uint32_t carried_length;    /* of the array */
    StreamCarried *carried;           /* ordered by owner and name */
    StreamProof proof;          /* of an encrypted store; of all but them */
};

static bool carried_count_is_ours(void *opaque, int version_id)
{
    BlobsState *state = opaque;

    return state->carried_count == state->carried_length;
}

static void free_carried(BlobsState *state)
{
    for (uint32_t i = 0; i < state->carried_length; i++) {
        g_free(state->carried[i].payload);
    }
    g_clear_pointer(&state->carried, g_free);
    state->carried_length = 0;
}

static void make_carried(BlobsState *state)
{
    g_autoptr(GPtrArray) blobs = blobstore_stream_sorted_blobs(state->store);

    free_carried(state);
    state->carried = g_new0(StreamCarried, blobs->len);
    state->carried_count = blobs->len;
    state->carried_length = blobs->len;
    for (guint i = 0; i < blobs->len; i++) {
        state->carried[i].blob = g_ptr_array_index(blobs, i);
    }
}

/*
 * What the section says beside its blobs.  The proof of the first section,
 * which is in it, binds this one to that.
 */
static GByteArray *say_section(const BlobsState *state)
{
    static const char label[] = "second section";
    const StreamProof *first = blobstore_identity_proof(state->identity);
    GByteArray *said = g_byte_array_new();

    g_byte_array_append(said, (const uint8_t *)label, sizeof(label));
    g_byte_array_append(said, first->nonce, sizeof(first->nonce));
    g_byte_array_append(said, first->tag, sizeof(first->tag));
    blobstore_stream_say_sequence(said, &state->sequence);
    blobstore_stream_say_number(said, state->carried_count);
    return said;
}

/* What a sealed payload is bound to */
static GByteArray *say_carried(const BlobsState *state,
                               const StreamCarried *carried)
{
    GByteArray *said = say_section(state);

    blobstore_carried_say(said, carried);
    return said;
}

static BlobSeal *new_seal(const BlobsState *state, GError **error)
{
    return blobstore_stream_new_seal(state->store->open.keys.key,
                                     state->store->open.uuid, error);
}

/* No content of an encrypted store leaves QEMU in plain text. */
static bool seal_all(BlobsState *state, GError **error)
{
    g_autoptr(BlobSeal) seal = NULL;
    g_autoptr(GByteArray) section = NULL;

    if (!state->store->open.keys.key) {
        return true;
    }
    seal = new_seal(state, error);
    for (uint32_t i = 0; seal && i < state->carried_count; i++) {
        StreamCarried *carried = &state->carried[i];
        g_autoptr(GByteArray) said = say_carried(state, carried);

        if (!blobstore_stream_seal(seal, said, carried->payload,
                                   carried->payload_size, &carried->proof,
                                   error)) {
            return false;
        }
    }
    section = say_section(state);
    return seal && blobstore_stream_seal(seal, section, NULL, 0,
                                         &state->proof, error);
}

static bool unseal(BlobSeal *seal, const BlobsState *state,
                   StreamCarried *carried)
{
    g_autoptr(GByteArray) said = say_carried(state, carried);

    return blobstore_stream_unseal(seal, said, carried->payload,
                                   carried->payload_size, &carried->proof);
}

static bool authenticate_section(BlobSeal *seal, const BlobsState *state,
                                 GError **error)
{
    g_autoptr(GByteArray) section = say_section(state);

    if (!blobstore_stream_unseal(seal, section, NULL, 0, &state->proof)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                    "the end of the stream was not written with the key of "
                    "the store, or for another beginning");
        return false;
    }
    return true;
}

/* Authenticates everything; nothing has been used before. */
static bool unseal_all(BlobsState *state, GError **error)
{
    g_autoptr(BlobSeal) seal = NULL;

    if (state->store->open.keys.key) {
        seal = new_seal(state, error);
        if (!seal || !authenticate_section(seal, state, error)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < state->carried_count; i++) {
        StreamCarried *carried = &state->carried[i];
        g_auto(GStrv) metadata = NULL;

        if (seal && !unseal(seal, state, carried)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                        "blob '%s/%s' in the stream was not written with the "
                        "key of the store",
                        blobstore_stream_name(carried->owner),
                        blobstore_stream_name(carried->name));
            return false;
        }
        metadata = blobstore_stream_get_metadata(carried->payload,
                                                 carried->metadata_size);
        if (!metadata) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                        "metadata of blob '%s/%s' in the stream is not valid",
                        blobstore_stream_name(carried->owner),
                        blobstore_stream_name(carried->name));
            return false;
        }
    }
    return true;
}

static bool save_clients(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();
    BlobStoreClient *client;

    QTAILQ_FOREACH(client, &store->clients, next) {
        if (client->ops && client->ops->save &&
            !client->ops->save(client->opaque, errp)) {
            error_prepend(errp, "blobstore '%s': cannot save the state of "
                          "'%s': ", store->id, client->owner);
            return false;
        }
    }
    return true;
}

static int blobs_pre_save(void *opaque)
{
    BlobsState *state = opaque;
    BlobStoreObject *store = state->store;
    g_autoptr(GError) error = NULL;
    Error *err = NULL;
    uint64_t bytes = 0;
    bool is_saved;

    if (blobstore_state_is_taken(&store->open.state)) {
        error_report("blobstore '%s': cannot save the state of its devices: "
                     "%s", store->id, store->open.health.failure);
        return -EIO;
    }
    /* A command that has begun in a stopped VM may wait for a drained drive. */
    blobstore_halt_hurry(store, true);
    is_saved = save_clients(store, &err);
    blobstore_halt_hurry(store, false);
    if (!is_saved) {
        error_report_err(err);
        return -EIO;
    }
    make_carried(state);
    state->sequence = blobstore_state_sequence(store);
    for (uint32_t i = 0; i < state->carried_count; i++) {
        StreamCarried *carried = &state->carried[i];

        blobstore_carried_fill(carried);
        if (!blobstore_carried_is_valid(carried)) {
            error_report("blobstore '%s': cannot save blob '%s/%s' of %" PRIu32
                         " bytes", store->id, carried->blob->client->owner,
                         carried->blob->name, carried->size);
            free_carried(state);
            return -EINVAL;
        }
        bytes += carried->size;
    }
    if (!seal_all(state, &error)) {
        error_report("blobstore '%s': cannot save the state of its devices: "
                     "%s", store->id, error->message);
        free_carried(state);
        return -EIO;
    }
    blobstore_state_event(store, BLOBSTORE_EVENT_SAVE);
    trace_blobstore_save(store->id, state->carried_count, bytes);
    return 0;
}

static int blobs_post_save(void *opaque)
{
    free_carried(opaque);
    return 0;
}

static int blobs_pre_load(void *opaque)
{
    BlobsState *state = opaque;
    BlobStoreObject *store = state->store;

    if (store->open.state.load != BLOBSTORE_LOAD_IDENTIFIED) {
        Error *err = NULL;

        blobstore_state_event(store, BLOBSTORE_EVENT_LOAD_FAILED);
        error_setg(&err, "the stream does not say which store it is of");
        return blobstore_stream_fail_load(store, err);
    }
    /* carried_count is ours until the one in the stream has been compared. */
    make_carried(state);
    return 0;
}

/* The stream wins over RAM and medium, also where a blob is absent in it. */
static void take_carried(const StreamCarried *carried)
{
    g_auto(GStrv) metadata =
        blobstore_stream_get_metadata(carried->payload,
                                      carried->metadata_size);
    g_autoptr(GBytes) content = carried->present ?
        g_bytes_new(carried->payload + carried->metadata_size,
                    carried->size) : NULL;
    g_autoptr(BlobStoreVersion) version =
        blobstore_version_new(content, (const char *const *)metadata);

    blobstore_version_replace(carried->blob, version);
}

static bool check_carried(BlobsState *state, Error **errp)
{
    g_autoptr(GError) error = NULL;

    if (state->sequence.number >> 32 > EPOCH_MAX) {
        error_setg(errp, "sequence %" PRIu64 " in the stream is too high",
                   state->sequence.number);
        return false;
    }
    if (!unseal_all(state, &error)) {
        error_setg(errp, "%s", error->message);
        return false;
    }
    return blobstore_identity_check_next(state->identity, &state->sequence,
                                         errp);
}

static void clear_copy(gpointer data)
{
    blobstore_version_clear_copy(data);
}

/* Returns the versions that were there before, as BlobStoreCopy. */
static GArray *take_all_carried(BlobsState *state)
{
    GArray *before = g_array_new(FALSE, FALSE, sizeof(BlobStoreCopy));
    uint64_t bytes = 0;

    g_array_set_clear_func(before, clear_copy);
    for (uint32_t i = 0; i < state->carried_count; i++) {
        StreamCarried *carried = &state->carried[i];
        BlobStoreCopy copy;

        blobstore_version_keep(carried->blob, &copy);
        g_array_append_val(before, copy);
        take_carried(carried);
        bytes += carried->size;
    }
    trace_blobstore_load(state->store->id, state->carried_count, bytes);
    free_carried(state);
    return before;
}

static bool load_clients(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();
    BlobStoreClient *client;

    QTAILQ_FOREACH(client, &store->clients, next) {
        if (client->ops && client->ops->load &&
            !client->ops->load(client->opaque, errp)) {
            error_prepend(errp, "cannot load the state of '%s': ",
                          client->owner);
            return false;
        }
    }
    return true;
}

/* From what they had before, devices begin again at the next reset. */
static void put_all_back(const GArray *before)
{
    for (guint i = 0; i < before->len; i++) {
        blobstore_version_put_back(&g_array_index(before, BlobStoreCopy, i));
    }
}

static bool load_all(BlobsState *state, Error **errp)
{
    g_autoptr(GArray) before = NULL;

    if (!check_carried(state, errp)) {
        return false;
    }
    before = take_all_carried(state);
    if (!load_clients(state->store, errp)) {
        put_all_back(before);
        return false;
    }
    return true;
}

static int blobs_post_load(void *opaque, int version_id)
{
    BlobsState *state = opaque;
    BlobStoreObject *store = state->store;
    Error *err = NULL;

    if (!load_all(state, &err)) {
        blobstore_state_event(store, BLOBSTORE_EVENT_LOAD_FAILED);
        return blobstore_stream_fail_load(store, err);
    }
    blobstore_state_event(store, BLOBSTORE_EVENT_LOADED);
    store->open.sequence = state->sequence;
    store->open.health.write_failed = false;
    return 0;
}

const VMStateDescription vmstate_blobstore_blobs = {
    .name = "blobstore",
    .version_id = 1,
    .minimum_version_id = 1,
    .priority = MIG_PRI_DEFAULT + 1,
    .pre_save = blobs_pre_save,
    .post_save = blobs_post_save,
    .pre_load = blobs_pre_load,
    .post_load = blobs_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(sequence.number, BlobsState),
        VMSTATE_BUFFER(sequence.epoch_id, BlobsState),
        VMSTATE_UINT32(carried_count, BlobsState),
        VMSTATE_VALIDATE("number of blobs is ours", carried_count_is_ours),
        VMSTATE_STRUCT_VARRAY_POINTER_UINT32(carried, BlobsState,
                                             carried_count,
                                             vmstate_blobstore_carried,
                                             StreamCarried),
        VMSTATE_BUFFER(proof.nonce, BlobsState),
        VMSTATE_BUFFER(proof.tag, BlobsState),
        VMSTATE_END_OF_LIST()
    },
};

BlobsState *blobstore_blobs_new(BlobStoreObject *store,
                                const IdentityState *identity)
{
    BlobsState *state = g_new0(BlobsState, 1);

    state->store = store;
    state->identity = identity;
    return state;
}

void blobstore_blobs_free(BlobsState *state)
{
    free_carried(state);
    g_free(state);
}
