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

typedef struct Carried {
    BlobStoreBlob *blob;        /* ours */
    uint8_t owner[STREAM_NAME_BYTES];
    uint8_t name[STREAM_NAME_BYTES];
    bool present;
    uint32_t size;              /* of the content */
    uint32_t metadata_size;
    uint32_t payload_size;      /* both */
    uint8_t *payload;           /* "key=value", each with its NUL; content */
    /* Of an encrypted store: of the payload */
    uint8_t nonce[BLOB_NONCE_BYTES];
    uint8_t tag[BLOB_TAG_BYTES];
} Carried;

/* A sealed payload is bound to this; the struct itself does not travel. */
typedef struct CarriedAad {
    uint8_t uuid[BLOB_UUID_BYTES];
    uint8_t owner[STREAM_NAME_BYTES];
    uint8_t name[STREAM_NAME_BYTES];
    uint64_t sequence;
    uint32_t kind;
    uint32_t present;
    uint32_t size;
    uint32_t metadata_size;
} CarriedAad;

QEMU_BUILD_BUG_ON(sizeof(CarriedAad) != 16 + 2 * STREAM_NAME_BYTES + 8 + 16);

struct BlobsState {
    BlobStoreObject *store;
    uint64_t sequence;
    uint8_t epoch_id[BLOB_EPOCH_ID_BYTES];
    uint32_t carried_count;     /* as in the stream */
    uint32_t carried_length;    /* of the array */
    Carried *carried;           /* ordered by owner and name */
};

static bool carried_count_is_ours(void *opaque, int version_id)
{
    BlobsState *state = opaque;

    return state->carried_count == state->carried_length;
}

static bool carried_is_ours(void *opaque, int version_id)
{
    Carried *carried = opaque;
    BlobStoreBlob *blob = carried->blob;

    return blobstore_stream_is_name(carried->owner) &&
           blobstore_stream_is_name(carried->name) &&
           !strcmp(blobstore_stream_name(carried->owner),
                   blob->client->owner) &&
           !strcmp(blobstore_stream_name(carried->name), blob->name);
}

static bool size_is_valid(void *opaque, int version_id)
{
    Carried *carried = opaque;

    return carried->size <= (carried->present ? carried->blob->max_size : 0);
}

static bool metadata_size_is_valid(void *opaque, int version_id)
{
    Carried *carried = opaque;

    return carried->metadata_size <=
           (carried->present ? BLOBSTORE_METADATA_MAX_BYTES : 0);
}

static bool payload_size_is_valid(void *opaque, int version_id)
{
    Carried *carried = opaque;

    return carried->payload_size == carried->size + carried->metadata_size;
}

/* Splits metadata that is_valid into strings. */
static char **split_metadata(const Carried *carried)
{
    GPtrArray *metadata = g_ptr_array_new();
    uint32_t at = 0;

    while (at < carried->metadata_size) {
        const char *text = (const char *)carried->payload + at;

        g_ptr_array_add(metadata, g_strdup(text));
        at += strlen(text) + 1;
    }
    g_ptr_array_add(metadata, NULL);
    return (char **)g_ptr_array_free(metadata, FALSE);
}

static bool metadata_is_valid(const Carried *carried)
{
    g_auto(GStrv) metadata = NULL;

    if (!carried->metadata_size) {
        return true;
    }
    if (carried->payload[carried->metadata_size - 1]) {
        return false;
    }
    metadata = split_metadata(carried);
    return blob_metadata_is_valid((const char *const *)metadata);
}

static const VMStateDescription vmstate_carried = {
    .name = "blobstore/blob",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(owner, Carried),
        VMSTATE_BUFFER(name, Carried),
        VMSTATE_VALIDATE("blob is the expected one", carried_is_ours),
        VMSTATE_BOOL(present, Carried),
        VMSTATE_UINT32(size, Carried),
        VMSTATE_VALIDATE("size is valid", size_is_valid),
        VMSTATE_UINT32(metadata_size, Carried),
        VMSTATE_VALIDATE("metadata size is valid", metadata_size_is_valid),
        VMSTATE_UINT32(payload_size, Carried),
        VMSTATE_VALIDATE("payload size is valid", payload_size_is_valid),
        VMSTATE_VBUFFER_ALLOC_UINT32(payload, Carried, 1, NULL, payload_size),
        VMSTATE_BUFFER(nonce, Carried),
        VMSTATE_BUFFER(tag, Carried),
        VMSTATE_END_OF_LIST()
    },
};

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
    state->carried = g_new0(Carried, blobs->len);
    state->carried_count = blobs->len;
    state->carried_length = blobs->len;
    for (guint i = 0; i < blobs->len; i++) {
        state->carried[i].blob = g_ptr_array_index(blobs, i);
    }
}

static void fill_carried(Carried *carried)
{
    BlobStoreBlob *blob = carried->blob;
    g_autoptr(BlobStoreVersion) version = blobstore_version_latest(blob);
    GByteArray *payload = g_byte_array_new();

    blobstore_stream_set_name(carried->owner, blob->client->owner);
    blobstore_stream_set_name(carried->name, blob->name);
    if (version->content) {
        gsize size;
        const uint8_t *content = g_bytes_get_data(version->content, &size);

        for (char **entry = version->metadata; *entry; entry++) {
            g_byte_array_append(payload, (uint8_t *)*entry,
                                strlen(*entry) + 1);
        }
        carried->present = true;
        carried->metadata_size = payload->len;
        carried->size = size;
        g_byte_array_append(payload, content, size);
    }
    carried->payload_size = payload->len;
    carried->payload = g_byte_array_free(payload, FALSE);
}

/* QEMU validates outgoing fields too, and aborts: so this checks before. */
static bool carried_is_valid(Carried *carried, int version_id)
{
    return carried_is_ours(carried, version_id) &&
           size_is_valid(carried, version_id) &&
           metadata_size_is_valid(carried, version_id) &&
           payload_size_is_valid(carried, version_id);
}

static void make_aad(const BlobsState *state, const Carried *carried,
                     const QemuUUID *uuid, CarriedAad *aad)
{
    *aad = (CarriedAad) {
        .sequence = cpu_to_le64(state->sequence),
        .kind = cpu_to_le32(carried->blob->kind),
        .present = cpu_to_le32(carried->present),
        .size = cpu_to_le32(carried->size),
        .metadata_size = cpu_to_le32(carried->metadata_size),
    };
    memcpy(aad->uuid, uuid->data, sizeof(aad->uuid));
    memcpy(aad->owner, carried->owner, sizeof(aad->owner));
    memcpy(aad->name, carried->name, sizeof(aad->name));
}

/* No content of an encrypted store leaves QEMU in plain text. */
static bool seal_all(BlobsState *state, GError **error)
{
    g_autoptr(BlobSeal) seal = NULL;
    const QemuUUID *uuid = state->store->open.uuid;

    if (!state->store->open.keys.key) {
        return true;
    }
    seal = blob_key_new_seal(state->store->open.keys.key, BLOB_KEY_FOR_STREAM,
                             uuid->data, error);
    for (uint32_t i = 0; seal && i < state->carried_count; i++) {
        Carried *carried = &state->carried[i];
        CarriedAad aad;

        make_aad(state, carried, uuid, &aad);
        if (!blob_seal_encrypt(seal, &aad, sizeof(aad), carried->payload,
                               carried->payload_size, carried->nonce,
                               carried->tag, error)) {
            return false;
        }
    }
    return seal;
}

static bool unseal(BlobSeal *seal, const BlobsState *state, Carried *carried)
{
    CarriedAad aad;

    make_aad(state, carried, state->store->open.uuid, &aad);
    return blob_seal_decrypt(seal, &aad, sizeof(aad), carried->payload,
                             carried->payload_size, carried->nonce,
                             carried->tag);
}

/* Authenticates all payloads; none has been used before. */
static bool unseal_all(BlobsState *state, GError **error)
{
    BlobStoreObject *store = state->store;
    g_autoptr(BlobSeal) seal = NULL;

    if (store->open.keys.key) {
        seal = blob_key_new_seal(store->open.keys.key, BLOB_KEY_FOR_STREAM,
                                 store->open.uuid->data, error);
        if (!seal) {
            return false;
        }
    }
    for (uint32_t i = 0; i < state->carried_count; i++) {
        Carried *carried = &state->carried[i];

        if (seal && !unseal(seal, state, carried)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAMPERED,
                        "blob '%s/%s' in the stream was not written with the "
                        "key of the store",
                        blobstore_stream_name(carried->owner),
                        blobstore_stream_name(carried->name));
            return false;
        }
        if (!metadata_is_valid(carried)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                        "metadata of blob '%s/%s' in the stream is not valid",
                        blobstore_stream_name(carried->owner),
                        blobstore_stream_name(carried->name));
            return false;
        }
    }
    return true;
}

static int blobs_pre_save(void *opaque)
{
    BlobsState *state = opaque;
    BlobStoreObject *store = state->store;
    BlobStoreClient *client;
    g_autoptr(GError) error = NULL;
    BlobSequence sequence;
    uint64_t bytes = 0;

    QTAILQ_FOREACH(client, &store->clients, next) {
        Error *err = NULL;

        if (client->ops && client->ops->save &&
            !client->ops->save(client->opaque, &err)) {
            error_prepend(&err, "blobstore '%s': cannot save the state of "
                          "'%s': ", store->id, client->owner);
            error_report_err(err);
            return -EIO;
        }
    }
    make_carried(state);
    sequence = blobstore_state_sequence(store);
    state->sequence = sequence.number;
    memcpy(state->epoch_id, sequence.epoch_id, sizeof(state->epoch_id));
    for (uint32_t i = 0; i < state->carried_count; i++) {
        Carried *carried = &state->carried[i];

        fill_carried(carried);
        if (!carried_is_valid(carried, vmstate_carried.version_id)) {
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
static void take_carried(const Carried *carried)
{
    g_auto(GStrv) metadata = split_metadata(carried);
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

    if (state->sequence >> 32 > EPOCH_MAX) {
        error_setg(errp, "sequence %" PRIu64 " in the stream is too high",
                   state->sequence);
        return false;
    }
    if (!unseal_all(state, &error)) {
        error_setg(errp, "%s", error->message);
        return false;
    }
    return true;
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
        Carried *carried = &state->carried[i];
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
    store->open.sequence.number = state->sequence;
    memcpy(store->open.sequence.epoch_id, state->epoch_id,
           sizeof(state->epoch_id));
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
        VMSTATE_UINT64(sequence, BlobsState),
        VMSTATE_BUFFER(epoch_id, BlobsState),
        VMSTATE_UINT32(carried_count, BlobsState),
        VMSTATE_VALIDATE("number of blobs is ours", carried_count_is_ours),
        VMSTATE_STRUCT_VARRAY_POINTER_UINT32(carried, BlobsState,
                                             carried_count, vmstate_carried,
                                             Carried),
        VMSTATE_END_OF_LIST()
    },
};

BlobsState *blobstore_blobs_new(BlobStoreObject *store)
{
    BlobsState *state = g_new0(BlobsState, 1);

    state->store = store;
    return state;
}

void blobstore_blobs_free(BlobsState *state)
{
    free_carried(state);
    g_free(state);
}
