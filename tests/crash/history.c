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
 * m, a  write blobs 0 and 1, write all three together
 * d     delete blob 1
 * e     write blob 0 and delete blob 1 together
 * r     the process ends; the store is opened and started again
 * c     the same after a clean close
 * g     the same, and blob 1 is registered larger
 * s     the same, and blob 1 is registered as small as at first
 * u     the same, first without and then with blob 1
 * i, j  blob 0, or 1, is registered larger in the running store; if that
 *       fails, as it was
 */
const char history_ops[] = "wvnmadercgsuij";

const char history_fail_letters[] = "FGHIJKLM";
static const char landing_digits[SIM_LANDING_COUNT + 1] = "01234";

enum {
    SMALLEST_MAX_SIZE = 500,    /* of blobs 0 and 1 */
    LARGER_MAX_SIZE = 8692,     /* which takes a larger slot */
    CONTENT_MAX_BYTES = 3500,   /* of blob 2 */
};

static const char *const blob_names[HISTORY_BLOBS] = { "a", "b", "c" };

/* Less than a sector, but for some versions of blob 2 */
static size_t make_content(unsigned n, unsigned version,
                           uint8_t data[CONTENT_MAX_BYTES])
{
    size_t bytes = 8 + (n * 131 + version * 67) % 400;

    if (n == 2 && version % 3 == 2) {
        bytes += 3000;
    }

    for (size_t i = 0; i < bytes; i++) {
        data[i] = n * 71 + version * 13 + i * (version | 1);
    }
    data[0] = version;
    data[1] = version >> 8;
    data[2] = n;
    data[3] = version >> 16;
    return bytes;
}

GBytes *history_content(unsigned n, unsigned version)
{
    uint8_t data[CONTENT_MAX_BYTES];

    return g_bytes_new(data, make_content(n, version, data));
}

static bool read_version(GBytes *content, unsigned n, unsigned *version)
{
    uint8_t expected[CONTENT_MAX_BYTES];
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(content, &bytes);

    if (bytes < 8) {
        return false;
    }
    *version = data[0] | data[1] << 8 | data[3] << 16;
    return bytes == make_content(n, *version, expected) &&
           !memcmp(data, expected, bytes);
}

bool history_read_world(BlobStore *store, World *world, GError **error)
{
    memset(world, 0, sizeof(*world));
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        Blob *blob = blob_store_find(store, "dev", blob_names[n]);
        g_autoptr(GBytes) content = NULL;

        if (blob && !blob_store_read(store, blob, &content, NULL, error)) {
            return false;
        }
        if (content && !read_version(content, n, &world->version[n])) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                        "blob %u holds what was never written", n);
            return false;
        }
    }
    return true;
}

bool history_keeps_promise(const Promise *promise, const World *world)
{
    for (unsigned i = 0; i < promise->count; i++) {
        if (!memcmp(&promise->worlds[i], world, sizeof(*world))) {
            return true;
        }
    }
    return false;
}

static bool register_blob(History *history, unsigned n, GError **error)
{
    history->blobs[n] =
        blob_store_register(history->store, "dev", blob_names[n],
                            n ? BLOB_KIND_SAVESTATE : BLOB_KIND_PERMANENT,
                            history->max_size[n], error);
    return history->blobs[n];
}

/* Registers all blobs but @skip and starts the store. */
static bool start(History *history, unsigned skip, GError **error)
{
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        if (n != skip && !register_blob(history, n, error)) {
            return false;
        }
    }
    return blob_store_start(history->store, error);
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
    g_assert(promise.count <= HISTORY_MAX_WORLDS);
    history->disk->fail_after = history->fail_next;
    history->disk->landing = history->landing;
    history->landing = (history->landing + 1) % SIM_LANDS_LATE;
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

static bool check_world(History *history, GError **error)
{
    World world;

    if (!history_read_world(history->store, &world, error)) {
        g_prefix_error(error, "running store: ");
        return false;
    }
    if (memcmp(&world, &history->acknowledged, sizeof(world))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "running store does not hold what was acknowledged");
        return false;
    }
    return true;
}

static bool write_blobs(History *history, unsigned mask, unsigned deleted,
                        GError **error)
{
    World after = history->acknowledged;
    BlobChange changes[HISTORY_BLOBS] = { 0 };
    size_t count = 0;
    unsigned first = history->disk->events->len;
    bool may_fail = history->fail_next >= 0;
    unsigned promise;
    g_autoptr(GError) local = NULL;
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
    done = blob_store_write(history->store, changes, count, &local);
    end(history, &after, promise, first, done);
    for (size_t i = 0; i < count; i++) {
        g_clear_pointer(&changes[i].content, g_bytes_unref);
    }
    if (!done && !(may_fail && g_error_matches(local, BLOBSTORE_ERROR,
                                               BLOBSTORE_ERROR_IO))) {
        g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                   "store is not writable: ");
        return false;
    }
    return check_world(history, error);
}

bool history_is_nothing(const World *world)
{
    static const World nothing;

    return !memcmp(world, &nothing, sizeof(nothing));
}

/* Whether a failing disk explains @error; nothing else may fail. */
static bool is_as_told(const History *history, const GError *error)
{
    /* STALE: a failed write of a format has landed since it was read. */
    return g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO) ||
           (g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_STALE) &&
            history_is_nothing(&history->acknowledged));
}

/* Opens and starts; if the disk is to fail, more than once. */
static bool reopen(History *history, unsigned skip, GError **error)
{
    BlobStoreOptions options = { .directory_blobs = 4 };
    unsigned attempts = history->disk->fail_after >= 0 ? 3 : 1;

    while (true) {
        g_autoptr(GError) local = NULL;

        g_clear_pointer(&history->store, blob_store_free);
        history->store = blob_store_open(sim_disk_storage(history->disk),
                                         &options, &local);
        if (history->store && start(history, skip, &local)) {
            return true;
        }
        if (!--attempts || !is_as_told(history, local)) {
            g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                       "restart: ");
            return false;
        }
    }
}

/* A restart changes nothing, also if it fails half way and is repeated. */
static bool restart(History *history, bool clean, unsigned skip,
                    GError **error)
{
    unsigned first = history->disk->events->len;
    unsigned promise = begin(history, &history->acknowledged);
    World world;

    if (clean && history->store) {
        blob_store_close_clean(history->store, NULL);
    }
    if (!reopen(history, skip, error) ||
        !history_read_world(history->store, &world, error)) {
        return false;
    }
    /* An operation that had failed may have come to life. */
    if (!history_keeps_promise(&g_array_index(history->promises, Promise,
                                              promise), &world)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "restart: holds versions %u %u %u", world.version[0],
                    world.version[1], world.version[2]);
        return false;
    }
    history->acknowledged = world;
    end(history, &world, promise, first, true);
    return true;
}

static bool restart_without_first(History *history, GError **error)
{
    unsigned first_cut = history->cuts->len;
    bool done = restart(history, false, 1, error) &&
                restart(history, false, HISTORY_BLOBS, error);

    history->last_op_cut = first_cut;
    return done;
}

static bool grow(History *history, unsigned n, GError **error)
{
    uint64_t before = history->max_size[n];
    unsigned first = history->disk->events->len;
    unsigned promise = begin(history, &history->acknowledged);
    bool may_fail = history->disk->fail_after >= 0;
    g_autoptr(GError) local = NULL;
    bool done;

    history->max_size[n] = MAX(before, LARGER_MAX_SIZE);
    blob_store_unregister(history->store, history->blobs[n]);
    done = register_blob(history, n, &local) &&
           blob_store_start(history->store, &local);
    end(history, &history->acknowledged, promise, first, done);
    if (!done) {
        history->max_size[n] = before;
        blob_store_unregister(history->store, history->blobs[n]);
        if (!may_fail || !g_error_matches(local, BLOBSTORE_ERROR,
                                          BLOBSTORE_ERROR_IO) ||
            !register_blob(history, n, NULL)) {
            g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                       "growth: ");
            return false;
        }
    }
    return check_world(history, error);
}

bool history_do(History *history, char op, GError **error)
{
    const char *letter = strchr(history_fail_letters, op);

    if (letter) {
        history->fail_next = letter - history_fail_letters;
        return true;
    }
    if (strchr(landing_digits, op)) {
        history->landing = op - '0';
        return true;
    }
    history->last_op_cut = history->cuts->len;
    switch (op) {
    case 'w':
        return write_blobs(history, 1, 0, error);
    case 'v':
        return write_blobs(history, 2, 0, error);
    case 'n':
        return write_blobs(history, 4, 0, error);
    case 'm':
        return write_blobs(history, 3, 0, error);
    case 'a':
        return write_blobs(history, 7, 0, error);
    case 'd':
        return write_blobs(history, 2, 2, error);
    case 'e':
        return write_blobs(history, 3, 2, error);
    case 'f':
    case 'r':
        return restart(history, false, HISTORY_BLOBS, error);
    case 'c':
        return restart(history, true, HISTORY_BLOBS, error);
    case 'g':
        history->max_size[1] += 4096;
        return restart(history, false, HISTORY_BLOBS, error);
    case 's':
        history->max_size[1] = SMALLEST_MAX_SIZE;
        return restart(history, false, HISTORY_BLOBS, error);
    case 'u':
        return restart_without_first(history, error);
    case 'i':
        return grow(history, 0, error);
    case 'j':
        return grow(history, 1, error);
    default:
        g_assert_not_reached();
    }
}

bool history_is_valid(const char *ops)
{
    size_t first = strspn(ops, "FGHIJKLM01234");

    if (ops[first] == 'f') {
        ops += first + 1;
    }
    for (size_t i = 0; ops[i]; i++) {
        if (!strchr(history_ops, ops[i]) &&
            !strchr(history_fail_letters, ops[i]) &&
            !strchr(landing_digits, ops[i])) {
            return false;
        }
    }
    return strlen(ops) <= HISTORY_MAX_OPS;
}

static History *new_history(SimDisk *disk)
{
    History *history = g_new0(History, 1);

    history->disk = disk;
    history->promises = g_array_new(FALSE, FALSE, sizeof(Promise));
    history->cuts = g_array_new(FALSE, FALSE, sizeof(Cut));
    history->fail_next = -1;
    history->max_size[0] = SMALLEST_MAX_SIZE;
    history->max_size[1] = SMALLEST_MAX_SIZE;
    history->max_size[2] = CONTENT_MAX_BYTES;
    return history;
}

History *history_try(const char *ops, GError **error)
{
    History *history = new_history(sim_disk_new(NULL, HISTORY_DISK_BYTES));
    bool done = true;

    history->owns_disk = true;
    if (!strchr(ops, 'f')) {
        done = history_do(history, 'f', error) &&
               history_do(history, 'm', error) &&
               history_do(history, 'w', error);
        sim_disk_begin(history->disk);
        g_array_set_size(history->cuts, 0);
        history->last_op_cut = 0;
    }
    for (; done && *ops; ops++) {
        done = history_do(history, *ops, error);
    }
    if (!done) {
        g_clear_pointer(&history, history_free);
    }
    return history;
}

History *history_run(const char *ops)
{
    g_autoptr(GError) error = NULL;
    History *history = history_try(ops, &error);

    if (!history) {
        g_error("%s: %s", ops, error->message);
    }
    return history;
}

History *history_resume(SimDisk *disk, const World *world,
                        const uint64_t *max_size, unsigned last_version)
{
    History *history = new_history(disk);

    history->acknowledged = *world;
    memcpy(history->max_size, max_size, sizeof(history->max_size));
    history->last_version = last_version;
    return history;
}

void history_free(History *history)
{
    blob_store_free(history->store);
    history->disk->fail_after = -1;
    if (history->owns_disk) {
        sim_disk_free(history->disk);
    }
    g_array_unref(history->promises);
    g_array_unref(history->cuts);
    g_free(history);
}
