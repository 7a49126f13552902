/*
 * Images of stores on which two readers must agree
 *
 *   images [--seed=N] DIRECTORY
 *
 * Runs short histories and one rich store on a simulated disk.  Writes the
 * possible contents of the disk after a power failure at any point, and after
 * damage, as files into DIRECTORY.  The stores are plain; those of
 * images-sealed are sealed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "emit.h"
#include "history.h"
#include "rich.h"
#include "sealed.h"
#include "blobstore/copy.h"

/* The letters are explained in tests/crash/history.c. */
static const char *const histories[] = {
    "fwv", "wvm", "mm", "dwv", "ewv", "nwvm", "wvn", "wvmdc", "gwv", "uwv",
    "wFwv", "wGmv", "mFmw",
};

/* The bytes of content of each blob */
static const int rich_writes[][RICH_BLOBS] = {
    { 16000, 1, 9000, 0 }, { 15999, -1, -1, -1 }, { 7000, -1, -1, 3000 },
    { -1, 0, -2, -1 }, { 0, 1, 8999, -2 }, { -1, -1, -2, 1500 },
    { 8000, -1, -1, -1 }, { 12000, -1, -1, -1 },
};

static void open_rich(Rich *rich)
{
    g_autoptr(GError) error = NULL;

    if (!rich_open(rich, &error)) {
        g_error("rich store: %s", error->message);
    }
    rich_start(rich);
}

static void run_rich(Output *output, bool pack)
{
    Rich rich = {
        .disk = sim_disk_new(NULL, RICH_DISK_BYTES),
        .options = { .pack = pack },
    };

    open_rich(&rich);
    for (size_t i = 0; i < G_N_ELEMENTS(rich_writes); i++) {
        rich_write(&rich, rich_writes[i], i % 3 ? 1 : 77 + i);
    }
    emit_all(output, rich.disk, pack ? "packed" : "unpacked", rich.store);
    sim_disk_begin(rich.disk);

    rich_close(&rich);
    emit_all(output, rich.disk, pack ? "packed-clean" : "unpacked-clean",
             rich.store);
    rich.options.pack = !pack;
    rich.grown = 5000;
    open_rich(&rich);
    for (size_t i = 0; i < G_N_ELEMENTS(rich_writes); i++) {
        rich_write(&rich, rich_writes[i], 1 + i % 2);
    }
    emit_all(output, rich.disk, pack ? "packed-grown" : "unpacked-grown",
             rich.store);
    rich_clear(&rich);
}

/* A copy, which another process then goes on with */
static void run_copy(Output *output)
{
    Rich rich = {
        .disk = sim_disk_new(NULL, RICH_DISK_BYTES),
        .options = { .pack = true },
    };
    Rich copy = { .disk = sim_disk_new(NULL, RICH_DISK_BYTES) };
    BlobStoreOptions options = { .create_as_uuid = true };
    BlobStoreStatus info;
    g_autoptr(GError) error = NULL;

    open_rich(&rich);
    for (size_t i = 0; i < G_N_ELEMENTS(rich_writes); i++) {
        rich_write(&rich, rich_writes[i], 1 + i % 2);
    }
    blob_store_get_status(rich.store, &info);
    options.uuid = info.uuid;
    copy.store = blob_store_open(copy.disk->storage, &options, &error);
    if (!copy.store || !blob_store_copy(rich.store, copy.store, &error)) {
        g_error("copy: %s", error->message);
    }
    emit_all(output, copy.disk, "copy", copy.store);
    sim_disk_begin(copy.disk);
    open_rich(&copy);
    rich_write(&copy, rich_writes[0], 1);
    rich_write(&copy, rich_writes[1], 1);
    emit_all(output, copy.disk, "copy-used", copy.store);
    rich_clear(&copy);
    rich_clear(&rich);
}

static void run(Output *output)
{
    for (size_t i = 0; i < G_N_ELEMENTS(histories); i++) {
        g_autofree char *ops = g_strconcat(sealed_key() ? "S" : "",
                                           histories[i], NULL);
        History *history = history_run(ops);

        emit_all(output, history->disk, histories[i], history->store);
        history_free(history);
    }
    run_rich(output, true);
    run_rich(output, false);
    run_copy(output);
}

int main(int argc, char **argv)
{
    return emit_main(argc, argv, run);
}
