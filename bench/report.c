/*
 * Blobstore benchmark: tables, targets and JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TARGET_BYTES = 8192, TARGET_BLOBS = 10000 };

/*
 * This much use is only the kernel's threads that serve the benchmark: 6
 * percent on one machine.
 */
enum { QUIET_PERCENT = 8 };

static void print_sizes(const CommitResult *commits)
{
    printf("%-20s", "");
    for (unsigned s = 0; s < COMMIT_SIZES; s++) {
        g_autofree char *size = g_strdup_printf("%zu KiB",
                                                commits[s].bytes >> 10);

        printf("  %20s", size);
    }
    putchar('\n');
}

static void print_commits(const CommitResult *commits)
{
    puts("Durable commit, microseconds: median (p99), and median in ours");
    print_sizes(commits);
    for (unsigned n = 0; n < CONTENDERS; n++) {
        printf("%-20s", contenders[n].title);
        for (unsigned s = 0; s < COMMIT_SIZES; s++) {
            const CommitCost *cost = commits[s].cost;
            g_autofree char *cell = g_strdup_printf(
                "%.1f (%.0f) %.2fx", cost[n].median_us, cost[n].p99_us,
                cost[n].median_us / cost[0].median_us);

            printf("  %20s", cell);
        }
        putchar('\n');
    }
}

static void print_bytes(const CommitResult *commits)
{
    puts("\nBytes written by a commit: to files / by the device, the file "
         "system's journal\nincluded (and what others wrote meanwhile; "
         "the fewest of all runs)");
    print_sizes(commits);
    for (unsigned n = 0; n < CONTENDERS; n++) {
        printf("%-20s", contenders[n].title);
        for (unsigned s = 0; s < COMMIT_SIZES; s++) {
            const CommitCost *cost = &commits[s].cost[n];
            g_autofree char *device = cost->device_bytes < 0
                ? g_strdup("unknown")
                : g_strdup_printf("%.0f", cost->device_bytes);
            g_autofree char *cell = g_strdup_printf("%.0f / %s",
                                                    cost->file_bytes, device);

            printf("  %20s", cell);
        }
        putchar('\n');
    }
}

static void print_scale(const ScaleResult *scale, unsigned points)
{
    printf("\nOther blobs in the store; commit of %d bytes, opens with a cold "
           "page cache in a\nfresh process (peak resident memory of the "
           "process)\n", SCALE_CONTENT_BYTES);
    printf("%10s  %18s  %9s  %9s  %8s  %10s  %8s\n", "blobs", "commit us (p99)",
           "start ms", "open ms", "MiB", "crashed ms", "MiB");
    for (unsigned n = 0; n < points; n++) {
        const ScaleResult *at = &scale[n];
        g_autofree char *commit = g_strdup_printf("%.1f (%.0f)",
                                                  at->commit_us,
                                                  at->commit_p99_us);

        printf("%10u  %18s  %9.2f  %9.2f  %8.1f  %10.2f  %8.1f\n", at->blobs,
               commit, at->start_ms, at->open_ms, at->open_rss_mib,
               at->open_crashed_ms, at->open_crashed_rss_mib);
    }
}

static double cost_of(const CommitResult *at, const char *name)
{
    for (unsigned n = 0; n < CONTENDERS; n++) {
        if (!strcmp(contenders[n].name, name)) {
            return at->cost[n].median_us;
        }
    }
    g_assert_not_reached();
}

static void print_target(const char *what, double value, double target,
                         bool at_most)
{
    bool met = at_most ? value <= target : value >= target;

    printf("%-8s %-52s %8.2f  (%s %.2f)\n", met ? "met" : "NOT MET", what,
           value, at_most ? "at most" : "at least", target);
}

static void print_targets(const CommitResult *commits, const CpuCost *cpu,
                          const ScaleResult *scale, unsigned points)
{
    const ScaleResult *last = &scale[points - 1];
    double lowest = INFINITY;
    double highest = 0;

    puts("\nTargets");
    for (unsigned s = 0; s < COMMIT_SIZES; s++) {
        const CommitResult *at = &commits[s];
        double ours = cost_of(at, "ours");

        if (at->bytes == TARGET_BYTES) {
            print_target("8 KiB commit, times the limit",
                         ours / cost_of(at, "limit"), 1.15, true);
            print_target("8 KiB commit, encrypted, times one that is not",
                         cost_of(at, "sealed") / ours, 1.10, true);
            print_target("8 KiB commit, times faster than LMDB",
                         cost_of(at, "lmdb") / ours, 2.0, false);
            print_target("8 KiB commit, times faster than SQLite, log growing",
                         cost_of(at, "sqlite") / ours, 2.0, false);
            print_target("8 KiB commit, times faster than SQLite, log reused",
                         cost_of(at, "sqlite_reused") / ours, 2.0, false);
            print_target("8 KiB commit, times faster than rename",
                         cost_of(at, "rename") / ours, 3.5, false);
        }
    }
    /* A plain commit without its SHA-256 */
    print_target("8 KiB, us that sealing takes above no digest at all",
                 cpu->sealed_us - (cpu->commit_us - cpu->digest_us), 10,
                 true);
    for (unsigned n = 0; n < points; n++) {
        lowest = MIN(lowest, scale[n].commit_us);
        highest = MAX(highest, scale[n].commit_us);
    }
    print_target("slowest commit at any number of blobs / fastest",
                 highest / lowest, 1.10, true);
    if (last->blobs != TARGET_BLOBS) {
        printf("not measured: opening %d blobs\n", TARGET_BLOBS);
        return;
    }
    print_target("open 10,000 blobs after a clean close, ms", last->open_ms,
                 50, true);
    print_target("open 10,000 blobs after a clean close, MiB",
                 last->open_rss_mib, 64, true);
    print_target("open 10,000 blobs after a crash, ms",
                 last->open_crashed_ms, 3000, true);
}

static void print_cpu(const CpuCost *cpu)
{
    printf("\nProcessor time of a commit of %d bytes to a medium in memory: "
           "%.1f us,\nof which SHA-256 of the content %.1f us and the check "
           "value of the header %.1f us.\nEncrypted %.1f us.\n",
           SCALE_CONTENT_BYTES, cpu->commit_us, cpu->digest_us,
           cpu->check_us, cpu->sealed_us);
}

static void print_keys(const KeyCost *keys)
{
    printf("\nOpening a key slot: raw secret %.2f ms, passphrase %.0f ms, "
           "token %.0f ms\n", keys->raw_ms, keys->passphrase_ms,
           keys->token_ms);
}

void report_print(const BenchResults *results)
{
    print_commits(results->commit);
    print_bytes(results->commit);
    print_cpu(&results->cpu);
    print_keys(&results->keys);
    print_scale(results->scale, results->points);
    print_targets(results->commit, &results->cpu, results->scale,
                  results->points);
    printf("\nMeanwhile others used %.0f %% of the processors.%s\n",
           results->others_percent,
           results->others_percent > QUIET_PERCENT
           ? " That is not quiet: do not trust the figures." : "");
}

static void append_commit(GString *json, const CommitResult *at)
{
    g_string_append_printf(json, "    {\"bytes\": %zu", at->bytes);
    for (unsigned n = 0; n < CONTENDERS; n++) {
        const CommitCost *cost = &at->cost[n];
        const char *name = contenders[n].name;

        g_string_append_printf(json, ",\n     \"%s_us\": %.2f, "
                               "\"%s_p99_us\": %.2f, "
                               "\"%s_file_bytes\": %.0f, ",
                               name, cost->median_us, name, cost->p99_us,
                               name, cost->file_bytes);
        if (cost->device_bytes < 0) {
            g_string_append_printf(json, "\"%s_device_bytes\": null", name);
        } else {
            g_string_append_printf(json, "\"%s_device_bytes\": %.0f", name,
                                   cost->device_bytes);
        }
    }
    g_string_append(json, "}");
}

static void append_scale(GString *json, const ScaleResult *at)
{
    g_string_append_printf(json, "    {\"blobs\": %u, \"commit_us\": %.2f, "
                           "\"commit_p99_us\": %.2f, \"start_ms\": %.3f,\n"
                           "     \"open_ms\": %.3f, \"open_crashed_ms\": "
                           "%.3f, \"open_rss_mib\": %.2f, "
                           "\"open_crashed_rss_mib\": %.2f}",
                           at->blobs, at->commit_us, at->commit_p99_us,
                           at->start_ms, at->open_ms, at->open_crashed_ms,
                           at->open_rss_mib, at->open_crashed_rss_mib);
}

bool report_write_json(const char *path, const BenchResults *results,
                       GError **error)
{
    g_autoptr(GString) json = g_string_new(NULL);

    g_string_append_printf(json, "{\n  \"runs\": %u,\n  \"commits\": %u,\n"
                           "  \"others_cpu_percent\": %.1f,\n"
                           "  \"cpu_commit_us\": %.2f, "
                           "\"cpu_digest_us\": %.2f, "
                           "\"cpu_check_us\": %.2f, "
                           "\"cpu_sealed_us\": %.2f,\n"
                           "  \"unlock_raw_ms\": %.3f, "
                           "\"unlock_passphrase_ms\": %.0f, "
                           "\"unlock_token_ms\": %.1f,\n"
                           "  \"commit\": [\n", results->options.runs,
                           results->options.commits, results->others_percent,
                           results->cpu.commit_us, results->cpu.digest_us,
                           results->cpu.check_us, results->cpu.sealed_us,
                           results->keys.raw_ms,
                           results->keys.passphrase_ms,
                           results->keys.token_ms);
    for (unsigned s = 0; s < COMMIT_SIZES; s++) {
        append_commit(json, &results->commit[s]);
        g_string_append(json, s + 1 < COMMIT_SIZES ? ",\n" : "\n");
    }
    g_string_append(json, "  ],\n  \"scale\": [\n");
    for (unsigned n = 0; n < results->points; n++) {
        append_scale(json, &results->scale[n]);
        g_string_append(json, n + 1 < results->points ? ",\n" : "\n");
    }
    g_string_append(json, "  ]\n}\n");
    return g_file_set_contents(path, json->str, json->len, error);
}
