/*
 * The crash explorer's demands on a store after a power failure
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "explorer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "memo.h"
#include "mix.h"

enum {
    DEEP_VERSIONS = 1000,       /* apart from those of what crashed */
    DEEP_RANDOM = 2,
    MAX_PRINTED = 100,          /* failures */
};

static Explorer *the_explorer;

static void print_failure(const Explorer *explorer, const char *why)
{
    printf("FAILED %s", explorer->origin);
    for (unsigned i = 0; i < explorer->crash_count; i++) {
        char name[OUTAGE_NAME_BYTES];

        state_name_print(&explorer->crashes[i].state, name);
        printf("/%u/%s", explorer->crashes[i].cut, name);
    }
    printf(": %s\n", why);
    fflush(stdout);
}

/* This is not safe in a signal handler by the book; the program ends anyway. */
static void print_and_die(int number)
{
    if (the_explorer->origin) {
        print_failure(the_explorer, strsignal(number));
    }
    raise(number);
}

Explorer *explorer_new(uint32_t seed)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGTRAP };
    struct sigaction action = {
        .sa_handler = print_and_die,
        .sa_flags = SA_RESETHAND,
    };
    Explorer *explorer = g_new0(Explorer, 1);

    explorer->seed = seed;
    explorer->disk = sim_disk_new(NULL, HISTORY_DISK_BYTES);
    sim_disk_keep(explorer->disk);
    explorer->opened = g_hash_table_new(g_direct_hash, g_direct_equal);
    explorer->checked = g_hash_table_new(g_direct_hash, g_direct_equal);
    the_explorer = explorer;
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], &action, NULL);
    }
    return explorer;
}

void explorer_free(Explorer *explorer)
{
    sim_disk_free(explorer->disk);
    g_hash_table_unref(explorer->opened);
    g_hash_table_unref(explorer->checked);
    g_free(explorer);
}

void explorer_fail(Explorer *explorer, const char *why)
{
    if (explorer->failures++ < MAX_PRINTED) {
        print_failure(explorer, why);
    }
}

/*
 * The exceptions of docs/design.md: only garble of the first write of a format
 * has reached the medium, or garble of two crashes in it.  The medium is
 * refused; it has nothing to lose yet.
 */
static bool may_be_refused(const Explorer *explorer, const Outage *outage,
                           const Promise *promise, const GError *error)
{
    const StateName *last =
        &explorer->crashes[explorer->crash_count - 1].state;
    bool garbled_before = explorer->garbled ||
                          (explorer->crash_count == 2 &&
                           explorer->crashes[0].state.kind == 'g');

    if (!g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_FOREIGN)) {
        return false;
    }
    for (unsigned i = 0; i < promise->count; i++) {
        if (!history_is_nothing(&promise->worlds[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < outage->count; i++) {
        if (outage->loose[i].offset >= 12288) {
            return false;       /* not the first write of the format */
        }
    }
    return outage_is_garble_only(outage, last) ||
           (last->kind == 'g' && garbled_before);
}

static void fail_world(Explorer *explorer, const char *why,
                       const World *world, const KeyState *keys)
{
    g_autofree char *text = g_strdup_printf(
        "%s (versions %u %u %u, data key %u, secrets %x, target %u)", why,
        world->version[0], world->version[1], world->version[2],
        keys->data_key, keys->secrets, keys->target);

    explorer_fail(explorer, text);
}

/* A store that never had a key is opened without looking for one. */
static BlobStore *open_read_only(Explorer *explorer, const Promise *promise,
                                 GError **error)
{
    BlobStoreOptions options = { .read_only = true, .directory_blobs = 4 };
    BlobStorage *storage = explorer->disk->storage;

    if (promise->key_count == 1 && !promise->keys[0].data_key) {
        return blob_store_open(storage, &options, error);
    }
    return keyring_open(storage, &options, 0, error);
}

bool explorer_check_read(Explorer *explorer, const Outage *outage,
                         const Promise *promise, World *world,
                         KeyState *keys)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = open_read_only(explorer, promise, &error);
    const char *why;

    if (!store && may_be_refused(explorer, outage, promise, error)) {
        explorer->refused++;
        return false;
    }
    if (!store || !history_read_world(store, world, &error) ||
        !keyring_state(store, keys, &error)) {
        explorer_fail(explorer, error->message);
        return false;
    }
    if (!history_keeps_promise(promise, world)) {
        fail_world(explorer, "holds what it should not", world, keys);
        return false;
    }
    why = history_breaks_promise_of_keys(promise, keys, explorer->disk);
    if (why) {
        fail_world(explorer, why, world, keys);
        return false;
    }
    return true;
}

/*
 * After a crash: the store recovers, opens again, takes a write of every
 * blob, and is closed cleanly and opened twice.  Returns how many cuts the
 * recovery alone has, or 0 if something is wrong.
 */
static unsigned use_again(History *history, GError **error)
{
    static const char ops[] = "rwvncr";
    unsigned cuts = 0;

    memo_begin_random(DEEP_RANDOM);
    for (const char *op = ops; *op; op++) {
        if (!history_do(history, *op, error)) {
            return 0;
        }
        if (op == ops) {
            cuts = history->cuts->len;
        }
    }
    return cuts;
}

/* The second crash is in the recovery itself as often as after it. */
static Crash draw_crash(const History *history, unsigned recovery_cuts,
                        bool in_recovery, GRand *random, Outage *outage)
{
    Crash crash = { 0 };

    crash.cut = g_rand_int_range(random, 0, in_recovery ? recovery_cuts
                                            : history->cuts->len);
    outage_prepare(outage, history->disk, history->disk->events,
                   g_array_index(history->cuts, Cut, crash.cut).events);
    crash.state = outage_draw(outage, random);
    return crash;
}

static void crash_again(Explorer *explorer, const History *history,
                        unsigned recovery_cuts)
{
    g_autoptr(GRand) random =
        g_rand_new_with_seed(mix(explorer->disk->hash, explorer->seed));
    Tally tally = explorer->tally;

    if (explorer->replay) {
        explorer->no_such |= !explorer_visit_one(explorer, history,
                                                 explorer->replay, false);
        return;
    }
    explorer->tally = TALLY_SECOND;
    for (unsigned i = 0; i < explorer->second_crashes; i++) {
        unsigned mark = sim_disk_mark(explorer->disk);
        Outage outage;
        Crash crash = draw_crash(history, recovery_cuts, i % 2 == 0, random,
                                 &outage);

        explorer_visit(explorer, history, &outage, &crash, false);
        sim_disk_undo(explorer->disk, mark);
    }
    explorer->tally = tally;
}

static void go_deep(Explorer *explorer, const Remains *remains)
{
    unsigned mark = sim_disk_mark(explorer->disk);
    g_autoptr(GError) error = NULL;
    GArray *events = sim_disk_take_events(explorer->disk);
    History *history = history_resume(explorer->disk, remains);
    unsigned recovery_cuts;

    history->last_version += DEEP_VERSIONS;
    recovery_cuts = use_again(history, &error);

    explorer->deep++;
    sim_disk_undo(explorer->disk, mark);
    if (recovery_cuts) {
        crash_again(explorer, history, recovery_cuts);
    } else {
        explorer_fail(explorer, error->message);
    }
    history_free(history);
    sim_disk_put_events(explorer->disk, events);
}

/* Adds the hash to a set; returns whether it is new there. */
static bool add(GHashTable *set, uint64_t hash)
{
    return g_hash_table_add(set, (gpointer)(uintptr_t)hash);
}

static uint64_t mix_promise(uint64_t hash, const Promise *promise)
{
    for (unsigned i = 0; i < promise->count; i++) {
        for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
            hash = mix(hash, promise->worlds[i].version[n]);
        }
    }
    for (unsigned i = 0; i < promise->key_count; i++) {
        const KeyState *keys = &promise->keys[i];

        hash = mix(hash, keys->data_key << 16 | keys->secrets << 8 |
                         keys->target);
    }
    return mix(hash, promise->gone != NULL);
}

static void check_state(Explorer *explorer, const History *history,
                        const Outage *outage, const Promise *promise,
                        bool deep)
{
    uint64_t hash = explorer->disk->hash;
    World world;
    KeyState keys;

    if (!add(explorer->checked, mix_promise(hash, promise))) {
        return;
    }
    explorer->states[explorer->tally] += add(explorer->opened, hash);
    if (explorer_check_read(explorer, outage, promise, &world, &keys) &&
        deep && mix(hash, explorer->seed) % explorer->deep_every == 0) {
        Remains remains = history_remains(history, promise, &world, &keys);

        go_deep(explorer, &remains);
    }
}

bool explorer_visit(Explorer *explorer, const History *history,
                    const Outage *outage, const Crash *crash, bool deep)
{
    unsigned mark = sim_disk_mark(explorer->disk);
    const Cut *cut = &g_array_index(history->cuts, Cut, crash->cut);
    bool exists = outage_apply(outage, &crash->state);

    if (exists) {
        explorer->crashes[explorer->crash_count++] = *crash;
        check_state(explorer, history, outage,
                    &g_array_index(history->promises, Promise, cut->promise),
                    deep);
        explorer->crash_count--;
    }
    sim_disk_undo(explorer->disk, mark);
    return exists;
}

bool explorer_visit_one(Explorer *explorer, const History *history,
                        const Crash *crash, bool deep)
{
    unsigned mark = sim_disk_mark(explorer->disk);
    Outage outage;
    bool exists;

    if (crash->cut >= history->cuts->len) {
        return false;
    }
    outage_prepare(&outage, explorer->disk, history->disk->events,
                   g_array_index(history->cuts, Cut, crash->cut).events);
    exists = explorer_visit(explorer, history, &outage, crash, deep);
    sim_disk_undo(explorer->disk, mark);
    return exists;
}

static void visit_range(Explorer *explorer, const History *history,
                        const Outage *outage, unsigned cut, char kind,
                        unsigned numbers, unsigned hows)
{
    for (unsigned number = 0; number < numbers; number++) {
        for (unsigned how = 0; how < hows; how++) {
            Crash crash = { cut, { kind, number, how } };

            explorer_visit(explorer, history, outage, &crash, true);
        }
    }
}

static void visit_samples(Explorer *explorer, const History *history,
                          const Outage *outage, unsigned cut)
{
    Tally tally = explorer->tally;

    explorer->tally = MAX(tally, TALLY_RANDOM);
    for (unsigned i = 0; i < explorer->samples; i++) {
        Crash crash = { cut, { 'r', mix(mix(explorer->seed, cut), i) } };

        explorer_visit(explorer, history, outage, &crash, true);
    }
    explorer->tally = tally;
}

void explorer_visit_all(Explorer *explorer, const History *history,
                        unsigned cut, bool drawn)
{
    unsigned mark = sim_disk_mark(explorer->disk);
    Outage outage;

    outage_prepare(&outage, explorer->disk, history->disk->events,
                   g_array_index(history->cuts, Cut, cut).events);
    if (outage_masks(&outage, 's')) {
        explorer->tally = drawn ? TALLY_RANDOM : TALLY_EXHAUSTIVE;
        visit_range(explorer, history, &outage, cut, 's',
                    outage_masks(&outage, 's'), 1);
    } else {
        explorer->tally = drawn ? TALLY_RANDOM : TALLY_CLASSES;
        visit_range(explorer, history, &outage, cut, 'c',
                    outage_masks(&outage, 'c'), 1);
        visit_range(explorer, history, &outage, cut, 'p', outage.count + 1,
                    1);
        visit_range(explorer, history, &outage, cut, 'm', outage.count,
                    OUTAGE_MISSING_HOWS);
        visit_samples(explorer, history, &outage, cut);
    }
    visit_range(explorer, history, &outage, cut, 'g', outage.count,
                OUTAGE_GARBLED_HOWS);
    sim_disk_undo(explorer->disk, mark);
}
