/*
 * A store with the features that the histories leave out: packing, metadata,
 * odd names and lengths
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "rich.h"

bool rich_open(Rich *rich, GError **error)
{
    rich->options.directory_blobs = 8;
    blob_store_free(rich->store);
    rich->store = blob_store_open(rich->disk->storage, &rich->options, error);
    return rich->store;
}

void rich_start(Rich *rich)
{
    static const struct {
        const char *owner, *name;
        BlobKind kind;
        uint64_t max_size;
    } blobs[RICH_BLOBS] = {
        { "tpm", "permanent", BLOB_KIND_PERMANENT, 16000 },
        { "\"quoted\\", "~", BLOB_KIND_SAVESTATE, 1 },
        { "an-owner-of-63-bytes-an-owner-of-63-bytes-an-owner-of-63-bytes-",
          "a-name-of-63-bytes--a-name-of-63-bytes--a-name-of-63-bytes-...-",
          BLOB_KIND_SAVESTATE, 9000 },
        { "tpm", "volatile", BLOB_KIND_SAVESTATE, 3000 },
    };
    g_autoptr(GError) error = NULL;

    for (unsigned n = 0; !error && n < RICH_BLOBS; n++) {
        rich->blobs[n] = blob_store_register(rich->store, blobs[n].owner,
                                             blobs[n].name, blobs[n].kind,
                                             blobs[n].max_size +
                                             (n == 2 ? rich->grown : 0),
                                             &error);
    }
    if (error || !blob_store_start(rich->store, &error)) {
        g_error("rich store: %s", error->message);
    }
}

static GBytes *rich_content(size_t bytes, unsigned step)
{
    uint8_t *data = g_malloc(MAX(bytes, 1));
    uint32_t state = step;

    for (size_t i = 0; i < bytes; i++) {
        state = step == 1 ? i / 64 : state * 1664525 + 1013904223;
        data[i] = step == 1 ? state : state >> 24;
    }
    return g_bytes_new_take(data, bytes);
}

void rich_write(Rich *rich, const int bytes[RICH_BLOBS], unsigned step)
{
    static const char *const metadata[] = {
        "key=value", "empty=", "equals==\"\\=",
        "bytes=\x01\t\n\x7f\xff\xc3\xa9", NULL,
    };
    BlobChange changes[RICH_BLOBS] = { 0 };
    size_t count = 0;
    g_autoptr(GError) error = NULL;

    for (unsigned n = 0; n < RICH_BLOBS; n++) {
        if (bytes[n] != RICH_KEEP) {
            changes[count++] = (BlobChange) {
                .blob = rich->blobs[n],
                .content = bytes[n] == RICH_DELETE ? NULL
                           : rich_content(bytes[n], step),
                .metadata = metadata + MIN(n, 3),
            };
        }
    }
    if (!blob_store_write(rich->store, changes, count, &error)) {
        g_error("rich store: %s", error->message);
    }
    for (size_t i = 0; i < count; i++) {
        g_clear_pointer(&changes[i].content, g_bytes_unref);
    }
}

void rich_close(Rich *rich)
{
    g_autoptr(GError) error = NULL;

    if (!blob_store_close_clean(rich->store, &error)) {
        g_error("rich store: %s", error->message);
    }
}

void rich_clear(Rich *rich)
{
    g_clear_pointer(&rich->store, blob_store_free);
    g_clear_pointer(&rich->disk, sim_disk_free);
}
