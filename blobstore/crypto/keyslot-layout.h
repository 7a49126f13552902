/*
 * Blobstore core: the bytes of a key slot
 *
 * They are the same on the medium, in a migration stream, and in what a wrap
 * is bound to.  docs/format.md is the specification.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_CRYPTO_KEYSLOT_LAYOUT_H
#define BLOBSTORE_CRYPTO_KEYSLOT_LAYOUT_H

#include "keyslot.h"

/* Fills @out with the bytes of @slot. */
void blob_key_slot_encode(const BlobKeySlot *slot,
                          uint8_t out[BLOB_KEY_SLOT_BYTES]);

/*
 * Returns false if @in is not valid, or demands more than is allowed.  An
 * unused slot is valid.
 */
bool blob_key_slot_decode(const uint8_t in[BLOB_KEY_SLOT_BYTES],
                          BlobKeySlot *slot);

/* What it costs to try a passphrase: memory in KiB, times iterations */
uint64_t blob_key_slot_work(const BlobKeySlot *slot);

/*
 * What the superblock keeps of a key slot: its SHA-256, or zeros for one that
 * is not in use.
 */
void blob_key_slot_digest(const uint8_t slot[BLOB_KEY_SLOT_BYTES],
                          uint8_t out[BLOB_DIGEST_BYTES]);

/* Whether @slot has the digest @expected. */
bool blob_key_slot_is_intact(const uint8_t slot[BLOB_KEY_SLOT_BYTES],
                             const uint8_t expected[BLOB_DIGEST_BYTES]);

#endif /* BLOBSTORE_CRYPTO_KEYSLOT_LAYOUT_H */
