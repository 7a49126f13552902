/*
 * Makes slots of a hostile image look written by a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_SEAL_H
#define TESTS_FUZZ_SEAL_H

#include "image.h"

/* Puts right what @head demands. */
void fuzz_seal(FuzzDisk *disk, const FuzzHead *head);

/*
 * Zeroes what fuzz_seal() computes with @head->repair, so that it need not be
 * stored, and sets @head->seal.
 */
void fuzz_unseal(FuzzDisk *disk, FuzzHead *head);

#endif /* TESTS_FUZZ_SEAL_H */
