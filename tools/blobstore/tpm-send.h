/*
 * qemu-blobstore: commands for a TPM 2.0, and its answers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_TPM_SEND_H
#define TOOLS_BLOBSTORE_TPM_SEND_H

#include "tpm.h"

enum {
    TPM2_CAP_HANDLES = 1,
    TPM2_CAP_PCRS = 5,
};

/*
 * A command, to be freed with g_byte_array_unref(); a handle of 0 is none.
 * With @password (which may be empty) it authorizes the first handle.
 */
GByteArray *tool_tpm_command(uint32_t code, uint32_t handle,
                             const char *password);
void tool_tpm_put(GByteArray *command, unsigned bytes, uint32_t number);

/* An answer that is read from front to end */
typedef struct ToolReply {
    GByteArray *bytes;
    size_t at;
    bool bad;                   /* it has ended too early */
} ToolReply;

static inline void tool_reply_clear(ToolReply *reply)
{
    g_clear_pointer(&reply->bytes, g_byte_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ToolReply, tool_reply_clear)

/* The next number, or 0 if there is none */
uint32_t tool_reply_get(ToolReply *reply, unsigned bytes);
/* The next @bytes, which belong to @reply, or NULL if there are not so many */
const uint8_t *tool_reply_take(ToolReply *reply, size_t bytes);

/*
 * Executes @command, which is freed, in a TPM that is on.  @reply, which was
 * zero, begins with the handle, or the parameters, of the answer, and is to
 * be cleared by the caller also after a failure; it may be NULL.  A TPM that
 * refuses the command, which the user knows as @what, is an error.
 */
bool tool_tpm_send(ToolTpm *tpm, const char *what, GByteArray *command,
                   ToolReply *reply, GError **error);

/* Executes TPM2_Startup, or TPM2_Shutdown. */
bool tool_tpm_startup(ToolTpm *tpm, GError **error);
bool tool_tpm_shutdown(ToolTpm *tpm, GError **error);

/* What TPM2_GetCapability lists from @first on, of at most @count */
bool tool_tpm_capability(ToolTpm *tpm, uint32_t capability, uint32_t first,
                         uint32_t count, ToolReply *reply, GError **error);
/* A property; 0 if the TPM does not have it */
bool tool_tpm_property(ToolTpm *tpm, uint32_t property, uint32_t *value,
                       GError **error);

#endif /* TOOLS_BLOBSTORE_TPM_SEND_H */
