/*
 * Crash explorer: every history, every cut, every subset of what was not
 * flushed
 *
 *   explore [--ops=N] [--random=N] [--seed=N] [--id=ID]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "history.h"

enum {
    EXHAUSTIVE_SECTORS = 12,
    SAMPLES = 64,
    BLOCK_SECTORS = 8,
    MAX_UNFLUSHED = 512,
};

/* A sector that was written but not flushed when the power failed */
typedef struct Loose {
    uint64_t offset;
    const uint8_t *data;
    unsigned write;             /* which write it belongs to */
    unsigned class;             /* role within that write */
    bool failed;                /* the write was reported as failed */
} Loose;

typedef struct Explorer {
    const char *ops;
    const History *history;
    unsigned cut;
    uint8_t *base;              /* what is durable at the cut */
    Loose loose[MAX_UNFLUSHED];
    unsigned loose_count;
    SimDisk *disk;              /* on which a state is opened */
    GHashTable *seen;           /* of the states of this cut */
    uint64_t states;
    uint64_t deep;
    uint64_t failures;
    uint64_t refused;           /* formats cut too early to be recognised */
    GRand *random;
    const char *only;           /* --id */
} Explorer;

static bool keep_promise(const Promise *promise, const World *world)
{
    for (unsigned i = 0; i < promise->count; i++) {
        if (!memcmp(&promise->worlds[i], world, sizeof(*world))) {
            return true;
        }
    }
    return false;
}

static void fail(Explorer *explorer, const char *state, const char *why)
{
    explorer->failures++;
    printf("FAILED %s/%u/%s: %s\n", explorer->ops, explorer->cut, state, why);
}

/*
 * The one exception of docs/design.md: nothing but garble of the first write
 * of a format has reached the medium.  It is refused; there is nothing to
 * lose yet.
 */
static bool is_garble_only(const Explorer *explorer, const GError *error,
                           const char *state)
{
    return explorer->ops[0] == 'f' && explorer->cut <= 1 && *state == 'g' &&
           g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN);
}

/* Opens what is on explorer->disk without writing. */
static bool check_read(Explorer *explorer, const Promise *promise,
                       World *world, const char *state)
{
    BlobStoreOptions options = { .read_only = true, .directory_blobs = 4 };
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store =
        blob_store_open(sim_disk_storage(explorer->disk), &options, &error);

    if (!store && is_garble_only(explorer, error, state)) {
        explorer->refused++;
        return false;
    }
    if (!store || !history_read_world(store, world, &error)) {
        fail(explorer, state, error->message);
        return false;
    }
    if (!keep_promise(promise, world)) {
        g_autofree char *why = g_strdup_printf(
            "holds versions %u %u %u", world->version[0], world->version[1],
            world->version[2]);

        fail(explorer, state, why);
        return false;
    }
    return true;
}

/* Opens for writing, is cut short itself, and writes again. */
static void check_deep(Explorer *explorer, const World *world,
                       const char *state)
{
    Promise same = { 1, { *world } };
    World again;
    SimDisk *disk = explorer->disk;
    g_autofree uint8_t *image = g_memdup2(disk->data, disk->bytes);
    g_autoptr(GError) error = NULL;
    BlobStoreOptions options = { .directory_blobs = 4 };
    Blob *blobs[HISTORY_BLOBS];
    BlobStore *store;

    explorer->deep++;
    sim_disk_begin(disk);
    store = blob_store_open(sim_disk_storage(disk), &options, &error);
    if (!store || !history_start(store, explorer->history->max_size, blobs,
                                 HISTORY_BLOBS, &error)) {
        fail(explorer, state, error->message);
        blob_store_free(store);
        return;
    }
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        g_autoptr(GBytes) content = history_content(n, 1000 + n);
        BlobChange change = { .blob = blobs[n], .content = content };

        same.worlds[0].version[n] = 1000 + n;
        if (!blob_store_write(store, &change, 1, &error)) {
            fail(explorer, state, error->message);
        }
    }
    blob_store_free(store);
    check_read(explorer, &same, &again, state);

    /* A second crash: after any event, with the last write half there. */
    same.worlds[0] = *world;
    for (unsigned cut = 0; cut < disk->events->len && cut < 8; cut++) {
        memcpy(disk->data, image, disk->bytes);
        for (unsigned i = 0; i <= cut; i++) {
            SimEvent *event = &g_array_index(disk->events, SimEvent, i);
            size_t bytes = event->bytes;

            if (i == cut && bytes > 4096) {
                bytes = 4096;
            }
            if (event->kind == SIM_WRITE) {
                memcpy(disk->data + event->offset, event->data, bytes);
            }
        }
        if (cut < 5) {          /* the epoch record: nothing else is new */
            check_read(explorer, &same, &again, state);
        }
    }
    memcpy(disk->data, image, disk->bytes);
}

/* The explorer's disk holds base plus what @state describes. */
static void visit(Explorer *explorer, const Promise *promise,
                  const char *state)
{
    World world;
    gint64 *hash;
    uint64_t h = 14695981039346656037u;

    if (explorer->only && strcmp(explorer->only, state)) {
        return;
    }
    for (unsigned i = 0; i < explorer->loose_count; i++) {
        const uint64_t *words =
            (const uint64_t *)(explorer->disk->data +
                               explorer->loose[i].offset);

        for (unsigned w = 0; w < SIM_SECTOR_BYTES / sizeof(*words); w++) {
            h = (h ^ words[w]) * 1099511628211u;
            h ^= h >> 29;
        }
    }
    hash = g_new(gint64, 1);
    *hash = h;
    if (!g_hash_table_add(explorer->seen, hash)) {
        return;
    }
    explorer->states++;
    if (check_read(explorer, promise, &world, state) &&
        (explorer->only || explorer->states % 16 == 0)) {
        check_deep(explorer, &world, state);
    }
}

static void restore(Explorer *explorer)
{
    for (unsigned i = 0; i < explorer->loose_count; i++) {
        uint64_t block = explorer->loose[i].offset / 4096 * 4096;

        memcpy(explorer->disk->data + block, explorer->base + block, 4096);
    }
}

static void apply(Explorer *explorer, const bool *persisted)
{
    for (unsigned i = 0; i < explorer->loose_count; i++) {
        if (persisted[i]) {
            memcpy(explorer->disk->data + explorer->loose[i].offset,
                   explorer->loose[i].data, SIM_SECTOR_BYTES);
        }
    }
}

static void visit_subset(Explorer *explorer, const Promise *promise,
                         const bool *persisted, const char *name)
{
    apply(explorer, persisted);
    visit(explorer, promise, name);
    restore(explorer);
}

/* The power failed while this sector, or its block, was being written. */
static void visit_garbled(Explorer *explorer, const Promise *promise,
                          const bool *persisted, unsigned garbled,
                          size_t bytes, const char *name)
{
    uint64_t offset = explorer->loose[garbled].offset / bytes * bytes;

    apply(explorer, persisted);
    for (size_t i = 0; i < bytes; i += 4) {
        guint32 word = g_rand_int(explorer->random);

        memcpy(explorer->disk->data + offset + i, &word, 4);
    }
    visit(explorer, promise, name);
    restore(explorer);
}

/* Which sectors of a write are alike: header, first, middle, last, trailer */
static unsigned class_of(const SimEvent *event, size_t at)
{
    if (at < 1280) {
        return 0;
    }
    if (at + 1280 >= event->bytes) {
        return 4;
    }
    if (at < 2048) {
        return 1;
    }
    return at + 2048 >= event->bytes ? 3 : 2;
}

/*
 * Forgets what is loose in a range that a durable write has settled; what has
 * failed may still land, and on top of it.
 */
static void settle(Explorer *explorer, const SimEvent *event)
{
    unsigned kept = 0;

    memcpy(explorer->base + event->offset, event->data, event->bytes);
    for (unsigned i = 0; i < explorer->loose_count; i++) {
        const Loose *loose = &explorer->loose[i];

        if (loose->failed || loose->offset < event->offset ||
            loose->offset >= event->offset + event->bytes) {
            explorer->loose[kept++] = *loose;
        }
    }
    explorer->loose_count = kept;
}

static void loosen(Explorer *explorer, const SimEvent *event, unsigned write)
{
    for (size_t at = 0; at < event->bytes; at += SIM_SECTOR_BYTES) {
        if (memcmp(explorer->base + event->offset + at, event->data + at,
                   SIM_SECTOR_BYTES)) {
            g_assert(explorer->loose_count < MAX_UNFLUSHED);
            explorer->loose[explorer->loose_count++] = (Loose) {
                event->offset + at, event->data + at, write,
                class_of(event, at), event->failed,
            };
        }
    }
}

/* What a reader of the cut sees for sure, and what is loose. */
static void prepare(Explorer *explorer, unsigned events)
{
    const GArray *log = explorer->history->disk->events;
    unsigned writes = 0;

    explorer->loose_count = 0;
    memcpy(explorer->base, explorer->history->disk->start,
           HISTORY_DISK_BYTES);
    for (unsigned i = 0; i < events; i++) {
        const SimEvent *event = &g_array_index(log, SimEvent, i);

        if (event->kind == SIM_WRITE) {
            loosen(explorer, event, writes++);
        } else if (event->kind == SIM_DURABLE) {
            settle(explorer, event - 1);
        } else {
            for (unsigned j = 0; j < explorer->loose_count; j++) {
                memcpy(explorer->base + explorer->loose[j].offset,
                       explorer->loose[j].data, SIM_SECTOR_BYTES);
            }
            explorer->loose_count = 0;
            writes = 0;
        }
    }
    memcpy(explorer->disk->data, explorer->base, HISTORY_DISK_BYTES);
}

static void explore_all_subsets(Explorer *explorer, const Promise *promise)
{
    unsigned n = explorer->loose_count;

    for (unsigned subset = 0; subset < 1u << n; subset++) {
        bool persisted[EXHAUSTIVE_SECTORS];
        char name[32];

        for (unsigned i = 0; i < n; i++) {
            persisted[i] = subset & 1 << i;
        }
        snprintf(name, sizeof(name), "s%x", subset);
        visit_subset(explorer, promise, persisted, name);
    }
}

static void explore_classes(Explorer *explorer, const Promise *promise)
{
    unsigned n = explorer->loose_count;
    unsigned writes = explorer->loose[n - 1].write + 1;
    unsigned classes = MIN(5 * writes, EXHAUSTIVE_SECTORS);
    bool persisted[MAX_UNFLUSHED];
    char name[32];

    for (unsigned subset = 0; subset < 1u << classes; subset++) {
        for (unsigned i = 0; i < n; i++) {
            unsigned class = 5 * explorer->loose[i].write +
                             explorer->loose[i].class;

            persisted[i] = subset & 1 << (class % classes);
        }
        snprintf(name, sizeof(name), "c%x", subset);
        visit_subset(explorer, promise, persisted, name);
    }
    for (unsigned sample = 0; sample < SAMPLES; sample++) {
        g_autoptr(GRand) random = g_rand_new_with_seed(sample);

        for (unsigned i = 0; i < n; i++) {
            persisted[i] = g_rand_boolean(random);
        }
        snprintf(name, sizeof(name), "r%u", sample);
        visit_subset(explorer, promise, persisted, name);
    }
}

static void explore_single(Explorer *explorer, const Promise *promise)
{
    unsigned n = explorer->loose_count;
    bool persisted[MAX_UNFLUSHED];
    char name[32];

    for (unsigned i = 0; i <= n; i++) {
        for (unsigned j = 0; j < n; j++) {
            persisted[j] = j < i;
        }
        snprintf(name, sizeof(name), "p%u", i);
        visit_subset(explorer, promise, persisted, name);
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned how = 0; how < 6; how++) {
            for (unsigned j = 0; j < n; j++) {
                persisted[j] = how % 3 == 0 ? j < i : how % 3 == 1;
            }
            persisted[i] = false;
            snprintf(name, sizeof(name), "g%u.%u", i, how);
            visit_garbled(explorer, promise, persisted, i,
                          how < 3 ? SIM_SECTOR_BYTES : 4096, name);
        }
    }
}

static void explore_cut(Explorer *explorer, const Cut *cut)
{
    const Promise *promise = &g_array_index(explorer->history->promises,
                                            Promise, cut->promise);

    prepare(explorer, cut->events);
    g_hash_table_remove_all(explorer->seen);
    if (explorer->loose_count <= EXHAUSTIVE_SECTORS) {
        explore_all_subsets(explorer, promise);
    } else {
        explore_classes(explorer, promise);
    }
    explore_single(explorer, promise);
}

static void explore_history(Explorer *explorer, const char *ops)
{
    History *history = history_run(ops);

    explorer->ops = ops;
    explorer->history = history;
    for (unsigned i = 0; i < history->cuts->len; i++) {
        explorer->cut = i;
        explore_cut(explorer, &g_array_index(history->cuts, Cut, i));
    }
    history_free(history);
}

static void explore_all(Explorer *explorer, unsigned length, bool format)
{
    unsigned kinds = strlen(history_ops);
    unsigned total = 1;

    for (unsigned i = 0; i < length; i++) {
        total *= kinds;
    }
    for (unsigned i = 0; i < total; i++) {
        char ops[HISTORY_MAX_OPS + 2] = { 0 };
        unsigned rest = i;
        unsigned at = 0;

        if (format) {
            ops[at++] = 'f';
        }
        for (unsigned j = 0; j < length; j++) {
            ops[at++] = history_ops[rest % kinds];
            rest /= kinds;
        }
        explore_history(explorer, ops);
    }
}

/* Histories that have found bugs once */
static void explore_known(Explorer *explorer)
{
    static const char *const known[] = {
        "mGeGGg",   /* the only durable copy of the directory was replaced */
        "geFvd",    /* a failed write came to life after a delete */
        "mdGnwn",   /* a failed write landed on a later one */
        "Gncmcr",   /* the same with a copy of the directory */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        explore_history(explorer, known[i]);
    }
}

static void explore_id(Explorer *explorer, const char *id)
{
    g_auto(GStrv) parts = g_strsplit(id, "/", 3);
    History *history = history_run(parts[0]);

    explorer->ops = parts[0];
    explorer->history = history;
    explorer->cut = atoi(parts[1]);
    explorer->only = parts[2];
    explore_cut(explorer, &g_array_index(history->cuts, Cut, explorer->cut));
    history_free(history);
}

int main(int argc, char **argv)
{
    gint length = 2;
    gint random = 200;
    gint seed = 1;
    g_autofree char *id = NULL;
    const GOptionEntry entries[] = {
        { "ops", 0, 0, G_OPTION_ARG_INT, &length, "length of histories", "N" },
        { "random", 0, 0, G_OPTION_ARG_INT, &random,
          "longer histories, drawn by chance", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of those", "N" },
        { "id", 0, 0, G_OPTION_ARG_STRING, &id, "replay one state", "ID" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    Explorer explorer = { 0 };
    gint64 start = g_get_monotonic_time();
    double seconds;
    uint64_t exhaustive;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    explorer.base = g_malloc(HISTORY_DISK_BYTES);
    explorer.disk = sim_disk_new(NULL, HISTORY_DISK_BYTES);
    explorer.seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                          NULL);
    explorer.random = g_rand_new_with_seed(seed);
    if (id) {
        explore_id(&explorer, id);
    } else {
        for (gint n = 0; n <= length; n++) {
            explore_all(&explorer, n, false);
            if (n < length) {
                explore_all(&explorer, n, true);
            }
        }
        exhaustive = explorer.states;
        explore_known(&explorer);
        for (gint n = 0; n < random; n++) {
            char ops[HISTORY_MAX_OPS + 1] = { 0 };
            unsigned kinds = strlen(history_ops);

            for (gint i = 0; i < MIN(length + 4, HISTORY_MAX_OPS); i++) {
                ops[i] = history_ops[g_rand_int_range(explorer.random, 0,
                                                      kinds)];
            }
            explore_history(&explorer, ops);
        }
        seconds = (g_get_monotonic_time() - start) / 1e6;
        printf("%" G_GUINT64_FORMAT " states (%" G_GUINT64_FORMAT
               " of all histories up to %d operations, %" G_GUINT64_FORMAT
               " of %d longer ones, seed %d), %" G_GUINT64_FORMAT
               " written to again, %" G_GUINT64_FORMAT " refused, "
               "%.0f states/s\n", explorer.states,
               exhaustive, length, explorer.states - exhaustive, random, seed,
               explorer.deep, explorer.refused, explorer.states / seconds);
    }
    printf("%s: %" G_GUINT64_FORMAT " broken promises\n",
           explorer.failures ? "FAILED" : "passed", explorer.failures);
    g_free(explorer.base);
    sim_disk_free(explorer.disk);
    g_hash_table_unref(explorer.seen);
    g_rand_free(explorer.random);
    return explorer.failures ? 1 : 0;
}
