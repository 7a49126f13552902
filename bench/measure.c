/*
 * Blobstore benchmark: clocks, counters and samples
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

double bench_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* splitmix64 does not compress, and costs little between two commits. */
static uint64_t next_random(void)
{
    static uint64_t state = 20;
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void bench_fill_random(void *buf, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t word = next_random();

        memcpy((char *)buf + at, &word, MIN(sizeof(word), bytes - at));
    }
}

void bench_shuffle(unsigned *order, unsigned count)
{
    for (unsigned left = count; left > 1; left--) {
        unsigned pick = next_random() % left;
        unsigned last = order[left - 1];

        order[left - 1] = order[pick];
        order[pick] = last;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double bench_quantile(double *samples, unsigned count, double fraction)
{
    qsort(samples, count, sizeof(*samples), compare_doubles);
    return samples[MIN(count - 1, (unsigned)floor(count * fraction))];
}

/* Returns the number behind @key in a file of "key: number" lines. */
static uint64_t read_counter(const char *path, const char *key)
{
    g_autofree char *text = NULL;
    g_autofree char *start = g_strdup_printf("\n%s:", key);
    const char *found;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        bench_die("cannot read %s", path);
    }
    found = strstr(text, start);
    if (!found && g_str_has_prefix(text, start + 1)) {
        found = text - 1;
    }
    if (!found) {
        bench_die("%s has no '%s'", path, key);
    }
    return g_ascii_strtoull(found + strlen(start), NULL, 10);
}

uint64_t bench_file_bytes(void)
{
    return read_counter("/proc/self/io", "wchar");
}

double bench_peak_rss_mib(void)
{
    /*
     * getrusage() is of no use, because its peak begins with that of the
     * parent.
     */
    return read_counter("/proc/self/status", "VmHWM") / 1024.0;
}

int64_t bench_device_bytes(const char *dir)
{
    g_autofree char *path = NULL;
    g_autofree char *text = NULL;
    struct stat st;
    uint64_t sectors;

    if (stat(dir, &st)) {
        return -1;
    }
    path = g_strdup_printf("/sys/dev/block/%u:%u/stat", major(st.st_dev),
                           minor(st.st_dev));
    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        sscanf(text, "%*u %*u %*u %*u %*u %*u %" SCNu64, &sectors) != 1) {
        return -1;
    }
    return sectors * 512;
}

static double seconds(struct timeval time)
{
    return time.tv_sec + time.tv_usec / 1e6;
}

CpuUse bench_cpu_use(void)
{
    enum { IDLE = 3, IOWAIT = 4, FIELDS = 8 };
    const int who[] = { RUSAGE_SELF, RUSAGE_CHILDREN };
    g_autofree char *text = NULL;
    char *at;
    CpuUse use = { 0 };

    if (!g_file_get_contents("/proc/stat", &text, NULL, NULL)) {
        bench_die("cannot read /proc/stat");
    }
    at = text + strlen("cpu");
    for (unsigned i = 0; i < FIELDS; i++) {
        double time = g_ascii_strtoull(at, &at, 10) /
                      (double)sysconf(_SC_CLK_TCK);

        use.total += time;
        use.others += i == IDLE || i == IOWAIT ? 0 : time;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(who); i++) {
        struct rusage own;

        getrusage(who[i], &own);
        use.others -= seconds(own.ru_utime) + seconds(own.ru_stime);
    }
    return use;
}

void bench_check_directory(const char *dir)
{
    struct statfs fs;

    if (statfs(dir, &fs)) {
        bench_die("cannot use '%s': %s", dir, g_strerror(errno));
    }
    /* An overlay may be volatile (no flush at all) or lie on a tmpfs. */
    if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
        fs.f_type == OVERLAYFS_SUPER_MAGIC) {
        bench_die("'%s' is on %s, where a flush costs nothing or cannot be "
                  "trusted: give a directory on a block file system with "
                  "BENCH_DIR=", dir,
                  fs.f_type == OVERLAYFS_SUPER_MAGIC ? "an overlay"
                                                     : "a tmpfs");
    }
}
