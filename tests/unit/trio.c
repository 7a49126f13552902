/*
 * A store with three blobs, and power failures under it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

void trio_set_up(Trio *trio, gconstpointer unused)
{
    trio->disk = test_disk_new(TEST_DISK_BYTES / 4);
    trio->store = test_store(trio->disk, trio->blobs, TRIO_BLOBS);
    trio_write(trio, 0, "a1");
    trio_write(trio, 1, "b1");
    trio_write(trio, 2, "c1");
}

void trio_tear_down(Trio *trio, gconstpointer unused)
{
    blob_store_free(trio->store);
    test_disk_free(trio->disk);
}

void trio_renew(Trio *trio)
{
    trio_tear_down(trio, NULL);
    trio_set_up(trio, NULL);
}

void trio_write(Trio *trio, unsigned n, const char *text)
{
    test_write(trio->store, trio->blobs[n], text);
}

void trio_write_ab(Trio *trio, const char *a, const char *b)
{
    test_write2(trio->store, trio->blobs[0], a, trio->blobs[1], b);
}

void trio_start(Trio *trio)
{
    for (unsigned i = 0; i < TRIO_BLOBS; i++) {
        char name[] = { 'a' + i, '\0' };

        test_register(trio->store, name, 1000);
    }
    test_start(trio->store);
}

void trio_crash(Trio *trio)
{
    g_clear_pointer(&trio->store, blob_store_free);
    trio->store = test_open(trio->disk);
    for (unsigned i = 0; i < TRIO_BLOBS; i++) {
        char name[] = { 'a' + i, '\0' };

        trio->blobs[i] = blob_store_find(trio->store, "t", name);
    }
}

void trio_crash_fails(Trio *trio, BlobStoreError code, const char *pattern)
{
    g_clear_pointer(&trio->store, blob_store_free);
    test_open_fails(trio->disk, NULL, code, pattern);
}

uint8_t *trio_slot(Trio *trio, unsigned n, unsigned slot)
{
    return test_slot(trio->disk, trio->blobs[n], slot);
}

uint8_t *trio_current(Trio *trio, unsigned n)
{
    return trio_slot(trio, n, trio->blobs[n]->entry.slot);
}

void trio_wipe(uint8_t *slot)
{
    memset(slot, 0, 2 * BLOB_BLOCK_BYTES);
}

void trio_expect(Trio *trio, const char *a, const char *b, const char *c)
{
    const char *texts[] = { a, b, c };

    for (unsigned i = 0; i < TRIO_BLOBS; i++) {
        if (texts[i] && !strcmp(texts[i], "damaged")) {
            test_expect_damaged(trio->store, trio->blobs[i]);
        } else {
            test_expect(trio->store, trio->blobs[i], texts[i]);
        }
    }
}
