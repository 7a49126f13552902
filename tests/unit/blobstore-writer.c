/*
 * Blobstore unit tests over the real block layer: a store that is written to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "blobstore-vm.h"
#include "blobstore-writer.h"

void fixture_start(Fixture *fixture)
{
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
    write_text(fixture->device.permanent, "old");
}

void fixture_set_up(Fixture *fixture, gconstpointer data)
{
    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    drive_add_image("nvram", "raw", fixture->path);
    fixture_start(fixture);
}

void fixture_set_up_policy(Fixture *fixture, gconstpointer data)
{
    BlockdevOnError policy = GPOINTER_TO_INT(data);
    BlockBackend *blk;

    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    blk = drive_add("nvram", "{'driver': 'blkdebug', 'inject-error': ["
                    "{'event': 'l1_grow_alloc_table', 'iotype': 'write', "
                    "'errno': 5}, "
                    "{'event': 'l1_grow_write_table', 'iotype': 'write', "
                    "'sector': 1099511627776}], "
                    "'image': {'driver': 'file', 'filename': %s}}",
                    fixture->path);
    blk_set_on_error(blk, BLOCKDEV_ON_ERROR_REPORT, policy);
    fixture_start(fixture);
}

/* The rules use events that blkdebug itself never raises. */
void fail_writes(bool fail)
{
    bdrv_debug_event(blk_bs(blk_by_name("nvram")),
                     fail ? BLKDBG_L1_GROW_ALLOC_TABLE
                          : BLKDBG_L1_GROW_WRITE_TABLE);
}

void fixture_tear_down(Fixture *fixture, gconstpointer data)
{
    vm_start_now();
    device_unplug(&fixture->device);
    drive_remove("nvram");
    unlink(fixture->path);
    g_free(fixture->path);
}

/*
 * The main loop becomes idle after at most a few operations, which run one by
 * one.
 */
void run_until_idle(void)
{
    for (unsigned i = 0; i < 4; i++) {
        while (aio_poll(qemu_get_aio_context(), false)) {
            /* starts an operation */
        }
        bdrv_drain_all();
    }
}

static void *worker_run(void *opaque)
{
    Worker *worker = opaque;

    g_assert_null(qemu_get_current_aio_context());
    assert_text(worker->blob, "old");
    worker->ok = try_write_text(worker->blob, worker->text, &worker->err);
    qatomic_set(&worker->done, true);
    /* Wakes poll_until(). */
    aio_notify(qemu_get_aio_context());
    return NULL;
}

void worker_start(Worker *worker, BlobStoreBlob *blob, const char *text)
{
    *worker = (Worker) { .blob = blob, .text = text };
    qemu_thread_create(&worker->thread, "worker", worker_run, worker,
                       QEMU_THREAD_JOINABLE);
}

void worker_finish(Worker *worker)
{
    poll_until(&worker->done);
    qemu_thread_join(&worker->thread);
}

void worker_gets_stuck(Worker *worker)
{
    int64_t end = g_get_monotonic_time() + 100 * 1000;

    while (g_get_monotonic_time() < end) {
        aio_poll(qemu_get_aio_context(), false);
    }
    g_assert_false(qatomic_read(&worker->done));
}

void drive_resize(uint64_t bytes)
{
    BlockBackend *blk = blk_by_name("nvram");

    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_RESIZE, BLK_PERM_ALL, NULL),
                    ==, 0);
    g_assert_cmpint(blk_truncate(blk, bytes, true, PREALLOC_MODE_OFF, 0,
                                 NULL), ==, 0);
    blk_set_perm(blk, 0, BLK_PERM_ALL, &error_abort);
    run_until_idle();
}
