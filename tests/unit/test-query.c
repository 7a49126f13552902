/*
 * Unit tests of the core: answers of a store while a call waits for storage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "watch.h"

#include <string.h>
#include "hooked.h"
#include "sealed.h"

enum { BLOBS = 3 };

/* A store, and the operations on it under the watch */
typedef struct Setup {
    Watch watch;
    Blob *blobs[BLOBS];
    uint64_t bytes;             /* of the medium; 0: as it is */
} Setup;

typedef bool Operation(Setup *setup, GError **error);

static bool change(Setup *setup, const char *a, const char *b, GError **error)
{
    g_autoptr(GBytes) content_a = a ? g_bytes_new(a, strlen(a)) : NULL;
    g_autoptr(GBytes) content_b = b ? g_bytes_new(b, strlen(b)) : NULL;
    BlobChange changes[] = {
        { setup->blobs[0], content_a },
        { setup->blobs[1], content_b },
    };

    return blob_store_write(setup->watch.store, changes, 2, error);
}

static bool write_one(Setup *setup, Blob *blob, const char *text,
                      GError **error)
{
    g_autoptr(GBytes) content = text ? g_bytes_new(text, strlen(text)) : NULL;
    BlobChange one = { blob, content };

    return blob_store_write(setup->watch.store, &one, 1, error);
}

static bool op_write(Setup *setup, GError **error)
{
    return write_one(setup, setup->blobs[0], "two", error);
}

static bool op_write_two(Setup *setup, GError **error)
{
    return change(setup, "two", "three", error);
}

/* The third blob has no content yet. */
static bool op_write_first(Setup *setup, GError **error)
{
    return write_one(setup, setup->blobs[2], "first", error);
}

static bool op_delete(Setup *setup, GError **error)
{
    return write_one(setup, setup->blobs[0], NULL, error);
}

static bool op_delete_and_write(Setup *setup, GError **error)
{
    return change(setup, NULL, "three", error);
}

static bool op_start(Setup *setup, GError **error)
{
    return blob_store_start(setup->watch.store, error);
}

static bool op_close(Setup *setup, GError **error)
{
    return blob_store_close_clean(setup->watch.store, error);
}

static void set_up(Setup *setup, gconstpointer unused)
{
    BlobStore *store;

    watch_set_up(&setup->watch, TEST_DISK_BYTES);
    store = blob_store_open(setup->watch.storage, NULL, NULL);
    g_assert_nonnull(store);
    setup->watch.store = store;
}

static void set_up_started(Setup *setup, gconstpointer unused)
{
    set_up(setup, unused);
    test_start_with(setup->watch.store, setup->blobs, BLOBS);
    test_write2(setup->watch.store, setup->blobs[0], "a", setup->blobs[1],
                "b");
}

/* The blob is registered larger than the medium had room for before it grew. */
static void set_up_grown(Setup *setup, gconstpointer unused)
{
    BlobStore *store;

    set_up_started(setup, unused);
    store = setup->watch.store;
    setup->blobs[0] = test_register_again(store, "a", 700000);
    test_register(store, "new", 10);
    test_disk_resize(setup->watch.disk, 8 << 20);
}

static void set_up_closed(Setup *setup, gconstpointer unused)
{
    set_up_started(setup, unused);
    test_close(setup->watch.store);
}

static void tear_down(Setup *setup, gconstpointer unused)
{
    watch_tear_down(&setup->watch);
}

/*
 * Each blob is as it was before, or as it is afterwards; there is nothing
 * between.
 */
static void check_blobs(const char *before, const char *state,
                        const char *after)
{
    g_auto(GStrv) old = g_strsplit(before, "\n", -1);
    g_auto(GStrv) now = g_strsplit(state, "\n", -1);
    g_auto(GStrv) new = g_strsplit(after, "\n", -1);

    for (guint i = 1; now[i]; i++) {
        g_assert_true(g_strv_contains((const char *const *)old + 1, now[i]) ||
                      g_strv_contains((const char *const *)new + 1, now[i]));
    }
}

/*
 * Calls @op, which may succeed or fail.  Returns how many states the watch had
 * seen when @op returned.
 */
static guint run(Setup *setup, Operation *op, bool *ok)
{
    Watch *watch = &setup->watch;
    g_autofree char *before = watch_ask(watch->store);
    g_autofree char *after = NULL;

    g_ptr_array_set_size(watch->seen, 0);
    *ok = op(setup, NULL);
    after = watch_ask(watch->store);
    g_assert_cmpuint(watch->seen->len, >, 0);
    g_assert_cmpstr(g_ptr_array_index(watch->seen, 0), ==, before);
    for (guint i = 0; i < watch->seen->len; i++) {
        check_blobs(before, g_ptr_array_index(watch->seen, i), after);
    }
    /* A failure changes nothing on its way back. */
    g_assert_true(*ok || !strcmp(watch_last_seen(watch), after));
    g_assert_true(!*ok || strcmp(before, after));
    return watch->seen->len;
}

/* The expected view of an operation that succeeds at once */
typedef struct Case {
    Operation *op;
    void (*set_up)(Setup *setup, gconstpointer unused);
    guint plain;                /* how many states are seen in it */
    guint sealed;
} Case;

static const Case cases[] = {
    { op_write, set_up_started, 1, 1 },
    { op_write_two, set_up_started, 1, 1 },
    { op_write_first, set_up_started, 1, 1 },
    /*
     * S8: once the deletion is acknowledged, the content is zeroed after
     * another record.
     */
    { op_delete, set_up_started, 1, 3 },
    { op_delete_and_write, set_up_started, 1, 3 },
    { op_close, set_up_started, 1, 1 },
    /* The next write begins an epoch first, which may be seen. */
    { op_write, set_up_closed, 2, 2 },
    { op_write_first, set_up_closed, 2, 2 },
    /* The medium grows before anything is written to the new space. */
    { op_start, set_up_grown, 2, 2 },
};

static void test_call_shows_what_was_acknowledged(gconstpointer opaque)
{
    const Case *test = opaque;
    Setup setup = { 0 };
    bool ok;

    test->set_up(&setup, NULL);
    g_assert_cmpuint(run(&setup, test->op, &ok), ==,
                     sealed_key() ? test->sealed : test->plain);
    g_assert_true(ok);
    tear_down(&setup, NULL);
}

/*
 * The operation fails at each write and each flush, and is repeated until it
 * succeeds.
 */
static void test_failure_shows_what_was_acknowledged(gconstpointer opaque)
{
    const Case *test = opaque;

    for (int mode = 0; mode < 4; mode++) {
        bool ok = false;

        for (int n = 0; !ok; n++) {
            Setup setup = { 0 };
            TestDisk *disk;

            test->set_up(&setup, NULL);
            disk = setup.watch.disk;
            disk->failing_write_lands = mode & 1;
            *(mode & 2 ? &disk->fail_write : &disk->fail_flush) = n;
            run(&setup, test->op, &ok);
            /* Deleting succeeds even if zeroing fails. */
            disk->fail_write = TEST_NEVER;
            disk->fail_flush = TEST_NEVER;
            if (!ok) {
                run(&setup, test->op, &ok);
                g_assert_true(ok);
                ok = false;
            }
            tear_down(&setup, NULL);
        }
    }
}

/* A blank medium stays blank until the store on it is complete. */
static void test_store_that_is_made_is_blank_until_then(void)
{
    bool ok = false;

    for (int n = 0; !ok; n++) {
        Setup setup = { 0 };

        set_up(&setup, NULL);
        test_register(setup.watch.store, "a", 1000);
        test_register(setup.watch.store, "b", 5000);
        setup.watch.disk->fail_write = n;
        run(&setup, op_start, &ok);
        setup.watch.disk->fail_write = TEST_NEVER;
        if (ok) {
            /*
             * The blobs are blank, and then without extents until those are on
             * record.
             */
            g_assert_cmpuint(setup.watch.seen->len, ==, 2);
            g_assert_true(g_str_has_prefix(g_ptr_array_index(setup.watch.seen,
                                                             0), "100"));
            g_assert_true(g_str_has_prefix(g_ptr_array_index(setup.watch.seen,
                                                             1), "000"));
        } else {
            run(&setup, op_start, &ok);
            g_assert_true(ok);
            ok = false;
        }
        tear_down(&setup, NULL);
    }
}

/* Both are a sum over all extents, which the store keeps up to date. */
static void test_free_bytes_are_those_of_the_extents(void)
{
    Setup setup = { 0 };
    BlobStore *store;
    BlobStoreStatus info;
    uint64_t taken = 0;
    bool ok;

    set_up_grown(&setup, NULL);
    store = setup.watch.store;
    run(&setup, op_start, &ok);
    run(&setup, op_delete, &ok);
    blob_store_unregister(store, setup.blobs[0]);
    test_close(store);
    for (size_t n = 0; n < blob_store_count(store); n++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, n), &blob);
        taken += blob.slots * blob.slot[0].length;
    }
    blob_store_get_status(store, &info);
    g_assert_cmpuint(info.free, ==,
                     info.capacity - store->super.data_offset - taken);
    tear_down(&setup, NULL);
}

/* R5: calls that arrive while the store waits for storage are refused. */
static HookedVerdict use_again(void *opaque, const HookedCall *call,
                               GError **error)
{
    BlobStore *store = opaque;
    Blob *blob = blob_store_find(store, "t", "b");
    g_autoptr(GError) refusal = NULL;

    if (call->kind != HOOKED_WRITE) {
        return HOOKED_PASS;
    }
    test_write_fails(store, blob, "b2", BLOBSTORE_ERROR_BUSY, "*serialise*");
    g_assert_false(blob_store_close_clean(store, &refusal));
    test_assert_error(&refusal, BLOBSTORE_ERROR_BUSY, "*serialise*");
    test_expect(store, blob, "b1");
    return HOOKED_PASS;
}

static void test_one_commit_at_a_time(void)
{
    static const Hooks hooks = { .before = use_again };
    g_autoptr(TestDisk) disk = test_disk_new(TEST_DISK_BYTES);
    g_autoptr(BlobStorage) storage = NULL;
    Blob *blobs[2];
    g_autoptr(BlobStore) store = test_store(disk, blobs, 2);

    test_write2(store, blobs[0], "a1", blobs[1], "b1");
    storage = hooked_storage_new(disk->storage, &hooks, store);
    store->medium.storage = storage;
    test_write(store, blobs[0], "a2");
    test_close(store);
    test_write(store, blobs[0], "a3");
    store->medium.storage = disk->storage;
    test_write2(store, blobs[0], "a4", blobs[1], "b3");
    blob_store_free(store);
    store = test_open(disk);
    test_expect(store, blob_store_find(store, "t", "a"), "a4");
    test_expect(store, blob_store_find(store, "t", "b"), "b3");
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "write", "write_two", "write_first", "delete", "delete_and_write",
        "close", "write_after_close", "write_first_after_close", "grow",
    };

    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *shows = g_strdup_printf("/query/%s", names[i]);
        g_autofree char *fails = g_strdup_printf("/query/%s_fails", names[i]);

        g_test_add_data_func(shows, &cases[i],
                             test_call_shows_what_was_acknowledged);
        g_test_add_data_func(fails, &cases[i],
                             test_failure_shows_what_was_acknowledged);
    }
#define ADD(name) g_test_add_func("/query/" #name, test_##name)
    ADD(store_that_is_made_is_blank_until_then);
    ADD(free_bytes_are_those_of_the_extents);
    ADD(one_commit_at_a_time);
    return g_test_run();
}
