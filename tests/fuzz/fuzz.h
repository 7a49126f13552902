/*
 * What the fuzz targets share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "blobstore/store-private.h"

/* Called by libFuzzer, or by replay.c in its place */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max_bytes,
                               unsigned seed);
/* libFuzzer's own way to change an input */
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t max_bytes);

/*
 * AddressSanitizer's, with its volatile; a build without it has none, and no
 * limit on the heap.
 */
int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void *, size_t), /* volatile: above */
    void (*on_free)(const volatile void *)) __attribute__((weak)); /* same */
size_t __sanitizer_get_allocated_size(const volatile void *at) /* same */
    __attribute__((weak));

/* In place of the core's blob_digest_random(): see meson.build. */
bool __wrap_blob_digest_random(void *buf, size_t bytes, GError **error);

/* A finding: says what is wrong and aborts. */
void G_NORETURN fuzz_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);
#define FUZZ_CHECK(what) \
    do { \
        if (!(what)) { \
            fuzz_fail("%s:%d: %s", __FILE__, __LINE__, #what); \
        } \
    } while (0)

/*
 * Begins an input: the random bytes that the core draws follow from it, so
 * that it does the same each time.
 */
void fuzz_begin(const uint8_t *data, size_t bytes);

/* The next of them are these. */
void fuzz_next_random(const void *data, size_t bytes);

/* From here on the heap may grow by @bytes; 0: without limit. */
void fuzz_limit_heap(int64_t bytes);

/* A number that follows from *@state, which moves on */
uint32_t fuzz_random(uint64_t *state);

/* Codes that a call may fail with, as a set */
#define FUZZ_CODE(name) (1u << BLOBSTORE_ERROR_##name)

enum { FUZZ_OK = -1 };

/*
 * What became of a call: FUZZ_OK, or the code of *@error, which is cleared.
 * It must be one of @codes, with a message, and there is one only if the call
 * failed.
 */
int fuzz_outcome(bool ok, GError **error, unsigned codes);

#endif /* TESTS_FUZZ_FUZZ_H */
