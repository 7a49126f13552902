/*
 * Blobstore over the real block layer: the state of the VM, saved and loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

/* Places in the stream; see vmstate-identity.c and vmstate-blobs.c */
enum {
    ENCRYPTED = 16 + 4 + 8 + 16,
    ANNOUNCED_COUNT = ENCRYPTED + 1,
    ANNOUNCED = ANNOUNCED_COUNT + 4,
    ANNOUNCED_BYTES = 64 + 64 + 1 + 8,
    ANNOUNCED_KIND = 64 + 64,
    SEQUENCE = ANNOUNCED + 3 * ANNOUNCED_BYTES + 1,
    CARRIED_COUNT = SEQUENCE + 8 + 16,
    CARRIED = CARRIED_COUNT + 4,
    CARRIED_NAME = CARRIED + 64,
    CARRIED_SIZE = CARRIED + 64 + 64 + 1,
    CARRIED_METADATA_SIZE = CARRIED_SIZE + 4,
    CARRIED_PAYLOAD_SIZE = CARRIED_METADATA_SIZE + 4,
    CARRIED_PAYLOAD = CARRIED_PAYLOAD_SIZE + 4,
};

typedef struct Calls {
    Device *device;
    unsigned saved;
    unsigned loaded;
    const char *failure;
    char *seen;                 /* of the volatile blob by load */
} Calls;

static bool save(void *opaque, Error **errp)
{
    Calls *calls = opaque;

    calls->saved++;
    if (calls->failure) {
        error_setg(errp, "%s", calls->failure);
        return false;
    }
    write_text(calls->device->volatile_, "as saved");
    return true;
}

static bool load(void *opaque, Error **errp)
{
    Calls *calls = opaque;
    g_autoptr(GBytes) content = NULL;

    calls->loaded++;
    blobstore_read_blob(calls->device->volatile_, &content, NULL,
                        &error_abort);
    g_free(calls->seen);
    calls->seen = content ? g_strndup(g_bytes_get_data(content, NULL),
                                      g_bytes_get_size(content)) : NULL;
    if (calls->failure) {
        error_setg(errp, "%s", calls->failure);
        return false;
    }
    return true;
}

static const BlobStoreClientOps ops = { .save = save, .load = load };

typedef struct Fixture {
    char *path;                 /* of the destination's image, which is blank */
    char *uuid;                 /* of the source */
    GBytes *stream;
    GBytes *blank;
    Calls calls;
    Device device;
} Fixture;

static void plug(Fixture *fixture, const char *path)
{
    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
    fixture->calls.device = &fixture->device;
    blobstore_set_ops(fixture->device.client, &ops, &fixture->calls);
}

static void unplug(Fixture *fixture)
{
    device_unplug(&fixture->device);
    drive_remove("nvram");
}

static char *store_uuid(void)
{
    g_autoptr(BlobstoreInfo) info = store_info("nvram");

    return g_strdup(info->uuid);
}

/* Saves a stream, and starts a VM that waits for it. */
static void set_up(Fixture *fixture, gconstpointer data)
{
    g_autofree char *source = image_new("source", "raw", IMAGE_BYTES);
    static const char *const metadata[] = { "colour=blue", "size=", NULL };

    plug(fixture, source);
    g_assert_true(blobstore_write_blob(fixture->device.permanent, "kept", 4,
                                       metadata, &error_abort));
    fixture->stream = vm_save_state();
    g_assert_nonnull(fixture->stream);
    fixture->uuid = store_uuid();
    unplug(fixture);
    unlink(source);

    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    fixture->blank = image_content(fixture->path);
    vm_set_incoming(true);
    plug(fixture, fixture->path);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    unplug(fixture);
    vm_set_incoming(false);
    unlink(fixture->path);
    g_free(fixture->path);
    g_free(fixture->uuid);
    g_free(fixture->calls.seen);
    g_bytes_unref(fixture->stream);
    g_bytes_unref(fixture->blank);
}

static void assert_nothing_written(Fixture *fixture)
{
    g_autoptr(GBytes) now = image_content(fixture->path);

    g_assert_true(g_bytes_equal(now, fixture->blank));
}

static void assert_loaded(Fixture *fixture)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;

    g_assert_true(blobstore_read_blob(fixture->device.permanent, &content,
                                      &metadata, &error_abort));
    g_assert_cmpmem(g_bytes_get_data(content, NULL),
                    g_bytes_get_size(content), "kept", 4);
    g_assert_cmpuint(g_strv_length(metadata), ==, 2);
    g_assert_cmpstr(metadata[0], ==, "colour=blue");
    g_assert_cmpstr(metadata[1], ==, "size=");
    assert_text(fixture->device.savestate, NULL);
    assert_text(fixture->device.volatile_, "as saved");
}

static void test_round_trip(Fixture *fixture, gconstpointer data)
{
    g_assert_cmpuint(fixture->calls.saved, ==, 1);
    assert_text(fixture->device.permanent, NULL);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_cmpuint(fixture->calls.loaded, ==, 1);
    g_assert_cmpstr(fixture->calls.seen, ==, "as saved");
    assert_loaded(fixture);
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

static void test_vm_that_waits_knows_its_store(Fixture *fixture,
                                               gconstpointer data)
{
    g_autofree char *uuid = NULL;

    g_assert_true(vm_load_state(fixture->stream));
    assert_state("nvram", BLOBSTORE_CONDITION_INACTIVE);
    uuid = store_uuid();
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
    assert_nothing_written(fixture);
    assert_state("nvram", BLOBSTORE_CONDITION_INACTIVE);
    g_assert_true(vm_load_state(fixture->stream));
    write_text(fixture->device.savestate, "staged");
    bdrv_drain_all();
    vm_reset_now();
    assert_nothing_written(fixture);
    g_assert_true(vm_start_now());
    assert_text(fixture->device.savestate, "staged");
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

static void test_vm_that_quits_while_it_waits_writes_nothing(
    Fixture *fixture, gconstpointer data)
{
    vm_stop_now(RUN_STATE_SHUTDOWN);
    assert_nothing_written(fixture);
    vm_set_incoming(true);
}

static void test_start_without_a_stream_fails(Fixture *fixture,
                                              gconstpointer data)
{
    g_assert_false(vm_start_now());
    g_assert_true(runstate_check(RUN_STATE_IO_ERROR));
    assert_nothing_written(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
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
    assert_nothing_written(fixture);
    fixture->calls.failure = NULL;
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
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

static void reset_for_snapshot(void)
{
    vm_stop_now(RUN_STATE_RESTORE_VM);
    vm_reset_for_snapshot();
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
    reset_for_snapshot();
    g_assert_true(vm_load_state(fixture->stream));
    bdrv_drain_all_end();
    assert_nothing_written(fixture);
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

/* The state that migrated in is still there. */
static void test_reset_after_a_snapshot_that_a_vm_that_has_come_cannot_load(
    Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) cut = g_bytes_new_from_bytes(fixture->stream, 0,
                                                   CARRIED);

    g_assert_true(vm_load_state(fixture->stream));
    reset_for_snapshot();
    g_assert_false(vm_load_state(cut));
    g_assert_false(vm_start_now());
    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
    assert_text_on_medium(&fixture->device, "nvram", "kept");
}

/* The state that the device had before is still there. */
static void test_reset_after_a_snapshot_that_a_device_cannot_load(
    Fixture *fixture, gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    reset_for_snapshot();
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
    assert_nothing_written(fixture);
    vm_set_incoming(true);
}

/* Starts a new QEMU that waits; each takes one stream. */
static void wait_again(Fixture *fixture)
{
    device_unplug(&fixture->device);
    drive_remove("nvram");
    vm_set_incoming(true);
    plug(fixture, fixture->path);
}

/* Loads the stream with @bytes at @offset; that must not do any harm. */
static bool load_changed(Fixture *fixture, size_t offset, const void *bytes,
                         size_t count)
{
    gsize size;
    g_autofree uint8_t *changed =
        g_memdup2(g_bytes_get_data(fixture->stream, &size),
                  g_bytes_get_size(fixture->stream));
    g_autoptr(GBytes) stream = NULL;

    wait_again(fixture);
    g_assert_cmpuint(offset + count, <=, size);
    memcpy(changed + offset, bytes, count);
    stream = g_bytes_new(changed, size);
    return vm_load_state(stream);
}

static void assert_stream_refused(Fixture *fixture, size_t offset,
                                  const void *bytes, size_t count)
{
    g_assert_false(load_changed(fixture, offset, bytes, count));
    g_assert_false(vm_start_now());
    g_assert_null(vm_save_state());
    assert_nothing_written(fixture);
}

/* A stream's statement about itself does not count for the next stream. */
static void test_stream_without_identity_is_refused(Fixture *fixture,
                                                    gconstpointer data)
{
    g_autoptr(GBytes) rest = g_bytes_new_from_bytes(
        fixture->stream, SEQUENCE,
        g_bytes_get_size(fixture->stream) - SEQUENCE);

    for (int i = 0; i < 2; i++) {
        g_assert_false(vm_load_rest_of_state(rest, 1));
        g_assert_false(vm_start_now());
        assert_nothing_written(fixture);
        g_assert_true(vm_load_state(fixture->stream));
    }
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    reset_for_snapshot();
    g_assert_false(vm_load_rest_of_state(rest, 1));
    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_text_on_medium(&fixture->device, "nvram", "last");
}

/*
 * The sequence is above the limit for incoming ones, but that is not what ends
 * the load.
 */
static void test_store_with_the_highest_sequence_can_be_saved(
    Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) again = NULL;
    uint8_t highest[8];

    stq_be_p(highest, UINT64_C(0x7fffffff00000000));
    g_assert_true(load_changed(fixture, SEQUENCE, highest, sizeof(highest)));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
    again = vm_save_state();
    g_assert_nonnull(again);
    write_text(fixture->device.permanent, "more");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
}

static void test_lies_are_refused(Fixture *fixture, gconstpointer data)
{
    static const struct {
        size_t offset;
        uint64_t value;
        size_t bytes;
    } lies[] = {
        { 16, 2, 4 },                           /* format version */
        { ENCRYPTED, 1, 1 },                    /* without a key */
        { ANNOUNCED_COUNT, 2, 4 },
        { ANNOUNCED_COUNT, 4, 4 },
        { ANNOUNCED_COUNT, 0x7fffffff, 4 },
        { ANNOUNCED_COUNT, 0xffffffff, 4 },
        { ANNOUNCED, ' ', 1 },                  /* owner */
        { ANNOUNCED + 64, 'q', 1 },             /* name: another blob */
        { ANNOUNCED + ANNOUNCED_KIND, BLOBSTORE_SAVESTATE, 1 },
        { ANNOUNCED + ANNOUNCED_KIND, 3, 1 },
        { ANNOUNCED + ANNOUNCED_KIND + 1, 64 * KiB + 1, 8 },
        { ANNOUNCED + ANNOUNCED_KIND + 1, 0, 8 },
        { SEQUENCE, UINT64_C(1) << 63, 8 },
        { SEQUENCE, 0, 8 },                     /* behind the first section */
        { SEQUENCE + 8, 0x1234, 8 },            /* beside that sequence */
        { CARRIED_COUNT, 2, 4 },
        { CARRIED_COUNT, 4, 4 },
        { CARRIED_COUNT, 0xffffffff, 4 },
        { CARRIED, 'x', 1 },
        { CARRIED_NAME, 'x', 1 },
        { CARRIED_SIZE, 64 * KiB + 1, 4 },
        { CARRIED_SIZE, 0xffffffff, 4 },
        { CARRIED_SIZE - 1, 0, 1 },             /* absent, with content */
        { CARRIED_METADATA_SIZE, 1025, 4 },
        { CARRIED_PAYLOAD_SIZE, 0, 4 },
        { CARRIED_PAYLOAD_SIZE, 0xffffffff, 4 },
        { CARRIED_PAYLOAD, '=', 1 },            /* metadata without a key */
    };

    for (int i = 0; i < ARRAY_SIZE(lies); i++) {
        uint8_t bytes[8];

        stq_be_p(bytes, lies[i].value);
        g_test_message("lie %d", i);
        assert_stream_refused(fixture, lies[i].offset,
                              bytes + 8 - lies[i].bytes, lies[i].bytes);
    }
    /* A name that does not end */
    {
        char name[64];

        memset(name, 'a', sizeof(name));
        assert_stream_refused(fixture, ANNOUNCED, name, sizeof(name));
        assert_stream_refused(fixture, CARRIED, name, sizeof(name));
    }
    wait_again(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
}

/*
 * A stream that is cut off or changed anywhere is refused, or means something
 * else.
 */
static void test_noise_does_no_harm(Fixture *fixture, gconstpointer data)
{
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(fixture->stream, &size);

    for (gsize i = 0; i < size; i++) {
        g_autoptr(GBytes) cut = g_bytes_new(bytes, i);
        uint8_t other = bytes[i] ^ (1 << g_test_rand_int_range(0, 8));

        g_assert_false(vm_load_state(cut));
        load_changed(fixture, i, &other, 1);
        wait_again(fixture);
    }
    assert_nothing_written(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
}

/* One load must not use the user's key, and present a PIN, more than once. */
static void test_second_identity_is_refused(Fixture *fixture,
                                            gconstpointer data)
{
    g_autoptr(GBytes) first = g_bytes_new_from_bytes(fixture->stream, 0,
                                                     SEQUENCE);

    g_assert_false(vm_load_state(first));
    g_assert_false(vm_load_state(fixture->stream));
    assert_nothing_written(fixture);
    wait_again(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_false(vm_start_now());
    assert_nothing_written(fixture);
    wait_again(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
}

/* The same holds for loadvm, which begins with a reset. */
static void test_second_identity_in_a_snapshot_is_refused(
    Fixture *fixture, gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    reset_for_snapshot();
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_false(vm_start_now());
    reset_for_snapshot();
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_loaded(fixture);
}

/* The source and the destination must have the same devices. */
static void test_missing_blob_is_refused(Fixture *fixture, gconstpointer data)
{
    BlobStoreClient *client = blobstore_attach("nvram", "more", &error_abort);

    g_assert_nonnull(blobstore_register_blob(client, "blob",
                                             BLOBSTORE_PERMANENT, 1,
                                             &error_abort));
    g_assert_true(blobstore_start(client, &error_abort));
    g_assert_false(vm_load_state(fixture->stream));
    blobstore_detach(client);
    g_assert_true(vm_load_state(fixture->stream));
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
    reset_for_snapshot();
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
    g_test_add("/blobstore/vmstate/" name, Fixture, NULL, set_up, test, \
               tear_down)
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
    ADD("without-identity", test_stream_without_identity_is_refused);
    ADD("second-identity", test_second_identity_is_refused);
    ADD("second-identity-in-snapshot",
        test_second_identity_in_a_snapshot_is_refused);
    ADD("highest-sequence", test_store_with_the_highest_sequence_can_be_saved);
    ADD("lies", test_lies_are_refused);
    ADD("noise", test_noise_does_no_harm);
    ADD("missing-blob", test_missing_blob_is_refused);
    g_test_add_func("/blobstore/vmstate/order",
                    test_order_of_devices_does_not_matter);
    g_test_add_func("/blobstore/vmstate/reset",
                    test_reset_after_a_failed_load);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
