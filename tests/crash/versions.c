/*
 * The content of each version of a blob that a script writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "versions.h"

#include "script.h"

const char *version_blob_name(unsigned n)
{
    static const char *const names[SCRIPT_BLOBS] = { "a", "b", "c", "d",
                                                     "e" };

    return names[n];
}

GBytes *version_content(unsigned n, int version)
{
    size_t bytes = 8 + (n * 131 + version * 67) % 400;
    uint8_t *data;

    if (n == 1) {
        bytes += VERSION_PACKED_BYTES - 500;
    }
    data = g_malloc(bytes);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = n * 71 + version * 13 + i * (version | 1);
    }
    data[0] = version;
    data[1] = version >> 8;
    data[2] = n;
    return g_bytes_new_take(data, bytes);
}

char **version_metadata(unsigned n, int version)
{
    char **metadata = g_new0(char *, 3);

    if (version % 2) {
        metadata[0] = g_strdup_printf("version=%d", version);
        metadata[1] = g_strdup_printf("blob=%u", n);
    }
    return metadata;
}

bool version_read(BlobStore *store, Blob *blob, unsigned n,
                  int *version, GError **error)
{
    g_autoptr(GBytes) content = NULL;
    g_autoptr(GBytes) expected = NULL;
    g_auto(GStrv) metadata = NULL;
    g_auto(GStrv) expected_metadata = NULL;
    g_autoptr(GError) local = NULL;
    const uint8_t *data;

    if (!blob_store_read(store, blob, &content, &metadata, &local)) {
        *version = SCRIPT_DAMAGED;
        if (g_error_matches(local, BLOBSTORE_ERROR,
                            BLOBSTORE_ERROR_DAMAGED)) {
            return true;
        }
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    *version = 0;
    if (!content) {
        return true;
    }
    data = g_bytes_get_data(content, NULL);
    *version = data[0] | data[1] << 8;
    expected = version_content(n, *version);
    expected_metadata = version_metadata(n, *version);
    if (!g_bytes_equal(content, expected) ||
        !g_strv_equal((const char *const *)metadata,
                      (const char *const *)expected_metadata)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT,
                    "blob %s holds what was never written",
                    version_blob_name(n));
        return false;
    }
    return true;
}
