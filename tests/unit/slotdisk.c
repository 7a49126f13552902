/*
 * A medium for the tests of slots and of pairs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "slotdisk.h"

#include <string.h>

void slot_disk_set_up(SlotDisk *setup, gconstpointer unused)
{
    setup->disk = test_disk_new(TEST_DISK_BYTES);
    setup->guard = blob_guard_new_plain(NULL);
    setup->medium = (BlobMedium) { .storage = setup->disk->storage };
}

void slot_disk_tear_down(SlotDisk *setup, gconstpointer unused)
{
    blob_guard_free(setup->guard);
    test_disk_free(setup->disk);
}

uint8_t *slot_block(SlotDisk *setup, unsigned n)
{
    return test_disk_bytes(setup->disk) + SLOT_OFFSET + n * SLOT_BLOCK;
}

GBytes *slot_content(uint64_t sequence, size_t bytes)
{
    return g_bytes_new_take(memset(g_malloc(bytes), 'A' + sequence % 26,
                                   bytes), bytes);
}
