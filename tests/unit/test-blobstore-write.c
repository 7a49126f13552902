/*
 * Blobstore over the real block layer: writing while things happen
 *
 * Threads, drained sections, errors, a VM that stops and continues, a medium
 * that changes its size or content.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

typedef struct Fixture {
    char *path;
    Device device;
} Fixture;

static void fixture_start(Fixture *fixture)
{
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
    write_text(fixture->device.permanent, "old");
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    drive_add_image("nvram", "raw", fixture->path);
    fixture_start(fixture);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vm_start_now();
    device_unplug(&fixture->device);
    drive_remove("nvram");
    unlink(fixture->path);
    g_free(fixture->path);
}

/* What is due is done: it takes at most a few operations, one by one. */
static void run_until_idle(void)
{
    for (unsigned i = 0; i < 4; i++) {
        while (aio_poll(qemu_get_aio_context(), false)) {
            /* starts an operation */
        }
        bdrv_drain_all();
    }
}

/* A write in another thread, as TPM commands are processed */
typedef struct Worker {
    QemuThread thread;
    Device *device;             /* or: */
    BlobStoreBlob *blob;
    const char *text;
    bool ok;
    Error *err;
    bool done;
} Worker;

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

static void worker_start(Worker *worker, BlobStoreBlob *blob,
                         const char *text)
{
    *worker = (Worker) { .blob = blob, .text = text };
    qemu_thread_create(&worker->thread, "worker", worker_run, worker,
                       QEMU_THREAD_JOINABLE);
}

static void worker_finish(Worker *worker)
{
    poll_until(&worker->done);
    qemu_thread_join(&worker->thread);
}

/* Long enough for a worker to get to where it must wait */
static void worker_gets_stuck(Worker *worker)
{
    int64_t end = g_get_monotonic_time() + 100 * 1000;

    while (g_get_monotonic_time() < end) {
        aio_poll(qemu_get_aio_context(), false);
    }
    g_assert_false(qatomic_read(&worker->done));
}

static void test_write_in_worker(Fixture *fixture, gconstpointer data)
{
    Worker worker;

    worker_start(&worker, fixture->device.permanent, "new");
    worker_finish(&worker);
    g_assert_true(worker.ok);
    assert_text_on_medium(&fixture->device, "nvram", "new");
}

typedef struct CoroutineWrite {
    BlobStoreBlob *blob;
    bool done;
} CoroutineWrite;

static void coroutine_fn write_entry(void *opaque)
{
    CoroutineWrite *write = opaque;

    write_text(write->blob, "new");
    write->done = true;
}

static void test_write_in_coroutine(Fixture *fixture, gconstpointer data)
{
    CoroutineWrite write = { fixture->device.permanent };

    qemu_coroutine_enter(qemu_coroutine_create(write_entry, &write));
    poll_until(&write.done);
    assert_text_on_medium(&fixture->device, "nvram", "new");
}

/* Two writes at once, of two devices: one after the other, both durable. */
static void test_two_writers(Fixture *fixture, gconstpointer data)
{
    BlobStoreClient *other = blobstore_attach("nvram", "uefi", &error_abort);
    BlobStoreBlob *blob = blobstore_register_blob(other, "variables",
                                                  BLOBSTORE_PERMANENT,
                                                  4 * KiB, &error_abort);
    Worker worker;

    g_assert_true(blobstore_start(other, &error_abort));
    worker_start(&worker, fixture->device.permanent, "new");
    for (unsigned i = 0; i < 50; i++) {
        write_text(blob, "boot order");
    }
    worker_finish(&worker);
    g_assert_true(worker.ok);
    assert_text(blob, "boot order");
    blobstore_detach(other);
    assert_text_on_medium(&fixture->device, "nvram", "new");
}

/* All or nothing, whatever kind the blobs are of. */
static void test_write_several(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    g_autoptr(GBytes) text = g_bytes_new_static("new", 3);
    g_autoptr(GBytes) huge = g_bytes_new_take(g_malloc0(65 * KiB), 65 * KiB);
    BlobStoreChange changes[] = {
        { device->permanent, text }, { device->volatile_, text },
        { device->savestate, huge },
    };
    Error *err = NULL;

    g_assert_false(blobstore_write_blobs(device->client, changes, 3, &err));
    assert_error(err, "more than its maximum");
    assert_text(device->permanent, "old");
    assert_text(device->volatile_, NULL);

    changes[2].content = text;
    g_assert_true(blobstore_write_blobs(device->client, changes, 3,
                                        &error_abort));
    assert_text(device->permanent, "new");
    assert_text(device->volatile_, "new");
    assert_text(device->savestate, "new");
    assert_text_on_medium(device, "nvram", "new");
    assert_text(device->savestate, "new");
}

/* Not even where the last one would win, because nothing is written yet */
static void test_same_blob_twice(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));
    g_autoptr(GBytes) text = g_bytes_new_static("new", 3);
    BlobStoreChange permanent[] = {
        { device->permanent, text }, { device->permanent, NULL },
    };
    BlobStoreChange volatile_[] = {
        { device->volatile_, text }, { device->volatile_, NULL },
    };
    Error *err = NULL;

    g_assert_false(blobstore_write_blobs(device->client, volatile_, 2, &err));
    assert_error(err, "twice");
    err = NULL;
    bdrv_drained_begin(bs);
    g_assert_false(blobstore_write_blobs(device->client, permanent, 2, &err));
    bdrv_drained_end(bs);
    assert_error(err, "blob 'tpm/permanent' is in the same write twice");
    assert_text(device->permanent, "old");
}

static void test_bad_metadata(Fixture *fixture, gconstpointer data)
{
    const char *const no_value[] = { "key", NULL };
    const char *const no_key[] = { "=value", NULL };
    g_autofree char *kilobyte = g_strnfill(1 * KiB, '=');
    const char *const too_long[] = { "a=", kilobyte + 3, NULL };
    const char *const longest[] = { "a=", kilobyte + 4, NULL };
    Error *err = NULL;

    kilobyte[3] = kilobyte[4] = 'k';

    g_assert_false(blobstore_write_blob(fixture->device.permanent, "x", 1,
                                        no_value, &err));
    assert_error(err, "key=value");
    err = NULL;
    g_assert_false(blobstore_write_blob(fixture->device.volatile_, "x", 1,
                                        no_key, &err));
    assert_error(err, "key=value");
    err = NULL;
    g_assert_false(blobstore_write_blob(fixture->device.volatile_, "x", 1,
                                        too_long, &err));
    assert_error(err, "at most 1024 bytes");
    g_assert_true(blobstore_write_blob(fixture->device.savestate, "x", 1,
                                       longest, &error_abort));
    assert_text(fixture->device.permanent, "old");
}

/* The main thread may be the one that drains: what it writes is staged. */
static void test_drained_section_stages(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) drained = NULL;

    before = image_content(fixture->path);
    bdrv_drained_begin(bs);
    write_text(device->permanent, "new");
    blobstore_delete_blob(device->savestate, &error_abort);
    assert_text(device->permanent, "new");
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);
    drained = image_content(fixture->path);
    g_assert_true(g_bytes_equal(before, drained));
    bdrv_drained_end(bs);

    run_until_idle();
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/* A worker's write waits for the end of the section instead. */
static void test_drained_section_holds_worker(Fixture *fixture,
                                              gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));
    Worker worker;

    bdrv_drain_all_begin();
    worker_start(&worker, device->permanent, "new");
    worker_gets_stuck(&worker);
    assert_text(device->permanent, "old");
    /* Nested sections are one. */
    bdrv_drained_begin(bs);
    bdrv_drained_end(bs);
    worker_gets_stuck(&worker);
    bdrv_drain_all_end();
    worker_finish(&worker);
    g_assert_true(worker.ok);
    assert_text_on_medium(device, "nvram", "new");
}

/* What is staged while an older version is written comes after that. */
static void test_stage_during_write(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));

    bdrv_drained_begin(bs);
    write_text(device->permanent, "new");
    bdrv_drained_end(bs);
    /* Starts the write; its I/O goes through a thread pool. */
    aio_bh_poll(qemu_get_aio_context());
    bdrv_do_drained_begin_quiesce(bs, NULL);
    write_text(device->permanent, "newer");
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);
    bdrv_drained_end(bs);
    run_until_idle();
    assert_text(device->permanent, "newer");
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text_on_medium(device, "nvram", "newer");
}

/*
 * The main thread cannot wait for the end of a section that may be its own:
 * what needs the medium is refused.
 */
static void test_drained_section_refuses_start(Fixture *fixture,
                                               gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));
    BlobStoreClient *other;
    Error *err = NULL;

    device_unplug(device);
    bdrv_drained_begin(bs);
    g_assert_false(device_plug(device, "nvram", &err));
    assert_error(err, "drive 'nvram' is drained");
    bdrv_drained_end(bs);
    g_assert_true(device_plug(device, "nvram", &error_abort));
    assert_text(device->permanent, "old");

    other = blobstore_attach("nvram", "uefi", &error_abort);
    bdrv_drained_begin(bs);
    err = NULL;
    g_assert_null(blobstore_register_blob(other, "variables",
                                          BLOBSTORE_PERMANENT, 4 * KiB,
                                          &err));
    assert_error(err, "drive 'nvram' is drained");
    bdrv_drained_end(bs);
    blobstore_register_blob(other, "variables", BLOBSTORE_PERMANENT, 4 * KiB,
                            &error_abort);
    bdrv_drained_begin(bs);
    err = NULL;
    g_assert_false(blobstore_start(other, &err));
    assert_error(err, "drive 'nvram' is drained");
    bdrv_drained_end(bs);
    g_assert_true(blobstore_start(other, &error_abort));
    blobstore_detach(other);
}

/* Giving blobs back needs no medium, though others wait for it. */
static void test_unplug_in_drained_section(Fixture *fixture,
                                           gconstpointer data)
{
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));
    Worker worker;
    Device other;

    other.client = blobstore_attach("nvram", "uefi", &error_abort);
    blobstore_register_blob(other.client, "variables", BLOBSTORE_PERMANENT,
                            4 * KiB, &error_abort);
    g_assert_true(blobstore_start(other.client, &error_abort));

    bdrv_drained_begin(bs);
    worker_start(&worker, fixture->device.permanent, "new");
    worker_gets_stuck(&worker);
    blobstore_detach(other.client);
    bdrv_drained_end(bs);
    worker_finish(&worker);
    g_assert_true(worker.ok);

    bdrv_drained_begin(bs);
    device_unplug(&fixture->device);
    bdrv_drained_end(bs);
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
    assert_text(fixture->device.permanent, "new");
}

/* What was about to write when the section began gives up and goes. */
static void test_unplug_before_staged_is_written(Fixture *fixture,
                                                 gconstpointer data)
{
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));
    BlobStoreClient *other = blobstore_attach("nvram", "uefi", &error_abort);
    CoroutineWrite write = {
        .blob = blobstore_register_blob(other, "variables",
                                        BLOBSTORE_PERMANENT, 4 * KiB,
                                        &error_abort),
    };

    g_assert_true(blobstore_start(other, &error_abort));
    bdrv_drained_begin(bs);
    write_text(fixture->device.permanent, "lost");
    bdrv_drained_end(bs);
    /* One write has the core, the staged one waits for it. */
    qemu_coroutine_enter(qemu_coroutine_create(write_entry, &write));
    aio_bh_poll(qemu_get_aio_context());
    bdrv_do_drained_begin_quiesce(bs, NULL);
    device_unplug(&fixture->device);
    poll_until(&write.done);
    blobstore_detach(other);
    bdrv_drained_end(bs);
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
}

static void *write_much(void *opaque)
{
    Worker *worker = opaque;
    Device *device = worker->device;
    g_autoptr(GBytes) text = g_bytes_new_static(worker->text,
                                                strlen(worker->text));
    BlobStoreChange changes[] = {
        { device->permanent, text }, { device->savestate, text },
    };

    for (unsigned i = 0; i < 200; i++) {
        g_assert_true(blobstore_write_blobs(device->client, changes, 2,
                                            &error_abort));
    }
    qatomic_set(&worker->done, true);
    aio_notify(qemu_get_aio_context());
    return NULL;
}

/* A section that begins during a write waits for it, and not for ever. */
static void test_drain_during_write(Fixture *fixture, gconstpointer data)
{
    Worker worker = { .device = &fixture->device, .text = "new" };

    qemu_thread_create(&worker.thread, "worker", write_much, &worker,
                       QEMU_THREAD_JOINABLE);
    while (!qatomic_read(&worker.done)) {
        aio_poll(qemu_get_aio_context(), false);
        bdrv_drain_all();
    }
    worker_finish(&worker);
    assert_text_on_medium(&fixture->device, "nvram", "new");
    assert_text(fixture->device.savestate, "new");
}

/* A drive with this policy, on which fail_writes() makes writes fail */
static void set_up_policy(Fixture *fixture, gconstpointer data)
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

/* With events that blkdebug itself never raises */
static void fail_writes(bool fail)
{
    bdrv_debug_event(blk_bs(blk_by_name("nvram")),
                     fail ? BLKDBG_L1_GROW_ALLOC_TABLE
                          : BLKDBG_L1_GROW_WRITE_TABLE);
}

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

/* A write is not done before it is flushed: qcow2 has no FUA of its own. */
static void test_commit_is_flushed(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = image_new("flush", "qcow2", IMAGE_BYTES);
    BlockDriverState *bs;
    Error *err = NULL;
    Device device;

    bs = blk_bs(drive_add("flush", "{'driver': 'blkdebug', 'inject-error': ["
                          "{'event': 'l1_grow_alloc_table', 'iotype': "
                          "'flush', 'errno': 5}], 'image': {'driver': "
                          "'qcow2', 'file': {'driver': 'file', 'filename': "
                          "%s}}}", path));
    g_assert_true(device_plug(&device, "flush", &error_abort));
    write_text(device.permanent, "old");
    write_text(device.savestate, "old");
    bdrv_debug_event(bs, BLKDBG_L1_GROW_ALLOC_TABLE);
    g_assert_false(try_write_text(device.permanent, "new", &err));
    assert_hint(err, "cache.direct=on");
    assert_error(err, "Input/output error");
    device_unplug(&device);
    drive_remove("flush");
}

/* The device gets the error, the blob stays, the write can be repeated. */
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
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    g_assert_false(vm_stop_was_requested());

    fail_writes(false);
    write_text(device->permanent, "new");
    assert_text_on_medium(device, "nvram", "new");
}

/* The device goes on; the next write that works brings everything along. */
static void test_werror_ignore(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    BlockDriverState *bs = blk_bs(blk_by_name("nvram"));

    fail_writes(true);
    write_text(device->permanent, "new");
    assert_text(device->permanent, "new");
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);
    g_assert_false(vm_stop_was_requested());

    fail_writes(false);
    write_text(device->savestate, "suspended");
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);

    /* All is as before the error. */
    bdrv_drained_begin(bs);
    write_text(device->permanent, "newer");
    bdrv_drained_end(bs);
    run_until_idle();
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text_on_medium(device, "nvram", "newer");
    assert_text(device->savestate, "suspended");
}

/* The VM stops before the device knows, and writes when it continues. */
static void test_werror_stop(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    Worker worker;

    fail_writes(true);
    worker_start(&worker, device->permanent, "new");
    wait_for_stop_request(&worker);
    worker_gets_stuck(&worker);
    /* Nothing that stopping the VM waits for is held meanwhile. */
    bdrv_drain_all();
    vm_stop_now(RUN_STATE_IO_ERROR);
    worker_finish(&worker);
    g_assert_true(worker.ok);
    /* Stopping drains; the end of that is no reason to try again. */
    run_until_idle();
    assert_write_errors(1);
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);

    vm_start_now();
    g_assert_true(vm_stop_was_requested());
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);
    vm_stop_now(RUN_STATE_IO_ERROR);

    fail_writes(false);
    vm_start_now();
    g_assert_false(vm_stop_was_requested());
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/* A reset waits for the worker, so the worker must not wait for the stop. */
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

/* Also if the write fails only while the reset waits for it. */
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
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);
    vm_reset_end();

    /* From then on a write waits again. */
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

/* The main loop stops the VM: it cannot wait for that. */
static void test_werror_stop_in_main_thread(Fixture *fixture,
                                            gconstpointer data)
{
    fail_writes(true);
    write_text(fixture->device.permanent, "new");
    g_assert_true(vm_stop_was_requested());
    assert_state("nvram", BLOBSTORE_STATE_DIRTY);
    fail_writes(false);
}

/* The default: EIO is reported. */
static void test_werror_enospc(Fixture *fixture, gconstpointer data)
{
    Error *err = NULL;

    fail_writes(true);
    g_assert_false(try_write_text(fixture->device.permanent, "new", &err));
    assert_error(err, "Input/output error");
    fail_writes(false);
}

/* The drive belongs to another QEMU for a while: nothing is written. */
static void test_inactive_drive_stages(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;

    vm_stop_now(RUN_STATE_FINISH_MIGRATE);
    g_assert_cmpint(bdrv_inactivate_all(), ==, 0);
    assert_state("nvram", BLOBSTORE_STATE_INACTIVE);
    write_text(device->permanent, "new");
    assert_text(device->permanent, "new");
    bdrv_activate_all(&error_abort);
    vm_start_now();
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/* What stopped the VM may have reverted the image: RAM is what counts. */
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
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
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
    assert_state("nvram", BLOBSTORE_STATE_FAILED);
    assert_text(device->permanent, "old");
    after = image_content(fixture->path);
    g_assert_true(g_bytes_equal(other, after));

    image_set_content(fixture->path, ours);
    write_text(device->permanent, "new");
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text_on_medium(device, "nvram", "new");
}

/* At rest after a shutdown, which is recorded once. */
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

static void resize(uint64_t bytes)
{
    BlockBackend *blk = blk_by_name("nvram");

    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_RESIZE, BLK_PERM_ALL, NULL),
                    ==, 0);
    g_assert_cmpint(blk_truncate(blk, bytes, true, PREALLOC_MODE_OFF, 0,
                                 NULL), ==, 0);
    blk_set_perm(blk, 0, BLK_PERM_ALL, &error_abort);
    run_until_idle();
}

/* A shrink cannot be refused; it is named, and growing back heals it. */
static void test_shrink(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    Error *err = NULL;

    resize(IMAGE_BYTES / 2);
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    write_text(device->permanent, "newer");

    resize(128 * KiB);
    assert_state("nvram", BLOBSTORE_STATE_FAILED);
    assert_text(device->permanent, "newer");
    g_assert_false(try_write_text(device->permanent, "newest", &err));
    assert_hint(err, "block_resize nvram ");
    assert_error(err, "made smaller");

    /* Nor does the VM heal it that stops meanwhile. */
    vm_stop_now(RUN_STATE_PAUSED);
    vm_start_now();
    assert_state("nvram", BLOBSTORE_STATE_FAILED);

    resize(IMAGE_BYTES);
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);
    assert_text(device->permanent, "newer");
    assert_text_on_medium(device, "nvram", "newer");
}

/* That a blob was deleted is on the medium again, too. */
static void test_shrink_with_deleted_blob(Fixture *fixture,
                                          gconstpointer data)
{
    g_autofree char *path = image_new("crashed", "raw", IMAGE_BYTES);
    g_autoptr(GBytes) content = NULL;
    Device crashed;

    write_text(fixture->device.savestate, "suspended");
    blobstore_delete_blob(fixture->device.savestate, &error_abort);
    resize(128 * KiB);
    resize(IMAGE_BYTES);
    assert_state("nvram", BLOBSTORE_STATE_ACTIVE);

    content = image_content(fixture->path);
    image_set_content(path, content);
    drive_add_image("crashed", "raw", path);
    g_assert_true(device_plug(&crashed, "crashed", &error_abort));
    assert_text(crashed.permanent, "old");
    assert_text(crashed.savestate, NULL);
    device_unplug(&crashed);
    drive_remove("crashed");
    unlink(path);
}

/* Even if it cut off the directory */
static void test_shrink_below_the_directory(Fixture *fixture,
                                            gconstpointer data)
{
    resize(32 * KiB);
    vm_stop_now(RUN_STATE_PAUSED);
    resize(IMAGE_BYTES);
    vm_start_now();
    assert_text_on_medium(&fixture->device, "nvram", "old");
}

/* With more space a device may register more. */
static void test_grow(Fixture *fixture, gconstpointer data)
{
    BlobStoreClient *client;
    BlobStoreBlob *blob;
    Error *err = NULL;

    client = blobstore_attach("nvram", "uefi", &error_abort);
    blobstore_register_blob(client, "variables", BLOBSTORE_PERMANENT, 2 * MiB,
                            &error_abort);
    g_assert_false(blobstore_start(client, &err));
    assert_error(err, "too small");
    blobstore_detach(client);

    resize(8 * MiB);
    client = blobstore_attach("nvram", "uefi", &error_abort);
    blob = blobstore_register_blob(client, "variables", BLOBSTORE_PERMANENT,
                                   2 * MiB, &error_abort);
    g_assert_true(blobstore_start(client, &error_abort));
    write_text(blob, "boot order");
    blobstore_detach(client);
    assert_text(fixture->device.permanent, "old");
}

/* What a device wrote just before it is unplugged is not lost. */
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
    g_test_add(path, Fixture, NULL, set_up, test, tear_down);
}

static void add_policy(const char *path, BlockdevOnError policy,
                       void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, GINT_TO_POINTER(policy), set_up_policy, test,
               tear_down);
}

static void add_tests(void)
{
    add("/blobstore/write/worker", test_write_in_worker);
    add("/blobstore/write/coroutine", test_write_in_coroutine);
    add("/blobstore/write/two-writers", test_two_writers);
    add("/blobstore/write/several", test_write_several);
    add("/blobstore/write/same-blob-twice", test_same_blob_twice);
    add("/blobstore/write/bad-metadata", test_bad_metadata);
    add("/blobstore/write/flushed", test_commit_is_flushed);
    add("/blobstore/drain/stage", test_drained_section_stages);
    add("/blobstore/drain/hold-worker", test_drained_section_holds_worker);
    add("/blobstore/drain/stage-during-write", test_stage_during_write);
    add("/blobstore/drain/during-write", test_drain_during_write);
    add("/blobstore/drain/refuse-start", test_drained_section_refuses_start);
    add("/blobstore/drain/unplug", test_unplug_in_drained_section);
    add("/blobstore/drain/unplug-before-staged-is-written",
        test_unplug_before_staged_is_written);
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
    add("/blobstore/resize/shrink", test_shrink);
    add("/blobstore/resize/shrink-with-deleted-blob",
        test_shrink_with_deleted_blob);
    add("/blobstore/resize/shrink-below-directory",
        test_shrink_below_the_directory);
    add("/blobstore/resize/grow", test_grow);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
