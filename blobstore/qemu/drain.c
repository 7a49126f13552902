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

    store->drained = true;
}

static void drained_end(void *opaque)
{
    BlobStoreObject *store = opaque;

    store->drained = false;
    qemu_bh_schedule(store->resume_bh);
}

static void resize(void *opaque)
{
    BlobStoreObject *store = opaque;

    store->resized = true;
    qemu_bh_schedule(store->resume_bh);
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
        if (store->resized && blobstore_gate_try_enter(store, NULL)) {
            store->resized = false;
            blobstore_resize_check(store);
            blobstore_gate_leave(store);
        }
        /* Stopping the VM drains: that must not try again what failed. */
        if (!store->write_failed) {
            blobstore_commit_staged(store);
        }
        /* The end of a drained section begins anew. */
    } while (store->resized && !store->drained && !store->closing);
    store->resuming = false;
    aio_wait_kick();
}

static void resume(void *opaque)
{
    BlobStoreObject *store = opaque;

    if (store->drained) {
        return;
    }
    qemu_co_enter_all(&store->undrained, NULL);
    if (!store->resuming &&
        (store->resized || blobstore_version_is_dirty(store))) {
        store->resuming = true;
        aio_co_enter(qemu_get_aio_context(),
                     qemu_coroutine_create(resume_entry, store));
    }
}

void blobstore_drain_follow(BlobStoreObject *store)
{
    store->drained = false;
    qemu_co_queue_init(&store->undrained);
    store->resume_bh = qemu_bh_new(resume, store);
    blk_set_disable_request_queuing(store->medium.blk, true);
    blk_set_dev_ops(store->medium.blk, &block_ops, store);
}

void blobstore_drain_unfollow(BlobStoreObject *store)
{
    AIO_WAIT_WHILE(qemu_get_aio_context(), store->resuming);
    blk_set_dev_ops(store->medium.blk, NULL, NULL);
    qemu_bh_delete(store->resume_bh);
    store->resume_bh = NULL;
}
