/*
 * TPM backend "libtpms": the commands of the guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include "system/tpm_util.h"
#include "libtpms.h"
#include "hw/tpm/libtpms/engine/trace.h"

static void respond_with_failure(TPMLibtpms *tpm, TPMBackendCmd *cmd)
{
    tpm_util_write_fatal_error_response(cmd->out, cmd->out_len);
    if (tpm->engine.nvram.version == TPM_VERSION_2_0 &&
        cmd->out_len >= TPM_HEADER_BYTES) {
        tpm_cmd_set_tag(cmd->out, TPM2_ST_NO_SESSIONS);
        tpm_cmd_set_error(cmd->out, TPM2_RC_FAILURE);
    }
}

bool tpm_execute(TPMLibtpms *tpm, TPMBackendCmd *cmd, Error **errp)
{
    /* A copy, because the guest can write to the memory of a CRB's command. */
    g_autofree uint8_t *request = g_memdup2(cmd->in, cmd->in_len);
    uint32_t ordinal = cmd->in_len >= TPM_HEADER_BYTES ?
                       tpm_cmd_get_ordinal(request) : 0;
    TPMEngine *engine = &tpm->engine;
    uint8_t *response;
    uint32_t bytes;
    TPM_RESULT result;
    bool stored;

    if (!engine->powered) {
        respond_with_failure(tpm, cmd);
        return true;
    }
    trace_tpm_engine_execute(cmd->locty, ordinal, cmd->in_len);
    result = tpm_engine_process(engine, cmd->locty, request, cmd->in_len,
                                &response, &bytes);
    stored = tpm_nvram_check(&engine->nvram, errp);
    if (result == TPM_SUCCESS &&
        bytes >= TPM_HEADER_BYTES && bytes <= cmd->out_len &&
        (stored || tpm_cmd_get_errcode(response))) {
        memcpy(cmd->out, response, bytes);
        cmd->selftest_done = tpm_util_is_selftest(request, cmd->in_len) &&
                             !tpm_cmd_get_errcode(response);
        tpm_engine_note(engine, ordinal, tpm_cmd_get_errcode(response));
    } else {
        /* A change that was not stored is never acknowledged. */
        respond_with_failure(tpm, cmd);
    }
    free(response);
    trace_tpm_engine_executed(ordinal, tpm_cmd_get_errcode(cmd->out),
                              tpm_cmd_get_size(cmd->out));
    return stored;
}
