/*
 * qemu-blobstore: commands for a TPM 2.0, and its answers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "tpm-send.h"

/* Of the authorization: handle, two sizes and the attributes */
#define AUTH_BYTES 9

void tool_tpm_put(GByteArray *command, unsigned bytes, uint32_t number)
{
    while (bytes--) {
        uint8_t byte = number >> 8 * bytes;

        g_byte_array_append(command, &byte, 1);
    }
}

static void put_password(GByteArray *command, const char *password)
{
    size_t bytes = strlen(password);

    tool_tpm_put(command, 4, AUTH_BYTES + bytes);
    tool_tpm_put(command, 4, TPM2_RS_PW);
    tool_tpm_put(command, 2, 0);
    tool_tpm_put(command, 1, 0);
    tool_tpm_put(command, 2, bytes);
    g_byte_array_append(command, (const uint8_t *)password, bytes);
}

GByteArray *tool_tpm_command(uint32_t code, uint32_t handle,
                             const char *password)
{
    GByteArray *command = g_byte_array_new();

    g_byte_array_set_size(command, TPM_HEADER_BYTES);
    tpm_commands_put_header(command->data, password ? TPM2_ST_SESSIONS
                                                    : TPM2_ST_NO_SESSIONS,
                            0, code);
    if (handle) {
        tool_tpm_put(command, 4, handle);
    }
    if (password) {
        put_password(command, password);
    }
    return command;
}

const uint8_t *tool_reply_take(ToolReply *reply, size_t bytes)
{
    const uint8_t *from = reply->bytes->data + reply->at;

    if (reply->bad || bytes > reply->bytes->len - reply->at) {
        reply->bad = true;
        return NULL;
    }
    reply->at += bytes;
    return from;
}

uint32_t tool_reply_get(ToolReply *reply, unsigned bytes)
{
    const uint8_t *from = tool_reply_take(reply, bytes);
    uint32_t number = 0;

    while (from && bytes--) {
        number = number << 8 | *from++;
    }
    return number;
}

static bool fail_refused(const char *what, uint32_t code, GError **error)
{
    return tool_fail(error, TOOL_EXIT_ERROR, "the TPM refuses %s (response "
                     "code 0x%x)", what, code);
}

bool tool_tpm_send(ToolTpm *tpm, const char *what, GByteArray *command,
                   ToolReply *reply, GError **error)
{
    g_autoptr(GByteArray) owned = command;
    g_autoptr(GByteArray) answer = g_byte_array_new();
    Error *err = NULL;
    uint32_t code;

    stl_be_p(command->data + 2, command->len);
    if (!tpm_engine_send(&tpm->engine, command->data, command->len, &code,
                         answer, &err)) {
        return tool_fail_err(error, TOOL_EXIT_ERROR, err);
    }
    if (code || answer->len < TPM_HEADER_BYTES) {
        return fail_refused(what, code, error);
    }
    if (reply) {
        reply->bytes = g_steal_pointer(&answer);
        reply->at = TPM_HEADER_BYTES;
    }
    return true;
}

static bool send_clear(ToolTpm *tpm, uint32_t code, const char *what,
                       GError **error)
{
    Error *err = NULL;
    uint32_t result;

    if (!tpm_engine_send_clear(&tpm->engine, code, &result, &err)) {
        return tool_fail_err(error, TOOL_EXIT_ERROR, err);
    }
    return !result || fail_refused(what, result, error);
}

bool tool_tpm_startup(ToolTpm *tpm, GError **error)
{
    return send_clear(tpm, TPM2_CC_STARTUP, "TPM2_Startup", error);
}

bool tool_tpm_shutdown(ToolTpm *tpm, GError **error)
{
    return send_clear(tpm, TPM2_CC_SHUTDOWN, "TPM2_Shutdown", error);
}

bool tool_tpm_capability(ToolTpm *tpm, uint32_t capability, uint32_t first,
                         uint32_t count, ToolReply *reply, GError **error)
{
    GByteArray *command = tool_tpm_command(TPM2_CC_GET_CAPABILITY, 0, NULL);

    tool_tpm_put(command, 4, capability);
    tool_tpm_put(command, 4, first);
    tool_tpm_put(command, 4, count);
    if (!tool_tpm_send(tpm, "TPM2_GetCapability", command, reply, error)) {
        return false;
    }
    tool_reply_take(reply, 1 + 4);      /* whether there are more; the kind */
    return true;
}

bool tool_tpm_property(ToolTpm *tpm, uint32_t property, uint32_t *value,
                       GError **error)
{
    g_auto(ToolReply) reply = { };

    if (!tool_tpm_capability(tpm, TPM2_CAP_TPM_PROPERTIES, property, 1, &reply,
                             error)) {
        return false;
    }
    *value = tool_reply_get(&reply, 4) &&
             tool_reply_get(&reply, 4) == property
             ? tool_reply_get(&reply, 4) : 0;
    return true;
}
