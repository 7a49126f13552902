/*
 * Unit tests of the core: answers of a store while a call waits for storage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "conversion.h"

#include <string.h>
#include "hooked.h"
#include "sealed.h"

/* A medium that queries the store about everything, at each call */
typedef struct Watch {
    TestDisk *disk;
    BlobStorage *storage;       /* above it */
    BlobStore *store;           /* NULL: the medium asks nothing */
    GPtrArray *seen;            /* one string for each state, in order */
    const Way *way;             /* the conversion on it; NULL: none */
} Watch;

static void print_hex(GString *out, const uint8_t *bytes, size_t count)
{
    g_autofree char *hex = blob_digest_to_hex(bytes, count);

    g_string_append_printf(out, " %s", hex);
}

/*
 * Prints everything but counts of attempts: bytes written, write errors,
 * sealings.
 */
static void print_status(GString *out, const BlobStore *store)
{
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    g_string_append_printf(
        out, "%d%d%d%d%d slots %u version %u block %u capacity %"
        G_GUINT64_FORMAT " free %" G_GUINT64_FORMAT " commits %"
        G_GUINT64_FORMAT " sequence %016" G_GINT64_MODIFIER "x", info.blank,
        info.started, info.read_only, info.sealed, info.converting,
        info.key_slots, info.format_version, info.block_size, info.capacity,
        info.free, info.commits, info.sequence);
    print_hex(out, info.uuid, sizeof(info.uuid));
    print_hex(out, info.epoch_id, sizeof(info.epoch_id));
    print_hex(out, info.key_commitment, sizeof(info.key_commitment));
    g_string_append_printf(out, " required %" G_GUINT64_FORMAT,
                           blob_store_required_bytes(store));
    for (const char *const *text = blob_store_warnings(store); *text;
         text++) {
        g_string_append_printf(out, " '%s'", *text);
    }
}

static void print_blob(GString *out, const BlobStore *store, size_t n)
{
    Blob *blob = blob_store_nth(store, n);
    BlobInfo info;

    blob_get_info(blob, &info);
    g_assert_true(blob_store_find(store, info.owner, info.name) == blob);
    g_string_append_printf(
        out, "\n%s/%s %d %d%d%d size %" G_GUINT64_FORMAT " stored %"
        G_GUINT64_FORMAT " max %" G_GUINT64_FORMAT " sequence %"
        G_GINT64_MODIFIER "x damage %s", info.owner, info.name, info.kind,
        info.registered, info.present, info.packed, info.size,
        info.stored_size, info.max_size, info.sequence,
        info.damage ?: "none");
    for (unsigned i = 0; i < info.slots; i++) {
        g_string_append_printf(out, " %" G_GUINT64_FORMAT "+%"
                               G_GUINT64_FORMAT "%s", info.slot[i].offset,
                               info.slot[i].length,
                               info.slot[i].current ? "*" : "");
    }
}

/* Returns a line for the store and one for each blob. */
static char *ask(const BlobStore *store)
{
    GString *out = g_string_new(NULL);

    print_status(out, store);
    for (size_t n = 0; n < blob_store_count(store); n++) {
        print_blob(out, store, n);
    }
    return g_string_free(out, FALSE);
}

static const char *last_seen(const Watch *watch)
{
    return g_ptr_array_index(watch->seen, watch->seen->len - 1);
}

/*
 * What a store says that depends on the medium alone: not on what is
 * registered, or was written since it was opened
 */
static char *ask_lasting(const BlobStore *store)
{
    GString *out = g_string_new(NULL);
    BlobStoreStatus info;

    blob_store_get_status(store, &info);
    g_string_append_printf(out, "%d%d slots %u sequence %"
                           G_GINT64_MODIFIER "x", info.sealed,
                           info.converting, info.key_slots, info.sequence);
    print_hex(out, info.epoch_id, sizeof(info.epoch_id));
    print_hex(out, info.key_commitment, sizeof(info.key_commitment));
    for (size_t n = 0; n < blob_store_count(store); n++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, n), &blob);
        g_string_append_printf(out, " %s %d %" G_GINT64_MODIFIER "x %d",
                               blob.name, blob.present, blob.sequence,
                               blob.slot[1].current);
    }
    return g_string_free(out, FALSE);
}

/* A store that another process opens finds what this one says. */
static void check_is_on_record(const Watch *watch)
{
    g_autoptr(TestDisk) copy = test_disk_clone(watch->disk);
    g_autofree char *said = ask_lasting(watch->store);
    BlobStore *other = keys_try_open(copy, watch->way->to, NULL);
    g_autofree char *found = NULL;

    if (!other) {
        other = keys_open(copy, watch->way->from);
    }
    found = ask_lasting(other);
    g_assert_cmpstr(found, ==, said);
    blob_store_free(other);
}

static HookedVerdict look(void *opaque, const HookedCall *call, GError **error)
{
    Watch *watch = opaque;

    if (watch->store) {
        g_autofree char *state = ask(watch->store);

        if (!watch->seen->len || strcmp(state, last_seen(watch))) {
            g_ptr_array_add(watch->seen, g_steal_pointer(&state));
            if (watch->way) {
                check_is_on_record(watch);
            }
        }
    }
    return HOOKED_PASS;
}

static const Hooks watch_hooks = { .before = look };

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

static void set_up_watch(Watch *watch, uint64_t bytes)
{
    watch->seen = g_ptr_array_new_with_free_func(g_free);
    watch->disk = test_disk_new(bytes);
    watch->storage = hooked_storage_new(watch->disk->storage, &watch_hooks,
                                        watch);
}

static void set_up(Setup *setup, gconstpointer unused)
{
    BlobStore *store;

    set_up_watch(&setup->watch, TEST_DISK_BYTES);
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
    blob_store_free(setup->watch.store);
    blob_storage_free(setup->watch.storage);
    test_disk_free(setup->watch.disk);
    g_ptr_array_unref(setup->watch.seen);
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
    g_autofree char *before = ask(watch->store);
    g_autofree char *after = NULL;

    g_ptr_array_set_size(watch->seen, 0);
    *ok = op(setup, NULL);
    after = ask(watch->store);
    g_assert_cmpuint(watch->seen->len, >, 0);
    g_assert_cmpstr(g_ptr_array_index(watch->seen, 0), ==, before);
    for (guint i = 0; i < watch->seen->len; i++) {
        check_blobs(before, g_ptr_array_index(watch->seen, i), after);
    }
    /* A failure changes nothing on its way back. */
    g_assert_true(*ok || !strcmp(last_seen(watch), after));
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

static bool op_convert(Setup *setup, GError **error)
{
    return conversion_run(setup->watch.store, setup->watch.way, error);
}

static bool change_key_slots(Setup *setup, int added, int removed,
                             GError **error)
{
    BlobStore *store = setup->watch.store;
    BlobKeySlots slots;

    blob_store_get_key_slots(store, &slots);
    if (added >= 0) {
        keys_put_raw(&slots, added, keys_data_key(1), store->super.uuid);
    }
    return (removed < 0 || blob_key_slots_remove(&slots, removed, error)) &&
           blob_store_set_key_slots(store, keys_data_key(1), &slots, error);
}

static bool op_add_key(Setup *setup, GError **error)
{
    return change_key_slots(setup, 2, -1, error);
}

static bool op_remove_key(Setup *setup, GError **error)
{
    return change_key_slots(setup, -1, 1, error);
}

/* The same slot holds another secret. */
static bool op_change_key(Setup *setup, GError **error)
{
    return change_key_slots(setup, 2, 1, error);
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
static void set_up_keys(Setup *setup, const KeyCase *test)
{
    Blob *blobs[4];

    set_up_watch(&setup->watch, CONVERSION_DISK_BYTES);
    setup->watch.store = conversion_store(setup->watch.disk, &test->way, blobs,
                                          G_N_ELEMENTS(blobs));
    test_write2(setup->watch.store, blobs[0], "a", blobs[1], "b");
    test_write(setup->watch.store, blobs[1], "bb");
    test_write(setup->watch.store, blobs[2], "c");
    test_write(setup->watch.store, blobs[2], NULL);
    if (test->op == op_remove_key) {
        g_assert_true(op_add_key(setup, NULL));
    }
    setup->watch.store->medium.storage = setup->watch.storage;
    setup->watch.way = &test->way;
}

/* Each state that is seen is one that another process would find. */
static void test_keys_show_what_is_on_record(gconstpointer opaque)
{
    const KeyCase *test = opaque;
    Setup setup = { 0 };

    set_up_keys(&setup, test);
    g_assert_true(test->op(&setup, NULL));
    g_assert_cmpuint(setup.watch.seen->len, ==, test->seen);
    check_is_on_record(&setup.watch);
    tear_down(&setup, NULL);
}

/* The same if a write or a flush fails: what is shown stays on record. */
static void test_failing_keys_show_what_is_on_record(gconstpointer opaque)
{
    const KeyCase *test = opaque;

    for (int flush = 0; flush < 2; flush++) {
        bool ok = false;

        for (int n = 0; !ok; n++) {
            Setup setup = { 0 };
            TestDisk *disk;

            set_up_keys(&setup, test);
            disk = setup.watch.disk;
            *(flush ? &disk->fail_flush : &disk->fail_write) = n;
            ok = test->op(&setup, NULL);
            tear_down(&setup, NULL);
        }
    }
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
    for (guint i = 0; !sealed_key() && i < G_N_ELEMENTS(key_cases); i++) {
        const KeyCase *test = &key_cases[i];
        g_autofree char *shows = g_strdup_printf("/query/%s", test->name);
        g_autofree char *fails = g_strdup_printf("/query/%s_fails",
                                                 test->name);

        g_test_add_data_func(shows, test, test_keys_show_what_is_on_record);
        g_test_add_data_func(fails, test,
                             test_failing_keys_show_what_is_on_record);
    }
    return g_test_run();
}
