/*
 * A quick hash of bytes, to find equal ones; no protection against anybody
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_MIX_H
#define TESTS_CRASH_MIX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t mix(uint64_t state, uint64_t word)
{
    state = (state ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return state ^ state >> 32;
}

/*
 * Hashes @bytes, a multiple of 8, in four lanes, which a processor computes at
 * once.
 */
static inline uint64_t mix_bytes(uint64_t state, const void *data,
                                 size_t bytes)
{
    const uint8_t *at = data;
    uint64_t lanes[4] = { state, ~state, state + 1, state - 1 };

    for (; bytes >= sizeof(lanes); bytes -= sizeof(lanes)) {
        uint64_t words[4];

        memcpy(words, at, sizeof(words));
        for (unsigned i = 0; i < 4; i++) {
            lanes[i] = mix(lanes[i], words[i]);
        }
        at += sizeof(words);
    }
    for (; bytes; bytes -= sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, at, sizeof(word));
        lanes[0] = mix(lanes[0], word);
        at += sizeof(word);
    }
    return mix(mix(mix(mix(state, lanes[0]), lanes[1]), lanes[2]), lanes[3]);
}

#endif /* TESTS_CRASH_MIX_H */
