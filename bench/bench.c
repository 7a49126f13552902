/*
 * Blobstore benchmark: durable commits, ours and others'
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <stdio.h>

static void check_options(const BenchOptions *options)
{
    if (!options->dir || options->runs < 1 || options->commits < 1 ||
        options->most_blobs < 1) {
        bench_die("give --dir=, and at least one run, commit and blob");
    }
    bench_check_directory(options->dir);
}

static void run(BenchResults *results)
{
    CpuUse before = bench_cpu_use();
    CpuUse after;

    bench_commits(&results->options, results->commit);
    results->points = bench_scale(&results->options, results->scale);
    bench_cpu(&results->cpu);
    bench_keys(&results->keys);
    after = bench_cpu_use();
    results->others_percent = 100 * (after.others - before.others) /
                              (after.total - before.total);
}

int main(int argc, char **argv)
{
    BenchResults results = { .options = { NULL, 5, 500, 10000 } };
    BenchOptions *options = &results.options;
    g_autofree char *json = NULL;
    g_autofree char *open = NULL;
    g_autofree char *dir = NULL;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        { "dir", 0, 0, G_OPTION_ARG_FILENAME, &dir,
          "where to write; not on a tmpfs", "DIR" },
        { "json", 0, 0, G_OPTION_ARG_FILENAME, &json,
          "write the figures there, too", "FILE" },
        { "runs", 0, 0, G_OPTION_ARG_INT, &options->runs,
          "the median of so many is reported (5)", "N" },
        { "commits", 0, 0, G_OPTION_ARG_INT, &options->commits,
          "timed in each run, per size and contender (500)", "N" },
        { "blobs", 0, 0, G_OPTION_ARG_INT, &options->most_blobs,
          "most other blobs in a store (10000)", "N" },
        { "open", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME, &open,
          NULL, NULL },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        bench_die("%s", error->message);
    }
    if (open) {
        bench_open_store(open);
        return 0;
    }
    options->dir = dir;
    check_options(options);
    run(&results);
    report_print(&results);
    if (json && !report_write_json(json, &results, &error)) {
        bench_die("%s", error->message);
    }
    return 0;
}
