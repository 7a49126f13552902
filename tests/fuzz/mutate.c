/*
 * Changes a hostile image in its fields, where it matters
 *
 * libFuzzer alone would mostly break the division into pieces.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>
#include "fuzz.h"
#include "image.h"

enum { MAX_PIECES = 512, HEADER_FIELDS_BYTES = 240 };

/* The places where the pieces of an input begin, with their heads */
typedef struct Pieces {
    uint8_t *data;
    size_t bytes;
    size_t max_bytes;
    unsigned count;
    size_t at[MAX_PIECES];
} Pieces;

static void find_pieces(Pieces *pieces)
{
    size_t at = FUZZ_HEAD_BYTES;

    while (pieces->count < MAX_PIECES &&
           pieces->bytes - at > FUZZ_PIECE_HEAD_BYTES) {
        uint32_t offset;
        size_t n = fuzz_piece_head(pieces->data + at, &offset);

        pieces->at[pieces->count++] = at;
        at += FUZZ_PIECE_HEAD_BYTES;
        at += MIN(n, pieces->bytes - at);
    }
}

/* Returns the bytes of piece @n, and their place on the medium. */
static uint8_t *piece(const Pieces *pieces, unsigned n, uint32_t *offset,
                      size_t *bytes)
{
    size_t start = pieces->at[n] + FUZZ_PIECE_HEAD_BYTES;

    *bytes = fuzz_piece_head(pieces->data + pieces->at[n], offset);
    *bytes = MIN(*bytes, pieces->bytes - start);
    return pieces->data + start;
}

static uint64_t word_like(const Pieces *pieces, uint64_t old,
                          uint64_t *random)
{
    uint64_t word = fuzz_random(random);

    switch (word % 8) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return UINT64_C(1) << (word >> 8) % 64;
    case 3:
        return (word >> 8) % 4;
    case 4:
        return -((word >> 8) % 4) - 1;
    case 5:
        return old ^ UINT64_C(1) << (word >> 8) % 64;
    case 6:
        return old + ((word >> 8) % 8) * BLOB_BLOCK_BYTES;
    default:
        memcpy(&old, pieces->data + (word >> 8) % (pieces->bytes - 8), 8);
        return old;
    }
}

/* Fields have 4 or 8 bytes, at multiples of their size. */
static void change_word(Pieces *pieces, uint64_t *random)
{
    uint32_t offset;
    size_t bytes;
    uint8_t *at = piece(pieces, fuzz_random(random) % pieces->count, &offset,
                        &bytes);
    size_t width = fuzz_random(random) & 1 ? 8 : 4;
    size_t skip = -offset % width;
    uint64_t word = 0;

    if (bytes < skip + width) {
        return;
    }
    at += skip + fuzz_random(random) % ((bytes - skip) / width) * width;
    memcpy(&word, at, width);
    word = word_like(pieces, word, random);
    memcpy(at, &word, width);
}

static void change_bytes(Pieces *pieces, uint64_t *random)
{
    uint32_t offset;
    size_t bytes;
    uint8_t *at = piece(pieces, fuzz_random(random) % pieces->count, &offset,
                        &bytes);

    if (bytes) {
        LLVMFuzzerMutate(at, bytes, bytes);
    }
}

static void drop_piece(Pieces *pieces, uint64_t *random)
{
    unsigned n = fuzz_random(random) % pieces->count;
    size_t end = n + 1 < pieces->count ? pieces->at[n + 1] : pieces->bytes;

    memmove(pieces->data + pieces->at[n], pieces->data + end,
            pieces->bytes - end);
    pieces->bytes -= end - pieces->at[n];
}

static void append_piece(Pieces *pieces, uint32_t offset, const uint8_t *from,
                         size_t bytes)
{
    uint8_t *to = pieces->data + pieces->bytes;

    if (FUZZ_PIECE_HEAD_BYTES + bytes > pieces->max_bytes - pieces->bytes) {
        return;
    }
    memcpy(to + FUZZ_PIECE_HEAD_BYTES, from, bytes);
    fuzz_piece_set_head(to, offset, bytes);
    pieces->bytes += FUZZ_PIECE_HEAD_BYTES + bytes;
}

static void copy_piece(Pieces *pieces, uint64_t *random)
{
    uint32_t offset;
    size_t bytes;
    const uint8_t *at = piece(pieces, fuzz_random(random) % pieces->count,
                              &offset, &bytes);

    offset += (fuzz_random(random) % 17 - 8) * BLOB_BLOCK_BYTES;
    append_piece(pieces, offset, at, bytes);
}

/*
 * Sets a field that was zero, in a block that is not: of its header, or
 * anywhere.
 */
static void add_word(Pieces *pieces, uint64_t *random)
{
    uint32_t offset;
    size_t bytes;
    uint32_t fields = fuzz_random(random) & 1 ? HEADER_FIELDS_BYTES
                                              : BLOB_BLOCK_BYTES;
    uint64_t word = word_like(pieces, 0, random);

    piece(pieces, fuzz_random(random) % pieces->count, &offset, &bytes);
    offset -= offset % BLOB_BLOCK_BYTES;
    offset += fuzz_random(random) % (fields / 4) * 4;
    append_piece(pieces, offset, (const uint8_t *)&word,
                 fuzz_random(random) & 1 ? 4 : 8);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max_bytes,
                               unsigned seed)
{
    uint64_t random = seed;
    Pieces pieces = { .data = data, .bytes = bytes, .max_bytes = max_bytes };

    if (bytes <= FUZZ_HEAD_BYTES) {
        return LLVMFuzzerMutate(data, bytes, max_bytes);
    }
    find_pieces(&pieces);
    if (!pieces.count) {
        return LLVMFuzzerMutate(data, bytes, max_bytes);
    }
    do {
        switch (fuzz_random(&random) % 14) {
        case 0:
        case 1:
            LLVMFuzzerMutate(data, FUZZ_HEAD_BYTES, FUZZ_HEAD_BYTES);
            break;
        case 2:
        case 3:
            change_bytes(&pieces, &random);
            break;
        case 4:
            drop_piece(&pieces, &random);
            return pieces.bytes;
        case 5:
            copy_piece(&pieces, &random);
            return pieces.bytes;
        case 6:
        case 7:
            add_word(&pieces, &random);
            return pieces.bytes;
        case 8:
            return LLVMFuzzerMutate(data, bytes, max_bytes);
        default:
            change_word(&pieces, &random);
        }
    } while (fuzz_random(&random) & 1);
    return pieces.bytes;
}
