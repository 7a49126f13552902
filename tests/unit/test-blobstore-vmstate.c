/*
 * Blobstore over the real block layer: the state of the VM, saved and loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "blobstore-incoming.h"

static void test_round_trip(Fixture *fixture, gconstpointer data)
{
    g_assert_cmpuint(fixture->calls.saved, ==, 1);
    assert_text(fixture->device.permanent, NULL);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_cmpuint(fixture->calls.loaded, ==, 1);
    g_assert_cmpstr(fixture->calls.seen, ==, "as saved");
    incoming_assert_loaded(fixture);
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

static void test_vm_that_waits_knows_its_store(Fixture *fixture,
                                               gconstpointer data)
{
    g_autofree char *uuid = NULL;

    g_assert_true(vm_load_state(fixture->stream));
    assert_state("nvram", BLOBSTORE_CONDITION_INACTIVE);
    uuid = incoming_store_uuid();
    g_assert_cmpstr(uuid, ==, fixture->uuid);
}

/*
 * The node may be written, as an export of it would need; the VM still may
 * not.
 */
static void test_nothing_is_written_before_the_start(Fixture *fixture,
                                                     gconstpointer data)
{
    write_text(fixture->device.permanent, "early");
    vm_reset_now();
    bdrv_drain_all();
    incoming_assert_nothing_written(fixture);
    assert_state("nvram", BLOBSTORE_CONDITION_INACTIVE);
    g_assert_true(vm_load_state(fixture->stream));
    write_text(fixture->device.savestate, "staged");
    bdrv_drain_all();
    vm_reset_now();
    incoming_assert_nothing_written(fixture);
    g_assert_true(vm_start_now());
    assert_text(fixture->device.savestate, "staged");
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

static void test_vm_that_quits_while_it_waits_writes_nothing(
    Fixture *fixture, gconstpointer data)
{
    vm_stop_now(RUN_STATE_SHUTDOWN);
    incoming_assert_nothing_written(fixture);
    vm_set_incoming(true);
}

static void test_start_without_a_stream_fails(Fixture *fixture,
                                              gconstpointer data)
{
    g_assert_false(vm_start_now());
    g_assert_true(runstate_check(RUN_STATE_IO_ERROR));
    incoming_assert_nothing_written(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
}

static void test_device_that_cannot_save(Fixture *fixture, gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    fixture->calls.failure = "no";
    g_assert_null(vm_save_state());
    fixture->calls.failure = NULL;
    assert_text(fixture->device.permanent, "kept");
}

static void test_device_that_cannot_load(Fixture *fixture, gconstpointer data)
{
    fixture->calls.failure = "no";
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_false(vm_start_now());
    g_assert_null(vm_save_state());
    incoming_assert_nothing_written(fixture);
    fixture->calls.failure = NULL;
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
}

/* The two VMs of COLO would share a store, which is impossible. */
static void test_colo_is_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) again = NULL;

    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    vm_set_colo(true);
    g_assert_null(vm_save_state());
    vm_set_colo(false);
    again = vm_save_state();
    g_assert_nonnull(again);
}

/*
 * The VM has not run yet, and the load is in a drained section, in which
 * nothing can be read.
 */
static void test_snapshot_is_loaded_into_a_vm_that_has_come(
    Fixture *fixture, gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    bdrv_drain_all_begin();
    incoming_reset_for_snapshot();
    g_assert_true(vm_load_state(fixture->stream));
    bdrv_drain_all_end();
    incoming_assert_nothing_written(fixture);
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

/* The state that migrated in is still there. */
static void test_reset_after_a_snapshot_that_a_vm_that_has_come_cannot_load(
    Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) cut = g_bytes_new_from_bytes(fixture->stream, 0,
                                                   CARRIED);

    g_assert_true(vm_load_state(fixture->stream));
    incoming_reset_for_snapshot();
    g_assert_false(vm_load_state(cut));
    g_assert_false(vm_start_now());
    vm_reset_now();
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

/* The state that the device had before is still there. */
static void test_reset_after_a_snapshot_that_a_device_cannot_load(
    Fixture *fixture, gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    incoming_reset_for_snapshot();
    fixture->calls.failure = "no";
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_cmpstr(fixture->calls.seen, ==, "as saved");
    g_assert_false(vm_start_now());
    fixture->calls.failure = NULL;
    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_text(fixture->device.permanent, "last");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(&fixture->device, "nvram", "last");
}

/* After a reset the device would begin with nothing, and write that. */
static void test_reset_does_not_do_for_a_stream(Fixture *fixture,
                                                gconstpointer data)
{
    g_assert_false(vm_start_now());
    vm_reset_now();
    g_assert_false(vm_start_now());
    incoming_assert_nothing_written(fixture);
    vm_set_incoming(true);
}

/* Attaches the devices "a" and "z", each with one blob, in some order. */
static void attach_two(const char *order, BlobStoreClient *clients[2],
                       BlobStoreBlob *blobs[2])
{
    for (int i = 0; i < 2; i++) {
        const char owner[] = { order[i], 0 };

        clients[i] = blobstore_attach("nvram", owner, &error_abort);
        blobs[i] = blobstore_register_blob(clients[i], "blob",
                                           BLOBSTORE_PERMANENT, 10,
                                           &error_abort);
        g_assert_true(blobstore_start(clients[i], &error_abort));
    }
}

static void detach_two(BlobStoreClient *clients[2])
{
    blobstore_detach(clients[0]);
    blobstore_detach(clients[1]);
}

static void test_order_of_devices_does_not_matter(void)
{
    g_autofree char *path = image_new("order", "raw", IMAGE_BYTES);
    g_autoptr(GBytes) stream = NULL;
    BlobStoreClient *clients[2];
    BlobStoreBlob *blobs[2];

    drive_add_image("nvram", "raw", path);
    attach_two("za", clients, blobs);
    write_text(blobs[0], "of z");
    write_text(blobs[1], "of a");
    stream = vm_save_state();
    g_assert_nonnull(stream);
    detach_two(clients);

    vm_set_incoming(true);
    attach_two("az", clients, blobs);
    g_assert_true(vm_load_state(stream));
    assert_text(blobs[0], "of a");
    assert_text(blobs[1], "of z");
    g_assert_true(vm_start_now());
    detach_two(clients);
    drive_remove("nvram");
    unlink(path);
}

/* RAM has what the device wrote last, and writes that to the medium again. */
static void test_reset_after_a_failed_load(void)
{
    g_autofree char *path = image_new("reset", "raw", IMAGE_BYTES);
    g_autoptr(GBytes) stream = NULL;
    g_autoptr(GBytes) cut = NULL;
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;
    BlobStoreClient *late;
    Error *err = NULL;
    Device device;

    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    stream = vm_save_state();
    write_text(device.permanent, "last");
    cut = g_bytes_new_from_bytes(stream, 0, CARRIED);
    incoming_reset_for_snapshot();
    g_assert_false(vm_load_state(cut));
    assert_state("nvram", BLOBSTORE_CONDITION_FAILED);
    g_assert_false(vm_start_now());

    /* A device that attaches now is refused, and changes nothing. */
    before = image_content(path);
    late = blobstore_attach("nvram", "late", &error_abort);
    g_assert_null(blobstore_register_blob(late, "blob", BLOBSTORE_PERMANENT,
                                          1, &err));
    assert_error(err, "was not loaded completely");
    blobstore_detach(late);
    after = image_content(path);
    g_assert_true(g_bytes_equal(before, after));

    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_text(device.permanent, "last");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(&device, "nvram", "last");
    device_unplug(&device);
    drive_remove("nvram");
    unlink(path);
}

static void add_tests(void)
{
#define ADD(name, test) \
    g_test_add("/blobstore/vmstate/" name, Fixture, NULL, incoming_set_up, \
               test, incoming_tear_down)
    ADD("round-trip", test_round_trip);
    ADD("uuid", test_vm_that_waits_knows_its_store);
    ADD("before-start", test_nothing_is_written_before_the_start);
    ADD("quit", test_vm_that_quits_while_it_waits_writes_nothing);
    ADD("no-stream", test_start_without_a_stream_fails);
    ADD("cannot-save", test_device_that_cannot_save);
    ADD("cannot-load", test_device_that_cannot_load);
    ADD("snapshot-before-start",
        test_snapshot_is_loaded_into_a_vm_that_has_come);
    ADD("cannot-load-snapshot-before-start",
        test_reset_after_a_snapshot_that_a_vm_that_has_come_cannot_load);
    ADD("cannot-load-snapshot",
        test_reset_after_a_snapshot_that_a_device_cannot_load);
    ADD("reset-without-stream", test_reset_does_not_do_for_a_stream);
    ADD("colo", test_colo_is_refused);
    g_test_add_func("/blobstore/vmstate/order",
                    test_order_of_devices_does_not_matter);
    g_test_add_func("/blobstore/vmstate/reset",
                    test_reset_after_a_failed_load);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
