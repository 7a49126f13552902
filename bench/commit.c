/*
 * Blobstore benchmark: the cost of one durable commit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { WARM_UP_COMMITS = 20 };

static const size_t sizes[COMMIT_SIZES] = {
    1 << 10, 4 << 10, 8 << 10, 64 << 10, 256 << 10,
};

/* One run's figures, by contender */
typedef struct Run {
    CommitCost cost[CONTENDERS];
} Run;

/* Returns the microseconds that the commit took. */
static double commit(unsigned n, void *const *open, uint8_t *content,
                     size_t bytes)
{
    double start;

    bench_fill_random(content, bytes);
    if (contenders[n].rest) {
        contenders[n].rest(open[n], bytes);
    }
    start = bench_now_us();
    contenders[n].commit(open[n], content, bytes);
    return bench_now_us() - start;
}

static void time_commits(const BenchOptions *options, void *const *open,
                         uint8_t *content, size_t bytes, Run *run)
{
    g_autofree double *samples = g_new(double, CONTENDERS * options->commits);
    unsigned order[CONTENDERS];

    for (unsigned n = 0; n < CONTENDERS; n++) {
        order[n] = n;
    }
    for (unsigned i = 0; i < options->commits; i++) {
        /*
         * The order is new each time, so that work which one contender leaves
         * to the kernel hits each of the others as often.
         */
        bench_shuffle(order, CONTENDERS);
        for (unsigned k = 0; k < CONTENDERS; k++) {
            unsigned n = order[k];

            samples[n * options->commits + i] = commit(n, open, content,
                                                       bytes);
        }
    }
    for (unsigned n = 0; n < CONTENDERS; n++) {
        double *own = samples + n * options->commits;

        run->cost[n].median_us = bench_quantile(own, options->commits, 0.5);
        run->cost[n].p99_us = bench_quantile(own, options->commits, 0.99);
    }
}

/*
 * The contenders run one after the other, because a device does not say who
 * wrote.
 */
static void count_bytes(const BenchOptions *options, void *const *open,
                        uint8_t *content, size_t bytes, Run *run)
{
    for (unsigned n = 0; n < CONTENDERS; n++) {
        CommitCost *cost = &run->cost[n];
        int64_t device;
        uint64_t file;

        sync();
        device = bench_device_bytes(options->dir);
        file = bench_file_bytes();
        for (unsigned i = 0; i < options->commits; i++) {
            commit(n, open, content, bytes);
        }
        cost->file_bytes = (double)(bench_file_bytes() - file) /
                           options->commits;
        cost->device_bytes = device < 0 ? -1 :
            (double)(bench_device_bytes(options->dir) - device) /
            options->commits;
    }
}

static void check_content(void *const *open, uint8_t *content, size_t bytes)
{
    for (unsigned n = 0; n < CONTENDERS; n++) {
        g_autoptr(GBytes) found = NULL;

        commit(n, open, content, bytes);
        found = contenders[n].read(open[n]);
        if (g_bytes_get_size(found) != bytes ||
            memcmp(g_bytes_get_data(found, NULL), content, bytes)) {
            bench_die("%s did not keep what it was given",
                      contenders[n].title);
        }
    }
}

static void remove_directory(const char *dir)
{
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    const char *name;

    while (entries && (name = g_dir_read_name(entries))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_unlink(path);
    }
    g_rmdir(dir);
}

static void bench_run(const BenchOptions *options, size_t bytes, Run *run)
{
    g_autofree char *dir = g_build_filename(options->dir, "commit", NULL);
    g_autofree uint8_t *content = g_malloc(bytes);
    void *open[CONTENDERS];

    remove_directory(dir);
    if (g_mkdir(dir, 0700)) {
        bench_die("cannot make '%s': %s", dir, g_strerror(errno));
    }
    for (unsigned n = 0; n < CONTENDERS; n++) {
        open[n] = contenders[n].open(dir, bytes);
        for (unsigned i = 0; i < WARM_UP_COMMITS; i++) {
            commit(n, open, content, bytes);
        }
    }
    time_commits(options, open, content, bytes, run);
    count_bytes(options, open, content, bytes, run);
    check_content(open, content, bytes);
    for (unsigned n = 0; n < CONTENDERS; n++) {
        contenders[n].close(open[n]);
    }
    remove_directory(dir);
}

/*
 * Over the runs this takes medians, but the fewest bytes, because other
 * programs write, too.
 */
static CommitCost summarise(const Run *runs, unsigned count, unsigned n)
{
    g_autofree double *median = g_new(double, count);
    g_autofree double *p99 = g_new(double, count);
    CommitCost cost = runs[0].cost[n];

    for (unsigned i = 0; i < count; i++) {
        median[i] = runs[i].cost[n].median_us;
        p99[i] = runs[i].cost[n].p99_us;
        cost.file_bytes = MIN(cost.file_bytes, runs[i].cost[n].file_bytes);
        cost.device_bytes = MIN(cost.device_bytes,
                                runs[i].cost[n].device_bytes);
    }
    cost.median_us = bench_quantile(median, count, 0.5);
    cost.p99_us = bench_quantile(p99, count, 0.5);
    return cost;
}

void bench_commits(const BenchOptions *options,
                   CommitResult results[COMMIT_SIZES])
{
    g_autofree Run *runs = g_new0(Run, COMMIT_SIZES * options->runs);

    for (unsigned i = 0; i < options->runs; i++) {
        for (unsigned s = 0; s < COMMIT_SIZES; s++) {
            bench_run(options, sizes[s], &runs[s * options->runs + i]);
        }
    }
    for (unsigned s = 0; s < COMMIT_SIZES; s++) {
        results[s].bytes = sizes[s];
        for (unsigned n = 0; n < CONTENDERS; n++) {
            results[s].cost[n] = summarise(runs + s * options->runs,
                                           options->runs, n);
        }
    }
}
