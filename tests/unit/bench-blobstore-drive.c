/*
 * Blobstore benchmark over the real block layer: the cost of a commit on a
 * drive, beside what the drive takes to write as many bytes and flush them
 *
 * The benchmark takes turns between commits without a fence, commits with one,
 * and plain writes at the end of the drive, which must be blank.  The program
 * prints one JSON object.  Usage: bench-blobstore-drive NODE; the node is in
 * JSON, as blockdev-add takes it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qobject/qjson.h"
#include "blobstore-drive.h"
#include "blobstore-times.h"
#include "blobstore-vm.h"

enum {
    CONTENT_BYTES = 8 * KiB,
    COMMIT_BYTES = 12 * KiB,    /* what a commit of the content writes */
    MAX_BYTES = 16 * KiB,
    WARM_UP = 20,
    IN_A_ROW = 100,
    ROUNDS = 10,
};

static const char *node;

typedef struct Contender {
    const char *fence;          /* NULL: plain writes */
    int64_t ns[ROUNDS * IN_A_ROW];
    unsigned count;
} Contender;

static BlockBackend *open_drive(void)
{
    return drive_add("drive", "%p", qobject_from_json(node, &error_abort));
}

/* The first ones do not count: a drive that was just opened warms up. */
static void note(Contender *contender, unsigned i, int64_t start)
{
    if (i >= WARM_UP) {
        contender->ns[contender->count++] =
            qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start;
    }
}

static void write_plainly(Contender *contender)
{
    BlockBackend *blk = open_drive();
    uint8_t *content = blk_blockalign(blk, COMMIT_BYTES);
    int64_t end = blk_getlength(blk);

    memset(content, 1, COMMIT_BYTES);
    for (unsigned i = 0; i < WARM_UP + IN_A_ROW; i++) {
        int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

        content[0]++;
        g_assert_cmpint(blk_pwrite(blk, end - (1 + i % 2) * COMMIT_BYTES,
                                   COMMIT_BYTES, content, 0), ==, 0);
        g_assert_cmpint(blk_flush(blk), ==, 0);
        note(contender, i, start);
    }
    qemu_vfree(content);
    drive_remove("drive");
}

static void commit(Contender *contender)
{
    g_autofree uint8_t *content = g_malloc0(CONTENT_BYTES);
    BlobStoreClient *client;
    BlobStoreBlob *blob;

    open_drive();
    store_add("store", &error_abort, "drive", "drive", "fence",
              contender->fence, NULL);
    client = blobstore_attach("store", "bench", &error_abort);
    blob = blobstore_register_blob(client, "blob", BLOBSTORE_PERMANENT,
                                   MAX_BYTES, &error_abort);
    blobstore_start(client, &error_abort);
    for (unsigned i = 0; i < WARM_UP + IN_A_ROW; i++) {
        int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

        content[0]++;
        blobstore_write_blob(blob, content, CONTENT_BYTES, NULL, &error_abort);
        note(contender, i, start);
    }
    blobstore_detach(client);
    store_remove("store");
    drive_remove("drive");
}

static void measure(void)
{
    static Contender contenders[] = { { "off" }, { "on" }, { NULL } };
    double us[ARRAY_SIZE(contenders)];

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned n = 0; n < ARRAY_SIZE(contenders); n++) {
            (contenders[n].fence ? commit : write_plainly)(&contenders[n]);
        }
    }
    for (unsigned n = 0; n < ARRAY_SIZE(contenders); n++) {
        us[n] = times_median_us(contenders[n].ns, contenders[n].count);
    }
    printf("{\"commit\": %.1f, \"fence\": %.1f, \"plain\": %.1f}\n", us[0],
           us[1], us[2]);
}

static void add_tests(void)
{
    g_test_add_func("/blobstore/bench", measure);
}

int main(int argc, char **argv)
{
    char *program[] = { argv[0], NULL };

    if (argc != 2) {
        fprintf(stderr, "usage: %s NODE\n", argv[0]);
        return 2;
    }
    node = argv[1];
    return vm_run_tests(1, program, add_tests);
}
