/*
 * Blobstore in QEMU: slow work on keys, in worker threads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_KEY_WORK_H
#define BLOBSTORE_QEMU_KEY_WORK_H

#include "block/thread-pool.h"

/*
 * Runs @work in a worker thread and returns what it returns.  Of all that
 * begin here at most one for each processor runs at a time; the others wait for
 * their turn.  In a coroutine of the main AioContext.
 */
int coroutine_fn blobstore_key_work(ThreadPoolFunc *work, void *opaque);

#endif /* BLOBSTORE_QEMU_KEY_WORK_H */
