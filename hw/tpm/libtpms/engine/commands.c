/*
 * TPM backend "libtpms": commands that libtpms must not see
 *
 * Libtpms shares the process with the guest's memory, so a fault that a
 * command can provoke in it is a fault of QEMU.  A command of the first table
 * is answered here as if the TPM did not implement it, and the TPM's lists and
 * counts of its commands leave it out.  A command of the second table is
 * refused only where it could do harm.
 *
 * The comparison looks at the lower 16 bits of a command code alone, so that
 * nothing depends on what libtpms makes of the others.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include "system/tpm_util.h"
#include "engine.h"
#include "trace.h"

#define TPM2_RC_COMMAND_CODE      0x143
#define TPM2_RC_ATTRIBUTES_1      0x182     /* of the first handle */
#define TPM2_CC_IMPORT            0x156
#define TPM2_CC_READ_PUBLIC       0x173
#define TPM2_CC_CERTIFY_X509      0x197

#define TPM2_CAP_COMMANDS         2
#define TPM2_PT_TOTAL_COMMANDS    0x129
#define TPM2_PT_LIBRARY_COMMANDS  0x12a

/* TPM2_GetCapability without sessions: what is asked for, and the answer */
#define ASKED_CAPABILITY 10
#define ASKED_PROPERTY   14
#define ASKED_COUNT      18
#define ASKED_BYTES      22
#define GIVEN_MORE       10
#define GIVEN_COUNT      15
#define GIVEN_LIST       19

/* The first handle of a command, and TPM2_ReadPublic's answer about it */
#define FIRST_HANDLE      10
#define ASKED_OBJECT      14
#define GIVEN_ATTRIBUTES  16
#define TPM2_OBJECT_FIXED_TPM  (1 << 1)

/* No released libtpms has the fault mended. */
#define NOT_FIXED UINT32_MAX

typedef struct Fault {
    uint16_t ordinal;
    const char *reason;
    uint32_t fixed_in;          /* TPM_LIBRARY_VERSION_GEN(), or NOT_FIXED */
    /* Returns 0, or the code that refuses a @request which could do harm. */
    uint32_t (*check)(const unsigned char *request, uint32_t length);
} Fault;

static uint32_t check_import(const unsigned char *request, uint32_t length);

static const Fault withheld[] = {
    { TPM2_CC_CERTIFY_X509,
      "TPM2_CertifyX509 writes behind an array on the stack "
      "(libtpms issue 617)", NOT_FIXED },
};

static const Fault checked[] = {
    { TPM2_CC_IMPORT,
      "TPM2_Import under a parent that may leave the TPM writes zeros behind "
      "an object on the stack (libtpms issue 619)", NOT_FIXED, check_import },
};

/* @fixed_in says what QEMU was built with, and what it runs with. */
static const Fault *find(const Fault *faults, int count, uint32_t ordinal)
{
    for (int i = 0; i < count; i++) {
        if (faults[i].ordinal == (uint16_t)ordinal &&
            (TPM_LIBRARY_VERSION < faults[i].fixed_in ||
             TPMLIB_GetVersion() < faults[i].fixed_in)) {
            return &faults[i];
        }
    }
    return NULL;
}

static const Fault *find_withheld(uint32_t ordinal)
{
    return find(withheld, ARRAY_SIZE(withheld), ordinal);
}

void tpm_commands_put_header(uint8_t *at, uint16_t tag, uint32_t bytes,
                             uint32_t code)
{
    tpm_cmd_set_tag(at, tag);
    tpm_cmd_set_size(at, bytes);
    tpm_cmd_set_error(at, code);
}

static TPM_RESULT refuse(unsigned char **response, uint32_t *bytes,
                         uint32_t *allocated, uint32_t code)
{
    *response = malloc(TPM_HEADER_BYTES);
    if (!*response) {
        return TPM_FAIL;
    }
    *bytes = *allocated = TPM_HEADER_BYTES;
    tpm_commands_put_header(*response, TPM2_ST_NO_SESSIONS, TPM_HEADER_BYTES,
                            code);
    return TPM_SUCCESS;
}

/*
 * What is imported under a parent with fixedTPM is checked as if it were
 * loaded.  Under another parent libtpms does not compare the length of its
 * authorization value with the digest of the name, before it subtracts.
 */
static uint32_t check_import(const unsigned char *request, uint32_t length)
{
    unsigned char question[ASKED_OBJECT];
    unsigned char *answer = NULL;
    uint32_t bytes = 0, allocated = 0;
    uint32_t code = TPM2_RC_ATTRIBUTES_1;

    if (length < FIRST_HANDLE + 4) {
        return 0;               /* libtpms refuses what has no handle. */
    }
    tpm_commands_put_header(question, TPM2_ST_NO_SESSIONS, ASKED_OBJECT,
                            TPM2_CC_READ_PUBLIC);
    memcpy(question + FIRST_HANDLE, request + FIRST_HANDLE, 4);
    if (TPMLIB_Process(&answer, &bytes, &allocated, question,
                       ASKED_OBJECT) == TPM_SUCCESS &&
        bytes >= TPM_HEADER_BYTES) {
        code = tpm_cmd_get_errcode(answer);
        if (!code && (bytes < GIVEN_ATTRIBUTES + 4 ||
                      !(ldl_be_p(answer + GIVEN_ATTRIBUTES) &
                        TPM2_OBJECT_FIXED_TPM))) {
            code = TPM2_RC_ATTRIBUTES_1;
        }
    }
    free(answer);
    return code;
}

/* Whether @response lists @entry_bytes for each of as many as it says */
static bool has_list(const unsigned char *response, uint32_t bytes,
                     uint32_t capability, unsigned entry_bytes)
{
    return bytes >= GIVEN_LIST && !tpm_cmd_get_errcode(response) &&
           ldl_be_p(response + GIVEN_MORE + 1) == capability &&
           (uint64_t)ldl_be_p(response + GIVEN_COUNT) * entry_bytes ==
           bytes - GIVEN_LIST;
}

static void leave_out(unsigned char *response, uint32_t *bytes, uint32_t asked)
{
    uint32_t count = ldl_be_p(response + GIVEN_COUNT);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t attributes = ldl_be_p(response + GIVEN_LIST + 4 * i);

        if (!find_withheld(attributes)) {
            stl_be_p(response + GIVEN_LIST + 4 * kept++, attributes);
        }
    }
    if (kept > asked) {
        kept = asked;
        response[GIVEN_MORE] = true;
    }
    *bytes = GIVEN_LIST + 4 * kept;
    stl_be_p(response + GIVEN_COUNT, kept);
    stl_be_p(response + 2, *bytes);
}

/* One more is asked for each that will be left out. */
static TPM_RESULT list_commands(unsigned char **response, uint32_t *bytes,
                                uint32_t *allocated, unsigned char *request)
{
    uint32_t asked = ldl_be_p(request + ASKED_COUNT);
    TPM_RESULT result;

    if (asked <= UINT32_MAX - ARRAY_SIZE(withheld)) {
        stl_be_p(request + ASKED_COUNT, asked + ARRAY_SIZE(withheld));
    }
    result = TPMLIB_Process(response, bytes, allocated, request, ASKED_BYTES);
    if (result == TPM_SUCCESS &&
        has_list(*response, *bytes, TPM2_CAP_COMMANDS, 4)) {
        leave_out(*response, bytes, asked);
    }
    return result;
}

/* Whether this libtpms, with its profile, has a command */
static bool has_command(uint16_t ordinal)
{
    unsigned char request[ASKED_BYTES];
    unsigned char *response = NULL;
    uint32_t bytes = 0, allocated = 0;
    bool found;

    tpm_commands_put_header(request, TPM2_ST_NO_SESSIONS, ASKED_BYTES,
                            TPM2_CC_GET_CAPABILITY);
    stl_be_p(request + ASKED_CAPABILITY, TPM2_CAP_COMMANDS);
    stl_be_p(request + ASKED_PROPERTY, ordinal);
    stl_be_p(request + ASKED_COUNT, 1);
    found = TPMLIB_Process(&response, &bytes, &allocated, request,
                           ASKED_BYTES) == TPM_SUCCESS &&
            has_list(response, bytes, TPM2_CAP_COMMANDS, 4) &&
            bytes > GIVEN_LIST &&
            lduw_be_p(response + GIVEN_LIST + 2) == ordinal;
    free(response);
    return found;
}

static TPM_RESULT list_properties(unsigned char **response, uint32_t *bytes,
                                  uint32_t *allocated, unsigned char *request)
{
    TPM_RESULT result = TPMLIB_Process(response, bytes, allocated, request,
                                       ASKED_BYTES);
    uint32_t hidden = 0;

    if (result != TPM_SUCCESS ||
        !has_list(*response, *bytes, TPM2_CAP_TPM_PROPERTIES, 8)) {
        return result;
    }
    for (int i = 0; i < ARRAY_SIZE(withheld); i++) {
        hidden += find_withheld(withheld[i].ordinal) &&
                  has_command(withheld[i].ordinal);
    }
    for (uint32_t at = GIVEN_LIST; at < *bytes; at += 8) {
        uint32_t property = ldl_be_p(*response + at);

        if (property == TPM2_PT_TOTAL_COMMANDS ||
            property == TPM2_PT_LIBRARY_COMMANDS) {
            stl_be_p(*response + at + 4, ldl_be_p(*response + at + 4) - hidden);
        }
    }
    return result;
}

uint32_t tpm_commands_process(unsigned char **response, uint32_t *bytes,
                              uint32_t *allocated, unsigned char *request,
                              uint32_t length)
{
    uint32_t ordinal = length >= TPM_HEADER_BYTES
                       ? tpm_cmd_get_ordinal(request) : 0;
    const Fault *fault = find_withheld(ordinal);
    uint32_t code = fault ? TPM2_RC_COMMAND_CODE : 0;

    if (!fault) {
        fault = find(checked, ARRAY_SIZE(checked), ordinal);
        code = fault ? fault->check(request, length) : 0;
    }
    if (code) {
        trace_tpm_commands_refuse(ordinal, fault->reason);
        return refuse(response, bytes, allocated, code);
    }
    /* An answer with sessions has a check value, and cannot be changed. */
    if ((uint16_t)ordinal == TPM2_CC_GET_CAPABILITY &&
        length == ASKED_BYTES && lduw_be_p(request) == TPM2_ST_NO_SESSIONS) {
        switch (ldl_be_p(request + ASKED_CAPABILITY)) {
        case TPM2_CAP_COMMANDS:
            return list_commands(response, bytes, allocated, request);
        case TPM2_CAP_TPM_PROPERTIES:
            return list_properties(response, bytes, allocated, request);
        }
    }
    return TPMLIB_Process(response, bytes, allocated, request, length);
}
