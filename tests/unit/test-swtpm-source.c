/*
 * Unit tests of the tool: directories and linear files of swtpm
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tools/blobstore/swtpm/swtpm.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "blobstore/crypto/digest.h"

typedef struct Folder {
    char *path;
    SwtpmStates states;         /* a permanent and a saved one */
} Folder;

static void set_up(Folder *folder, gconstpointer data)
{
    folder->path = g_dir_make_tmp("swtpm-XXXXXX", NULL);
    g_assert_nonnull(folder->path);
    folder->states.is_tpm12 = true;
    folder->states.of[SWTPM_PERMANENT] = g_bytes_new("keys", 4);
    folder->states.of[SWTPM_SAVED] = g_bytes_new("asleep", 6);
}

static void empty(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        if (g_file_test(file, G_FILE_TEST_IS_DIR)) {
            empty(file);
        }
        g_remove(file);
    }
}

static void tear_down(Folder *folder, gconstpointer data)
{
    swtpm_states_clear(&folder->states);
    empty(folder->path);
    g_assert_cmpint(g_rmdir(folder->path), ==, 0);
    g_free(folder->path);
}

static void write_to(const char *path, const SwtpmStates *states,
                     const BlobSecret *key)
{
    g_autoptr(GError) error = NULL;

    swtpm_target_write(path, states, key, &error);
    g_assert_no_error(error);
}

static void assert_holds(const char *path, const BlobSecret *key,
                         const SwtpmStates *expected)
{
    g_auto(SwtpmStates) states = { };
    g_autoptr(GError) error = NULL;

    swtpm_source_read(path, key, &states, &error);
    g_assert_no_error(error);
    for (int n = 0; n < SWTPM__MAX; n++) {
        g_assert_true(!states.of[n] == !expected->of[n]);
        g_assert_true(!states.of[n] ||
                      g_bytes_equal(states.of[n], expected->of[n]));
    }
    if (!states.is_linear) {
        g_assert_true(states.is_tpm12 == expected->is_tpm12);
    }
}

static void assert_refused(const char *path, BlobStoreError code,
                           const char *says)
{
    g_auto(SwtpmStates) states = { };
    g_autoptr(GError) error = NULL;

    g_assert_false(swtpm_source_read(path, NULL, &states, &error));
    g_assert_error(error, BLOBSTORE_ERROR, code);
    g_assert_nonnull(strstr(error->message, says));
}

static void assert_not_written(const char *path, const SwtpmStates *states,
                               BlobStoreError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(swtpm_target_write(path, states, NULL, &error));
    g_assert_error(error, BLOBSTORE_ERROR, code);
}

static void put_file(const Folder *folder, const char *name, const char *text,
                     gssize bytes)
{
    g_autofree char *path = g_build_filename(folder->path, name, NULL);

    g_assert_true(g_file_set_contents(path, text, bytes, NULL));
}

static unsigned count(const Folder *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder->path, 0, NULL);
    unsigned files = 0;

    while (g_dir_read_name(dir)) {
        files++;
    }
    return files;
}

static void test_directory_comes_back(Folder *folder, gconstpointer data)
{
    g_autoptr(BlobSecret) key = blob_secret_new("0123456789abcdef", 16, NULL);
    g_autofree char *made = g_build_filename(folder->path, "made", NULL);
    struct stat info;

    write_to(folder->path, &folder->states, NULL);
    assert_holds(folder->path, NULL, &folder->states);
    g_assert_cmpuint(count(folder), ==, 2);
    write_to(made, &folder->states, key);
    assert_holds(made, key, &folder->states);
    g_assert_cmpint(stat(made, &info), ==, 0);
    g_assert_cmpuint(info.st_mode & 0777, ==, 0700);
}

static void test_linear_file_comes_back(Folder *folder, gconstpointer data)
{
    g_autofree char *path = g_build_filename(folder->path, "linear", NULL);

    folder->states.is_linear = true;
    write_to(path, &folder->states, NULL);
    assert_holds(path, NULL, &folder->states);
    g_assert_cmpuint(count(folder), ==, 1);
    assert_not_written(path, &folder->states, BLOBSTORE_ERROR_EXISTS);
    assert_holds(path, NULL, &folder->states);
}

static void test_tpm_is_not_overwritten(Folder *folder, gconstpointer data)
{
    SwtpmStates other = folder->states;

    write_to(folder->path, &folder->states, NULL);
    assert_not_written(folder->path, &folder->states, BLOBSTORE_ERROR_EXISTS);
    other.is_tpm12 = false;
    assert_not_written(folder->path, &other, BLOBSTORE_ERROR_EXISTS);
    assert_holds(folder->path, NULL, &folder->states);
}

/* What was written first goes again when the rest cannot be written. */
static void test_failure_leaves_nothing(Folder *folder, gconstpointer data)
{
    g_autofree char *name = g_strconcat(swtpm_file_name(true, SWTPM_PERMANENT),
                                        ".unfinished", NULL);
    g_autofree char *blocked = g_build_filename(folder->path, name, NULL);

    g_assert_cmpint(g_mkdir(blocked, 0700), ==, 0);
    assert_not_written(folder->path, &folder->states, BLOBSTORE_ERROR_IO);
    g_assert_cmpuint(count(folder), ==, 1);
}

static void test_directory_without_one_tpm_is_refused(Folder *folder,
                                                      gconstpointer data)
{
    assert_refused(folder->path, BLOBSTORE_ERROR_BLANK, "tpm2-00.permall");
    put_file(folder, "tpm-00.permall", "", 0);
    assert_refused(folder->path, BLOBSTORE_ERROR_FOREIGN, "tpm-00.permall: ");
    put_file(folder, "tpm2-00.permall", "", 0);
    assert_refused(folder->path, BLOBSTORE_ERROR_INVALID, "a TPM 1.2 and");
}

static void test_odd_files_are_refused(Folder *folder, gconstpointer data)
{
    g_autofree char *path = g_build_filename(folder->path, "tpm2-00.permall",
                                             NULL);

    assert_refused("/dev/null", BLOBSTORE_ERROR_FOREIGN, "neither");
    assert_refused("/nonexistent", BLOBSTORE_ERROR_IO, "No such file");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    assert_refused(folder->path, BLOBSTORE_ERROR_FOREIGN, "no regular file");
    assert_refused(path, BLOBSTORE_ERROR_FOREIGN, "neither");
    g_assert_cmpint(g_unlink(path), ==, 0);
    put_file(folder, "tpm2-00.permall", "", 0);
    assert_refused(path, BLOBSTORE_ERROR_FOREIGN, "no");
    g_assert_cmpint(truncate(path, SWTPM_FILE_MAX_BYTES + 1), ==, 0);
    assert_refused(folder->path, BLOBSTORE_ERROR_TOO_LARGE, "larger");
}

/* As a swtpm that runs does; the lock of this process would not count. */
static void test_directory_in_use_is_refused(Folder *folder,
                                             gconstpointer data)
{
    g_autofree char *path = g_build_filename(folder->path, ".lock", NULL);
    int ready[2], stop[2];
    pid_t child;
    char byte;

    g_assert_cmpint(pipe(ready), ==, 0);
    g_assert_cmpint(pipe(stop), ==, 0);
    child = fork();
    if (!child) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int fd = open(path, O_RDWR | O_CREAT, 0600);

        if (fcntl(fd, F_SETLK, &lock) || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        close(stop[1]);
        _exit(read(stop[0], &byte, 1));     /* until the test closes it */
    }
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    assert_refused(folder->path, BLOBSTORE_ERROR_TAKEN, "swtpm uses");
    assert_not_written(folder->path, &folder->states, BLOBSTORE_ERROR_TAKEN);
    close(stop[1]);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    write_to(folder->path, &folder->states, NULL);
    assert_holds(folder->path, NULL, &folder->states);
    close(stop[0]);
    close(ready[0]);
    close(ready[1]);
}

/* A header, to be changed at one place */
static void make_header(uint8_t header[SWTPM_LINEAR_HEADER_BYTES])
{
    static const uint8_t good[] = {
        'n', 'i', 'l', 'm', 'p', 't', 'w', 's', 1, 0, 192, 0,
        192, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0,
        208, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0,
    };

    memset(header, 0, SWTPM_LINEAR_HEADER_BYTES);
    memcpy(header, good, sizeof(good));
}

static void test_linear_header_is_checked(Folder *folder, gconstpointer data)
{
    static const struct {
        unsigned at;
        uint8_t value;
        BlobStoreError code;
    } bad[] = {
        { 0, 'N', BLOBSTORE_ERROR_FOREIGN },
        { 8, 2, BLOBSTORE_ERROR_UNSUPPORTED },
        { 10, 191, BLOBSTORE_ERROR_CORRUPT },
        { 12, 191, BLOBSTORE_ERROR_CORRUPT },   /* in the header */
        { 12, 201, BLOBSTORE_ERROR_CORRUPT },   /* over the next */
        { 20, 7, BLOBSTORE_ERROR_CORRUPT },     /* more than its section */
        { 18, 17, BLOBSTORE_ERROR_TOO_LARGE },
        { 24, 209, BLOBSTORE_ERROR_CORRUPT },   /* behind the end */
        { 27, 0xff, BLOBSTORE_ERROR_CORRUPT },
        { 52, 1, BLOBSTORE_ERROR_UNSUPPORTED }, /* a fourth state */
    };
    uint8_t header[SWTPM_LINEAR_HEADER_BYTES];
    SwtpmExtent extents[SWTPM__MAX];

    make_header(header);
    g_assert_true(swtpm_linear_decode(header, 216, extents, NULL));
    g_assert_cmpuint(extents[SWTPM_VOLATILE].offset, ==, 208);
    g_assert_cmpuint(extents[SWTPM_VOLATILE].bytes, ==, 8);
    g_assert_cmpuint(extents[SWTPM_SAVED].bytes, ==, 0);
    g_assert_false(swtpm_linear_decode(header, 215, extents, NULL));
    for (size_t n = 0; n < G_N_ELEMENTS(bad); n++) {
        g_autoptr(GError) error = NULL;

        make_header(header);
        header[bad[n].at] = bad[n].value;
        g_assert_false(swtpm_linear_decode(header, 216, extents, &error));
        g_assert_error(error, BLOBSTORE_ERROR, bad[n].code);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    blob_digest_init();
#define ADD(name) \
    g_test_add("/swtpm/source/" #name, Folder, NULL, set_up, test_##name, \
               tear_down)
    ADD(directory_comes_back);
    ADD(linear_file_comes_back);
    ADD(tpm_is_not_overwritten);
    ADD(failure_leaves_nothing);
    ADD(directory_without_one_tpm_is_refused);
    ADD(odd_files_are_refused);
    ADD(directory_in_use_is_refused);
    ADD(linear_header_is_checked);
    return g_test_run();
}
