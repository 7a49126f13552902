/*
 * Makes every store of a test a sealed one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_SEALED_SEALED_H
#define TESTS_SEALED_SEALED_H

#include "blobstore/store.h"

/* Returns the key of every store of this program, or NULL if they are plain. */
BlobKey *sealed_key(void);

/*
 * Returns key slots that hold that key, of a store with UUID zero; nobody
 * unlocks them.
 */
const BlobKeySlots *sealed_key_slots(void);

#endif /* TESTS_SEALED_SEALED_H */
