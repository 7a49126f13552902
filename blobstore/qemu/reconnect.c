/*
 * Blobstore in QEMU: a drive that has lost its connection to an NBD server
 *
 * Without reconnect-delay QEMU's NBD client fails each request until it is
 * connected again.  Such a request is also what makes it try, in a thread that
 * pauses longer after each failure: up to CONNECT_PAUSE_SECONDS.  So the first
 * request fails although the server is back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block_int-common.h"
#include "glue.h"
#include "trace.h"

enum {
    CONNECT_PAUSE_SECONDS = 16,
    WAIT_SECONDS = CONNECT_PAUSE_SECONDS + 2,
    POLL_NS = 50 * SCALE_MS,
};

static bool GRAPH_RDLOCK is_on_nbd(BlockDriverState *bs)
{
    BdrvChild *child;

    if (!g_strcmp0(bdrv_get_format_name(bs), "nbd")) {
        return true;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        if (is_on_nbd(child->bs)) {
            return true;
        }
    }
    return false;
}

static bool coroutine_fn may_reconnect(BlobStoreObject *store)
{
    BlockDriverState *bs = blk_bs(store->open.medium.blk);

    GRAPH_RDLOCK_GUARD();

    return bs && is_on_nbd(bs);
}

/* Others use the drive between two tries. */
static bool coroutine_fn is_lost(BlobStoreObject *store)
{
    uint8_t sector[BDRV_SECTOR_SIZE];
    int ret;

    if (!blobstore_gate_try_enter(store, NULL)) {
        return false;
    }
    ret = blk_co_pread(store->open.medium.blk, 0, sizeof(sector), sector, 0);
    blobstore_gate_leave(store);
    return ret < 0;
}

static void coroutine_fn wait_for_server(BlobStoreObject *store,
                                         bool is_worker)
{
    int64_t end = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                  WAIT_SECONDS * NANOSECONDS_PER_SECOND;
    bool lost;

    if (!may_reconnect(store)) {
        return;
    }
    while ((lost = is_lost(store)) &&
           qemu_clock_get_ns(QEMU_CLOCK_REALTIME) < end &&
           !(is_worker && blobstore_halt_is_due(store))) {
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, POLL_NS);
    }
    trace_blobstore_reconnect(store->id, lost);
}

void coroutine_fn blobstore_reconnect_for_start(BlobStoreObject *store)
{
    wait_for_server(store, false);
}

void blobstore_reconnect_note_reset(BlobStoreObject *store)
{
    store->open.health.reset_after_failure = store->open.health.write_failed;
}

void coroutine_fn blobstore_reconnect_after_reset(BlobStoreObject *store)
{
    if (store->open.health.reset_after_failure) {
        store->open.health.reset_after_failure = false;
        wait_for_server(store, true);
    }
}
