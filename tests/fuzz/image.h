/*
 * Hostile images from few bytes
 *
 * An input is a head and pieces: the parts of the medium that are not zero,
 * each with its offset.  The head says which check values are made right,
 * because otherwise no input would get past the first of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include "disk.h"

enum {
    FUZZ_IMAGE_MAX_BLOCKS = 96,
    FUZZ_HEAD_BYTES = 64,
    FUZZ_PIECE_HEAD_BYTES = 6,  /* offset and length of the piece */
    FUZZ_SLOTS = 32,            /* superblock, directory and 14 blobs */
};

/* Values that are made right, alone or with the check values */
enum {
    FUZZ_REPAIR_DIGEST = 1 << 0,
    FUZZ_REPAIR_PLACE = 1 << 1,     /* magic, id and offset */
    FUZZ_REPAIR_SHAPE = 1 << 2,     /* lengths that follow from others */
    FUZZ_REPAIR_CENSUS = 1 << 3,
    FUZZ_REPAIR_WATERMARK = 1 << 4, /* no long search for what is missing */
    FUZZ_REPAIR_ALL = (1 << 5) - 1,
};

/* How a slot is made to look written */
typedef enum FuzzSign {
    FUZZ_SIGN_NOT,
    FUZZ_SIGN_WHOLE,            /* the trailer becomes the header */
    FUZZ_SIGN_APART,            /* header and trailers each for itself */
    FUZZ_SIGN_COPY,             /* the slot becomes the other of its pair */
    FUZZ_SIGN_COUNT,
    /* In addition: under the guard that the store is converted from */
    FUZZ_SIGN_FORMER = FUZZ_SIGN_COUNT,
} FuzzSign;

/* Each field is one byte of the input, or an array of them. */
typedef struct FuzzHead {
    uint8_t blocks;             /* of the medium */
    uint8_t rest;               /* of a block: 3 bits sectors, 1 bit ragged */
    uint8_t repair;
    uint8_t options;
    uint8_t fail_read;
    uint8_t fail_write;
    uint8_t key;                /* the key that the store is opened with */
    uint8_t reserved[9];
    uint8_t sign[FUZZ_SLOTS];
    uint8_t script[16];         /* the operations on the store */
} FuzzHead;

G_STATIC_ASSERT(sizeof(FuzzHead) == FUZZ_HEAD_BYTES);

/* Returns NULL if there are too few bytes even for the head. */
FuzzDisk *fuzz_image_decode(const uint8_t *data, size_t bytes,
                            FuzzHead *head);

/*
 * Returns the input with @head that gives the bytes of @disk, except for the
 * signing.
 */
GByteArray *fuzz_image_encode(const FuzzHead *head, const FuzzDisk *disk);

/*
 * Returns the length of the piece whose head is at @data; *@offset is its
 * place.
 */
size_t fuzz_piece_head(const uint8_t *data, uint32_t *offset);
void fuzz_piece_set_head(uint8_t *data, uint32_t offset, uint16_t bytes);

#endif /* TESTS_FUZZ_IMAGE_H */
