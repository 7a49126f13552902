/*
 * Unit tests of the core: sealed stores and the slots with their key
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keys.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DISK_BYTES = 192 << 10 };

static BlobStore *reopen(BlobStore *store, TestDisk *disk, int n)
{
    blob_store_free(store);
    return keys_open(disk, n);
}

static void set_slots(BlobStore *store, const BlobKeySlots *slots)
{
    g_autoptr(GError) error = NULL;

    blob_store_set_key_slots(store, keys_data_key(1), slots, &error);
    g_assert_no_error(error);
}

static void add_slot(BlobStore *store, unsigned n)
{
    BlobKeySlots slots;
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    blob_store_get_key_slots(store, &slots);
    keys_put_raw(&slots, n, keys_data_key(1), info.uuid);
    set_slots(store, &slots);
}

static void remove_slot(BlobStore *store, unsigned n)
{
    BlobKeySlots slots;

    blob_store_get_key_slots(store, &slots);
    g_assert_true(blob_key_slots_remove(&slots, n, NULL));
    set_slots(store, &slots);
}

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
    g_assert_true(blob_store_read_label(&disk->parent, &label, NULL));
    g_assert_true(label.blank && !label.sealed);
    blob_store_free(test_store(disk, NULL, 1));
    test_open_fails(disk, &options, BLOBSTORE_ERROR_KEY,
                    "*not encrypted, but a key was given*");
    g_assert_true(blob_store_read_label(&disk->parent, &label, NULL));
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
    g_assert_true(blob_store_read_label(&disk->parent, &label, NULL));
    g_assert_true(label.sealed);
    g_assert_true(blob_store_label_fits(&label, keys_data_key(1)));
    g_assert_false(blob_store_label_fits(&label, keys_data_key(2)));
}

static void test_slots_are_added_and_removed_without_rewriting_blobs(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blobs[2];
    g_autoptr(BlobStore) store = keys_store(disk, blobs, 2);
    uint64_t at = blobs[0]->entry.offset;
    g_autofree uint8_t *before = NULL;
    BlobStoreStatus info;

    test_write(store, blobs[0], "kept");
    before = g_memdup2(test_disk_bytes(disk) + at, DISK_BYTES - at);
    add_slot(store, 4);
    remove_slot(store, 1);
    blob_store_get_status(store, &info);
    g_assert_cmpuint(info.key_slots, ==, 1);
    g_assert_cmpmem(test_disk_bytes(disk) + at, DISK_BYTES - at, before,
                    DISK_BYTES - at);
    test_write(store, blobs[1], "written with another slot");
    g_clear_pointer(&store, blob_store_free);
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_KEY, "the key is wrong*");
    store = keys_open(disk, 4);
    test_expect(store, blob_store_find(store, "t", "a"), "kept");
    test_expect(store, blob_store_find(store, "t", "b"),
                "written with another slot");
}

static void test_slots_of_a_plain_store_another_key_or_none_are_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) plain = test_store(disk, NULL, 1);
    g_autoptr(TestDisk) sealed_disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) sealed = keys_store(sealed_disk, NULL, 1);
    const BlobKey *key = keys_data_key(1);
    BlobKeySlots slots = { 0 };
    GError *error = NULL;

    g_assert_false(blob_store_set_key_slots(sealed, key, &slots, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "no key slot would be*");
    blob_store_get_key_slots(sealed, &slots);
    g_assert_false(blob_store_set_key_slots(sealed, keys_data_key(2), &slots,
                                            &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "the data key*changed*");
    g_assert_false(blob_store_set_key_slots(plain, key, &slots, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "store is not encrypted");
    sealed = reopen(g_steal_pointer(&sealed), sealed_disk, 1);
    g_assert_false(blob_store_set_key_slots(sealed, key, &slots, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_READ_ONLY, "*not started*");
}

/*
 * Slot 1 is used before, 1 and 4 in between, 4 afterwards: one of them always
 * opens.
 */
static void check_key_change(TestDisk *crashed, unsigned events, void *opaque)
{
    g_autoptr(BlobStore) store = keys_try_open(crashed, 1, NULL);
    Blob *blob;

    if (!store) {
        store = keys_open(crashed, 4);
    }
    test_expect(store, blob_store_find(store, "t", "a"), "kept");
    blob = test_register(store, "a", 1000);
    test_start(store);
    test_write(store, blob, "changed");
}

static void test_change_of_slots_survives_power_loss_everywhere(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);

    test_write(store, blob, "kept");
    test_disk_record(disk);
    add_slot(store, 4);
    remove_slot(store, 1);
    test_disk_each_crash(disk, check_key_change, NULL);
}

static void fail_key_change(unsigned how, int after, bool *failed)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    Blob *blob;
    g_autoptr(BlobStore) store = keys_store(disk, &blob, 1);
    BlobKeySlots slots;
    BlobStoreStatus info;
    GError *error = NULL;

    test_write(store, blob, "kept");
    blob_store_get_status(store, &info);
    blob_store_get_key_slots(store, &slots);
    keys_put_raw(&slots, 4, keys_data_key(1), info.uuid);
    disk->failing_write_lands = how & 1;
    disk->failing_write_is_late = how & 2;
    disk->fail_write = after;
    *failed = !blob_store_set_key_slots(store, keys_data_key(1), &slots,
                                        &error);
    disk->fail_write = TEST_NEVER;
    if (!*failed) {
        return;
    }
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*failed as told");
    test_write(store, blob, "written after the failure");
    if (how & 4) {
        /* The next start settles the state of the medium. */
        test_start(store);
        blob_store_get_status(store, &info);
        store = reopen(g_steal_pointer(&store), disk,
                       info.key_slots == 2 ? 4 : 1);
    } else {
        set_slots(store, &slots);
        store = reopen(g_steal_pointer(&store), disk, 4);
    }
    test_expect(store, blob_store_find(store, "t", "a"),
                "written after the failure");
    store = reopen(g_steal_pointer(&store), disk, 1);
    test_register(store, "a", 1000);
    test_start(store);
}

static void test_change_of_slots_that_fails_can_be_repeated(void)
{
    for (unsigned how = 0; how < 8; how++) {
        bool failed = true;

        for (int after = 0; failed; after++) {
            fail_key_change(how, after, &failed);
        }
    }
}

static void fail_to_add_slot(BlobStore *store, TestDisk *disk, unsigned n)
{
    BlobKeySlots slots;
    BlobStoreStatus info;
    GError *error = NULL;

    blob_store_get_status(store, &info);
    blob_store_get_key_slots(store, &slots);
    keys_put_raw(&slots, n, keys_data_key(1), info.uuid);
    disk->fail_write = 1;
    g_assert_false(blob_store_set_key_slots(store, keys_data_key(1), &slots,
                                            &error));
    test_assert_error(&error, BLOBSTORE_ERROR_IO, "*failed as told");
    disk->fail_write = TEST_NEVER;
}

/* S5: each change has left one copy of the superblock. */
static void test_changes_that_fail_are_told_apart(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobPair pair = store->super_pair;
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    fail_to_add_slot(store, disk, 4);
    fail_to_add_slot(store, disk, 5);
    g_assert_true(blob_pair_read(&store->medium, store->zero_guard, &pair,
                                 &header, &payload, NULL));
    g_assert_true(pair.intact[0] && pair.intact[1]);
    g_assert_cmpuint(pair.sequence[0], !=, pair.sequence[1]);
    store = reopen(g_steal_pointer(&store), disk, 5);
    test_start(store);
    keys_open_fails(disk, 4, BLOBSTORE_ERROR_KEY, "the key is wrong*");
}

/*
 * R1, S5: otherwise the removed key slot would open the store under a lower
 * number.
 */
static void test_generation_does_not_wrap(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = NULL;
    Blob *blobs[1];
    BlobKeySlots slots;
    GError *error = NULL;

    store = keys_store(disk, blobs, 1);
    store->generation = BLOB_GENERATION_MAX - 1;
    add_slot(store, 4);
    blob_store_get_key_slots(store, &slots);
    memset(slots.bytes[1], 0, BLOB_KEY_SLOT_BYTES);
    g_assert_false(blob_store_set_key_slots(store, keys_data_key(1), &slots,
                                            &error));
    test_assert_error(&error, BLOBSTORE_ERROR_EXHAUSTED,
                      "*last superblock generation*");
    test_write(store, blobs[0], "goes on");
    store = reopen(g_steal_pointer(&store), disk, 4);
    test_expect(store, blob_store_find(store, "t", "a"), "goes on");
}

/* R1: a conversion needs as many generations as it may use up. */
static void test_conversion_begins_with_generations_to_spare(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    const BlobKeySlots none = { 0 };
    GError *error = NULL;

    store->generation = BLOB_GENERATION_MAX - BLOB_GENERATION_RESERVE + 1;
    g_assert_false(blob_store_convert(store, NULL, &none, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_EXHAUSTED,
                      "*too few superblock generations*");
    store->generation--;
    g_assert_true(blob_store_convert(store, NULL, &none, NULL));
}

/* An image with the old superblock would open with a removed key. */
static void test_superblock_with_a_removed_slot_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    g_autofree uint8_t *before = NULL;

    add_slot(store, 4);
    before = g_memdup2(test_disk_bytes(disk), BLOB_DIRECTORY_OFFSET);
    remove_slot(store, 1);
    memcpy(test_disk_bytes(disk), before, BLOB_DIRECTORY_OFFSET);
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_STALE,
                    "superblock*is older than the directory*");
}

static void test_slot_put_back_under_the_present_generation_is_refused(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobSuperblock super;
    BlobKeySlots before;
    uint8_t *bytes = g_malloc(BLOB_SUPERBLOCK_BYTES);
    g_autoptr(GBytes) payload = g_bytes_new_take(bytes, BLOB_SUPERBLOCK_BYTES);
    BlobHeader header = { .raw_bytes = BLOB_SUPERBLOCK_BYTES };

    add_slot(store, 4);
    blob_store_get_key_slots(store, &before);
    remove_slot(store, 1);
    super = store->super;
    super.key_slots = before;
    header.sequence = super.generation;
    blob_layout_encode_superblock(&super, NULL, bytes);
    g_assert_true(blob_pair_write(&store->medium, store->zero_guard,
                                  &store->super_pair, &header, payload,
                                  NULL));
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_TAMPERED,
                    "superblock was not written with the key*");
    keys_open_fails(disk, 4, BLOBSTORE_ERROR_TAMPERED,
                    "superblock was not written with the key*");
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

static uint8_t *key_slot_at(TestDisk *disk, unsigned copy, unsigned n)
{
    return test_disk_bytes(disk) + copy * BLOB_SUPERBLOCK_SLOT_BYTES +
           BLOB_HEADER_BYTES + BLOB_SUPERBLOCK_HEAD_BYTES +
           n * BLOB_KEY_SLOT_BYTES;
}

static void test_key_slot_damaged_in_one_copy_is_healed(void)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
        g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);

        key_slot_at(disk, copy, 1)[520] ^= 1;
        store = reopen(g_steal_pointer(&store), disk, 1);
        g_assert_nonnull(strstr(blob_store_warnings(store)[0],
                                "superblock copy at offset"));
        test_register(store, "a", 1000);
        test_start(store);
        key_slot_at(disk, !copy, 1)[520] ^= 1;
        store = reopen(g_steal_pointer(&store), disk, 1);
    }
}

/*
 * One slot is damaged in both copies: the others open, and a new one can take
 * its place.
 */
static void test_key_slot_damaged_in_both_copies_costs_no_other(void)
{
    g_autoptr(TestDisk) disk = test_disk_new(DISK_BYTES);
    g_autoptr(BlobStore) store = keys_store(disk, NULL, 1);
    BlobStoreStatus info;

    add_slot(store, 4);
    key_slot_at(disk, 0, 1)[520] ^= 1;
    key_slot_at(disk, 1, 1)[521] ^= 1;
    /* The other slots are damaged in one copy each. */
    key_slot_at(disk, 0, 4)[520] ^= 1;
    g_clear_pointer(&store, blob_store_free);
    keys_open_fails(disk, 1, BLOBSTORE_ERROR_KEY,
                    "the key is wrong*tried: 4; damaged: 1");
    store = keys_open(disk, 4);
    g_assert_nonnull(strstr(blob_store_warnings(store)[2],
                            "key slot 1 is damaged"));
    test_register(store, "a", 1000);
    test_start(store);
    store = reopen(g_steal_pointer(&store), disk, 4);
    blob_store_get_status(store, &info);
    g_assert_cmpuint(info.key_slots, ==, 2);
    g_assert_true(blob_pair_is_whole(&store->super_pair));
    test_register(store, "a", 1000);
    test_start(store);
    add_slot(store, 1);
    store = reopen(g_steal_pointer(&store), disk, 1);
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
    store = reopen(g_steal_pointer(&store), disk, 1);
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
    store = reopen(g_steal_pointer(&store), disk, 1);
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
    ADD(slots_are_added_and_removed_without_rewriting_blobs);
    ADD(slots_of_a_plain_store_another_key_or_none_are_refused);
    ADD(change_of_slots_survives_power_loss_everywhere);
    ADD(change_of_slots_that_fails_can_be_repeated);
    ADD(changes_that_fail_are_told_apart);
    ADD(superblock_with_a_removed_slot_is_refused);
    ADD(generation_does_not_wrap);
    ADD(conversion_begins_with_generations_to_spare);
    ADD(slot_put_back_under_the_present_generation_is_refused);
    ADD(directory_of_another_key_is_refused);
    ADD(key_slot_damaged_in_one_copy_is_healed);
    ADD(key_slot_damaged_in_both_copies_costs_no_other);
    ADD(any_changed_bit_of_a_slot_is_found);
    ADD(sealed_payload_is_bound_to_its_place);
    ADD(unsealed_slot_is_no_slot_of_a_sealed_store);
    ADD(two_processes_draw_different_nonces);
    ADD(one_key_seals_so_much_and_no_more);
    ADD(sealings_are_counted_across_crashes);
    return g_test_run();
}
