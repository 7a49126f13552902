/*
 * Harm to a store: damage, another user, wrong arguments
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_HARM_H
#define TESTS_FUZZ_HARM_H

#include "life.h"

/* Another user reads along, and the store checks itself. */
void harm_look(Life *life);

/* Another user opens the store for writing, which is noticed. */
void harm_intrude(Life *life);

/*
 * Damages a byte of the current version of blob @n, if there is one; @choice
 * says which.  Then the blob falls back.
 */
void harm_damage(Life *life, unsigned n, uint16_t choice);

/*
 * An operation that breaks a documented limit is refused and changes nothing.
 */
void harm_misuse(Life *life, unsigned n);

#endif /* TESTS_FUZZ_HARM_H */
