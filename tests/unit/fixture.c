/*
 * Helpers that the unit tests of the core share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>
#include "sealed.h"
#include "blobstore/superblock.h"

void test_assert_error(GError **error, BlobStoreError code,
                       const char *pattern)
{
    g_assert_error(*error, BLOBSTORE_ERROR, (int)code);
    if (!g_pattern_match_simple(pattern, (*error)->message)) {
        g_error("message '%s' is not like '%s'", (*error)->message, pattern);
    }
    g_clear_error(error);
}

BlobStore *test_open(TestDisk *disk)
{
    g_autoptr(GError) error = NULL;
    BlobStore *store = blob_store_open(disk->storage, NULL, &error);

    g_assert_no_error(error);
    g_assert_nonnull(store);
    return store;
}

void test_open_fails(TestDisk *disk, const BlobStoreOptions *options,
                     BlobStoreError code, const char *pattern)
{
    GError *error = NULL;
    g_autofree uint8_t *before = g_memdup2(test_disk_bytes(disk),
                                           test_disk_length(disk));

    g_assert_null(blob_store_open(disk->storage, options, &error));
    test_assert_error(&error, code, pattern);
    g_assert_cmpmem(before, test_disk_length(disk), test_disk_bytes(disk),
                    test_disk_length(disk));
}

Blob *test_register(BlobStore *store, const char *name, uint64_t max_size)
{
    g_autoptr(GError) error = NULL;
    Blob *blob = blob_store_register(store, "t", name, BLOB_KIND_PERMANENT,
                                     max_size, &error);

    g_assert_no_error(error);
    g_assert_nonnull(blob);
    return blob;
}

Blob *test_register_again(BlobStore *store, const char *name,
                          uint64_t max_size)
{
    Blob *blob = blob_store_find(store, "t", name);

    if (blob) {
        blob_store_unregister(store, blob);
    }
    return test_register(store, name, max_size);
}

uint64_t test_required_bytes(unsigned count, uint64_t max_size)
{
    g_autoptr(TestDisk) disk = test_disk_new(0);
    g_autoptr(BlobStore) store = test_open(disk);

    for (unsigned i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);

        test_register(store, name, max_size);
    }
    return blob_store_required_bytes(store);
}

void test_start(BlobStore *store)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_start(store, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

void test_start_fails(BlobStore *store, BlobStoreError code,
                      const char *pattern)
{
    GError *error = NULL;

    g_assert_false(blob_store_start(store, &error));
    test_assert_error(&error, code, pattern);
}

static GBytes *bytes_of(const char *text)
{
    return text ? g_bytes_new(text, strlen(text)) : NULL;
}

static bool try_write(BlobStore *store, Blob *blob, const char *text,
                      GError **error)
{
    g_autoptr(GBytes) content = bytes_of(text);
    BlobChange change = { blob, content };

    return blob_store_write(store, &change, 1, error);
}

void test_write(BlobStore *store, Blob *blob, const char *text)
{
    g_autoptr(GError) error = NULL;
    bool ok = try_write(store, blob, text, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

void test_write2(BlobStore *store, Blob *a, const char *text_a, Blob *b,
                 const char *text_b)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) content_a = bytes_of(text_a);
    g_autoptr(GBytes) content_b = bytes_of(text_b);
    BlobChange changes[] = { { a, content_a }, { b, content_b } };
    bool ok = blob_store_write(store, changes, 2, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

void test_write_fails(BlobStore *store, Blob *blob, const char *text,
                      BlobStoreError code, const char *pattern)
{
    GError *error = NULL;

    g_assert_false(try_write(store, blob, text, &error));
    test_assert_error(&error, code, pattern);
}

char *test_read(BlobStore *store, Blob *blob, GError **error)
{
    g_autoptr(GBytes) content = NULL;
    gsize bytes;
    const char *data;

    if (!blob_store_read(store, blob, &content, NULL, error) || !content) {
        return NULL;
    }
    data = g_bytes_get_data(content, &bytes);
    return g_strndup(bytes ? data : "", bytes);
}

void test_expect(BlobStore *store, Blob *blob, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *found = test_read(store, blob, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(found, ==, text);
}

void test_expect_damaged(BlobStore *store, Blob *blob)
{
    GError *error = NULL;
    BlobInfo info;

    g_assert_null(test_read(store, blob, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_DAMAGED,
                      "blob 't/?' is damaged: *slot at offset *");
    blob_get_info(blob, &info);
    g_assert_nonnull(info.damage);
}

void test_close(BlobStore *store)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_close_clean(store, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

void test_start_with(BlobStore *store, Blob **blobs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[] = { 'a' + i, '\0' };
        Blob *blob = test_register(store, name, 1000);

        if (blobs) {
            blobs[i] = blob;
        }
    }
    test_start(store);
}

BlobStore *test_store(TestDisk *disk, Blob **blobs, unsigned count)
{
    BlobStore *store = test_open(disk);

    test_start_with(store, blobs, count);
    return store;
}

static GBytes *read_pair(TestDisk *disk, const BlobGuard *guard,
                         BlobPair *pair, BlobHeader *header)
{
    BlobMedium medium = { .storage = disk->storage };
    GBytes *payload = NULL;

    g_assert_true(blob_pair_read(&medium, guard, pair, header, &payload,
                                 NULL));
    g_assert_nonnull(payload);
    return payload;
}

void test_edit_directory(TestDisk *disk, TestEditDirectory *edit)
{
    g_autoptr(BlobGuard) zero = blob_guard_new_plain(NULL);
    g_autoptr(BlobGuard) guard = NULL;
    BlobMedium medium = { .storage = disk->storage };
    BlobPair supers = blob_superblock_pair();
    BlobHeader header;
    BlobSuperblock super;
    g_auto(BlobDirectory) directory = { 0 };
    g_autoptr(GBytes) super_payload = read_pair(disk, zero, &supers, &header);
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) edited = NULL;
    BlobPair pair = { .id = BLOB_ID_DIRECTORY };

    g_assert_true(blob_layout_decode_superblock(
        g_bytes_get_data(super_payload, NULL),
        g_bytes_get_size(super_payload), &super, NULL));
    pair.offset = super.directory_offset;
    pair.slot_bytes = super.directory_slot_bytes;
    guard = sealed_key()
            ? blob_guard_new_sealed(sealed_key(), super.uuid, NULL)
            : blob_guard_new_plain(super.seed);
    payload = read_pair(disk, guard, &pair, &header);
    g_assert_true(blob_layout_decode_directory(payload, &super, guard->seal,
                                               &directory, NULL));
    edit(&directory);
    edited = blob_layout_encode_directory(&directory, NULL);
    header.raw_bytes = g_bytes_get_size(edited);
    g_assert_true(blob_pair_write(&medium, guard, &pair, &header, edited,
                                  NULL));
}

/* The superblock that test_edit_superblock() has written */
static BlobSuperblock named;

static void name_superblock(BlobDirectory *directory)
{
    if (directory->superblock_generation == named.generation) {
        memcpy(directory->superblock_digest, named.digest,
               sizeof(directory->superblock_digest));
    }
}

void test_edit_superblock(TestDisk *disk, TestEditSuper *edit)
{
    g_autoptr(BlobGuard) guard = blob_guard_new_plain(NULL);
    g_autoptr(BlobDigest) keyed = NULL;
    BlobMedium medium = { .storage = disk->storage };
    BlobPair pair = blob_superblock_pair();
    BlobHeader header;
    BlobSuperblock super;
    g_autoptr(GBytes) payload = read_pair(disk, guard, &pair, &header);
    g_autoptr(GBytes) edited = NULL;
    uint8_t *bytes = g_malloc(BLOB_SUPERBLOCK_BYTES);

    g_assert_true(blob_layout_decode_superblock(
        g_bytes_get_data(payload, NULL), g_bytes_get_size(payload), &super,
        NULL));
    edit(&super, &header);
    memcpy(super.epoch_id, test_disk_bytes(disk) + BLOB_DIRECTORY_OFFSET + 16,
           sizeof(super.epoch_id));
    if (sealed_key()) {
        keyed = blob_key_new_digest(sealed_key(), BLOB_KEY_FOR_SUPERBLOCK,
                                    super.uuid, NULL);
    }
    blob_layout_encode_superblock(&super, keyed, bytes);
    edited = g_bytes_new_take(bytes, BLOB_SUPERBLOCK_BYTES);
    g_assert_true(blob_pair_write(&medium, guard, &pair, &header, edited,
                                  NULL));
    if (blob_layout_decode_superblock(bytes, BLOB_SUPERBLOCK_BYTES, &named,
                                      NULL)) {
        test_edit_directory(disk, name_superblock);
    }
}

uint8_t *test_slot(TestDisk *disk, const Blob *blob, unsigned n)
{
    return test_disk_bytes(disk) + blob_slot_of(blob, n).offset;
}

uint64_t test_slot_image(const Blob *blob)
{
    return blob_layout_image_bytes(blob->entry.stored_bytes);
}

void test_note_finding(const BlobFinding *finding, void *opaque)
{
    static const char *const kinds[] = { "superblock", "key slot", "directory",
                                         "damaged", "newer", "leak" };
    BlobInfo info = { .owner = "-", .name = "-" };

    g_assert_cmpuint(finding->bytes, >, 0);
    g_assert_nonnull(finding->text);
    if (finding->blob) {
        blob_get_info(finding->blob, &info);
    }
    g_string_append_printf(opaque, "%s %s/%s %" G_GUINT64_FORMAT "%s\n",
                           kinds[finding->kind], info.owner, info.name,
                           finding->offset,
                           finding->heals ? " heals" : "");
}

void test_expect_findings(BlobStore *store, const char *expected)
{
    g_autoptr(GString) found = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(blob_store_check(store, test_note_finding, found, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(found->str, ==, expected);
}

BlobStore *test_reopened_store(TestDisk *disk)
{
    Blob *blobs[2];
    BlobStore *store = test_store(disk, blobs, 2);

    test_write2(store, blobs[0], "old a", blobs[1], "old b");
    test_write2(store, blobs[0], "new a", blobs[1], "new b");
    test_close(store);
    blob_store_free(store);
    return test_open(disk);
}

void test_garble_current(TestDisk *disk, BlobStore *store, const char *name)
{
    Blob *blob = blob_store_find(store, "t", name);

    test_slot(disk, blob, blob->entry.slot)[BLOB_HEADER_BYTES] ^= 1;
}
