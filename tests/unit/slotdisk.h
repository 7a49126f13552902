/*
 * A medium for the tests of slots and of pairs, which lie at one place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_SLOTDISK_H
#define TESTS_UNIT_SLOTDISK_H

#include "fixture.h"

enum {
    SLOT_ID = 30,
    SLOT_BLOCK = BLOB_BLOCK_BYTES,
    SLOT_OFFSET = 8 * SLOT_BLOCK,
    SLOT_BYTES = 8 * SLOT_BLOCK,
};

typedef struct SlotDisk {
    TestDisk *disk;
    BlobGuard *guard;
    BlobMedium medium;
} SlotDisk;

void slot_disk_set_up(SlotDisk *setup, gconstpointer unused);
void slot_disk_tear_down(SlotDisk *setup, gconstpointer unused);

/* Returns block @n of the slot. */
uint8_t *slot_block(SlotDisk *setup, unsigned n);

/* Returns @bytes of content, which differ from version to version. */
GBytes *slot_content(uint64_t sequence, size_t bytes);

#endif /* TESTS_UNIT_SLOTDISK_H */
