/*
 * Blobstore core: which bytes of the medium hold what
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "map.h"

#include "store-private.h"

typedef struct Map {
    const BlobStore *store;
    BlobMapReport *report;
    void *opaque;
    uint64_t at;                /* where the next region begins */
} Map;

static void add(Map *map, BlobRegion region)
{
    region.offset = map->at;
    map->at += region.bytes;
    if (region.bytes) {
        map->report(&region, map->opaque);
    }
}

/* Adds what lies before @end as free, of the store or not. */
static void add_free(Map *map, uint64_t end)
{
    uint64_t capacity = map->store->blank ? end : map->store->capacity;

    if (map->at < MIN(end, capacity)) {
        add(map, (BlobRegion) {
            .kind = BLOB_REGION_FREE,
            .bytes = MIN(end, capacity) - map->at,
        });
    }
    if (map->at < end) {
        add(map, (BlobRegion) {
            .kind = BLOB_REGION_OUTSIDE,
            .bytes = end - map->at,
        });
    }
}

static void add_pair(Map *map, BlobRegionKind kind, const BlobPair *pair,
                     uint64_t payload)
{
    int newest = blob_pair_current(pair);

    for (unsigned n = 0; n < 2; n++) {
        bool current = pair->intact[n] &&
                       pair->sequence[n] == pair->sequence[newest];

        add(map, (BlobRegion) {
            .kind = kind,
            .bytes = pair->slot_bytes,
            .slot = n,
            .current = current,
            .used = current ? blob_layout_image_bytes(payload) : 0,
        });
    }
}

static void add_blob(Map *map, const Blob *blob)
{
    const BlobEntry *entry = &blob->entry;

    add_free(map, entry->offset);
    for (unsigned n = 0; n < 2; n++) {
        bool current = entry->sequence && entry->slot == n && !blob->damage;

        add(map, (BlobRegion) {
            .kind = BLOB_REGION_BLOB,
            .bytes = entry->slot_bytes,
            .slot = n,
            .current = current,
            .used = current ? blob_layout_image_bytes(entry->stored_bytes) : 0,
            .blob = blob,
        });
    }
}

void blob_store_map(const BlobStore *store, uint64_t length,
                    BlobMapReport *report, void *opaque)
{
    Map map = { store, report, opaque };
    g_autoptr(GPtrArray) blobs = blob_store_by_offset(store);

    if (!store->blank) {
        add_pair(&map, BLOB_REGION_SUPERBLOCK, &store->super_pair,
                 BLOB_SUPERBLOCK_BYTES);
        add_pair(&map, BLOB_REGION_DIRECTORY, &store->directory_pair,
                 store->directory_bytes);
    }
    for (guint i = 0; i < blobs->len; i++) {
        add_blob(&map, g_ptr_array_index(blobs, i));
    }
    add_free(&map, length);
}
