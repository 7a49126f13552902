/*
 * qtest: an unsuitable image is refused, and left as it is
 *
 * Each test starts QEMU with one mistake.  QEMU must not start, must say what
 * is wrong and what to do, and must not have changed a byte of the image.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "blobstore-tpm.h"

#define UUID "00112233-4455-6677-8899-aabbccddeeff"

/* Names */

static void test_no_such_drive(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-device tpm-tis,blobstore=lost");

    assert_contains(text, "no blobstore object, drive or node 'lost'",
                    "There is: nvram", "-drive if=none,id=lost", NULL);
}

static void test_no_such_drive_of_an_object(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-object blobstore,id=store,drive=lost "
        "-device tpm-tis,blobstore=store");

    assert_contains(text, "blobstore 'store'", "no drive or node 'lost'",
                    "-drive if=none,id=lost", NULL);
}

static void test_tpmdev_names_nothing(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-tpmdev libtpms,id=dev,blobstore=lost");

    assert_contains(text, "-tpmdev", "no blobstore object, drive or node",
                    "'lost'", NULL);
}

static void test_tpmdev_without_blobstore(void)
{
    g_autofree char *text = qemu_fails("-tpmdev libtpms,id=dev");

    assert_contains(text, "'blobstore' is missing", "-object blobstore", NULL);
}

static void test_tpmdev_of_no_version(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-tpmdev libtpms,id=dev,blobstore=nvram,version=1.1");

    assert_contains(text, "'1.1'", "1.2 and 2.0", NULL);
}

/* Drives */

static void test_read_only_drive(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, "-drive if=none,id=nvram,format=raw,file=%s,readonly=on "
        TPM_DEVICE);

    assert_contains(text, "'nvram' is read-only", "remove read-only=on", NULL);
}

static void test_empty_drive(void)
{
    g_autofree char *text = qemu_fails("-drive if=none,id=nvram " TPM_DEVICE);

    assert_contains(text, "'nvram' is empty", "file=", NULL);
}

static void test_drive_of_a_disk(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-device virtio-blk-pci,drive=nvram " TPM_DEVICE);

    assert_contains(text, "'nvram' is in use by", "virtio-blk",
                    "a drive for itself", NULL);
}

/* Returns the bytes needed according to the message. */
static uint64_t needed_bytes(const char *text)
{
    const char *at = strstr(text, " bytes are needed");

    g_assert_nonnull(at);
    while (g_ascii_isdigit(at[-1])) {
        at--;
    }
    return g_ascii_strtoull(at, NULL, 10);
}

static void test_small_image(const void *bytes)
{
    g_autofree char *image = image_new_sized(GPOINTER_TO_SIZE(bytes));
    g_autofree char *text = qemu_refuses(image, TPM_ON_RAW);
    uint64_t needed = needed_bytes(text);
    g_autofree char *resize = g_strdup_printf(
        "qemu-img resize -f raw '%s' %" PRIu64, image, needed);
    TPM tpm;

    assert_contains(text, "too small", resize, NULL);

    /* One block less is not enough, and the size in the message is. */
    g_assert_cmpint(truncate(image, needed - 4096), ==, 0);
    g_free(qemu_refuses(image, TPM_ON_RAW));
    g_assert_cmpint(truncate(image, needed), ==, 0);
    tpm = tpm_on_raw(image);
    g_assert_cmphex(tpm2_startup(&tpm, false), ==, 0);
    qtest_quit(tpm.vm);
}

static void test_image_in_use(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    TPM tpm = tpm_on_raw(image.path);
    g_autofree char *text = qemu_refuses(image.path, TPM_ON_RAW);

    assert_contains(text, "lock", "another process", image.path, NULL);
    qtest_quit(tpm.vm);
    assert_tpm_image_works(&image);
}

/* Other people's data */

typedef struct Foreign {
    const char *name;
    uint64_t offset;
    const char *bytes;
    const char *what;
} Foreign;

static const Foreign foreign[] = {
    { "gpt", 512, "EFI PART", "a GPT partition table" },
    { "mbr", 510, "\x55\xaa", "MBR partition table" },
    { "ext4", 1080, "\x53\xef", "ext4 file system" },
    { "qcow2", 0, "QFI\xfb", "qcow2 image" },
    { "first-byte", 0, "x", "unknown data" },
    { "last-byte", 4 * MiB - 1, "x", "unknown data" },
    { "middle", 1234567, "x", "unknown data" },
};

static void test_foreign(const void *data)
{
    const Foreign *other = data;
    g_autofree char *image = image_new("raw");
    g_autofree char *offset = g_strdup_printf(
        "first non-zero byte at offset %" PRIu64, other->offset);
    g_autofree char *text = NULL;

    image_write(image, other->offset, other->bytes, strlen(other->bytes));
    text = qemu_refuses(image, TPM_ON_RAW);
    assert_contains(text, "blobstore 'nvram'", "not blank", other->what,
                    offset, "qemu-img create", NULL);
}

/* A whole guest disk has data in its middle only. */
static void test_foreign_guest_disk(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = NULL;

    image_fill(image, 1 * MiB, 0xe5, 2 * MiB);
    text = qemu_refuses(image, TPM_ON_RAW);
    assert_contains(text, "not blank", "offset 1048576", NULL);
}

/* A new encrypted image reads as noise. */
static void test_fresh_luks(void)
{
    g_autofree char *image = image_path("luks");
    g_autofree char *command = g_strdup_printf(
        "%s create -q -f luks --object secret,id=s,data=abc "
        "-o key-secret=s,iter-time=10 %s 4M", getenv("QTEST_QEMU_IMG"), image);
    g_autofree char *text = NULL;
    int status;

    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, &status,
                                            NULL));
    g_assert_cmpint(status, ==, 0);
    text = qemu_refuses(image, "-object secret,id=s,data=abc -drive if=none,"
                   "id=nvram,format=luks,key-secret=s,file=%s " TPM_DEVICE);
    assert_contains(text, "not blank", "encrypted image reads as noise",
                    "qemu-io", "write -z 0 4194304", image, NULL);
}

/* Pins */

static void test_blank_with_format_never(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-object blobstore,id=store,drive=nvram,create=never "
        "-device tpm-tis,blobstore=store");

    assert_contains(text, "blank", "no store may be created", "right image",
                    NULL);
}

static void test_another_uuid(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *text = qemu_refuses(
        image.path, TPM_DRIVE
        "-object blobstore,id=store,drive=nvram,uuid=" UUID
        " -device tpm-tis,blobstore=store");
    g_autofree char *right = g_strdup_printf(
        TPM_DRIVE
        "-object blobstore,id=store,drive=nvram,create=never,uuid=%s "
        "-device tpm-tis,blobstore=store", image.path, image.uuid);

    assert_contains(text, image.uuid, UUID, "right image", NULL);
    qtest_quit(qtest_init(right));
    assert_tpm_image_works(&image);
}

static void test_blank_instead_of_uuid(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-object blobstore,id=store,drive=nvram,uuid=" UUID
        " -device tpm-tis,blobstore=store");

    assert_contains(text, "blank", UUID, NULL);
}

static void test_newer_format(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *text = NULL;

    image_set_format_version(image.path, 2);
    text = qemu_refuses(image.path, TPM_ON_RAW);
    assert_contains(text, "blobstore 'nvram'", "version 2", NULL);
    image_set_format_version(image.path, 1);
    assert_tpm_image_works(&image);
}

/* The state of a TPM of the other version is not garbage to be replaced. */
static void test_other_tpm_version(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *args = g_strdup_printf(
        TPM_DRIVE "-tpmdev libtpms,id=dev,blobstore=nvram,version=1.2 "
        "-device tpm-tis,tpmdev=dev", image.path);
    g_autofree char *text = qemu_refuses(image.path, args);

    assert_contains(text, "blobstore 'nvram'", "TPM 2.0", "TPM 1.2",
                    "version=2.0", NULL);
    assert_tpm_image_works(&image);
}

/* One TPM */

static void test_tpmdev_and_blobstore(const void *args)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(image, args);

    assert_contains(text, "blobstore=nvram", "tpmdev=dev", "one TPM", NULL);
}

static void test_two_tpms(const void *args)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(image, args);

    assert_contains(text, "one TPM", "a TPM already", "blobstore 'nvram'",
                    "Remove one", NULL);
}

/* These are QEMU's own words. */
static void test_two_tpmdevs(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-tpmdev libtpms,id=dev,blobstore=nvram "
        "-tpmdev libtpms,id=other,blobstore=nvram");

    assert_contains(text, "id=other", "Only one TPM is allowed", NULL);
}

static void test_two_users_of_a_tpmdev(void)
{
    g_autofree char *image = image_new("raw");
    g_autofree char *text = qemu_refuses(
        image, TPM_DRIVE "-tpmdev libtpms,id=dev,blobstore=nvram "
        "-device tpm-tis,tpmdev=dev -device tpm-crb,tpmdev=dev");

    assert_contains(text, "-device tpm-crb", "'dev' is already initialized",
                    NULL);
}

#define TPMDEV "-tpmdev libtpms,id=dev,blobstore=nvram "

static void add_one_tpm_tests(void)
{
    qtest_add_data_func("/input/tpmdev-and-blobstore",
                        TPM_DRIVE TPMDEV "-device tpm-tis,tpmdev=dev,"
                        "blobstore=nvram", test_tpmdev_and_blobstore);
    qtest_add_data_func("/input/blobstore-and-tpmdev",
                        TPM_DRIVE TPMDEV "-device tpm-tis,blobstore=nvram,"
                        "tpmdev=dev", test_tpmdev_and_blobstore);
    qtest_add_data_func("/input/unused-tpmdev-and-blobstore",
                        TPM_DRIVE TPMDEV TPM_DEVICE, test_tpmdev_and_blobstore);
    qtest_add_data_func("/input/two-tpms/short-form",
                        TPM_ON_RAW "-device tpm-crb,blobstore=nvram",
                        test_two_tpms);
    qtest_add_data_func("/input/two-tpms/json", TPM_DRIVE
                        "-device '{\"driver\":\"tpm-tis\","
                        "\"blobstore\":\"nvram\"}' "
                        "-device '{\"driver\":\"tpm-crb\","
                        "\"blobstore\":\"nvram\"}'", test_two_tpms);
    qtest_add_data_func("/input/two-tpms/json-and-short-form", TPM_ON_RAW
                        "-device '{\"driver\":\"tpm-crb\","
                        "\"blobstore\":\"nvram\"}'", test_two_tpms);
    qtest_add_func("/input/two-tpms/long-form", test_two_users_of_a_tpmdev);
    qtest_add_func("/input/two-tpms/tpmdevs", test_two_tpmdevs);
}

int main(int argc, char **argv)
{
    blobstore_test_init(&argc, &argv);
    qtest_add_func("/input/no-such-drive", test_no_such_drive);
    qtest_add_func("/input/no-such-drive-of-an-object",
                   test_no_such_drive_of_an_object);
    qtest_add_func("/input/tpmdev-names-nothing", test_tpmdev_names_nothing);
    qtest_add_func("/input/tpmdev-without-blobstore",
                   test_tpmdev_without_blobstore);
    qtest_add_func("/input/tpmdev-of-no-version", test_tpmdev_of_no_version);
    qtest_add_func("/input/read-only-drive", test_read_only_drive);
    qtest_add_func("/input/empty-drive", test_empty_drive);
    qtest_add_func("/input/drive-of-a-disk", test_drive_of_a_disk);
    qtest_add_data_func("/input/small-image/empty", GSIZE_TO_POINTER(0),
                        test_small_image);
    qtest_add_data_func("/input/small-image/64K", GSIZE_TO_POINTER(64 * KiB),
                        test_small_image);
    qtest_add_func("/input/image-in-use", test_image_in_use);
    for (int i = 0; i < ARRAY_SIZE(foreign); i++) {
        g_autofree char *path = g_strdup_printf("/input/foreign/%s",
                                                foreign[i].name);

        qtest_add_data_func(path, &foreign[i], test_foreign);
    }
    qtest_add_func("/input/foreign/guest-disk", test_foreign_guest_disk);
    qtest_add_func("/input/foreign/fresh-luks", test_fresh_luks);
    qtest_add_func("/input/blank-with-format-never",
                   test_blank_with_format_never);
    qtest_add_func("/input/another-uuid", test_another_uuid);
    qtest_add_func("/input/blank-instead-of-uuid", test_blank_instead_of_uuid);
    qtest_add_func("/input/newer-format", test_newer_format);
    qtest_add_func("/input/other-tpm-version", test_other_tpm_version);
    add_one_tpm_tests();
    return blobstore_test_run();
}
