/*
 * Bytes from and to hexadecimal, for published test vectors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_HEX_H
#define TESTS_UNIT_HEX_H

#include <glib.h>
#include <stdint.h>
#include <string.h>

static inline size_t from_hex(const char *text, uint8_t *out)
{
    size_t bytes = strlen(text) / 2;

    for (size_t i = 0; i < bytes; i++) {
        out[i] = g_ascii_xdigit_value(text[2 * i]) << 4 |
                 g_ascii_xdigit_value(text[2 * i + 1]);
    }
    return bytes;
}

static inline char *to_hex(const uint8_t *bytes, size_t count)
{
    GString *out = g_string_new(NULL);

    for (size_t i = 0; i < count; i++) {
        g_string_append_printf(out, "%02x", bytes[i]);
    }
    return g_string_free(out, FALSE);
}

#endif /* TESTS_UNIT_HEX_H */
