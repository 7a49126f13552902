/*
 * Blobstore in QEMU: the core of a store, opened on its medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/uuid.h"
#include "glue.h"

/* A store needs megabytes; larger media are rather disks of guests. */
enum { CREATE_MAX_BYTES = 1 * GiB };

/* The UUID that the store must have; NULL: any */
static const uint8_t *wanted_uuid(const BlobStoreObject *store)
{
    if (store->open.uuid) {
        return store->open.uuid->data;
    }
    return store->props.uuid ? store->props.uuid_pin.data : NULL;
}

/*
 * Once the store is known, the medium must hold that one and no other.  Only
 * for a VM that was just migrated in may a blank medium become it.
 */
BlobStoreOptions coroutine_fn blobstore_core_options(BlobStoreObject *store)
{
    const BlobStoreProps *props = &store->props;
    bool is_known = store->open.uuid;
    bool arrives = is_known && !store->open.core;
    BlobStoreOptions options = {
        .create_never = (is_known && !arrives) ||
                        props->create == BLOBSTORE_CREATE_NEVER,
        .create_max_bytes = props->create == BLOBSTORE_CREATE_ALWAYS
                            ? 0 : CREATE_MAX_BYTES,
        .uuid = wanted_uuid(store),
        .create_as_uuid = arrives,
        .follows = blobstore_state_sequence(store),
        .pack = props->pack,
        .fence = blobstore_fence_is_wanted(store),
    };

    /* Not after a snapshot was loaded, which the user knows about. */
    if (!is_known && !store->open.core) {
        options.key_commitment = props->key_commitment ? props->commitment_pin
                                                       : NULL;
        options.min_sequence = props->min_sequence ? &props->sequence_pin
                                                   : NULL;
    }
    return options;
}

void blobstore_core_remember_uuid(BlobStoreObject *store)
{
    BlobStoreStatus info;

    QEMU_BUILD_BUG_ON(sizeof(QemuUUID) != sizeof(info.uuid));
    blob_store_get_status(store->open.core, &info);
    if (!info.blank && !store->open.uuid) {
        store->open.uuid = g_memdup2(info.uuid, sizeof(info.uuid));
    }
}

bool coroutine_fn blobstore_core_open(BlobStoreObject *store, GError **error)
{
    BlobStoreOptions options = blobstore_core_options(store);
    g_auto(BlobStoreKeyAnswer) answer = { 0 };
    g_autofree char *who = g_strdup_printf("blobstore '%s'", store->id);

    blobstore_keys_answer(store, &options, &answer);
    blobstore_block_io_note_reads(&store->open.medium, who);
    store->open.core =
        blob_store_open(&store->open.medium.parent, &options, error);
    blobstore_block_io_note_reads(&store->open.medium, NULL);
    if (!store->open.core) {
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

BlobStoreVersion *coroutine_fn blobstore_core_read(BlobStore *core, Blob *blob,
                                                   GError **error)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;

    return blob_store_read(core, blob, &content, &metadata, error)
           ? blobstore_version_new(content, (const char *const *)metadata)
           : NULL;
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
