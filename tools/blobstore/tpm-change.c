/*
 * qemu-blobstore: commands that make a TPM, and that change one as its
 * platform may
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "crypto/secret.h"
#include "qapi/error.h"
#include "tpm-send.h"

#define TPM2_CC_CHANGE_EPS    0x124
#define TPM2_CC_CHANGE_PPS    0x125
#define TPM2_CC_CLEAR         0x126
#define TPM2_CC_CLEAR_CONTROL 0x127
#define TPM2_CC_DA_RESET      0x139

#define TPM2_RH_LOCKOUT 0x4000000a

/* Changes the TPM, which has been started. */
typedef bool Change(const Tool *tool, ToolTpm *tpm, GError **error);

/* All that @change does, and the restart around it, is one commit. */
static bool coroutine_fn run_change(Tool *tool, Change *change, GError **error)
{
    g_auto(ToolTpm) tpm = { };
    g_auto(ToolStore) opened = { };

    if (!tool_open(tool, &tool->image, TOOL_WRITE, &opened, error) ||
        !tool_tpm_load(&opened, &tpm, error)) {
        return false;
    }
    if (tpm.engine.nvram.version == TPM_VERSION_1_2) {
        return tool_fail(error, TOOL_EXIT_ERROR, "this is a TPM 1.2, and %s "
                         "is for TPMs 2.0", tool->command->name);
    }
    if (!tool_tpm_power_on(&tpm, error) || !tool_tpm_startup(&tpm, error) ||
        !change(tool, &tpm, error) || !tool_tpm_shutdown(&tpm, error)) {
        return false;
    }
    tool_tpm_power_off(&tpm);
    return tool_tpm_commit(&opened, &tpm, error);
}

static bool send_as(ToolTpm *tpm, uint32_t code, uint32_t hierarchy,
                    const char *password, const char *what, GError **error)
{
    return tool_tpm_send(tpm, what,
                         tool_tpm_command(code, hierarchy, password), NULL,
                         error);
}

/* The guest may have forbidden it, but not to the platform. */
static bool clear(const Tool *tool, ToolTpm *tpm, GError **error)
{
    GByteArray *allow = tool_tpm_command(TPM2_CC_CLEAR_CONTROL,
                                         TPM2_RH_PLATFORM, "");

    tool_tpm_put(allow, 1, false);
    return tool_tpm_send(tpm, "TPM2_ClearControl", allow, NULL, error) &&
           send_as(tpm, TPM2_CC_CLEAR, TPM2_RH_PLATFORM, "", "TPM2_Clear",
                   error);
}

bool coroutine_fn tool_tpm_clear(Tool *tool, GError **error)
{
    return run_change(tool, clear, error);
}

static bool reset_lockout(const Tool *tool, ToolTpm *tpm, GError **error)
{
    g_autofree char *password = NULL;
    Error *err = NULL;

    if (tool->lockout_secret) {
        password = qcrypto_secret_lookup_as_utf8(tool->lockout_secret, &err);
        if (!password) {
            return tool_fail_err(error, TOOL_EXIT_KEY, err);
        }
    }
    if (!send_as(tpm, TPM2_CC_DA_RESET, TPM2_RH_LOCKOUT, password ?: "",
                 "TPM2_DictionaryAttackLockReset", error)) {
        g_prefix_error(error, "the lockout password is missing or wrong, see "
                       "--lockout-secret; without it only 'tpm clear' ends a "
                       "lockout at once: ");
        return false;
    }
    return true;
}

bool coroutine_fn tool_tpm_reset_lockout(Tool *tool, GError **error)
{
    return run_change(tool, reset_lockout, error);
}

static bool new_identity(const Tool *tool, ToolTpm *tpm, GError **error)
{
    return send_as(tpm, TPM2_CC_CHANGE_EPS, TPM2_RH_PLATFORM, "",
                   "TPM2_ChangeEPS", error) &&
           send_as(tpm, TPM2_CC_CHANGE_PPS, TPM2_RH_PLATFORM, "",
                   "TPM2_ChangePPS", error) &&
           clear(tool, tpm, error);
}

bool coroutine_fn tool_tpm_new_identity(Tool *tool, GError **error)
{
    if (!tool->force) {
        return tool_fail(error, TOOL_EXIT_USAGE, "all keys of the TPM are lost "
                         "then, and its certificates are not its own any "
                         "more; --force says that this is wanted");
    }
    return run_change(tool, new_identity, error);
}

/* The TPM is made when it is first switched on. */
static bool make(const Tool *tool, ToolTpm *tpm, GError **error)
{
    unsigned banks;
    Error *err = NULL;

    tpm->engine.nvram.profile = g_strdup(tool->profile);
    if (!tpm_banks_parse(tool->pcr_banks, &banks, &err) ||
        !tpm_profile_parse(tool->profile, &err)) {
        return tool_fail_err(error, TOOL_EXIT_USAGE, err);
    }
    if (!tool_tpm_power_on(tpm, error)) {
        return false;
    }
    if (banks && (!tpm_banks_allocate(&tpm->engine, banks, &err) ||
                  !tool_tpm_shutdown(tpm, error))) {
        return err ? tool_fail_err(error, TOOL_EXIT_ERROR, err) : false;
    }
    tool_tpm_power_off(tpm);
    return true;
}

bool coroutine_fn tool_tpm_create(Tool *tool, GError **error)
{
    bool is_tpm12 = tool->tpm_version;          /* the second choice */
    g_auto(ToolTpm) tpm = { };
    g_auto(ToolStore) opened = { };

    if (is_tpm12 && (tool->pcr_banks || tool->profile)) {
        return tool_fail(error, TOOL_EXIT_USAGE, "a TPM 1.2 has no choice of "
                         "PCR banks or profiles");
    }
    if (!tool_tpm_init(&tpm, is_tpm12 ? TPM_VERSION_1_2 : TPM_VERSION_2_0,
                       "the store", error) ||
        !make(tool, &tpm, error) ||
        !tool_open(tool, &tool->image, TOOL_CREATE, &opened, error)) {
        return false;
    }
    if (tool_tpm_exists(&opened)) {
        return tool_fail(error, TOOL_EXIT_ERROR, "there is a TPM in the store "
                         "already");
    }
    return tool_tpm_commit(&opened, &tpm, error);
}
