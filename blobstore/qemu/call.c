/*
 * Blobstore in QEMU: calling the core, from whatever thread
 *
 * The core always runs in a coroutine of the main AioContext, where the
 * BlockBackend lives.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "glue.h"

typedef struct Call {
    BlobStoreObject *store;
    BlobStoreCall *call;
    void *opaque;
    Error *err;
    bool ok;
    bool done;
    QemuEvent *wake;            /* of the worker that waits, or NULL */
} Call;

static void coroutine_fn call_entry(void *opaque)
{
    Call *call = opaque;

    call->ok = call->call(call->store, call->opaque, &call->err);
    if (call->wake) {
        qemu_event_set(call->wake);
    } else {
        qatomic_set(&call->done, true);
        aio_wait_kick();
    }
}

bool blobstore_in_worker_thread(void)
{
    return !qemu_in_coroutine() && !qemu_get_current_aio_context();
}

bool blobstore_call(BlobStoreObject *store, BlobStoreCall *func, void *opaque,
                    Error **errp)
{
    AioContext *ctx = qemu_get_aio_context();
    Call call = { .store = store, .call = func, .opaque = opaque };

    if (blobstore_in_worker_thread()) {
        QemuEvent wake;

        qemu_event_init(&wake, false);
        call.wake = &wake;
        aio_co_schedule(ctx, qemu_coroutine_create(call_entry, &call));
        qemu_event_wait(&wake);
        qemu_event_destroy(&wake);
    } else {
        assert(qemu_get_current_aio_context() == ctx);
        if (qemu_in_coroutine()) {
            return func(store, opaque, errp);
        }
        aio_co_enter(ctx, qemu_coroutine_create(call_entry, &call));
        AIO_WAIT_WHILE(ctx, !qatomic_read(&call.done));
    }
    error_propagate(errp, call.err);
    return call.ok;
}

static void coroutine_fn leave_core(BlobStoreObject *store)
{
    qemu_co_mutex_unlock(&store->core_lock);
    store->core_users--;
    aio_wait_kick();
}

/*
 * Request queuing is off: a drained section waits for the whole operation,
 * and none begins in the section.
 */
bool coroutine_fn blobstore_try_lock_core(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();

    if (!store->drained) {
        store->core_users++;
        qemu_co_mutex_lock(&store->core_lock);
        if (!store->drained && !store->closing) {
            blk_inc_in_flight(store->medium.blk);
            return true;
        }
        leave_core(store);
    }
    if (store->closing) {
        error_setg(errp, "blobstore '%s' is not in use any more", store->id);
        return false;
    }
    error_setg(errp, "blobstore '%s': drive '%s' is drained: a snapshot or a "
               "block job is changing it", store->id, store->drive);
    error_append_hint(errp, "Try again when that is done.\n");
    return false;
}

void coroutine_fn blobstore_lock_core(BlobStoreObject *store)
{
    while (!blobstore_try_lock_core(store, NULL)) {
        qemu_co_queue_wait(&store->undrained, NULL);
    }
}

void coroutine_fn blobstore_unlock_core(BlobStoreObject *store)
{
    blobstore_take_snapshot(store);
    blk_dec_in_flight(store->medium.blk);
    leave_core(store);
}

void blobstore_lock_core_for_good(BlobStoreObject *store)
{
    store->closing = true;
    AIO_WAIT_WHILE(qemu_get_aio_context(), store->core_users);
}

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
        if (store->resized && blobstore_try_lock_core(store, NULL)) {
            store->resized = false;
            blobstore_check_size(store);
            blobstore_unlock_core(store);
        }
        /* Stopping the VM drains: that must not try again what failed. */
        if (!store->write_failed) {
            blobstore_write_staged(store);
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
    if (!store->resuming && (store->resized || blobstore_is_dirty(store))) {
        store->resuming = true;
        aio_co_enter(qemu_get_aio_context(),
                     qemu_coroutine_create(resume_entry, store));
    }
}

void blobstore_gate_open(BlobStoreObject *store)
{
    store->drained = false;
    qemu_co_queue_init(&store->undrained);
    store->resume_bh = qemu_bh_new(resume, store);
    blk_set_disable_request_queuing(store->medium.blk, true);
    blk_set_dev_ops(store->medium.blk, &block_ops, store);
}

void blobstore_gate_close(BlobStoreObject *store)
{
    AIO_WAIT_WHILE(qemu_get_aio_context(), store->resuming);
    blk_set_dev_ops(store->medium.blk, NULL, NULL);
    qemu_bh_delete(store->resume_bh);
    store->resume_bh = NULL;
}
