/*
 * Makes slots of a hostile image look written by a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_RESIGN_H
#define TESTS_FUZZ_RESIGN_H

#include "image.h"

/* Puts right what @head demands. */
void fuzz_resign(FuzzDisk *disk, const FuzzHead *head);

/*
 * unsign.c: zeroes what fuzz_resign() computes with @head->repair, so that it
 * need not be stored, and sets @head->sign.
 */
void fuzz_unsign(FuzzDisk *disk, FuzzHead *head);

#endif /* TESTS_FUZZ_RESIGN_H */
