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
#include "qemu/error-report.h"
#include "qobject/qdict.h"
#include "glue.h"
#include "trace.h"

typedef bool LeafTest(BlockDriverState *bs);

/* Whether @test is true of what holds some of the data of @bs. */
static bool GRAPH_RDLOCK any_leaf(BlockDriverState *bs, LeafTest *test)
{
    BdrvChild *child;
    bool is_leaf = true;

    QLIST_FOREACH(child, &bs->children, next) {
        if (child->role & BDRV_CHILD_COW) {
            continue;           /* Nobody writes to a backing file. */
        }
        is_leaf = false;
        if (any_leaf(child->bs, test)) {
            return true;
        }
    }
    return is_leaf && test(bs);
}

static bool is_driver(BlockDriverState *bs, const char *name)
{
    return !g_strcmp0(bdrv_get_format_name(bs), name);
}

/*
 * Whether no lock keeps other hosts away.  Locks of host devices are known to
 * this host alone.
 */
static bool is_unlocked(BlockDriverState *bs)
{
    return !is_driver(bs, "file") ||
           !g_strcmp0(qdict_get_try_str(bs->options, "locking"), "off");
}

/* Whether what another host has written may not be seen here */
static bool is_blind(BlockDriverState *bs)
{
    return is_unlocked(bs) &&
           (is_driver(bs, "file") || is_driver(bs, "host_device")) &&
           !(bdrv_get_flags(bs) & BDRV_O_NOCACHE);
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
        return !bs || any_leaf(bs, is_unlocked);
    }
}

void blobstore_fence_warn(BlobStoreObject *store)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (store->props.fence != BLOBSTORE_FENCE_OFF &&
        any_leaf(blk_bs(store->open.medium.blk), is_blind)) {
        warn_report("blobstore '%s': drive '%s' uses the page cache of this "
                    "host, so the store does not notice a VM on another host: "
                    "set cache=none (cache.direct=on)", store->id,
                    store->drive);
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
