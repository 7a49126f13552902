/*
 * qemu-blobstore: a TPM outside any VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_TPM_H
#define TOOLS_BLOBSTORE_TPM_H

#include "hw/tpm/libtpms/engine/engine.h"
#include "tool.h"

/* A copy of a TPM in memory, which is committed at once or not at all */
typedef struct ToolTpm {
    TPMEngine engine;
    GBytes *contents[TPM_BLOB__MAX];            /* NULL: absent */
    char **metadata[TPM_BLOB__MAX];
} ToolTpm;

/*
 * Gets libtpms ready for a TPM of @version, which has no state yet, for
 * messages about @place.  @tpm, which was zero, is to be closed also after a
 * failure.
 */
bool tool_tpm_init(ToolTpm *tpm, TPMVersion version, const char *place,
                   GError **error);
void tool_tpm_close(ToolTpm *tpm);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ToolTpm, tool_tpm_close)

/* Sets a state, without metadata; @content is borrowed and may be NULL. */
void tool_tpm_set(ToolTpm *tpm, TPMBlob blob, GBytes *content);

/* The version of the TPM whose permanent state @content is */
TPMVersion tool_tpm_version_of(GBytes *content);

/* Whether the store has a TPM, damaged or not */
bool tool_tpm_exists(const ToolStore *opened);

/*
 * Initializes @tpm with the TPM in the store.  It stays off.  A store without
 * a TPM is an error.
 */
bool coroutine_fn tool_tpm_load(ToolStore *opened, ToolTpm *tpm,
                                GError **error);

/*
 * Switches the TPM on; one without state is made.  What it stores goes into
 * the copy, unless it is only to be tried.
 */
bool tool_tpm_power_on(ToolTpm *tpm, GError **error);
/* Whether libtpms accepts the states; the TPM stays off, and as it was. */
bool tool_tpm_check(ToolTpm *tpm, GError **error);
void tool_tpm_power_off(ToolTpm *tpm);

/*
 * Writes the TPM into the store, which is started and closed, all of it or
 * nothing.  Durable on return.
 */
bool coroutine_fn tool_tpm_commit(ToolStore *opened, ToolTpm *tpm,
                                  GError **error);

/* tpm-key.c */

/* The key that swtpm's option --key would name, written in the same way */
BlobSecret *tool_swtpm_key(const char *option, GError **error);

#endif /* TOOLS_BLOBSTORE_TPM_H */
