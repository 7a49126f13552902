/*
 * Crash explorer: long histories, with a recovery after every crash
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "explorer.h"

#include <string.h>
#include "memo.h"
#include "mix.h"

enum {
    LOOKS = 3,                  /* cuts of a round that are looked at */
    LOOK_STATES = 8,            /* of each */
    LONG_ROUND = 24,            /* operations */
    SHORT_ROUND = 6,
    GROWTH_BYTES = 3 * 4096,
    MANY_FAILED = HISTORY_MAX_WORLDS - 3,
    MANY_KEYS_FAILED = HISTORY_MAX_KEYS - 8,
    KEY_OP_EVERY = 12,
};

typedef struct Walk {
    Explorer *explorer;
    uint32_t seed;
    unsigned round;
    Remains remains;            /* of the rounds before */
    History *history;           /* of this round */
} Walk;

/*
 * The walk must not depend on which states are checked, so it has its own
 * numbers.
 */
static GRand *new_random(const Walk *walk, unsigned purpose)
{
    return g_rand_new_with_seed(mix(mix(walk->seed, walk->round), purpose));
}

static char draw_op(const History *history, GRand *random)
{
    bool of_keys = !g_rand_int_range(random, 0, KEY_OP_EVERY);
    const char *ops = !of_keys ? history_ops
                      : g_rand_boolean(random) ? history_piece_ops
                                               : history_key_ops;
    char op = ops[g_rand_int_range(random, 0, strlen(ops))];

    if (history->keys.target && g_rand_boolean(random)) {
        return 'z';
    }
    return op == 'g' && history->max_size[1] > GROWTH_BYTES ? 's' : op;
}

static bool maybe_fail(History *history, GRand *random, GError **error)
{
    if (g_rand_int_range(random, 0, 5) ||
        history->failed.count >= MANY_FAILED ||
        history->failed.key_count >= MANY_KEYS_FAILED) {
        return true;
    }
    /* A conversion has more than a few events. */
    while (!g_rand_int_range(random, 0, 4)) {
        history_do(history, 'N', NULL);
    }
    return history_do(history, '0' + g_rand_int_range(random, 0,
                                                      SIM_LANDING_COUNT),
                      error) &&
           history_do(history, 'F' + g_rand_int_range(random, 0, 8), error);
}

/* Recovers and uses the store. */
static bool use(Walk *walk, GError **error)
{
    g_autoptr(GRand) random = new_random(walk, 0);
    unsigned ops = g_rand_int_range(random, 0, g_rand_int_range(random, 0, 8)
                                               ? SHORT_ROUND : LONG_ROUND);

    memo_begin_random(mix(walk->seed + 3, walk->round));
    if (!maybe_fail(walk->history, random, error) ||
        !history_do(walk->history, 'r', error)) {
        return false;
    }
    for (unsigned i = 0; i < ops; i++) {
        if (!maybe_fail(walk->history, random, error) ||
            !history_do(walk->history, draw_op(walk->history, random),
                        error)) {
            return false;
        }
    }
    return true;
}

static unsigned draw_cut(const Walk *walk, GRand *random, Outage *outage)
{
    const GArray *cuts = walk->history->cuts;
    unsigned cut = g_rand_int_range(random, 0, cuts->len);

    outage_prepare(outage, walk->explorer->disk,
                   walk->explorer->disk->events,
                   g_array_index(cuts, Cut, cut).events);
    return cut;
}

static void look(Walk *walk)
{
    g_autoptr(GRand) random = new_random(walk, 1);
    SimDisk *disk = walk->explorer->disk;

    for (unsigned i = 0; i < LOOKS; i++) {
        unsigned mark = sim_disk_mark(disk);
        Outage outage;
        unsigned cut = draw_cut(walk, random, &outage);

        for (unsigned j = 0; j < LOOK_STATES; j++) {
            Crash crash = { cut, outage_draw(&outage, random) };

            explorer_visit(walk->explorer, walk->history, &outage, &crash,
                           true);
        }
        sim_disk_undo(disk, mark);
    }
}

static void set_sectors(const Sectors **at, const Sectors *sectors)
{
    if (sectors) {
        sectors_ref(sectors);
    }
    if (*at) {
        sectors_unref((Sectors *)*at);
    }
    *at = sectors;
}

/* The sets of sectors outlive their history. */
static void take_over(Walk *walk, const Promise *promise, const World *world,
                      const KeyState *keys)
{
    const Sectors *gone = walk->remains.gone;
    const Sectors *former = walk->remains.former;

    set_sectors(&gone, promise->gone);
    set_sectors(&former, promise->former);
    walk->remains = history_remains(walk->history, promise, world, keys);
}

/* The power fails for good; the walk continues with what is left. */
static bool crash(Walk *walk)
{
    g_autoptr(GRand) random = new_random(walk, 2);
    Explorer *explorer = walk->explorer;
    Outage outage;
    unsigned cut = draw_cut(walk, random, &outage);
    StateName state = outage_draw(&outage, random);
    const Cut *where = &g_array_index(walk->history->cuts, Cut, cut);
    const Promise *promise = &g_array_index(walk->history->promises, Promise,
                                            where->promise);
    KeyState keys;
    World world;
    bool kept;

    outage_apply(&outage, &state);
    explorer->crashes[explorer->crash_count++] = (Crash) { cut, state };
    kept = explorer_check_read(explorer, &outage, promise, &world, &keys);
    explorer->crash_count--;
    if (kept) {
        take_over(walk, promise, &world, &keys);
    }
    explorer->garbled |= state.kind == 'g';
    sim_disk_settle(explorer->disk);
    return kept;
}

static bool run_round(Walk *walk, bool with_look, const Crash *only)
{
    Explorer *explorer = walk->explorer;
    g_autofree char *origin = g_strdup_printf("w%x.%x", walk->seed,
                                              walk->round);
    g_autoptr(GError) error = NULL;
    bool going_on = false;

    explorer->origin = origin;
    g_array_set_size(explorer->disk->events, 0);
    walk->history = history_resume(explorer->disk, &walk->remains);
    if (!use(walk, &error)) {
        explorer_fail(explorer, error->message);
    } else {
        sim_disk_undo(explorer->disk, 0);
        if (with_look) {
            look(walk);
        }
        going_on = only ? explorer_visit_one(explorer, walk->history, only,
                                             true)
                        : crash(walk);
    }
    history_free(walk->history);
    explorer->origin = NULL;
    return going_on;
}

/* Begins with a medium that holds nothing.  Every second store is sealed. */
static Walk begin_walk(Explorer *explorer, uint32_t seed)
{
    Walk walk = {
        .explorer = explorer,
        .seed = seed,
        .remains = {
            .blank_key = seed % 2,
            .max_size = { 500, 500, 3500 },
        },
    };
    g_autofree uint8_t *zero = g_malloc0(explorer->disk->bytes);

    sim_disk_poke(explorer->disk, 0, zero, explorer->disk->bytes);
    sim_disk_settle(explorer->disk);
    explorer->tally = TALLY_WALKS;
    explorer->garbled = false;
    return walk;
}

static void end_walk(Walk *walk)
{
    set_sectors(&walk->remains.gone, NULL);
    set_sectors(&walk->remains.former, NULL);
}

void walk_explore(Explorer *explorer, uint32_t seed, unsigned rounds)
{
    Walk walk = begin_walk(explorer, seed);

    while (walk.round < rounds && run_round(&walk, true, NULL)) {
        walk.round++;
    }
    end_walk(&walk);
}

bool walk_replay(Explorer *explorer, uint32_t seed, unsigned round,
                 const Crash *crash)
{
    Walk walk = begin_walk(explorer, seed);
    bool exists = true;

    while (exists && walk.round < round) {
        exists = run_round(&walk, false, NULL);
        walk.round++;
    }
    exists = exists && (run_round(&walk, false, crash) || explorer->failures);
    end_walk(&walk);
    return exists;
}
