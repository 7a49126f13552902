/*
 * Unit tests of the core: sealed stores
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DISK_BYTES = 192 << 10 };

static void test_nothing_can_be_read_without_the_key(void)
{
    static const char *const metadata[] = { "colour=ultraviolet", NULL };
    static const char content[] = "sensitive content";
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 0);
    Blob *blob = blob_store_register(store, "secretive-owner", "secret-name",
                                     BLOB_KIND_PERMANENT, 1000, NULL);
    g_autoptr(GBytes) bytes = g_bytes_new_static(content, sizeof(content));
    BlobChange change = { blob, bytes, metadata };

    test_start(store);
    g_assert_true(blob_store_write(store, &change, 1, NULL));
    g_assert_true(blob_store_close_clean(store, NULL));
    g_assert_false(keys_disk_contains(disk, "sensitive"));
    g_assert_false(keys_disk_contains(disk, "ultraviolet"));
    g_assert_false(keys_disk_contains(disk, "colour"));
    g_assert_false(keys_disk_contains(disk, "secretive"));
    g_assert_false(keys_disk_contains(disk, "secret-name"));
    g_clear_pointer(&store, blob_store_free);
    keys_open_fails(disk, -1, BLOBSTORE_ERROR_KEY,
                    "store is encrypted (key slots in use: 1) and no key*");
    keys_open_fails(disk, 2, BLOBSTORE_ERROR_KEY, "the key is wrong*");
    store = keys_open(disk, 1);
    g_assert_nonnull(blob_store_find(store, "secretive-owner",
                                     "secret-name"));
}

static void test_key_for_a_plain_store_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobStoreOptions options = { .key = keys_data_key(1) };
    BlobStoreLabel label;

    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "*blank*wants key slots");
    g_assert_true(blob_store_read_label(disk->storage, &label, NULL));
    g_assert_true(label.blank && !label.sealed);
    blob_store_free(test_store(disk, NULL, 1));
    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "*not encrypted, but a key was given*");
    g_assert_true(blob_store_read_label(disk->storage, &label, NULL));
    g_assert_false(label.blank || label.sealed);
    g_assert_false(blob_store_label_fits(&label, keys_data_key(1)));
}

static void test_another_data_key_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    BlobStoreOptions options = { .key = keys_data_key(2) };
    BlobStoreLabel label;

    blob_store_free(keys_store(disk, NULL, 1));
    test_open_fails(disk, &options, BLOBSTORE_ERROR_TAMPERED,
                    "superblock was not written with the key*");
    g_assert_true(blob_store_read_label(disk->storage, &label, NULL));
    g_assert_true(label.sealed);
    g_assert_true(blob_store_label_fits(&label, keys_data_key(1)));
    g_assert_false(blob_store_label_fits(&label, keys_data_key(2)));
}

/*
 * S6: the directory opens under this key, but says that it belongs to another.
 */
static void test_directory_of_another_key_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobPair *pair = &store->directory_pair;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) changed = NULL;
    uint8_t *bytes;
    gsize count;

    g_assert_true(blob_pair_read(&store->medium, store->guard, pair, &header,
                                 &payload, NULL));
    bytes = g_bytes_unref_to_data(g_steal_pointer(&payload), &count);
    bytes[56] ^= 1;             /* of the key commitment */
    changed = g_bytes_new_take(bytes, count);
    g_assert_true(blob_pair_write(&store->medium, store->guard, pair, &header,
                                  changed, NULL));
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_TAMPERED,
                    "directory was made for another key");
}

/* The role of one bit of a sealed blob's slot, and the effect of changing it */
static void test_any_changed_bit_of_a_slot_is_found(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    uint8_t *slot;
    uint64_t bytes;

    test_write(store, blob, "short");
    test_close(store);
    slot = test_slot(disk, blob, blob->entry.slot);
    bytes = test_slot_image(blob);
    for (uint64_t bit = 0; bit < 8 * bytes; bit++) {
        bool matters = bit / 8 < BLOB_HEADER_BYTES + 5 ||
                       bit / 8 >= bytes - BLOB_HEADER_BYTES;
        g_autoptr(GError) error = NULL;
        g_autofree char *found = NULL;

        slot[bit / 8] ^= 1 << bit % 8;
        found = test_read(store, blob, &error);
        g_assert_cmpint(found != NULL, ==, !matters);
        g_clear_pointer(&blob->damage, g_free);
        slot[bit / 8] ^= 1 << bit % 8;
    }
    test_expect(store, blob, "short");
}

/* Changes, one after the other, what a sealed payload is bound to. */
static void change_place(unsigned what, BlobEntry *entry, BlobHeader *header)
{
    switch (what) {
    case 0:
        entry->name[0] ^= 1;
        break;
    case 1:
        entry->owner[0] ^= 1;
        break;
    case 2:
        entry->kind = BLOB_KIND_SAVESTATE;
        break;
    case 3:
        header->id++;
        break;
    case 4:
        header->sequence++;
        break;
    case 5:
        header->previous++;
        break;
    case 6:
        header->epoch_id[3] ^= 1;
        break;
    case 7:
        header->watermark++;
        break;
    case 8:
        header->census[0] ^= 1;
        break;
    default:
        header->metadata_bytes++;
        break;
    }
}

/*
 * The payload moves to the other slot of the same blob, to the same slot of
 * another blob, or to that of another store under the same key.  It moves as
 * it is, or through somebody who can make check values but not seal.
 */
static void test_sealed_payload_is_bound_to_its_place(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = keys_store(disk, blobs, 2);
    BlobSlot to;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    BlobEntry renamed;
    BlobHeader changed;
    GBytes *out = NULL;

    test_write(store, blobs[0], "content");
    g_assert_true(blob_version_load(store, blobs[0], &header, &payload,
                                    NULL));
    to = blob_slot_of(blobs[0], blobs[0]->entry.slot);
    g_assert_true(blob_slot_read(&store->medium, store->guard, &to, &header,
                                 &out, NULL));
    g_assert_nonnull(out);
    g_clear_pointer(&out, g_bytes_unref);
    for (unsigned what = 0; what < 10; what++) {
        renamed = blobs[0]->entry;
        changed = header;
        to.entry = &renamed;
        change_place(what, &renamed, &changed);
        g_assert_true(blob_slot_read(&store->medium, store->guard, &to,
                                     &changed, &out, NULL));
        g_assert_null(out);
    }
    memset(store->guard->uuid, 0, sizeof(store->guard->uuid));
    to.entry = &blobs[0]->entry;
    g_assert_true(blob_slot_read(&store->medium, store->guard, &to, &header,
                                 &out, NULL));
    g_assert_null(out);
}

/* S1 */
static void test_unsealed_slot_is_no_slot_of_a_sealed_store(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    BlobGuard unsealed = *store->guard;
    BlobSlot slot;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    test_write(store, blob, "content");
    g_assert_true(blob_version_load(store, blob, &header, &payload, NULL));
    slot = blob_slot_of(blob, blob->entry.slot);
    /* The slot is refused even with the right check value. */
    unsealed.seal = NULL;
    g_assert_true(blob_slot_write(&store->medium, &unsealed, &slot, &header,
                                  payload, true, NULL));
    test_expect_damaged(store, blob);
}

/* Commits in a process of its own, which reports the header that it wrote. */
static void write_in_child(BlobStore *store, Blob *blob, BlobHeader *header)
{
    g_autoptr(GBytes) payload = NULL;
    int ends[2];
    int status;
    pid_t child;

    g_assert_cmpint(pipe(ends), ==, 0);
    child = fork();
    if (!child) {
        test_write(store, blob, "the same in both");
        g_assert_true(blob_version_load(store, blob, header, &payload, NULL));
        _exit(write(ends[1], header, sizeof(*header)) != sizeof(*header));
    }
    g_assert_cmpint(child, >, 0);
    close(ends[1]);
    g_assert_cmpint(read(ends[0], header, sizeof(*header)), ==,
                    sizeof(*header));
    close(ends[0]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
}

/* Both processes continue from one state, down to libgcrypt's memory. */
static void test_two_processes_draw_different_nonces(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    BlobHeader headers[2];

    test_write(store, blob, "content");
    write_in_child(store, blob, &headers[0]);
    write_in_child(store, blob, &headers[1]);
    g_assert_cmpuint(headers[0].sequence, ==, headers[1].sequence);
    g_assert_cmpmem(headers[0].epoch_id, sizeof(headers[0].epoch_id),
                    headers[1].epoch_id, sizeof(headers[1].epoch_id));
    g_assert_true(memcmp(blob_header_nonce(&headers[0]),
                         blob_header_nonce(&headers[1]), BLOB_NONCE_BYTES));
}

/* S9 */
static void test_one_key_seals_so_much_and_no_more(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = keys_store(disk, blobs, 2);
    BlobStoreStatus info;
    BlobKeySlots slots = { 0 };

    store->sealings = BLOB_SEALINGS_MAX - 1;
    test_write(store, blobs[0], "the last one");
    test_write_fails(store, blobs[0], "one more", BLOBSTORE_ERROR_EXHAUSTED,
                     "*change the key*");
    test_close(store);
    store = keys_reopen(g_steal_pointer(&store), disk, 1);
    blobs[0] = test_register(store, "a", 1000);
    test_start(store);
    test_write_fails(store, blobs[0], "one more", BLOBSTORE_ERROR_EXHAUSTED,
                     "*change the key*");
    test_expect(store, blobs[0], "the last one");
    blob_store_get_status(store, &info);
    keys_put_raw(&slots, 2, keys_data_key(2), info.uuid);
    g_assert_true(blob_store_convert(store, keys_data_key(2), &slots, NULL));
    test_write(store, blobs[0], "under another key");
    blob_store_get_status(store, &info);
    g_assert_cmpuint(info.sealings, <, 100);
}

/* The seals of an epoch that was not closed are counted, too. */
static void test_sealings_are_counted_across_crashes(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    BlobStoreStatus before;
    BlobStoreStatus after;

    for (int i = 0; i < 10; i++) {
        test_write(store, blob, "content");
    }
    blob_store_get_status(store, &before);
    store = keys_reopen(g_steal_pointer(&store), disk, 1);
    blob_store_get_status(store, &after);
    g_assert_cmpuint(after.sealings, >=, before.sealings);
    g_assert_cmpuint(after.sealings, <, before.sealings + 100);
    /* Both copies of the directory are sealed. */
    before = after;
    test_start(store);
    blob_store_get_status(store, &after);
    g_assert_cmpuint(after.sealings, ==, before.sealings + 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/sealed/" #name, test_##name)
    ADD(nothing_can_be_read_without_the_key);
    ADD(key_for_a_plain_store_is_refused);
    ADD(another_data_key_is_refused);
    ADD(directory_of_another_key_is_refused);
    ADD(any_changed_bit_of_a_slot_is_found);
    ADD(sealed_payload_is_bound_to_its_place);
    ADD(unsealed_slot_is_no_slot_of_a_sealed_store);
    ADD(two_processes_draw_different_nonces);
    ADD(one_key_seals_so_much_and_no_more);
    ADD(sealings_are_counted_across_crashes);
    return g_test_run();
}
