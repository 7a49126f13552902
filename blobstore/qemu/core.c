/*
 * Blobstore in QEMU: the core of a store, opened on its medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/uuid.h"
#include "glue.h"

/*
 * Once the store is known, the medium must hold that one and no other.  Only
 * for a VM that was just migrated in may a blank medium become it.
 */
BlobStoreOptions blobstore_core_options(BlobStoreObject *store)
{
    bool arrives = store->medium_uuid && !store->core;
    bool is_first = !store->medium_uuid && !store->core;

    return (BlobStoreOptions) {
        .create_never = (store->medium_uuid && !arrives) ||
                        store->create == BLOBSTORE_CREATE_NEVER,
        .uuid = store->medium_uuid ? store->medium_uuid->data
                                   : store->uuid ? store->uuid_pin.data : NULL,
        .create_as_uuid = arrives,
        .follows = blobstore_state_sequence(store),
        .pack = store->pack,
        .key_commitment = is_first && store->key_commitment
                          ? store->commitment_pin : NULL,
        /* Not after a snapshot was loaded, which the user knows about. */
        .min_sequence = is_first && store->min_sequence
                        ? &store->sequence_pin : NULL,
    };
}

void blobstore_core_remember_uuid(BlobStoreObject *store)
{
    BlobStoreStatus info;

    QEMU_BUILD_BUG_ON(sizeof(QemuUUID) != sizeof(info.uuid));
    blob_store_get_status(store->core, &info);
    if (!info.blank && !store->medium_uuid) {
        store->medium_uuid = g_memdup2(info.uuid, sizeof(info.uuid));
    }
}

bool coroutine_fn blobstore_core_open(BlobStoreObject *store, GError **error)
{
    BlobStoreOptions options = blobstore_core_options(store);
    g_auto(BlobStoreKeyAnswer) answer = { 0 };

    blobstore_keys_answer(store, &options, &answer);
    store->core = blob_store_open(&store->medium.parent, &options, error);
    if (!store->core) {
        return false;
    }
    blobstore_keys_settle(store, answer.key);
    blobstore_core_remember_uuid(store);
    blobstore_report_warnings(store);
    return true;
}

Blob *blobstore_core_register(BlobStore *core, BlobStoreBlob *blob,
                              GError **error)
{
    return blob_store_register(core, blob->client->owner, blob->name,
                               blob->kind == BLOBSTORE_PERMANENT
                               ? BLOB_KIND_PERMANENT : BLOB_KIND_SAVESTATE,
                               blob->max_size, error);
}

static void clear_twin(gpointer data)
{
    blobstore_version_unref(((BlobStoreTwin *)data)->found);
}

GArray *blobstore_core_register_all(BlobStoreObject *store, BlobStore *core,
                                    GError **error)
{
    g_autoptr(GArray) twins = g_array_new(FALSE, FALSE, sizeof(BlobStoreTwin));
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    g_array_set_clear_func(twins, clear_twin);
    QTAILQ_FOREACH(client, &store->clients, next) {
        QTAILQ_FOREACH(blob, &client->blobs, next) {
            BlobStoreTwin twin = { .blob = blob };

            if (blob->kind == BLOBSTORE_VOLATILE) {
                continue;
            }
            twin.core = blobstore_core_register(core, blob, error);
            if (!twin.core) {
                return NULL;
            }
            g_array_append_val(twins, twin);
        }
    }
    return g_steal_pointer(&twins);
}
