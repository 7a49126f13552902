/*
 * Blobstore in QEMU: which store it is and which blobs it has
 *
 * The first of two sections, see vmstate.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-migration.h"
#include "migration/options.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "vmstate.h"
#include "trace.h"

enum {
    FORMAT_VERSION = 1,
    BLOBS_MAX = 1024,
};

struct IdentityState {
    BlobStoreObject *store;
    QemuUUID uuid;
    uint32_t format_version;
    BlobSequence sequence;      /* at that time */
    bool encrypted;
    int32_t announced_count;
    StreamAnnounced *announced;
    uint32_t metadata_size;     /* of all of these */
    uint8_t *metadata;          /* of one after the other */

    /* Of an encrypted store only, in a subsection: */
    bool has_keys;
    StreamKeys keys;
    StreamProof proof;          /* of everything above; seals the metadata */
};

static bool announced_count_is_valid(void *opaque, int version_id)
{
    IdentityState *state = opaque;

    return state->announced_count >= 0 && state->announced_count <= BLOBS_MAX;
}

static bool metadata_size_is_valid(void *opaque, int version_id)
{
    IdentityState *state = opaque;

    return state->metadata_size ==
           blobstore_announced_metadata_size(state->announced,
                                             state->announced_count);
}

static void free_announced(IdentityState *state)
{
    g_clear_pointer(&state->announced, g_free);
    state->announced_count = 0;
    g_clear_pointer(&state->metadata, g_free);
    state->metadata_size = 0;
}

/* All that the section says but its metadata and its proof, for that */
static GByteArray *say_all(const IdentityState *state)
{
    static const char label[] = "first section";
    GByteArray *said = g_byte_array_new();

    g_byte_array_append(said, (const uint8_t *)label, sizeof(label));
    g_byte_array_append(said, state->uuid.data, sizeof(state->uuid.data));
    blobstore_stream_say_number(said, state->format_version);
    blobstore_stream_say_sequence(said, &state->sequence);
    blobstore_stream_say_number(said, state->announced_count);
    for (int32_t i = 0; i < state->announced_count; i++) {
        blobstore_announced_say(said, &state->announced[i]);
    }
    blobstore_stream_say_keys(said, &state->keys);
    return said;
}

static bool prove(IdentityState *state, GError **error)
{
    g_autoptr(BlobSeal) seal = NULL;
    g_autoptr(GByteArray) said = NULL;

    memset(&state->proof, 0, sizeof(state->proof));
    if (!state->encrypted) {
        return true;
    }
    blobstore_stream_fill_keys(state->store, &state->keys);
    said = say_all(state);
    seal = blobstore_stream_new_seal(state->store->open.keys.key,
                                     &state->uuid, error);
    return seal && blobstore_stream_seal(seal, said, state->metadata,
                                         state->metadata_size, &state->proof,
                                         error);
}

static bool announce_blobs(IdentityState *state, const GPtrArray *blobs)
{
    GByteArray *metadata = g_byte_array_new();

    free_announced(state);
    state->announced = g_new0(StreamAnnounced, blobs->len);
    state->announced_count = blobs->len;
    for (guint i = 0; i < blobs->len; i++) {
        BlobStoreBlob *blob = g_ptr_array_index(blobs, i);
        StreamAnnounced *to = &state->announced[i];

        blobstore_announced_fill(to, blob, metadata);
        if (!blobstore_announced_is_valid(to)) {
            error_report("blobstore '%s': blob '%s/%s' cannot be migrated",
                         state->store->id, blob->client->owner, blob->name);
            free_announced(state);
            g_byte_array_unref(metadata);
            return false;
        }
    }
    state->metadata_size = metadata->len;
    state->metadata = g_byte_array_free(metadata, FALSE);
    return true;
}

static int identity_pre_save(void *opaque)
{
    IdentityState *state = opaque;
    BlobStoreObject *store = state->store;
    g_autoptr(GPtrArray) blobs = blobstore_stream_sorted_blobs(store);
    g_autoptr(GError) error = NULL;

    if (migrate_colo()) {
        error_report("blobstore '%s': COLO is not supported", store->id);
        return -ENOTSUP;
    }
    if (blobstore_state_is_loading(&store->open.state)) {
        error_report("blobstore '%s': the state of the VM was not loaded "
                     "completely: reset the VM first", store->id);
        return -EINVAL;
    }
    if (!store->open.uuid || blobs->len > BLOBS_MAX) {
        error_report("blobstore '%s' cannot be migrated", store->id);
        return -EINVAL;
    }
    state->uuid = *store->open.uuid;
    state->format_version = FORMAT_VERSION;
    state->sequence = blobstore_state_sequence(store);
    state->encrypted = store->open.keys.key;
    if (!announce_blobs(state, blobs)) {
        return -EINVAL;
    }
    if (!prove(state, &error)) {
        error_report("blobstore '%s': cannot say in the stream which store "
                     "it is: %s", store->id, error->message);
        free_announced(state);
        return -EIO;
    }
    return 0;
}

static int identity_post_save(void *opaque)
{
    free_announced(opaque);
    return 0;
}

static int identity_pre_load(void *opaque)
{
    IdentityState *state = opaque;
    BlobStoreObject *store = state->store;

    /* Each further one would present the PIN to a token again. */
    if (!blobstore_state_may_be_identified(&store->open.state)) {
        Error *err = NULL;

        blobstore_state_event(store, BLOBSTORE_EVENT_LOAD_FAILED);
        error_setg(&err, "the stream says more than once which store it is of");
        return blobstore_stream_fail_load(store, err);
    }
    free_announced(state);
    state->has_keys = false;
    memset(&state->proof, 0, sizeof(state->proof));
    /* No blob counts until the second section has been loaded. */
    blobstore_state_event(store, BLOBSTORE_EVENT_LOAD);
    return 0;
}

/*
 * The content of the medium is not known yet.  For a VM that was migrated in,
 * and is then loaded from a snapshot before it has run, it is.
 */
static bool is_arriving(BlobStoreObject *store)
{
    return blobstore_state_is_incoming(&store->open.state) &&
           runstate_check(RUN_STATE_INMIGRATE);
}

static bool check_uuid(BlobStoreObject *store, const QemuUUID *uuid,
                       Error **errp)
{
    const QemuUUID *wanted = store->props.uuid ? &store->props.uuid_pin : NULL;
    const QemuUUID *known = is_arriving(store) ? wanted : store->open.uuid;

    if (known && !qemu_uuid_is_equal(known, uuid)) {
        g_autofree char *found_text = qemu_uuid_unparse_strdup(uuid);
        g_autofree char *known_text = qemu_uuid_unparse_strdup(known);

        error_setg(errp, "the stream is of the store with uuid %s, but this "
                   "is the one with uuid %s: is drive '%s' the right image?",
                   found_text, known_text, store->drive);
        return false;
    }
    return true;
}

/* A destination with a key takes encrypted stores only, one without none. */
static bool check_encrypted(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    bool wanted = is_arriving(store) ? blobstore_keys_are_wanted(store)
                                     : store->open.keys.key != NULL;

    if (state->encrypted == wanted && state->has_keys == wanted) {
        return true;
    }
    if (is_arriving(store)) {
        error_setg(errp, "the store is %sencrypted at the source, and %s",
                   state->encrypted ? "" : "not ",
                   wanted ? "a key was given here" : "no key was given here");
        error_append_hint(errp, "Start the destination with the same "
                          "key-secret= as the source.\n");
    } else {
        error_setg(errp, "the state was saved when the store was %sencrypted, "
                   "and it is%s", state->encrypted ? "" : "not ",
                   wanted ? "" : " not");
    }
    return false;
}

/* Whether @sequence is that of @from, or a later one */
static bool follows(const BlobSequence *sequence, const BlobSequence *from)
{
    return sequence->number >= from->number &&
           (sequence->number >> 32 != from->number >> 32 ||
            !memcmp(sequence->epoch_id, from->epoch_id,
                    sizeof(from->epoch_id)));
}

/* Refuses a source that is behind the wanted sequence, or beside it. */
static bool check_sequence_pin(BlobStoreObject *store,
                               const BlobSequence *sequence, Error **errp)
{
    const BlobSequence *pin = &store->props.sequence_pin;

    if (!is_arriving(store) || !store->props.min_sequence ||
        follows(sequence, pin)) {
        return true;
    }
    error_setg(errp, "the source is at sequence %" PRIu64 ", which does not "
               "follow min-sequence.number=%" PRIu64, sequence->number,
               pin->number);
    return false;
}

static bool check_commitment_pin(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;

    if (is_arriving(store) && store->props.key_commitment &&
        memcmp(state->keys.commitment, store->props.commitment_pin,
               sizeof(store->props.commitment_pin))) {
        error_setg(errp, "the store in the stream has another key commitment "
                   "than key-commitment= says");
        return false;
    }
    return true;
}

/* Nothing that the section says has been acted on before. */
static bool authenticate(IdentityState *state, const BlobKey *key,
                         Error **errp)
{
    g_autoptr(GByteArray) said = say_all(state);
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobSeal) seal =
        blobstore_stream_new_seal(key, &state->uuid, &error);

    if (!seal) {
        error_setg(errp, "%s", error->message);
        return false;
    }
    if (!blobstore_stream_unseal(seal, said, state->metadata,
                                 state->metadata_size, &state->proof)) {
        error_setg(errp, "what the stream says of the store was not written "
                   "with the key of the store");
        return false;
    }
    return true;
}

/* Returns a reference to the data key, with which the section was made. */
static BlobKey *find_key(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    g_autoptr(BlobKey) key = is_arriving(store)
        ? blobstore_stream_unlock(store, &state->keys, &state->uuid, errp)
        : blob_key_ref(store->open.keys.key);

    if (!key) {
        return NULL;
    }
    if (!blobstore_stream_has_key(&state->keys, key, &state->uuid)) {
        error_setg(errp, "the store is encrypted with another data key than "
                   "in the stream%s", is_arriving(store) ? "" :
                   ": it was rekeyed after that state was saved");
        return NULL;
    }
    return authenticate(state, key, errp) ? g_steal_pointer(&key) : NULL;
}

/* Makes @store the one that comes, whose medium must be able to become it. */
static bool take_identity(IdentityState *state, BlobKey *key, Error **errp)
{
    BlobStoreObject *store = state->store;

    if (key) {
        g_autofree BlobKeySlots *slots = g_new(BlobKeySlots, 1);

        blobstore_stream_get_key_slots(&state->keys, slots);
        blobstore_keys_take(store, key, slots);
    }
    g_free(store->open.uuid);
    store->open.uuid = g_memdup2(&state->uuid, sizeof(state->uuid));
    return blobstore_probe_medium(store, errp);
}

static bool check_identity(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    g_autoptr(BlobKey) key = NULL;

    if (state->format_version > FORMAT_VERSION) {
        error_setg(errp, "the source has format version %" PRIu32 ", this "
                   "QEMU knows %d", state->format_version, FORMAT_VERSION);
        return false;
    }
    if (!check_uuid(store, &state->uuid, errp) ||
        !blobstore_announced_check(store, state->announced,
                                   state->announced_count, errp) ||
        !check_encrypted(state, errp)) {
        return false;
    }
    if (state->encrypted) {
        key = find_key(state, errp);
        if (!key || !check_commitment_pin(state, errp)) {
            return false;
        }
    }
    return check_sequence_pin(store, &state->sequence, errp) &&
           blobstore_announced_offer(store, state->announced,
                                     state->announced_count, state->metadata,
                                     errp) &&
           (!is_arriving(store) || take_identity(state, key, errp));
}

static int identity_post_load(void *opaque, int version_id)
{
    IdentityState *state = opaque;
    Error *err = NULL;
    bool ok = check_identity(state, &err);

    blobstore_state_event(state->store, ok ? BLOBSTORE_EVENT_IDENTIFY
                                           : BLOBSTORE_EVENT_LOAD_FAILED);
    free_announced(state);
    trace_blobstore_load_identity(state->store->id, ok);
    return ok ? 0 : blobstore_stream_fail_load(state->store, err);
}

static bool keys_are_needed(void *opaque)
{
    IdentityState *state = opaque;

    return state->encrypted;
}

static int keys_post_load(void *opaque, int version_id)
{
    IdentityState *state = opaque;

    state->has_keys = true;
    return 0;
}

static const VMStateDescription vmstate_keys = {
    .name = "blobstore-identity/keys",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = keys_are_needed,
    .post_load = keys_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(keys.commitment, IdentityState),
        VMSTATE_BUFFER(keys.slots, IdentityState),
        VMSTATE_UINT8(keys.damaged, IdentityState),
        VMSTATE_BUFFER(proof.nonce, IdentityState),
        VMSTATE_BUFFER(proof.tag, IdentityState),
        VMSTATE_END_OF_LIST()
    },
};

const VMStateDescription vmstate_blobstore_identity = {
    .name = "blobstore-identity",
    .version_id = 1,
    .minimum_version_id = 1,
    .early_setup = true,
    .priority = MIG_PRI_DEFAULT + 1,
    .pre_save = identity_pre_save,
    .post_save = identity_post_save,
    .pre_load = identity_pre_load,
    .post_load = identity_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(uuid.data, IdentityState),
        VMSTATE_UINT32(format_version, IdentityState),
        VMSTATE_UINT64(sequence.number, IdentityState),
        VMSTATE_BUFFER(sequence.epoch_id, IdentityState),
        VMSTATE_BOOL(encrypted, IdentityState),
        VMSTATE_INT32(announced_count, IdentityState),
        VMSTATE_VALIDATE("number of blobs is valid",
                         announced_count_is_valid),
        VMSTATE_STRUCT_VARRAY_ALLOC(announced, IdentityState,
                                    announced_count, 1,
                                    vmstate_blobstore_announced,
                                    StreamAnnounced),
        VMSTATE_UINT32(metadata_size, IdentityState),
        VMSTATE_VALIDATE("size of metadata is valid", metadata_size_is_valid),
        VMSTATE_VBUFFER_ALLOC_UINT32(metadata, IdentityState, 1, NULL,
                                     metadata_size),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *const []) {
        &vmstate_keys,
        NULL
    },
};

IdentityState *blobstore_identity_new(BlobStoreObject *store)
{
    IdentityState *state = g_new0(IdentityState, 1);

    state->store = store;
    return state;
}

void blobstore_identity_free(IdentityState *state)
{
    free_announced(state);
    g_free(state);
}

const StreamProof *blobstore_identity_proof(const IdentityState *state)
{
    return &state->proof;
}

bool blobstore_identity_check_next(const IdentityState *state,
                                   const BlobSequence *sequence,
                                   Error **errp)
{
    if (!follows(sequence, &state->sequence)) {
        error_setg(errp, "sequence %" PRIu64 " at the end of the stream does "
                   "not follow %" PRIu64 " at its beginning",
                   sequence->number, state->sequence.number);
        return false;
    }
    return true;
}
