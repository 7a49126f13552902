/*
 * Blobstore over the real block layer: a drive that is resized
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "blobstore-vm.h"
#include "blobstore-writer.h"

/*
 * A shrink cannot be refused: it is reported, and growing back heals the
 * store.
 */
static void test_shrink(Fixture *fixture, gconstpointer data)
{
    Device *device = &fixture->device;
    Error *err = NULL;

    drive_resize(IMAGE_BYTES / 2);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    write_text(device->permanent, "newer");

    drive_resize(128 * KiB);
    assert_state("nvram", BLOBSTORE_CONDITION_FAILED);
    assert_text(device->permanent, "newer");
    g_assert_false(try_write_text(device->permanent, "newest", &err));
    assert_hint(err, "block_resize nvram ");
    assert_error(err, "made smaller");

    /* Stopping the VM meanwhile does not heal the store. */
    vm_stop_now(RUN_STATE_PAUSED);
    vm_start_now();
    assert_state("nvram", BLOBSTORE_CONDITION_FAILED);

    drive_resize(IMAGE_BYTES);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text(device->permanent, "newer");
    assert_text_on_medium(device, "nvram", "newer");
}

/* The deletion of a blob is on the medium again, too. */
static void test_shrink_with_deleted_blob(Fixture *fixture,
                                          gconstpointer data)
{
    g_autofree char *path = image_new("crashed", "raw", IMAGE_BYTES);
    g_autoptr(GBytes) content = NULL;
    Device crashed;

    write_text(fixture->device.savestate, "suspended");
    blobstore_delete_blob(fixture->device.savestate, &error_abort);
    drive_resize(128 * KiB);
    drive_resize(IMAGE_BYTES);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);

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

/*
 * The store is healed even if the shrink cut off the directory, or everything.
 */
static void test_shrink_below_the_directory(Fixture *fixture,
                                            gconstpointer data)
{
    static const uint64_t sizes[] = { 64 * KiB, 32 * KiB, 16 * KiB, 512, 0 };

    for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autoptr(BlobstoreInfo) before = store_info("nvram");
        g_autoptr(BlobstoreInfo) after = NULL;

        drive_resize(sizes[i]);
        vm_stop_now(RUN_STATE_PAUSED);
        drive_resize(IMAGE_BYTES);
        vm_start_now();
        assert_text_on_medium(&fixture->device, "nvram", "old");
        after = store_info("nvram");
        g_assert_cmpstr(after->uuid, ==, before->uuid);
    }
}

/*
 * The VM's state was saved before, so the store has to open the medium again.
 */
static void test_shrink_after_a_snapshot(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) saved = vm_save_state();

    g_assert_nonnull(saved);
    drive_resize(0);
    assert_state("nvram", BLOBSTORE_CONDITION_FAILED);
    drive_resize(IMAGE_BYTES);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    assert_text_on_medium(&fixture->device, "nvram", "old");
}

/* Changes that cannot be written then are written after the next resize. */
static void test_grow_back_that_fails(Fixture *fixture, gconstpointer data)
{
    drive_resize(0);
    fail_writes(true);
    drive_resize(IMAGE_BYTES);
    assert_state("nvram", BLOBSTORE_CONDITION_FAILED);
    fail_writes(false);
    drive_resize(IMAGE_BYTES + 512);
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
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

    drive_resize(8 * MiB);
    client = blobstore_attach("nvram", "uefi", &error_abort);
    blob = blobstore_register_blob(client, "variables", BLOBSTORE_PERMANENT,
                                   2 * MiB, &error_abort);
    g_assert_true(blobstore_start(client, &error_abort));
    write_text(blob, "boot order");
    blobstore_detach(client);
    assert_text(fixture->device.permanent, "old");
}

/* Foreign data behind the store is not overwritten. */
static void test_grow_over_something_else(Fixture *fixture,
                                          gconstpointer data)
{
    g_autofree uint8_t *noise = g_malloc(4 * KiB);
    g_autoptr(GBytes) grown = NULL;
    g_autoptr(GBytes) after = NULL;
    BlobStoreClient *client;
    FILE *file = fopen(fixture->path, "ab");
    Error *err = NULL;

    memset(noise, 'x', 4 * KiB);
    g_assert_cmpuint(fwrite(noise, 1, 4 * KiB, file), ==, 4 * KiB);
    fclose(file);
    drive_resize(8 * MiB);
    grown = image_content(fixture->path);
    client = blobstore_attach("nvram", "uefi", &error_abort);
    blobstore_register_blob(client, "variables", BLOBSTORE_PERMANENT, 2 * MiB,
                            &error_abort);
    g_assert_false(blobstore_start(client, &err));
    assert_error(err, "the new space is not blank");
    blobstore_detach(client);
    after = image_content(fixture->path);
    g_assert_true(g_bytes_equal(grown, after));
    write_text(fixture->device.permanent, "new");
    assert_text_on_medium(&fixture->device, "nvram", "new");
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, fixture_set_up, test, fixture_tear_down);
}

static void add_tests(void)
{
    add("/blobstore/resize/shrink", test_shrink);
    add("/blobstore/resize/shrink-with-deleted-blob",
        test_shrink_with_deleted_blob);
    add("/blobstore/resize/shrink-below-directory",
        test_shrink_below_the_directory);
    add("/blobstore/resize/shrink-after-snapshot",
        test_shrink_after_a_snapshot);
    g_test_add("/blobstore/resize/grow-back-fails", Fixture,
               GINT_TO_POINTER(BLOCKDEV_ON_ERROR_REPORT),
               fixture_set_up_policy, test_grow_back_that_fails,
               fixture_tear_down);
    add("/blobstore/resize/grow", test_grow);
    add("/blobstore/resize/grow-over-something-else",
        test_grow_over_something_else);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
