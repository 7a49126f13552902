/*
 * Blobstore in QEMU: who may use the core, and when
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qapi/error.h"
#include "glue.h"

void blobstore_gate_init(BlobStoreObject *store)
{
    BlobStoreGate *gate = &store->open.gate;

    qemu_co_mutex_init(&gate->lock);
    qemu_co_queue_init(&gate->opened);
    gate->state = BLOBSTORE_GATE_OPEN;
}

void coroutine_fn blobstore_gate_lock(BlobStoreObject *store)
{
    store->open.gate.users++;
    qemu_co_mutex_lock(&store->open.gate.lock);
}

void coroutine_fn blobstore_gate_unlock(BlobStoreObject *store)
{
    qemu_co_mutex_unlock(&store->open.gate.lock);
    store->open.gate.users--;
    aio_wait_kick();
}

/*
 * Request queuing is off: a drained section waits for the whole operation,
 * and none begins in the section.
 */
bool coroutine_fn blobstore_gate_try_enter(BlobStoreObject *store, Error **errp)
{
    ERRP_GUARD();
    BlobStoreGate *gate = &store->open.gate;

    if (!blobstore_gate_is_drained(store)) {
        blobstore_gate_lock(store);
        if (gate->state == BLOBSTORE_GATE_OPEN) {
            blk_inc_in_flight(store->open.medium.blk);
            return true;
        }
        blobstore_gate_unlock(store);
    }
    if (gate->state == BLOBSTORE_GATE_SHUT) {
        error_setg(errp, "blobstore '%s' is not in use any more", store->id);
        return false;
    }
    error_setg(errp, "blobstore '%s': drive '%s' is drained: a snapshot or a "
               "block job is changing it", store->id, store->drive);
    error_append_hint(errp, "Try again when that is done.\n");
    return false;
}

bool coroutine_fn blobstore_gate_enter(BlobStoreObject *store)
{
    while (!blobstore_gate_try_enter(store, NULL)) {
        if (store->open.halt.hurried) {
            return false;
        }
        qemu_co_queue_wait(&store->open.gate.opened, NULL);
    }
    return true;
}

void coroutine_fn blobstore_gate_leave(BlobStoreObject *store)
{
    blk_dec_in_flight(store->open.medium.blk);
    blobstore_gate_unlock(store);
}

void blobstore_gate_drain(BlobStoreObject *store)
{
    if (store->open.gate.state == BLOBSTORE_GATE_OPEN) {
        store->open.gate.state = BLOBSTORE_GATE_DRAINED;
    }
}

void blobstore_gate_undrain(BlobStoreObject *store)
{
    if (blobstore_gate_is_drained(store)) {
        store->open.gate.state = BLOBSTORE_GATE_OPEN;
    }
}

void blobstore_gate_wake(BlobStoreObject *store)
{
    qemu_co_enter_all(&store->open.gate.opened, NULL);
}

void blobstore_gate_shut(BlobStoreObject *store)
{
    store->open.gate.state = BLOBSTORE_GATE_SHUT;
    AIO_WAIT_WHILE(qemu_get_aio_context(), store->open.gate.users);
}
