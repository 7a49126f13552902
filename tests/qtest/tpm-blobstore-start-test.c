/*
 * qtest: a blank image becomes a TPM when QEMU has started, and not before
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "qobject/qlist.h"
#include "blobstore-tpm.h"
#include "tpm-tis-util.h"

#define DEVICE_JSON \
    "-device '{\"driver\":\"tpm-tis\",\"blobstore\":\"nvram\"}' "
#define BLOCKDEV \
    "-blockdev driver=raw,node-name=nvram,file.driver=file,file.filename=%s "
#define BLOCKDEV_JSON \
    "-blockdev '{\"driver\":\"raw\",\"node-name\":\"nvram\"," \
    "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}' "

static bool is_blank(const char *image)
{
    g_autoptr(GBytes) content = image_read(image);
    gsize bytes;
    const void *data = g_bytes_get_data(content, &bytes);

    return buffer_is_zero(data, bytes);
}

/* A command line that gives the VM a TPM; %s is the path of the image */
typedef struct Form {
    const char *name;
    const char *args;
} Form;

static const Form forms[] = {
    { "device", TPM_ON_RAW },
    { "json", TPM_DRIVE DEVICE_JSON },
    { "json-first", DEVICE_JSON TPM_DRIVE },
    { "json-on-blockdev", DEVICE_JSON BLOCKDEV },
    { "json-on-blockdev-in-json", BLOCKDEV_JSON DEVICE_JSON },
    { "crb", BLOCKDEV "-device tpm-crb,blobstore=nvram " },
    { "object", "-object blobstore,id=store,drive=nvram " TPM_DRIVE
      "-device tpm-tis,blobstore=store " },
    { "encrypted", "-object secret,id=key,data=passphrase "
      "-object blobstore,id=store,drive=nvram,encrypt.type=passphrase,"
      "encrypt.key-secret=key,encrypt.iter-time=1 " TPM_DRIVE
      "-device tpm-tis,blobstore=store " },
    { "tpmdev", TPM_DRIVE "-tpmdev libtpms,id=dev,blobstore=nvram "
      "-device tpm-tis,tpmdev=dev " },
    { "global", TPM_DRIVE "-global tpm-tis.blobstore=nvram -device tpm-tis " },
};

/* Another mistake on the command line, and QEMU's message */
typedef struct Mistake {
    const char *name;
    const char *args;
    const char *message;
} Mistake;

static const Mistake mistakes[] = {
    { "no-such-device", "-device no-such-thing", "no-such-thing" },
    { "no-such-device-in-json", "-device '{\"driver\":\"no-such-thing\"}'",
      "no-such-thing" },
    { "bad-property", "-device virtio-rng-pci,max-bytes=0", "max-bytes" },
    { "no-kernel", "-kernel no-such-file", "no-such-file" },
    { "no-file-to-load", "-device loader,file=no-such-file", "no-such-file" },
    { "no-gdb", "-gdb unix:/no/such/directory/socket", "gdb" },
};

typedef struct Case {
    const Form *form;
    const Mistake *mistake;
} Case;

/* Without the mistake the same command line makes a TPM of the image. */
static void test_mistake(const void *data)
{
    const Case *test = data;
    g_autofree char *image = image_new("raw");
    g_autofree char *args = g_strconcat(test->form->args,
                                        test->mistake->args, NULL);
    g_autofree char *text = qemu_refuses(image, args);

    assert_contains(text, test->mistake->message, NULL);
    g_assert_true(is_blank(image));
}

static char *form_args(const Form *form, const char *image)
{
    g_auto(GStrv) parts = g_strsplit(form->args, "%s", 0);

    return g_strjoinv(image, parts);
}

static TPM form_power_on(const Form *form, const char *image)
{
    g_autofree char *args = form_args(form, image);

    return (TPM) {
        qtest_init(args),
        strstr(args, "tpm-crb") ? tpm_util_crb_transfer : tpm_tis_transfer,
    };
}

/* Each form makes a TPM of a blank image; the next start finds that TPM. */
static void test_form(const void *data)
{
    const Form *form = data;
    g_autofree char *image = image_new("raw");
    TPM tpm = form_power_on(form, image);

    g_assert_false(is_blank(image));
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    g_assert_cmphex(tpm2_nv_write(&tpm, TPM2_INDEX, "unlikely"), ==, 0);
    qtest_quit(tpm.vm);

    tpm = form_power_on(form, image);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    tpm2_nv_assert(&tpm, TPM2_INDEX, "unlikely");
    qtest_quit(tpm.vm);
}

/* A mistake later on the command line leaves a TPM's image alone, too. */
static void test_mistake_beside_a_tpm(const void *data)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *args = g_strconcat(TPM_ON_RAW, data, NULL);

    g_free(qemu_refuses(image.path, args));
    assert_tpm_image_works(&image);
}

/* A mistake found when all else is complete still names the option. */
static void test_late_refusal_names_the_option(const void *device)
{
    g_autofree char *image = image_new_sized(64 * KiB);
    g_autofree char *args = g_strconcat(TPM_DRIVE, device, NULL);
    g_autofree char *text = qemu_refuses(image, args);
    g_auto(GStrv) quoted = g_strsplit(device, "'", 0);
    g_autofree char *option = g_strjoinv("", quoted);

    assert_contains(text, g_strstrip(option), "too small", NULL);
}

/* The parent process waits for the daemon. */
static void test_late_refusal_ends_a_daemon(void)
{
    g_autofree char *image = image_new_sized(64 * KiB);
    g_autofree char *text = qemu_refuses(image, "-daemonize " TPM_ON_RAW);

    assert_contains(text, "too small", NULL);
}

static void test_stopped_vm(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = g_strdup_printf("-S " TPM_ON_RAW, image);
    TPM tpm = { qtest_init(args), tpm_tis_transfer };
    QDict *info = store_info(tpm.vm);

    g_assert_true(blob_is_present(info, "permanent"));
    qobject_unref(info);
    qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'cont' }");
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_quit(tpm.vm);
}

static void test_preconfig(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = g_strdup_printf("-preconfig " TPM_ON_RAW, image);
    TPM tpm = { qtest_init(args), tpm_tis_transfer };

    g_assert_true(is_blank(image));
    qtest_qmp_assert_success(tpm.vm, "{ 'execute': 'x-exit-preconfig' }");
    g_assert_false(is_blank(image));
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    g_assert_cmphex(tpm2_nv_define(&tpm, TPM2_INDEX), ==, 0);
    qtest_quit(tpm.vm);
}

/* No source ever reaches this destination. */
static void test_incoming(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = g_strdup_printf("-incoming defer " TPM_ON_RAW,
                                            image);
    QTestState *vm = qtest_init(args);

    qtest_quit(vm);
    g_assert_true(is_blank(image));
}

static bool has_blobstore_property(QTestState *vm, const char *type)
{
    QDict *response = qtest_qmp(vm, "{ 'execute': 'device-list-properties',"
                                "  'arguments': { 'typename': %s } }", type);
    QListEntry *entry;
    bool found = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(response, "return"), entry) {
        QDict *property = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(property, "name"), "blobstore")) {
            g_assert_cmpstr(qdict_get_str(property, "type"), ==, "str");
            found = true;
        }
    }
    qobject_unref(response);
    return found;
}

/* QEMU makes a device to show its properties, with all that -global sets. */
static void test_properties_are_looked_at(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = g_strdup_printf(
        TPM_DRIVE "-global tpm-tis.blobstore=nvram "
        "-global tpm-crb.blobstore=nvram", image);
    QTestState *vm = qtest_init(args);
    QDict *response;

    g_assert_true(has_blobstore_property(vm, "tpm-tis"));
    g_assert_true(has_blobstore_property(vm, "tpm-crb"));
    response = qtest_qmp(vm, "{ 'execute': 'blobstore-info' }");
    g_assert_true(qlist_empty(qdict_get_qlist(response, "return")));
    qobject_unref(response);
    qtest_quit(vm);
    g_assert_true(is_blank(image));
}

static void test_device_help(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *command = g_strdup_printf(
        "%s -drive if=none,id=nvram,format=raw,file=%s "
        "-global tpm-tis.blobstore=nvram -device tpm-tis,help",
        getenv("QTEST_QEMU_BINARY"), image);
    g_autofree char *text = NULL;
    int status;

    g_assert_true(g_spawn_command_line_sync(command, &text, NULL, &status,
                                            NULL));
    g_assert_cmpint(status, ==, 0);
    assert_contains(text, "blobstore=<str>", "blob store or drive", NULL);
    g_assert_true(is_blank(image));
}

/* The device is not added, because nothing more can be plugged. */
static void test_device_add_fails(const void *model)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *args = g_strdup_printf(TPM_DRIVE, image);
    QTestState *vm = qtest_init(args);
    QDict *response = qtest_qmp(vm, "{ 'execute': 'device_add',"
                                "  'arguments': { 'driver': %s,"
                                "    'blobstore': 'nvram' } }",
                                (const char *)model);

    g_assert_true(qdict_haskey(response, "error"));
    qobject_unref(response);
    response = qtest_qmp(vm, "{ 'execute': 'blobstore-info' }");
    g_assert_true(qlist_empty(qdict_get_qlist(response, "return")));
    qobject_unref(response);
    qtest_quit(vm);
    g_assert_true(is_blank(image));
}

static void add_mistakes(void)
{
    for (int i = 0; i < ARRAY_SIZE(forms); i++) {
        for (int j = 0; j < ARRAY_SIZE(mistakes); j++) {
            g_autofree char *path = g_strdup_printf(
                "/start/mistake/%s/%s", forms[i].name, mistakes[j].name);
            Case *test = g_new(Case, 1);

            *test = (Case) { &forms[i], &mistakes[j] };
            qtest_add_data_func_full(path, test, test_mistake, g_free);
        }
    }
    for (int j = 0; j < ARRAY_SIZE(mistakes); j++) {
        g_autofree char *path = g_strdup_printf("/start/mistake/tpm/%s",
                                                mistakes[j].name);

        qtest_add_data_func(path, mistakes[j].args, test_mistake_beside_a_tpm);
    }
}

int main(int argc, char **argv)
{
    blobstore_test_init(&argc, &argv);
    for (int i = 0; i < ARRAY_SIZE(forms); i++) {
        g_autofree char *path = g_strdup_printf("/start/form/%s",
                                                forms[i].name);

        qtest_add_data_func(path, &forms[i], test_form);
    }
    add_mistakes();
    qtest_add_data_func("/start/late-refusal/device", TPM_DEVICE,
                        test_late_refusal_names_the_option);
    qtest_add_data_func("/start/late-refusal/json", DEVICE_JSON,
                        test_late_refusal_names_the_option);
    qtest_add_data_func("/start/late-refusal/tpmdev",
                        "-tpmdev libtpms,id=dev,blobstore=nvram",
                        test_late_refusal_names_the_option);
    qtest_add_func("/start/late-refusal/daemon",
                   test_late_refusal_ends_a_daemon);
    qtest_add_func("/start/stopped", test_stopped_vm);
    qtest_add_func("/start/preconfig", test_preconfig);
    qtest_add_func("/start/incoming", test_incoming);
    qtest_add_func("/start/properties", test_properties_are_looked_at);
    qtest_add_func("/start/help", test_device_help);
    qtest_add_data_func("/start/device-add/tis", "tpm-tis",
                        test_device_add_fails);
    qtest_add_data_func("/start/device-add/crb", "tpm-crb",
                        test_device_add_fails);
    return blobstore_test_run();
}
