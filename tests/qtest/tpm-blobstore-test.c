/*
 * qtest: the state of a TPM 2.0 lives in a blob store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/acpi/tpm.h"
#include "qobject/qstring.h"
#include "blobstore-tpm.h"
#include "tpm-tis-util.h"

#define KEY 0x81000001

/* A way to give a VM a TPM; %s is "file=...,format=..." of the image */
typedef struct Setup {
    const char *name;
    const char *format;         /* of the image */
    const char *args;
    tx_func *transfer;
    const char *model;
    const char *tpm_id;
    const char *store;
} Setup;

static const Setup setups[] = {
    {
        "tis/qcow2", "qcow2",
        "-drive if=none,id=nvram,%s -device tpm-tis,blobstore=nvram",
        tpm_tis_transfer, "tpm-tis", "tpm0", "nvram",
    }, {
        "tis/raw", "raw",
        "-drive if=none,id=nvram,%s -device tpm-tis,blobstore=nvram",
        tpm_tis_transfer, "tpm-tis", "tpm0", "nvram",
    }, {
        "crb/qcow2", "qcow2",
        "-drive if=none,id=nvram,%s -device tpm-crb,blobstore=nvram,id=chip",
        tpm_util_crb_transfer, "tpm-crb", "chip", "nvram",
    }, {
        "object/raw", "raw",
        "-object blobstore,id=store,drive=nvram,pack=on "
        "-drive if=none,id=nvram,%s -device tpm-tis,blobstore=store",
        tpm_tis_transfer, "tpm-tis", "tpm0", "store",
    }, {
        "tpmdev/raw", "raw",
        "-drive if=none,id=nvram,%s "
        "-tpmdev libtpms,id=dev,blobstore=nvram,version=2.0 "
        "-device tpm-crb,tpmdev=dev",
        tpm_util_crb_transfer, "tpm-crb", "dev", "nvram",
    },
};

static TPM power_on(const Setup *setup, const char *image)
{
    g_autofree char *file = g_strdup_printf("file=%s,format=%s", image,
                                            setup->format);
    g_autofree char *args = g_strdup_printf(setup->args, file);

    return (TPM) { qtest_init(args), setup->transfer };
}

static void assert_same_key(TPM *tpm, GByteArray *key)
{
    g_autoptr(GByteArray) now = tpm2_key(tpm, KEY);

    g_assert_cmpmem(now->data, now->len, key->data, key->len);
}

/* Stored state is there after a new process of QEMU has started. */
static void test_restart(const void *data)
{
    const Setup *setup = data;
    g_autofree char *image = image_new(setup->format);
    g_autoptr(GByteArray) key = NULL;
    TPM tpm = power_on(setup, image);

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "unlikely"), ==, 0);
    tpm2_make_key(&tpm, KEY);
    key = tpm2_key(&tpm, KEY);
    qtest_quit(tpm.vm);

    for (int i = 0; i < 2; i++) {
        tpm = power_on(setup, image);
        g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
        tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
        assert_same_key(&tpm, key);
        qtest_quit(tpm.vm);
    }
}

/* A TPM in another image is another TPM. */
static void test_two_images_are_two_tpms(void)
{
    g_autofree char *one = image_new("raw");
    g_autofree char *other = image_new("raw");
    g_autoptr(GByteArray) key = NULL;
    g_autoptr(GByteArray) other_key = NULL;
    TPM tpm = tpm_on_raw(one);

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_make_key(&tpm, KEY);
    key = tpm2_key(&tpm, KEY);
    qtest_quit(tpm.vm);

    tpm = tpm_on_raw(other);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_make_key(&tpm, KEY);
    other_key = tpm2_key(&tpm, KEY);
    qtest_quit(tpm.vm);

    g_assert_cmpuint(key->len, ==, other_key->len);
    g_assert_cmpint(memcmp(key->data, other_key->data, key->len), !=, 0);
}

/*
 * The response to a command is sent when its effect is stored.  A copy of the
 * image made then, with QEMU still running, holds the effect.
 */
static void test_acknowledged_is_stored(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *copy = image_path("copy");
    TPM tpm = tpm_on_raw(image);
    TPM after_power_loss;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    for (int i = 0; i < 5; i++) {
        g_autofree char *text = g_strdup_printf("number %d", i);
        g_autoptr(GBytes) content = NULL;
        gsize bytes;
        const char *from;

        g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, text), ==, 0);
        content = image_read(image);
        from = g_bytes_get_data(content, &bytes);
        g_assert_true(g_file_set_contents(copy, from, bytes, NULL));

        after_power_loss = tpm_on_raw(copy);
        g_assert_cmphex(tpm2_startup(&after_power_loss, false), ==, 0);
        tpm2_nv_assert(&after_power_loss, TPM2_INDEX, text);
        qtest_quit(after_power_loss.vm);
    }
    qtest_quit(tpm.vm);
}

/* A reset powers the TPM off and on: PCRs are reset, the rest stays. */
static void test_reset(const void *data)
{
    const Setup *setup = data;
    g_autofree char *image = image_new(setup->format);
    g_autoptr(GByteArray) key = NULL;
    TPM tpm = power_on(setup, image);
    static const unsigned char extended_pcr[] =
        "\x80\x01\x00\x00\x00\x3e\x00\x00\x00\x00\x00\x00\x00\x16\x00\x00"
        "\x00\x01\x00\x0b\x03\x00\x04\x00\x00\x00\x00\x01\x00\x20\xf6\x85"
        "\x98\xe5\x86\x8d\xe6\x8b\x97\x29\x99\x60\xf2\x71\x7d\x17\x67\x89"
        "\xa4\x2f\x9a\xae\xa8\xc7\xb7\xaa\x79\xa8\x62\x56\xc1\xde";
    static const unsigned char reset_pcr[] =
        "\x80\x01\x00\x00\x00\x3e\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00"
        "\x00\x01\x00\x0b\x03\x00\x04\x00\x00\x00\x00\x01\x00\x20\x00\x00"
        "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

    tpm_util_startup(tpm.vm, tpm.transfer);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "unlikely"), ==, 0);
    tpm2_make_key(&tpm, KEY);
    key = tpm2_key(&tpm, KEY);
    tpm_util_pcrextend(tpm.vm, tpm.transfer);
    tpm_util_pcrread(tpm.vm, tpm.transfer, extended_pcr,
                     sizeof(extended_pcr) - 1);

    qtest_system_reset(tpm.vm);
    /* TPM_RC_INITIALIZE: the TPM waits for a startup again. */
    g_assert_false(tpm2_nv_exists(&tpm, TPM2_INDEX));
    tpm_util_startup(tpm.vm, tpm.transfer);
    tpm_util_pcrread(tpm.vm, tpm.transfer, reset_pcr, sizeof(reset_pcr) - 1);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    assert_same_key(&tpm, key);
    qtest_quit(tpm.vm);
}

/* Suspend to RAM: Shutdown(STATE), reset, Startup(STATE) keeps PCRs. */
static void test_suspend(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    g_autoptr(GByteArray) before = NULL;
    g_autoptr(GByteArray) after = NULL;
    const char *pcr_0 = "00000001 000b 03 010000";

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm_do(&tpm, TPM2_SESSIONS, 0x182, "00000000 "
           "00000009 40000009 0000 00 0000 00000001 000b "
           "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    before = tpm_run(&tpm, TPM2_NO_SESSIONS, 0x17e, pcr_0);
    tpm_do(&tpm, TPM2_NO_SESSIONS, 0x145, "0001");

    qtest_system_reset(tpm.vm);
    g_assert_cmphex(tpm2_startup(&tpm, true), ==, 0);
    after = tpm_run(&tpm, TPM2_NO_SESSIONS, 0x17e, pcr_0);
    g_assert_cmpmem(after->data + 18, after->len - 18,
                    before->data + 18, before->len - 18);
    qtest_quit(tpm.vm);
}

/* Volatile state never returns by itself. */
static void test_no_startup_from_state_without_shutdown(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_system_reset(tpm.vm);
    /* TPM_RC_VALUE, parameter 1 */
    g_assert_cmphex(tpm2_startup(&tpm, true), ==, 0x1c4);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_quit(tpm.vm);
}

/* The TPM knows at which locality a command was sent. */
static void test_locality(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    /* The command extends PCR 20, which localities 1 to 3 may do. */
    g_autoptr(GByteArray) extend = tpm_command(
        TPM2_SESSIONS, 0x182, "00000014 "
        "00000009 40000009 0000 00 0000 00000001 000b "
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    for (int locality = 0; locality < 4; locality++) {
        tis_start(tpm.vm, locality, extend);
        /* TPM_RC_LOCALITY */
        g_assert_cmphex(tis_end(tpm.vm, locality), ==, locality ? 0 : 0x907);
    }
    qtest_quit(tpm.vm);
}

/* Whatever the guest sends, the TPM answers and stays usable. */
static void test_malformed_commands(void)
{
    static const struct {
        const char *bytes;
        size_t count;
    } commands[] = {
        { "\x80\x01\x00\x00\x00\x06", 6 },
        { "\x80\x01\x00\x00\x00\x09\x00\x00\x01", 9 },
        { "\x00\x00\x00\x00\x00\x0a\x00\x00\x01\x7b", 10 },
        { "\x80\x01\x00\x00\x00\x0a\xff\xff\xff\xff", 10 },
        /* Sessions that are not there; a TPM 1.2's command */
        { "\x80\x02\x00\x00\x00\x0a\x00\x00\x01\x82", 10 },
        { "\x00\xc1\x00\x00\x00\x0a\x00\x00\x00\x53", 10 },
        /* A size of nothing */
        { "\x80\x01\x00\x00\x00\x00\x00\x00\x01\x7b", 10 },
    };
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    for (int i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autoptr(GByteArray) command = g_byte_array_new();

        g_byte_array_append(command, (const uint8_t *)commands[i].bytes,
                            commands[i].count);
        tis_start(tpm.vm, 0, command);
        g_assert_cmphex(tis_end(tpm.vm, 0), !=, 0);
        g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX + i), ==, 0);
    }
    qtest_quit(tpm.vm);
}

static bool tpm_is_established(QTestState *vm)
{
    /* The bit is clear if the flag is set. */
    return !(qtest_readb(vm, TIS_REG(0, TPM_TIS_REG_ACCESS)) &
             TPM_TIS_ACCESS_TPM_ESTABLISHMENT);
}

/*
 * The flag of a dynamic launch can be read and reset at any time, even while a
 * command runs.
 */
static void test_established_flag(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    g_autoptr(GByteArray) self_test = tpm_command(TPM2_NO_SESSIONS, 0x143,
                                                  "01");

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_false(tpm_is_established(tpm.vm));
    for (int i = 0; i < 10; i++) {
        tis_start(tpm.vm, 3, self_test);
        qtest_writel(tpm.vm, TIS_REG(3, TPM_TIS_REG_STS),
                     TPM_TIS_STS_RESET_ESTABLISHMENT_BIT);
        g_assert_false(tpm_is_established(tpm.vm));
        g_assert_cmphex(tis_end(tpm.vm, 3), ==, 0);
    }
    qtest_quit(tpm.vm);
}

/* query-tpm, query-tpm-types and info tpm tell the truth. */
static void test_query_tpm(const void *data)
{
    const Setup *setup = data;
    g_autofree char *image = image_new(setup->format);
    TPM tpm = power_on(setup, image);
    QDict *response = qtest_qmp(tpm.vm, "{ 'execute': 'query-tpm' }");
    QList *list = qdict_get_qlist(response, "return");
    QDict *info = qobject_to(QDict, qlist_peek(list));
    QDict *options = qdict_get_qdict(info, "options");
    QDict *option_data = qdict_get_qdict(options, "data");
    g_autofree char *text = qtest_hmp(tpm.vm, "info tpm");
    bool found = false;
    QListEntry *entry;

    g_assert_cmpint(qlist_size(list), ==, 1);
    g_assert_cmpstr(qdict_get_str(info, "id"), ==, setup->tpm_id);
    g_assert_cmpstr(qdict_get_str(info, "model"), ==, setup->model);
    g_assert_cmpstr(qdict_get_str(options, "type"), ==, "libtpms");
    g_assert_cmpstr(qdict_get_str(option_data, "blobstore"), ==,
                    setup->store);
    g_assert_cmpstr(qdict_get_str(option_data, "version"), ==, "v2-0");
    qobject_unref(response);
    assert_contains(text, setup->model, setup->tpm_id, "type=libtpms",
                    "blobstore=", setup->store, "version=v2-0", NULL);

    response = qtest_qmp(tpm.vm, "{ 'execute': 'query-tpm-types' }");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        found |= g_str_equal("libtpms", qstring_get_str(
            qobject_to(QString, qlist_entry_obj(entry))));
    }
    g_assert_true(found);
    qobject_unref(response);
    qtest_quit(tpm.vm);
}

/* blobstore-info shows the three blobs, and a commit for each store. */
static void test_blobstore_info(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    QDict *info = store_info(tpm.vm);
    QDict *blob = store_blob(info, "permanent");
    uint64_t current = blob_slot(blob, true);
    int64_t commits;

    g_assert_cmpstr(qdict_get_str(info, "id"), ==, "nvram");
    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "active");
    g_assert_cmpstr(qdict_get_str(blob, "kind"), ==, "permanent");
    g_assert_true(qdict_get_bool(blob, "present"));
    g_assert_cmpint(qdict_get_int(blob, "size"), >, 1000);
    g_assert_cmpint(qdict_get_int(blob, "max-size"), ==, 512 * 1024);
    blob = store_blob(info, "savestate");
    g_assert_cmpstr(qdict_get_str(blob, "kind"), ==, "savestate");
    g_assert_false(qdict_get_bool(blob, "present"));
    blob = store_blob(info, "volatile");
    g_assert_cmpstr(qdict_get_str(blob, "kind"), ==, "volatile");
    commits = qdict_get_int(qdict_get_qdict(info, "stats"), "commits");
    qobject_unref(info);

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    info = store_info(tpm.vm);
    g_assert_cmpint(qdict_get_int(qdict_get_qdict(info, "stats"), "commits"),
                    ==, commits + 1);
    g_assert_cmpuint(blob_slot(store_blob(info, "permanent"), true), !=,
                     current);
    qobject_unref(info);
    qtest_quit(tpm.vm);
}

/* HMP shows the same as QMP, and says when there is nothing to show. */
static void test_info_blobstore(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    QDict *info = store_info(tpm.vm);
    QDict *blob = store_blob(info, "permanent");
    g_autofree char *slot =
        g_strdup_printf("slot at %" PRIu64 ", 528384 bytes, current",
                        blob_slot(blob, true));
    g_autofree char *size = g_strdup_printf(
        "tpm/permanent: permanent, %" PRId64 " of 524288 bytes",
        qdict_get_int(blob, "size"));
    g_autofree char *text = qtest_hmp(tpm.vm, "info blobstore");
    QTestState *none = qtest_init("-machine none");
    g_autofree char *nothing = qtest_hmp(none, "info blobstore");

    assert_contains(text, "nvram: active, drive nvram, uuid ",
                    qdict_get_str(info, "uuid"), size, slot,
                    "tpm/savestate: savestate, absent",
                    "tpm/volatile: volatile, absent", NULL);
    assert_contains(nothing, "no device uses a blobstore", NULL);
    qobject_unref(info);
    qtest_quit(none);
    qtest_quit(tpm.vm);
}

/* NV memory filled to the brim fits into the blob. */
static void test_full_nv(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    uint32_t count = 0;
    QDict *info;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    /* 2048 bytes each, until there is no space: TPM_RC_NV_SPACE */
    for (uint32_t result = 0; !result; count++) {
        g_autofree char *params = g_strdup_printf(
            "40000001 00000009 40000009 0000 00 0000 "
            "0000 000e %08x 000b 00020002 0000 0800", TPM2_INDEX + count);

        result = tpm_result(&tpm, TPM2_SESSIONS, 0x12a, params);
        if (result) {
            g_assert_cmphex(result, ==, 0x14b);
        }
    }
    g_assert_cmpuint(count, >, 50);
    info = store_info(tpm.vm);
    g_assert_cmpint(qdict_get_int(store_blob(info, "permanent"), "size"), >,
                    100 * 1024);
    qobject_unref(info);
    qtest_quit(tpm.vm);

    tpm = tpm_on_raw(image);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_true(tpm2_nv_exists(&tpm, TPM2_INDEX + count - 2));
    g_assert_false(tpm2_nv_exists(&tpm, TPM2_INDEX + count - 1));
    qtest_quit(tpm.vm);
}

/* A device that cannot be realized gives its TPM and the store back. */
static void test_failing_realize(void)
{
    g_autofree char *image = image_new("raw");
    TPM tpm = tpm_on_raw(image);
    g_autofree char *args = g_strdup_printf(
        "-drive if=none,id=nvram,file=%s,format=raw "
        "-device tpm-tis,blobstore=nvram,irq=99", image);
    g_autofree char *text = NULL;

    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    qtest_quit(tpm.vm);

    text = qemu_fails(args);
    assert_contains(text, "IRQ 99", NULL);

    tpm = tpm_on_raw(image);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_true(tpm2_nv_exists(&tpm, TPM2_INDEX));
    qtest_quit(tpm.vm);
}

static void add_setup_tests(const char *name, GTestDataFunc test)
{
    for (int i = 0; i < ARRAY_SIZE(setups); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", name, setups[i].name);

        qtest_add_data_func(path, &setups[i], test);
    }
}

int main(int argc, char **argv)
{
    blobstore_test_init(&argc, &argv);
    add_setup_tests("/tpm-blobstore/restart", test_restart);
    add_setup_tests("/tpm-blobstore/reset", test_reset);
    add_setup_tests("/tpm-blobstore/query-tpm", test_query_tpm);
    qtest_add_func("/tpm-blobstore/two-images-are-two-tpms",
                   test_two_images_are_two_tpms);
    qtest_add_func("/tpm-blobstore/acknowledged-is-stored",
                   test_acknowledged_is_stored);
    qtest_add_func("/tpm-blobstore/suspend", test_suspend);
    qtest_add_func("/tpm-blobstore/no-startup-from-state-without-shutdown",
                   test_no_startup_from_state_without_shutdown);
    qtest_add_func("/tpm-blobstore/locality", test_locality);
    qtest_add_func("/tpm-blobstore/malformed-commands",
                   test_malformed_commands);
    qtest_add_func("/tpm-blobstore/established-flag", test_established_flag);
    qtest_add_func("/tpm-blobstore/blobstore-info", test_blobstore_info);
    qtest_add_func("/tpm-blobstore/info-blobstore", test_info_blobstore);
    qtest_add_func("/tpm-blobstore/full-nv", test_full_nv);
    qtest_add_func("/tpm-blobstore/failing-realize", test_failing_realize);
    return blobstore_test_run();
}
