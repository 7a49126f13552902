/*
 * Blobstore in QEMU: what of a store travels with the state of the VM
 *
 * Two sections.  The first comes while the source still runs: which store it
 * is and which blobs it has, so that a destination that cannot take it says
 * so in time.  The second comes when the VM has stopped: the blobs.  It goes
 * ahead of the devices', which have the default priority.
 *
 * Whoever sends the stream is not trusted: what follows a length, a count or
 * a name is only read, and only gets memory, after that has been checked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/vmstate-if.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qapi/qapi-types-migration.h"
#include "migration/options.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "glue.h"
#include "blobstore/trace.h"

enum {
    FORMAT_VERSION = 1,
    NAME_BUFFER_BYTES = BLOBSTORE_NAME_MAX_BYTES + 1,
    BLOBS_MAX = 1024,
    /* What no store reaches by itself, and leaves enough to go on with */
    EPOCH_MAX = INT32_MAX,
};

/* The blob @owner/@name as the first section announces it */
typedef struct Announced {
    uint8_t owner[NAME_BUFFER_BYTES];
    uint8_t name[NAME_BUFFER_BYTES];
    uint8_t kind;
    uint64_t max_size;
} Announced;

/* ... and as it is in the second */
typedef struct Carried {
    BlobStoreBlob *blob;        /* ours */
    uint8_t owner[NAME_BUFFER_BYTES];
    uint8_t name[NAME_BUFFER_BYTES];
    bool present;
    uint32_t size;
    uint8_t *content;
    uint32_t metadata_size;
    uint8_t *metadata;          /* "key=value", each with its NUL */
} Carried;

struct BlobStoreVMState {
    BlobStoreObject *store;

    /* First section */
    uint8_t uuid[BLOB_UUID_BYTES];
    uint32_t format_version;
    int32_t announced_count;
    Announced *announced;

    /* Second section; the blobs ordered by owner and name */
    uint64_t sequence;
    uint32_t carried_count;     /* as in the stream */
    uint32_t carried_length;    /* of the array */
    Carried *carried;
};

static gint compare_blobs(gconstpointer a, gconstpointer b)
{
    const BlobStoreBlob *x = *(BlobStoreBlob *const *)a;
    const BlobStoreBlob *y = *(BlobStoreBlob *const *)b;

    return strcmp(x->client->owner, y->client->owner) ?:
           strcmp(x->name, y->name);
}

/* In the same order on both sides, whatever came first there */
static GPtrArray *sorted_blobs(BlobStoreObject *store)
{
    GPtrArray *blobs = g_ptr_array_new();
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            g_ptr_array_add(blobs, blob);
        }
    }
    g_ptr_array_sort(blobs, compare_blobs);
    return blobs;
}

static const char *text(const uint8_t name[NAME_BUFFER_BYTES])
{
    return (const char *)name;
}

static void set_text(uint8_t name[NAME_BUFFER_BYTES], const char *from)
{
    pstrcpy((char *)name, NAME_BUFFER_BYTES, from);
}

static bool is_name(const uint8_t name[NAME_BUFFER_BYTES])
{
    return memchr(name, 0, NAME_BUFFER_BYTES) &&
           blob_name_is_valid(text(name));
}

/* The first section */

static bool announced_count_is_valid(void *opaque, int version_id)
{
    BlobStoreVMState *state = opaque;

    return state->announced_count >= 0 && state->announced_count <= BLOBS_MAX;
}

static bool announced_is_valid(void *opaque, int version_id)
{
    Announced *blob = opaque;

    return is_name(blob->owner) && is_name(blob->name) &&
           blob->kind <= BLOBSTORE_VOLATILE &&
           blob->max_size >= 1 && blob->max_size <= BLOBSTORE_MAX_BLOB_BYTES;
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

static void free_announced(BlobStoreVMState *state)
{
    g_clear_pointer(&state->announced, g_free);
    state->announced_count = 0;
}

static int identity_pre_save(void *opaque)
{
    BlobStoreVMState *state = opaque;
    BlobStoreObject *store = state->store;
    g_autoptr(GPtrArray) blobs = sorted_blobs(store);
    QemuUUID uuid;

    if (migrate_colo()) {
        error_report("blobstore '%s': COLO is not supported", store->id);
        return -ENOTSUP;
    }
    if (store->loading) {
        error_report("blobstore '%s': the state of the VM was not loaded "
                     "completely: reset the VM first", store->id);
        return -EINVAL;
    }
    if (!store->medium_uuid || blobs->len > BLOBS_MAX) {
        error_report("blobstore '%s' cannot be migrated", store->id);
        return -EINVAL;
    }
    qemu_uuid_parse(store->medium_uuid, &uuid);
    memcpy(state->uuid, uuid.data, sizeof(state->uuid));
    state->format_version = FORMAT_VERSION;
    free_announced(state);
    state->announced = g_new0(Announced, blobs->len);
    state->announced_count = blobs->len;
    for (guint i = 0; i < blobs->len; i++) {
        const BlobStoreBlob *blob = g_ptr_array_index(blobs, i);
        Announced *to = &state->announced[i];

        set_text(to->owner, blob->client->owner);
        set_text(to->name, blob->name);
        to->kind = blob->kind;
        to->max_size = blob->max_size;
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
    BlobStoreVMState *state = opaque;

    free_announced(state);
    /* Nothing counts until the second section has been loaded. */
    state->store->loading = true;
    return 0;
}

static bool check_announced(const Announced *blob, const BlobStoreBlob *ours,
                            Error **errp)
{
    if (blob->kind != ours->kind) {
        error_setg(errp, "blob '%s/%s' is of another kind here",
                   text(blob->owner), text(blob->name));
        return false;
    }
    if (blob->max_size > ours->max_size) {
        error_setg(errp, "blob '%s/%s' may have %" PRIu64 " bytes at the "
                   "source, %" PRIu64 " here", text(blob->owner),
                   text(blob->name), blob->max_size, ours->max_size);
        return false;
    }
    return true;
}

static int compare_announced(const Announced *blob, const BlobStoreBlob *ours)
{
    return strcmp(text(blob->owner), ours->client->owner) ?:
           strcmp(text(blob->name), ours->name);
}

/* Both sides must have the same blobs; both lists are in order. */
static bool check_all_announced(BlobStoreVMState *state, Error **errp)
{
    g_autoptr(GPtrArray) blobs = sorted_blobs(state->store);
    guint n = 0;

    for (int32_t i = 0; i < state->announced_count || n < blobs->len; ) {
        const Announced *blob =
            i < state->announced_count ? &state->announced[i] : NULL;
        const BlobStoreBlob *ours =
            n < blobs->len ? g_ptr_array_index(blobs, n) : NULL;
        int order = !blob ? 1 : !ours ? -1 : compare_announced(blob, ours);

        if (order) {
            error_setg(errp, "blob '%s/%s' is %s", order < 0 ?
                       text(blob->owner) : ours->client->owner,
                       order < 0 ? text(blob->name) : ours->name, order < 0 ?
                       "at the source, but no device here uses it" :
                       "used by a device here, but not at the source");
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

static bool check_uuid(BlobStoreObject *store, const char *uuid, Error **errp)
{
    const char *known = store->incoming ? store->uuid : store->medium_uuid;

    if (known && g_ascii_strcasecmp(known, uuid)) {
        error_setg(errp, "the stream is of the store with uuid %s, but this "
                   "is the one with uuid %s: is drive '%s' the right image?",
                   uuid, known, store->drive);
        return false;
    }
    return true;
}

static bool check_identity(BlobStoreVMState *state, Error **errp)
{
    BlobStoreObject *store = state->store;
    g_autofree char *uuid = NULL;
    QemuUUID parsed;

    memcpy(parsed.data, state->uuid, sizeof(parsed.data));
    uuid = qemu_uuid_unparse_strdup(&parsed);
    if (state->format_version > FORMAT_VERSION) {
        error_setg(errp, "the source has format version %" PRIu32 ", this "
                   "QEMU knows %d", state->format_version, FORMAT_VERSION);
        return false;
    }
    if (!check_uuid(store, uuid, errp) ||
        !check_all_announced(state, errp)) {
        return false;
    }
    if (store->incoming) {
        g_free(store->medium_uuid);
        store->medium_uuid = g_steal_pointer(&uuid);
        return blobstore_probe_medium(store, errp);
    }
    return true;
}

static int fail_load(BlobStoreObject *store, Error *err)
{
    error_prepend(&err, "blobstore '%s': ", store->id);
    trace_blobstore_load_failed(store->id, error_get_pretty(err));
    error_report_err(err);
    return -EINVAL;
}

static int identity_post_load(void *opaque, int version_id)
{
    BlobStoreVMState *state = opaque;
    Error *err = NULL;
    bool ok = check_identity(state, &err);

    free_announced(state);
    trace_blobstore_load_identity(state->store->id,
                                  state->store->medium_uuid ?: "", ok);
    return ok ? 0 : fail_load(state->store, err);
}

static const VMStateDescription vmstate_identity = {
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
        VMSTATE_BUFFER(uuid, BlobStoreVMState),
        VMSTATE_UINT32(format_version, BlobStoreVMState),
        VMSTATE_INT32(announced_count, BlobStoreVMState),
        VMSTATE_VALIDATE("number of blobs is valid",
                         announced_count_is_valid),
        VMSTATE_STRUCT_VARRAY_ALLOC(announced, BlobStoreVMState,
                                    announced_count, 1, vmstate_announced,
                                    Announced),
        VMSTATE_END_OF_LIST()
    },
};

/* The second section */

static bool carried_count_is_ours(void *opaque, int version_id)
{
    BlobStoreVMState *state = opaque;

    return state->carried_count == state->carried_length;
}

static bool sequence_is_valid(void *opaque, int version_id)
{
    BlobStoreVMState *state = opaque;

    return state->sequence >> 32 <= EPOCH_MAX;
}

static bool carried_is_ours(void *opaque, int version_id)
{
    Carried *carried = opaque;
    BlobStoreBlob *blob = carried->blob;

    return is_name(carried->owner) && is_name(carried->name) &&
           !strcmp(text(carried->owner), blob->client->owner) &&
           !strcmp(text(carried->name), blob->name);
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

static char **split_metadata(const Carried *carried)
{
    GPtrArray *metadata = g_ptr_array_new();
    uint32_t at = 0;

    while (at < carried->metadata_size) {
        const char *text = (const char *)carried->metadata + at;

        g_ptr_array_add(metadata, g_strdup(text));
        at += strlen(text) + 1;
    }
    g_ptr_array_add(metadata, NULL);
    return (char **)g_ptr_array_free(metadata, FALSE);
}

static bool metadata_is_valid(void *opaque, int version_id)
{
    Carried *carried = opaque;
    g_auto(GStrv) metadata = NULL;

    if (!carried->metadata_size) {
        return true;
    }
    if (carried->metadata[carried->metadata_size - 1]) {
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
        VMSTATE_VBUFFER_ALLOC_UINT32(content, Carried, 1, NULL, size),
        VMSTATE_UINT32(metadata_size, Carried),
        VMSTATE_VALIDATE("metadata size is valid", metadata_size_is_valid),
        VMSTATE_VBUFFER_ALLOC_UINT32(metadata, Carried, 1, NULL,
                                     metadata_size),
        VMSTATE_VALIDATE("metadata is valid", metadata_is_valid),
        VMSTATE_END_OF_LIST()
    },
};

static void free_carried(BlobStoreVMState *state)
{
    for (uint32_t i = 0; i < state->carried_length; i++) {
        g_free(state->carried[i].content);
        g_free(state->carried[i].metadata);
    }
    g_clear_pointer(&state->carried, g_free);
    state->carried_length = 0;
}

static void make_carried(BlobStoreVMState *state)
{
    g_autoptr(GPtrArray) blobs = sorted_blobs(state->store);

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
    g_autoptr(BlobVersion) version = blobstore_latest_version(blob);
    g_autoptr(GByteArray) metadata = g_byte_array_new();

    set_text(carried->owner, blob->client->owner);
    set_text(carried->name, blob->name);
    if (!version->content) {
        return;
    }
    carried->present = true;
    carried->size = g_bytes_get_size(version->content);
    carried->content = g_memdup2(g_bytes_get_data(version->content, NULL),
                                 carried->size);
    for (char **entry = version->metadata; *entry; entry++) {
        g_byte_array_append(metadata, (uint8_t *)*entry, strlen(*entry) + 1);
    }
    carried->metadata_size = metadata->len;
    carried->metadata = g_byte_array_free(g_steal_pointer(&metadata), FALSE);
}

static int blobs_pre_save(void *opaque)
{
    BlobStoreVMState *state = opaque;
    BlobStoreObject *store = state->store;
    BlobStoreClient *client;
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
    state->sequence = store->sequence;
    for (uint32_t i = 0; i < state->carried_count; i++) {
        fill_carried(&state->carried[i]);
        bytes += state->carried[i].size;
    }
    /*
     * Somebody else may write to the medium before the VM goes on here.  And
     * what comes after a snapshot must not look like what was before it.
     */
    store->reopen = true;
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
    BlobStoreVMState *state = opaque;

    make_carried(state);
    /* Until the number in the stream has been compared with it */
    state->store->loading = true;
    return 0;
}

/* The stream wins over RAM and medium.  Also if a blob is absent in it. */
static void take_carried(const Carried *carried)
{
    g_auto(GStrv) metadata = split_metadata(carried);
    g_autoptr(GBytes) content = carried->present ?
        g_bytes_new(carried->content, carried->size) : NULL;
    g_autoptr(BlobVersion) version =
        blob_version_new(content, (const char *const *)metadata);

    blobstore_replace(carried->blob, version);
}

static int blobs_post_load(void *opaque, int version_id)
{
    BlobStoreVMState *state = opaque;
    BlobStoreObject *store = state->store;
    BlobStoreClient *client;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < state->carried_count; i++) {
        take_carried(&state->carried[i]);
        bytes += state->carried[i].size;
    }
    trace_blobstore_load(store->id, state->carried_count, bytes);
    free_carried(state);
    store->sequence = state->sequence;
    store->reopen = true;
    store->write_failed = false;
    QTAILQ_FOREACH(client, &store->clients, next) {
        Error *err = NULL;

        if (client->ops && client->ops->load &&
            !client->ops->load(client->opaque, &err)) {
            error_prepend(&err, "cannot load the state of '%s': ",
                          client->owner);
            return fail_load(store, err);
        }
    }
    store->loading = false;
    return 0;
}

static const VMStateDescription vmstate_blobs = {
    .name = "blobstore",
    .version_id = 1,
    .minimum_version_id = 1,
    .priority = MIG_PRI_DEFAULT + 1,
    .pre_save = blobs_pre_save,
    .post_save = blobs_post_save,
    .pre_load = blobs_pre_load,
    .post_load = blobs_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(sequence, BlobStoreVMState),
        VMSTATE_VALIDATE("sequence is valid", sequence_is_valid),
        VMSTATE_UINT32(carried_count, BlobStoreVMState),
        VMSTATE_VALIDATE("number of blobs is ours", carried_count_is_ours),
        VMSTATE_STRUCT_VARRAY_POINTER_UINT32(carried, BlobStoreVMState,
                                             carried_count, vmstate_carried,
                                             Carried),
        VMSTATE_END_OF_LIST()
    },
};

bool blobstore_vmstate_register(BlobStoreObject *store, Error **errp)
{
    VMStateIf *owner = VMSTATE_IF(store);

    store->vmstate = g_new0(BlobStoreVMState, 1);
    store->vmstate->store = store;
    if (vmstate_register_with_alias_id(owner, 0, &vmstate_identity,
                                       store->vmstate, -1, 0, errp) < 0 ||
        vmstate_register_with_alias_id(owner, 0, &vmstate_blobs,
                                       store->vmstate, -1, 0, errp) < 0) {
        blobstore_vmstate_unregister(store);
        return false;
    }
    return true;
}

void blobstore_vmstate_unregister(BlobStoreObject *store)
{
    VMStateIf *owner = VMSTATE_IF(store);

    if (store->vmstate) {
        vmstate_unregister(owner, &vmstate_identity, store->vmstate);
        vmstate_unregister(owner, &vmstate_blobs, store->vmstate);
        free_announced(store->vmstate);
        free_carried(store->vmstate);
        g_clear_pointer(&store->vmstate, g_free);
    }
}
