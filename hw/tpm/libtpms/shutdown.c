/*
 * TPM backend "libtpms": TPM2_Shutdown, for a guest that has not executed it
 *
 * A TPM 2.0 that gets its power back without having executed TPM2_Shutdown
 * counts that as a failed authorization if the guest has used a password that
 * dictionary attacks could find: somebody might have cut the power to keep an
 * attempt from being counted.  A reset of the VM, or the end of QEMU, is no
 * attack, and after three of them the TPM would be locked.  So the host
 * executes TPM2_Shutdown first.
 *
 * A TPM 1.2 counts failed authorizations alone and needs nothing.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "libtpms.h"

/*
 * The guest has not asked for its PCRs and sessions to be kept, so the type
 * is CLEAR: TPM2_Startup(STATE) is refused afterwards, as on a chip, and for
 * the TPM this is a reset like any other, with a new count of resets.
 */
static bool shut_down(TPMLibtpms *tpm, Error **errp)
{
    uint32_t code;

    /* A TPM that no guest has started, or that has failed, refuses. */
    return tpm_engine_send_clear(&tpm->engine, TPM2_CC_SHUTDOWN, &code, errp);
}

static void try_shut_down(TPMLibtpms *tpm)
{
    Error *err = NULL;

    if (tpm->engine.powered && tpm->engine.nvram.version == TPM_VERSION_2_0 &&
        !tpm->engine.nvram.is_shut_down && !shut_down(tpm, &err)) {
        error_prepend(&err, "the TPM cannot note that it loses its power for "
                      "a good reason, and may count that as a failed "
                      "authorization: ");
        tpm_nvram_report(&tpm->engine.nvram, TPM_FAILED_SHUTDOWN, err);
    }
}

/* Whether the state of the VM, and so the TPM, belongs to another QEMU */
static bool is_elsewhere(void)
{
    return runstate_check(RUN_STATE_INMIGRATE) ||
           runstate_check(RUN_STATE_FINISH_MIGRATE) ||
           runstate_check(RUN_STATE_POSTMIGRATE);
}

void tpm_shutdown_for_reset(TPMLibtpms *tpm)
{
    if (!is_elsewhere()) {
        try_shut_down(tpm);
    }
}

void tpm_shutdown_for_exit(TPMLibtpms *tpm)
{
    if (!is_elsewhere() && !tpm->has_arrived) {
        try_shut_down(tpm);
    }
}
