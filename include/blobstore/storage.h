/*
 * Blobstore: the door to the medium
 *
 * The core reaches its medium through these calls and no other way.
 * Implementations: QEMU's block layer (blobstore/qemu/block-io.c), a plain
 * file (blobstore/file.c) and memory (blobstore/memory.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_STORAGE_H
#define BLOBSTORE_STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include "blobstore/error.h"

typedef struct BlobStorage BlobStorage;

/*
 * All calls are synchronous for the caller.  The core makes them one at a
 * time for one BlobStorage, always from the thread (in QEMU: the coroutine)
 * in which the core itself was called.  Offsets and lengths are in bytes and
 * multiples of 512; they lie within what length() returned.  Buffers are
 * aligned to 4096 bytes, so that O_DIRECT needs no copy.
 *
 * On failure a call returns false and sets @error to BLOBSTORE_ERROR_IO with
 * a message that names the offset.
 */
typedef struct BlobStorageOps {
    /* *@bytes becomes the size of the medium, which may change. */
    bool (*length)(BlobStorage *storage, uint64_t *bytes, GError **error);

    /* Reads @bytes at @offset into @buf, all of them or fails. */
    bool (*read)(BlobStorage *storage, uint64_t offset, void *buf,
                 size_t bytes, GError **error);

    /*
     * With @durable the data has reached stable storage on return.  Other
     * writes may reach it only with flush().  A failed write may have changed
     * any part of its range, but must not change it any more once a later
     * flush has succeeded.
     */
    bool (*write)(BlobStorage *storage, uint64_t offset, const void *buf,
                  size_t bytes, bool durable, GError **error);

    /* Makes every write that has succeeded so far durable. */
    bool (*flush)(BlobStorage *storage, GError **error);

    /*
     * Optional (may be NULL): how many bytes from @offset on, at most
     * @bytes, are known to read as zero without reading them.  Returns 0 if
     * that is not known.  It keeps the blank check of a large sparse image
     * short.  It may claim too little, never too much.
     */
    uint64_t (*known_zero)(BlobStorage *storage, uint64_t offset,
                           uint64_t bytes);

    /*
     * Optional (NULL: there is no such cache): makes later reads come from
     * the medium.  After a flush has failed, a cache may go on showing what
     * never got there, and a later flush may succeed without writing it (on
     * Linux the page cache does both).  First makes what is still to be
     * written durable, as flush() does; if that fails, this call fails and
     * drops nothing.  May return at once if no earlier user of the medium
     * can have left anything in a cache, and every flush since has succeeded.
     */
    bool (*drop_cache)(BlobStorage *storage, GError **error);

    /*
     * Optional (NULL: there is nothing to take back): the medium may take back
     * the space of @bytes at @offset.  Nothing there is needed any more, and
     * what had to be overwritten has been, durably.  Each sector reads as zero
     * or as before from then on, also if the call fails.
     */
    bool (*give_back)(BlobStorage *storage, uint64_t offset, uint64_t bytes,
                      GError **error);

    /* Frees the storage.  Flushes nothing. */
    void (*free)(BlobStorage *storage);
} BlobStorageOps;

struct BlobStorage {
    const BlobStorageOps *ops;
};

/*
 * A medium in memory, zeroed, of @bytes (a multiple of 512).  For tests.
 * Returns a new storage, to be freed with blob_storage_free().
 */
BlobStorage *blob_storage_new_memory(uint64_t bytes);

/*
 * The bytes of a medium made by blob_storage_new_memory(), for tests that
 * look at or damage it.  Valid until the storage is freed or resized.
 */
uint8_t *blob_storage_memory(BlobStorage *storage);

/* Resizes a memory medium; new space is zero. */
void blob_storage_resize_memory(BlobStorage *storage, uint64_t bytes);

/*
 * The file or block device at @path.  With @writable it is opened for
 * reading and writing, else for reading only.  The file is not created.
 * An advisory lock (flock, exclusive if @writable) keeps a second
 * user of the same file out.  Returns NULL and sets @error on failure.
 */
BlobStorage *blob_storage_new_file(const char *path, bool writable,
                                   GError **error);

/* Frees a storage; NULL is allowed. */
void blob_storage_free(BlobStorage *storage);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobStorage, blob_storage_free)

#endif /* BLOBSTORE_STORAGE_H */
