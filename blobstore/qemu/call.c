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
    QemuEvent *wake;            /* wakes the worker that waits; or NULL */
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

bool blobstore_call_is_from_worker(void)
{
    return !qemu_in_coroutine() && !qemu_get_current_aio_context();
}

bool blobstore_call_core(BlobStoreObject *store, BlobStoreCall *func,
                         void *opaque, Error **errp)
{
    AioContext *ctx = qemu_get_aio_context();
    Call call = { .store = store, .call = func, .opaque = opaque };

    if (blobstore_call_is_from_worker()) {
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
