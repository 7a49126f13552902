/*
 * Blobstore in QEMU: reading an image as it was when a snapshot was made
 *
 * QEMU's formats show a snapshot in a node that is opened for that and only
 * reads.  Such a node wants a file that nobody writes to, and the file of the
 * image is one to which its own node writes.  But what a snapshot holds is not
 * written any more.  So between the two there is a node that allows it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/block_int.h"
#include "block/snapshot.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "glue.h"

static int view_open(BlockDriverState *bs, QDict *options, int flags,
                     Error **errp)
{
    return bdrv_open_file_child(NULL, options, "file", bs, errp);
}

static int64_t coroutine_fn GRAPH_RDLOCK view_getlength(BlockDriverState *bs)
{
    return bdrv_co_getlength(bs->file->bs);
}

static int coroutine_fn GRAPH_RDLOCK
view_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
            QEMUIOVector *qiov, BdrvRequestFlags flags)
{
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, flags);
}

static void GRAPH_RDLOCK
view_child_perm(BlockDriverState *bs, BdrvChild *child, BdrvChildRole role,
                BlockReopenQueue *queue, uint64_t perm, uint64_t shared,
                uint64_t *child_perm, uint64_t *child_shared)
{
    *child_perm = BLK_PERM_CONSISTENT_READ;
    *child_shared = BLK_PERM_ALL;
}

static BlockDriver view_driver = {
    .format_name = "blobstore-snapshot",
    .is_filter = true,
    .bdrv_open = view_open,
    .bdrv_co_getlength = view_getlength,
    .bdrv_co_preadv = view_preadv,
    .bdrv_child_perm = view_child_perm,
};

/* How to open the image of @bs once more, on the node @file */
static QDict *GRAPH_RDLOCK image_options(BlockDriverState *bs,
                                         BlockDriverState *file)
{
    QDict *options = qdict_new();
    BlockDriverState *backing = bdrv_cow_bs(bs);
    const QDictEntry *entry;

    qdict_put_str(options, "driver", bs->drv->format_name);
    qdict_put_str(options, "file", bdrv_get_node_name(file));
    if (backing) {
        qdict_put_str(options, "backing", bdrv_get_node_name(backing));
    } else {
        qdict_put_null(options, "backing");
    }
    for (entry = qdict_first(bs->options); entry;
         entry = qdict_next(bs->options, entry)) {
        if (g_str_has_prefix(qdict_entry_key(entry), "encrypt.")) {
            qdict_put_obj(options, qdict_entry_key(entry),
                          qobject_ref(qdict_entry_value(entry)));
        }
    }
    return options;
}

BlockBackend *blobstore_snapshot_open_view(BlockDriverState *bs,
                                           const char *name, Error **errp)
{
    QDict *options = qdict_new();
    BlockDriverState *file;
    BlockBackend *blk;

    bdrv_graph_rdlock_main_loop();
    qdict_put_str(options, "file", bdrv_get_node_name(bs->file->bs));
    bdrv_graph_rdunlock_main_loop();
    file = bdrv_new_open_driver_opts(&view_driver, NULL, options, 0, errp);
    if (!file) {
        return NULL;
    }
    bdrv_graph_rdlock_main_loop();
    options = image_options(bs, file);
    bdrv_graph_rdunlock_main_loop();
    blk = blk_new_open(NULL, NULL, options, 0, errp);
    bdrv_unref(file);
    if (blk && bdrv_snapshot_load_tmp_by_id_or_name(blk_bs(blk), name,
                                                    errp) < 0) {
        blk_unref(blk);
        return NULL;
    }
    return blk;
}
