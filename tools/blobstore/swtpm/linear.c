/*
 * State files of swtpm: all of them in one linear file
 *
 * A header of 192 bytes says where the file of each state is.  Its numbers are
 * little-endian.  Each state has a section, which may be longer than the file
 * in it, so that the file can grow.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "swtpm.h"

#include <string.h>
#include "refuse.h"

enum {
    VERSION = 1,
    VERSION_AT = 8,
    HEADER_BYTES_AT = 10,
    ENTRIES_AT = 12,
    ENTRY_BYTES = 12,
    ENTRIES = 15,
    SECTION_MIN_BYTES = 2048,
};

G_STATIC_ASSERT(ENTRIES_AT + ENTRIES * ENTRY_BYTES ==
                SWTPM_LINEAR_HEADER_BYTES);

static const uint8_t magic[8] = { 'n', 'i', 'l', 'm', 'p', 't', 'w', 's' };

/* One entry of the header */
typedef struct Section {
    uint32_t offset;
    uint32_t used;
    uint32_t bytes;
} Section;

static uint32_t get32(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put32(uint8_t *at, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(at, &value, sizeof(value));
}

static Section get_section(const uint8_t *header, unsigned n)
{
    const uint8_t *at = header + ENTRIES_AT + n * ENTRY_BYTES;

    return (Section) { get32(at), get32(at + 4), get32(at + 8) };
}

bool swtpm_linear_is(const void *data, size_t bytes)
{
    return bytes >= sizeof(magic) && !memcmp(data, magic, sizeof(magic));
}

static bool overlap(SwtpmExtent a, SwtpmExtent b)
{
    return a.bytes && b.bytes &&
           a.offset < (uint64_t)b.offset + b.bytes &&
           b.offset < (uint64_t)a.offset + a.bytes;
}

static bool check_section(Section section, unsigned n, uint64_t file_bytes,
                          GError **error)
{
    if (!section.used) {
        return true;
    }
    if (n >= SWTPM__MAX) {
        return refuse(error, BLOBSTORE_ERROR_UNSUPPORTED,
                      "the file has a state of a kind that is not known");
    }
    if (section.used > SWTPM_FILE_MAX_BYTES) {
        return refuse(error, BLOBSTORE_ERROR_TOO_LARGE,
                      "a state is larger than that of any TPM");
    }
    if (section.offset < SWTPM_LINEAR_HEADER_BYTES ||
        section.used > section.bytes ||
        (uint64_t)section.offset + section.used > file_bytes) {
        return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                      "a state is not within the file");
    }
    return true;
}

bool swtpm_linear_decode(const uint8_t header[SWTPM_LINEAR_HEADER_BYTES],
                         uint64_t file_bytes, SwtpmExtent extents[SWTPM__MAX],
                         GError **error)
{
    if (!swtpm_linear_is(header, SWTPM_LINEAR_HEADER_BYTES)) {
        return refuse(error, BLOBSTORE_ERROR_FOREIGN,
                      "this is not a linear file of swtpm");
    }
    if (header[VERSION_AT] != VERSION) {
        return refuse(error, BLOBSTORE_ERROR_UNSUPPORTED,
                      "the linear file is of a version that is not known");
    }
    if ((header[HEADER_BYTES_AT] | header[HEADER_BYTES_AT + 1] << 8) !=
        SWTPM_LINEAR_HEADER_BYTES) {
        return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                      "the header of the linear file has another length");
    }
    for (unsigned n = 0; n < ENTRIES; n++) {
        Section section = get_section(header, n);

        if (!check_section(section, n, file_bytes, error)) {
            return false;
        }
        if (n < SWTPM__MAX) {
            extents[n] = (SwtpmExtent) { section.offset, section.used };
        }
    }
    for (unsigned a = 0; a < SWTPM__MAX; a++) {
        for (unsigned b = 0; b < a; b++) {
            if (overlap(extents[a], extents[b])) {
                return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                              "two states are at the same place");
            }
        }
    }
    return true;
}

/* A power of two, as in the files that swtpm makes */
static uint32_t section_bytes(size_t used)
{
    uint32_t bytes = SECTION_MIN_BYTES;

    while (bytes < used) {
        bytes *= 2;
    }
    return bytes;
}

GBytes *swtpm_linear_encode(GBytes *const files[SWTPM__MAX])
{
    GByteArray *linear = g_byte_array_new();
    uint32_t end = SWTPM_LINEAR_HEADER_BYTES;

    g_byte_array_set_size(linear, end);
    memset(linear->data, 0, end);
    memcpy(linear->data, magic, sizeof(magic));
    linear->data[VERSION_AT] = VERSION;
    linear->data[HEADER_BYTES_AT] = SWTPM_LINEAR_HEADER_BYTES;
    for (unsigned n = 0; n < SWTPM__MAX; n++) {
        size_t used = files[n] ? g_bytes_get_size(files[n]) : 0;
        uint32_t bytes = section_bytes(used);
        uint8_t *at;

        if (!used) {
            continue;
        }
        g_byte_array_set_size(linear, end + bytes);
        memset(linear->data + end, 0, bytes);
        memcpy(linear->data + end, g_bytes_get_data(files[n], NULL), used);
        at = linear->data + ENTRIES_AT + n * ENTRY_BYTES;
        put32(at, end);
        put32(at + 4, used);
        put32(at + 8, bytes);
        end += bytes;
    }
    return g_byte_array_free_to_bytes(linear);
}
