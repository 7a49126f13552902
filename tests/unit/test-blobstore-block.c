/*
 * Blobstore over the real block layer: formats and media
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "crypto/secret.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

/* All that was written is read back after a restart. */
static void check_restart(const char *format, const char *options)
{
    static const char *const metadata[] = { "version=2.0", "profile=", NULL };
    g_autofree char *path = image_new_with("restart", format, options,
                                           IMAGE_BYTES);
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) found = NULL;
    Device device;

    drive_add_image("nvram", format, path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    assert_text(device.permanent, NULL);
    write_text(device.permanent, "first");
    write_text(device.savestate, "to be deleted");
    blobstore_write_blob(device.permanent, "second", 6, metadata,
                         &error_abort);
    blobstore_delete_blob(device.savestate, &error_abort);
    write_text(device.volatile_, "gone with the VM");
    device_unplug(&device);
    drive_remove("nvram");

    drive_add_image("nvram", format, path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    assert_text(device.permanent, "second");
    assert_text(device.savestate, NULL);
    assert_text(device.volatile_, NULL);
    blobstore_read_blob(device.permanent, &content, &found, &error_abort);
    g_assert_cmpuint(g_strv_length(found), ==, 2);
    g_assert_cmpstr(found[0], ==, metadata[0]);
    g_assert_cmpstr(found[1], ==, metadata[1]);
    device_unplug(&device);
    drive_remove("nvram");
}

static void test_restart_raw(void)
{
    check_restart("raw", NULL);
}

static void test_restart_qcow2(void)
{
    check_restart("qcow2", NULL);
}

static void test_restart_qcow2_small_clusters(void)
{
    check_restart("qcow2", "cluster_size=512");
}

/* An image whose size is no multiple of the block size works. */
static void test_odd_size(void)
{
    g_autofree char *path = image_new("odd", "raw", IMAGE_BYTES + 512);
    Device device;

    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    write_text(device.permanent, "text");
    assert_text_on_medium(&device, "nvram", "text");
    device_unplug(&device);
    drive_remove("nvram");
}

/* A drive that wants aligned requests works up to the block size. */
static void test_alignment(void)
{
    g_autofree char *path = image_new("aligned", "raw", IMAGE_BYTES);
    Device device;

    drive_add("nvram", "{'driver': 'blkdebug', 'align': 4096, 'image': "
              "{'driver': 'file', 'filename': %s}}", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    write_text(device.permanent, "text");
    assert_text_on_medium(&device, "nvram", "text");
    device_unplug(&device);
    drive_remove("nvram");

    drive_add("nvram", "{'driver': 'blkdebug', 'align': 8192, 'image': "
              "{'driver': 'file', 'filename': %s}}", path);
    assert_refused("nvram", "units of 8192 bytes");
    drive_remove("nvram");
}

/* The blank check does not read what block-status knows to be zero. */
static void test_holes_are_not_read(void)
{
    g_autofree char *path = image_new("holes", "raw", 64 * GiB);
    Device device;

    drive_add("nvram", "{'driver': 'blkdebug', 'inject-error': [{'event': "
              "'none', 'iotype': 'read', 'sector': 4194304}], 'image': "
              "{'driver': 'file', 'filename': %s}}", path);
    store_add("large", &error_abort, "drive", "nvram", "create", "always",
              NULL);
    g_assert_true(device_plug(&device, "large", &error_abort));
    device_unplug(&device);
    store_remove("large");
    drive_remove("nvram");
}

/*
 * A new LUKS image is noise: it is refused, and the message says what to do.
 * Once blank, it is accepted.
 */
static void test_luks(void)
{
    Object *secret = object_new_with_props(TYPE_QCRYPTO_SECRET,
                                           object_get_objects_root(), "sec0",
                                           &error_abort, "data", "123456",
                                           NULL);
    g_autofree char *path = image_new_with("luks", "luks",
                                           "key-secret=sec0,iter-time=10",
                                           IMAGE_BYTES);
    g_autoptr(GBytes) before = image_content(path);
    g_autoptr(GBytes) after = NULL;
    BlockBackend *blk;
    Device device;

    blk = drive_add("nvram", "{'driver': 'luks', 'key-secret': 'sec0', "
                    "'file': {'driver': 'file', 'filename': %s}}", path);
    assert_refused("nvram", "not blank");
    after = image_content(path);
    g_assert_true(g_bytes_equal(before, after));

    g_assert_cmpint(blk_set_perm(blk, BLK_PERM_WRITE, BLK_PERM_ALL, NULL), ==,
                    0);
    g_assert_cmpint(blk_pwrite_zeroes(blk, 0, IMAGE_BYTES, 0), ==, 0);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    write_text(device.permanent, "secret");
    assert_text_on_medium(&device, "nvram", "secret");
    device_unplug(&device);
    drive_remove("nvram");
    object_unparent(secret);
}

/* A medium with other content is refused by name and stays untouched. */
static void test_foreign(void)
{
    g_autofree char *path = image_new("foreign", "qcow2", IMAGE_BYTES);
    g_autoptr(GBytes) before = image_content(path);
    g_autoptr(GBytes) after = NULL;

    drive_add_image("nvram", "raw", path);
    assert_refused("nvram", "qcow2 image");
    after = image_content(path);
    g_assert_true(g_bytes_equal(before, after));
    drive_remove("nvram");
}

static void test_too_small(void)
{
    g_autofree char *path = image_new("small", "raw", 128 * KiB);
    g_autoptr(GBytes) before = image_content(path);
    g_autoptr(GBytes) after = NULL;

    drive_add_image("nvram", "raw", path);
    assert_refused("nvram", "too small");
    after = image_content(path);
    g_assert_true(g_bytes_equal(before, after));
    drive_remove("nvram");
}

/* A read error at start is no reason to format the medium again. */
static void test_read_error(void)
{
    g_autofree char *path = image_new("unreadable", "raw", IMAGE_BYTES);
    g_autoptr(BlobstoreInfo) info = NULL;
    uint64_t sector;
    BlobstoreBlobInfoList *blob;
    Device device;

    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    write_text(device.permanent, "text");
    info = store_info("nvram");
    blob = info->blobs;
    g_assert_cmpstr(blob->value->name, ==, "permanent");
    g_assert_cmpint(blob->value->kind, ==, BLOBSTORE_BLOB_KIND_PERMANENT);
    g_assert_true(blob->value->present);
    g_assert_cmpuint(blob->value->size, ==, 4);
    sector = blob->value->slots->value->current
             ? blob->value->slots->value->offset
             : blob->value->slots->next->value->offset;
    sector /= BDRV_SECTOR_SIZE;
    device_unplug(&device);
    drive_remove("nvram");

    drive_add("nvram", "{'driver': 'blkdebug', 'inject-error': [{'event': "
              "'none', 'iotype': 'read', 'sector': %" PRId64 "}], 'image': "
              "{'driver': 'file', 'filename': %s}}", (int64_t)sector, path);
    assert_refused("nvram", "blob 'tpm/permanent'");
    drive_remove("nvram");
}

static void test_unsafe_cache_is_shown(void)
{
    g_autofree char *path = image_new("unsafe", "qcow2", IMAGE_BYTES);
    g_autoptr(BlobstoreInfo) safe = NULL;
    g_autoptr(BlobstoreInfo) unsafe = NULL;
    Device device;

    drive_add_image("nvram", "qcow2", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    safe = store_info("nvram");
    g_assert_true(safe->durable);
    device_unplug(&device);
    drive_remove("nvram");

    drive_add("nvram", "{'driver': 'qcow2', 'file': {'driver': 'file', "
              "'filename': %s, 'cache.no-flush': 'on'}}", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    unsafe = store_info("nvram");
    g_assert_false(unsafe->durable);
    device_unplug(&device);
    drive_remove("nvram");
}

/* An image whose last user has not closed the store */
static char *image_of_unclean_end(const char *format)
{
    char *path = image_new("unclean", format, IMAGE_BYTES);
    g_autoptr(GBytes) content = NULL;
    Device device;

    drive_add_image("nvram", format, path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    write_text(device.permanent, "text");
    content = image_content(path);
    device_unplug(&device);
    drive_remove("nvram");
    image_set_content(path, content);
    return path;
}

/* Dropping the cache leaves others that use the node as they were. */
static void check_unclean_start_beside(const char *format, uint64_t perm)
{
    g_autofree char *path = image_of_unclean_end(format);
    BlockBackend *other = blk_new(qemu_get_aio_context(), perm, BLK_PERM_ALL);
    uint8_t sector[512];
    Device device;

    blk_insert_bs(other, blk_bs(drive_add_image("nvram", format, path)),
                  &error_abort);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    assert_text(device.permanent, "text");
    write_text(device.permanent, "newer");
    assert_text_on_medium(&device, "nvram", "newer");
    g_assert_cmpint(blk_pread(other, 0, sizeof(sector), sector, 0), ==, 0);
    device_unplug(&device);
    blk_unref(other);
    drive_remove("nvram");
}

static void test_unclean_start_beside_a_reader(void)
{
    check_unclean_start_beside("raw", BLK_PERM_CONSISTENT_READ);
    check_unclean_start_beside("qcow2", BLK_PERM_CONSISTENT_READ);
}

/* A block job keeps the node from being inactivated; the store starts. */
static void test_unclean_start_beside_a_job(void)
{
    check_unclean_start_beside("raw", BLK_PERM_WRITE_UNCHANGED);
    check_unclean_start_beside("qcow2", BLK_PERM_WRITE_UNCHANGED);
}

/* What the image says now, not what it said before the flush, counts. */
static void test_unclean_start_reads_the_drive_again(void)
{
    g_autofree char *path = image_of_unclean_end("qcow2");
    Device device;

    drive_add("nvram", "{'driver': 'qcow2', 'file': {'driver': 'blkdebug', "
              "'set-state': [{'event': 'flush_to_os', 'state': 1, "
              "'new_state': 2}], 'inject-error': [{'event': 'reftable_load', "
              "'state': 2}], 'image': {'driver': 'file', 'filename': "
              "%s}}}", path);
    assert_refused("nvram", "cannot read the drive again after an unclean "
                   "end");
    drive_remove("nvram");
    drive_add_image("nvram", "qcow2", path);
    g_assert_true(device_plug(&device, "nvram", &error_abort));
    assert_text(device.permanent, "text");
    device_unplug(&device);
    drive_remove("nvram");
}

static void add_tests(void)
{
    g_test_add_func("/blobstore/block/restart/raw", test_restart_raw);
    g_test_add_func("/blobstore/block/restart/qcow2", test_restart_qcow2);
    g_test_add_func("/blobstore/block/restart/qcow2-small-clusters",
                    test_restart_qcow2_small_clusters);
    g_test_add_func("/blobstore/block/odd-size", test_odd_size);
    g_test_add_func("/blobstore/block/alignment", test_alignment);
    g_test_add_func("/blobstore/block/holes", test_holes_are_not_read);
    g_test_add_func("/blobstore/block/luks", test_luks);
    g_test_add_func("/blobstore/block/foreign", test_foreign);
    g_test_add_func("/blobstore/block/too-small", test_too_small);
    g_test_add_func("/blobstore/block/read-error", test_read_error);
    g_test_add_func("/blobstore/block/unclean/reader",
                    test_unclean_start_beside_a_reader);
    g_test_add_func("/blobstore/block/unclean/job",
                    test_unclean_start_beside_a_job);
    g_test_add_func("/blobstore/block/unclean/read-again",
                    test_unclean_start_reads_the_drive_again);
    g_test_add_func("/blobstore/block/unsafe-cache",
                    test_unsafe_cache_is_shown);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
