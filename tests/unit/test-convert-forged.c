/*
 * Unit tests of the core: forgeries of somebody without the key, made from
 * images that he has seen of a conversion
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

#include <string.h>

/*
 * Makes blobs "t/a" and "t/b" with superseded versions, and "t/c", which was
 * deleted.
 */
static BlobStore *make_store(TestDisk *disk, const Way *way)
{
    Blob *blobs[4];
    BlobStore *store = conversion_store(disk, way, blobs, 4);

    test_write2(store, blobs[0], "first", blobs[1], "first");
    test_write2(store, blobs[0], "a", blobs[2], "goes");
    test_write(store, blobs[1], "b");
    test_write(store, blobs[2], NULL);
    return store;
}

/*
 * The forger copies sealed data; a superblock from before the conversion is
 * refused.
 */
static void test_superblock_of_before_is_refused(gconstpointer opaque)
{
    const Way *way = opaque;
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, way);
    g_autofree uint8_t *before = g_memdup2(test_disk_bytes(disk),
                                           BLOB_DIRECTORY_OFFSET);
    GError *error = NULL;

    g_assert_true(conversion_run(store, way, NULL));
    memcpy(test_disk_bytes(disk), before, BLOB_DIRECTORY_OFFSET);
    g_assert_null(keys_try_open(disk, way->from, &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_null(keys_try_open(disk, way->to, &error));
    g_clear_error(&error);
}

/* Cuts a conversion off at the write @after, or lets it run through. */
static bool cut_at(TestDisk *disk, const Way *way, int after)
{
    g_autoptr(BlobStore) store = make_store(disk, way);
    bool cut;

    disk->fail_write = after;
    cut = !conversion_run(store, way, NULL);
    disk->fail_write = TEST_NEVER;
    return cut;
}

static int key_in_slots(const Way *way)
{
    return way->to < 0 ? way->from : way->to;
}

static bool is_converting(TestDisk *disk, const Way *way,
                          uint8_t seed[BLOB_SEED_BYTES])
{
    g_autoptr(BlobStore) store = keys_try_open(disk, key_in_slots(way), NULL);

    if (!store || store->super.state != BLOB_STATE_CONVERTING) {
        return false;
    }
    memcpy(seed, store->super.seed, BLOB_SEED_BYTES);
    return true;
}

/*
 * Plain stores have their seed in the superblock, where everybody can see it.
 */
static void take_seed(BlobStore *store, const uint8_t *seed)
{
    blob_guard_free(store->guard);
    store->guard = blob_guard_new_plain(seed);
    blob_store_take_census(store);
}

/* Changes the current version, if that does not take the key in the slots. */
static bool forge_content(BlobStore *store, Blob *blob, int key)
{
    BlobSlot slot = blob_slot_of(blob, blob->entry.slot);
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;
    g_autoptr(GBytes) forged = NULL;
    g_autofree uint8_t *bytes = NULL;
    gsize count;

    blob_key_commit(keys_data_key(key), store->super.uuid, commitment);
    if (!memcmp(store->guard->commitment, commitment, sizeof(commitment))) {
        return false;
    }
    g_assert_true(blob_version_load(store, blob, &header, &payload, NULL));
    bytes = g_memdup2(g_bytes_get_data(payload, &count),
                      g_bytes_get_size(payload));
    bytes[count - 1] ^= 1;
    forged = g_bytes_new(bytes, count);
    g_assert_true(blob_slot_write(&store->medium, store->guard, &slot, &header,
                                  forged, false, NULL));
    return true;
}

/*
 * Somebody without the key, or with the previous one, may have seen the
 * superblock during the conversion, and puts a store of his own under it.
 */
static void test_superblock_of_meanwhile_brings_no_other_store(
    gconstpointer opaque)
{
    const Way *way = opaque;
    bool cut = true;
    unsigned tried = 0;

    for (int after = 0; cut; after++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autofree uint8_t *seen = NULL;
        g_autoptr(BlobStore) forged = NULL;
        bool plain = way->from < 0 || way->to < 0;
        uint8_t seed[BLOB_SEED_BYTES];

        cut = cut_at(disk, way, after);
        if (!is_converting(disk, way, seed)) {
            continue;
        }
        seen = g_memdup2(test_disk_bytes(disk), BLOB_DIRECTORY_OFFSET);
        memset(test_disk_bytes(disk), 0, CONVERSION_DISK_BYTES);
        forged = plain ? test_store(disk, NULL, 4) : keys_store(disk, NULL, 4);
        if (plain) {
            take_seed(forged, seed);
        }
        test_write(forged, blob_store_find(forged, "t", "a"), "forged");
        test_close(forged);
        memcpy(test_disk_bytes(disk), seen, BLOB_DIRECTORY_OFFSET);
        keys_open_fails(disk, key_in_slots(way), BLOBSTORE_ERROR_TAMPERED,
                        "store is being converted, but its directory*");
        tried++;
    }
    g_assert_cmpuint(tried, >, 0);
}

/* He may also put content of his own under the directory of that time. */
static void test_directory_of_meanwhile_has_no_other_content(
    gconstpointer opaque)
{
    const Way *way = opaque;
    bool cut = true;
    unsigned forged = 0;

    for (int after = 0; cut; after++) {
        g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
        g_autoptr(BlobStore) store = NULL;
        Blob *a;

        cut = cut_at(disk, way, after);
        store = keys_try_open(disk, key_in_slots(way), NULL);
        if (!store || store->super.state != BLOB_STATE_CONVERTING) {
            continue;
        }
        a = blob_store_find(store, "t", "a");
        if (forge_content(store, a, key_in_slots(way))) {
            forged++;
            test_expect_damaged(store, a);
            test_register_again(store, "a", 1000);
            test_start_fails(store, BLOBSTORE_ERROR_DAMAGED,
                             "blob 't/a' is damaged*");
        }
    }
    g_assert_cmpuint(forged, >, 0);
}

/*
 * R9: a copy's census under the new guard would show a sum that an older image
 * still uses.
 */
static void test_copies_keep_no_census(gconstpointer opaque)
{
    const Way *way = opaque;
    static const uint8_t zero[BLOB_CENSUS_BYTES];
    g_autoptr(TestDisk) disk = test_disk_new(CONVERSION_DISK_BYTES);
    g_autoptr(BlobStore) store = make_store(disk, way);
    const char *const names[] = { "a", "b" };

    g_assert_true(conversion_run(store, way, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        Blob *blob = blob_store_find(store, "t", names[i]);
        BlobHeader header;
        g_autoptr(GBytes) payload = NULL;

        g_assert_true(blob_version_load(store, blob, &header, &payload, NULL));
        g_assert_cmpmem(header.census, sizeof(zero), zero, sizeof(zero));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < CONVERSION_WAYS; i++) {
#define ADD_WAY(test) do {                                                 \
        g_autofree char *path =                                            \
            g_strdup_printf("/convert-forged/%s/" #test,                   \
                            conversion_ways[i].name);                      \
        g_test_add_data_func(path, &conversion_ways[i], test_##test);      \
    } while (0)
        ADD_WAY(superblock_of_before_is_refused);
        ADD_WAY(superblock_of_meanwhile_brings_no_other_store);
        ADD_WAY(directory_of_meanwhile_has_no_other_content);
        ADD_WAY(copies_keep_no_census);
    }
    return g_test_run();
}
