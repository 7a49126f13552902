/*
 * Blobstore over the real block layer: the state of a stopped VM in which a
 * device still works
 *
 * A debugger can begin a command there.  Devices wait for such a worker when
 * they are saved or reset, in the main loop, which is also what will end the
 * drained section that the worker would wait for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/error.h"
#include "blobstore-vm.h"
#include "blobstore-writer.h"

static bool finish_worker(void *opaque, Error **errp)
{
    worker_finish(opaque);
    return true;
}

static const BlobStoreClientOps ops = { .save = finish_worker };

/* As savevm and loadvm have it */
static void begin_command(Fixture *fixture, Worker *worker)
{
    vm_stop_now(RUN_STATE_PAUSED);
    bdrv_drain_all_begin();
    worker_start(worker, fixture->device.permanent, "new");
    worker_gets_stuck(worker);
}

static void load(GBytes *stream)
{
    vm_stop_now(RUN_STATE_RESTORE_VM);
    vm_reset_for_snapshot();
    g_assert_true(vm_load_state(stream));
    g_assert_true(vm_start_now());
}

static void test_save(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    g_autoptr(GBytes) stream = NULL;
    Worker worker;

    begin_command(fixture, &worker);
    blobstore_set_ops(device->client, &ops, &worker);
    stream = vm_save_state();
    g_assert_nonnull(stream);
    g_assert_true(worker.ok);
    blobstore_set_ops(device->client, NULL, NULL);
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    bdrv_drain_all_end();
    run_until_idle();
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");

    /* And the stream has it. */
    write_text(device->permanent, "newer");
    load(stream);
    assert_text_on_medium(device, "nvram", "new");
}

/* Another worker, later, waits as before. */
static void test_worker_after_save(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) stream = NULL;
    Worker worker;

    vm_stop_now(RUN_STATE_PAUSED);
    bdrv_drain_all_begin();
    stream = vm_save_state();
    g_assert_nonnull(stream);
    worker_start(&worker, fixture->device.permanent, "new");
    worker_gets_stuck(&worker);
    bdrv_drain_all_end();
    worker_finish(&worker);
    g_assert_true(worker.ok);
    assert_text_on_medium(&fixture->device, "nvram", "new");
}

/* What the command did is what the snapshot replaces. */
static void test_load(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) stream = NULL;
    Worker worker;

    vm_stop_now(RUN_STATE_SAVE_VM);
    stream = vm_save_state();
    g_assert_true(vm_start_now());
    begin_command(fixture, &worker);
    vm_reset_for_snapshot_begin();
    worker_finish(&worker);
    vm_reset_for_snapshot_end();
    g_assert_true(worker.ok);
    g_assert_true(vm_load_state(stream));
    bdrv_drain_all_end();
    g_assert_true(vm_start_now());
    assert_text_on_medium(&fixture->device, "nvram", "old");
}

static void add_tests(void)
{
#define ADD(name, test) \
    g_test_add("/blobstore/vmstate-worker/" name, Fixture, NULL, \
               fixture_set_up, test, fixture_tear_down)
    ADD("save", test_save);
    ADD("after-save", test_worker_after_save);
    ADD("load", test_load);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
