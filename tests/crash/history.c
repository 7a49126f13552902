/*
 * Short histories of a store on a simulated disk, and what is promised
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "history.h"

#include <string.h>

/*
 * w, v  write blob 0, write blob 1
 * n     write blob 2, the first time with nothing recorded of it
 * m     write blobs 0 and 1 together
 * d     delete blob 1
 * e     write blob 0 and delete blob 1 together
 * r     the process ends; the store is opened and started again
 * c     the same after a clean close
 * g     the same, and blob 1 is registered larger
 * u     the same, first without and then with blob 1
 * F, G  the next operation fails at its first, second write or flush
 */
const char history_ops[] = "wvnmdercguFG";

static const char *const blob_names[HISTORY_BLOBS] = { "a", "b", "c" };

GBytes *history_content(unsigned n, unsigned version)
{
    size_t bytes = 8 + (n * 131 + version * 67) % 400;
    uint8_t *data = g_malloc(bytes);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = n * 71 + version * 13 + i * (version | 1);
    }
    data[0] = version;
    data[1] = version >> 8;
    data[2] = n;
    return g_bytes_new_take(data, bytes);
}

bool history_read_world(BlobStore *store, World *world, GError **error)
{
    memset(world, 0, sizeof(*world));
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        Blob *blob = blob_store_find(store, "dev", blob_names[n]);
        g_autoptr(GBytes) content = NULL;
        g_autoptr(GBytes) expected = NULL;
        const uint8_t *data;

        if (!blob) {
            continue;
        }
        if (!blob_store_read(store, blob, &content, NULL, error)) {
            return false;
        }
        if (!content) {
            continue;
        }
        data = g_bytes_get_data(content, NULL);
        world->version[n] = data[0] | data[1] << 8;
        expected = history_content(n, world->version[n]);
        if (!g_bytes_equal(content, expected)) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                        "blob %u holds what was never written", n);
            return false;
        }
    }
    return true;
}

bool history_start(BlobStore *store, const uint64_t *max_size, Blob **blobs,
                   unsigned skip, GError **error)
{
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        if (n != skip) {
            blobs[n] = blob_store_register(store, "dev", blob_names[n],
                                           n ? BLOB_KIND_SAVESTATE
                                             : BLOB_KIND_PERMANENT,
                                           max_size[n], error);
            if (!blobs[n]) {
                return false;
            }
        }
    }
    return blob_store_start(store, error);
}

static unsigned add_promise(History *history, const Promise *promise)
{
    g_array_append_val(history->promises, *promise);
    return history->promises->len - 1;
}

static void add_cut(History *history, unsigned events, unsigned promise)
{
    Cut cut = { events, promise };

    g_array_append_val(history->cuts, cut);
}

/* The operation may leave the world as it was, or as it would be. */
static unsigned begin(History *history, const World *after)
{
    Promise promise = history->failed;

    promise.worlds[promise.count++] = history->acknowledged;
    promise.worlds[promise.count++] = *after;
    g_assert(promise.count < HISTORY_MAX_WORLDS);
    history->disk->fail_after = history->fail_next;
    history->disk->landing = history->landing++ % SIM_LANDING_COUNT;
    history->fail_next = -1;
    return add_promise(history, &promise);
}

static void end(History *history, const World *after, unsigned promise,
                unsigned first_event, bool done)
{
    unsigned events = history->disk->events->len;
    Promise rest = { 0 };

    history->disk->fail_after = -1;
    for (unsigned i = first_event; i < events; i++) {
        add_cut(history, i + 1, promise);
    }
    if (done) {
        history->acknowledged = *after;
        history->failed.count = 0;
    } else if (memcmp(after, &history->acknowledged, sizeof(*after))) {
        history->failed.worlds[history->failed.count++] = *after;
    }
    rest = history->failed;
    rest.worlds[rest.count++] = history->acknowledged;
    add_cut(history, events, add_promise(history, &rest));
}

static void check_world(History *history)
{
    World world;
    g_autoptr(GError) error = NULL;

    if (!history_read_world(history->store, &world, &error)) {
        g_error("running store: %s", error->message);
    }
    if (memcmp(&world, &history->acknowledged, sizeof(world))) {
        g_error("running store does not hold what was acknowledged");
    }
}

static void write_blobs(History *history, unsigned mask, unsigned deleted)
{
    World after = history->acknowledged;
    BlobChange changes[HISTORY_BLOBS] = { 0 };
    size_t count = 0;
    unsigned first = history->disk->events->len;
    unsigned promise;
    bool done;

    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        if (mask & 1 << n) {
            after.version[n] =
                deleted & 1 << n ? 0 : ++history->last_version;
            changes[count++] = (BlobChange) {
                .blob = history->blobs[n],
                .content = after.version[n]
                           ? history_content(n, after.version[n]) : NULL,
            };
        }
    }
    promise = begin(history, &after);
    done = blob_store_write(history->store, changes, count, NULL);
    end(history, &after, promise, first, done);
    for (size_t i = 0; i < count; i++) {
        g_clear_pointer(&changes[i].content, g_bytes_unref);
    }
    check_world(history);
}

/* A restart changes nothing, also if it fails half way and is repeated. */
static void restart(History *history, bool clean, unsigned skip)
{
    g_autoptr(GError) error = NULL;
    unsigned first = history->disk->events->len;
    unsigned promise = begin(history, &history->acknowledged);
    const Promise *promised;
    BlobStoreOptions options = { .directory_blobs = 4 };
    bool known = false;
    bool done = true;

    if (clean && history->store) {
        done = blob_store_close_clean(history->store, NULL);
    }
    g_clear_pointer(&history->store, blob_store_free);
    do {
        blob_store_free(history->store);
        g_clear_error(&error);
        history->store = blob_store_open(sim_disk_storage(history->disk),
                                         &options, &error);
        if (!history->store) {
            g_error("restart: %s", error->message);
        }
        done = history_start(history->store, history->max_size,
                             history->blobs, skip, &error);
    } while (!done && g_error_matches(error, BLOBSTORE_ERROR,
                                      BLOBSTORE_ERROR_IO));
    if (!done) {
        g_error("restart: %s", error->message);
    }
    if (!history_read_world(history->store, &history->acknowledged,
                            &error)) {
        g_error("restart: %s", error->message);
    }
    /* An operation that had failed may have come to life. */
    promised = &g_array_index(history->promises, Promise, promise);
    for (unsigned i = 0; i < promised->count; i++) {
        known |= !memcmp(&promised->worlds[i], &history->acknowledged,
                         sizeof(World));
    }
    g_assert(known);
    end(history, &history->acknowledged, promise, first, true);
}

static void run_op(History *history, char op)
{
    switch (op) {
    case 'w':
        write_blobs(history, 1, 0);
        break;
    case 'v':
        write_blobs(history, 2, 0);
        break;
    case 'n':
        write_blobs(history, 4, 0);
        break;
    case 'm':
        write_blobs(history, 3, 0);
        break;
    case 'd':
        write_blobs(history, 2, 2);
        break;
    case 'e':
        write_blobs(history, 3, 2);
        break;
    case 'r':
        restart(history, false, HISTORY_BLOBS);
        break;
    case 'c':
        restart(history, true, HISTORY_BLOBS);
        break;
    case 'g':
        history->max_size[1] += 4096;
        restart(history, false, HISTORY_BLOBS);
        break;
    case 'u':
        restart(history, false, 1);
        restart(history, false, HISTORY_BLOBS);
        break;
    case 'F':
        history->fail_next = 0;
        break;
    case 'G':
        history->fail_next = 1;
        break;
    default:
        g_assert_not_reached();
    }
}

History *history_run(const char *ops)
{
    History *history = g_new0(History, 1);

    history->disk = sim_disk_new(NULL, HISTORY_DISK_BYTES);
    history->promises = g_array_new(FALSE, FALSE, sizeof(Promise));
    history->cuts = g_array_new(FALSE, FALSE, sizeof(Cut));
    history->fail_next = -1;
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        history->max_size[n] = 500;
    }
    if (*ops == 'f') {
        ops++;
        restart(history, false, HISTORY_BLOBS);
    } else {
        restart(history, false, HISTORY_BLOBS);
        write_blobs(history, 3, 0);
        write_blobs(history, 1, 0);
        sim_disk_begin(history->disk);
        g_array_set_size(history->cuts, 0);
    }
    for (; *ops; ops++) {
        run_op(history, *ops);
    }
    return history;
}

void history_free(History *history)
{
    blob_store_free(history->store);
    sim_disk_free(history->disk);
    g_array_unref(history->promises);
    g_array_unref(history->cuts);
    g_free(history);
}
