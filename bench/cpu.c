/*
 * Blobstore benchmark: the computing in a commit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "bench.h"

#include <time.h>
#include "blobstore/crypto/digest.h"
#include "blobstore/format/layout.h"

enum { ROUNDS = 2000, SAMPLES = 5, MEDIUM_BYTES = 1 << 20 };

/* One way to spend time, with its argument @opaque */
typedef void Work(void *opaque);

typedef struct Commit {
    BlobStore *store;
    BlobChange change;
} Commit;

static double cpu_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/*
 * Returns the least of some samples, because other programs can only add to
 * it.
 */
static double cost_of(Work *work, void *opaque)
{
    double least = 1e9;

    for (unsigned sample = 0; sample < SAMPLES; sample++) {
        double start = cpu_now_us();

        for (unsigned i = 0; i < ROUNDS; i++) {
            work(opaque);
        }
        least = MIN(least, (cpu_now_us() - start) / ROUNDS);
    }
    return least;
}

static void commit(void *opaque)
{
    Commit *commit = opaque;
    g_autoptr(GError) error = NULL;

    if (!blob_store_write(commit->store, &commit->change, 1, &error)) {
        bench_die("%s", error->message);
    }
}

static void hash_content(void *opaque)
{
    uint8_t digest[BLOB_DIGEST_BYTES];

    blob_digest_sha256(opaque, SCALE_CONTENT_BYTES, digest);
}

static void check_header(void *opaque)
{
    static uint8_t header[BLOB_HEADER_BYTES];
    uint8_t check[BLOB_DIGEST_BYTES];

    blob_digest_check(opaque, header, BLOB_HEADER_BYTES - BLOB_DIGEST_BYTES,
                      check);
}

static double cost_of_commit(GBytes *content, bool sealed)
{
    g_autoptr(BlobStorage) medium = blob_storage_new_memory(MEDIUM_BYTES);
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = bench_open(medium, sealed, &error);
    Commit work = { store, { .content = content } };

    if (store) {
        work.change.blob = blob_store_register(store, "bench", "cpu",
                                               BLOB_KIND_PERMANENT,
                                               SCALE_CONTENT_BYTES, &error);
    }
    if (!work.change.blob || !blob_store_start(store, &error)) {
        bench_die("%s", error->message);
    }
    return cost_of(commit, &work);
}

void bench_cpu(CpuCost *cost)
{
    g_autoptr(BlobDigest) digest = blob_digest_new(NULL);
    g_autofree uint8_t *content = g_malloc(SCALE_CONTENT_BYTES);
    g_autoptr(GBytes) bytes = NULL;

    bench_fill_random(content, SCALE_CONTENT_BYTES);
    bytes = g_bytes_new_static(content, SCALE_CONTENT_BYTES);
    cost->commit_us = cost_of_commit(bytes, false);
    cost->sealed_us = cost_of_commit(bytes, true);
    cost->digest_us = cost_of(hash_content, content);
    cost->check_us = cost_of(check_header, digest);
}
