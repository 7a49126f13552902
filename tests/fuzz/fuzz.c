/*
 * Helpers that the fuzz targets share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state;
static uint8_t next_random[16];
static size_t next_random_bytes;
static bool heap_is_limited;
static int64_t heap_room;

void fuzz_fail(const char *format, ...)
{
    va_list args;

    fuzz_limit_heap(0);
    fputs("finding: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

/* The pointer is volatile because AddressSanitizer declares it so. */
static void on_malloc(const volatile void *at, size_t bytes)
{
    heap_room -= bytes;
    if (heap_is_limited && heap_room < 0) {
        fuzz_fail("allocating %zu bytes is %" G_GINT64_FORMAT " too many",
                  bytes, -heap_room);
    }
}

/* The pointer is volatile for the same reason. */
static void on_free(const volatile void *at)
{
    heap_room += at ? __sanitizer_get_allocated_size(at) : 0;
}

void fuzz_limit_heap(int64_t bytes)
{
    heap_is_limited = bytes;
    heap_room = bytes;
}

/* GLib ends a program with a trap, which libFuzzer does not catch. */
static void on_message(const char *domain, GLogLevelFlags level,
                       const char *message, void *opaque)
{
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL |
                 G_LOG_LEVEL_WARNING)) {
        fuzz_fail("%s", message);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    g_log_set_default_handler(on_message, NULL);
    blob_digest_init();
    if (__sanitizer_install_malloc_and_free_hooks) {
        __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    }
    return 0;
}

/* splitmix64 */
uint32_t fuzz_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) >> 32;
}

void fuzz_begin(const uint8_t *data, size_t bytes)
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    blob_digest_sha256(data, bytes, digest);
    memcpy(&random_state, digest, sizeof(random_state));
}

void fuzz_next_random(const void *data, size_t bytes)
{
    FUZZ_CHECK(bytes <= sizeof(next_random));
    memcpy(next_random, data, bytes);
    next_random_bytes = bytes;
}

bool __wrap_blob_digest_random(void *buf, size_t bytes, GError **error)
{
    if (next_random_bytes) {
        FUZZ_CHECK(bytes == next_random_bytes);
        memcpy(buf, next_random, bytes);
        next_random_bytes = 0;
        return true;
    }
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)buf)[i] = fuzz_random(&random_state);
    }
    return true;
}

uint32_t fuzz_get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

uint64_t fuzz_get64(const uint8_t *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return GUINT64_FROM_LE(value);
}

int fuzz_outcome(bool ok, GError **error, unsigned codes)
{
    int code;

    FUZZ_CHECK(ok == !*error);
    if (ok) {
        return FUZZ_OK;
    }
    FUZZ_CHECK((*error)->domain == BLOBSTORE_ERROR);
    code = (*error)->code;
    FUZZ_CHECK(code >= 0 && code < 32);
    if (!(codes & 1u << code)) {
        fuzz_fail("code %d is not one this call fails with: %s", code,
                  (*error)->message);
    }
    FUZZ_CHECK(*(*error)->message);
    FUZZ_CHECK(g_utf8_validate((*error)->message, -1, NULL));
    g_clear_error(error);
    return code;
}
