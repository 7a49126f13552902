/*
 * Blobstore benchmark over the real block layer: the cost of a commit in a
 * store of few and of many blobs, and with a fence and without
 *
 * The benchmark writes in turn to stores on raw images in the same directory,
 * so that all meet the same disk: one with a single blob and one with many,
 * both through the page cache; and two with cache=none, of which one looks for
 * another owner before each commit.  The program prints one JSON object.
 * Usage: bench-blobstore-commit DIRECTORY [COMMITS]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "blobstore-drive.h"
#include "blobstore-times.h"
#include "blobstore-vm.h"

enum {
    FEW = 1,
    MANY = 1000,
    CONTENT_BYTES = 8 * KiB,
    WARM_UP = 50,
    COMMITS = 2000,
};

static char *directory;
static unsigned commits = COMMITS;

typedef struct Contender {
    const char *name;
    unsigned blob_count;
    bool is_direct;             /* cache=none */
    const char *fence;
    char *path;
    BlobStoreClient *client;
    BlobStoreBlob **blobs;
    int64_t *ns;                /* of each commit */
} Contender;

static void set_up(Contender *contender)
{
    uint64_t bytes = 4 * MiB + contender->blob_count * 2 * 32 * KiB;

    contender->path = g_build_filename(directory, contender->name, NULL);
    unlink(contender->path);
    g_assert_true(g_file_set_contents(contender->path, "", 0, NULL));
    g_assert_cmpint(truncate(contender->path, bytes), ==, 0);
    drive_add(contender->name, "{'driver': 'raw', 'file': {'driver': 'file', "
              "'filename': %s, 'cache': {'direct': %i}}}", contender->path,
              contender->is_direct);
    store_add(contender->name, &error_abort, "drive", contender->name, "fence",
              contender->fence, NULL);
    contender->client = blobstore_attach(contender->name, "bench",
                                         &error_abort);
    contender->blobs = g_new(BlobStoreBlob *, contender->blob_count);
    contender->ns = g_new(int64_t, commits);
    for (unsigned i = 0; i < contender->blob_count; i++) {
        g_autofree char *name = g_strdup_printf("blob%u", i);

        contender->blobs[i] =
            blobstore_register_blob(contender->client, name,
                                    BLOBSTORE_PERMANENT, 16 * KiB,
                                    &error_abort);
    }
    blobstore_start(contender->client, &error_abort);
}

static void tear_down(Contender *contender)
{
    blobstore_detach(contender->client);
    store_remove(contender->name);
    drive_remove(contender->name);
    unlink(contender->path);
    g_free(contender->path);
    g_free(contender->blobs);
    g_free(contender->ns);
}

static int64_t commit_ns(Contender *contender, uint8_t *content)
{
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    content[0]++;
    blobstore_write_blob(contender->blobs[contender->blob_count / 2], content,
                         CONTENT_BYTES, NULL, &error_abort);
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start;
}

static void measure(void)
{
    Contender contenders[] = {
        { "few", FEW, false, "off" },
        { "many", MANY, false, "off" },
        { "direct", FEW, true, "off" },
        { "fenced", FEW, true, "on" },
    };
    enum { COUNT = ARRAY_SIZE(contenders) };
    g_autofree uint8_t *content = g_malloc0(CONTENT_BYTES);
    double us[COUNT];

    for (unsigned n = 0; n < COUNT; n++) {
        set_up(&contenders[n]);
        for (unsigned i = 0; i < WARM_UP; i++) {
            commit_ns(&contenders[n], content);
        }
    }
    for (unsigned i = 0; i < commits; i++) {
        for (unsigned n = 0; n < COUNT; n++) {
            /* None of a pair is always the first. */
            Contender *contender = &contenders[i % 2 ? n : COUNT - 1 - n];

            contender->ns[i] = commit_ns(contender, content);
        }
    }
    for (unsigned n = 0; n < COUNT; n++) {
        us[n] = times_median_us(contenders[n].ns, commits);
        tear_down(&contenders[n]);
    }
    printf("{\"commits\": %u, \"bytes\": %d, \"us_1_blob\": %.1f, "
           "\"us_%d_blobs\": %.1f, \"ratio\": %.3f, "
           "\"us_cache_none\": %.1f, \"us_cache_none_fence\": %.1f, "
           "\"ratio_fence\": %.3f}\n", commits, CONTENT_BYTES, us[0], MANY,
           us[1], us[1] / us[0], us[2], us[3], us[3] / us[2]);
}

static void add_tests(void)
{
    g_test_add_func("/blobstore/bench", measure);
}

int main(int argc, char **argv)
{
    char *program[] = { argv[0], NULL };

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s DIRECTORY [COMMITS]\n", argv[0]);
        return 2;
    }
    directory = argv[1];
    if (argc == 3) {
        commits = MAX(atoi(argv[2]), 1);
    }
    return vm_run_tests(1, program, add_tests);
}
