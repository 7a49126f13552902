/*
 * Unit tests of the core: metadata of blobs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>

static bool write_metadata(BlobStore *store, Blob *blob, const char *text,
                           const char *const *metadata, GError **error)
{
    g_autoptr(GBytes) content = g_bytes_new(text, strlen(text));
    BlobChange change = { blob, content, metadata };

    return blob_store_write(store, &change, 1, error);
}

static void assert_metadata(BlobStore *store, Blob *blob, const char *joined)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;
    g_autofree char *found = NULL;

    g_assert_true(blob_store_read(store, blob, &content, &metadata, NULL));
    found = g_strjoinv(" ", metadata);
    g_assert_cmpstr(found, ==, joined);
}

static void test_metadata_is_committed_with_the_content(void)
{
    static const char *const two[] = { "version=2", "empty=", NULL };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    BlobInfo info;

    assert_metadata(store, blob, "");
    g_assert_true(write_metadata(store, blob, "content", two, NULL));
    assert_metadata(store, blob, "version=2 empty=");
    test_expect(store, blob, "content");
    blob_get_info(blob, &info);
    g_assert_cmpuint(info.size, ==, 7);
    g_assert_cmpuint(info.stored_size, ==, 7 + 10 + 7);
    blob_store_free(store);
    store = test_open(disk);
    blob = blob_store_find(store, "t", "a");
    assert_metadata(store, blob, "version=2 empty=");
    test_expect(store, blob, "content");

    test_register(store, "a", 1000);
    test_start(store);
    test_write(store, blob, "none");
    assert_metadata(store, blob, "");
}

static void test_metadata_keeps_its_limits(void)
{
    static const char *const no_value[] = { "key", NULL };
    static const char *const no_key[] = { "=value", NULL };
    g_autofree char *most = g_strdup_printf("k=%0*d", 1021, 0);
    g_autofree char *more = g_strdup_printf("k=%0*d", 1022, 0);
    g_autofree char *half = g_strdup_printf("k=%0*d", 600, 0);
    const char *const too_long[] = { more, NULL };
    const char *const too_many[] = { half, half, NULL };
    const char *const just_right[] = { most, NULL };
    const char *const *const bad[] = { no_value, no_key, too_long, too_many };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = test_store(disk, &blob, 1);
    g_autofree char *text = g_strnfill(1000, 'x');

    test_write(store, blob, "before");
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;

        g_assert_false(write_metadata(store, blob, "x", bad[i], &error));
        test_assert_error(&error, BLOBSTORE_ERROR_INVALID,
                          "blob 't/a': metadata is not*1024 bytes");
        test_expect(store, blob, "before");
    }
    /* Content and metadata of the largest size fit together. */
    g_assert_true(write_metadata(store, blob, text, just_right, NULL));
    assert_metadata(store, blob, most);
    test_expect(store, blob, text);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/metadata/" #name, test_##name)
    ADD(metadata_is_committed_with_the_content);
    ADD(metadata_keeps_its_limits);
    return g_test_run();
}
