/*
 * TPM backend "libtpms": libtpms itself
 *
 * Libtpms keeps its TPM in global variables, its callbacks take no opaque
 * pointer, and it locks nothing.  So one TPMLibtpms at a time owns libtpms,
 * and calls it from one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_tis.h>
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "system/tpm_util.h"
#include "libtpms.h"
#include "trace.h"

#define TPM2_RC_FAILURE 0x101
#define TPM2_SU_CLEAR   0

static TPMLibtpms *owner;

static TPM_RESULT io_init(void)
{
    return TPM_SUCCESS;
}

static TPM_RESULT nvram_init(void)
{
    return TPM_SUCCESS;
}

static TPM_RESULT nvram_load(unsigned char **data, uint32_t *length,
                             uint32_t tpm_number, const char *name)
{
    TPM_RESULT result;

    tpm_openssl_leave();
    result = tpm_nvram_load(&owner->nvram, name, data, length);
    tpm_openssl_enter();
    return result;
}

static TPM_RESULT nvram_store(const unsigned char *data, uint32_t length,
                              uint32_t tpm_number, const char *name)
{
    TPM_RESULT result;

    tpm_openssl_leave();
    result = tpm_nvram_store(&owner->nvram, name, data, length);
    tpm_openssl_enter();
    return result;
}

static TPM_RESULT nvram_delete(uint32_t tpm_number, const char *name,
                               TPM_BOOL must_exist)
{
    TPM_RESULT result;

    tpm_openssl_leave();
    result = tpm_nvram_delete(&owner->nvram, name, must_exist);
    tpm_openssl_enter();
    return result;
}

static TPM_RESULT get_locality(TPM_MODIFIER_INDICATOR *locality,
                               uint32_t tpm_number)
{
    *locality = owner->locality;
    return TPM_SUCCESS;
}

static TPM_RESULT get_physical_presence(TPM_BOOL *presence,
                                        uint32_t tpm_number)
{
    /* The machine has no button.  Firmware asserts presence by a command. */
    *presence = false;
    return TPM_SUCCESS;
}

bool tpm_engine_claim(TPMLibtpms *tpm, Error **errp)
{
    ERRP_GUARD();
    if (owner) {
        error_setg(errp, "a VM can have one TPM, and there is a TPM already, "
                   "with its state in blobstore '%s'", owner->nvram.store);
        error_append_hint(errp, "Remove one of them.\n");
        return false;
    }
    if (!tpm_log_open(errp)) {
        return false;
    }
    owner = tpm;
    return true;
}

void tpm_engine_release(TPMLibtpms *tpm)
{
    if (owner == tpm) {
        owner = NULL;
        tpm_log_close();
    }
}

TPMLibtpms *tpm_engine_owner(void)
{
    return owner;
}

static void read_established(TPMLibtpms *tpm)
{
    TPM_BOOL established = false;

    TPM_IO_TpmEstablished_Get(&established);
    qatomic_set(&tpm->established, established);
}

static void do_reset_established(TPMLibtpms *tpm)
{
    uint8_t locality = qatomic_xchg(&tpm->reset_established, 0);

    if (locality && tpm->powered) {
        /* A callback of libtpms reads the locality. */
        tpm->locality = locality;
        tpm_openssl_enter();
        TPM_IO_TpmEstablished_Reset();
        tpm_openssl_leave();
        read_established(tpm);
    }
}

void tpm_engine_reset_established(TPMLibtpms *tpm, uint8_t locality)
{
    qatomic_set(&tpm->reset_established, locality);
    /* While a command runs, its worker resets the flag at the end. */
    if (!TPM_BACKEND(tpm)->cmd) {
        do_reset_established(tpm);
    }
}

/* Tells the user what went wrong first. */
static void set_power_on_error(TPMLibtpms *tpm, TPM_RESULT result,
                               Error **errp)
{
    ERRP_GUARD();
    g_autofree char *said = tpm_log_take();
    g_autofree char *version = tpm_profile_libtpms_version();
    g_autofree char *stored_by = NULL;

    if (!tpm_nvram_check(&tpm->nvram, errp)) {
        error_prepend(errp, "cannot start the TPM: ");
        return;
    }
    error_setg(errp, "libtpms cannot use the TPM state in blobstore '%s': "
               "%s (result 0x%x)", tpm->nvram.store,
               said ?: "libtpms does not say why", result);
    stored_by = tpm_nvram_stored_by(&tpm->nvram);
    error_append_hint(errp, "The state was stored by libtpms %s, and this is "
                      "libtpms %s.  The state is unchanged.\n",
                      stored_by ?: "of an unknown version", version);
}

static TPM_RESULT init(TPMLibtpms *tpm)
{
    struct libtpms_callbacks callbacks = {
        .sizeOfStruct = sizeof(callbacks),
        .tpm_nvram_init = nvram_init,
        .tpm_nvram_loaddata = nvram_load,
        .tpm_nvram_storedata = nvram_store,
        .tpm_nvram_deletename = nvram_delete,
        .tpm_io_init = io_init,
        .tpm_io_getlocality = get_locality,
        .tpm_io_getphysicalpresence = get_physical_presence,
    };
    TPM_RESULT result;

    result = TPMLIB_ChooseTPMVersion(tpm->version == TPM_VERSION_1_2
                                     ? TPMLIB_TPM_VERSION_1_2
                                     : TPMLIB_TPM_VERSION_2);
    if (result == TPM_SUCCESS) {
        TPMLIB_RegisterCallbacks(&callbacks);
        TPMLIB_SetBufferSize(tpm->buffer_bytes, NULL, NULL);
        result = tpm_profile_set(&tpm->nvram);
    }
    if (result == TPM_SUCCESS) {
        tpm_openssl_enter();
        result = TPMLIB_MainInit();
        tpm_openssl_leave();
    }
    return result;
}

static void terminate(void)
{
    tpm_openssl_enter();
    TPMLIB_Terminate();
    tpm_openssl_leave();
}

bool tpm_engine_power_on(TPMLibtpms *tpm, Error **errp)
{
    TPM_RESULT result;

    tpm_engine_power_off(tpm);
    trace_tpm_engine_power_on(tpm_libtpms_version_str(tpm->version),
                              tpm->buffer_bytes);
    tpm->locality = 0;
    tpm->nvram.is_shut_down = false;
    qatomic_set(&tpm->reset_established, 0);
    result = init(tpm);
    if (result != TPM_SUCCESS || tpm->nvram.failure) {
        set_power_on_error(tpm, result, errp);
        terminate();
        return false;
    }
    g_free(tpm_log_take());
    tpm->powered = true;
    read_established(tpm);
    return true;
}

bool tpm_engine_check(TPMLibtpms *tpm, Error **errp)
{
    bool present;
    bool ok;

    if (!tpm_nvram_has_permanent(&tpm->nvram, &present, errp)) {
        return false;
    }
    if (!present) {
        return true;
    }
    tpm->nvram.checking = true;
    ok = tpm_engine_power_on(tpm, errp);
    tpm_engine_power_off(tpm);
    tpm->nvram.checking = false;
    return ok;
}

bool tpm_engine_save(TPMLibtpms *tpm, Error **errp)
{
    unsigned char *state = NULL;
    uint32_t bytes = 0;
    TPM_RESULT result;
    bool ok;

    if (!tpm->powered) {
        return tpm_nvram_store_volatile(&tpm->nvram, NULL, 0, errp);
    }
    tpm_openssl_enter();
    result = TPMLIB_VolatileAll_Store(&state, &bytes);
    tpm_openssl_leave();
    g_free(tpm_log_take());
    trace_tpm_engine_save(bytes, result);
    if (result != TPM_SUCCESS) {
        error_setg(errp, "libtpms does not return its volatile state "
                   "(result 0x%x)", result);
        return false;
    }
    ok = tpm_nvram_store_volatile(&tpm->nvram, state, bytes, errp);
    free(state);
    return ok;
}

bool tpm_engine_resume(TPMLibtpms *tpm, Error **errp)
{
    bool was_on, was_shut_down;
    bool ok;

    tpm_engine_power_off(tpm);
    if (!tpm_nvram_check_permanent(&tpm->nvram, errp) ||
        !tpm_nvram_has_volatile(&tpm->nvram, &was_on, &was_shut_down, errp)) {
        return false;
    }
    trace_tpm_engine_resume(was_on);
    if (!was_on) {
        return true;            /* The TPM is off until the next reset. */
    }
    tpm->nvram.resuming = true;
    ok = tpm_engine_power_on(tpm, errp);
    tpm->nvram.resuming = false;
    tpm->nvram.is_shut_down = was_shut_down;
    return ok;
}

void tpm_engine_power_off(TPMLibtpms *tpm)
{
    if (tpm->powered) {
        trace_tpm_engine_power_off();
        terminate();
        g_free(tpm_log_take());
        tpm->powered = false;
    }
}

static void respond_with_failure(TPMLibtpms *tpm, TPMBackendCmd *cmd)
{
    tpm_util_write_fatal_error_response(cmd->out, cmd->out_len);
    if (tpm->version == TPM_VERSION_2_0 && cmd->out_len >= TPM_HEADER_BYTES) {
        tpm_cmd_set_tag(cmd->out, TPM2_ST_NO_SESSIONS);
        tpm_cmd_set_error(cmd->out, TPM2_RC_FAILURE);
    }
}

/* Storing something later clears the flag: see tpm_nvram_store(). */
static void note_shutdown(TPMLibtpms *tpm, uint32_t ordinal, uint32_t code)
{
    if (tpm->version == TPM_VERSION_2_0 && ordinal == TPM2_CC_SHUTDOWN &&
        !code) {
        tpm->nvram.is_shut_down = true;
    }
}

bool tpm_engine_send(TPMLibtpms *tpm, uint8_t *request, uint32_t length,
                     uint32_t *code, GByteArray *answer, Error **errp)
{
    unsigned char *response = NULL;
    uint32_t bytes = 0, allocated = 0;
    uint32_t ordinal = tpm_cmd_get_ordinal(request);
    TPM_RESULT result;

    tpm->locality = 0;
    tpm_openssl_enter();
    result = tpm_commands_process(&response, &bytes, &allocated, request,
                                  length);
    tpm_openssl_leave();
    g_free(tpm_log_take());
    *code = result == TPM_SUCCESS && bytes >= TPM_HEADER_BYTES
            ? tpm_cmd_get_errcode(response) : TPM_FAIL;
    if (answer && response) {
        g_byte_array_append(answer, response, bytes);
    }
    free(response);
    note_shutdown(tpm, ordinal, *code);
    trace_tpm_engine_send(ordinal, *code);
    return tpm_nvram_check(&tpm->nvram, errp);
}

bool tpm_engine_send_clear(TPMLibtpms *tpm, uint32_t ordinal, uint32_t *code,
                           Error **errp)
{
    uint8_t request[TPM_HEADER_BYTES + 2];

    tpm_commands_put_header(request, TPM2_ST_NO_SESSIONS, sizeof(request),
                            ordinal);
    stw_be_p(request + TPM_HEADER_BYTES, TPM2_SU_CLEAR);
    return tpm_engine_send(tpm, request, sizeof(request), code, NULL, errp);
}

bool tpm_engine_execute(TPMLibtpms *tpm, TPMBackendCmd *cmd, Error **errp)
{
    /* A copy, because the guest can write to the memory of a CRB's command. */
    g_autofree unsigned char *request = g_memdup2(cmd->in, cmd->in_len);
    uint32_t ordinal = cmd->in_len >= TPM_HEADER_BYTES ?
                       tpm_cmd_get_ordinal(request) : 0;
    unsigned char *response = NULL;
    uint32_t bytes = 0, allocated = 0;
    TPM_RESULT result;
    bool stored;

    if (!tpm->powered) {
        respond_with_failure(tpm, cmd);
        return true;
    }
    trace_tpm_engine_execute(cmd->locty, ordinal, cmd->in_len);
    do_reset_established(tpm);
    tpm->locality = cmd->locty;
    tpm_openssl_enter();
    result = tpm->version == TPM_VERSION_2_0
             ? tpm_commands_process(&response, &bytes, &allocated, request,
                                    cmd->in_len)
             : TPMLIB_Process(&response, &bytes, &allocated, request,
                              cmd->in_len);
    tpm_openssl_leave();
    g_free(tpm_log_take());
    read_established(tpm);
    do_reset_established(tpm);

    stored = tpm_nvram_check(&tpm->nvram, errp);
    if (result == TPM_SUCCESS &&
        bytes >= TPM_HEADER_BYTES && bytes <= cmd->out_len &&
        (stored || tpm_cmd_get_errcode(response))) {
        memcpy(cmd->out, response, bytes);
        cmd->selftest_done = tpm_util_is_selftest(request, cmd->in_len) &&
                             !tpm_cmd_get_errcode(response);
        note_shutdown(tpm, ordinal, tpm_cmd_get_errcode(response));
    } else {
        /* A change that was not stored is never acknowledged. */
        respond_with_failure(tpm, cmd);
    }
    free(response);
    trace_tpm_engine_executed(ordinal, tpm_cmd_get_errcode(cmd->out),
                              tpm_cmd_get_size(cmd->out));
    return stored;
}
