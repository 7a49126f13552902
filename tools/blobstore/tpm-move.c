/*
 * qemu-blobstore: TPMs from swtpm, and to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_nvfilename.h>
#include "qapi/error.h"
#include "tools/blobstore/swtpm/swtpm.h"
#include "tpm.h"

/*
 * What is wrong with the files of swtpm is not what is wrong with the store,
 * which most of the numbers for the exit status are about.
 */
static bool fail_source(GError **error, const char *path, GError *err)
{
    ToolExit status = tool_exit_of(err);

    if (status != TOOL_EXIT_KEY && status != TOOL_EXIT_IN_USE) {
        status = TOOL_EXIT_ERROR;
    }
    tool_fail(error, status, "%s: %s", path, err->message);
    g_error_free(err);
    return false;
}

static bool get_key(const Tool *tool, BlobSecret **key, GError **error)
{
    *key = tool->swtpm_key ? tool_swtpm_key(tool->swtpm_key, error) : NULL;
    return *key || !tool->swtpm_key;
}

/* A store never has volatile state on its medium, so it would be lost. */
static bool check_volatile(const Tool *tool, const SwtpmStates *states,
                           GError **error)
{
    return !states->of[SWTPM_VOLATILE] || tool->drop_volatile ||
           tool_fail(error, TOOL_EXIT_ERROR, "%s: the TPM was saved while it "
                     "ran, and a store has no place for its volatile state "
                     "(PCRs, sessions); shut the VM down under swtpm first, "
                     "or repeat the command with --drop-volatile: the TPM "
                     "then continues as after a power failure", tool->from);
}

/*
 * Puts the states into @tpm as libtpms would store them, once it accepts
 * them.
 */
static bool take_over(ToolTpm *tpm, const SwtpmStates *states, GError **error)
{
    GBytes *permanent = states->of[SWTPM_PERMANENT];
    TPMNvram *nvram = &tpm->engine.nvram;
    Error *err = NULL;
    gsize bytes;
    const void *data = g_bytes_get_data(permanent, &bytes);

    if (bytes > tpm_blob_infos[TPM_BLOB_PERMANENT].max_bytes ||
        (states->of[SWTPM_SAVED] &&
         g_bytes_get_size(states->of[SWTPM_SAVED]) >
         tpm_blob_infos[TPM_BLOB_SAVESTATE].max_bytes)) {
        return tool_fail(error, TOOL_EXIT_ERROR, "the state is larger than "
                         "that of any TPM");
    }
    tool_tpm_set(tpm, TPM_BLOB_PERMANENT, permanent);
    tool_tpm_set(tpm, TPM_BLOB_SAVESTATE, states->of[SWTPM_SAVED]);
    nvram->checking = true;
    if (!tool_tpm_power_on(tpm, error)) {
        return false;
    }
    nvram->checking = false;
    g_free(nvram->profile);
    nvram->profile = tpm_profile_active_name();
    if (tpm_nvram_store(nvram, TPM_PERMANENT_ALL_NAME, data,
                        bytes) != TPM_SUCCESS) {
        tpm_nvram_check(nvram, &err);
        return tool_fail_err(error, TOOL_EXIT_ERROR, err);
    }
    tool_tpm_power_off(tpm);
    return true;
}

static bool read_source(const Tool *tool, SwtpmStates *states, GError **error)
{
    g_autoptr(BlobSecret) key = NULL;
    GError *err = NULL;

    if (!get_key(tool, &key, error)) {
        return false;
    }
    if (!swtpm_source_read(tool->from, key, states, &err)) {
        return fail_source(error, tool->from, err);
    }
    return check_volatile(tool, states, error);
}

/* Everything is checked before the image is opened for writing. */
bool coroutine_fn tool_tpm_import(Tool *tool, GError **error)
{
    g_auto(SwtpmStates) states = { };
    g_auto(ToolTpm) tpm = { };
    g_auto(ToolStore) opened = { };
    TPMVersion version;

    if (!tool->from) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--from is needed");
    }
    if (!read_source(tool, &states, error)) {
        return false;
    }
    version = tool_tpm_version_of(states.of[SWTPM_PERMANENT]);
    if (!states.is_linear) {
        version = states.is_tpm12 ? TPM_VERSION_1_2 : TPM_VERSION_2_0;
    }
    if (!tool_tpm_init(&tpm, version, tool->from, error) ||
        !take_over(&tpm, &states, error) ||
        !tool_open(tool, &tool->image, TOOL_CREATE, &opened, error)) {
        return false;
    }
    if (tool_tpm_exists(&opened) && !tool->force) {
        return tool_fail(error, TOOL_EXIT_ERROR, "there is a TPM in the store "
                         "already; --force replaces it, and its keys are "
                         "lost then");
    }
    if (!tool_tpm_commit(&opened, &tpm, error)) {
        return false;
    }
    tool_say(tool, "TPM %s was imported from %s\n",
             tpm_libtpms_version_str(version), tool->from);
    return true;
}

bool coroutine_fn tool_tpm_export(Tool *tool, GError **error)
{
    g_auto(ToolTpm) tpm = { };
    g_auto(ToolStore) opened = { };
    g_autoptr(BlobSecret) key = NULL;
    SwtpmStates states = { .is_linear = tool->linear };
    GError *err = NULL;

    if (!tool->to) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--to is needed");
    }
    if (!get_key(tool, &key, error) ||
        !tool_open(tool, &tool->image, TOOL_READ, &opened, error) ||
        !tool_tpm_load(&opened, &tpm, error) ||
        !tool_tpm_check(&tpm, error)) {
        return false;
    }
    states.is_tpm12 = tpm.engine.nvram.version == TPM_VERSION_1_2;
    states.of[SWTPM_PERMANENT] = tpm.contents[TPM_BLOB_PERMANENT];
    states.of[SWTPM_SAVED] = tpm.contents[TPM_BLOB_SAVESTATE];
    if (!swtpm_target_write(tool->to, &states, key, &err)) {
        return fail_source(error, tool->to, err);
    }
    tool_say(tool, "TPM %s was exported to %s; the store has it still: let "
             "only one of them run\n",
             tpm_libtpms_version_str(tpm.engine.nvram.version), tool->to);
    return true;
}
