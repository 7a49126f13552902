/*
 * Unit tests of the core: two processes that begin to own a store at once
 *
 * tests/crash/owners.c has those that begin one after the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "fixture.h"

#include <string.h>
#include "hooked.h"

static BlobStore *open_fenced(BlobStorage *storage)
{
    BlobStoreOptions options = { .fence = true };
    g_autoptr(GError) error = NULL;
    BlobStore *store = blob_store_open(storage, &options, &error);

    g_assert_no_error(error);
    return store;
}

/* A store that was closed, and the medium of a process that has started it */
typedef struct Setup {
    TestDisk *disk;
    TestDisk *other;
    BlobPair pair;              /* of the directory, as the other has it */
} Setup;

static void set_up(Setup *setup, gconstpointer unused)
{
    BlobStore *store;

    setup->disk = test_disk_new(TEST_DISK_BYTES);
    store = test_store(setup->disk, NULL, 1);
    test_close(store);
    blob_store_free(store);
    setup->other = test_disk_clone(setup->disk);
    store = test_store(setup->other, NULL, 1);
    setup->pair = store->directory_pair;
    blob_store_free(store);
}

static void tear_down(Setup *setup, gconstpointer unused)
{
    test_disk_free(setup->disk);
    test_disk_free(setup->other);
}

/* Copy @n of the directory of the other process lands. */
static void land(Setup *setup, unsigned n)
{
    BlobSlot slot = blob_pair_slot(&setup->pair, n);

    memcpy(test_disk_bytes(setup->disk) + slot.offset,
           test_disk_bytes(setup->other) + slot.offset, slot.bytes);
}

/* R17: nobody can tell whose epoch it is. */
static void test_two_directories_of_one_epoch_are_refused(Setup *setup,
                                                          gconstpointer unused)
{
    for (unsigned n = 0; n < 2; n++) {
        g_autoptr(BlobStore) store = test_open(setup->disk);

        test_start_with(store, NULL, 1);
        g_assert_cmpuint(store->directory_pair.sequence[0], ==,
                         setup->pair.sequence[0]);
        land(setup, n);
        test_open_fails(setup->disk, NULL, BLOBSTORE_ERROR_CORRUPT,
                        "two processes have begun epoch *");
        tear_down(setup, NULL);
        set_up(setup, NULL);
    }
}

/* The other process comes between two writes of a record. */
typedef struct Race {
    Setup *setup;
    unsigned writes;            /* so far */
    unsigned after;
} Race;

static void overtake(void *opaque, const HookedCall *call)
{
    Race *race = opaque;

    if (call->kind == HOOKED_WRITE && ++race->writes == race->after) {
        land(race->setup, !race->setup->pair.last);
    }
}

static void test_record_that_crosses_another_fails(Setup *setup,
                                                   gconstpointer unused)
{
    static const Hooks hooks = { .after = overtake };

    for (unsigned after = 1; after <= 2; after++) {
        Race race = { .setup = setup, .after = after };
        g_autoptr(BlobStorage) storage =
            hooked_storage_new(setup->disk->storage, &hooks, &race);
        g_autoptr(BlobStore) store = open_fenced(storage);

        test_register(store, "a", 1000);
        for (unsigned n = 0; n < 2; n++) {
            test_start_fails(store, BLOBSTORE_ERROR_TAKEN,
                             "store was taken over*begun epoch *");
        }
        g_assert_cmpuint(race.writes, ==, 2);
        g_clear_pointer(&store, blob_store_free);
        tear_down(setup, NULL);
        set_up(setup, NULL);
    }
}

/* The owner's write was half done when the store was opened. */
static void test_write_that_ends_after_the_opening_is_not_buried(
    Setup *setup, gconstpointer unused)
{
    Blob *blob;
    g_autoptr(BlobStore) owner = test_store(setup->disk, &blob, 1);
    g_autoptr(TestDisk) late = NULL;
    g_autoptr(BlobStore) store = NULL;
    uint8_t *slot;

    test_write(owner, blob, "one");
    late = test_disk_clone(setup->disk);
    test_write(owner, blob, "two");
    slot = test_slot(setup->disk, blob, blob->entry.slot);
    /* Its first block has landed. */
    memcpy(test_slot(late, blob, blob->entry.slot), slot, BLOB_BLOCK_BYTES);
    store = open_fenced(late->storage);
    test_register(store, "a", 1000);
    memcpy(test_slot(late, blob, blob->entry.slot), slot,
           test_slot_image(blob));
    test_disk_reset_counts(late);
    test_start_fails(store, BLOBSTORE_ERROR_TAKEN,
                     "store was written to by another process*");
    g_assert_cmpuint(late->writes, ==, 0);
}

/* Another process owns the store, and writes, before a read of this one. */
typedef struct Intruder {
    TestDisk *disk;
    bool starts;                /* its epoch begins then, too */
    BlobStore *owner;           /* unless it is to start */
    Blob *blob;
    unsigned reads;             /* so far */
    unsigned chosen;
} Intruder;

static HookedVerdict intrude(void *opaque, const HookedCall *call,
                             GError **error)
{
    Intruder *intruder = opaque;

    if (call->kind == HOOKED_READ && ++intruder->reads == intruder->chosen) {
        if (intruder->starts) {
            intruder->owner = test_store(intruder->disk, &intruder->blob, 1);
        }
        for (unsigned i = 0; i < 2; i++) {
            test_write(intruder->owner, intruder->blob, "late");
        }
    }
    return HOOKED_PASS;
}

/* What the glue does, too, when a read has failed */
static bool find_cause(BlobStore *store, GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (!blob_store_check_untouched(store, &cause)) {
        g_clear_error(error);
        *error = g_steal_pointer(&cause);
    }
    return false;
}

/* Opens, reads and starts; @error says whom to blame, if that fails. */
static bool begin_beside(BlobStorage *storage, GError **error)
{
    BlobStoreOptions options = { .fence = true };
    g_autoptr(BlobStore) store = blob_store_open(storage, &options, error);
    g_autoptr(GBytes) content = NULL;
    Blob *blob;

    if (!store) {
        return false;
    }
    blob = test_register(store, "a", 1000);
    return (blob_store_read(store, blob, &content, NULL, error) ||
            find_cause(store, error)) &&
           blob_store_start(store, error);
}

/* R17: damage that it sees is none of the medium's. */
static void test_another_owner_is_not_taken_for_damage(Setup *setup,
                                                       gconstpointer unused)
{
    static const Hooks hooks = { .before = intrude };
    Intruder intruder = { .chosen = 1 };

    for (unsigned starts = 0; starts < 2; starts++, intruder.chosen = 1) {
        do {
            g_autoptr(TestDisk) disk = test_disk_clone(setup->disk);
            g_autoptr(BlobStorage) storage =
                hooked_storage_new(disk->storage, &hooks, &intruder);
            g_autoptr(GError) error = NULL;

            intruder.disk = disk;
            intruder.reads = 0;
            intruder.starts = starts;
            intruder.owner = test_store(disk, &intruder.blob, 1);
            test_write(intruder.owner, intruder.blob, "early");
            if (starts) {
                g_clear_pointer(&intruder.owner, blob_store_free);
            }
            if (!begin_beside(storage, &error)) {
                g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TAKEN);
            }
            g_clear_pointer(&intruder.owner, blob_store_free);
        } while (intruder.reads >= intruder.chosen++);
        g_assert_cmpuint(intruder.chosen, >, 10);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/owner/" #name, Setup, NULL, set_up, \
                             test_##name, tear_down)
    ADD(two_directories_of_one_epoch_are_refused);
    ADD(record_that_crosses_another_fails);
    ADD(another_owner_is_not_taken_for_damage);
    ADD(write_that_ends_after_the_opening_is_not_buried);
    return g_test_run();
}
