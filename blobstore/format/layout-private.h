/*
 * Blobstore core: what the files of the layout share
 *
 * All integers on the medium are little-endian; reserved bytes are written as
 * zero.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_LAYOUT_PRIVATE_H
#define BLOBSTORE_LAYOUT_PRIVATE_H

#include "layout.h"

static inline bool blob_layout_is_aligned(uint64_t bytes)
{
    return bytes % BLOB_BLOCK_BYTES == 0;
}

static inline bool blob_flags_are_sealed(uint32_t flags)
{
    return flags & BLOB_FLAG_SEALED;
}

/*
 * R15: lengths may be anything, also where the check value is right.  The
 * slot was made for the raw length: this bounds inflation.
 */
bool blob_layout_lengths_are_sane(uint32_t flags, uint64_t raw_bytes,
                                  uint64_t stored_bytes,
                                  uint32_t metadata_bytes,
                                  uint64_t slot_bytes);

#endif /* BLOBSTORE_LAYOUT_PRIVATE_H */
