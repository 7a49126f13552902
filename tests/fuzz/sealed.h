/*
 * Sealed stores in fuzz inputs: keys, and sealed data, sealed again or opened
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_SEALED_H
#define TESTS_FUZZ_SEALED_H

#include "blobstore/store-private.h"

enum { FUZZ_KEYS = 2 };

/* The UUID of the stores made here: key slots are bound to it. */
extern const uint8_t fuzz_uuid[BLOB_UUID_BYTES];

/* Returns data key 1 or 2, borrowed.  A store that is rekeyed had key 2. */
BlobKey *fuzz_key(unsigned n);

/* Makes slot 0 hold data key @n behind a raw secret, for fuzz_unlock(). */
void fuzz_key_slots(BlobKeySlots *slots, unsigned n);

/*
 * Returns the data key, to be released, or NULL.  Only raw slots are tried,
 * and a token that returns what the slot holds: a hostile passphrase slot may
 * take as long as the limits allow.
 */
BlobKey *fuzz_unlock(const BlobKeySlots *slots, const uint8_t *uuid);

/* Gives @options the first of our keys that fits, or none to a plain store. */
void fuzz_find_key(const BlobStoreLabel *label, BlobStoreOptions *options);

/*
 * Seals the payload behind @header in place, with the header's nonce, or opens
 * the payload if its tag is right.  This hides the census, or shows it.
 * @entry is NULL for the directory.  docs/format.md, 9.2, implemented a second
 * time.
 */
void fuzz_payload_seal(const BlobGuard *guard, const BlobEntry *entry,
                       uint8_t *header);
bool fuzz_payload_unseal(const BlobGuard *guard, const BlobEntry *entry,
                         uint8_t *header);

/*
 * Hides the census in @header, or shows it: section 3.1, implemented a second
 * time.
 */
void fuzz_census_mask(const BlobGuard *guard, uint8_t *header);

/*
 * Computes, or zeroes, what a superblock says about itself.  It was written in
 * the epoch with @epoch_id.
 */
void fuzz_superblock_finish(uint8_t *payload, const uint8_t *epoch_id);
void fuzz_superblock_strip(uint8_t *payload);

#endif /* TESTS_FUZZ_SEALED_H */
