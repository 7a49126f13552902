/*
 * Blobstore over the real block layer: what a destination is told of blobs
 * before they come
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

static const char *const of_permanent[] = { "colour=blue", "size=", NULL };
static const char *const of_volatile[] = { "shape=round", NULL };

typedef struct Fixture {
    char *path;
    GBytes *blank;
    GBytes *stream;
    Device device;
    GPtrArray *asked;           /* "permanent: colour=blue" and so on */
    const char *refused;        /* metadata that the device cannot use */
    unsigned loaded;
} Fixture;

static bool accepts(void *opaque, const BlobStoreBlob *blob, char **metadata,
                    Error **errp)
{
    Fixture *fixture = opaque;
    const char *name = blob == fixture->device.permanent ? "permanent" :
                       blob == fixture->device.volatile_ ? "volatile" : "?";
    g_autofree char *all = g_strjoinv(" ", metadata);

    g_assert_cmpuint(fixture->loaded, ==, 0);
    g_ptr_array_add(fixture->asked, g_strdup_printf("%s: %s", name, all));
    if (fixture->refused &&
        g_strv_contains((const char *const *)metadata, fixture->refused)) {
        error_setg(errp, "%s is not for me", fixture->refused);
        return false;
    }
    return true;
}

static bool load(void *opaque, Error **errp)
{
    Fixture *fixture = opaque;

    fixture->loaded++;
    return true;
}

static const BlobStoreClientOps ops = { .accepts = accepts, .load = load };

static void plug(Fixture *fixture, const char *path)
{
    drive_add_image("nvram", "raw", path);
    g_assert_true(device_plug(&fixture->device, "nvram", &error_abort));
    blobstore_set_ops(fixture->device.client, &ops, fixture);
}

static void unplug(Fixture *fixture)
{
    device_unplug(&fixture->device);
    drive_remove("nvram");
}

/* Saves a stream, and starts a VM that waits for it. */
static void set_up(Fixture *fixture, gconstpointer data)
{
    g_autofree char *source = image_new("source", "raw", IMAGE_BYTES);

    fixture->asked = g_ptr_array_new_with_free_func(g_free);
    plug(fixture, source);
    g_assert_true(blobstore_write_blob(fixture->device.permanent, "kept", 4,
                                       of_permanent, &error_abort));
    g_assert_true(blobstore_write_blob(fixture->device.volatile_, "ram", 3,
                                       of_volatile, &error_abort));
    write_text(fixture->device.savestate, "without metadata");
    fixture->stream = vm_save_state();
    g_assert_nonnull(fixture->stream);
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
    g_bytes_unref(fixture->blank);
    g_bytes_unref(fixture->stream);
    g_ptr_array_unref(fixture->asked);
}

static void assert_asked(const Fixture *fixture)
{
    g_assert_cmpuint(fixture->asked->len, ==, 2);
    g_assert_cmpstr(fixture->asked->pdata[0], ==,
                    "permanent: colour=blue size=");
    g_assert_cmpstr(fixture->asked->pdata[1], ==, "volatile: shape=round");
}

static void test_device_is_asked_before_blobs_come(Fixture *fixture,
                                                   gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    assert_asked(fixture);
    g_assert_cmpuint(fixture->loaded, ==, 1);
    g_assert_true(vm_start_now());
    assert_text(fixture->device.permanent, "kept");
}

/* The second section, which a stopped source sends, is not there. */
static void test_device_is_asked_while_the_source_runs(Fixture *fixture,
                                                       gconstpointer data)
{
    gsize half = g_bytes_get_size(fixture->stream);
    const char *bytes = g_bytes_get_data(fixture->stream, &half);
    const char *round = memmem(bytes, half, "shape=round", 12);
    g_autoptr(GBytes) first =
        g_bytes_new_from_bytes(fixture->stream, 0, round + 12 + 1 - bytes);

    g_assert_false(vm_load_state(first));
    assert_asked(fixture);
    g_assert_cmpuint(fixture->loaded, ==, 0);
}

static void test_device_refuses(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) now = NULL;

    fixture->refused = data;
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_cmpuint(fixture->loaded, ==, 0);
    assert_text(fixture->device.permanent, NULL);
    g_assert_false(vm_start_now());
    now = image_content(fixture->path);
    g_assert_true(g_bytes_equal(now, fixture->blank));
    fixture->refused = NULL;
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    assert_text(fixture->device.permanent, "kept");
}

/* The device goes on from what it had. */
static void test_device_refuses_a_snapshot(Fixture *fixture,
                                           gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    fixture->loaded = 0;
    fixture->refused = "size=";
    vm_stop_now(RUN_STATE_RESTORE_VM);
    vm_reset_for_snapshot();
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_cmpuint(fixture->loaded, ==, 0);
    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_text(fixture->device.permanent, "last");
    assert_text_on_medium(&fixture->device, "nvram", "last");
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer),
                const char *data)
{
    g_test_add(path, Fixture, data, set_up, test, tear_down);
}

static void add_tests(void)
{
    add("/blobstore/vmstate-metadata/asked",
        test_device_is_asked_before_blobs_come, NULL);
    add("/blobstore/vmstate-metadata/asked-while-the-source-runs",
        test_device_is_asked_while_the_source_runs, NULL);
    add("/blobstore/vmstate-metadata/refused",
        test_device_refuses, "colour=blue");
    add("/blobstore/vmstate-metadata/refused-volatile",
        test_device_refuses, "shape=round");
    add("/blobstore/vmstate-metadata/refused-snapshot",
        test_device_refuses_a_snapshot, NULL);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
