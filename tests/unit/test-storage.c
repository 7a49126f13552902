/*
 * Unit tests of the core: media in memory and in files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "fixture.h"

enum { FILE_BYTES = 1 << 20 };

static bool read_at(BlobStorage *storage, uint64_t offset, void *buf,
                    size_t bytes, GError **error)
{
    return storage->ops->read(storage, offset, buf, bytes, error);
}

static bool write_at(BlobStorage *storage, uint64_t offset, const void *buf,
                     size_t bytes, bool durable, GError **error)
{
    return storage->ops->write(storage, offset, buf, bytes, durable, error);
}

static uint64_t length_of(BlobStorage *storage)
{
    uint64_t bytes;

    g_assert_true(storage->ops->length(storage, &bytes, NULL));
    return bytes;
}

/* What is written is read, and nothing else has changed. */
static void check_reads_and_writes(BlobStorage *storage)
{
    uint8_t out[1024];
    uint8_t in[1024];
    const uint8_t zero[1024] = { 0 };

    memset(out, 0x77, sizeof(out));
    g_assert_true(read_at(storage, 512, in, sizeof(in), NULL));
    g_assert_cmpmem(in, sizeof(in), zero, sizeof(zero));
    g_assert_true(write_at(storage, 512, out, 512, false, NULL));
    g_assert_true(write_at(storage, 1024, out, 512, true, NULL));
    g_assert_true(storage->ops->flush(storage, NULL));
    if (storage->ops->drop_cache) {
        g_assert_true(storage->ops->drop_cache(storage, NULL));
    }
    g_assert_true(read_at(storage, 512, in, sizeof(in), NULL));
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
    g_assert_true(read_at(storage, 0, in, 512, NULL));
    g_assert_cmpmem(in, 512, zero, 512);
    g_assert_true(read_at(storage, 1536, in, 512, NULL));
    g_assert_cmpmem(in, 512, zero, 512);
}

static void test_memory_reads_what_was_written(void)
{
    g_autoptr(BlobStorage) storage = blob_storage_new_memory(FILE_BYTES);

    g_assert_cmpuint(length_of(storage), ==, FILE_BYTES);
    check_reads_and_writes(storage);
    g_assert_cmpuint(blob_storage_memory(storage)[512], ==, 0x77);
}

static void test_memory_ends_where_it_ends(void)
{
    static const struct {
        uint64_t offset;
        size_t bytes;
    } cases[] = {
        { 4096, 512 }, { 3584, 1024 }, { UINT64_MAX - 511, 512 },
        { UINT64_MAX - 511, 1024 }, { 0, 4608 },
    };
    g_autoptr(BlobStorage) storage = blob_storage_new_memory(4096);
    uint8_t buf[8192];
    GError *error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_false(read_at(storage, cases[i].offset, buf, cases[i].bytes,
                               &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "offset * past the end*");
        g_assert_false(write_at(storage, cases[i].offset, buf,
                                cases[i].bytes, true, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "offset * past the end*");
    }
    g_assert_true(read_at(storage, 0, buf, 4096, NULL));
}

static void test_memory_can_be_resized(void)
{
    g_autoptr(BlobStorage) storage = blob_storage_new_memory(512);
    uint8_t buf[1024];

    memset(buf, 1, sizeof(buf));
    g_assert_true(write_at(storage, 0, buf, 512, true, NULL));
    blob_storage_resize_memory(storage, 1024);
    g_assert_true(read_at(storage, 0, buf, 1024, NULL));
    g_assert_cmpuint(buf[511], ==, 1);
    g_assert_cmpuint(buf[512], ==, 0);
    blob_storage_resize_memory(storage, 512);
    g_assert_cmpuint(length_of(storage), ==, 512);
    g_assert_false(read_at(storage, 512, buf, 512, NULL));
}

typedef struct Setup {
    char *dir;
    char *path;
} Setup;

static void set_up(Setup *setup, gconstpointer unused)
{
    int fd;

    setup->dir = g_dir_make_tmp("blobstore-XXXXXX", NULL);
    g_assert_nonnull(setup->dir);
    setup->path = g_build_filename(setup->dir, "medium", NULL);
    fd = open(setup->path, O_RDWR | O_CREAT | O_EXCL, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, FILE_BYTES), ==, 0);
    close(fd);
}

static void tear_down(Setup *setup, gconstpointer unused)
{
    g_unlink(setup->path);
    g_rmdir(setup->dir);
    g_free(setup->path);
    g_free(setup->dir);
}

static BlobStorage *open_file(Setup *setup, bool writable)
{
    g_autoptr(GError) error = NULL;
    BlobStorage *storage = blob_storage_new_file(setup->path, writable,
                                                 &error);

    g_assert_no_error(error);
    return storage;
}

static void open_fails(const char *path, bool writable, const char *pattern)
{
    GError *error = NULL;

    g_assert_null(blob_storage_new_file(path, writable, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, pattern);
}

static void test_file_reads_what_was_written(Setup *setup,
                                             gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = open_file(setup, true);

    g_assert_cmpuint(length_of(storage), ==, FILE_BYTES);
    check_reads_and_writes(storage);
}

static void test_file_must_exist(Setup *setup, gconstpointer unused)
{
    g_autofree char *other = g_build_filename(setup->dir, "other", NULL);

    open_fails(other, true, "cannot open '*other': *");
    open_fails(other, false, "cannot open '*other': *");
    g_assert_false(g_file_test(other, G_FILE_TEST_EXISTS));
    open_fails(setup->dir, true, "cannot open '*': *");
}

/* A path that opens, but is no medium, must neither hang nor look like one. */
static void test_file_must_be_a_file_or_a_disk(Setup *setup,
                                               gconstpointer unused)
{
    g_autofree char *fifo = g_build_filename(setup->dir, "fifo", NULL);

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    open_fails(fifo, false, "'*fifo' is neither a file nor a block device");
    open_fails(fifo, true, "'*fifo' is neither a file nor a block device");
    open_fails(setup->dir, false, "'*' is neither a file nor a block device");
    open_fails("/dev/zero", false, "*neither a file nor a block device");
    g_unlink(fifo);
}

static void test_file_is_locked(Setup *setup, gconstpointer unused)
{
    BlobStorage *first = open_file(setup, true);
    g_autoptr(BlobStorage) reader = NULL;
    g_autoptr(BlobStorage) second = NULL;

    open_fails(setup->path, true, "cannot lock '*in use*");
    open_fails(setup->path, false, "cannot lock '*in use*");
    blob_storage_free(first);
    reader = open_file(setup, false);
    second = open_file(setup, false);
    open_fails(setup->path, true, "cannot lock '*in use*");
}

static void test_file_opened_for_reading_is_not_written(Setup *setup,
                                                        gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = open_file(setup, false);
    const uint8_t buf[512] = { 1 };
    GError *error = NULL;

    g_assert_false(write_at(storage, 1024, buf, 512, true, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO,
                      "cannot write at offset 1024: *");
}

static void test_short_file_fails_to_read(Setup *setup, gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = open_file(setup, true);
    uint8_t buf[1024];
    GError *error = NULL;

    g_assert_cmpint(truncate(setup->path, 4096), ==, 0);
    g_assert_cmpuint(length_of(storage), ==, 4096);
    g_assert_false(read_at(storage, 3584, buf, 1024, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO,
                      "cannot read at offset 4096: *");
}

/* /dev/full stands for a full disk, a pipe for one that is gone. */
static void test_failed_calls_name_their_place(Setup *setup,
                                               gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = open_file(setup, true);
    uint8_t buf[512] = { 0 };
    GError *error = NULL;
    int fd = -1;
    int full = open("/dev/full", O_RDWR | O_CLOEXEC);
    int ends[2];
    int null;

    /*
     * Puts another file under the storage, in place of the descriptor opened
     * last.
     */
    for (int n = 3; n < 64 && fd < 0; n++) {
        char link[4096] = { 0 };
        g_autofree char *proc = g_strdup_printf("/proc/self/fd/%d", n);

        if (readlink(proc, link, sizeof(link) - 1) > 0 &&
            !strcmp(link, setup->path)) {
            fd = n;
        }
    }
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(full, >=, 0);
    g_assert_cmpint(dup2(full, fd), ==, fd);
    g_assert_false(write_at(storage, 512, buf, 512, true, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO,
                      "cannot write at offset 512: *");
    g_assert_false(storage->ops->flush(storage, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "cannot flush*");

    /* /dev/null takes writes, but cannot be flushed. */
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(dup2(null, fd), ==, fd);
    g_assert_true(write_at(storage, 512, buf, 512, false, NULL));
    g_assert_false(write_at(storage, 512, buf, 512, true, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "cannot flush*");
    close(null);

    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    g_assert_cmpint(dup2(ends[0], fd), ==, fd);
    {
        uint64_t bytes;

        g_assert_false(storage->ops->length(storage, &bytes, &error));
        test_assert_error(&error, BLOBSTORE_ERROR_IO, "cannot tell the size*");
    }
    g_assert_false(read_at(storage, 0, buf, 512, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "cannot read at offset 0*");
    g_assert_cmpuint(storage->ops->known_zero(storage, 0, 512), ==, 0);
    close(ends[0]);
    close(ends[1]);
    close(full);
}

static void test_holes_are_known_to_be_zero(Setup *setup,
                                            gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = open_file(setup, true);
    uint8_t buf[4096];
    uint64_t known;

    memset(buf, 1, sizeof(buf));
    g_assert_true(write_at(storage, FILE_BYTES / 2, buf, sizeof(buf), true,
                           NULL));
    known = storage->ops->known_zero(storage, 0, FILE_BYTES);
    if (!known) {
        g_test_skip("this file system does not tell holes");
        return;
    }
    g_assert_cmpuint(known, <=, FILE_BYTES / 2);
    g_assert_cmpuint(storage->ops->known_zero(storage, 0, 4096), ==, 4096);
    g_assert_cmpuint(storage->ops->known_zero(storage, FILE_BYTES / 2, 4096),
                     ==, 0);
    g_assert_cmpuint(storage->ops->known_zero(storage, FILE_BYTES - 4096,
                                              4096), ==, 4096);
}

static void test_file_is_not_inherited(Setup *setup, gconstpointer unused)
{
    g_autoptr(BlobStorage) storage = open_file(setup, true);
    const char *argv[] = { "ls", "-l", "/proc/self/fd", NULL };
    g_autofree char *out = NULL;

    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL,
                               G_SPAWN_SEARCH_PATH |
                               G_SPAWN_LEAVE_DESCRIPTORS_OPEN, NULL, NULL,
                               &out, NULL, NULL, NULL));
    g_assert_null(strstr(out, setup->path));
}

static void test_store_lives_in_a_file(Setup *setup, gconstpointer unused)
{
    BlobStorage *storage = open_file(setup, true);
    BlobStore *store = blob_store_open(storage, NULL, NULL);
    Blob *blob = test_register(store, "a", 1000);

    test_start(store);
    test_write(store, blob, "in a file");
    blob_store_free(store);
    blob_storage_free(storage);

    storage = open_file(setup, false);
    store = blob_store_open(storage, NULL, NULL);
    test_expect(store, blob_store_find(store, "t", "a"), "in a file");
    blob_store_free(store);
    blob_storage_free(storage);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/storage/memory/reads",
                    test_memory_reads_what_was_written);
    g_test_add_func("/storage/memory/ends", test_memory_ends_where_it_ends);
    g_test_add_func("/storage/memory/resize", test_memory_can_be_resized);
#define ADD(name) g_test_add("/storage/file/" #name, Setup, NULL, set_up, \
                             test_##name, tear_down)
    ADD(file_reads_what_was_written);
    ADD(file_must_exist);
    ADD(file_must_be_a_file_or_a_disk);
    ADD(file_is_locked);
    ADD(file_opened_for_reading_is_not_written);
    ADD(short_file_fails_to_read);
    ADD(failed_calls_name_their_place);
    ADD(holes_are_known_to_be_zero);
    ADD(file_is_not_inherited);
    ADD(store_lives_in_a_file);
    return g_test_run();
}
