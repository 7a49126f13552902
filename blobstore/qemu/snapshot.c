/*
 * Blobstore in QEMU: where the state of the VM is saved, and what comes before
 * the VM goes back to a snapshot
 *
 * QEMU takes the images back first and looks at the state of the VM then.  If
 * that is refused, because the store had another key, the images are old for
 * nothing.  So this looks at the store in the snapshot while it can still be
 * left alone.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/machine.h"
#include "blobstore/snapshot.h"
#include "block/block_int-common.h"
#include "block/block_int-io.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "glue.h"
#include "trace.h"

/*
 * The node below @bs that has the snapshots; NULL if there is none, or if it
 * has something else in it than @bs shows.
 */
static BlockDriverState *GRAPH_RDLOCK find_image(BlockDriverState *bs)
{
    while (bs && bs->drv && bs->drv->is_filter) {
        bs = bdrv_primary_bs(bs);
    }
    return bs && bs->drv && bs->drv->bdrv_snapshot_load_tmp ? bs : NULL;
}

typedef struct Owner {
    BlockDriverState *bs;
    BlobStoreObject *found;
} Owner;

static void match_owner(BlobStoreObject *store, void *opaque)
{
    Owner *owner = opaque;

    if (blobstore_object_is_open(store) &&
        blk_bs(store->open.medium.blk) == owner->bs) {
        owner->found = store;
    }
}

/* The store that has @bs, or NULL */
static BlobStoreObject *find_owner(const BlockDriverState *bs)
{
    Owner owner = { .bs = (BlockDriverState *)bs };

    blobstore_stores_foreach(match_owner, &owner);
    return owner.found;
}

int blobstore_snapshot_compare(const void *a, const void *b)
{
    return !!find_owner(a) - !!find_owner(b);
}

void blobstore_snapshot_note_save(BlockDriverState *bs)
{
    BlobStoreObject *store = bs ? find_owner(bs) : NULL;

    if (store) {
        warn_report("blobstore '%s': the state of the VM is saved in drive "
                    "'%s', which grows by the memory of the VM", store->id,
                    store->drive);
    }
}

/* Whether the image of @bs is among those that are taken back */
static bool goes_back(BlockDriverState *bs, bool has_devices, strList *devices)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (!has_devices) {
        return true;
    }
    for (; devices; devices = devices->next) {
        BlockDriverState *device = bdrv_find_node(devices->value);

        if (device && (device == bs ||
                       (find_image(device) &&
                        find_image(device) == find_image(bs)))) {
            return true;
        }
    }
    return false;
}

typedef struct Look {
    BlockStorage medium;
    BlobStoreLabel label;
} Look;

static bool coroutine_fn call_look(BlobStoreObject *store, void *opaque,
                                   Error **errp)
{
    Look *look = opaque;
    g_autoptr(GError) error = NULL;

    if (!blob_store_read_label(&look->medium.parent, &look->label, &error)) {
        error_setg(errp, "%s", error->message);
        return false;
    }
    return true;
}

static bool look_into(BlobStoreObject *store, const char *name, Look *look,
                      Error **errp)
{
    BlockDriverState *image;
    BlockBackend *blk;
    bool ok;

    bdrv_graph_rdlock_main_loop();
    image = find_image(blk_bs(store->open.medium.blk));
    bdrv_graph_rdunlock_main_loop();
    if (!image) {
        error_setg(errp, "the drive is not a qcow2 image");
        return false;
    }
    blk = blobstore_snapshot_open_view(image, name, errp);
    if (!blk) {
        return false;
    }
    blobstore_block_io_init(&look->medium, blk);
    ok = blobstore_call_core(store, call_look, look, errp);
    blk_unref(blk);
    return ok;
}

static bool check_uuid(BlobStoreObject *store, const char *name,
                       const BlobStoreLabel *label, Error **errp)
{
    g_autofree char *text = NULL;
    QemuUUID found;

    memcpy(found.data, label->uuid, sizeof(found.data));
    if (!store->open.uuid || qemu_uuid_is_equal(&found, store->open.uuid)) {
        return true;
    }
    text = qemu_uuid_unparse_strdup(&found);
    error_setg(errp, "blobstore '%s': in snapshot '%s' drive '%s' holds "
               "another store, with uuid %s", store->id, name, store->drive,
               text);
    return false;
}

static bool check_key(BlobStoreObject *store, const char *name,
                      const BlobStoreLabel *label, Error **errp)
{
    if (blobstore_keys_fit(store, label)) {
        return true;
    }
    error_setg(errp, "blobstore '%s': in snapshot '%s' the store on drive "
               "'%s' %s", store->id, name, store->drive,
               !label->sealed ? "is not encrypted, and now it is"
               : store->open.keys.key ? "has another data key"
               : "is encrypted, and now it is not");
    return false;
}

/* Nothing can be said of a medium without a store: the stream will tell. */
static bool check(BlobStoreObject *store, const char *name,
                  const BlobStoreLabel *label, Error **errp)
{
    ERRP_GUARD();

    if (label->blank || (check_uuid(store, name, label, errp) &&
                         check_key(store, name, label, errp))) {
        return true;
    }
    error_append_hint(errp, "No image has gone back, and nothing is lost: the "
                      "VM goes on with 'cont'. To go back all the same, end "
                      "it, use qemu-img snapshot -a, and start it with the "
                      "options of that time.\n");
    return false;
}

typedef struct Load {
    const char *name;
    bool has_devices;
    strList *devices;
    Error *err;
} Load;

static void check_load(BlobStoreObject *store, void *opaque)
{
    Load *load = opaque;
    g_autofree Look *seen = NULL;
    Error *err = NULL;

    if (load->err || !store->open.core ||
        !goes_back(blk_bs(store->open.medium.blk), load->has_devices,
                   load->devices)) {
        return;
    }
    seen = g_new0(Look, 1);
    if (!look_into(store, load->name, seen, &err)) {
        trace_blobstore_snapshot_look(store->id, load->name,
                                      error_get_pretty(err));
        warn_reportf_err(err, "blobstore '%s': cannot see whether snapshot "
                         "'%s' fits: ", store->id, load->name);
        return;
    }
    trace_blobstore_snapshot_look(store->id, load->name, "");
    check(store, load->name, &seen->label, &load->err);
}

bool blobstore_snapshot_prepare_load(const char *name, bool has_devices,
                                     strList *devices, Error **errp)
{
    Load load = { name, has_devices, devices };

    blobstore_stores_foreach(check_load, &load);
    if (load.err) {
        error_propagate(errp, load.err);
        return false;
    }
    blobstore_machine_complete();
    return true;
}
