/*
 * qtest: damage of a TPM's image is found, and never makes another TPM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "blobstore-tpm.h"

/* Damage of one copy is reported, and healed. */
static void test_damaged_superblock_copy(const void *copy)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *log = image_path("warnings");
    g_autofree char *args = g_strdup_printf(TPM_ON_RAW "2>%s", image.path,
                                            log);
    g_autofree char *text = NULL;
    g_autofree char *later = NULL;
    QDict *info;
    QTestState *vm;

    image_fill(image.path, GPOINTER_TO_SIZE(copy), 0xa5, 4096);
    vm = qtest_init(args);
    info = store_info(vm);
    g_assert_true(blob_is_present(info, "permanent"));
    qobject_unref(info);
    qtest_quit(vm);
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    assert_contains(text, "warning", "nvram", "superblock", NULL);

    vm = qtest_init(args);
    qtest_quit(vm);
    g_assert_true(g_file_get_contents(log, &later, NULL, NULL));
    g_assert_null(strstr(later, "superblock"));
    assert_tpm_image_works(&image);
}

static void test_both_superblock_copies_damaged(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *text = NULL;

    image_flip(image.path, 1400);
    image_flip(image.path, 16 * KiB + 1400);
    text = qemu_refuses(image.path, TPM_ON_RAW);
    assert_contains(text, "blobstore 'nvram'", "superblock", NULL);
    image_flip(image.path, 1400);
    assert_tpm_image_works(&image);
}

/*
 * Only the start of the store is lost, as a careless partitioning tool leaves
 * it.
 */
static void test_superblocks_overwritten(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *text = NULL;

    image_fill(image.path, 0, 0, 32 * KiB);
    text = qemu_refuses(image.path, TPM_ON_RAW);
    assert_contains(text, "blobstore 'nvram'", "not blank", NULL);
}

static void test_damaged_directory(void)
{
    g_auto(TPMImage) image = tpm_image_new();
    g_autofree char *text = NULL;

    image_flip(image.path, 32 * KiB + 1300);
    image_flip(image.path, 64 * KiB + 1300);
    text = qemu_refuses(image.path, TPM_ON_RAW);
    assert_contains(text, "blobstore 'nvram'", "directory", NULL);
    image_flip(image.path, 32 * KiB + 1300);
    image_flip(image.path, 64 * KiB + 1300);
    assert_tpm_image_works(&image);
}

/* QEMU makes neither a new TPM nor an older one of the damaged image. */
static void assert_permanent_is_missed(const char *image)
{
    g_autofree char *text = qemu_refuses(image, TPM_ON_RAW);

    assert_contains(text, "blobstore 'nvram'", "tpm/permanent", NULL);
}

static void test_damaged_content(void)
{
    g_auto(TPMImage) image = tpm_image_new();

    image_flip(image.path, image.permanent + 1280 + 100);
    assert_permanent_is_missed(image.path);
    image_flip(image.path, image.permanent + 1280 + 100);
    assert_tpm_image_works(&image);
}

static void test_damaged_sector(const void *offset)
{
    g_auto(TPMImage) image = tpm_image_new();

    image_fill(image.path, image.permanent + GPOINTER_TO_SIZE(offset), 0xff,
               4096);
    assert_permanent_is_missed(image.path);
}

static void test_blob_is_gone(void)
{
    g_auto(TPMImage) image = tpm_image_new();

    image_fill(image.path, image.permanent, 0, 64 * KiB);
    image_fill(image.path, image.former, 0, 64 * KiB);
    assert_permanent_is_missed(image.path);
}

/* The newest version is gone; the older one in the other slot is intact. */
static void test_newest_version_is_gone(void)
{
    g_auto(TPMImage) image = tpm_image_new();

    image_fill(image.path, image.permanent, 0, 64 * KiB);
    assert_permanent_is_missed(image.path);
}

/* Damage of the old version is no damage. */
static void test_former_version_is_damaged(void)
{
    g_auto(TPMImage) image = tpm_image_new();

    image_fill(image.path, image.former, 0xff, 8 * KiB);
    assert_tpm_image_works(&image);
}

int main(int argc, char **argv)
{
    blobstore_test_init(&argc, &argv);
    qtest_add_data_func("/damage/superblock-copy/first",
                        GSIZE_TO_POINTER(0), test_damaged_superblock_copy);
    qtest_add_data_func("/damage/superblock-copy/second",
                        GSIZE_TO_POINTER(16 * KiB),
                        test_damaged_superblock_copy);
    qtest_add_func("/damage/both-superblock-copies-damaged",
                   test_both_superblock_copies_damaged);
    qtest_add_func("/damage/superblocks-overwritten",
                   test_superblocks_overwritten);
    qtest_add_func("/damage/directory", test_damaged_directory);
    qtest_add_func("/damage/content", test_damaged_content);
    qtest_add_data_func("/damage/sector/first", GSIZE_TO_POINTER(0),
                        test_damaged_sector);
    qtest_add_data_func("/damage/sector/second",
                        GSIZE_TO_POINTER(4096), test_damaged_sector);
    qtest_add_func("/damage/blob-is-gone", test_blob_is_gone);
    qtest_add_func("/damage/newest-version-is-gone",
                   test_newest_version_is_gone);
    qtest_add_func("/damage/former-version-is-damaged",
                   test_former_version_is_damaged);
    return blobstore_test_run();
}
