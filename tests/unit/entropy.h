/*
 * The replacement that -Wl,--wrap=getentropy puts in place of getentropy()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_ENTROPY_H
#define TESTS_UNIT_ENTROPY_H

#include <stddef.h>

int __real_getentropy(void *buf, size_t bytes);
int __wrap_getentropy(void *buf, size_t bytes);

#endif /* TESTS_UNIT_ENTROPY_H */
