/*
 * Unit tests of the core: answers of a store while its keys change
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "watch.h"

typedef bool Operation(Watch *watch, GError **error);

static bool op_convert(Watch *watch, GError **error)
{
    return conversion_run(watch->store, watch->way, error);
}

static bool change_key_slots(Watch *watch, int added, int removed,
                             GError **error)
{
    BlobStore *store = watch->store;
    BlobKeySlots slots;

    blob_store_get_key_slots(store, &slots);
    if (added >= 0) {
        keys_put_raw(&slots, added, keys_data_key(1), store->super.uuid);
    }
    return (removed < 0 || blob_key_slots_remove(&slots, removed, error)) &&
           blob_store_set_key_slots(store, keys_data_key(1), &slots, error);
}

static bool op_add_key(Watch *watch, GError **error)
{
    return change_key_slots(watch, 2, -1, error);
}

static bool op_remove_key(Watch *watch, GError **error)
{
    return change_key_slots(watch, -1, 1, error);
}

/* The same slot holds another secret. */
static bool op_change_key(Watch *watch, GError **error)
{
    return change_key_slots(watch, 2, 1, error);
}

/* A change of keys, and how many states are seen in it */
typedef struct KeyCase {
    const char *name;
    Operation *op;
    Way way;
    guint seen;
} KeyCase;

/*
 * A conversion is seen after its steps 1, 2, 4 and, before its last record, 7;
 * a store is no longer sealed after step 5.  Of key slots only the number is
 * seen.
 */
static const KeyCase key_cases[] = {
    { "seal", op_convert, { "seal", -1, 2 }, 5 },
    { "rekey", op_convert, { "rekey", 1, 2 }, 5 },
    { "unseal", op_convert, { "unseal", 1, -1 }, 6 },
    { "add", op_add_key, { "add", 1, 1 }, 2 },
    { "remove", op_remove_key, { "remove", 1, 2 }, 2 },
    { "change", op_change_key, { "change", 1, 2 }, 1 },
};

/* There are versions in either slot, a tombstone and a blob without any. */
static void set_up_keys(Watch *watch, const KeyCase *test)
{
    Blob *blobs[4];

    watch_set_up(watch, CONVERSION_DISK_BYTES);
    watch->store = conversion_store(watch->disk, &test->way, blobs,
                                    G_N_ELEMENTS(blobs));
    test_write2(watch->store, blobs[0], "a", blobs[1], "b");
    test_write(watch->store, blobs[1], "bb");
    test_write(watch->store, blobs[2], "c");
    test_write(watch->store, blobs[2], NULL);
    if (test->op == op_remove_key) {
        g_assert_true(op_add_key(watch, NULL));
    }
    watch->store->medium.storage = watch->storage;
    watch->way = &test->way;
}

/* Each state that is seen is one that another process would find. */
static void test_keys_show_what_is_on_record(gconstpointer opaque)
{
    const KeyCase *test = opaque;
    Watch watch = { 0 };

    set_up_keys(&watch, test);
    g_assert_true(test->op(&watch, NULL));
    g_assert_cmpuint(watch.seen->len, ==, test->seen);
    watch_check_is_on_record(&watch);
    watch_tear_down(&watch);
}

/* The same if a write or a flush fails: what is shown stays on record. */
static void test_failing_keys_show_what_is_on_record(gconstpointer opaque)
{
    const KeyCase *test = opaque;

    for (int flush = 0; flush < 2; flush++) {
        bool ok = false;

        for (int n = 0; !ok; n++) {
            Watch watch = { 0 };
            TestDisk *disk;

            set_up_keys(&watch, test);
            disk = watch.disk;
            *(flush ? &disk->fail_flush : &disk->fail_write) = n;
            ok = test->op(&watch, NULL);
            watch_tear_down(&watch);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(key_cases); i++) {
        const KeyCase *test = &key_cases[i];
        g_autofree char *shows = g_strdup_printf("/query-keys/%s", test->name);
        g_autofree char *fails = g_strdup_printf("/query-keys/%s_fails",
                                                 test->name);

        g_test_add_data_func(shows, test, test_keys_show_what_is_on_record);
        g_test_add_data_func(fails, test,
                             test_failing_keys_show_what_is_on_record);
    }
    return g_test_run();
}
