/*
 * Blobstore in QEMU: from the name of a drive to a BlockBackend of our own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int-common.h"
#include "block/throttle-groups.h"
#include "hw/qdev-core.h"
#include "qapi/error.h"
#include "glue.h"

/* The core aligns its buffers and slots to this. */
enum { ALIGNMENT_BYTES = 4096 };

BlockDriverState *blobstore_drive_node(const char *name)
{
    BlockBackend *named = blk_by_name(name);

    return named ? blk_bs(named) : bdrv_find_node(name);
}

bool blobstore_drive_exists(const char *name)
{
    return blk_by_name(name) || bdrv_find_node(name);
}

static bool refuse_attached(BlockBackend *named, Error **errp)
{
    DeviceState *dev = named ? blk_get_attached_dev(named) : NULL;
    g_autofree char *path = NULL;

    if (!dev) {
        return true;
    }
    path = object_get_canonical_path(OBJECT(dev));
    error_setg(errp, "drive '%s' is in use by device '%s' (%s)",
               blk_name(named), dev->id ?: path,
               object_get_typename(OBJECT(dev)));
    error_append_hint(errp, "A blobstore needs a drive for itself. A -drive "
                      "without if=none becomes a disk of the guest.\n");
    return false;
}

static BlockDriverState *find_usable(const char *name, Error **errp)
{
    BlockBackend *named = blk_by_name(name);
    BlockDriverState *bs = blobstore_drive_node(name);

    if (!blobstore_drive_exists(name)) {
        error_setg(errp, "there is no drive or node '%s'", name);
        error_append_hint(errp, "Add one: -drive if=none,id=%s,file=...,"
                          "format=...\n", name);
        return NULL;
    }
    if (!refuse_attached(named, errp)) {
        return NULL;
    }
    if (!bs) {
        error_setg(errp, "drive '%s' is empty", name);
        error_append_hint(errp, "Give it an image: -drive if=none,id=%s,"
                          "file=...,format=...\n", name);
        return NULL;
    }
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "drive '%s' is read-only", name);
        error_append_hint(errp, "Device state must be writable: remove "
                          "read-only=on from the drive.\n");
        return NULL;
    }
    return bs;
}

/*
 * A drive that no device uses still holds the permissions with which it was
 * opened.  Devices replace them by their own; so do we, on its behalf.
 */
static void release_permissions(const char *name)
{
    BlockBackend *named = blk_by_name(name);

    if (named) {
        blk_set_perm(named, 0, BLK_PERM_ALL, &error_abort);
    }
}

static void apply_error_policy(BlobStoreObject *store, BlockBackend *blk)
{
    BlockBackend *named = blk_by_name(store->drive);
    BlockdevOnError on_read = store->props.rerror;
    BlockdevOnError on_write = store->props.werror;

    if (on_read == BLOCKDEV_ON_ERROR_AUTO) {
        on_read = named ? blk_get_on_error(named, true)
                        : BLOCKDEV_ON_ERROR_REPORT;
    }
    if (on_write == BLOCKDEV_ON_ERROR_AUTO) {
        on_write = named ? blk_get_on_error(named, false)
                         : BLOCKDEV_ON_ERROR_ENOSPC;
    }
    blk_set_on_error(blk, on_read, on_write);
    blk_iostatus_enable(blk);
}

/* The limits of a -drive belong to its own BlockBackend, not to the node. */
static void share_throttling(const char *name, BlockBackend *blk)
{
    BlockBackend *named = blk_by_name(name);
    ThrottleGroupMember *member;

    if (!named) {
        return;
    }
    member = &blk_get_public(named)->throttle_group_member;
    if (member->throttle_state) {
        blk_io_limits_enable(blk, throttle_group_get_name(member));
    }
}

BlockBackend *blobstore_drive_attach(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();
    BlockDriverState *bs = find_usable(store->drive, errp);
    Error *err = NULL;
    BlockBackend *blk;
    uint32_t alignment;

    if (!bs) {
        return NULL;
    }
    /*
     * Nobody else may write; block jobs that change the graph but not the
     * data may run, and the image may be resized.  On an inactive node these
     * permissions are taken when the VM has been migrated in.
     */
    blk = blk_new(qemu_get_aio_context(),
                  BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                  BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED |
                  BLK_PERM_RESIZE);
    blk_set_force_allow_inactivate(blk);
    release_permissions(store->drive);
    if (blk_insert_bs(blk, bs, &err) < 0) {
        if (blobstore_drive_explain_access(store, bs, errp)) {
            error_free(err);
        } else {
            error_propagate_prepend(errp, err, "drive '%s' is in use: ",
                                    store->drive);
        }
        goto fail;
    }
    alignment = blk_get_request_alignment(blk);
    if (alignment > ALIGNMENT_BYTES) {
        error_setg(errp, "drive '%s' can only be written in units of "
                   "%" PRIu32 " bytes, a blobstore needs %d or less",
                   store->drive, alignment, ALIGNMENT_BYTES);
        goto fail;
    }
    if (!blk_is_available(blk)) {
        error_setg(errp, "drive '%s' has no medium", store->drive);
        goto fail;
    }
    apply_error_policy(store, blk);
    share_throttling(store->drive, blk);
    return blk;

fail:
    blk_unref(blk);
    return NULL;
}

void blobstore_drive_release(BlockBackend *blk)
{
    DeviceState *dev = blk_get_attached_dev(blk);

    if (dev) {
        blk_detach_dev(blk, dev);
    }
    blk_unref(blk);
}

/* Returns whether a flush of @bs is dropped on its way to the disk. */
static bool GRAPH_RDLOCK drops_flushes(BlockDriverState *bs)
{
    BdrvChild *child;

    if (bs->open_flags & BDRV_O_NO_FLUSH) {
        return true;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        if (!(child->role & BDRV_CHILD_COW) && drops_flushes(child->bs)) {
            return true;
        }
    }
    return false;
}

bool blobstore_drive_is_durable(BlockBackend *blk)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    return !drops_flushes(blk_bs(blk));
}

bool blobstore_drive_is_active(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);

    return bs && !(bdrv_get_flags(bs) & BDRV_O_INACTIVE);
}

bool blobstore_drive_may_write(BlobStoreObject *store)
{
    return !blobstore_state_is_incoming(&store->open.state) &&
           !blobstore_state_is_loading(&store->open.state) &&
           blobstore_drive_is_active(store->open.medium.blk);
}
