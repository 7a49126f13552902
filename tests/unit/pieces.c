/*
 * Helpers that the tests of conversions in pieces share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE             /* memmem() */
#include "pieces.h"

#include <string.h>

char *pieces_old_text(unsigned n)
{
    g_autofree char *rest = g_strnfill(700, 'a' + n);

    return g_strdup_printf("old content %u %s", n, rest);
}

BlobStore *pieces_store(TestDisk *disk, const Way *way,
                        Blob *blobs[PIECES_BLOBS])
{
    BlobStore *store = conversion_store(disk, way, blobs, PIECES_BLOBS);
    uint8_t *medium = test_disk_bytes(disk);
    uint64_t offset;
    uint64_t bytes;

    for (unsigned n = 0; n < PIECES_BLOBS; n++) {
        g_autofree char *text = pieces_old_text(n);

        test_write(store, blobs[n], text);
        test_write(store, blobs[n], text);
    }
    for (size_t n = 0; blob_space_nth(store->space, n, &offset, &bytes);
         n++) {
        memset(medium + offset, 'o', bytes);
    }
    return store;
}

void pieces_begin(BlobStore *store, const Way *way)
{
    BlobStoreStatus status;
    GError *error = NULL;

    if (!conversion_begin(store, way, &error)) {
        g_error("%s", error->message);
    }
    blob_store_get_status(store, &status);
    g_assert_true(status.converting);
    g_assert_cmpuint(status.wiped, ==, 0);
}

bool pieces_next(BlobStore *store)
{
    BlobStoreStatus before;
    BlobStoreStatus after;
    GError *error = NULL;
    bool done;

    blob_store_get_status(store, &before);
    if (!blob_store_convert_next(store, PIECE_BYTES, &done, &error)) {
        g_error("%s", error->message);
    }
    blob_store_get_status(store, &after);
    g_assert_cmpuint(after.wiped, >, before.wiped);
    g_assert_cmpuint(after.wiped, <=, after.capacity);
    g_assert_true(after.converting == !done);
    return done;
}

void pieces_check_gone(TestDisk *disk, const TestDisk *old)
{
    static const uint8_t zeros[TEST_SECTOR_BYTES];
    const uint8_t *is = test_disk_bytes(disk);
    const uint8_t *was = test_disk_bytes(old);

    for (uint64_t i = 0; i < test_disk_length(old);
         i += TEST_SECTOR_BYTES) {
        g_assert_true(!memcmp(was + i, zeros, TEST_SECTOR_BYTES) ||
                      !memmem(is, test_disk_length(disk), was + i,
                              TEST_SECTOR_BYTES));
    }
}

BlobStore *pieces_reopen(TestDisk *disk, const Way *way,
                         Blob *blobs[PIECES_BLOBS])
{
    BlobStore *store = keys_open(disk, way->to);

    for (unsigned n = 0; n < PIECES_BLOBS; n++) {
        char name[] = { 'a' + n, 0 };

        blobs[n] = test_register(store, name, 1000);
    }
    return store;
}
