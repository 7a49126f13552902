/*
 * State files of swtpm: reading a directory or a linear file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _FILE_OFFSET_BITS 64
#ifndef _GNU_SOURCE
#define _GNU_SOURCE             /* TEMP_FAILURE_RETRY */
#endif

#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE ".lock"

static const char *const file_names[2][SWTPM__MAX] = {
    { "tpm2-00.permall", "tpm2-00.volatilestate", "tpm2-00.savestate" },
    { "tpm-00.permall", "tpm-00.volatilestate", "tpm-00.savestate" },
};

const char *swtpm_file_name(bool is_tpm12, SwtpmKind kind)
{
    return file_names[is_tpm12][kind];
}

void swtpm_states_clear(SwtpmStates *states)
{
    for (unsigned n = 0; n < SWTPM__MAX; n++) {
        g_clear_pointer(&states->of[n], g_bytes_unref);
    }
}

bool swtpm_source_fail_io(GError **error, const char *what, int err)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO, "cannot %s: %s",
                what, g_strerror(err));
    return false;
}

static bool read_at(int fd, uint64_t offset, uint8_t *buf, size_t bytes,
                    GError **error)
{
    for (size_t done = 0; done < bytes; ) {
        ssize_t n = TEMP_FAILURE_RETRY(pread(fd, buf + done, bytes - done,
                                             offset + done));

        if (n < 0) {
            return swtpm_source_fail_io(error, "read", errno);
        }
        if (!n) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                        "the file has become shorter");
            return false;
        }
        done += n;
    }
    return true;
}

/* Reads @bytes at @offset, a state file, and decodes them. */
static GBytes *read_file(int fd, uint64_t offset, size_t bytes,
                         const BlobSecret *key, GError **error)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    return read_at(fd, offset, data, bytes, error)
           ? swtpm_file_decode(data, bytes, key, error) : NULL;
}

/* Reads the state file @name in the directory.  It may be missing. */
static bool read_named(int directory, const char *name, const BlobSecret *key,
                       GBytes **state, GError **error)
{
    struct stat info;
    /* A FIFO would block. */
    int fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        return errno == ENOENT || swtpm_source_fail_io(error, "open", errno);
    }
    if (fstat(fd, &info)) {
        swtpm_source_fail_io(error, "look at it", errno);
    } else if (!S_ISREG(info.st_mode)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN,
                    "this is no regular file");
    } else if (info.st_size > SWTPM_FILE_MAX_BYTES) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOO_LARGE,
                    "the file is larger than that of any TPM");
    } else {
        *state = read_file(fd, 0, info.st_size, key, error);
    }
    close(fd);
    return *state;
}

bool swtpm_source_is_free(int directory, GError **error)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = openat(directory, LOCK_FILE, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool is_free = fd < 0 || fcntl(fd, F_GETLK, &lock) ||
                   lock.l_type == F_UNLCK;

    if (fd >= 0) {
        close(fd);
    }
    if (!is_free) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN,
                    "a swtpm uses the directory (process %ld); end it first",
                    (long)lock.l_pid);
    }
    return is_free;
}

static bool find_version(int directory, SwtpmStates *states, GError **error)
{
    bool has[2];

    for (unsigned n = 0; n < G_N_ELEMENTS(has); n++) {
        has[n] = !faccessat(directory, file_names[n][SWTPM_PERMANENT], F_OK,
                            0);
    }
    if (has[0] && has[1]) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the directory has a TPM 1.2 and a TPM 2.0; copy the "
                    "files of one of them elsewhere");
        return false;
    }
    if (!has[0] && !has[1]) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "there is no TPM in the directory: neither %s nor %s",
                    file_names[0][SWTPM_PERMANENT],
                    file_names[1][SWTPM_PERMANENT]);
        return false;
    }
    states->is_tpm12 = has[1];
    return true;
}

static bool read_directory(int directory, const BlobSecret *key,
                           SwtpmStates *states, GError **error)
{
    if (!swtpm_source_is_free(directory, error) ||
        !find_version(directory, states, error)) {
        return false;
    }
    for (unsigned n = 0; n < SWTPM__MAX; n++) {
        const char *name = swtpm_file_name(states->is_tpm12, n);

        if (!read_named(directory, name, key, &states->of[n], error)) {
            g_prefix_error(error, "%s: ", name);
            return false;
        }
    }
    return true;
}

static bool read_linear(int fd, const BlobSecret *key, SwtpmStates *states,
                        GError **error)
{
    uint8_t header[SWTPM_LINEAR_HEADER_BYTES];
    SwtpmExtent extents[SWTPM__MAX];
    off_t end = lseek(fd, 0, SEEK_END);         /* of a block device, too */

    if (end < 0) {
        return swtpm_source_fail_io(error, "tell the size", errno);
    }
    if (end < sizeof(header)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN,
                    "this is not a linear file of swtpm");
        return false;
    }
    if (!read_at(fd, 0, header, sizeof(header), error) ||
        !swtpm_linear_decode(header, end, extents, error)) {
        return false;
    }
    if (!extents[SWTPM_PERMANENT].bytes) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "there is no TPM in the file");
        return false;
    }
    states->is_linear = true;
    for (unsigned n = 0; n < SWTPM__MAX; n++) {
        if (!extents[n].bytes) {
            continue;
        }
        states->of[n] = read_file(fd, extents[n].offset, extents[n].bytes,
                                  key, error);
        if (!states->of[n]) {
            return false;
        }
    }
    return true;
}

bool swtpm_source_read(const char *path, const BlobSecret *key,
                       SwtpmStates *states, GError **error)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool ok;

    if (fd < 0) {
        return swtpm_source_fail_io(error, "open", errno);
    }
    if (fstat(fd, &info)) {
        ok = swtpm_source_fail_io(error, "look at it", errno);
    } else if (S_ISDIR(info.st_mode)) {
        ok = read_directory(fd, key, states, error);
    } else if (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode)) {
        ok = read_linear(fd, key, states, error);
    } else {
        ok = false;
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN,
                    "this is neither a directory nor a file");
    }
    close(fd);
    if (!ok) {
        swtpm_states_clear(states);
    }
    return ok;
}
