/*
 * Blobstore core: packing payloads with zlib
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_PACK_H
#define BLOBSTORE_PACK_H

#include <glib.h>
#include <stdint.h>

/*
 * Deflates @raw (zlib format, RFC 1950).  Returns new bytes, or NULL if that
 * does not save a block on the medium.
 */
GBytes *blob_pack(GBytes *raw);

/*
 * Inflates @packed into exactly @raw_bytes bytes.  Returns NULL if it is
 * anything but that; never allocates more than @raw_bytes.
 */
GBytes *blob_unpack(GBytes *packed, uint64_t raw_bytes);

#endif /* BLOBSTORE_PACK_H */
