/*
 * Unit tests of the core: the power is cut at every place
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "trio.h"

#include <string.h>

/* The states that may be found from event @from on; NULL: absent */
typedef struct Era {
    guint from;
    unsigned count;
    const char *texts[3][TRIO_BLOBS];
} Era;

typedef struct Promise {
    GArray *eras;               /* of Era, ascending */
    unsigned checked;
} Promise;

static bool is_one_of(const Era *era, char *const found[TRIO_BLOBS])
{
    for (unsigned n = 0; n < era->count; n++) {
        bool equal = true;

        for (unsigned i = 0; i < TRIO_BLOBS; i++) {
            equal = equal && !g_strcmp0(found[i], era->texts[n][i]);
        }
        if (equal) {
            return true;
        }
    }
    return false;
}

static void check_found(BlobStore *store, const Era *era, unsigned events)
{
    char *found[TRIO_BLOBS];

    for (unsigned i = 0; i < TRIO_BLOBS; i++) {
        char name[] = { 'a' + i, '\0' };
        g_autoptr(GError) error = NULL;
        Blob *blob = blob_store_find(store, "t", name);

        found[i] = blob ? test_read(store, blob, &error) : NULL;
        g_assert_no_error(error);
    }
    if (!is_one_of(era, found)) {
        g_error("after event %u: found '%s', '%s', '%s'", events, found[0],
                found[1], found[2]);
    }
    for (unsigned i = 0; i < TRIO_BLOBS; i++) {
        g_free(found[i]);
    }
}

static void check_crash(TestDisk *crashed, unsigned events, void *opaque)
{
    Promise *promise = opaque;
    const Era *era = NULL;
    g_autoptr(BlobStore) store = test_open(crashed);

    for (guint i = 0; i < promise->eras->len; i++) {
        const Era *next = &g_array_index(promise->eras, Era, i);

        if (next->from <= events) {
            era = next;
        }
    }
    check_found(store, era, events);
    promise->checked++;

    /* A state that was seen once stays, and the store can be used. */
    if (promise->checked % 8 == 0) {
        Era same = { .count = 1 };
        Blob *blobs[TRIO_BLOBS];

        for (unsigned i = 0; i < TRIO_BLOBS; i++) {
            char name[] = { 'a' + i, '\0' };

            blobs[i] = test_register(store, name, 1000);
            same.texts[0][i] = test_read(store, blobs[i], NULL);
        }
        test_start(store);
        g_clear_pointer(&store, blob_store_free);
        store = test_open(crashed);
        check_found(store, &same, events);
        for (unsigned i = 0; i < TRIO_BLOBS; i++) {
            g_free((char *)same.texts[0][i]);
        }
    }
}

/*
 * From now on, the texts in @a, @b and @c are the only ones that may be found.
 */
static void promise_only(Promise *promise, const Trio *trio, const char *a,
                         const char *b, const char *c)
{
    Era era = {
        .from = trio->disk->events->len,
        .count = 1,
        .texts = { { a, b, c } },
    };

    g_array_append_val(promise->eras, era);
}

/* From now on, these may be found as well. */
static void promise_also(Promise *promise, const Trio *trio, const char *a,
                         const char *b, const char *c)
{
    Era era = g_array_index(promise->eras, Era, promise->eras->len - 1);

    g_assert_cmpuint(era.count, <, G_N_ELEMENTS(era.texts));
    era.from = trio->disk->events->len;
    era.texts[era.count][0] = a;
    era.texts[era.count][1] = b;
    era.texts[era.count][2] = c;
    era.count++;
    g_array_append_val(promise->eras, era);
}

static Promise *begin(Trio *trio, const char *a, const char *b,
                      const char *c)
{
    Promise *promise = g_new0(Promise, 1);

    promise->eras = g_array_new(FALSE, FALSE, sizeof(Era));
    test_disk_record(trio->disk);
    promise_only(promise, trio, a, b, c);
    return promise;
}

static void end(Trio *trio, Promise *promise)
{
    test_disk_each_crash(trio->disk, check_crash, promise);
    g_test_message("%u crashes", promise->checked);
    g_assert_cmpuint(promise->checked, >, trio->disk->events->len);
    g_array_unref(promise->eras);
    g_free(promise);
}

static void test_write_survives_power_loss_at_every_sector(
    Trio *trio, gconstpointer unused)
{
    Promise *promise = begin(trio, "a1", "b1", "c1");

    promise_also(promise, trio, "a2", "b1", "c1");
    trio_write(trio, 0, "a2");
    promise_only(promise, trio, "a2", "b1", "c1");
    promise_also(promise, trio, "a3", "b1", "c1");
    trio_write(trio, 0, "a3");
    promise_only(promise, trio, "a3", "b1", "c1");
    promise_also(promise, trio, "a3", "b2", "c1");
    trio_write(trio, 1, "b2");
    promise_only(promise, trio, "a3", "b2", "c1");
    promise_also(promise, trio, "a4", "b2", "c1");
    trio_write(trio, 0, "a4");
    promise_only(promise, trio, "a4", "b2", "c1");
    end(trio, promise);
}

static void test_long_write_survives_power_loss(Trio *trio,
                                                gconstpointer unused)
{
    g_autofree char *x = g_strnfill(1000, 'x');
    g_autofree char *y = g_strnfill(1000, 'y');
    Promise *promise = begin(trio, "a1", "b1", "c1");

    promise_also(promise, trio, x, "b1", "c1");
    trio_write(trio, 0, x);
    promise_only(promise, trio, x, "b1", "c1");
    promise_also(promise, trio, y, "b1", "c1");
    trio_write(trio, 0, y);
    promise_only(promise, trio, y, "b1", "c1");
    promise_also(promise, trio, "short", "b1", "c1");
    trio_write(trio, 0, "short");
    promise_only(promise, trio, "short", "b1", "c1");
    end(trio, promise);
}

static void test_write_of_many_is_all_or_nothing(Trio *trio,
                                                 gconstpointer unused)
{
    Promise *promise = begin(trio, "a1", "b1", "c1");

    promise_also(promise, trio, "a2", "b2", "c1");
    trio_write_ab(trio, "a2", "b2");
    promise_only(promise, trio, "a2", "b2", "c1");
    promise_also(promise, trio, "a3", NULL, "c1");
    trio_write_ab(trio, "a3", NULL);
    promise_only(promise, trio, "a3", NULL, "c1");
    promise_also(promise, trio, "a3", NULL, "c2");
    trio_write(trio, 2, "c2");
    promise_only(promise, trio, "a3", NULL, "c2");
    promise_also(promise, trio, NULL, "b4", "c2");
    trio_write_ab(trio, NULL, "b4");
    promise_only(promise, trio, NULL, "b4", "c2");
    end(trio, promise);
}

/* R4: the failing write may have landed or not. */
static void test_failed_write_and_its_retry_survive_power_loss(
    Trio *trio, gconstpointer unused)
{
    for (int landing = 0; landing < 2; landing++) {
        Promise *promise = begin(trio, "a1", "b1", "c1");
        g_autoptr(GBytes) text = g_bytes_new_static("2", 1);
        BlobChange changes[] = { { trio->blobs[0], text },
                                 { trio->blobs[1], text } };

        trio->disk->failing_write_lands = landing;
        promise_also(promise, trio, "2", "2", "c1");
        trio->disk->fail_write = 1;
        g_assert_false(blob_store_write(trio->store, changes, 2, NULL));
        promise_also(promise, trio, "a3", "b1", "c1");
        trio_write(trio, 0, "a3");
        promise_only(promise, trio, "a3", "b1", "c1");
        promise_also(promise, trio, "2", "2", "c1");
        g_assert_true(blob_store_write(trio->store, changes, 2, NULL));
        promise_only(promise, trio, "2", "2", "c1");
        end(trio, promise);
        trio_renew(trio);
    }
}

/* R11 */
static void test_first_write_survives_power_loss(Trio *trio,
                                                 gconstpointer unused)
{
    Promise *promise;

    test_disk_free(trio->disk);
    g_clear_pointer(&trio->store, blob_store_free);
    trio->disk = test_disk_new(TEST_DISK_BYTES / 4);
    trio->store = test_store(trio->disk, trio->blobs, TRIO_BLOBS);
    promise = begin(trio, NULL, NULL, NULL);
    promise_also(promise, trio, "a1", NULL, NULL);
    trio_write(trio, 0, "a1");
    promise_only(promise, trio, "a1", NULL, NULL);
    promise_also(promise, trio, "a2", "b2", NULL);
    trio_write_ab(trio, "a2", "b2");
    promise_only(promise, trio, "a2", "b2", NULL);
    end(trio, promise);
}

/* R2, R14 */
static void test_epochs_survive_power_loss(Trio *trio, gconstpointer unused)
{
    Promise *promise;

    trio_write(trio, 0, "a2");
    trio_write(trio, 1, NULL);
    promise = begin(trio, "a2", NULL, "c1");
    test_close(trio->store);
    trio_crash(trio);
    trio_start(trio);
    promise_also(promise, trio, "a3", NULL, "c1");
    trio_write(trio, 0, "a3");
    promise_only(promise, trio, "a3", NULL, "c1");
    blob_store_unregister(trio->store, trio->blobs[1]);
    test_close(trio->store);
    promise_also(promise, trio, "a3", NULL, "c2");
    trio_write(trio, 2, "c2");
    promise_only(promise, trio, "a3", NULL, "c2");
    end(trio, promise);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add("/crash/" #name, Trio, NULL, trio_set_up, \
                             test_##name, trio_tear_down)
    ADD(write_survives_power_loss_at_every_sector);
    ADD(long_write_survives_power_loss);
    ADD(write_of_many_is_all_or_nothing);
    ADD(failed_write_and_its_retry_survive_power_loss);
    ADD(first_write_survives_power_loss);
    ADD(epochs_survive_power_loss);
    return g_test_run();
}
