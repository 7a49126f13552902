/*
 * Unit tests of the core: little-endian integers in bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_LITTLE_ENDIAN_H
#define TESTS_UNIT_LITTLE_ENDIAN_H

#include <stdint.h>

static inline void le_put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = value >> (8 * i);
    }
}

static inline uint64_t le_get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

#endif /* TESTS_UNIT_LITTLE_ENDIAN_H */
