/*
 * Helpers that the unit tests of the core share, around a store on a TestDisk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include "blobstore/check.h"
#include "blobstore/store-private.h"
#include "testdisk.h"

/* The call failed with @code, and the message matches the glob @pattern. */
void test_assert_error(GError **error, BlobStoreError code,
                       const char *pattern);

/* Functions that take no GError abort on an error. */
BlobStore *test_open(TestDisk *disk);
void test_open_fails(TestDisk *disk, const BlobStoreOptions *options,
                     BlobStoreError code, const char *pattern);
Blob *test_register(BlobStore *store, const char *name, uint64_t max_size);
/*
 * The same for a blob that may be registered already with another maximum size
 */
Blob *test_register_again(BlobStore *store, const char *name,
                          uint64_t max_size);
/* Returns the size that a new store for @count blobs needs. */
uint64_t test_required_bytes(unsigned count, uint64_t max_size);
void test_start(BlobStore *store);
void test_start_fails(BlobStore *store, BlobStoreError code,
                      const char *pattern);
void test_write(BlobStore *store, Blob *blob, const char *text);
void test_write2(BlobStore *store, Blob *a, const char *text_a, Blob *b,
                 const char *text_b);
void test_write_fails(BlobStore *store, Blob *blob, const char *text,
                      BlobStoreError code, const char *pattern);
void test_expect(BlobStore *store, Blob *blob, const char *text);
void test_expect_damaged(BlobStore *store, Blob *blob);
char *test_read(BlobStore *store, Blob *blob, GError **error);
void test_close(BlobStore *store);

/*
 * Returns a started store with the blobs "t/a", "t/b", ... of at most 1000
 * bytes.  @blobs, of @count, may be NULL.
 */
BlobStore *test_store(TestDisk *disk, Blob **blobs, unsigned count);
/* The same for a store that is open. */
void test_start_with(BlobStore *store, Blob **blobs, unsigned count);

/*
 * Rewrites the superblock, or directory, of a store on @disk through @edit,
 * and makes every check value right again.
 */
typedef void TestEditSuper(BlobSuperblock *super, BlobHeader *header);
typedef void TestEditDirectory(BlobDirectory *directory);
void test_edit_superblock(TestDisk *disk, TestEditSuper *edit);
void test_edit_directory(TestDisk *disk, TestEditDirectory *edit);

/* Returns the place of slot @n of @blob on the medium. */
uint8_t *test_slot(TestDisk *disk, const Blob *blob, unsigned n);
/* Returns the size of an image of that slot. */
uint64_t test_slot_image(const Blob *blob);

/*
 * Notes a finding, for blob_store_check(), in @opaque, a GString, as a line:
 * its kind, the blob, the offset, and whether it heals.
 */
void test_note_finding(const BlobFinding *finding, void *opaque);
/* A check of @store finds @expected, such lines. */
void test_expect_findings(BlobStore *store, const char *expected);
/* Makes a store with a and b, both written twice, and opens it again. */
BlobStore *test_reopened_store(TestDisk *disk);
/* Damages the current version of the blob "t/NAME". */
void test_garble_current(TestDisk *disk, BlobStore *store, const char *name);

#endif /* TESTS_UNIT_FIXTURE_H */
