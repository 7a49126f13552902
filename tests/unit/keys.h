/*
 * Helpers that the tests of sealed stores share: keys, and stores that are
 * opened as a user with one of them would
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_KEYS_H
#define TESTS_UNIT_KEYS_H

#include "fixture.h"

/* Returns the key of 32 bytes @n, which the caller must not free. */
BlobKey *keys_data_key(unsigned n);

/*
 * Makes slot @n of the store @uuid hold @key, wrapped by a raw secret of 32
 * bytes @n.  Other slots stay as they are.
 */
void keys_put_raw(BlobKeySlots *slots, unsigned n, const BlobKey *key,
                  const uint8_t *uuid);

/*
 * Adds key slot @n, as above, to a started store with the data key 1.  Only
 * writes of the store itself fail.
 */
bool keys_add_slot(BlobStore *store, unsigned n, GError **error);

/*
 * Opens the store on @disk with the raw secret @n, or with none if @n is
 * negative.
 */
BlobStore *keys_try_open(TestDisk *disk, int n, GError **error);
BlobStore *keys_open(TestDisk *disk, int n);
/* Frees @store, and opens the one on @disk. */
BlobStore *keys_reopen(BlobStore *store, TestDisk *disk, int n);
void keys_open_fails(TestDisk *disk, int n, BlobStoreError code,
                     const char *pattern);

/*
 * Returns a new sealed store, started, with data key 1 behind raw secret 1 and
 * the blobs "t/a", "t/b", ... of at most 1000 bytes.  @blobs may be NULL.
 */
BlobStore *keys_store(TestDisk *disk, Blob **blobs, unsigned count);

/* Returns whether @text is anywhere on @disk. */
bool keys_disk_contains(TestDisk *disk, const char *text);

#endif /* TESTS_UNIT_KEYS_H */
