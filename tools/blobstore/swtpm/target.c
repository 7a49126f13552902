/*
 * State files of swtpm: writing a directory or a linear file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE             /* TEMP_FAILURE_RETRY */
#endif

#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file has this behind its name until all of it has been written. */
#define UNFINISHED ".unfinished"

static bool write_all(int fd, GBytes *content, GError **error)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(content, &bytes);

    while (bytes) {
        ssize_t n = TEMP_FAILURE_RETRY(write(fd, data, bytes));

        if (n < 0) {
            return swtpm_source_fail_io(error, "write", errno);
        }
        data += n;
        bytes -= n;
    }
    return !fsync(fd) || swtpm_source_fail_io(error, "write", errno);
}

/* Gives the file its name, which no file may have yet. */
static bool name_file(int directory, const char *unfinished, const char *name,
                      GError **error)
{
    if (!linkat(directory, unfinished, directory, name, 0)) {
        return true;
    }
    if (errno == EEXIST) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXISTS,
                    "it is there already, and would be overwritten");
        return false;
    }
    return swtpm_source_fail_io(error, "name the file", errno);
}

/* Makes the file @name with @content, whole or not at all. */
static bool make_file(int directory, const char *name, GBytes *content,
                      GError **error)
{
    g_autofree char *unfinished = g_strconcat(name, UNFINISHED, NULL);
    int fd = openat(directory, unfinished,
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok;

    if (fd < 0) {
        swtpm_source_fail_io(error, "make the file", errno);
        g_prefix_error(error, "%s: ", unfinished);
        return false;
    }
    ok = write_all(fd, content, error) &&
         name_file(directory, unfinished, name, error);
    close(fd);
    unlinkat(directory, unfinished, 0);
    if (!ok) {
        g_prefix_error(error, "%s: ", name);
    }
    return ok;
}

static bool sync_directory(int directory, GError **error)
{
    return !fsync(directory) ||
           swtpm_source_fail_io(error, "write the directory", errno);
}

static bool check_empty(int directory, GError **error)
{
    for (unsigned n = 0; n < 2 * SWTPM__MAX; n++) {
        const char *name = swtpm_file_name(n / SWTPM__MAX, n % SWTPM__MAX);

        if (!faccessat(directory, name, F_OK, 0)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_EXISTS,
                        "there is a TPM already, in the file %s; name an "
                        "empty directory, or a new one", name);
            return false;
        }
    }
    return swtpm_source_is_free(directory, error);
}

/* The permanent state, which is the first, is written last. */
static bool make_files(int directory, const SwtpmStates *states,
                       GBytes *const files[SWTPM__MAX], GError **error)
{
    unsigned first = SWTPM__MAX;        /* From here on they are there. */
    bool ok = true;

    while (ok && first) {
        ok = !files[first - 1] ||
             make_file(directory,
                       swtpm_file_name(states->is_tpm12, first - 1),
                       files[first - 1], error);
        first -= ok;
    }
    ok = ok && sync_directory(directory, error);
    for (; !ok && first < SWTPM__MAX; first++) {
        if (files[first]) {
            unlinkat(directory, swtpm_file_name(states->is_tpm12, first), 0);
        }
    }
    return ok;
}

static bool write_directory(const char *path, const SwtpmStates *states,
                            GBytes *const files[SWTPM__MAX], GError **error)
{
    bool is_new = !mkdir(path, 0700);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok;

    if (directory < 0) {
        return swtpm_source_fail_io(error, "make or open the directory",
                                    errno);
    }
    ok = check_empty(directory, error) &&
         make_files(directory, states, files, error);
    close(directory);
    if (!ok && is_new) {
        rmdir(path);
    }
    return ok;
}

static bool write_linear(const char *path, GBytes *const files[SWTPM__MAX],
                         GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    g_autoptr(GBytes) linear = swtpm_linear_encode(files);
    int directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok;

    if (directory < 0) {
        return swtpm_source_fail_io(error, "open the directory", errno);
    }
    ok = make_file(directory, name, linear, error) &&
         sync_directory(directory, error);
    close(directory);
    return ok;
}

bool swtpm_target_write(const char *path, const SwtpmStates *states,
                        const BlobSecret *key, GError **error)
{
    SwtpmStates files = { };
    bool ok = true;

    for (unsigned n = 0; ok && n < SWTPM__MAX; n++) {
        if (states->of[n]) {
            files.of[n] = swtpm_file_encode(states->of[n], key, error);
            ok = files.of[n];
        }
    }
    if (ok) {
        ok = states->is_linear
             ? write_linear(path, files.of, error)
             : write_directory(path, states, files.of, error);
    }
    swtpm_states_clear(&files);
    return ok;
}
