/*
 * Blobstore over the real block layer: what libtpms is told about its blobs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_nvfilename.h>
#include "qapi/error.h"
#include "qemu/units.h"
#include "hw/tpm/libtpms/libtpms.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

typedef struct Nvram {
    char *path;                 /* of the image */
    TPMBlobs blobs;
    TPMNvram nvram;
} Nvram;

static void set_up(Nvram *nvram, gconstpointer data)
{
    g_autoptr(GBytes) blank = NULL;
    g_autoptr(GBytes) opened = NULL;

    nvram->path = image_new("image", "raw", IMAGE_BYTES);
    blank = image_content(nvram->path);
    drive_add_image("nvram", "raw", nvram->path);
    g_assert_true(tpm_blobs_open(&nvram->blobs, &nvram->nvram, "nvram",
                                 TPM_VERSION_1_2,
                                 &error_abort));
    opened = image_content(nvram->path);
    g_assert_true(g_bytes_equal(opened, blank));
    g_assert_true(tpm_blobs_start(&nvram->blobs, &error_abort));
}

static void tear_down(Nvram *nvram, gconstpointer data)
{
    tpm_blobs_close(&nvram->blobs, &nvram->nvram);
    drive_remove("nvram");
    unlink(nvram->path);
    g_free(nvram->path);
}

static void assert_loads(Nvram *nvram, const char *name, const char *text)
{
    unsigned char *data = NULL;
    uint32_t length = 0;
    uint32_t result = tpm_nvram_load(&nvram->nvram, name, &data, &length);

    if (!text) {
        g_assert_cmphex(result, ==, TPM_RETRY);
        return;
    }
    g_assert_cmphex(result, ==, TPM_SUCCESS);
    g_assert_cmpmem(data, length, text, strlen(text));
    free(data);
}

static void store(Nvram *nvram, const char *name, const char *text)
{
    g_assert_cmphex(tpm_nvram_store(&nvram->nvram, name,
                                    (const unsigned char *)text,
                                    strlen(text)), ==, TPM_SUCCESS);
}

static void test_absent_blob_is_deleted_or_missed(Nvram *nvram,
                                                  gconstpointer data)
{
    const char *name = TPM_SAVESTATE_NAME;

    assert_loads(nvram, name, NULL);
    g_assert_cmphex(tpm_nvram_delete(&nvram->nvram, name, false), ==,
                    TPM_SUCCESS);
    g_assert_cmphex(tpm_nvram_delete(&nvram->nvram, name, true), ==,
                    TPM_FAIL);
    store(nvram, name, "asleep");
    assert_loads(nvram, name, "asleep");
    g_assert_cmphex(tpm_nvram_delete(&nvram->nvram, name, true), ==,
                    TPM_SUCCESS);
    assert_loads(nvram, name, NULL);
    g_assert_true(tpm_nvram_check(&nvram->nvram, &error_abort));
}

/* Deleting it would make a new TPM of this one. */
static void test_permanent_state_is_not_deleted(Nvram *nvram,
                                                gconstpointer data)
{
    Error *err = NULL;

    store(nvram, TPM_PERMANENT_ALL_NAME, "keys");
    g_assert_cmphex(tpm_nvram_delete(&nvram->nvram, TPM_PERMANENT_ALL_NAME,
                                     false), ==, TPM_FAIL);
    assert_loads(nvram, TPM_PERMANENT_ALL_NAME, "keys");
    g_assert_false(tpm_nvram_check(&nvram->nvram, &err));
    assert_error(err, "delete the permanent state");
}

/* PCRs survive a migration, but not a power-on. */
static void test_volatile_state_is_there_to_go_on_with(Nvram *nvram,
                                                       gconstpointer data)
{
    g_assert_true(tpm_nvram_store_volatile(&nvram->nvram,
                                           (const unsigned char *)"pcrs", 4,
                                           &error_abort));
    assert_loads(nvram, TPM_VOLATILESTATE_NAME, NULL);
    nvram->nvram.resuming = true;
    assert_loads(nvram, TPM_VOLATILESTATE_NAME, "pcrs");
}

/* The first refusal that libtpms ignores is remembered. */
static void test_first_refusal_is_remembered(Nvram *nvram, gconstpointer data)
{
    Error *err = NULL;

    g_assert_cmphex(tpm_nvram_store(&nvram->nvram, "unknown", NULL, 0), ==,
                    TPM_FAIL);
    g_assert_cmphex(tpm_nvram_delete(&nvram->nvram, "another", false), ==,
                    TPM_FAIL);
    g_assert_false(tpm_nvram_check(&nvram->nvram, &err));
    assert_error(err, "'unknown'");
    g_assert_true(tpm_nvram_check(&nvram->nvram, &error_abort));
}

static void add(const char *path, void (*test)(Nvram *, gconstpointer))
{
    g_test_add(path, Nvram, NULL, set_up, test, tear_down);
}

static void add_tests(void)
{
    add("/blobstore/tpm/nvram/absent", test_absent_blob_is_deleted_or_missed);
    add("/blobstore/tpm/nvram/permanent", test_permanent_state_is_not_deleted);
    add("/blobstore/tpm/nvram/volatile",
        test_volatile_state_is_there_to_go_on_with);
    add("/blobstore/tpm/nvram/refusal", test_first_refusal_is_remembered);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
