/*
 * Makes slots of a hostile image look written by a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_RESIGN_H
#define TESTS_FUZZ_RESIGN_H

#include "image.h"

/* Makes the values right that @head demands. */
void fuzz_resign(FuzzDisk *disk, const FuzzHead *head);

/*
 * unsign.c: zeroes the values that fuzz_resign() computes with @head->repair,
 * so that no input has to store them, and sets @head->sign.
 */
void fuzz_unsign(FuzzDisk *disk, FuzzHead *head);

#endif /* TESTS_FUZZ_RESIGN_H */
