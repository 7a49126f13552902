/*
 * Blobstore benchmarks over the real block layer: times
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_BLOBSTORE_TIMES_H
#define TESTS_UNIT_BLOBSTORE_TIMES_H

static inline int times_compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Sorts @ns. */
static inline double times_median_us(int64_t *ns, unsigned count)
{
    qsort(ns, count, sizeof(*ns), times_compare_ns);
    return ns[count / 2] / 1000.0;
}

#endif /* TESTS_UNIT_BLOBSTORE_TIMES_H */
