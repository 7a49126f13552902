/*
 * Blobstore over the real block layer: names of drives and stores
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/qdev-core.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "blobstore/qemu/glue.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

/* A stand-in for a disk of the guest */
#define TYPE_TEST_DISK "blobstore-test-disk"

static const TypeInfo test_disk_info = {
    .name = TYPE_TEST_DISK,
    .parent = TYPE_DEVICE,
};

static void register_types(void)
{
    type_register_static(&test_disk_info);
}

type_init(register_types)

static void test_no_such_drive(void)
{
    assert_refused("nvram", "no blobstore object, drive or node 'nvram'");
    assert_refused("", "the name of a blobstore object, drive or node is "
                   "empty");
}

static void test_empty_drive(void)
{
    BlockBackend *blk = blk_new(qemu_get_aio_context(), 0, BLK_PERM_ALL);

    monitor_add_blk(blk, "nvram", &error_abort);
    assert_refused("nvram", "'nvram' is empty");
    drive_remove("nvram");
}

static void test_read_only_drive(void)
{
    g_autofree char *path = image_new("ro", "raw", IMAGE_BYTES);

    drive_add("nvram", "{'driver': 'raw', 'read-only': true, 'file': "
              "{'driver': 'file', 'filename': %s}}", path);
    assert_refused("nvram", "drive 'nvram' is read-only");
    drive_remove("nvram");
}

static void test_drive_of_a_device(void)
{
    g_autofree char *path = image_new("disk", "raw", IMAGE_BYTES);
    BlockBackend *blk = drive_add_image("nvram", "raw", path);
    DeviceState *disk = DEVICE(object_new(TYPE_TEST_DISK));

    disk->id = g_strdup("disk0");
    g_assert_cmpint(blk_attach_dev(blk, disk), ==, 0);
    assert_refused("nvram", "in use by device 'disk0'");
    blk_detach_dev(blk, disk);
    object_unref(OBJECT(disk));
    drive_remove("nvram");
}

static void test_node_with_another_writer(void)
{
    g_autofree char *path = image_new("writer", "raw", IMAGE_BYTES);
    BlockBackend *blk = drive_add("other", "{'driver': 'raw', 'node-name': "
                                  "'nvram', 'file': {'driver': 'file', "
                                  "'filename': %s}}", path);

    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_WRITE, BLK_PERM_ALL, NULL), ==,
                    0);
    assert_refused("nvram", "'nvram' is in use: ");
    drive_remove("other");
}

/* Once a store has the drive, nobody else may write to it. */
static void test_drive_is_ours(void)
{
    g_autofree char *path = image_new("ours", "raw", IMAGE_BYTES);
    BlockBackend *blk = drive_add_image("nvram", "raw", path);
    Error *err = NULL;
    Device device;

    g_assert_true(device_plug(&device, "nvram", &error_abort));
    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_WRITE, BLK_PERM_ALL, &err), <,
                    0);
    assert_error(err, "Permission conflict");
    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_RESIZE, BLK_PERM_ALL, NULL),
                    ==, 0);
    device_unplug(&device);
    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_WRITE, BLK_PERM_ALL, NULL), ==,
                    0);
    drive_remove("nvram");
}

/*
 * Devices that name the same drive share a store; an owner may attach only
 * once.
 */
static void test_implicit_store_is_shared(void)
{
    g_autofree char *path = image_new("shared", "raw", IMAGE_BYTES);
    BlobStoreClient *other;
    BlobStoreBlob *blob;
    Error *err = NULL;
    Device device;

    drive_add("nvram", "{'driver': 'raw', 'node-name': 'node0', 'file': "
              "{'driver': 'file', 'filename': %s}}", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    g_assert_null(blobstore_attach("nvram", "tpm", &err));
    assert_error(err, "the blobs of 'tpm' are in use");

    other = blobstore_attach("node0", "uefi", &error_abort);
    blob = blobstore_register_blob(other, "variables", BLOBSTORE_PERMANENT,
                                   4 * KiB, &error_abort);
    g_assert_true(blobstore_start(other, &error_abort));
    write_text(blob, "boot order");
    write_text(device.permanent, "keys");
    device_unplug(&device);
    assert_text(blob, "boot order");
    blobstore_detach(other);
    g_assert_null(object_resolve_path("/blobstores/nvram", NULL));

    g_assert_true(device_plug(&device, "nvram", &error_abort));
    assert_text(device.permanent, "keys");
    device_unplug(&device);
    drive_remove("nvram");
}

/* An object can exist before its drive. */
static void test_object(void)
{
    g_autofree char *path = image_new("object", "raw", IMAGE_BYTES);
    g_autoptr(BlobstoreInfo) info = NULL;
    Error *err = NULL;
    Device device;

    store_add("vmstate", &error_abort, "drive", "nvram", "pack", "on", NULL);
    assert_refused("vmstate", "no drive or node 'nvram'");
    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&device, "vmstate", &error_abort));
    user_creatable_del("vmstate", &err);
    assert_error(err, "in use");
    err = NULL;
    g_assert_false(object_property_set_str(
        object_resolve_path("/objects/vmstate", NULL), "drive", "x", &err));
    assert_error(err, "cannot be changed");
    info = store_info("vmstate");
    g_assert_cmpstr(info->drive, ==, "nvram");
    assert_refused("nvram", "belongs to the blobstore object 'vmstate'");
    device_unplug(&device);
    store_remove("vmstate");
    drive_remove("nvram");
}

static void test_pack(void)
{
    g_autofree char *path = image_new("pack", "raw", IMAGE_BYTES);
    g_autofree char *text = g_strnfill(60 * KiB, 'a');
    g_autoptr(BlobstoreInfo) info = NULL;
    BlobstoreBlobInfo *blob;
    Device device;

    drive_add_image("nvram", "raw", path);
    store_add("s", &error_abort, "drive", "nvram", "pack", "on", NULL);
    g_assert_true(device_plug(&device, "s", &error_abort));
    write_text(device.permanent, text);
    info = store_info("s");
    blob = info->blobs->value;
    g_assert_true(blob->packed);
    g_assert_cmpuint(blob->size, ==, 60 * KiB);
    g_assert_cmpuint(blob->stored_size, <, 4 * KiB);
    assert_text_on_medium(&device, "s", text);
    device_unplug(&device);
    store_remove("s");
    drive_remove("nvram");
}

static void test_ambiguous_name(void)
{
    g_autofree char *path = image_new("ambiguous", "raw", IMAGE_BYTES);
    Device device;

    drive_add_image("nvram", "raw", path);
    store_add("nvram", &error_abort, "drive", "another", NULL);
    assert_refused("nvram", "both a blobstore object");
    store_remove("nvram");

    store_add("nvram", &error_abort, "drive", "nvram", NULL);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    device_unplug(&device);
    store_remove("nvram");
    drive_remove("nvram");
}

static void test_two_objects_on_one_drive(void)
{
    g_autofree char *path = image_new("two", "raw", IMAGE_BYTES);
    Device device;

    drive_add_image("nvram", "raw", path);
    store_add("one", &error_abort, "drive", "nvram", NULL);
    store_add("two", &error_abort, "drive", "nvram", NULL);
    store_add("three", &error_abort, "drive", "nvram", NULL);
    g_assert_true(device_plug(&device, "one", &error_abort));
    assert_refused("two", "drive 'nvram' is in use by blobstore 'one'");
    assert_refused("three", "drive 'nvram' is in use by blobstore 'one'");
    device_unplug(&device);
    g_assert_true(device_plug(&device, "three", &error_abort));
    assert_refused("one", "drive 'nvram' is in use by blobstore 'three'");
    assert_refused("two", "drive 'nvram' is in use by blobstore 'three'");
    device_unplug(&device);
    store_remove("three");
    store_remove("one");
    store_remove("two");
    drive_remove("nvram");
}

static void test_bad_properties(void)
{
    Error *err = NULL;

    g_assert_null(store_add("s", &err, NULL));
    assert_error(err, "blobstore 's' needs 'drive'");
    err = NULL;
    g_assert_null(store_add("s", &err, "drive", "nvram", "uuid", "1", NULL));
    assert_error(err, "blobstore 's': '1' is not a UUID");
    err = NULL;
    g_assert_null(store_add("s", &err, "drive", "nvram", "rerror", "enospc",
                            NULL));
    assert_error(err, "blobstore 's': rerror=enospc");
}

/* create=never and uuid= keep a wrong image out, and write nothing. */
static void test_pinned_store(void)
{
    g_autofree char *path = image_new("pinned", "raw", IMAGE_BYTES);
    g_autoptr(GBytes) before = image_content(path);
    g_autoptr(GBytes) after = NULL;
    g_autofree char *uuid = NULL;
    Device device;

    drive_add_image("nvram", "raw", path);
    store_add("s", &error_abort, "drive", "nvram", "create", "never", NULL);
    assert_refused("s", "no store may be created");
    store_remove("s");
    store_add("s", &error_abort, "drive", "nvram", "uuid",
              "b9b5ba0a-8ac5-4f44-a3ad-2b9f0a2a7f5a", NULL);
    assert_refused("s", "medium is blank");
    after = image_content(path);
    g_assert_true(g_bytes_equal(before, after));

    store_remove("s");
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    {
        g_autoptr(BlobstoreInfo) info = store_info("nvram");

        uuid = g_strdup(info->uuid);
    }
    device_unplug(&device);
    store_add("s", &error_abort, "drive", "nvram", "uuid",
              "b9b5ba0a-8ac5-4f44-a3ad-2b9f0a2a7f5a", NULL);
    assert_refused("s", uuid);
    store_remove("s");
    store_add("s", &error_abort, "drive", "nvram", "uuid", uuid, "create",
              "never", NULL);
    g_assert_true(device_plug(&device, "s", &error_abort));
    device_unplug(&device);
    store_remove("s");
    drive_remove("nvram");
}

static void test_limits_of_registration(void)
{
    g_autofree char *path = image_new("limits", "raw", IMAGE_BYTES);
    g_autofree char *long_name = g_strnfill(64, 'n');
    BlobStoreClient *client;
    Error *err = NULL;

    drive_add_image("nvram", "raw", path);
    g_assert_null(blobstore_attach("nvram", "a/b", &err));
    assert_error(err, "owner 'a/b'");
    err = NULL;
    g_assert_null(blobstore_attach("nvram", "a b", &err));
    assert_error(err, "without space or '/'");
    client = blobstore_attach("nvram", "tpm", &error_abort);

    err = NULL;
    g_assert_null(blobstore_register_blob(client, long_name,
                                          BLOBSTORE_VOLATILE, 1, &err));
    assert_error(err, "1 to 63");
    err = NULL;
    g_assert_null(blobstore_register_blob(client, "a b", BLOBSTORE_VOLATILE,
                                          1, &err));
    assert_error(err, "without space or '/'");
    err = NULL;
    g_assert_null(blobstore_register_blob(client, "b", BLOBSTORE_PERMANENT, 0,
                                          &err));
    assert_error(err, "maximum size 0");
    g_assert_nonnull(blobstore_register_blob(client, "b", BLOBSTORE_PERMANENT,
                                             1, &error_abort));
    err = NULL;
    g_assert_null(blobstore_register_blob(client, "b", BLOBSTORE_VOLATILE, 1,
                                          &err));
    assert_error(err, "registered already");
    blobstore_detach(client);
    drive_remove("nvram");
}

/*
 * Somebody who uses the core for a while, as a command that changes keys does
 */
typedef struct User {
    BlobStoreObject *store;
    bool found_core;            /* at each look */
    bool done;
} User;

static void coroutine_fn use_entry(void *opaque)
{
    User *user = opaque;

    user->found_core = true;
    if (blobstore_gate_try_enter(user->store, NULL)) {
        for (int i = 0; i < 10; i++) {
            aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
            qemu_coroutine_yield();
            user->found_core &= user->store->open.core != NULL;
        }
        if (user->found_core) {
            blobstore_gate_leave(user->store);
        }
    }
    user->done = true;
}

static void use(void *opaque)
{
    qemu_coroutine_enter(qemu_coroutine_create(use_entry, opaque));
}

/*
 * The last user closes the store, even if it need not be closed clean and
 * somebody else began to wait meanwhile.
 */
static void test_store_is_closed_when_nobody_uses_it(void)
{
    g_autofree char *path = image_new("closed", "raw", IMAGE_BYTES);
    Object *obj = store_add("vmstate", &error_abort, "drive", "nvram", NULL);
    User users[2] = { { BLOBSTORE(obj) }, { BLOBSTORE(obj) } };
    Device device;

    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&device, "vmstate", &error_abort));
    blobstore_state_event(users[0].store, BLOBSTORE_EVENT_CHANGED);
    use(&users[0]);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), use, &users[1]);
    device_unplug(&device);
    for (unsigned i = 0; i < ARRAY_SIZE(users); i++) {
        poll_until(&users[i].done);
        g_assert_true(users[i].found_core);
    }
    g_assert_true(device_plug(&device, "vmstate", &error_abort));
    device_unplug(&device);
    store_remove("vmstate");
    drive_remove("nvram");
}

static void add_tests(void)
{
    g_test_add_func("/blobstore/drive/missing", test_no_such_drive);
    g_test_add_func("/blobstore/drive/empty", test_empty_drive);
    g_test_add_func("/blobstore/drive/read-only", test_read_only_drive);
    g_test_add_func("/blobstore/drive/of-a-device", test_drive_of_a_device);
    g_test_add_func("/blobstore/drive/another-writer",
                    test_node_with_another_writer);
    g_test_add_func("/blobstore/drive/ours", test_drive_is_ours);
    g_test_add_func("/blobstore/store/shared",
                    test_implicit_store_is_shared);
    g_test_add_func("/blobstore/store/object", test_object);
    g_test_add_func("/blobstore/store/pack", test_pack);
    g_test_add_func("/blobstore/store/ambiguous", test_ambiguous_name);
    g_test_add_func("/blobstore/store/two-objects",
                    test_two_objects_on_one_drive);
    g_test_add_func("/blobstore/store/bad-properties", test_bad_properties);
    g_test_add_func("/blobstore/store/pinned", test_pinned_store);
    g_test_add_func("/blobstore/store/registration",
                    test_limits_of_registration);
    g_test_add_func("/blobstore/store/closed",
                    test_store_is_closed_when_nobody_uses_it);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
