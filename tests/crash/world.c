/*
 * The content of the blobs of a history
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "history-private.h"

#include <string.h>

const char *const history_blob_names[HISTORY_BLOBS] = { "a", "b", "c" };

/* The size is less than a sector, except for some versions of blob 2. */
static size_t make_content(unsigned n, unsigned version,
                           uint8_t data[HISTORY_CONTENT_MAX_BYTES])
{
    size_t bytes = 8 + (n * 131 + version * 67) % 400;

    if (n == 2 && version % 3 == 2) {
        bytes += 3000;
    }

    for (size_t i = 0; i < bytes; i++) {
        data[i] = n * 71 + version * 13 + i * (version | 1);
    }
    data[0] = version;
    data[1] = version >> 8;
    data[2] = n;
    data[3] = version >> 16;
    return bytes;
}

GBytes *history_content(unsigned n, unsigned version)
{
    uint8_t data[HISTORY_CONTENT_MAX_BYTES];

    return g_bytes_new(data, make_content(n, version, data));
}

static bool read_version(GBytes *content, unsigned n, unsigned *version)
{
    uint8_t expected[HISTORY_CONTENT_MAX_BYTES];
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(content, &bytes);

    if (bytes < 8) {
        return false;
    }
    *version = data[0] | data[1] << 8 | data[3] << 16;
    return bytes == make_content(n, *version, expected) &&
           !memcmp(data, expected, bytes);
}

bool history_read_world(BlobStore *store, World *world, GError **error)
{
    memset(world, 0, sizeof(*world));
    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        Blob *blob = blob_store_find(store, "dev", history_blob_names[n]);
        g_autoptr(GBytes) content = NULL;

        if (blob && !blob_store_read(store, blob, &content, NULL, error)) {
            return false;
        }
        if (content && !read_version(content, n, &world->version[n])) {
            g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                        "blob %u holds what was never written", n);
            return false;
        }
    }
    return true;
}

bool history_keeps_promise(const Promise *promise, const World *world)
{
    for (unsigned i = 0; i < promise->count; i++) {
        if (!memcmp(&promise->worlds[i], world, sizeof(*world))) {
            return true;
        }
    }
    return false;
}

bool history_is_nothing(const World *world)
{
    static const World nothing;

    return !memcmp(world, &nothing, sizeof(nothing));
}
