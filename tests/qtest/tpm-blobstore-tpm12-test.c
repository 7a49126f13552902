/*
 * qtest: the state of a TPM 1.2 lives in a blob store
 *
 * A TPM 1.2 differs from a TPM 2.0 in a second blob, which holds the state of
 * a suspended TPM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/acpi/tpm.h"
#include "blobstore-tpm.h"
#include "tpm-tis-util.h"

#define REQUEST 0x00c1

enum {
    ORD_EXTEND             = 0x14,
    ORD_PCR_READ           = 0x15,
    ORD_CONTINUE_SELF_TEST = 0x53,
    ORD_SAVE_STATE         = 0x98,
    ORD_STARTUP            = 0x99,
    ORD_NV_DEFINE_SPACE    = 0xcc,
    ORD_NV_WRITE_VALUE     = 0xcd,
    ORD_NV_READ_VALUE      = 0xcf,
    ORD_GET_TICKS          = 0xf1,

    TPM_FAILEDSELFTEST     = 0x1c,
    TPM_INVALID_POSTINIT   = 0x26,
};

#define STARTUP_CLEAR "0001"
#define STARTUP_STATE "0002"

#define TPM_1_2 "-tpmdev libtpms,id=dev,blobstore=nvram,version=1.2 " \
                "-device tpm-tis,tpmdev=dev "

static TPM power_on(const char *image)
{
    g_autofree char *args = g_strdup_printf(TPM_DRIVE TPM_1_2, image);

    return (TPM) { qtest_init(args), tpm_tis_transfer };
}

static void startup(TPM *tpm, const char *how)
{
    tpm_do(tpm, REQUEST, ORD_STARTUP, how);
}

/* A new TPM 1.2 lets anybody define NV areas: nvLocked is not set yet. */
static void nv_define(TPM *tpm)
{
    static const char any_pcr[] = "0003 000000 1f "
        "0000000000000000000000000000000000000000 ";
    g_autofree char *params = g_strconcat(
        "0018 00000010 ", any_pcr, any_pcr, "0017 00000001 00 00 00 00000008 "
        "0000000000000000000000000000000000000000", NULL);

    tpm_do(tpm, REQUEST, ORD_NV_DEFINE_SPACE, params);
}

static uint32_t nv_write(TPM *tpm, const char text[TPM_STORED_BYTES])
{
    g_autofree char *params = g_strdup_printf(
        "00000010 00000000 00000008 %016" PRIx64, ldq_be_p(text));

    return tpm_result(tpm, REQUEST, ORD_NV_WRITE_VALUE, params);
}

static void nv_assert(TPM *tpm, const char text[TPM_STORED_BYTES])
{
    g_autoptr(GByteArray) response = tpm_run(
        tpm, REQUEST, ORD_NV_READ_VALUE, "00000010 00000000 00000008");

    g_assert_cmpmem(response->data + 14, response->len - 14,
                    text, TPM_STORED_BYTES);
}

static void extend_pcr_1(TPM *tpm)
{
    tpm_do(tpm, REQUEST, ORD_EXTEND,
           "00000001 0123456789abcdef0123456789abcdef01234567");
}

static GByteArray *pcr_1(TPM *tpm)
{
    return tpm_run(tpm, REQUEST, ORD_PCR_READ, "00000001");
}

static void assert_pcr_1(TPM *tpm, GByteArray *expected)
{
    g_autoptr(GByteArray) now = pcr_1(tpm);

    g_assert_cmpmem(now->data, now->len, expected->data, expected->len);
}

static void assert_pcr_1_is_reset(TPM *tpm)
{
    static const uint8_t zero[20];
    g_autoptr(GByteArray) now = pcr_1(tpm);

    g_assert_cmpmem(now->data + 10, now->len - 10, zero, sizeof(zero));
}

static bool has_savestate(TPM *tpm)
{
    QDict *info = store_info(tpm->vm);
    bool present = blob_is_present(info, "savestate");

    qobject_unref(info);
    return present;
}

/* Stored state is there after a reset, and in a new process. */
static void test_restart(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = power_on(image);

    startup(&tpm, STARTUP_CLEAR);
    nv_define(&tpm);
    g_assert_cmphex(nv_write(&tpm, "unlikely"), ==, 0);
    extend_pcr_1(&tpm);
    qtest_system_reset(tpm.vm);
    g_assert_cmphex(nv_write(&tpm, "too soon"), ==, TPM_INVALID_POSTINIT);
    startup(&tpm, STARTUP_CLEAR);
    nv_assert(&tpm, "unlikely");
    assert_pcr_1_is_reset(&tpm);
    qtest_quit(tpm.vm);

    tpm = power_on(image);
    startup(&tpm, STARTUP_CLEAR);
    nv_assert(&tpm, "unlikely");
    qtest_quit(tpm.vm);
}

/* The front end learns from the backend that a self test has succeeded. */
static void test_self_test(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = power_on(image);
    g_autoptr(GByteArray) self_test = tpm_command(REQUEST,
                                                  ORD_CONTINUE_SELF_TEST, "");
    g_autoptr(GByteArray) ticks = tpm_command(REQUEST, ORD_GET_TICKS, "");

    startup(&tpm, STARTUP_CLEAR);
    tis_start(tpm.vm, 0, ticks);
    g_assert_cmphex(tis_wait(tpm.vm, 0) & TPM_TIS_STS_SELFTEST_DONE, ==, 0);
    g_assert_cmphex(tis_end(tpm.vm, 0), ==, 0);
    tis_start(tpm.vm, 0, self_test);
    g_assert_cmphex(tis_wait(tpm.vm, 0) & TPM_TIS_STS_SELFTEST_DONE, !=, 0);
    g_assert_cmphex(tis_end(tpm.vm, 0), ==, 0);
    qtest_quit(tpm.vm);
}

static void test_query_tpm(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = power_on(image);
    g_autofree char *text = qtest_hmp(tpm.vm, "info tpm");

    assert_contains(text, "dev: type=libtpms", "version=v1-2", NULL);
    qtest_quit(tpm.vm);
}

/* Suspend to RAM: the TPM saves its state, and consumes it at resume. */
static void test_suspend(void)
{
    g_autofree char *image = image_new("raw");
    g_autoptr(GByteArray) extended = NULL;
    TPM tpm = power_on(image);

    startup(&tpm, STARTUP_CLEAR);
    extend_pcr_1(&tpm);
    extended = pcr_1(&tpm);
    g_assert_false(has_savestate(&tpm));
    tpm_do(&tpm, REQUEST, ORD_SAVE_STATE, "");
    g_assert_true(has_savestate(&tpm));

    qtest_system_reset(tpm.vm);
    g_assert_true(has_savestate(&tpm));
    startup(&tpm, STARTUP_STATE);
    assert_pcr_1(&tpm, extended);
    g_assert_false(has_savestate(&tpm));
    qtest_quit(tpm.vm);
}

/* The saved state is durable. */
static void test_suspend_and_restart(void)
{
    g_autofree char *image = image_new("raw");
    g_autoptr(GByteArray) extended = NULL;
    TPM tpm = power_on(image);

    startup(&tpm, STARTUP_CLEAR);
    extend_pcr_1(&tpm);
    extended = pcr_1(&tpm);
    tpm_do(&tpm, REQUEST, ORD_SAVE_STATE, "");
    qtest_quit(tpm.vm);

    tpm = power_on(image);
    g_assert_true(has_savestate(&tpm));
    startup(&tpm, STARTUP_STATE);
    assert_pcr_1(&tpm, extended);
    qtest_quit(tpm.vm);

    /*
     * The consumed state is gone for good: there is no second resume from it.
     */
    tpm = power_on(image);
    g_assert_false(has_savestate(&tpm));
    g_assert_cmphex(tpm_result(&tpm, REQUEST, ORD_STARTUP, STARTUP_STATE),
                    !=, 0);
    qtest_quit(tpm.vm);
}

/* Any command after SaveState invalidates the saved state. */
static void test_aborted_suspend(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = power_on(image);

    startup(&tpm, STARTUP_CLEAR);
    extend_pcr_1(&tpm);
    for (int i = 0; i < 2; i++) {
        tpm_do(&tpm, REQUEST, ORD_SAVE_STATE, "");
        g_assert_true(has_savestate(&tpm));
        tpm_do(&tpm, REQUEST, ORD_GET_TICKS, "");
        g_assert_false(has_savestate(&tpm));
        tpm_do(&tpm, REQUEST, ORD_GET_TICKS, "");
    }
    qtest_quit(tpm.vm);

    tpm = power_on(image);
    g_assert_false(has_savestate(&tpm));
    startup(&tpm, STARTUP_CLEAR);
    assert_pcr_1_is_reset(&tpm);
    qtest_quit(tpm.vm);
}

static void test_startup_clear_after_suspend(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = power_on(image);

    startup(&tpm, STARTUP_CLEAR);
    extend_pcr_1(&tpm);
    tpm_do(&tpm, REQUEST, ORD_SAVE_STATE, "");
    qtest_system_reset(tpm.vm);
    startup(&tpm, STARTUP_CLEAR);
    assert_pcr_1_is_reset(&tpm);
    g_assert_false(has_savestate(&tpm));
    qtest_quit(tpm.vm);
}

/*
 * A state that cannot be stored is not acknowledged.  The TPM fails until
 * reset, and then has the state that it acknowledged last.
 */
static void test_failed_store(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = NULL;
    TPM tpm = power_on(image);
    QDict *info;

    startup(&tpm, STARTUP_CLEAR);
    nv_define(&tpm);
    g_assert_cmphex(nv_write(&tpm, "unlikely"), ==, 0);
    info = store_info(tpm.vm);
    args = g_strdup_printf(TPM_FAULTY_DRIVE TPM_1_2 "2>/dev/null", image,
                           "write", "on",
                           blob_slot(store_blob(info, "permanent"), false));
    qobject_unref(info);
    qtest_quit(tpm.vm);

    tpm.vm = qtest_init(args);
    startup(&tpm, STARTUP_CLEAR);
    g_assert_cmphex(nv_write(&tpm, "too late"), !=, 0);
    g_assert_cmphex(nv_write(&tpm, "too late"), ==, TPM_FAILEDSELFTEST);
    qtest_system_reset(tpm.vm);
    startup(&tpm, STARTUP_CLEAR);
    nv_assert(&tpm, "unlikely");
    g_assert_cmphex(nv_write(&tpm, "at last!"), ==, 0);
    qtest_quit(tpm.vm);

    tpm = power_on(image);
    startup(&tpm, STARTUP_CLEAR);
    nv_assert(&tpm, "at last!");
    qtest_quit(tpm.vm);
}

/* A suspend is not acknowledged either: after it the TPM fails until reset. */
static void test_failed_suspend(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = NULL;
    TPM tpm = power_on(image);
    QDict *info = store_info(tpm.vm);

    args = g_strdup_printf(TPM_FAULTY_DRIVE TPM_1_2 "2>/dev/null", image,
                           "write", "on",
                           blob_slot(store_blob(info, "savestate"), false));
    qobject_unref(info);
    qtest_quit(tpm.vm);

    tpm.vm = qtest_init(args);
    startup(&tpm, STARTUP_CLEAR);
    g_assert_cmphex(tpm_result(&tpm, REQUEST, ORD_SAVE_STATE, ""), !=, 0);
    g_assert_false(has_savestate(&tpm));
    g_assert_cmphex(tpm_result(&tpm, REQUEST, ORD_GET_TICKS, ""), !=, 0);
    g_assert_cmphex(tpm_result(&tpm, REQUEST, ORD_GET_TICKS, ""), ==,
                    TPM_FAILEDSELFTEST);
    qtest_system_reset(tpm.vm);
    startup(&tpm, STARTUP_CLEAR);
    tpm_do(&tpm, REQUEST, ORD_GET_TICKS, "");
    qtest_quit(tpm.vm);
}

/* The state of a TPM 1.2 makes no new TPM 2.0. */
static void test_as_tpm_2(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = power_on(image);
    g_autofree char *args = g_strdup_printf(TPM_ON_RAW, image);
    g_autofree char *text = NULL;

    startup(&tpm, STARTUP_CLEAR);
    nv_define(&tpm);
    g_assert_cmphex(nv_write(&tpm, "unlikely"), ==, 0);
    qtest_quit(tpm.vm);

    text = qemu_fails(args);
    assert_contains(text, "holds the state of a TPM 1.2", "version=1.2", NULL);

    tpm = power_on(image);
    startup(&tpm, STARTUP_CLEAR);
    nv_assert(&tpm, "unlikely");
    qtest_quit(tpm.vm);
}

int main(int argc, char **argv)
{
    blobstore_test_init(&argc, &argv);
    qtest_add_func("/tpm12/restart", test_restart);
    qtest_add_func("/tpm12/self-test", test_self_test);
    qtest_add_func("/tpm12/query-tpm", test_query_tpm);
    qtest_add_func("/tpm12/suspend", test_suspend);
    qtest_add_func("/tpm12/suspend-and-restart", test_suspend_and_restart);
    qtest_add_func("/tpm12/aborted-suspend", test_aborted_suspend);
    qtest_add_func("/tpm12/startup-clear-after-suspend",
                   test_startup_clear_after_suspend);
    qtest_add_func("/tpm12/failed-store", test_failed_store);
    qtest_add_func("/tpm12/failed-suspend", test_failed_suspend);
    qtest_add_func("/tpm12/as-tpm-2", test_as_tpm_2);
    return blobstore_test_run();
}
