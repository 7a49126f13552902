/*
 * Blobstore in QEMU: slow work on keys, in worker threads
 *
 * Argon2id takes a processor and 64 MiB for a second.  QEMU's thread pool would
 * run 64 of them at once, and drives would wait for a thread that is free.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "key-work.h"
#include "trace.h"

/* Coroutines of the main AioContext, which need no lock, wait here. */
static CoQueue waiting = { QSIMPLEQ_HEAD_INITIALIZER(waiting.entries) };
static unsigned running;

int coroutine_fn blobstore_key_work(ThreadPoolFunc *work, void *opaque)
{
    int ret;

    while (running >= g_get_num_processors()) {
        trace_blobstore_key_work_waits(running);
        qemu_co_queue_wait(&waiting, NULL);
    }
    running++;
    ret = thread_pool_submit_co(work, opaque);
    running--;
    qemu_co_queue_next(&waiting);
    return ret;
}
