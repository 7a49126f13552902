/*
 * Blobstore core: a plain file or block device as medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _FILE_OFFSET_BITS 64
#ifndef _GNU_SOURCE
#define _GNU_SOURCE             /* SEEK_DATA */
#endif

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "blobstore/storage.h"

typedef struct FileStorage {
    BlobStorage parent;
    int fd;
} FileStorage;

static bool fail(GError **error, const char *what, uint64_t offset, int err)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                "%s at offset %" G_GUINT64_FORMAT ": %s", what, offset,
                g_strerror(err));
    return false;
}

static bool file_length(BlobStorage *storage, uint64_t *bytes, GError **error)
{
    /* lseek() works for block devices too, where st_size is 0. */
    off_t end = lseek(((FileStorage *)storage)->fd, 0, SEEK_END);

    if (end < 0) {
        return fail(error, "cannot tell the size", 0, errno);
    }
    *bytes = end;
    return true;
}

static bool file_read(BlobStorage *storage, uint64_t offset, void *buf,
                      size_t bytes, GError **error)
{
    int fd = ((FileStorage *)storage)->fd;

    for (size_t done = 0; done < bytes; ) {
        ssize_t n = pread(fd, (char *)buf + done, bytes - done,
                          offset + done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return fail(error, "cannot read", offset + done, n ? errno : EIO);
        }
        done += n;
    }
    return true;
}

static bool file_flush(BlobStorage *storage, GError **error)
{
    if (fdatasync(((FileStorage *)storage)->fd)) {
        return fail(error, "cannot flush", 0, errno);
    }
    return true;
}

static bool file_write(BlobStorage *storage, uint64_t offset, const void *buf,
                       size_t bytes, bool durable, GError **error)
{
    int fd = ((FileStorage *)storage)->fd;

    for (size_t done = 0; done < bytes; ) {
        ssize_t n = pwrite(fd, (const char *)buf + done, bytes - done,
                           offset + done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return fail(error, "cannot write", offset + done,
                        n ? errno : ENOSPC);
        }
        done += n;
    }
    return !durable || file_flush(storage, error);
}

static uint64_t file_known_zero(BlobStorage *storage, uint64_t offset,
                                uint64_t bytes)
{
    off_t data = lseek(((FileStorage *)storage)->fd, offset, SEEK_DATA);

    if (data < 0) {
        return errno == ENXIO ? bytes : 0;
    }
    return MIN((uint64_t)data - offset, bytes);
}

/* Linux keeps pages that are dirty, so they are written first. */
static bool file_drop_cache(BlobStorage *storage, GError **error)
{
    int err;

    if (!file_flush(storage, error)) {
        return false;
    }
    err = posix_fadvise(((FileStorage *)storage)->fd, 0, 0,
                        POSIX_FADV_DONTNEED);
    return !err || fail(error, "cannot drop the page cache", 0, err);
}

static void file_free(BlobStorage *storage)
{
    close(((FileStorage *)storage)->fd);
    g_free(storage);
}

static const BlobStorageOps file_ops = {
    .length = file_length,
    .read = file_read,
    .write = file_write,
    .flush = file_flush,
    .known_zero = file_known_zero,
    .drop_cache = file_drop_cache,
    .free = file_free,
};

BlobStorage *blob_storage_new_file(const char *path, bool writable,
                                   GError **error)
{
    FileStorage *file;
    struct stat status;
    /* Without O_NONBLOCK, opening a FIFO would wait for its other end. */
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC |
                  O_NONBLOCK);

    if (fd < 0 || fstat(fd, &status)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                    "cannot open '%s': %s", path, g_strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                    "'%s' is neither a file nor a block device", path);
        close(fd);
        return NULL;
    }
    if (flock(fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                    "cannot lock '%s': %s: is it in use by another program?",
                    path, g_strerror(errno));
        close(fd);
        return NULL;
    }
    file = g_new0(FileStorage, 1);
    file->parent.ops = &file_ops;
    file->fd = fd;
    return &file->parent;
}
