/*
 * qtest: a TPM whose storage fails, or that is interrupted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "hw/acpi/tpm.h"
#include "blobstore-tpm.h"
#include "tpm-tis-util.h"

#define TPM2_RC_FAILURE  0x101
#define TPM2_RC_CANCELED 0x909

enum {
    CC_CREATE_PRIMARY = 0x131,
    CC_NV_WRITE       = 0x137,
    CC_GET_RANDOM     = 0x17b,
};

/* Returns the offset of the first slot of "permanent" in every new image. */
static uint64_t first_slot(void)
{
    g_auto(TPMImage) image = tpm_image_new();

    return MIN(image.permanent, image.former);
}

static char *faulty(const char *image, const char *access, uint64_t offset)
{
    return g_strdup_printf(TPM_FAULTY_DRIVE TPM_DEVICE, image, access, "on",
                           offset);
}

/* Storage that fails */

/*
 * libtpms ignores that the first state of a new TPM cannot be stored.  The
 * TPM would be another one at each start.
 */
static void test_failed_first_store(void)
{
    g_autofree char *image = image_new("raw");
    uint64_t slot = first_slot();
    g_autofree char *args = faulty(image, "write", slot);
    g_autofree char *offset = g_strdup_printf("offset %" PRIu64, slot);
    g_autofree char *text = qemu_fails(args);
    TPM tpm;

    assert_contains(text, "cannot start the TPM", "blobstore 'nvram'",
                    "tpm/permanent", offset, "Input/output error", NULL);

    /* Nothing was acknowledged, so this is not the wrong image. */
    tpm = tpm_on_raw(image);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_quit(tpm.vm);
}

/* State that cannot be read is not state that never existed. */
static void test_failed_read(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *args = faulty(image.path, "read", image.permanent);
    g_autofree char *offset = g_strdup_printf("offset %" PRIu64,
                                              image.permanent);
    g_autofree char *text = qemu_refuses(image.path, args);

    assert_contains(text, "blobstore 'nvram'", "tpm/permanent", offset,
                    "Input/output error", NULL);
    assert_tpm_image_works(&image);
}

/*
 * The other copy has everything, too.  An error that goes away when the medium
 * is read again is none.
 */
static void test_failed_read_of_superblock(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *log = image_path("messages");
    g_autofree char *args =
        g_strdup_printf(TPM_FAULTY_DRIVE TPM_DEVICE "2>%s", image.path, "read",
                        "off", UINT64_C(0), log);
    g_autofree char *text = NULL;
    TPM tpm = { qtest_init(args), tpm_tis_transfer };

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_quit(tpm.vm);
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    assert_contains(text, "blobstore 'nvram'", "superblock copy at offset 0",
                    "Input/output error", NULL);
    assert_tpm_image_works(&image);
}

static void test_failed_read_of_blank_image(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = faulty(image, "read", 0);
    g_autofree char *text = qemu_refuses(image, args);

    assert_contains(text, "blobstore 'nvram'", "offset 0",
                    "Input/output error", NULL);
}

/*
 * A command whose effect cannot be stored fails, and the TPM with it, until
 * it is reset.  Then it is as it was before that command.
 */
static void test_failed_store(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *log = image_path("messages");
    g_autofree char *faulty_args = faulty(image.path, "write", image.permanent);
    g_autofree char *args = g_strdup_printf("%s 2>%s", faulty_args, log);
    g_autofree char *text = NULL;
    TPM tpm = { qtest_init(args), tpm_tis_transfer };

    /* Startup is stored in the other slot. */
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "too late"), ==,
                    TPM2_RC_FAILURE);
    g_assert_cmphex(tpm_result(&tpm, TPM2_NO_SESSIONS, CC_GET_RANDOM, "0008"),
                    ==, TPM2_RC_FAILURE);

    qtest_system_reset(tpm.vm);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "at last!"), ==, 0);
    qtest_quit(tpm.vm);

    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    assert_contains(text, "cannot store", "tpm/permanent",
                    "blobstore 'nvram'", "Input/output error", NULL);
    /* stderr has neither messages of libtpms nor the command. */
    g_assert_null(strstr(text, "libtpms/tpm2"));

    tpm = tpm_on_raw(image.path);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "at last!");
    qtest_quit(tpm.vm);
}

static void resize(TPM *tpm, uint64_t bytes)
{
    qtest_qmp_assert_success(tpm->vm, "{ 'execute': 'block_resize',"
        " 'arguments': { 'device': 'nvram', 'size': %" PRIu64 "} }", bytes);
}

/*
 * A store to an image that was made too small fails, but not the VM.  The TPM
 * works again, in its old state, after a reset with an image that is large
 * enough.
 */
static void test_shrunk_image(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *args = g_strdup_printf(TPM_ON_RAW "2>/dev/null",
                                            image.path);
    TPM tpm = { qtest_init(args), tpm_tis_transfer };
    QDict *info;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    resize(&tpm, 64 * KiB);
    info = store_info(tpm.vm);
    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "failed");
    qobject_unref(info);
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "too late"), ==,
                    TPM2_RC_FAILURE);
    qtest_system_reset(tpm.vm);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, TPM2_RC_FAILURE);

    resize(&tpm, 4 * MiB);
    qtest_system_reset(tpm.vm);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    qtest_quit(tpm.vm);
    assert_tpm_image_works(&image);
}

/* Interruptions */

/*
 * Returns a TPM on a drive that takes about a second for a write, on request.
 */
static TPM slow_tpm(const char *image)
{
    g_autofree char *args = g_strdup_printf(
        "-object throttle-group,id=group -blockdev driver=throttle,"
        "node-name=nvram,throttle-group=group,file.driver=raw,"
        "file.file.driver=file,file.file.filename=%s " TPM_DEVICE, image);
    TPM tpm = { qtest_init(args), tpm_tis_transfer };

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'qom-set', 'arguments': {"
        " 'path': '/objects/group', 'property': 'limits',"
        " 'value': { 'iops-write': 1 } } }");
    return tpm;
}

/* Starts to store @text, and returns while that is in progress. */
static void start_nv_write(TPM *tpm, const char text[TPM_STORED_BYTES])
{
    g_autofree char *params = g_strdup_printf(
        "40000001 %08x 00000009 40000009 0000 00 0000 0008 %016" PRIx64
        " 0000", TPM2_INDEX, ldq_be_p(text));
    g_autoptr(GByteArray) command = tpm_command(TPM2_SESSIONS, CC_NV_WRITE,
                                                params);

    /* The second of two writes has to wait; a slow machine may miss that. */
    for (int i = 0; i < 20; i++) {
        g_assert_cmphex(tpm2_nv_write(tpm, TPM2_INDEX, "whatever"), ==, 0);
        tis_start(tpm->vm, 0, command);
        if (!tis_is_done(tpm->vm, 0)) {
            return;
        }
        g_assert_cmphex(tis_end(tpm->vm, 0), ==, 0);
    }
    g_error("no write took any time");
}

/* A reset lets a store in progress end, and then powers the TPM off and on. */
static void test_reset_while_storing(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = slow_tpm(image.path);

    start_nv_write(&tpm, "in time!");
    qtest_system_reset(tpm.vm);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "in time!");
    qtest_quit(tpm.vm);
}

/*
 * When the VM has stopped, the command has ended: QEMU drains block devices
 * next, and nothing could be stored then.
 */
static void test_stop_while_storing(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = slow_tpm(image.path);

    start_nv_write(&tpm, "in time!");
    qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'stop' }");
    g_assert_true(tis_is_done(tpm.vm, 0));
    g_assert_cmphex(tis_end(tpm.vm, 0), ==, 0);
    qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'cont' }");
    tpm2_nv_assert(&tpm, TPM2_INDEX, "in time!");
    qtest_quit(tpm.vm);
}

static void test_quit_while_storing(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = slow_tpm(image.path);

    start_nv_write(&tpm, "in time!");
    qtest_quit(tpm.vm);

    tpm = tpm_on_raw(image.path);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "in time!");
    qtest_quit(tpm.vm);
}

/* Starts to make an RSA key, another one each time. */
static void start_key(QTestState *vm, int number)
{
    g_autofree char *params = g_strdup_printf(
        "40000001 00000009 40000009 0000 00 0000 0004 0000 0000 "
        "001e 0001 000b 00030072 0000 0006 0080 0043 0010 0800 00000000 "
        "0004 %08x 0000 00000000", number);
    g_autoptr(GByteArray) command = tpm_command(TPM2_SESSIONS,
                                                CC_CREATE_PRIMARY, params);

    tis_start(vm, 0, command);
}

/* When the VM has stopped, the command has ended, whatever it computes. */
static void test_stop_while_computing(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = tpm_on_raw(image.path);
    int interrupted = 0;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    for (int i = 0; i < 10; i++) {
        start_key(tpm.vm, i);
        interrupted += !tis_is_done(tpm.vm, 0);
        qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'stop' }");
        g_assert_true(tis_is_done(tpm.vm, 0));
        g_assert_cmphex(tis_end(tpm.vm, 0), ==, 0);
        qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'cont' }");
        /* FlushContext of the key */
        tpm_do(&tpm, TPM2_NO_SESSIONS, 0x165, "80000000");
    }
    g_assert_cmpint(interrupted, >, 0);
    qtest_quit(tpm.vm);
}

static void test_reset_while_computing(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = tpm_on_raw(image.path);
    int interrupted = 0;

    for (int i = 0; i < 5; i++) {
        g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
        start_key(tpm.vm, i);
        interrupted += !tis_is_done(tpm.vm, 0);
        qtest_system_reset(tpm.vm);
    }
    g_assert_cmpint(interrupted, >, 0);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    qtest_quit(tpm.vm);
}

/* The guest can cancel a command. */
static void test_cancel(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = tpm_on_raw(image.path);
    int canceled = 0;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    for (int i = 0; i < 20 && !canceled; i++) {
        start_key(tpm.vm, i);
        while (!tis_is_done(tpm.vm, 0)) {
            qtest_writel(tpm.vm, TIS_REG(0, TPM_TIS_REG_STS),
                         TPM_TIS_STS_COMMAND_CANCEL);
        }
        canceled += tis_end(tpm.vm, 0) == TPM2_RC_CANCELED;
    }
    g_assert_cmpint(canceled, >, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    qtest_quit(tpm.vm);
}

int main(int argc, char **argv)
{
    blobstore_test_init(&argc, &argv);
    qtest_add_func("/fault/failed-first-store", test_failed_first_store);
    qtest_add_func("/fault/failed-read", test_failed_read);
    qtest_add_func("/fault/failed-read-of-superblock",
                   test_failed_read_of_superblock);
    qtest_add_func("/fault/failed-read-of-blank-image",
                   test_failed_read_of_blank_image);
    qtest_add_func("/fault/failed-store", test_failed_store);
    qtest_add_func("/fault/shrunk-image", test_shrunk_image);
    qtest_add_func("/fault/reset-while-storing", test_reset_while_storing);
    qtest_add_func("/fault/stop-while-storing", test_stop_while_storing);
    qtest_add_func("/fault/quit-while-storing", test_quit_while_storing);
    qtest_add_func("/fault/stop-while-computing", test_stop_while_computing);
    qtest_add_func("/fault/reset-while-computing", test_reset_while_computing);
    qtest_add_func("/fault/cancel", test_cancel);
    return blobstore_test_run();
}
