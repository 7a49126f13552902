/*
 * Blobstore core: limits and kinds, below everything else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_FORMAT_LIMITS_H
#define BLOBSTORE_FORMAT_LIMITS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    BLOB_NAME_MAX_BYTES = 63,           /* owner and name, without the NUL */
    BLOB_METADATA_MAX_BYTES = 1024,     /* all "key=value" with their NULs */
    BLOB_MEMBERS_MAX = 64,              /* blobs in one write */
    BLOB_UUID_BYTES = 16,
    BLOB_EPOCH_ID_BYTES = 16,
};

/* The largest maximum size that can be registered: 64 MiB */
#define BLOB_MAX_SIZE_BYTES (UINT64_C(64) << 20)

/* Kinds that reach the medium.  Volatile blobs never do; see the glue. */
typedef enum BlobKind {
    BLOB_KIND_PERMANENT = 1,
    BLOB_KIND_SAVESTATE = 2,
} BlobKind;

/*
 * Whether @name is 1 to BLOB_NAME_MAX_BYTES of printable ASCII without space
 * or '/', as owners and names of blobs have to be
 */
bool blob_name_is_valid(const char *name);

/*
 * Whether @metadata, a NULL-terminated array or NULL, is all "key=value" with
 * a key and of at most BLOB_METADATA_MAX_BYTES
 */
bool blob_metadata_is_valid(const char *const *metadata);

/* "permanent" or "savestate"; static. */
const char *blob_kind_name(BlobKind kind);

#endif /* BLOBSTORE_FORMAT_LIMITS_H */
