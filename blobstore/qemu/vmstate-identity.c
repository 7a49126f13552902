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

/* The blob @owner/@name */
typedef struct Announced {
    uint8_t owner[STREAM_NAME_BYTES];
    uint8_t name[STREAM_NAME_BYTES];
    uint8_t kind;
    uint64_t max_size;
} Announced;

struct IdentityState {
    BlobStoreObject *store;
    uint8_t uuid[BLOB_UUID_BYTES];
    uint32_t format_version;
    uint64_t sequence;          /* at that time */
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    bool encrypted;
    int32_t announced_count;
    Announced *announced;

    /* Of an encrypted store only, in a subsection: */
    bool has_keys;
    uint8_t key_commitment[BLOB_KEY_COMMITMENT_BYTES];
    uint8_t key_slots[BLOB_KEY_SLOTS * BLOB_KEY_SLOT_BYTES];
    uint8_t damaged_key_slots;  /* a bit for each */
};

static bool announced_count_is_valid(void *opaque, int version_id)
{
    IdentityState *state = opaque;

    return state->announced_count >= 0 && state->announced_count <= BLOBS_MAX;
}

static bool announced_is_valid(void *opaque, int version_id)
{
    Announced *blob = opaque;

    return blobstore_stream_is_name(blob->owner) &&
           blobstore_stream_is_name(blob->name) &&
           blob->kind <= BLOBSTORE_VOLATILE && blob->max_size >= 1 &&
           blob->max_size <= BLOBSTORE_MAX_BLOB_BYTES;
}

static const VMStateDescription vmstate_announced = {
    .name = "blobstore-identity/blob",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(owner, Announced),
        VMSTATE_BUFFER(name, Announced),
        VMSTATE_UINT8(kind, Announced),
        VMSTATE_UINT64(max_size, Announced),
        VMSTATE_VALIDATE("blob is valid", announced_is_valid),
        VMSTATE_END_OF_LIST()
    },
};

static void free_announced(IdentityState *state)
{
    g_clear_pointer(&state->announced, g_free);
    state->announced_count = 0;
}

static void fill_keys(IdentityState *state)
{
    const BlobStoreObject *store = state->store;

    blob_key_commit(store->open.keys.key, state->uuid, state->key_commitment);
    QEMU_BUILD_BUG_ON(sizeof(state->key_slots) !=
                      sizeof(store->open.keys.slots.bytes));
    memcpy(state->key_slots, store->open.keys.slots.bytes,
           sizeof(state->key_slots));
    QEMU_BUILD_BUG_ON(BLOB_KEY_SLOTS > 8);
    state->damaged_key_slots = 0;
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        state->damaged_key_slots |= store->open.keys.slots.damaged[n] << n;
    }
}

static int identity_pre_save(void *opaque)
{
    IdentityState *state = opaque;
    BlobStoreObject *store = state->store;
    g_autoptr(GPtrArray) blobs = blobstore_stream_sorted_blobs(store);
    BlobSequence sequence;

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
    memcpy(state->uuid, store->open.uuid->data, sizeof(state->uuid));
    state->format_version = FORMAT_VERSION;
    sequence = blobstore_state_sequence(store);
    state->sequence = sequence.number;
    memcpy(state->epoch_id, sequence.epoch_id, sizeof(state->epoch_id));
    state->encrypted = store->open.keys.key;
    if (store->open.keys.key) {
        fill_keys(state);
    }
    free_announced(state);
    state->announced = g_new0(Announced, blobs->len);
    state->announced_count = blobs->len;
    for (guint i = 0; i < blobs->len; i++) {
        const BlobStoreBlob *blob = g_ptr_array_index(blobs, i);
        Announced *to = &state->announced[i];

        blobstore_stream_set_name(to->owner, blob->client->owner);
        blobstore_stream_set_name(to->name, blob->name);
        to->kind = blob->kind;
        to->max_size = blob->max_size;
        if (!announced_is_valid(to, FORMAT_VERSION)) {
            error_report("blobstore '%s': blob '%s/%s' cannot be migrated",
                         store->id, blob->client->owner, blob->name);
            free_announced(state);
            return -EINVAL;
        }
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

    free_announced(state);
    state->has_keys = false;
    /* No blob counts until the second section has been loaded. */
    blobstore_state_event(state->store, BLOBSTORE_EVENT_LOAD);
    return 0;
}

static bool check_announced(const Announced *blob, const BlobStoreBlob *ours,
                            Error **errp)
{
    if (blob->kind != ours->kind) {
        error_setg(errp, "blob '%s/%s' is of another kind here",
                   blobstore_stream_name(blob->owner),
                   blobstore_stream_name(blob->name));
        return false;
    }
    if (blob->max_size > ours->max_size) {
        error_setg(errp,
                   "blob '%s/%s' may have %" PRIu64 " bytes at the "
                   "source, %" PRIu64 " here",
                   blobstore_stream_name(blob->owner),
                   blobstore_stream_name(blob->name), blob->max_size,
                   ours->max_size);
        return false;
    }
    return true;
}

static int compare_announced(const Announced *blob, const BlobStoreBlob *ours)
{
    return strcmp(blobstore_stream_name(blob->owner), ours->client->owner) ?:
           strcmp(blobstore_stream_name(blob->name), ours->name);
}

/* Both sides must have the same blobs; both lists are in order. */
static bool check_all_announced(IdentityState *state, Error **errp)
{
    g_autoptr(GPtrArray) blobs = blobstore_stream_sorted_blobs(state->store);
    guint n = 0;

    for (int32_t i = 0; i < state->announced_count || n < blobs->len; ) {
        const Announced *blob =
            i < state->announced_count ? &state->announced[i] : NULL;
        const BlobStoreBlob *ours =
            n < blobs->len ? g_ptr_array_index(blobs, n) : NULL;
        int order = !blob ? 1 : !ours ? -1 : compare_announced(blob, ours);

        if (order) {
            error_setg(
                errp, "blob '%s/%s' is %s",
                order < 0 ? blobstore_stream_name(blob->owner)
                          : ours->client->owner,
                order < 0 ? blobstore_stream_name(blob->name) : ours->name,
                order < 0 ? "at the source, but no device here uses it"
                          : "used by a device here, but not at the source");
            return false;
        }
        if (!check_announced(blob, ours, errp)) {
            return false;
        }
        i++;
        n++;
    }
    return true;
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
        error_append_hint(errp, "Give the destination the same encrypt "
                          "property as the source.\n");
    } else {
        error_setg(errp, "the state was saved when the store was %sencrypted, "
                   "and it is%s", state->encrypted ? "" : "not ",
                   wanted ? "" : " not");
    }
    return false;
}

/* Refuses a source that is behind the wanted sequence, or beside it. */
static bool check_sequence(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    const BlobSequence *pin = &store->props.sequence_pin;

    if (!is_arriving(store) || !store->props.min_sequence) {
        return true;
    }
    if (state->sequence < pin->number ||
        (state->sequence >> 32 == pin->number >> 32 &&
         memcmp(state->epoch_id, pin->epoch_id, sizeof(pin->epoch_id)))) {
        error_setg(errp, "the source is at sequence %" PRIu64 ", which does "
                   "not follow min-sequence.number=%" PRIu64,
                   state->sequence, pin->number);
        return false;
    }
    return true;
}

static bool check_commitment(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];

    blob_key_commit(store->open.keys.key, state->uuid, commitment);
    if (memcmp(commitment, state->key_commitment, sizeof(commitment))) {
        error_setg(errp, "the store is encrypted with another data key than "
                   "in the stream%s", is_arriving(store) ? "" :
                   ": it was rekeyed after that state was saved");
        return false;
    }
    if (is_arriving(store) && store->props.key_commitment &&
        memcmp(commitment, store->props.commitment_pin, sizeof(commitment))) {
        error_setg(errp, "the store in the stream has another key commitment "
                   "than key-commitment= says");
        return false;
    }
    return true;
}

static bool coroutine_fn call_take_key(BlobStoreObject *store, void *opaque,
                                       Error **errp)
{
    IdentityState *state = opaque;
    g_autofree BlobKeySlots *slots = g_new0(BlobKeySlots, 1);
    GError *error = NULL;
    QemuUUID uuid;

    memcpy(slots->bytes, state->key_slots, sizeof(slots->bytes));
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        slots->damaged[n] = state->damaged_key_slots >> n & 1;
    }
    memcpy(uuid.data, state->uuid, sizeof(uuid.data));
    if (!blobstore_keys_take(store, slots, &uuid, &error)) {
        blobstore_report_propagate(store, error, errp);
        return false;
    }
    return true;
}

static bool check_key(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;

    if (!check_encrypted(state, errp)) {
        return false;
    }
    if (!state->encrypted) {
        return true;
    }
    if (is_arriving(store) &&
        !blobstore_call_core(store, call_take_key, state, errp)) {
        return false;
    }
    return check_commitment(state, errp);
}

static bool check_identity(IdentityState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    QemuUUID uuid;

    memcpy(uuid.data, state->uuid, sizeof(uuid.data));
    if (state->format_version > FORMAT_VERSION) {
        error_setg(errp, "the source has format version %" PRIu32 ", this "
                   "QEMU knows %d", state->format_version, FORMAT_VERSION);
        return false;
    }
    if (!check_uuid(store, &uuid, errp) ||
        !check_all_announced(state, errp) ||
        !check_sequence(state, errp) || !check_key(state, errp)) {
        return false;
    }
    if (is_arriving(store)) {
        g_free(store->open.uuid);
        store->open.uuid = g_memdup2(&uuid, sizeof(uuid));
        return blobstore_probe_medium(store, errp);
    }
    return true;
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

/* What a blank medium needs to become the same store */
static const VMStateDescription vmstate_keys = {
    .name = "blobstore-identity/keys",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = keys_are_needed,
    .post_load = keys_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(key_commitment, IdentityState),
        VMSTATE_BUFFER(key_slots, IdentityState),
        VMSTATE_UINT8(damaged_key_slots, IdentityState),
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
        VMSTATE_BUFFER(uuid, IdentityState),
        VMSTATE_UINT32(format_version, IdentityState),
        VMSTATE_UINT64(sequence, IdentityState),
        VMSTATE_BUFFER(epoch_id, IdentityState),
        VMSTATE_BOOL(encrypted, IdentityState),
        VMSTATE_INT32(announced_count, IdentityState),
        VMSTATE_VALIDATE("number of blobs is valid",
                         announced_count_is_valid),
        VMSTATE_STRUCT_VARRAY_ALLOC(announced, IdentityState,
                                    announced_count, 1, vmstate_announced,
                                    Announced),
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
