/*
 * Blobstore over the real block layer: writing, from any thread
 *
 * In threads, in coroutines, and while the drive is drained
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "blobstore-vm.h"
#include "blobstore-writer.h"

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

/*
 * Two devices write at once: one write follows the other, and both are
 * durable.
 */
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

/* Either all blobs are written or none, of whatever kind they are. */
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
    assert_error(err, "more than its registered maximum");
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

/*
 * The same blob is refused even where the last version would win, because
 * nothing is written yet.
 */
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

/* The main thread may be the one that drains, so its writes are staged. */
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
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    drained = image_content(fixture->path);
    g_assert_true(g_bytes_equal(before, drained));
    bdrv_drained_end(bs);

    run_until_idle();
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
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

/* A version that is staged while an older one is written follows that one. */
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
    assert_state("nvram", BLOBSTORE_CONDITION_DIRTY);
    bdrv_drained_end(bs);
    run_until_idle();
    assert_text(device->permanent, "newer");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(device, "nvram", "newer");
}

/*
 * The main thread cannot wait for the end of a section that may be its own, so
 * operations that need the medium are refused.
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

/* Giving blobs back needs no medium, even if other threads wait for one. */
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

/* A staged write that had yet to begin when the section began gives up. */
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
    /* One write has the core, and the staged one waits for it. */
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

/*
 * A section that begins during a write waits for that write, and not forever.
 */
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

/* A write ends only after its flush: qcow2 has no FUA of its own. */
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

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, fixture_set_up, test, fixture_tear_down);
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
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
