/*
 * Hostile images from few bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "image.h"

#include <string.h>
#include "resign.h"

enum {
    PIECE_MAX_BYTES = 4096,
    PIECE_GAP_BYTES = 24,       /* zeros that do not end a piece */
};

size_t fuzz_piece_head(const uint8_t *data, uint32_t *offset)
{
    memcpy(offset, data, 4);
    *offset = GUINT32_FROM_LE(*offset);
    return data[4] | data[5] << 8;
}

void fuzz_piece_set_head(uint8_t *data, uint32_t offset, uint16_t bytes)
{
    offset = GUINT32_TO_LE(offset);
    memcpy(data, &offset, 4);
    data[4] = bytes;
    data[5] = bytes >> 8;
}

FuzzDisk *fuzz_image_decode(const uint8_t *data, size_t bytes,
                            FuzzHead *head)
{
    FuzzDisk *disk;
    uint64_t length;

    if (bytes < sizeof(*head)) {
        return NULL;
    }
    memcpy(head, data, sizeof(*head));
    length = head->blocks % (FUZZ_IMAGE_MAX_BLOCKS + 1) * BLOB_BLOCK_BYTES +
             (head->rest & 7) * FUZZ_SECTOR_BYTES +
             (head->rest & 8 ? 100 : 0);
    disk = fuzz_disk_new(length);
    for (size_t at = sizeof(*head); bytes - at > FUZZ_PIECE_HEAD_BYTES; ) {
        uint32_t offset;
        size_t n = fuzz_piece_head(data + at, &offset);

        at += FUZZ_PIECE_HEAD_BYTES;
        n = MIN(n, bytes - at);
        if (offset < length) {
            memcpy(disk->data + offset, data + at, MIN(n, length - offset));
        }
        at += n;
    }
    fuzz_resign(disk, head);
    return disk;
}

static void append_piece(GByteArray *out, const uint8_t *data, uint32_t offset,
                         uint16_t n)
{
    uint8_t head[FUZZ_PIECE_HEAD_BYTES];

    fuzz_piece_set_head(head, offset, n);
    g_byte_array_append(out, head, sizeof(head));
    g_byte_array_append(out, data + offset, n);
}

/* Returns the end of the piece that begins at @start, and its last byte. */
static uint64_t piece_end(const FuzzDisk *disk, uint64_t start)
{
    uint64_t end = start + 1;

    for (uint64_t at = end; at < disk->bytes && at - end < PIECE_GAP_BYTES &&
         at - start < PIECE_MAX_BYTES; at++) {
        if (disk->data[at]) {
            end = at + 1;
        }
    }
    return end;
}

GByteArray *fuzz_image_encode(const FuzzHead *head, const FuzzDisk *disk)
{
    GByteArray *out = g_byte_array_new();

    g_byte_array_append(out, (const uint8_t *)head, sizeof(*head));
    for (uint64_t at = 0; at < disk->bytes; ) {
        uint64_t end;

        if (!disk->data[at]) {
            at++;
            continue;
        }
        end = piece_end(disk, at);
        append_piece(out, disk->data, at, end - at);
        at = end;
    }
    return out;
}
