/*
 * Sealed stores in fuzz inputs: keys, and what is sealed put right or bare
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_SEALED_H
#define TESTS_FUZZ_SEALED_H

#include "blobstore/store-private.h"

enum { FUZZ_KEYS = 2 };

/* Of the stores that are made here: key slots are bound to it. */
extern const uint8_t fuzz_uuid[BLOB_UUID_BYTES];

/* Data key 1 or 2, borrowed.  A store that is rekeyed was of key 2. */
BlobKey *fuzz_key(unsigned n);

/* Slot 0 holds data key @n behind a raw secret, for fuzz_unlock(). */
void fuzz_key_slots(BlobKeySlots *slots, unsigned n);

/*
 * The data key, to be released, or NULL.  Only raw slots are tried, and a
 * token that gives what the slot says: a hostile slot for a passphrase may take
 * as long as the limits allow.
 */
BlobKey *fuzz_unlock(const BlobKeySlots *slots, const uint8_t *uuid);

/* Gives @options the first of our keys that fits, or none to a plain store. */
void fuzz_find_key(const BlobStoreLabel *label, BlobStoreOptions *options);

/*
 * The payload behind @header is sealed in place, with the nonce that the
 * header has, or opened again if its tag is right.  So the census is hidden,
 * or shown.  @entry: NULL of the
 * directory.  By docs/format.md, 9.2, written down here a second time.
 */
void fuzz_payload_seal(const BlobGuard *guard, const BlobEntry *entry,
                       uint8_t *header);
bool fuzz_payload_unseal(const BlobGuard *guard, const BlobEntry *entry,
                         uint8_t *header);

/* Hides the census in @header, or shows it: 3.1, a second time */
void fuzz_census_mask(const BlobGuard *guard, uint8_t *header);

/* What a superblock says about itself, computed or zeroed */
void fuzz_superblock_finish(uint8_t *payload);
void fuzz_superblock_strip(uint8_t *payload);

#endif /* TESTS_FUZZ_SEALED_H */
