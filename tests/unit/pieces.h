/*
 * Helpers that the tests of conversions in pieces share: a store full of old
 * bytes, whose conversion zeroes them piece by piece
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_PIECES_H
#define TESTS_UNIT_PIECES_H

#include "conversion.h"

enum {
    PIECE_BYTES = 8192,
    PIECES_BLOBS = 3,
};

/* Returns old content, which is longer than what is written later. */
char *pieces_old_text(unsigned n);

/* Makes three blobs with both slots full, and old bytes in free space. */
BlobStore *pieces_store(TestDisk *disk, const Way *way,
                        Blob *blobs[PIECES_BLOBS]);

void pieces_begin(BlobStore *store, const Way *way);

/* Zeroes the next piece.  Returns whether it was the last one. */
bool pieces_next(BlobStore *store);

/* Each sector that was on @old and is not zero is gone from @disk. */
void pieces_check_gone(TestDisk *disk, const TestDisk *old);

/* Opens the converted store, and registers its blobs. */
BlobStore *pieces_reopen(TestDisk *disk, const Way *way,
                         Blob *blobs[PIECES_BLOBS]);

#endif /* TESTS_UNIT_PIECES_H */
