/*
 * State files of swtpm: what is refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_SWTPM_REFUSE_H
#define TOOLS_BLOBSTORE_SWTPM_REFUSE_H

#include "blobstore/error.h"

/* Returns false, as those that call it. */
static inline bool refuse(GError **error, BlobStoreError code,
                          const char *text)
{
    g_set_error_literal(error, BLOBSTORE_ERROR, code, text);
    return false;
}

#endif /* TOOLS_BLOBSTORE_SWTPM_REFUSE_H */
