/*
 * State files of swtpm: what reading and writing directories share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_SWTPM_SOURCE_H
#define TOOLS_BLOBSTORE_SWTPM_SOURCE_H

#include "swtpm.h"

/*
 * Whether no swtpm uses the directory of this descriptor: one that runs holds
 * a lock on a file in it.  Errors: TAKEN.
 */
bool swtpm_source_is_free(int directory, GError **error);

/* Sets the error IO, "cannot @what: ..."; returns false. */
bool swtpm_source_fail_io(GError **error, const char *what, int err);

#endif /* TOOLS_BLOBSTORE_SWTPM_SOURCE_H */
