/*
 * Blobstore in QEMU: who may use the core, and when
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qapi/error.h"
#include "glue.h"

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
bool coroutine_fn blobstore_gate_try_enter(BlobStoreObject *store, Error **errp)
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

void coroutine_fn blobstore_gate_enter(BlobStoreObject *store)
{
    while (!blobstore_gate_try_enter(store, NULL)) {
        qemu_co_queue_wait(&store->undrained, NULL);
    }
}

void coroutine_fn blobstore_gate_leave(BlobStoreObject *store)
{
    blobstore_report_take_snapshot(store);
    blk_dec_in_flight(store->medium.blk);
    leave_core(store);
}

void blobstore_gate_shut(BlobStoreObject *store)
{
    store->closing = true;
    AIO_WAIT_WHILE(qemu_get_aio_context(), store->core_users);
}
