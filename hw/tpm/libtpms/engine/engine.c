/*
 * TPM backend "libtpms": libtpms itself
 *
 * Libtpms keeps its TPM in global variables, its callbacks take no opaque
 * pointer, and it locks nothing.  So one TPMEngine at a time owns libtpms,
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
#include "engine.h"
#include "trace.h"

#define TPM2_SU_CLEAR 0

static TPMEngine *owner;

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

bool tpm_engine_claim(TPMEngine *tpm, Error **errp)
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

void tpm_engine_release(TPMEngine *tpm)
{
    if (owner == tpm) {
        owner = NULL;
        tpm_log_close();
    }
}

TPMEngine *tpm_engine_owner(void)
{
    return owner;
}

static void read_established(TPMEngine *tpm)
{
    TPM_BOOL established = false;

    TPM_IO_TpmEstablished_Get(&established);
    qatomic_set(&tpm->established, established);
}

static void do_reset_established(TPMEngine *tpm)
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

void tpm_engine_reset_established(TPMEngine *tpm, uint8_t locality, bool busy)
{
    qatomic_set(&tpm->reset_established, locality);
    /* While a command runs, its worker resets the flag at the end. */
    if (!busy) {
        do_reset_established(tpm);
    }
}

/* Tells the user what went wrong first. */
static void set_power_on_error(TPMEngine *tpm, TPM_RESULT result,
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
    error_setg(errp, "libtpms cannot use the TPM state in %s: "
               "%s (result 0x%x)", tpm->nvram.place,
               said ?: "libtpms does not say why", result);
    stored_by = tpm_nvram_stored_by(&tpm->nvram);
    error_append_hint(errp, "The state was stored by libtpms %s, and this is "
                      "libtpms %s.  The state is unchanged.\n",
                      stored_by ?: "of an unknown version", version);
}

static TPM_RESULT init(TPMEngine *tpm)
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

    result = TPMLIB_ChooseTPMVersion(tpm->nvram.version == TPM_VERSION_1_2
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

bool tpm_engine_power_on(TPMEngine *tpm, Error **errp)
{
    TPM_RESULT result;

    tpm_engine_power_off(tpm);
    trace_tpm_engine_power_on(tpm_libtpms_version_str(tpm->nvram.version),
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

bool tpm_engine_check(TPMEngine *tpm, Error **errp)
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

bool tpm_engine_save(TPMEngine *tpm, Error **errp)
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

bool tpm_engine_resume(TPMEngine *tpm, Error **errp)
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

void tpm_engine_power_off(TPMEngine *tpm)
{
    if (tpm->powered) {
        trace_tpm_engine_power_off();
        terminate();
        g_free(tpm_log_take());
        tpm->powered = false;
    }
}

/* Storing something later clears the flag: see tpm_nvram_store(). */
void tpm_engine_note(TPMEngine *tpm, uint32_t ordinal, uint32_t code)
{
    if (tpm->nvram.version == TPM_VERSION_2_0 && ordinal == TPM2_CC_SHUTDOWN &&
        !code) {
        tpm->nvram.is_shut_down = true;
    }
}

uint32_t tpm_engine_process(TPMEngine *tpm, uint8_t locality,
                            uint8_t *request, uint32_t length,
                            uint8_t **response, uint32_t *bytes)
{
    uint32_t allocated = 0;
    TPM_RESULT result;

    *response = NULL;
    *bytes = 0;
    do_reset_established(tpm);
    tpm->locality = locality;
    tpm_openssl_enter();
    result = tpm->nvram.version == TPM_VERSION_2_0
             ? tpm_commands_process(response, bytes, &allocated, request,
                                    length)
             : TPMLIB_Process(response, bytes, &allocated, request, length);
    tpm_openssl_leave();
    g_free(tpm_log_take());
    read_established(tpm);
    do_reset_established(tpm);
    return result;
}

bool tpm_engine_send(TPMEngine *tpm, uint8_t *request, uint32_t length,
                     uint32_t *code, GByteArray *answer, Error **errp)
{
    uint32_t ordinal = tpm_cmd_get_ordinal(request);
    uint8_t *response;
    uint32_t bytes;
    TPM_RESULT result = tpm_engine_process(tpm, 0, request, length, &response,
                                           &bytes);

    *code = result == TPM_SUCCESS && bytes >= TPM_HEADER_BYTES
            ? tpm_cmd_get_errcode(response) : TPM_FAIL;
    if (answer && response) {
        g_byte_array_append(answer, response, bytes);
    }
    free(response);
    tpm_engine_note(tpm, ordinal, *code);
    trace_tpm_engine_send(ordinal, *code);
    return tpm_nvram_check(&tpm->nvram, errp);
}

bool tpm_engine_send_clear(TPMEngine *tpm, uint32_t ordinal, uint32_t *code,
                           Error **errp)
{
    uint8_t request[TPM_HEADER_BYTES + 2];

    tpm_commands_put_header(request, TPM2_ST_NO_SESSIONS, sizeof(request),
                            ordinal);
    stw_be_p(request + TPM_HEADER_BYTES, TPM2_SU_CLEAR);
    return tpm_engine_send(tpm, request, sizeof(request), code, NULL, errp);
}
