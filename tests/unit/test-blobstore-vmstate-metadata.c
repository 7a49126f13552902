/*
 * Blobstore over the real block layer: what a destination is told of blobs
 * before they come
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "blobstore-incoming.h"

static const char *const of_permanent[] = { "colour=blue", "size=", NULL };
static const char *const of_volatile[] = { "shape=round", NULL };

typedef struct Offer {
    Fixture vm;
    GPtrArray *asked;           /* "permanent: colour=blue" and so on */
    const char *refused;        /* metadata that the device cannot use */
    unsigned loaded;
} Offer;

static bool accepts(void *opaque, const BlobStoreBlob *blob, char **metadata,
                    Error **errp)
{
    Offer *offer = opaque;
    const char *name = blob == offer->vm.device.permanent ? "permanent" :
                       blob == offer->vm.device.volatile_ ? "volatile" : "?";
    g_autofree char *all = g_strjoinv(" ", metadata);

    g_assert_cmpuint(offer->loaded, ==, 0);
    g_ptr_array_add(offer->asked, g_strdup_printf("%s: %s", name, all));
    if (offer->refused &&
        g_strv_contains((const char *const *)metadata, offer->refused)) {
        error_setg(errp, "%s is not for me", offer->refused);
        return false;
    }
    return true;
}

static bool load(void *opaque, Error **errp)
{
    Offer *offer = opaque;

    offer->loaded++;
    return true;
}

static const BlobStoreClientOps ops = { .accepts = accepts, .load = load };

static void set_up(Offer *offer, gconstpointer data)
{
    const Device *device = &offer->vm.device;

    offer->asked = g_ptr_array_new_with_free_func(g_free);
    incoming_begin(&offer->vm, &ops, offer);
    g_assert_true(blobstore_write_blob(device->permanent, "kept", 4,
                                       of_permanent, &error_abort));
    g_assert_true(blobstore_write_blob(device->volatile_, "ram", 3,
                                       of_volatile, &error_abort));
    write_text(device->savestate, "without metadata");
    incoming_wait(&offer->vm);
}

static void tear_down(Offer *offer, gconstpointer data)
{
    incoming_tear_down(&offer->vm, data);
    g_ptr_array_unref(offer->asked);
}

static void assert_asked(const Offer *offer)
{
    g_assert_cmpuint(offer->asked->len, ==, 2);
    g_assert_cmpstr(offer->asked->pdata[0], ==,
                    "permanent: colour=blue size=");
    g_assert_cmpstr(offer->asked->pdata[1], ==, "volatile: shape=round");
}

static void test_device_is_asked_before_blobs_come(Offer *offer,
                                                   gconstpointer data)
{
    g_assert_true(vm_load_state(offer->vm.stream));
    assert_asked(offer);
    g_assert_cmpuint(offer->loaded, ==, 1);
    g_assert_true(vm_start_now());
    assert_text(offer->vm.device.permanent, "kept");
}

/* The second section, which a stopped source sends, is not there. */
static void test_device_is_asked_while_the_source_runs(Offer *offer,
                                                       gconstpointer data)
{
    gsize half = g_bytes_get_size(offer->vm.stream);
    const char *bytes = g_bytes_get_data(offer->vm.stream, &half);
    const char *round = memmem(bytes, half, "shape=round", 12);
    g_autoptr(GBytes) first =
        g_bytes_new_from_bytes(offer->vm.stream, 0, round + 12 + 1 - bytes);

    g_assert_false(vm_load_state(first));
    assert_asked(offer);
    g_assert_cmpuint(offer->loaded, ==, 0);
}

static void test_device_refuses(Offer *offer, gconstpointer data)
{
    offer->refused = data;
    g_assert_false(vm_load_state(offer->vm.stream));
    g_assert_cmpuint(offer->loaded, ==, 0);
    assert_text(offer->vm.device.permanent, NULL);
    g_assert_false(vm_start_now());
    incoming_assert_nothing_written(&offer->vm);
    offer->refused = NULL;
    g_assert_true(vm_load_state(offer->vm.stream));
    g_assert_true(vm_start_now());
    assert_text(offer->vm.device.permanent, "kept");
}

/* The device goes on from what it had. */
static void test_device_refuses_a_snapshot(Offer *offer, gconstpointer data)
{
    g_assert_true(vm_load_state(offer->vm.stream));
    g_assert_true(vm_start_now());
    write_text(offer->vm.device.permanent, "last");
    offer->loaded = 0;
    offer->refused = "size=";
    incoming_reset_for_snapshot();
    g_assert_false(vm_load_state(offer->vm.stream));
    g_assert_cmpuint(offer->loaded, ==, 0);
    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_text(offer->vm.device.permanent, "last");
    assert_text_on_medium(&offer->vm.device, "nvram", "last");
}

static void add(const char *path, void (*test)(Offer *, gconstpointer),
                const char *data)
{
    g_test_add(path, Offer, data, set_up, test, tear_down);
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
