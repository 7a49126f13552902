/*
 * Crash explorer: histories, each place where the power can fail in them, and
 * what that may leave
 *
 *   explore [OPTION...] [ID]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "explorer.h"
#include "memo.h"

enum {
    HISTORY_RANDOM = 1,
    MAX_LENGTH = 4,
    LENGTH_EFFORT = 20,         /* from which on histories are longer */
};

/* Histories that have found bugs once */
static const char *const known[] = {
    "mGeGGg",   /* the only durable copy of the directory was replaced */
    "ge1Fvd",   /* a failed write came to life after a delete */
    "md1Gnwn",  /* a failed write landed on a later one */
    "3Gncmcr",  /* the same with a copy of the directory */
    "4Fji",     /* a failed copy landed on that of another blob */
};

static gint max_length = 3;
static gint random_histories = 100;
static gint walks = 2;
static gint rounds = 2000;
static gint seed = 1;
static gint deep_every = 8;

static void load(Explorer *explorer, const uint8_t *image)
{
    sim_disk_settle(explorer->disk);
    sim_disk_poke(explorer->disk, 0, image, explorer->disk->bytes);
    sim_disk_settle(explorer->disk);
}

/* Returns NULL, having counted a failure, if the running store is wrong. */
static History *run_history(Explorer *explorer, const char *ops)
{
    g_autoptr(GError) error = NULL;
    History *history;

    explorer->origin = ops;
    memo_begin_random(HISTORY_RANDOM);
    history = history_try(ops, &error);
    if (history) {
        load(explorer, history->disk->start);
    } else {
        explorer_fail(explorer, error->message);
    }
    return history;
}

/*
 * Every cut, or those of the last operation only: the others are those of a
 * shorter history.
 */
static void explore_history(Explorer *explorer, const char *ops,
                            bool last_only, bool drawn)
{
    History *history = run_history(explorer, ops);

    if (history) {
        for (unsigned cut = last_only ? history->last_op_cut : 0;
             cut < history->cuts->len; cut++) {
            explorer_visit_all(explorer, history, cut, drawn);
        }
        history_free(history);
    }
    explorer->origin = NULL;
}

/* Where operations fail, what the failed writes leave matters too. */
static void explore_landings(Explorer *explorer, const char *ops)
{
    if (!strpbrk(ops, history_fail_letters)) {
        explore_history(explorer, ops, true, false);
        return;
    }
    for (unsigned landing = 0; landing < SIM_LANDING_COUNT; landing++) {
        g_autoptr(GString) whole = g_string_new(NULL);

        for (const char *op = ops; *op; op++) {
            if (strchr(history_fail_letters, *op)) {
                g_string_append_c(whole, '0' + landing);
            }
            g_string_append_c(whole, *op);
        }
        explore_history(explorer, whole->str, true, false);
    }
}

/* A letter that makes the next operation fail has one to follow. */
static bool is_sensible(const char *ops)
{
    size_t failing;

    while (*ops) {
        failing = strspn(ops, "FGH");
        if (failing > 1 || (failing && !ops[failing])) {
            return false;
        }
        ops += failing + 1;
    }
    return true;
}

static void explore_length(Explorer *explorer, const char *begin,
                           unsigned length)
{
    g_autofree char *letters = g_strconcat(history_ops, "FGH", NULL);
    size_t kinds = strlen(letters);
    size_t total = 1;

    for (unsigned i = 0; i < length; i++) {
        total *= kinds;
    }
    for (size_t i = 0; i < total; i++) {
        char ops[MAX_LENGTH + 1] = { 0 };
        size_t rest = i;

        for (unsigned j = 0; j < length; j++) {
            ops[j] = letters[rest % kinds];
            rest /= kinds;
        }
        if (is_sensible(ops)) {
            g_autofree char *whole = g_strconcat(begin, ops, NULL);

            explore_landings(explorer, whole);
        }
    }
}

/* Formats, failing anywhere */
static void explore_formats(Explorer *explorer)
{
    explore_history(explorer, "f", false, false);
    for (const char *letter = history_fail_letters; *letter; letter++) {
        char ops[] = { *letter, 'f', '\0' };

        explore_landings(explorer, ops);
    }
    for (gint n = 1; n < max_length; n++) {
        explore_length(explorer, "f", n);
    }
}

static void explore_drawn(Explorer *explorer, GRand *random)
{
    for (gint n = 0; n < random_histories; n++) {
        char ops[HISTORY_MAX_OPS + 1] = { 0 };
        unsigned length = g_rand_int_range(random, 4, 9);
        unsigned at = 0;

        ops[at++] = '0' + g_rand_int_range(random, 0, SIM_LANDING_COUNT);
        while (at < length) {
            if (!g_rand_int_range(random, 0, 5)) {
                ops[at++] = 'F' + g_rand_int_range(random, 0, 4);
            }
            ops[at++] = history_ops[g_rand_int_range(random, 0,
                                                     strlen(history_ops))];
        }
        explore_history(explorer, ops, false, true);
    }
}

static void explore_everything(Explorer *explorer)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);

    for (gint n = 1; n <= max_length; n++) {
        explore_length(explorer, "", n);
    }
    explore_formats(explorer);
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        explore_history(explorer, known[i], false, false);
    }
    explore_drawn(explorer, random);
    for (gint n = 0; n < walks; n++) {
        walk_explore(explorer, g_rand_int(random), rounds);
    }
}

static bool parse_crash(const char *cut, const char *state, Crash *crash)
{
    guint64 number;

    if (!state || !g_ascii_string_to_unsigned(cut, 10, 0, G_MAXUINT32,
                                              &number, NULL)) {
        return false;
    }
    crash->cut = number;
    return state_name_parse(state, &crash->state);
}

static bool replay_history(Explorer *explorer, const char *ops,
                           const Crash *crash)
{
    History *history;
    bool exists = true;

    if (!history_is_valid(ops)) {
        return false;
    }
    history = run_history(explorer, ops);
    if (!history) {
        return true;
    }
    if (crash) {
        exists = explorer_visit_one(explorer, history, crash, true);
    }
    history_free(history);
    return exists;
}

/* Returns false if @id is none. */
static bool replay(Explorer *explorer, const char *id)
{
    g_auto(GStrv) parts = g_strsplit(id, "/", 0);
    guint count = g_strv_length(parts);
    Crash crashes[MAX_CRASHES];
    const Crash *first = count > 1 ? &crashes[0] : NULL;
    unsigned walk;
    unsigned round;
    int end = 0;
    bool exists;

    if (count != 1 && count != 3 && count != 5) {
        return false;
    }
    for (guint i = 1; i < count; i += 2) {
        if (!parse_crash(parts[i], parts[i + 1], &crashes[i / 2])) {
            return false;
        }
    }
    explorer->deep_every = 1;
    explorer->replay = count == 5 ? &crashes[1] : NULL;
    if (sscanf(parts[0], "w%x.%x%n", &walk, &round, &end) == 2 &&
        !parts[0][end]) {
        exists = walk_replay(explorer, walk, round, first);
    } else {
        exists = replay_history(explorer, parts[0], first);
    }
    return exists && !explorer->no_such;
}

static void print_end(const Explorer *explorer, double seconds)
{
    const uint64_t *states = explorer->states;
    uint64_t total = 0;

    for (Tally tally = 0; tally < TALLY_COUNT; tally++) {
        total += states[tally];
    }
    printf("%" G_GUINT64_FORMAT " states (exhaustive %" G_GUINT64_FORMAT
           ", classes %" G_GUINT64_FORMAT ", random %" G_GUINT64_FORMAT
           ", walks %" G_GUINT64_FORMAT ", second crashes %"
           G_GUINT64_FORMAT "), %.0f per second of processor time, %"
           G_GUINT64_FORMAT " deep, %" G_GUINT64_FORMAT " refused, seed %d; %"
           G_GUINT64_FORMAT " broken promises\n", total,
           states[TALLY_EXHAUSTIVE], states[TALLY_CLASSES],
           states[TALLY_RANDOM], states[TALLY_WALKS], states[TALLY_SECOND],
           total / seconds, explorer->deep, explorer->refused, seed,
           explorer->failures);
}

static gint from_environment(const char *name, gint otherwise)
{
    const char *value = g_getenv(name);

    return value && *value ? atoi(value) : otherwise;
}

int main(int argc, char **argv)
{
    gint effort = MAX(1, from_environment("EFFORT", 1));
    const GOptionEntry entries[] = {
        { "ops", 0, 0, G_OPTION_ARG_INT, &max_length,
          "length of the histories that are all explored, up to 4", "N" },
        { "random", 0, 0, G_OPTION_ARG_INT, &random_histories,
          "longer histories, drawn by chance", "N" },
        { "walks", 0, 0, G_OPTION_ARG_INT, &walks, "long histories", "N" },
        { "rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "crashes in each",
          "N" },
        { "deep-every", 0, 0, G_OPTION_ARG_INT, &deep_every,
          "of so many states one crashes again", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of all chance", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new("[ID]");
    g_autoptr(GError) error = NULL;
    Explorer *explorer;
    uint64_t failures;

    /* Memory given back to the system has to be cleared when it returns. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    seed = from_environment("SEED", seed);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    if (effort >= LENGTH_EFFORT) {
        max_length++;
    }
    max_length = CLAMP(max_length, 0, MAX_LENGTH);
    random_histories *= effort;
    walks *= effort;
    explorer = explorer_new(seed);
    explorer->deep_every = MAX(1, deep_every);
    explorer->second_crashes = 6;
    explorer->samples = 64;
    if (argc < 2) {
        explore_everything(explorer);
        print_end(explorer, (double)clock() / CLOCKS_PER_SEC);
    } else if (replay(explorer, argv[1])) {
        printf("%s: %s\n", argv[1],
               explorer->failures ? "broken" : "keeps its promise");
    } else {
        fprintf(stderr, "%s: no such state\n", argv[1]);
        explorer_free(explorer);
        return 2;
    }
    failures = explorer->failures;
    explorer_free(explorer);
    return failures ? 1 : 0;
}
