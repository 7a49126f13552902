/*
 * Blobstore core: a medium in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "blobstore/storage.h"

typedef struct MemoryStorage {
    BlobStorage parent;
    uint8_t *data;
    uint64_t bytes;
} MemoryStorage;

static bool check_range(const MemoryStorage *memory, uint64_t offset,
                        size_t bytes, GError **error)
{
    if (offset > memory->bytes || bytes > memory->bytes - offset) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                    "offset %" G_GUINT64_FORMAT ": %zu bytes reach past the "
                    "end of the medium", offset, bytes);
        return false;
    }
    return true;
}

static bool memory_length(BlobStorage *storage, uint64_t *bytes,
                          GError **error)
{
    *bytes = ((MemoryStorage *)storage)->bytes;
    return true;
}

static bool memory_read(BlobStorage *storage, uint64_t offset, void *buf,
                        size_t bytes, GError **error)
{
    MemoryStorage *memory = (MemoryStorage *)storage;

    if (!check_range(memory, offset, bytes, error)) {
        return false;
    }
    memcpy(buf, memory->data + offset, bytes);
    return true;
}

static bool memory_write(BlobStorage *storage, uint64_t offset,
                         const void *buf, size_t bytes, bool durable,
                         GError **error)
{
    MemoryStorage *memory = (MemoryStorage *)storage;

    if (!check_range(memory, offset, bytes, error)) {
        return false;
    }
    memcpy(memory->data + offset, buf, bytes);
    return true;
}

static bool memory_flush(BlobStorage *storage, GError **error)
{
    return true;
}

static void memory_free(BlobStorage *storage)
{
    g_free(((MemoryStorage *)storage)->data);
    g_free(storage);
}

static const BlobStorageOps memory_ops = {
    .length = memory_length,
    .read = memory_read,
    .write = memory_write,
    .flush = memory_flush,
    .free = memory_free,
};

BlobStorage *blob_storage_new_memory(uint64_t bytes)
{
    MemoryStorage *memory = g_new0(MemoryStorage, 1);

    memory->parent.ops = &memory_ops;
    memory->data = g_malloc0(bytes);
    memory->bytes = bytes;
    return &memory->parent;
}

uint8_t *blob_storage_memory(BlobStorage *storage)
{
    g_assert(storage->ops == &memory_ops);
    return ((MemoryStorage *)storage)->data;
}

void blob_storage_resize_memory(BlobStorage *storage, uint64_t bytes)
{
    MemoryStorage *memory = (MemoryStorage *)storage;

    g_assert(storage->ops == &memory_ops);
    memory->data = g_realloc(memory->data, bytes);
    if (bytes > memory->bytes) {
        memset(memory->data + memory->bytes, 0, bytes - memory->bytes);
    }
    memory->bytes = bytes;
}

void blob_storage_free(BlobStorage *storage)
{
    if (storage) {
        storage->ops->free(storage);
    }
}
