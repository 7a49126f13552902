/*
 * Crash explorer: histories, each place where the power can fail in them, and
 * all that may be left
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
    LENGTH_EFFORT = 20,         /* from this effort on, histories are longer */
};

/* Histories that have found bugs once */
static const char *const known[] = {
    "mGeGGg",   /* the only durable copy of the directory was replaced */
    "ge1Fvd",   /* a failed write came to life after a delete */
    "md1Gnwn",  /* a failed write landed on a later one */
    "3Gncmcr",  /* the same with a copy of the directory */
    "4Fji",     /* a failed copy landed on that of another blob */
    "4Fxr",     /* a failed superblock landed after it was read */
    "S4Fkr",
};

static gint max_length = 3;
static gint random_histories = 100;
static gint key_histories = G_MAXINT;
static gint cached_histories = G_MAXINT;
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

/* Returns NULL, and counts a failure, if the running store is wrong. */
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
 * Explores every cut, or only those of the last operation, because the others
 * are those of a shorter history.
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

/* Puts a @landing in front of all letters that make an operation fail. */
static char *with_landing(const char *ops, unsigned landing)
{
    GString *whole = g_string_new(NULL);

    for (const char *op = ops; *op; op++) {
        if (strchr(history_fail_letters, *op)) {
            g_string_append_c(whole, '0' + landing);
        }
        g_string_append_c(whole, *op);
    }
    return g_string_free(whole, FALSE);
}

/* If operations fail, the effect of the failed writes matters, too. */
static void explore_landings(Explorer *explorer, const char *ops)
{
    if (!strpbrk(ops, history_fail_letters)) {
        explore_history(explorer, ops, true, false);
        return;
    }
    for (unsigned landing = 0; landing < SIM_LANDING_COUNT; landing++) {
        g_autofree char *whole = with_landing(ops, landing);

        explore_history(explorer, whole, true, false);
    }
}

/* A letter that makes the next operation fail needs an operation after it. */
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

/*
 * Explores all histories of so many letters behind @begin, with letters for
 * keys if the store is sealed.
 */
static void explore_length(Explorer *explorer, const char *begin,
                           unsigned length)
{
    g_autofree char *letters = g_strconcat(
        history_ops, *begin == 'S' ? history_key_ops : "", "FGH", NULL);
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

/* Explores formats that fail anywhere, with so many letters behind them. */
static void explore_formats(Explorer *explorer, const char *begin,
                            gint length)
{
    g_autofree char *format = g_strconcat(begin, "f", NULL);

    explore_history(explorer, format, false, false);
    for (const char *letter = history_fail_letters; *letter; letter++) {
        g_autofree char *ops = g_strdup_printf("%s%cf", begin, *letter);

        explore_landings(explorer, ops);
    }
    for (gint n = 1; n <= length; n++) {
        explore_length(explorer, format, n);
    }
}

/* Returns the number of writes and flushes in the last operation of @ops. */
static unsigned count_calls(Explorer *explorer, const char *ops)
{
    History *history = run_history(explorer, ops);
    unsigned count = 0;

    if (history) {
        const GArray *events = history->disk->events;
        unsigned first = g_array_index(history->cuts, Cut,
                                       history->last_op_cut).events - 1;

        for (guint i = first; i < events->len; i++) {
            count += g_array_index(events, SimEvent, i).kind != SIM_DURABLE;
        }
        history_free(history);
    }
    explorer->origin = NULL;
    return count;
}

/* The history @ops whose last operation fails at its call @n, to be freed */
static char *failing_at(const char *ops, unsigned n)
{
    g_autofree char *later = g_strnfill(n / 8, 'N');
    int before = strlen(ops) - 1;

    return g_strdup_printf("%.*s%s%c%c", before, ops, later,
                           history_fail_letters[n % 8], ops[before]);
}

/*
 * The last operation of @ops fails at each of its calls, and in each way.
 * Then the store is opened again, or used as it is; for such use it matters
 * less how the write has failed.
 */
static void explore_failing(Explorer *explorer, const char *ops)
{
    static const char *const ends[] = { "w", "wr", "i" };
    unsigned calls = count_calls(explorer, ops);

    for (unsigned n = 0; n < calls; n++) {
        g_autofree char *failing = failing_at(ops, n);
        g_autofree char *restarted = g_strconcat(failing, "r", NULL);

        explore_landings(explorer, failing);
        explore_landings(explorer, restarted);
        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
            g_autofree char *used = g_strconcat(failing, ends[i], NULL);
            g_autofree char *whole =
                with_landing(used, (n + i) % SIM_LANDING_COUNT);

            explore_history(explorer, whole, true, false);
        }
    }
}

/* Key slots are changed; the store is sealed, rekeyed, made plain. */
static void explore_conversions(Explorer *explorer)
{
    static const char *const histories[] = {
        "Sk", "Skk", "x", "Sx", "Sy", "nx", "dx", "Sdy", "SFvx", "xx", "Sgky",
    };
    /* Events between the pieces, and while one fails */
    static const char *const pieces[] = {
        "bw", "Sbwz", "bzwz", "Sqmzdz", "Sbzczwz", "bzzizw", "Sbzgwz",
    };
    /* The same to the end */
    static const char *const endings[] = {
        "bwzvzmzdzazzz", "Sbwzvzmzdzazzz", "Sqwzvzmzdzazzz", "bzzrwzzzzz",
    };
    unsigned deep_every = explorer->deep_every;

    explorer->deep_every *= 2;  /* each of them ends a conversion */
    for (gint i = 0; i < MIN(key_histories, G_N_ELEMENTS(histories)); i++) {
        explore_landings(explorer, histories[i]);
        explore_failing(explorer, histories[i]);
    }
    for (gint i = 0; i < MIN(key_histories, G_N_ELEMENTS(pieces)); i++) {
        explore_landings(explorer, pieces[i]);
        explore_failing(explorer, pieces[i]);
    }
    for (gint i = 0; i < MIN(key_histories, G_N_ELEMENTS(endings)); i++) {
        explore_history(explorer, endings[i], false, false);
    }
    explorer->deep_every = deep_every;
}

/*
 * The last operation of @ops fails at each of its calls, on a disk with a page
 * cache.  What is then in the cache only is read, or used, by the same
 * process and by the next ones.
 */
static void explore_cached_failing(Explorer *explorer, const char *ops)
{
    static const char *const ends[] = {
        "", "r", "rw", "rr", "rc", "rcw", "rv", "w", "wr", "wrw", "c", "cw",
        "crw", "i", "ri", "rk",
    };
    unsigned calls = count_calls(explorer, ops);

    for (unsigned n = 0; n < calls; n++) {
        g_autofree char *failing = failing_at(ops, n);

        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
            g_autofree char *whole = g_strconcat(failing, ends[i], NULL);

            for (unsigned landing = 0; landing < SIM_LANDS_LATE; landing++) {
                g_autofree char *landed = with_landing(whole, landing);

                explore_history(explorer, landed, true, false);
            }
        }
    }
}

static void explore_cached(Explorer *explorer)
{
    unsigned deep_every = explorer->deep_every;

    static const char *const histories[] = {
        "Pw", "Pc", "Pr", "Pm", "Pn", "Pd", "Pe", "Pa", "Pg", "Pi", "Pu",
        "Pwc", "Pwr", "Pf", "PSw", "PSd", "PSk", "Px", "PSx", "PSy", "PSf",
        "PSbz", "PSbzz",
    };

    explorer->deep_every *= 8;  /* The cache is gone when the power is. */
    for (gint i = 0; i < MIN(cached_histories, G_N_ELEMENTS(histories)); i++) {
        explore_cached_failing(explorer, histories[i]);
    }
    explorer->deep_every = deep_every;
}

/*
 * In every second history the store is sealed, and its keys change; in two of
 * four the disk has a page cache.
 */
static void explore_drawn(Explorer *explorer, GRand *random)
{
    g_autofree char *all = g_strconcat(history_ops, history_key_ops,
                                       history_piece_ops, NULL);

    for (gint n = 0; n < random_histories; n++) {
        char ops[HISTORY_MAX_OPS + 1] = { 0 };
        const char *letters = n % 2 ? all : history_ops;
        unsigned length = g_rand_int_range(random, 4, 9);
        unsigned at = 0;

        if (n % 4 >= 2) {
            ops[at++] = 'P';
        }
        if (n % 2) {
            ops[at++] = 'S';
        }
        ops[at++] = '0' + g_rand_int_range(random, 0, SIM_LANDING_COUNT);
        while (at < length) {
            if (!g_rand_int_range(random, 0, 5)) {
                ops[at++] = 'F' + g_rand_int_range(random, 0, 4);
            }
            ops[at++] = letters[g_rand_int_range(random, 0,
                                                 strlen(letters))];
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
    explore_formats(explorer, "", max_length - 1);
    for (gint n = 1; n < max_length; n++) {
        explore_length(explorer, "S", n);
    }
    explore_formats(explorer, "S", max_length - 2);
    explore_conversions(explorer);
    explore_cached(explorer);
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

/* Returns false if @id is not an id. */
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
        { "keys", 0, 0, G_OPTION_ARG_INT, &key_histories,
          "histories in which every call of a change of keys fails", "N" },
        { "cached", 0, 0, G_OPTION_ARG_INT, &cached_histories,
          "histories in which every call fails, with a page cache", "N" },
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
