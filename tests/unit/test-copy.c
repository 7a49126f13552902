/*
 * Unit tests of the core: copying a whole store to a blank medium
 *
 * What a power failure leaves of a copy is tested in tests/crash/jobs.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/copy.h"
#include "hooked.h"
#include "keys.h"

#include <string.h>

static const char *const metadata[] = { "key=value", "other=one", NULL };

/*
 * Returns a store with a, written together with b, and a large one; c is
 * deleted, and d was never written.  Another one has left a hole before them.
 */
static BlobStore *make_source(TestDisk *disk, int key)
{
    Blob *blobs[4];
    Blob *large;
    BlobStore *store = key < 0 ? test_store(disk, blobs, 4)
                               : keys_store(disk, blobs, 4);
    g_autofree char *text = g_strnfill(20000, 'l');
    g_autoptr(GBytes) content = g_bytes_new_static("with metadata", 13);
    BlobChange change = { blobs[0], content, metadata };

    test_write(store, blobs[2], "deleted");
    test_write(store, blobs[2], NULL);
    test_write2(store, blobs[0], "older", blobs[1], "secret of b");
    g_assert_true(blob_store_write(store, &change, 1, NULL));
    large = test_register(store, "large", 20000);
    test_start(store);
    test_write(store, large, text);
    return store;
}

static void expect_content(BlobStore *store)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) found = NULL;
    g_autofree char *text = g_strnfill(20000, 'l');
    BlobInfo info;

    g_assert_true(blob_store_read(store, blob_store_find(store, "t", "a"),
                                  &content, &found, NULL));
    g_assert_cmpmem(g_bytes_get_data(content, NULL),
                    g_bytes_get_size(content), "with metadata", 13);
    g_assert_cmpstrv(found, metadata);
    test_expect(store, blob_store_find(store, "t", "b"), "secret of b");
    test_expect(store, blob_store_find(store, "t", "large"), text);
    g_assert_null(blob_store_find(store, "t", "c"));
    g_assert_null(blob_store_find(store, "t", "d"));
    blob_get_info(blob_store_find(store, "t", "large"), &info);
    g_assert_cmpuint(info.max_size, ==, 20000);
    g_assert_cmpuint(info.kind, ==, BLOB_KIND_PERMANENT);
}

static uint64_t sequence_of(BlobStore *store, const char *name)
{
    BlobInfo info;

    blob_get_info(blob_store_find(store, "t", name), &info);
    return info.sequence;
}

/* A target that becomes the same store, or with @is_new another one */
static BlobStore *open_target(TestDisk *disk, const BlobStore *source,
                              bool is_new)
{
    BlobStoreOptions options = {
        .uuid = is_new ? NULL : source->super.uuid,
        .create_as_uuid = !is_new,
        .key = source->key,
        .key_slots = &source->super.key_slots,
    };
    g_autoptr(GError) error = NULL;
    BlobStore *target = blob_store_open(disk->storage, &options, &error);

    g_assert_no_error(error);
    return target;
}

static void copy(BlobStore *source, BlobStore *target)
{
    g_autoptr(GError) error = NULL;
    bool ok = blob_store_copy(source, target, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

static void copy_fails(BlobStore *source, BlobStore *target,
                       BlobStoreError code, const char *pattern)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(blob_store_copy(source, target, &error));
    test_assert_error(&error, code, pattern);
}

/* The source stays as it is, byte for byte. */
static void test_copy_is_the_same_store(void)
{
    for (int key = -1; key < 2; key += 2) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) source = make_source(disk, key);
        g_autoptr(BlobStore) target = open_target(other, source, false);
        g_autofree uint8_t *before = g_memdup2(test_disk_bytes(disk),
                                               TEST_DISK_BYTES);
        BlobStoreStatus info;
        BlobStoreStatus copied;

        copy(source, target);
        expect_content(target);
        target = keys_reopen(g_steal_pointer(&target), other, key);
        expect_content(target);
        blob_store_get_status(source, &info);
        blob_store_get_status(target, &copied);
        g_assert_cmpmem(info.uuid, BLOB_UUID_BYTES, copied.uuid,
                        BLOB_UUID_BYTES);
        g_assert_true(copied.clean);
        g_assert_cmpuint(copied.sequence, >, info.sequence);
        g_assert_cmpuint(copied.key_slots, ==, info.key_slots);
        g_assert_cmpuint(target->super.generation, >,
                         source->super.generation);
        g_assert_true(!info.sealed || copied.sealings > info.sealings);
        g_assert_cmpuint(sequence_of(target, "a"), ==,
                         sequence_of(source, "a"));
        g_assert_cmpstr(blob_store_warnings(target)[0], ==, NULL);
        g_assert_cmpmem(before, TEST_DISK_BYTES, test_disk_bytes(disk),
                        TEST_DISK_BYTES);
    }
}

/* R9: what the source's says is not of the copy, and is hidden if sealed. */
static void test_copy_has_no_census(void)
{
    static const uint8_t none[BLOB_CENSUS_BYTES];
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) source = make_source(disk, -1);
    g_autoptr(BlobStore) target = open_target(other, source, false);
    Blob *blob = blob_store_find(source, "t", "a");
    BlobHeader header;

    blob_layout_decode_header(test_slot(disk, blob, blob->entry.slot),
                              source->guard, blob->entry.id,
                              blob_slot_of(blob, blob->entry.slot).offset,
                              blob->entry.slot_bytes, &header);
    g_assert_true(memcmp(header.census, none, sizeof(none)));
    copy(source, target);
    blob = blob_store_find(target, "t", "a");
    blob_layout_decode_header(test_slot(other, blob, 0), target->guard,
                              blob->entry.id, blob_slot_of(blob, 0).offset,
                              blob->entry.slot_bytes, &header);
    g_assert_cmpmem(header.census, sizeof(none), none, sizeof(none));
}

/* It takes as much space as it says, and holes of the source are gone. */
static void test_copy_needs_what_it_says(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) source = make_source(disk, -1);
    uint64_t bytes = blob_store_copy_bytes(source);
    g_autoptr(TestDisk) other = test_disk_new(bytes - 4096);
    BlobStore *target = open_target(other, source, false);
    g_autofree char *message = g_strdup_printf(
        "medium is too small: %" G_GUINT64_FORMAT " bytes are needed*", bytes);

    g_assert_cmpuint(bytes, <, blob_store_required_bytes(source));
    copy_fails(source, target, BLOBSTORE_ERROR_TOO_SMALL, message);
    g_assert_cmpuint(other->writes, ==, 0);
    blob_store_free(target);
    test_disk_resize(other, bytes);
    target = open_target(other, source, false);
    copy(source, target);
    g_assert_cmpuint(blob_store_required_bytes(target), ==, bytes);
    blob_store_free(target);
}

static void test_copy_goes_on_from_its_source(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) source = make_source(disk, -1);
    BlobStore *target = open_target(other, source, false);
    BlobSequence sequence = { .number = source->epoch.acknowledged };
    BlobStoreOptions options = { .min_sequence = &sequence };
    g_autoptr(GError) error = NULL;

    memcpy(sequence.epoch_id, source->epoch.id, sizeof(sequence.epoch_id));
    copy(source, target);
    blob_store_free(target);
    target = blob_store_open(other->storage, &options, &error);
    g_assert_no_error(error);
    for (unsigned round = 0; round < 2; round++) {
        Blob *blob = test_register(target, "a", 1000);

        test_start(target);
        test_write(target, blob, "newer");
        blob_store_free(target);
        target = blob_store_open(other->storage, &options, &error);
        g_assert_no_error(error);
        test_expect(target, blob_store_find(target, "t", "a"), "newer");
        test_expect(target, blob_store_find(target, "t", "b"), "secret of b");
    }
    blob_store_free(target);
}

/* It is no state of the source, and nobody takes it for one. */
static void test_clone_is_another_store(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) source = make_source(disk, -1);
    g_autoptr(BlobStore) target = open_target(other, source, true);
    BlobSequence sequence = { .number = source->epoch.acknowledged };
    BlobStoreOptions pinned = { .min_sequence = &sequence };
    BlobStoreOptions same = { .uuid = source->super.uuid };

    memcpy(sequence.epoch_id, source->epoch.id, sizeof(sequence.epoch_id));
    copy(source, target);
    expect_content(target);
    test_open_fails(other, &same, BLOBSTORE_ERROR_UUID, "*was asked for*");
    test_open_fails(other, &pinned, BLOBSTORE_ERROR_ROLLED_BACK, "*");
    target = keys_reopen(g_steal_pointer(&target), other, -1);
    expect_content(target);
}

static bool make_key(const uint8_t *uuid, void *opaque, BlobKey **key,
                     BlobKeySlots *slots, GError **error)
{
    int to = *(const int *)opaque;

    if (to >= 0) {
        *key = blob_key_ref(keys_data_key(to));
        keys_put_raw(slots, to, *key, uuid);
    }
    return true;
}

/* Plain content, and a removed key, never get to the medium of the copy. */
static void test_copy_is_guarded_anew(void)
{
    static const struct {
        int from;
        int to;
    } ways[] = { { -1, 2 }, { 1, -1 }, { 1, 2 } };

    for (guint i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) source = make_source(disk, ways[i].from);
        BlobStoreOptions options = {
            .uuid = source->super.uuid,
            .create_as_uuid = true,
            .make = make_key,
            .opaque = (void *)&ways[i].to,
        };
        g_autoptr(BlobStore) target = blob_store_open(other->storage, &options,
                                                      NULL);
        bool is_plain = ways[i].to < 0;

        copy(source, target);
        g_assert_true(keys_disk_contains(other, "secret of b") == is_plain);
        if (!is_plain) {
            g_assert_cmpuint(target->sealings, <, 16);
            keys_open_fails(other, 1, BLOBSTORE_ERROR_KEY, "*");
            keys_open_fails(other, -1, BLOBSTORE_ERROR_KEY, "*");
        }
        target = keys_reopen(g_steal_pointer(&target), other, ways[i].to);
        expect_content(target);
    }
}

static void test_copy_overwrites_nothing(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) source = make_source(disk, -1);
    BlobStore *target = test_store(other, NULL, 1);
    g_autofree uint8_t *marker = NULL;

    copy_fails(source, target, BLOBSTORE_ERROR_EXISTS, "*a store already*");
    blob_store_free(target);

    /* A creation that was cut short behind its first write */
    memset(test_disk_bytes(other), 0, TEST_DISK_BYTES);
    target = open_target(other, source, false);
    other->writes = 0;
    other->fail_write = 1;
    test_start_fails(target, BLOBSTORE_ERROR_IO, "*");
    copy_fails(source, target, BLOBSTORE_ERROR_FOREIGN, "*is left of*");
    blob_store_free(target);
    other->fail_write = TEST_NEVER;
    marker = g_memdup2(test_disk_bytes(other), TEST_DISK_BYTES);
    target = open_target(other, source, false);
    copy_fails(source, target, BLOBSTORE_ERROR_FOREIGN, "*is left of*");
    blob_store_free(target);
    g_assert_cmpmem(marker, TEST_DISK_BYTES, test_disk_bytes(other),
                    TEST_DISK_BYTES);
}

static void test_copy_wants_a_whole_source(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
    BlobStore *source = make_source(disk, -1);
    BlobStoreOptions options = { .read_only = true };
    BlobStore *target = open_target(other, source, false);
    g_autoptr(TestDisk) blank = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) none = test_open(blank);
    Blob *blob = blob_store_find(source, "t", "b");

    copy_fails(none, target, BLOBSTORE_ERROR_BLANK, "source is blank*");
    test_slot(disk, blob, blob->entry.slot)[BLOB_HEADER_BYTES] ^= 1;
    for (unsigned known = 0; known < 2; known++) {
        copy_fails(source, target, BLOBSTORE_ERROR_DAMAGED,
                   "blob 't/b' is damaged*");
    }
    g_assert_cmpuint(other->writes, ==, 0);
    blob_store_free(target);
    target = blob_store_open(other->storage, &options, NULL);
    copy_fails(source, target, BLOBSTORE_ERROR_READ_ONLY, "*");
    blob_store_free(target);
    blob_store_free(source);

    /* A conversion was begun and is not ended. */
    memset(test_disk_bytes(disk), 0, TEST_DISK_BYTES);
    source = make_source(disk, 1);
    g_assert_true(blob_store_convert_begin(source, NULL, NULL, NULL));
    target = test_open(other);
    copy_fails(source, target, BLOBSTORE_ERROR_READ_ONLY,
               "store is being converted*");
    g_assert_cmpuint(other->writes, ==, 0);
    blob_store_free(target);
    blob_store_free(source);
}

/* Another user of the source writes when the target is written to. */
typedef struct Intruder {
    BlobStore *store;
    Blob *blob;
    unsigned after;             /* so many writes */
} Intruder;

static HookedVerdict intrude(void *opaque, const HookedCall *call,
                             GError **error)
{
    Intruder *intruder = opaque;

    if (call->kind == HOOKED_WRITE && !intruder->after--) {
        test_write(intruder->store, intruder->blob, "meanwhile");
    }
    return HOOKED_PASS;
}

static void test_copy_notices_another_user(void)
{
    static const Hooks hooks = { .before = intrude };

    for (unsigned after = 0; after < 5; after++) {
        g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
        g_autoptr(BlobStore) running = make_source(disk, -1);
        Intruder intruder = {
            running, blob_store_find(running, "t", "b"), after,
        };
        BlobStoreOptions options = { .read_only = true };
        g_autoptr(BlobStore) source = blob_store_open(disk->storage, &options,
                                                      NULL);
        BlobStorage *hooked = hooked_storage_new(other->memory, &hooks,
                                                 &intruder);
        BlobStoreOptions same = {
            .uuid = source->super.uuid,
            .create_as_uuid = true,
        };
        g_autoptr(BlobStore) target = blob_store_open(hooked, &same, NULL);

        /* Three blobs are written; behind them the source is looked at. */
        if (after < 3) {
            copy_fails(source, target, BLOBSTORE_ERROR_TAKEN,
                       "source was written to while it was copied*");
            test_open_fails(other, NULL, BLOBSTORE_ERROR_FOREIGN, "*");
        } else {
            copy(source, target);
            test_expect(target, blob_store_find(target, "t", "b"),
                        "secret of b");
        }
        g_clear_pointer(&target, blob_store_free);
        blob_storage_free(hooked);
    }
}

/* Each call fails in turn; until the last write there is no store. */
static void test_copy_that_fails_is_no_store(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStore) source = make_source(disk, -1);
    bool done = false;

    for (int n = 0; !done; n++) {
        g_autoptr(TestDisk) other = test_disk_new(TEST_DISK_BYTES);
        BlobStore *target = open_target(other, source, false);
        g_autoptr(GError) error = NULL;
        g_autoptr(BlobStore) found = NULL;

        g_assert_cmpint(n, <, 20);
        other->fail_write = n;
        done = blob_store_copy(source, target, &error);
        blob_store_free(target);
        g_assert_true(done || g_error_matches(error, BLOBSTORE_ERROR,
                                              BLOBSTORE_ERROR_IO));
        g_clear_error(&error);
        found = blob_store_open(other->storage, NULL, &error);
        if (done || (found && !found->blank)) {
            expect_content(found);
        } else if (n) {
            g_assert_true(!found);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/copy/" #name, test_##name)
    ADD(copy_is_the_same_store);
    ADD(copy_has_no_census);
    ADD(copy_needs_what_it_says);
    ADD(copy_goes_on_from_its_source);
    ADD(clone_is_another_store);
    ADD(copy_is_guarded_anew);
    ADD(copy_overwrites_nothing);
    ADD(copy_wants_a_whole_source);
    ADD(copy_notices_another_user);
    ADD(copy_that_fails_is_no_store);
    return g_test_run();
}
