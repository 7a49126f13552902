/*
 * Blobstore in QEMU: writes that wait for the VM to stop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "glue.h"

void blobstore_halt_init(BlobStoreObject *store)
{
    qemu_co_queue_init(&store->open.halt.waiters);
}

bool blobstore_halt_is_due(const BlobStoreObject *store)
{
    return !runstate_is_running() || store->open.halt.hurried;
}

bool coroutine_fn blobstore_halt_wait(BlobStoreObject *store)
{
    if (blobstore_halt_is_due(store)) {
        return false;
    }
    qemu_co_queue_wait(&store->open.halt.waiters, NULL);
    if (blobstore_halt_is_due(store)) {
        return false;
    }
    /* Not in blobstore_halt_release(), which would wake us for ever. */
    aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
    return true;
}

void blobstore_halt_release(BlobStoreObject *store)
{
    qemu_co_enter_all(&store->open.halt.waiters, NULL);
}

void blobstore_halt_hurry(BlobStoreObject *store, bool hurried)
{
    store->open.halt.hurried = hurried;
    if (hurried) {
        blobstore_halt_release(store);
        blobstore_gate_wake(store);
    }
}
