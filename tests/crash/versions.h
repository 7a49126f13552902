/*
 * The content of each version of a blob that a script writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_VERSIONS_H
#define TESTS_CRASH_VERSIONS_H

#include "blobstore/store.h"

enum { VERSION_PACKED_BYTES = 9000 }; /* of blob b, which can be packed */

const char *version_blob_name(unsigned n);

/* Return the content, and the metadata, of @version of blob @n. */
GBytes *version_content(unsigned n, int version);
/* Every second version has some. */
char **version_metadata(unsigned n, int version);

/*
 * Reads which version of blob @n, which is @blob, a store holds: 0, if it is
 * absent, or SCRIPT_DAMAGED.  Returns false, with the reason in @error, if that
 * cannot be read, or was never written.
 */
bool version_read(BlobStore *store, Blob *blob, unsigned n, int *version,
                  GError **error);

#endif /* TESTS_CRASH_VERSIONS_H */
