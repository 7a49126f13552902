/*
 * Blobstore in QEMU: another process that uses the same store
 *
 * The core notices it, before it writes.  From then on the store has failed,
 * and the VM cannot run: two VMs would go on from the same state.  Only the
 * user can know which of them is the right one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int-common.h"
#include "qobject/qdict.h"
#include "glue.h"
#include "trace.h"

/*
 * Whether the file that @bs is on has a lock that keeps other hosts away, too.
 * Locks of host devices are known to this host alone.
 */
static bool GRAPH_RDLOCK is_locked(BlockDriverState *bs)
{
    const char *locking = qdict_get_try_str(bs->options, "locking");
    BdrvChild *child;
    bool is_leaf = true;

    QLIST_FOREACH(child, &bs->children, next) {
        if (child->role & BDRV_CHILD_COW) {
            continue;           /* Nobody writes to a backing file. */
        }
        is_leaf = false;
        if (!is_locked(child->bs)) {
            return false;
        }
    }
    return !is_leaf || (!g_strcmp0(bdrv_get_format_name(bs), "file") &&
                        g_strcmp0(locking, "off"));
}

bool coroutine_fn blobstore_fence_is_wanted(BlobStoreObject *store)
{
    BlockDriverState *bs = blk_bs(store->open.medium.blk);

    GRAPH_RDLOCK_GUARD();

    switch (store->props.fence) {
    case BLOBSTORE_FENCE_ON:
        return true;
    case BLOBSTORE_FENCE_OFF:
        return false;
    default:
        return !bs || !is_locked(bs);
    }
}

bool blobstore_fence_fail(BlobStoreObject *store, GError **error)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN, "%s",
                store->open.health.failure);
    return false;
}

bool blobstore_fence_has_fallen(BlobStoreObject *store, const GError *error)
{
    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN)) {
        return false;
    }
    trace_blobstore_taken(store->id, error->message);
    blobstore_state_event(store, BLOBSTORE_EVENT_TAKEN);
    blobstore_report_failure(store, error->message);
    /* Whatever the policy: the other VM runs, so this one must not. */
    if (runstate_is_running()) {
        qemu_system_vmstop_request_prepare();
        qemu_system_vmstop_request(RUN_STATE_IO_ERROR);
    }
    return true;
}

void blobstore_fence_take_over(BlobStoreObject *store)
{
    if (blobstore_state_is_taken(&store->open.state) &&
        store->props.fence == BLOBSTORE_FENCE_TAKE_OVER) {
        store->props.fence = BLOBSTORE_FENCE_AUTO;
        blobstore_state_event(store, BLOBSTORE_EVENT_TAKE_BACK);
    }
}
