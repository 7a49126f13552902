/*
 * Blobstore over the real block layer: a TPM of libtpms and its front end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/qdev-core.h"
#include "hw/qdev-properties.h"
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_nvfilename.h>
#include <openssl/crypto.h>
#include "block/aio.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-tpm.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "hw/tpm/tpm_prop.h"
#include "hw/tpm/libtpms/libtpms.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

/*
 * A front end like any other, except that a test decides whether it is
 * realized
 */
#define TYPE_TEST_TPM "blobstore-test-tpm"
OBJECT_DECLARE_SIMPLE_TYPE(TestTPM, TEST_TPM)

struct TestTPM {
    DeviceState parent;
    TPMBackend *backend;
    char *backend_blobstore;
    char *backend_drive;
    char *backend_pcr_banks;
    bool fail;                  /* realize is to fail */
};

static const Property test_tpm_properties[] = {
    DEFINE_PROP_TPM_BLOBSTORE(TestTPM, backend)
    DEFINE_PROP_BOOL("fail", TestTPM, fail, false),
};

static void test_tpm_realize(DeviceState *dev, Error **errp)
{
    TestTPM *s = TEST_TPM(dev);

    if (!tpm_libtpms_realize(TPM_IF(dev), &s->backend, s->backend_blobstore,
                             s->backend_drive, s->backend_pcr_banks, errp)) {
        return;
    }
    if (s->fail) {
        error_setg(errp, "no");
        return;
    }
    tpm_backend_startup_tpm(s->backend, 0);
}

static void test_tpm_class_init(ObjectClass *klass, void *data)
{
    DEVICE_CLASS(klass)->realize = test_tpm_realize;
    device_class_set_props(DEVICE_CLASS(klass), test_tpm_properties);
}

static const TypeInfo test_tpm_info = {
    .name = TYPE_TEST_TPM,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(TestTPM),
    .class_init = test_tpm_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_TPM_IF },
        { }
    },
};

static void register_types(void)
{
    type_register_static(&test_tpm_info);
}

type_init(register_types)

/*
 * Plugs as device_add does.  Returns NULL and sets @errp if the device is
 * refused.
 */
static DeviceState *plug(const char *store, bool fail, Error **errp)
{
    DeviceState *dev = qdev_new(TYPE_TEST_TPM);
    bool ok;

    object_property_add_child(object_get_root(), "tpm[*]", OBJECT(dev));
    object_property_set_bool(OBJECT(dev), "fail", fail, &error_abort);
    ok = object_property_set_str(OBJECT(dev), "blobstore", store, errp) &&
         qdev_realize(dev, NULL, errp);
    if (!ok) {
        object_unparent(OBJECT(dev));
    }
    object_unref(OBJECT(dev));
    return ok ? dev : NULL;
}

static void unplug(DeviceState *dev)
{
    object_unparent(OBJECT(dev));
}

typedef struct Fixture {
    char *path;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->path = image_new("image", "raw", IMAGE_BYTES);
    drive_add_image("nvram", "raw", fixture->path);
}

/*
 * Nothing is left that uses the drive, the TPM, or a section of the VM's
 * state.
 */
static void tear_down(Fixture *fixture, gconstpointer data)
{
    g_autoptr(TPMInfoList) tpms = qmp_query_tpm(&error_abort);

    g_assert_null(tpms);
    g_assert_cmpuint(vm_sections(), ==, 0);
    g_assert_null(object_resolve_path("/blobstores/nvram", NULL));
    g_assert_cmpint(blk_set_perm(blk_by_name("nvram"), BLK_PERM_WRITE,
                                 0, NULL), ==, 0);
    drive_remove("nvram");
    unlink(fixture->path);
    g_free(fixture->path);
}

static bool is_blank(Fixture *fixture)
{
    g_autoptr(GBytes) image = image_content(fixture->path);
    gsize bytes;
    const char *content = g_bytes_get_data(image, &bytes);

    g_assert_cmpuint(bytes, ==, IMAGE_BYTES);
    return buffer_is_zero(content, bytes);
}

/* A name is only a name. */
static void test_named(Fixture *fixture, gconstpointer data)
{
    DeviceState *dev = qdev_new(TYPE_TEST_TPM);
    g_autofree char *store = NULL;

    store = object_property_get_str(OBJECT(dev), "blobstore", &error_abort);
    g_assert_cmpstr(store, ==, "");
    for (int i = 0; i < 2; i++) {
        g_autofree char *now = NULL;
        const char *name = i ? "nvram" : "other";

        object_property_set_str(OBJECT(dev), "blobstore", name, &error_abort);
        now = object_property_get_str(OBJECT(dev), "blobstore", &error_abort);
        g_assert_cmpstr(now, ==, name);
        g_assert_cmpuint(vm_sections(), ==, 0);
        g_assert_null(object_resolve_path("/blobstores/nvram", NULL));
    }
    object_unref(OBJECT(dev));
    g_assert_true(is_blank(fixture));
}

/* A later mistake on the command line takes the device away again. */
static void test_gone_before_the_machine_is_complete(Fixture *fixture,
                                                     gconstpointer data)
{
    Error *err = NULL;

    for (int i = 0; i < 3; i++) {
        DeviceState *dev = plug("nvram", false, &error_abort);

        g_assert_null(plug("nvram", false, &err));
        assert_error(err, "there is a TPM already");
        err = NULL;
        unplug(dev);
        g_assert_null(plug("nvram", true, &err));
        assert_error(err, "no");
        err = NULL;
        g_assert_true(is_blank(fixture));
    }
}

/*
 * This test must be the last one before the machine is complete, which it then
 * stays.
 */
static void test_complete(Fixture *fixture, gconstpointer data)
{
    DeviceState *dev = plug("nvram", false, &error_abort);

    g_assert_false(blobstore_machine_is_complete());
    g_assert_true(is_blank(fixture));
    blobstore_machine_complete();
    g_assert_true(blobstore_machine_is_complete());
    g_assert_false(is_blank(fixture));
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
    blobstore_machine_complete();
    unplug(dev);
}

static void test_unplugged(Fixture *fixture, gconstpointer data)
{
    for (int i = 0; i < 3; i++) {
        DeviceState *dev = plug("nvram", false, &error_abort);
        g_autofree char *store = object_property_get_str(OBJECT(dev),
                                                         "blobstore",
                                                         &error_abort);

        g_assert_cmpstr(store, ==, "nvram");
        assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
        unplug(dev);
    }
}

/* What the rest of QEMU gets from OpenSSL in the main thread */
typedef struct Watch {
    QEMUBH *bh;
    unsigned looks;
    bool has_changed;
} Watch;

static void look(void *opaque)
{
    Watch *watch = opaque;

    watch->looks++;
    watch->has_changed |= OSSL_LIB_CTX_set0_default(NULL) !=
                          OSSL_LIB_CTX_get0_global_default();
    qemu_bh_schedule(watch->bh);
}

/* Neither afterwards, nor while libtpms waits for something to be stored */
static void test_rest_of_qemu_keeps_its_openssl(Fixture *fixture,
                                                gconstpointer data)
{
    Watch watch = { };
    DeviceState *dev;

    watch.bh = qemu_bh_new(look, &watch);
    look(&watch);
    dev = plug("nvram", false, &error_abort);
    g_assert_cmpuint(watch.looks, >, 1);
    look(&watch);
    unplug(dev);
    look(&watch);
    qemu_bh_delete(watch.bh);
    g_assert_false(watch.has_changed);
}

/* The device has had its TPM by then. */
static void test_failed_to_be_realized(Fixture *fixture, gconstpointer data)
{
    Error *err = NULL;

    for (int i = 0; i < 3; i++) {
        g_assert_null(plug("nvram", true, &err));
        assert_error(err, "no");
        err = NULL;
    }
    unplug(plug("nvram", false, &error_abort));
}

static void test_failed_to_have_its_tpm(Fixture *fixture, gconstpointer data)
{
    Error *err = NULL;

    for (int i = 0; i < 3; i++) {
        g_assert_null(plug("other", false, &err));
        assert_error(err, "no blobstore object, drive or node 'other'");
        err = NULL;
    }
    unplug(plug("nvram", false, &error_abort));
}

/* A state that is there already; TPM 1.2 and 2.0 refuse this one. */
static void make_state(TPMVersion version)
{
    TPMBlobs blobs = { };
    TPMNvram nvram = { };
    const unsigned char text[] = "no state of a TPM";

    g_assert_true(tpm_blobs_open(&blobs, &nvram, "nvram", version,
                                 &error_abort));
    g_assert_true(tpm_blobs_start(&blobs, &error_abort));
    g_assert_cmphex(tpm_nvram_store(&nvram, TPM_PERMANENT_ALL_NAME, text,
                                    sizeof(text)), ==, TPM_SUCCESS);
    tpm_blobs_close(&blobs, &nvram);
}

/* A start that is refused writes nothing, however often it is tried. */
static void check_refused(Fixture *fixture, const char *message)
{
    g_autoptr(GBytes) before = image_content(fixture->path);

    for (int i = 0; i < 50; i++) {
        g_autoptr(GBytes) after = NULL;
        Error *err = NULL;

        g_assert_null(plug("nvram", false, &err));
        assert_error(err, message);
        after = image_content(fixture->path);
        g_assert_true(g_bytes_equal(before, after));
    }
}

static void test_state_that_libtpms_refuses(Fixture *fixture,
                                            gconstpointer data)
{
    make_state(TPM_VERSION_2_0);
    check_refused(fixture, "libtpms cannot use the TPM state");
}

static void make_state_with_metadata(const char *const *metadata)
{
    TPMBlobs blobs = { };
    TPMNvram nvram = { };

    g_assert_true(tpm_blobs_open(&blobs, &nvram, "nvram", TPM_VERSION_2_0,
                                 &error_abort));
    g_assert_true(tpm_blobs_start(&blobs, &error_abort));
    g_assert_true(blobstore_write_blob(blobs.of[TPM_BLOB_PERMANENT],
                                       "state", 5, metadata, &error_abort));
    tpm_blobs_close(&blobs, &nvram);
}

/* The message names both versions of libtpms. */
static void test_state_of_a_profile(Fixture *fixture, gconstpointer data)
{
    static const char *const metadata[] = {
        "tpm-version=2.0", "libtpms=0.10.2", "profile=default-v1",
        "state-format-level=7", NULL
    };

    make_state_with_metadata(metadata);
#ifdef CONFIG_LIBTPMS_PROFILE
    check_refused(fixture, "libtpms cannot use the TPM state");
#else
    g_autofree char *version = tpm_profile_libtpms_version();
    g_autofree char *message = g_strdup_printf(
        "has profile 'default-v1' and was stored by libtpms 0.10.2, but this "
        "is libtpms %s", version);

    check_refused(fixture, message);
#endif
}

static void test_state_of_a_level(Fixture *fixture, gconstpointer data)
{
    g_autofree char *level = g_strconcat("state-format-level=", data, NULL);
    const char *const metadata[] = {
        "tpm-version=2.0", "libtpms=9.1.0", "profile=null", level, NULL
    };
    g_autofree char *version = tpm_profile_libtpms_version();
    g_autofree char *message = g_strdup_printf(
        "has state format level %s and was stored by libtpms 9.1.0, but this "
        "is libtpms %s, which knows levels up to ", (const char *)data,
        version);

    make_state_with_metadata(metadata);
    check_refused(fixture, message);
}

/* These answers have the form of those that libtpms 0.10.2 gives. */
static void test_levels_that_libtpms_names(void)
{
    g_assert_cmpint(tpm_profile_active_level(
        "{\"ActiveProfile\":{\"Name\":\"default-v1\","
        "\"StateFormatLevel\":7}}"), ==, 7);
    g_assert_cmpint(tpm_profile_highest_level(
        "{\"AvailableProfiles\":[{\"Name\":\"null\",\"StateFormatLevel\":1},"
        "{\"Name\":\"default-v2\",\"StateFormatLevel\":8},"
        "{\"Name\":\"default-v1\",\"StateFormatLevel\":7}]}"), ==, 8);
    g_assert_cmpint(tpm_profile_active_level(NULL), ==, 1);
    g_assert_cmpint(tpm_profile_highest_level(NULL), ==, 1);
    g_assert_cmpint(tpm_profile_highest_level(
        "{\"AvailableProfiles\":[\"null\"]}"), ==, 1);
    g_assert_cmpint(tpm_profile_highest_level("[]"), ==, 1);
}

static void test_state_of_the_other_version(Fixture *fixture,
                                            gconstpointer data)
{
    make_state(TPM_VERSION_1_2);
    check_refused(fixture, "holds the state of a TPM 1.2");
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, set_up, test, tear_down);
}

static void add_tests(void)
{
    add("/blobstore/tpm/named", test_named);
    add("/blobstore/tpm/not-complete",
        test_gone_before_the_machine_is_complete);
    add("/blobstore/tpm/complete", test_complete);
    add("/blobstore/tpm/unplug", test_unplugged);
    add("/blobstore/tpm/openssl", test_rest_of_qemu_keeps_its_openssl);
    add("/blobstore/tpm/not-realized", test_failed_to_be_realized);
    add("/blobstore/tpm/no-store", test_failed_to_have_its_tpm);
    add("/blobstore/tpm/refused/libtpms", test_state_that_libtpms_refuses);
    add("/blobstore/tpm/refused/profile", test_state_of_a_profile);
    g_test_add("/blobstore/tpm/refused/level", Fixture, "1000", set_up,
               test_state_of_a_level, tear_down);
    g_test_add("/blobstore/tpm/refused/level-unknown", Fixture, "latest",
               set_up, test_state_of_a_level, tear_down);
    g_test_add_func("/blobstore/tpm/levels", test_levels_that_libtpms_names);
    add("/blobstore/tpm/refused/version", test_state_of_the_other_version);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
