/*
 * Blobstore over the real block layer: errors, and the VM's reaction
 *
 * Error policies, a VM that stops and continues, a medium that is changed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "blobstore-vm.h"
#include "blobstore-writer.h"

static void assert_write_errors(uint64_t errors)
{
    g_autoptr(BlobstoreInfo) info = store_info("nvram");

    g_assert_cmpuint(info->stats->write_errors, ==, errors);
}

/* The write of @worker fails and asks the VM to stop. */
static void wait_for_stop_request(Worker *worker)
{
    while (!vm_stop_was_requested()) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_false(qatomic_read(&worker->done));
}

/* The device gets the error, the blob stays, and the write can be repeated. */
static void test_werror_report(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    Error *err = NULL;
    Worker worker;

    fail_writes(true);
    g_assert_false(try_write_text(device->permanent, "new", &err));
    assert_error(err, "Input/output error");
    assert_text(device->permanent, "old");
    worker_start(&worker, device->permanent, "new");
    worker_finish(&worker);
    g_assert_false(worker.ok);
    assert_error(worker.err, "Input/output error");
    assert_write_errors(2);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    g_assert_false(vm_stop_was_requested());

    fail_writes(false);
    write_text(device->permanent, "new");
    assert_text_on_medium(device, "nvram", "new");
}

/*
 * The device continues; the next write that succeeds includes all earlier
 * changes.
 */
static void test_werror_ignore(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));

    fail_writes(true);
    write_text(device->permanent, "new");
    assert_text(device->permanent, "new");
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    g_assert_false(vm_stop_was_requested());

    fail_writes(false);
    write_text(device->savestate, "suspended");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);

    /* After the error, everything is as before. */
    bdrv_drained_begin(bs);
    write_text(device->permanent, "newer");
    bdrv_drained_end(bs);
    run_until_idle();
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(device, "nvram", "newer");
    assert_text(device->savestate, "suspended");
}

/*
 * The VM stops before the device sees the error, and the store writes when the
 * VM continues.
 */
static void test_werror_stop(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    Worker worker;

    fail_writes(true);
    worker_start(&worker, device->permanent, "new");
    wait_for_stop_request(&worker);
    worker_gets_stuck(&worker);
    /* The store meanwhile holds nothing that stopping the VM waits for. */
    bdrv_drain_all();
    vm_stop_now(RUN_STATE_IO_ERROR);
    worker_finish(&worker);
    g_assert_true(worker.ok);
    /*
     * Stopping the VM drains; the end of the drained section is no reason to
     * try again.
     */
    run_until_idle();
    assert_write_errors(1);
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);

    vm_start_now();
    g_assert_true(vm_stop_was_requested());
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    vm_stop_now(RUN_STATE_IO_ERROR);

    fail_writes(false);
    vm_start_now();
    g_assert_false(vm_stop_was_requested());
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/*
 * A reset waits for the worker, so the worker must not wait for the VM to
 * stop.
 */
static void test_werror_stop_and_reset(Fixture *fixture, gconstpointer data)
{
    Worker worker;

    fail_writes(true);
    worker_start(&worker, fixture->device.permanent, "new");
    wait_for_stop_request(&worker);
    vm_reset_now();
    worker_finish(&worker);
    fail_writes(false);
}

/*
 * The worker must not wait either if the write fails while the reset waits
 * already.
 */
static void test_werror_stop_during_reset(Fixture *fixture,
                                          gconstpointer data)
{
    Worker worker;
    Worker next;

    fail_writes(true);
    vm_reset_begin();
    worker_start(&worker, fixture->device.permanent, "new");
    worker_finish(&worker);
    g_assert_true(worker.ok);
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    vm_reset_end();

    /* After the reset a write waits again. */
    fail_writes(false);
    vm_stop_now(RUN_STATE_PAUSED);
    vm_start_now();
    write_text(fixture->device.permanent, "old");
    fail_writes(true);
    worker_start(&next, fixture->device.permanent, "newer");
    wait_for_stop_request(&next);
    vm_stop_now(RUN_STATE_IO_ERROR);
    worker_finish(&next);
    fail_writes(false);
}

/* The main loop is what stops the VM, so a write there cannot wait for that. */
static void test_werror_stop_in_main_thread(Fixture *fixture,
                                            gconstpointer data)
{
    fail_writes(true);
    write_text(fixture->device.permanent, "new");
    g_assert_true(vm_stop_was_requested());
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    fail_writes(false);
}

/* By default EIO is reported. */
static void test_werror_enospc(Fixture *fixture, gconstpointer data)
{
    Error *err = NULL;

    fail_writes(true);
    g_assert_false(try_write_text(fixture->device.permanent, "new", &err));
    assert_error(err, "Input/output error");
    fail_writes(false);
}

/* The drive belongs to another QEMU for a while, so nothing is written. */
static void test_inactive_drive_stages(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;

    vm_stop_now(RUN_STATE_FINISH_MIGRATE);
    g_assert_cmpint(bdrv_inactivate_all(), ==, 0);
    assert_state("nvram", BLOBSTORE_CONDITION_INACTIVE);
    write_text(device->permanent, "new");
    assert_text(device->permanent, "new");
    bdrv_activate_all(&error_abort);
    vm_start_now();
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/*
 * The image may have been reverted while the VM was stopped: RAM is what
 * counts.
 */
static void test_reverted_medium(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    g_autoptr(GBytes) reverted = NULL;
    g_autofree char *uuid = NULL;
    g_autoptr(BlobstoreInfo) before = store_info("nvram");
    g_autoptr(BlobstoreInfo) after = NULL;

    device_unplug(device);
    reverted = image_content(fixture->path);
    g_assert_true(device_plug(device, "nvram", &error_abort));
    write_text(device->permanent, "new");
    vm_stop_now(RUN_STATE_RESTORE_VM);
    image_set_content(fixture->path, reverted);
    vm_start_now();
    write_text(device->savestate, "suspended");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    after = store_info("nvram");
    g_assert_cmpstr(before->uuid, ==, after->uuid);
    assert_text_on_medium(device, "nvram", "new");
    assert_text(device->savestate, "suspended");
}

/* Another store in its place is not overwritten. */
static void test_exchanged_medium(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    g_autofree char *other_path = image_new("other", "raw", IMAGE_BYTES);
    g_autoptr(GBytes) ours = image_content(fixture->path);
    g_autoptr(GBytes) other = NULL;
    g_autoptr(GBytes) after = NULL;
    Error *err = NULL;
    Device device2;

    drive_add_image("other", "raw", other_path);
    g_assert_true(device_plug(&device2, "other", &error_abort));
    write_text(device2.permanent, "other");
    device_unplug(&device2);
    drive_remove("other");
    other = image_content(other_path);

    vm_stop_now(RUN_STATE_PAUSED);
    image_set_content(fixture->path, other);
    vm_start_now();
    g_assert_false(try_write_text(device->permanent, "new", &err));
    assert_error(err, "right image");
    assert_state("nvram", BLOBSTORE_CONDITION_FAILED);
    assert_text(device->permanent, "old");
    after = image_content(fixture->path);
    g_assert_true(g_bytes_equal(other, after));

    image_set_content(fixture->path, ours);
    write_text(device->permanent, "new");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/* A shutdown closes the store, and the close is recorded once. */
static void test_shutdown_closes_clean(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BlobstoreInfo) running = store_info("nvram");
    g_autoptr(BlobstoreInfo) closed = NULL;
    g_autoptr(BlobstoreInfo) again = NULL;

    vm_stop_now(RUN_STATE_SHUTDOWN);
    closed = store_info("nvram");
    g_assert_cmpuint(closed->stats->bytes_written, >,
                     running->stats->bytes_written);
    vm_stop_now(RUN_STATE_SHUTDOWN);
    again = store_info("nvram");
    g_assert_cmpuint(closed->stats->bytes_written, ==,
                     again->stats->bytes_written);
    vm_start_now();
    write_text(fixture->device.permanent, "new");
    assert_text_on_medium(&fixture->device, "nvram", "new");
}

/* A write that a device made just before the unplug is not lost. */
static void test_unplug_writes_what_is_staged(Fixture *fixture,
                                              gconstpointer data)
{
    Device *device = &fixture->device;

    fail_writes(true);
    write_text(device->permanent, "new");
    fail_writes(false);
    assert_text_on_medium(device, "nvram", "new");
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, fixture_set_up, test, fixture_tear_down);
}

static void add_policy(const char *path, BlockdevOnError policy,
                       void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, GINT_TO_POINTER(policy), fixture_set_up_policy,
               test, fixture_tear_down);
}

static void add_tests(void)
{
    add_policy("/blobstore/werror/report", BLOCKDEV_ON_ERROR_REPORT,
               test_werror_report);
    add_policy("/blobstore/werror/ignore", BLOCKDEV_ON_ERROR_IGNORE,
               test_werror_ignore);
    add_policy("/blobstore/werror/stop", BLOCKDEV_ON_ERROR_STOP,
               test_werror_stop);
    add_policy("/blobstore/werror/stop-and-reset", BLOCKDEV_ON_ERROR_STOP,
               test_werror_stop_and_reset);
    add_policy("/blobstore/werror/stop-during-reset", BLOCKDEV_ON_ERROR_STOP,
               test_werror_stop_during_reset);
    add_policy("/blobstore/werror/stop-in-main-thread",
               BLOCKDEV_ON_ERROR_STOP, test_werror_stop_in_main_thread);
    add_policy("/blobstore/werror/enospc", BLOCKDEV_ON_ERROR_ENOSPC,
               test_werror_enospc);
    add_policy("/blobstore/werror/unplug", BLOCKDEV_ON_ERROR_IGNORE,
               test_unplug_writes_what_is_staged);
    add("/blobstore/vm/inactive", test_inactive_drive_stages);
    add("/blobstore/vm/reverted-medium", test_reverted_medium);
    add("/blobstore/vm/exchanged-medium", test_exchanged_medium);
    add("/blobstore/vm/shutdown", test_shutdown_closes_clean);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
