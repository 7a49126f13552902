/*
 * Blobstore benchmark: what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "blobstore/store.h"

enum {
    CONTENDERS = 7,
    COMMIT_SIZES = 5,
    SCALE_POINTS = 5,
    SCALE_CONTENT_BYTES = 8192,
};

typedef struct BenchOptions {
    const char *dir;        /* on a block file system */
    unsigned runs;
    unsigned commits;       /* timed in each run, per contender and size */
    unsigned most_blobs;    /* in the scale part */
} BenchOptions;

/* A way to make the content of one name durable */
typedef struct Contender {
    const char *name;       /* key in the JSON */
    const char *title;
    /* Opens with nothing in @dir. */
    void *(*open)(const char *dir, size_t max_bytes);
    /* The content is durable on return; a failure ends the program. */
    void (*commit)(void *self, const void *content, size_t bytes);
    /* Does what is needed between commits, which is not timed; or NULL */
    void (*rest)(void *self, size_t bytes);
    GBytes *(*read)(void *self);
    void (*close)(void *self);
} Contender;

/* "ours" first */
extern const Contender contenders[CONTENDERS];

typedef struct CommitCost {
    double median_us;
    double p99_us;
    double file_bytes;      /* handed to write calls, per commit */
    double device_bytes;    /* reached the device, per commit; < 0: unknown */
} CommitCost;

typedef struct CommitResult {
    size_t bytes;
    CommitCost cost[CONTENDERS];
} CommitResult;

typedef struct ScaleResult {
    unsigned blobs;         /* besides the one that is written */
    double commit_us;
    double commit_p99_us;
    double start_ms;        /* register all and start, after the open */
    double open_ms;
    double open_rss_mib;
    double open_crashed_ms;
    double open_crashed_rss_mib;
} ScaleResult;

/* commit.c */
void bench_commits(const BenchOptions *options,
                   CommitResult results[COMMIT_SIZES]);

/* scale.c; returns how many of @results are filled */
unsigned bench_scale(const BenchOptions *options,
                     ScaleResult results[SCALE_POINTS]);
/* Runs the other end of a cold open: this program, started again for it. */
void bench_open_store(const char *path);

/* Processor time of a commit of SCALE_CONTENT_BYTES, and of its parts */
typedef struct CpuCost {
    double commit_us;       /* on a medium in memory */
    double sealed_us;       /* the same, encrypted */
    double digest_us;       /* SHA-256 of the content */
    double check_us;        /* HMAC of the header */
} CpuCost;

/* cpu.c */
void bench_cpu(CpuCost *cost);

/* The time that a key slot takes to open */
typedef struct KeyCost {
    double raw_ms;
    double passphrase_ms;   /* as QEMU makes it by default */
    double token_ms;        /* 0 without BENCH_KEY_URI */
} KeyCost;

/* keys.c */
void bench_keys(KeyCost *cost);
/* Opens a store on blank @storage, encrypted or not. */
BlobStore *bench_open(BlobStorage *storage, bool sealed, GError **error);

typedef struct BenchResults {
    BenchOptions options;
    CommitResult commit[COMMIT_SIZES];
    ScaleResult scale[SCALE_POINTS];
    unsigned points;        /* of @scale that were measured */
    CpuCost cpu;
    KeyCost keys;
    double others_percent;  /* of the processors, meanwhile */
} BenchResults;

/* report.c */
void report_print(const BenchResults *results);
bool report_write_json(const char *path, const BenchResults *results,
                       GError **error);

/* measure.c */
void bench_die(const char *format, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;
double bench_now_us(void);
void bench_fill_random(void *buf, size_t bytes);
void bench_shuffle(unsigned *order, unsigned count);
/* bench_quantile() sorts @samples; @fraction 0.5 is the median. */
double bench_quantile(double *samples, unsigned count, double fraction);
/* Returns the bytes that this process has handed to write calls. */
uint64_t bench_file_bytes(void);
/*
 * Returns the bytes that anybody has written to the device under @dir; -1:
 * unknown.
 */
int64_t bench_device_bytes(const char *dir);
double bench_peak_rss_mib(void);
void bench_check_directory(const char *dir);

/* The use of the processors since boot, in seconds */
typedef struct CpuUse {
    double total;
    double others;          /* by neither this program nor nobody */
} CpuUse;

CpuUse bench_cpu_use(void);

#endif /* BENCH_BENCH_H */
