/*
 * Blobstore core: packing payloads with zlib
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pack.h"

#include <zlib.h>
#include "layout.h"

GBytes *blob_pack(GBytes *raw)
{
    gsize raw_bytes;
    const void *data = g_bytes_get_data(raw, &raw_bytes);
    uLongf packed_bytes = compressBound(raw_bytes);
    g_autofree uint8_t *packed = g_malloc(packed_bytes);

    if (!raw_bytes ||
        compress2(packed, &packed_bytes, data, raw_bytes,
                  Z_DEFAULT_COMPRESSION) != Z_OK ||
        blob_layout_image_bytes(packed_bytes) >=
        blob_layout_image_bytes(raw_bytes)) {
        return NULL;
    }
    return g_bytes_new(packed, packed_bytes);
}

GBytes *blob_unpack(GBytes *packed, uint64_t raw_bytes)
{
    gsize packed_bytes;
    const void *data = g_bytes_get_data(packed, &packed_bytes);
    g_autofree uint8_t *raw = g_malloc(MAX(raw_bytes, 1));
    uLongf out_bytes = raw_bytes;
    uLong in_bytes = packed_bytes;

    if (uncompress2(raw, &out_bytes, data, &in_bytes) != Z_OK ||
        out_bytes != raw_bytes || in_bytes != packed_bytes) {
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&raw), raw_bytes);
}
