/*
 * Blobstore core: what names, metadata and kinds may be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "limits.h"

#include <string.h>

bool blob_name_is_valid(const char *name)
{
    size_t length = strlen(name);

    if (length < 1 || length > BLOB_NAME_MAX_BYTES) {
        return false;
    }
    for (const char *c = name; *c; c++) {
        if (*c <= ' ' || *c > '~' || *c == '/') {
            return false;
        }
    }
    return true;
}

bool blob_metadata_is_valid(const char *const *metadata)
{
    size_t room = BLOB_METADATA_MAX_BYTES;

    for (; metadata && *metadata; metadata++) {
        const char *equals = strchr(*metadata, '=');
        size_t bytes = strlen(*metadata) + 1;

        if (!equals || equals == *metadata || bytes > room) {
            return false;
        }
        room -= bytes;
    }
    return true;
}

const char *blob_kind_name(BlobKind kind)
{
    return kind == BLOB_KIND_PERMANENT ? "permanent" : "savestate";
}
