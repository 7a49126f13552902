/*
 * Blobstore in QEMU: QMP blobstore-info
 *
 * Nothing here does I/O or waits.  The core answers these questions while it
 * waits for I/O as well, with what was acknowledged last.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qemu/uuid.h"
#include "blobstore/crypto/digest.h"
#include "glue.h"

static BlobstoreCondition condition_of(BlobStoreObject *store)
{
    if (store->open.health.failure ||
        (blobstore_state_is_loading(&store->open.state) &&
         !blobstore_state_is_incoming(&store->open.state))) {
        return BLOBSTORE_CONDITION_FAILED;
    }
    if (blobstore_state_is_incoming(&store->open.state) ||
        !blobstore_drive_is_active(store->open.medium.blk)) {
        return BLOBSTORE_CONDITION_INACTIVE;
    }
    return blobstore_version_is_dirty(store) ? BLOBSTORE_CONDITION_DIRTY
                                             : BLOBSTORE_CONDITION_ACTIVE;
}

static BlobstoreBlobInfo *describe_blob(const BlobInfo *info)
{
    BlobstoreBlobInfo *out = g_new0(BlobstoreBlobInfo, 1);
    BlobstoreSlotList **tail = &out->slots;

    out->owner = g_strdup(info->owner);
    out->name = g_strdup(info->name);
    out->kind = info->kind == BLOB_KIND_PERMANENT
                ? BLOBSTORE_BLOB_KIND_PERMANENT
                : BLOBSTORE_BLOB_KIND_SAVESTATE;
    out->present = info->present;
    out->size = info->size;
    out->stored_size = info->stored_size;
    out->max_size = info->max_size;
    out->packed = info->packed;
    out->sequence = info->sequence;
    out->damage = g_strdup(info->damage);
    for (unsigned i = 0; i < info->slots; i++) {
        BlobstoreSlot *slot = g_new0(BlobstoreSlot, 1);

        slot->offset = info->slot[i].offset;
        slot->length = info->slot[i].length;
        slot->current = info->slot[i].current;
        QAPI_LIST_APPEND(tail, slot);
    }
    return out;
}

QEMU_BUILD_BUG_ON((int)BLOBSTORE_BLOB_KIND_PERMANENT != BLOBSTORE_PERMANENT);
QEMU_BUILD_BUG_ON((int)BLOBSTORE_BLOB_KIND_SAVESTATE != BLOBSTORE_SAVESTATE);
QEMU_BUILD_BUG_ON((int)BLOBSTORE_BLOB_KIND_VOLATILE != BLOBSTORE_VOLATILE);

/* Volatile, or not on a medium yet */
static BlobstoreBlobInfo *describe_from_ram(BlobStoreBlob *blob)
{
    g_autoptr(BlobStoreVersion) version = blobstore_version_latest(blob);
    BlobstoreBlobInfo *out = g_new0(BlobstoreBlobInfo, 1);

    out->owner = g_strdup(blob->client->owner);
    out->name = g_strdup(blob->name);
    out->kind = (BlobstoreBlobKind)blob->kind;
    out->present = version->content;
    out->size = version->content ? g_bytes_get_size(version->content) : 0;
    out->max_size = blob->max_size;
    return out;
}

static BlobstoreBlobInfoList *describe_blobs(BlobStoreObject *store)
{
    BlobstoreBlobInfoList *list = NULL;
    BlobstoreBlobInfoList **tail = &list;
    size_t count = store->open.core ? blob_store_count(store->open.core) : 0;
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    for (size_t i = 0; i < count; i++) {
        BlobInfo info;

        blob_get_info(blob_store_nth(store->open.core, i), &info);
        QAPI_LIST_APPEND(tail, describe_blob(&info));
    }
    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            if (!blob->core) {
                QAPI_LIST_APPEND(tail, describe_from_ram(blob));
            }
        }
    }
    return list;
}

static BlobstoreEncryption *describe_encryption(const BlobStoreStatus *info)
{
    BlobstoreEncryption *out = g_new0(BlobstoreEncryption, 1);

    out->cipher = g_strdup("aes-256-gcm-siv");
    out->key_slots = info->key_slots;
    out->key_commitment = blob_digest_to_hex(info->key_commitment,
                                             sizeof(info->key_commitment));
    out->converting = info->converting;
    out->sealings = info->sealings;
    return out;
}

static BlobstoreInfo *describe_store(BlobStoreObject *store)
{
    BlobStoreStatus status = { 0 };
    const BlobStoreStatus *info = &status;
    BlobstoreInfo *out = g_new0(BlobstoreInfo, 1);
    QemuUUID uuid;

    if (store->open.core) {
        blob_store_get_status(store->open.core, &status);
        out->required = blob_store_required_bytes(store->open.core);
    }
    memcpy(uuid.data, info->uuid, sizeof(uuid.data));
    out->id = g_strdup(store->id);
    out->drive = g_strdup(store->drive);
    /* That of a VM that waits is known before its medium is. */
    out->uuid = qemu_uuid_unparse_strdup(store->open.uuid ?: &uuid);
    out->format_version = info->format_version;
    out->state = condition_of(store);
    out->created = store->open.created;
    out->durable = store->open.durable;
    out->block_size = info->block_size;
    out->capacity = info->capacity;
    out->free = info->free;
    out->sequence = info->sequence;
    out->epoch_id = blob_digest_to_hex(info->epoch_id, sizeof(info->epoch_id));
    if (info->sealed) {
        out->encryption = describe_encryption(info);
    }
    out->stats = g_new0(BlobstoreStats, 1);
    out->stats->commits = info->commits;
    out->stats->bytes_written = info->bytes_written;
    out->stats->write_errors = info->write_errors;
    out->blobs = describe_blobs(store);
    return out;
}

typedef struct Query {
    const char *id;             /* or NULL for all */
    BlobstoreInfoList **tail;
} Query;

static void query_store(BlobStoreObject *store, void *opaque)
{
    Query *query = opaque;

    if (blobstore_object_is_open(store) &&
        (!query->id || !strcmp(query->id, store->id))) {
        QAPI_LIST_APPEND(query->tail, describe_store(store));
    }
}

BlobstoreInfoList *qmp_blobstore_info(const char *id, Error **errp)
{
    BlobstoreInfoList *list = NULL;
    Query query = { .id = id, .tail = &list };

    blobstore_stores_foreach(query_store, &query);
    if (id && !list) {
        error_setg(errp, "no device uses a blobstore '%s'", id);
    }
    return list;
}
