/*
 * Fuzz target: the files of swtpm that the tool imports
 *
 * The first byte of an input says which key is known, and whether the rest is
 * a linear file with state files in it, one state file, or what a state file
 * of version 1 has encrypted.  To come past the check value, the target can
 * put the right one in.
 *
 * What can be read must be the same after it was written and read again, with
 * and without a key; and nothing takes more memory than the input is worth.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fuzz.h"

#include <string.h>
#include "tools/blobstore/swtpm/crypt.h"

enum {
    KEY_16 = 1 << 0,
    KEY_32 = 1 << 1,
    LINEAR = 1 << 2,
    MEND = 1 << 3,              /* the check value, of a file of version 2 */
    FIRST_VERSION = 1 << 4,     /* encrypt the rest, with its digest */

    HEADER_BYTES = 10,
    TAG_BYTES = 6,
    HEAP_BYTES = 4 << 20,
};

#define FAILURES (FUZZ_CODE(FOREIGN) | FUZZ_CODE(UNSUPPORTED) | \
                  FUZZ_CODE(CORRUPT) | FUZZ_CODE(TOO_LARGE) | FUZZ_CODE(KEY))

static BlobSecret *new_key(unsigned how)
{
    static const uint8_t bytes[SWTPM_KEY_MAX_BYTES] = { 1, 2, 3 };

    return how & (KEY_16 | KEY_32)
           ? blob_secret_new(bytes, how & KEY_32 ? 32 : 16, NULL) : NULL;
}

/* Finds the last part with that tag, as a sloppy reader would. */
static SwtpmPart find(uint8_t *data, size_t bytes, unsigned tag)
{
    SwtpmPart found = { };
    size_t at = HEADER_BYTES;

    while (bytes - at >= TAG_BYTES) {
        size_t length = (size_t)data[at + 2] << 24 | data[at + 3] << 16 |
                        data[at + 4] << 8 | data[at + 5];
        bool is_it = (data[at] << 8 | data[at + 1]) == tag;

        at += TAG_BYTES;
        if (length > bytes - at) {
            break;
        }
        if (is_it) {
            found = (SwtpmPart) { data + at, length };
        }
        at += length;
    }
    return found;
}

static void mend(uint8_t *data, size_t bytes, const BlobSecret *key)
{
    SwtpmPart text, mac, iv;

    if (bytes < HEADER_BYTES) {
        return;
    }
    text = find(data, bytes, 2);
    mac = find(data, bytes, 3);
    iv = find(data, bytes, 6);
    if (text.data && mac.bytes == SWTPM_MAC_BYTES) {
        swtpm_crypt_authenticate(key, text, iv, (uint8_t *)mac.data);
    }
}

/* A file of version 1 with @data, which has a padding of its own, encrypted */
static GBytes *new_first_version(const uint8_t *data, size_t bytes,
                                 const BlobSecret *key)
{
    static const uint8_t iv[SWTPM_BLOCK_BYTES];
    size_t text_bytes = (BLOB_DIGEST_BYTES + bytes) &
                        ~(size_t)(SWTPM_BLOCK_BYTES - 1);
    size_t file_bytes = HEADER_BYTES + text_bytes;
    uint8_t *file = g_malloc0(HEADER_BYTES + BLOB_DIGEST_BYTES + bytes);
    uint8_t *text = file + HEADER_BYTES;
    uint8_t padding;

    memcpy(text + BLOB_DIGEST_BYTES, data, bytes);
    padding = text[text_bytes - 1];
    if (padding <= text_bytes - BLOB_DIGEST_BYTES) {
        blob_digest_sha256(text + BLOB_DIGEST_BYTES,
                           text_bytes - BLOB_DIGEST_BYTES - padding, text);
    }
    swtpm_crypt_encrypt(key, iv, text, text_bytes, text);
    file[0] = file[1] = 1;
    file[3] = HEADER_BYTES;
    file[5] = key->bytes == 32 ? 9 : 1;
    file[8] = file_bytes >> 8;
    file[9] = file_bytes;
    return g_bytes_new_take(file, file_bytes);
}

static void check_comes_back(GBytes *state, const BlobSecret *key)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) file = swtpm_file_encode(state, key, &error);
    g_autoptr(GBytes) again = NULL;

    FUZZ_CHECK(file);
    again = swtpm_file_decode(g_bytes_get_data(file, NULL),
                              g_bytes_get_size(file), key, &error);
    FUZZ_CHECK(again && g_bytes_equal(again, state));
}

static void try_file(const uint8_t *data, size_t bytes, const BlobSecret *key)
{
    /* A copy without anything behind it */
    g_autofree uint8_t *copy = g_memdup2(data, bytes);
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) state = swtpm_file_decode(copy, bytes, key, &error);

    if (fuzz_outcome(state, &error, FAILURES) == FUZZ_OK) {
        FUZZ_CHECK(g_bytes_get_size(state) <= bytes);
        check_comes_back(state, NULL);
        check_comes_back(state, key);
    }
}

static void try_linear(const uint8_t *data, size_t bytes,
                       const BlobSecret *key)
{
    SwtpmExtent extents[SWTPM__MAX];
    g_autoptr(GError) error = NULL;
    size_t sum = 0;

    if (bytes < SWTPM_LINEAR_HEADER_BYTES ||
        fuzz_outcome(swtpm_linear_decode(data, bytes, extents, &error),
                     &error, FAILURES) != FUZZ_OK) {
        return;
    }
    for (int n = 0; n < SWTPM__MAX; n++) {
        if (extents[n].bytes) {
            FUZZ_CHECK(extents[n].offset <= bytes &&
                       extents[n].bytes <= bytes - extents[n].offset);
            sum += extents[n].bytes;
            try_file(data + extents[n].offset, extents[n].bytes, key);
        }
    }
    FUZZ_CHECK(sum <= bytes - SWTPM_LINEAR_HEADER_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    unsigned how = bytes ? data[0] : 0;
    g_autoptr(BlobSecret) key = new_key(how);
    g_autofree uint8_t *copy = NULL;

    if (!bytes) {
        return 0;
    }
    fuzz_begin(data, bytes);
    fuzz_limit_heap(HEAP_BYTES);
    copy = g_memdup2(data + 1, bytes - 1);
    bytes--;
    if (how & LINEAR) {
        try_linear(copy, bytes, key);
    } else if (key && how & FIRST_VERSION && bytes) {
        g_autoptr(GBytes) file = new_first_version(copy, bytes, key);

        try_file(g_bytes_get_data(file, NULL), g_bytes_get_size(file), key);
    } else {
        if (key && how & MEND) {
            mend(copy, bytes, key);
        }
        try_file(copy, bytes, key);
    }
    fuzz_limit_heap(0);
    return 0;
}
