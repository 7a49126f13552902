/*
 * Helpers that the tests of keys in tokens share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define P11_KIT_FUTURE_UNSTABLE_API 1   /* p11_kit_override_system_files() */
#include "hsm.h"

#include <dlfcn.h>
#include <glib/gstdio.h>
#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <string.h>

const uint8_t hsm_uuid[BLOB_KEY_UUID_BYTES] = { 0xb1, 0x0b };

/*
 * p11-kit and its modules keep their state for the whole process, so this
 * does, too.
 */
static bool is_nss;
static Shim *shim;
static char *directory;

Shim *hsm_shim(void)
{
    return shim;
}

static char *in_directory(const char *name)
{
    return g_build_filename(directory, name, NULL);
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = in_directory(name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void make_directory(const char *name)
{
    g_autofree char *path = in_directory(name);

    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
}

/*
 * p11-kit reads its configuration from compiled-in places, and as root from no
 * others.  This function gives it other places; the strings must outlive
 * p11-kit's use of them.
 */
static void configure_p11_kit(const char *reserved)
{
    static char *config, *modules, *nothing;
    g_autofree char *text = g_strdup_printf("module: %s\ncritical: yes\n%s",
                                            PKCS11_SHIM, reserved);

    make_directory("modules");
    make_directory("nothing");
    write_file("modules/shim.module", text);
    write_file("pkcs11.conf", "user-config: none\n");
    config = in_directory("pkcs11.conf");
    modules = in_directory("modules");
    nothing = in_directory("nothing");
    p11_kit_override_system_files(config, nothing, nothing, modules, nothing);
}

static void configure_softhsm(void)
{
    g_autofree char *tokens = in_directory("tokens");
    g_autofree char *path = in_directory("softhsm2.conf");
    g_autofree char *text = g_strdup_printf("directories.tokendir = %s\n"
                                            "objectstore.backend = file\n"
                                            "log.level = ERROR\n", tokens);

    make_directory("tokens");
    write_file("softhsm2.conf", text);
    g_assert_true(g_setenv("SOFTHSM2_CONF", path, TRUE));
    configure_p11_kit("");
}

/* NSS reads its configuration from an argument of C_Initialize(). */
static void configure_nss(void)
{
    g_autofree char *database = in_directory("nss");
    g_autofree char *text = g_strdup_printf("x-init-reserved: "
                                            "configdir='sql:%s' certPrefix='' "
                                            "keyPrefix='' flags=\n",
                                            database);

    make_directory("nss");
    configure_p11_kit(text);
}

static void remove_all(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *entry = g_build_filename(path, name, NULL);

        remove_all(entry);
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_remove(path);
}

/*
 * The module stays loaded, so that a leak checker can name what the module
 * keeps.
 */
static void *load_module(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_NODELETE);
}

static void find_shim(void)
{
    void *library = load_module(PKCS11_SHIM);

    g_assert_nonnull(library);
    shim = dlsym(library, "shim");
    g_assert_nonnull(shim);
}

void hsm_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    is_nss = *argc > 1 && !strcmp((*argv)[1], "--nss");
}

bool hsm_is_nss(void)
{
    return is_nss;
}

int hsm_run(void (*provision)(void))
{
    const char *module = is_nss ? "libsoftokn3.so"
                                : "/usr/lib/softhsm/libsofthsm2.so";
    int status;

    if (!load_module(module)) {
        printf("1..0 # SKIP %s is not installed\n", module);
        return 0;
    }
    directory = g_dir_make_tmp("blobstore-pkcs11-XXXXXX", NULL);
    g_assert_nonnull(directory);
    g_assert_true(g_setenv("SHIM_OF", module, TRUE));
    if (is_nss) {
        configure_nss();
    } else {
        configure_softhsm();
    }
    find_shim();
    provision();
    status = g_test_run();
    remove_all(directory);
    g_free(directory);
    return status;
}

static void run_test(const void *data)
{
    void (*test)(void) = (void (*)(void))data;

    *shim = (Shim) { 0 };
    test();
    g_assert_cmpint(shim->initialized, ==, 0);
    g_assert_cmpint(shim->sessions, ==, 0);
    g_assert_cmpint(shim->objects, ==, 0);
}

void hsm_add(const char *path, void (*test)(void))
{
    g_test_add_data_func(path, (const void *)test, run_test);
}

bool hsm_put(BlobKeySlots *slots, const char *uri, const char *pin,
             GError **error)
{
    BlobCredential credential = {
        .token = blob_pkcs11_token(),
        .pin = pin,
        .uri = uri,
    };

    return blob_key_slots_put(slots, 2, keys_data_key(1), hsm_uuid,
                              BLOB_KEY_SLOT_TOKEN, &credential, 0, error);
}

void hsm_put_ok(BlobKeySlots *slots, const char *uri)
{
    g_autoptr(GError) error = NULL;

    hsm_put(slots, uri, HSM_PIN, &error);
    g_assert_no_error(error);
}

void hsm_put_fails(const char *uri, const char *pin, BlobStoreError code,
                   const char *pattern)
{
    BlobKeySlots slots = { 0 };
    GError *error = NULL;

    g_assert_false(hsm_put(&slots, uri, pin, &error));
    test_assert_error(&error, code, pattern);
    g_assert_cmpuint(blob_key_slots_count_used(&slots), ==, 0);
}

static BlobKey *unlock(const BlobKeySlots *slots, const char *pin,
                       GError **error)
{
    BlobCredential credential = {
        .token = blob_pkcs11_token(),
        .pin = pin,
        .slot = BLOB_KEY_SLOT_ANY,
    };

    return blob_key_slots_unlock(slots, hsm_uuid, &credential, error);
}

void hsm_unlock_ok(const BlobKeySlots *slots, const char *pin)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobKey) key = unlock(slots, pin, &error);

    g_assert_no_error(error);
    g_assert_true(blob_key_equal(key, keys_data_key(1)));
}

void hsm_unlock_fails(const BlobKeySlots *slots, const char *pin,
                      BlobStoreError code, const char *pattern)
{
    GError *error = NULL;

    g_assert_null(unlock(slots, pin, &error));
    test_assert_error(&error, code, pattern);
}
