/*
 * Blobstore benchmark: the cost of other blobs in the store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "blobstore/store.h"

enum {
    OTHER_MAX_BYTES = 1024,
    OTHER_BYTES = 512,
    FILE_BYTES_PER_BLOB = 32 << 10,
};

static const unsigned points[SCALE_POINTS] = { 1, 10, 100, 1000, 10000 };

/* A store with some other blobs, and the one that is timed */
typedef struct Place {
    unsigned others;
    char *path;
    BlobStorage *storage;
    BlobStore *store;
    Blob *timed;
    Blob **other;
    double *start_ms;       /* by run */
    double *commit_us;
    double *commit_p99_us;
    double *open_ms;
    double *open_crashed_ms;
} Place;

static void check(bool ok, GError *error)
{
    if (!ok) {
        bench_die("scale: %s", error->message);
    }
}

static void place_init(Place *place, const BenchOptions *options,
                       unsigned others)
{
    g_autofree char *name = g_strdup_printf("scale-%u", others);
    int fd;

    *place = (Place) {
        .others = others,
        .path = g_build_filename(options->dir, name, NULL),
        .other = g_new(Blob *, others),
        .start_ms = g_new(double, options->runs),
        .commit_us = g_new(double, options->runs),
        .commit_p99_us = g_new(double, options->runs),
        .open_ms = g_new(double, options->runs),
        .open_crashed_ms = g_new(double, options->runs),
    };
    g_unlink(place->path);
    fd = open(place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 ||
        ftruncate(fd, (1 << 20) + (off_t)others * FILE_BYTES_PER_BLOB)) {
        bench_die("cannot make '%s': %s", place->path, g_strerror(errno));
    }
    close(fd);
}

static void place_clear(Place *place)
{
    g_unlink(place->path);
    g_free(place->path);
    g_free(place->other);
    g_free(place->start_ms);
    g_free(place->commit_us);
    g_free(place->commit_p99_us);
    g_free(place->open_ms);
    g_free(place->open_crashed_ms);
}

static double place_open(Place *place)
{
    BlobStoreOptions options = { .directory_blobs = place->others + 1 };
    GError *error = NULL;
    double start;

    place->storage = blob_storage_new_file(place->path, true, &error);
    check(place->storage, error);
    place->store = blob_store_open(place->storage, &options, &error);
    check(place->store, error);
    start = bench_now_us();
    for (unsigned i = 0; i < place->others; i++) {
        char name[16];

        snprintf(name, sizeof(name), "%05u", i);
        place->other[i] = blob_store_register(place->store, "other", name,
                                              BLOB_KIND_PERMANENT,
                                              OTHER_MAX_BYTES, &error);
        check(place->other[i], error);
    }
    place->timed = blob_store_register(place->store, "bench", "timed",
                                       BLOB_KIND_PERMANENT,
                                       SCALE_CONTENT_BYTES, &error);
    check(place->timed, error);
    check(blob_store_start(place->store, &error), error);
    return (bench_now_us() - start) / 1e3;
}

/* Without @clean the store stays as a crash leaves it. */
static void place_close(Place *place, bool clean)
{
    GError *error = NULL;

    check(!clean || blob_store_close_clean(place->store, &error), error);
    blob_store_free(place->store);
    blob_storage_free(place->storage);
}

static void place_commit(Place *place, const uint8_t *content)
{
    g_autoptr(GBytes) data = g_bytes_new_static(content,
                                                SCALE_CONTENT_BYTES);
    BlobChange change = { .blob = place->timed, .content = data };
    GError *error = NULL;

    check(blob_store_write(place->store, &change, 1, &error), error);
}

static void write_others(Place *place)
{
    uint8_t bytes[BLOB_MEMBERS_MAX][OTHER_BYTES];
    GError *error = NULL;

    for (unsigned at = 0; at < place->others; at += BLOB_MEMBERS_MAX) {
        unsigned count = MIN(place->others - at, BLOB_MEMBERS_MAX);
        BlobChange changes[BLOB_MEMBERS_MAX];

        bench_fill_random(bytes, sizeof(bytes));
        for (unsigned i = 0; i < count; i++) {
            changes[i] = (BlobChange) {
                .blob = place->other[at + i],
                .content = g_bytes_new_static(bytes[i], OTHER_BYTES),
            };
        }
        check(blob_store_write(place->store, changes, count, &error), error);
        for (unsigned i = 0; i < count; i++) {
            g_bytes_unref(changes[i].content);
        }
    }
}

static void populate(Place *place, const uint8_t *content)
{
    place_open(place);
    write_others(place);
    place_commit(place, content);
    place_commit(place, content);
    place_close(place, true);
}

/*
 * This is the worst case: both slots of every blob are of the epoch that
 * crashed.
 */
static void crash(Place *place, const uint8_t *content)
{
    place_open(place);
    write_others(place);
    write_others(place);
    place_commit(place, content);
    place_commit(place, content);
    place_close(place, false);
}

static void time_commits(const BenchOptions *options, Place *places,
                         unsigned count, uint8_t *content, unsigned run)
{
    g_autofree double *samples = g_new(double, count * options->commits);
    unsigned order[SCALE_POINTS];

    for (unsigned n = 0; n < count; n++) {
        order[n] = n;
        places[n].start_ms[run] = place_open(&places[n]);
    }
    for (unsigned i = 0; i < options->commits; i++) {
        bench_shuffle(order, count);
        for (unsigned k = 0; k < count; k++) {
            unsigned n = order[k];
            double start;

            bench_fill_random(content, SCALE_CONTENT_BYTES);
            start = bench_now_us();
            place_commit(&places[n], content);
            samples[n * options->commits + i] = bench_now_us() - start;
        }
    }
    for (unsigned n = 0; n < count; n++) {
        double *own = samples + n * options->commits;

        places[n].commit_us[run] = bench_quantile(own, options->commits, 0.5);
        places[n].commit_p99_us[run] = bench_quantile(own, options->commits,
                                                      0.99);
        place_close(&places[n], true);
    }
}

void bench_open_store(const char *path)
{
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(GError) error = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    BlobStorage *storage;
    BlobStore *store;
    double start;

    /*
     * The cache is dropped, because a program has seldom just written the
     * store that it opens.
     */
    if (fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) {
        bench_die("cannot open '%s' cold", path);
    }
    close(fd);
    start = bench_now_us();
    storage = blob_storage_new_file(path, false, &error);
    store = storage ? blob_store_open(storage, &options, &error) : NULL;
    if (!store) {
        bench_die("%s: %s", path, error->message);
    }
    printf("%.1f %.3f\n", bench_now_us() - start, bench_peak_rss_mib());
    blob_store_free(store);
    blob_storage_free(storage);
}

/*
 * The open runs in a process of its own, so that the memory is that of the
 * open alone.
 */
static double open_cold(const char *path, double *rss_mib)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    char *argv[] = { self, (char *)"--open", (char *)path, NULL };
    g_autofree char *out = NULL;
    g_autoptr(GError) error = NULL;
    double open_us;
    int status;

    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out,
                      NULL, &status, &error) ||
        !g_spawn_check_wait_status(status, &error) ||
        sscanf(out, "%lf %lf", &open_us, rss_mib) != 2) {
        bench_die("cannot open '%s' in another process: %s", path,
                  error ? error->message : out);
    }
    return open_us / 1e3;
}

static void time_opens(const BenchOptions *options, Place *place,
                       double *open_ms, double *highest_rss_mib)
{
    *highest_rss_mib = 0;
    for (unsigned run = 0; run < options->runs; run++) {
        double rss_mib;

        open_ms[run] = open_cold(place->path, &rss_mib);
        *highest_rss_mib = MAX(*highest_rss_mib, rss_mib);
    }
}

unsigned bench_scale(const BenchOptions *options,
                     ScaleResult results[SCALE_POINTS])
{
    uint8_t content[SCALE_CONTENT_BYTES];
    Place places[SCALE_POINTS];
    unsigned count = 0;

    bench_fill_random(content, sizeof(content));
    while (count < SCALE_POINTS && points[count] <= options->most_blobs) {
        place_init(&places[count], options, points[count]);
        populate(&places[count], content);
        count++;
    }
    for (unsigned run = 0; run < options->runs; run++) {
        time_commits(options, places, count, content, run);
    }
    for (unsigned n = 0; n < count; n++) {
        Place *place = &places[n];
        ScaleResult *result = &results[n];

        time_opens(options, place, place->open_ms, &result->open_rss_mib);
        crash(place, content);
        time_opens(options, place, place->open_crashed_ms,
                   &result->open_crashed_rss_mib);
        result->blobs = place->others;
        result->commit_us = bench_quantile(place->commit_us, options->runs,
                                           0.5);
        result->commit_p99_us = bench_quantile(place->commit_p99_us,
                                               options->runs, 0.5);
        result->start_ms = bench_quantile(place->start_ms, options->runs,
                                          0.5);
        result->open_ms = bench_quantile(place->open_ms, options->runs, 0.5);
        result->open_crashed_ms = bench_quantile(place->open_crashed_ms,
                                                 options->runs, 0.5);
        place_clear(place);
    }
    return count;
}
