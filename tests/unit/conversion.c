/*
 * Helpers that the tests of conversions share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

const Way conversion_ways[CONVERSION_WAYS] = {
    { "seal", -1, 2 },
    { "rekey", 1, 2 },
    { "unseal", 1, -1 },
};

BlobStore *conversion_store(TestDisk *disk, const Way *way, Blob **blobs,
                            unsigned count)
{
    return way->from < 0 ? test_store(disk, blobs, count)
                         : keys_store(disk, blobs, count);
}

static bool run(BlobStore *store, const Way *way,
                bool (*convert)(BlobStore *store, BlobKey *key,
                                const BlobKeySlots *slots, GError **error),
                GError **error)
{
    BlobStoreStatus info;
    BlobKeySlots slots = { 0 };
    BlobKey *key = way->to < 0 ? NULL : keys_data_key(way->to);

    blob_store_get_status(store, &info);
    if (key) {
        keys_put_raw(&slots, way->to, key, info.uuid);
    }
    return convert(store, key, &slots, error);
}

bool conversion_begin(BlobStore *store, const Way *way, GError **error)
{
    return run(store, way, blob_store_convert_begin, error);
}

bool conversion_run(BlobStore *store, const Way *way, GError **error)
{
    return run(store, way, blob_store_convert, error);
}
