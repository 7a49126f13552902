/*
 * TPM backend "libtpms": versions and profiles of libtpms
 *
 * From version 0.10 on libtpms makes a TPM 2.0 with a profile, which decides
 * what the TPM can do and the format of its state, which has levels: an older
 * libtpms knows fewer of them.  The metadata of the permanent state name the
 * profile, the level and the libtpms that stored it, so that a refusal can name
 * both sides.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "engine.h"

/* What libtpms makes if it is not asked for a profile, in every version */
#define DEFAULT_PROFILE "null"

/* The level of that profile, and of every state before there were profiles */
#define FIRST_LEVEL 1

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

/* Returns what to free with free(): JSON, or NULL. */
static char *get_active_profile(void)
{
#ifdef CONFIG_LIBTPMS_PROFILE
    return TPMLIB_GetInfo(TPMLIB_INFO_ACTIVE_PROFILE);
#else
    return NULL;
#endif
}

static char *get_available_profiles(void)
{
#ifdef CONFIG_LIBTPMS_PROFILE
    /* Libtpms names none before, and no TPM of another version is on. */
    TPMLIB_ChooseTPMVersion(TPMLIB_TPM_VERSION_2);
    return TPMLIB_GetInfo(TPMLIB_INFO_AVAILABLE_PROFILES);
#else
    return NULL;
#endif
}

static QDict *parse(const char *json)
{
    QObject *parsed = json ? qobject_from_json(json, NULL) : NULL;
    QDict *dict = qobject_to(QDict, parsed);

    if (!dict) {
        qobject_unref(parsed);
        return qdict_new();
    }
    return dict;
}

static int64_t level_of(const QDict *profile)
{
    return profile ? qdict_get_try_int(profile, "StateFormatLevel",
                                       FIRST_LEVEL) : FIRST_LEVEL;
}

int64_t tpm_profile_active_level(const char *json)
{
    g_autoptr(QDict) dict = parse(json);

    return level_of(qobject_to(QDict, qdict_get(dict, "ActiveProfile")));
}

int64_t tpm_profile_highest_level(const char *json)
{
    g_autoptr(QDict) dict = parse(json);
    QList *list = qobject_to(QList, qdict_get(dict, "AvailableProfiles"));
    int64_t highest = FIRST_LEVEL;
    const QListEntry *entry;

    if (list) {
        QLIST_FOREACH_ENTRY(list, entry) {
            QDict *profile = qobject_to(QDict, qlist_entry_obj(entry));

            highest = MAX(highest, level_of(profile));
        }
    }
    return highest;
}

char *tpm_profile_active_name(void)
{
    char *json = get_active_profile();
    g_autoptr(QDict) dict = parse(json);
    QDict *active = qobject_to(QDict, qdict_get(dict, "ActiveProfile"));

    free(json);
    return g_strdup(active ? qdict_get_try_str(active, "Name") : NULL);
}

static bool check_level(const TPMNvram *nvram, const char *stored,
                        const char *stored_by, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *version = tpm_profile_libtpms_version();
    char *json = get_available_profiles();
    int64_t highest = tpm_profile_highest_level(json);
    int64_t level;

    free(json);
    if (!stored || (!qemu_strtoi64(stored, NULL, 10, &level) &&
                    level <= highest)) {
        return true;
    }
    error_setg(errp, "the TPM in %s has state format level %s and "
               "was stored by libtpms %s, but this is libtpms %s, which knows "
               "levels up to %" PRId64, nvram->place, stored,
               stored_by ?: "of an unknown version", version, highest);
    error_append_hint(errp, "Use a newer libtpms.\n");
    return false;
}

bool tpm_profile_check(const TPMNvram *nvram, const TPMNotes *notes,
                       Error **errp)
{
    ERRP_GUARD();
    g_autofree char *version = tpm_profile_libtpms_version();
    const char *is = notes->profile ?: DEFAULT_PROFILE;

    if (!has_profiles && !g_str_equal(is, DEFAULT_PROFILE)) {
        error_setg(errp, "the TPM in %s has profile '%s' and was "
                   "stored by libtpms %s, but this is libtpms %s, which has "
                   "no profiles", nvram->place, is, notes->libtpms ?: "0.10 or "
                   "newer", version);
        error_append_hint(errp, "Use libtpms 0.10 or newer.\n");
        return false;
    }
    if (nvram->profile && !g_str_equal(is, nvram->profile)) {
        error_setg(errp, "the TPM in %s has profile '%s', but "
                   "profile '%s' was asked for", nvram->place, is,
                   nvram->profile);
        error_append_hint(errp, "A TPM keeps the profile that it was made "
                          "with; leave out profile=.\n");
        return false;
    }
    return check_level(nvram, notes->level, notes->libtpms, errp);
}

const char *tpm_profile_to_store(const TPMNvram *nvram, const char *stored)
{
    if (!has_profiles || nvram->version == TPM_VERSION_1_2) {
        return NULL;
    }
    return stored ?: nvram->profile ?: DEFAULT_PROFILE;
}

char *tpm_profile_level_to_store(void)
{
    char *json = get_active_profile();
    int64_t level = tpm_profile_active_level(json);

    free(json);
    return g_strdup_printf("%" PRId64, level);
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
