/*
 * TPM backend "libtpms": the PCR banks of a new TPM
 *
 * A TPM 2.0 has a PCR bank for each hash algorithm that it is told to have.
 * The choice belongs to the state of the TPM, and is made by a command, as
 * firmware makes it.  So the host makes it once, in a TPM that is being made.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "engine.h"

#define TPM2_CC_PCR_ALLOCATE 0x12b

/* Of TPM2_PCR_Allocate's response: a byte, "it will be so" */
#define GIVEN_SUCCESS 14

#define SELECT_BYTES 3
#define EMPTY_AUTH_BYTES 9

static const struct {
    const char *name;
    uint16_t algorithm;
} banks[] = {
    { "sha1", 0x4 },
    { "sha256", 0xb },
    { "sha384", 0xc },
    { "sha512", 0xd },
};

const char *tpm_banks_name(uint16_t algorithm)
{
    for (int i = 0; i < ARRAY_SIZE(banks); i++) {
        if (banks[i].algorithm == algorithm) {
            return banks[i].name;
        }
    }
    return NULL;
}

static bool add_bank(const char *name, unsigned *chosen, Error **errp)
{
    ERRP_GUARD();
    for (int i = 0; i < ARRAY_SIZE(banks); i++) {
        if (g_str_equal(name, banks[i].name)) {
            if (*chosen & (1u << i)) {
                error_setg(errp, "PCR bank '%s' is named twice", name);
                return false;
            }
            *chosen |= 1u << i;
            return true;
        }
    }
    error_setg(errp, "there is no PCR bank '%s'", name);
    error_append_hint(errp, "The PCR banks are sha1, sha256, sha384 and "
                      "sha512; separate them by ':', or by ',' where the "
                      "option allows that.\n");
    return false;
}

bool tpm_banks_parse(const char *names, unsigned *chosen, Error **errp)
{
    g_auto(GStrv) parts = NULL;

    *chosen = 0;
    if (!names) {
        return true;
    }
    if (!*names) {
        return add_bank(names, chosen, errp);
    }
    parts = g_strsplit_set(names, ":,", 0);
    for (char **name = parts; *name; name++) {
        if (!add_bank(*name, chosen, errp)) {
            return false;
        }
    }
    return true;
}

/* With the platform authorization of a new TPM, which is empty */
static GByteArray *new_allocation(unsigned chosen)
{
    GByteArray *command = g_byte_array_new();
    uint32_t bytes = TPM_HEADER_BYTES + 4 + 4 + EMPTY_AUTH_BYTES + 4 +
                     ARRAY_SIZE(banks) * (3 + SELECT_BYTES);
    uint8_t *at;

    g_byte_array_set_size(command, bytes);
    memset(command->data, 0, bytes);
    tpm_commands_put_header(command->data, TPM2_ST_SESSIONS, bytes,
                            TPM2_CC_PCR_ALLOCATE);
    at = command->data + TPM_HEADER_BYTES;
    stl_be_p(at, TPM2_RH_PLATFORM);
    stl_be_p(at + 4, EMPTY_AUTH_BYTES);
    stl_be_p(at + 8, TPM2_RS_PW);
    at += 8 + EMPTY_AUTH_BYTES;
    stl_be_p(at, ARRAY_SIZE(banks));
    at += 4;
    for (int i = 0; i < ARRAY_SIZE(banks); i++) {
        stw_be_p(at, banks[i].algorithm);
        at[2] = SELECT_BYTES;
        memset(at + 3, chosen & (1u << i) ? 0xff : 0, SELECT_BYTES);
        at += 3 + SELECT_BYTES;
    }
    return command;
}

bool tpm_banks_allocate(TPMEngine *tpm, unsigned chosen, Error **errp)
{
    g_autoptr(GByteArray) command = new_allocation(chosen);
    g_autoptr(GByteArray) response = g_byte_array_new();
    uint32_t code;

    if (!tpm_engine_send_clear(tpm, TPM2_CC_STARTUP, &code, errp) ||
        (!code && !tpm_engine_send(tpm, command->data, command->len, &code,
                                   response, errp))) {
        return false;
    }
    if (code || response->len <= GIVEN_SUCCESS ||
        !response->data[GIVEN_SUCCESS]) {
        error_setg(errp, "libtpms cannot make a TPM with these PCR banks "
                   "(result 0x%x)", code);
        return false;
    }
    return true;
}
