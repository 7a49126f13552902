/*
 * Blobstore in QEMU: drained sections of the drive, and what waits for their
 * end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/main-loop.h"
#include "glue.h"

static void drained_begin(void *opaque)
{
    BlobStoreObject *store = opaque;

    blobstore_gate_drain(store);
}

static void drained_end(void *opaque)
{
    BlobStoreObject *store = opaque;

    blobstore_gate_undrain(store);
    qemu_bh_schedule(store->open.drain.resume_bh);
}

static void resize(void *opaque)
{
    BlobStoreObject *store = opaque;

    store->open.drain.resized = true;
    qemu_bh_schedule(store->open.drain.resume_bh);
}

static const BlockDevOps block_ops = {
    .drained_begin = drained_begin,
    .drained_end = drained_end,
    .resize_cb = resize,
};

static void coroutine_fn resume_entry(void *opaque)
{
    BlobStoreObject *store = opaque;

    do {
        if (store->open.drain.resized &&
            blobstore_gate_try_enter(store, NULL)) {
            store->open.drain.resized = false;
            blobstore_resize_check(store);
            blobstore_gate_leave(store);
        }
        /* Stopping the VM drains; a failed write is not repeated then. */
        if (!store->open.health.write_failed) {
            blobstore_commit_staged(store);
        }
        /* After a drained section resume() begins it again. */
    } while (store->open.drain.resized &&
             store->open.gate.state == BLOBSTORE_GATE_OPEN);
    store->open.drain.resuming = false;
    aio_wait_kick();
}

static void resume(void *opaque)
{
    BlobStoreObject *store = opaque;

    if (blobstore_gate_is_drained(store)) {
        return;
    }
    blobstore_gate_wake(store);
    if (!store->open.drain.resuming &&
        (store->open.drain.resized || blobstore_version_is_dirty(store))) {
        store->open.drain.resuming = true;
        aio_co_enter(qemu_get_aio_context(),
                     qemu_coroutine_create(resume_entry, store));
    }
}

void blobstore_drain_follow(BlobStoreObject *store)
{
    store->open.drain.resume_bh = qemu_bh_new(resume, store);
    blk_set_disable_request_queuing(store->open.medium.blk, true);
    blk_set_dev_ops(store->open.medium.blk, &block_ops, store);
}

void blobstore_drain_unfollow(BlobStoreObject *store)
{
    AIO_WAIT_WHILE(qemu_get_aio_context(), store->open.drain.resuming);
    blk_set_dev_ops(store->open.medium.blk, NULL, NULL);
    qemu_bh_delete(store->open.drain.resume_bh);
    store->open.drain.resume_bh = NULL;
}
