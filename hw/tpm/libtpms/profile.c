/*
 * TPM backend "libtpms": versions and profiles of libtpms
 *
 * From version 0.10 on libtpms makes a TPM 2.0 with a profile, which decides
 * what the TPM can do and the least version of libtpms that can use its state.
 * The metadata of the permanent state names the profile and the libtpms that
 * stored it, so that a refusal can name both sides.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include "qapi/error.h"
#include "libtpms.h"

/* What libtpms makes if it is not asked for a profile, in every version */
#define DEFAULT_PROFILE "null"

#ifdef CONFIG_LIBTPMS_PROFILE
static const bool has_profiles = true;
#else
static const bool has_profiles;
#endif

/* Names alone: a profile that is spelt out can make libtpms abort. */
static const char *const profiles[] = {
    DEFAULT_PROFILE, "default-v1", "default-v2", NULL
};

char *tpm_profile_libtpms_version(void)
{
    uint32_t version = TPMLIB_GetVersion();

    return g_strdup_printf("%u.%u.%u", version >> 16, (version >> 8) & 0xff,
                           version & 0xff);
}

bool tpm_profile_parse(const char *name, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *version = tpm_profile_libtpms_version();
    g_autofree char *known = NULL;

    if (!name) {
        return true;
    }
    if (!has_profiles) {
        error_setg(errp, "profile '%s' was asked for, but libtpms %s has no "
                   "profiles", name, version);
        error_append_hint(errp, "Leave out profile=, or build QEMU with "
                          "libtpms 0.10 or newer.\n");
        return false;
    }
    if (!g_strv_contains(profiles, name)) {
        known = g_strjoinv(", ", (char **)profiles);
        error_setg(errp, "there is no profile '%s'", name);
        error_append_hint(errp, "The profiles are %s.\n", known);
        return false;
    }
    return true;
}

bool tpm_profile_check(const TPMNvram *nvram, const char *stored,
                       const char *stored_by, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *version = tpm_profile_libtpms_version();
    const char *is = stored ?: DEFAULT_PROFILE;

    if (!has_profiles && !g_str_equal(is, DEFAULT_PROFILE)) {
        error_setg(errp, "the TPM in blobstore '%s' has profile '%s' and was "
                   "stored by libtpms %s, but this is libtpms %s, which has "
                   "no profiles", nvram->store, is, stored_by ?: "0.10 or "
                   "newer", version);
        error_append_hint(errp, "Use libtpms 0.10 or newer.\n");
        return false;
    }
    if (nvram->profile && !g_str_equal(is, nvram->profile)) {
        error_setg(errp, "the TPM in blobstore '%s' has profile '%s', but "
                   "profile '%s' was asked for", nvram->store, is,
                   nvram->profile);
        error_append_hint(errp, "A TPM keeps the profile that it was made "
                          "with; leave out profile=.\n");
        return false;
    }
    return true;
}

const char *tpm_profile_to_store(const TPMNvram *nvram, const char *stored)
{
    if (!has_profiles || nvram->version == TPM_VERSION_1_2) {
        return NULL;
    }
    return stored ?: nvram->profile ?: DEFAULT_PROFILE;
}

uint32_t tpm_profile_set(const TPMNvram *nvram)
{
#ifdef CONFIG_LIBTPMS_PROFILE
    if (nvram->profile) {
        g_autofree char *json = g_strdup_printf("{\"Name\":\"%s\"}",
                                                nvram->profile);

        return TPMLIB_SetProfile(json);
    }
#endif
    return TPM_SUCCESS;
}
