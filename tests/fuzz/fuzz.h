/*
 * Helpers that the fuzz targets share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "blobstore/store-private.h"

/* libFuzzer calls these, or replay.c in its place. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max_bytes,
                               unsigned seed);
/* libFuzzer's own mutation of an input */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t max_bytes);

/*
 * AddressSanitizer has these, with its volatile; a build without it has none,
 * and no limit on the heap.
 */
int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void *, size_t), /* volatile: see above */
    void (*on_free)(const volatile void *)) __attribute__((weak)); /* same */
size_t __sanitizer_get_allocated_size(const volatile void *at) /* same */
    __attribute__((weak));

/* Replaces the core's blob_digest_random(): see meson.build. */
bool __wrap_blob_digest_random(void *buf, size_t bytes, GError **error);

/* Reports a finding: prints the fault and aborts. */
void G_NORETURN fuzz_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);
#define FUZZ_CHECK(what) \
    do { \
        if (!(what)) { \
            fuzz_fail("%s:%d: %s", __FILE__, __LINE__, #what); \
        } \
    } while (0)

/*
 * Begins an input.  The core's random bytes follow from the input, so that the
 * core does the same each time.
 */
void fuzz_begin(const uint8_t *data, size_t bytes);

/* Makes these the next random bytes. */
void fuzz_next_random(const void *data, size_t bytes);

/* Lets the heap grow by @bytes from here on; 0: without limit. */
void fuzz_limit_heap(int64_t bytes);

/* Returns a number that follows from *@state, and advances *@state. */
uint32_t fuzz_random(uint64_t *state);

/* The integer at @at of the medium, where nothing is aligned */
uint32_t fuzz_get32(const uint8_t *at);
uint64_t fuzz_get64(const uint8_t *at);

/* The set of codes that a call may fail with */
#define FUZZ_CODE(name) (1u << BLOBSTORE_ERROR_##name)

enum { FUZZ_OK = -1 };

/*
 * Returns the result of a call: FUZZ_OK, or the code of *@error, which is
 * cleared.  The code must be one of @codes, with a message, and there is an
 * error only if the call failed.
 */
int fuzz_outcome(bool ok, GError **error, unsigned codes);

#endif /* TESTS_FUZZ_FUZZ_H */
