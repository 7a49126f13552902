/*
 * TPM backend "libtpms": where libtpms loads its state from and stores it
 *
 * Libtpms keeps its state in three blobs of a blob store.  The user's keys
 * depend on the answers that libtpms gets: if a load finds no permanent state
 * libtpms makes a new TPM, and overwrites the old one as soon as it stores
 * something.  So a load finds none only if none was ever stored.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <libtpms/tpm_library.h>
#include <libtpms/tpm_error.h>
#include <libtpms/tpm_nvfilename.h>
#include "qapi/error.h"
#include "qemu/bitops.h"
#include "qemu/error-report.h"
#include "engine.h"
#include "trace.h"

const TPMBlobInfo tpm_blob_infos[TPM_BLOB__MAX] = {
    [TPM_BLOB_PERMANENT] = {
        "permanent", TPM_PERMANENT_ALL_NAME, TPM_BLOB_PERMANENT_MAX_BYTES,
    },
    [TPM_BLOB_SAVESTATE] = {
        "savestate", TPM_SAVESTATE_NAME, TPM_BLOB_SAVESTATE_MAX_BYTES,
    },
    [TPM_BLOB_VOLATILE] = {
        "volatile", TPM_VOLATILESTATE_NAME, TPM_BLOB_VOLATILE_MAX_BYTES,
    },
};

/*
 * The metadata of the permanent state says the version of the TPM.  Libtpms
 * would call the state of the other version garbage; the user gets a better
 * message.
 */
#define TPM_VERSION_KEY "tpm-version="

/*
 * It also says which libtpms has stored the state, the TPM's profile and the
 * level of the state's format.
 */
#define LIBTPMS_KEY "libtpms="
#define PROFILE_KEY "profile="
#define LEVEL_KEY "state-format-level="

/*
 * The metadata of the volatile state says this of a TPM that has executed
 * TPM2_Shutdown.  Libtpms does not tell.
 */
#define TPM_SHUT_DOWN "shut-down=yes"

const char *tpm_libtpms_version_str(TPMVersion version)
{
    return version == TPM_VERSION_1_2 ? "1.2" : "2.0";
}

void tpm_nvram_init(TPMNvram *nvram, const char *store, const char *place,
                    TPMVersion version, const TPMMedium *medium, void *opaque)
{
    nvram->store = g_strdup(store);
    nvram->place = g_strdup(place);
    nvram->version = version;
    nvram->medium = medium;
    nvram->opaque = opaque;
}

static bool read_blob(TPMNvram *nvram, TPMBlob blob, GBytes **content,
                      char ***metadata, Error **errp)
{
    return nvram->medium->read(nvram->opaque, blob, content, metadata, errp);
}

static char *find_value(char **metadata, const char *key)
{
    for (; *metadata; metadata++) {
        if (g_str_has_prefix(*metadata, key)) {
            return *metadata + strlen(key);
        }
    }
    return NULL;
}

/* Returns a value of the metadata of the permanent state, or NULL. */
static char *read_value(TPMNvram *nvram, const char *key)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;

    if (!read_blob(nvram, TPM_BLOB_PERMANENT, &content,
                             &metadata, NULL)) {
        return NULL;
    }
    return g_strdup(find_value(metadata, key));
}

char *tpm_nvram_stored_by(TPMNvram *nvram)
{
    return read_value(nvram, LIBTPMS_KEY);
}

/* @metadata are those of a permanent state, here or in a stream. */
static bool check_metadata(const TPMNvram *nvram, char **metadata,
                           Error **errp)
{
    ERRP_GUARD();
    const char *wanted = tpm_libtpms_version_str(nvram->version);
    TPMNotes notes = {
        .version = find_value(metadata, TPM_VERSION_KEY),
        .libtpms = find_value(metadata, LIBTPMS_KEY),
        .profile = find_value(metadata, PROFILE_KEY),
        .level = find_value(metadata, LEVEL_KEY),
    };

    if (notes.version && !g_str_equal(notes.version, wanted)) {
        error_setg(errp, "blobstore '%s' holds the state of a TPM %s, but a "
                   "TPM %s is to use it", nvram->store, notes.version, wanted);
        error_append_hint(errp, "Give the TPM the version of its state: "
                          "-tpmdev libtpms,id=tpm0,blobstore=%s,version=%s "
                          "-device MODEL,tpmdev=tpm0\n"
                          "Or use another image.\n", nvram->store,
                          notes.version);
        return false;
    }
    return tpm_profile_check(nvram, &notes, errp);
}

bool tpm_nvram_accepts(const TPMNvram *nvram, char **metadata, Error **errp)
{
    return check_metadata(nvram, metadata, errp);
}

bool tpm_nvram_check_permanent(TPMNvram *nvram, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;

    if (!read_blob(nvram, TPM_BLOB_PERMANENT, &content,
                             &metadata, errp)) {
        return false;
    }
    if (!content) {
        return true;
    }
    if (!g_bytes_get_size(content)) {
        error_setg(errp, "blobstore '%s': blob '" TPM_BLOB_OWNER "/%s' is "
                   "empty; the state of a TPM never is", nvram->store,
                   tpm_blob_infos[TPM_BLOB_PERMANENT].name);
        error_append_hint(errp, "Restore the image from a backup.\n");
        return false;
    }
    return check_metadata(nvram, metadata, errp);
}

bool tpm_nvram_has_permanent(TPMNvram *nvram, bool *present, Error **errp)
{
    g_autoptr(GBytes) content = NULL;

    if (!read_blob(nvram, TPM_BLOB_PERMANENT, &content, NULL,
                             errp)) {
        return false;
    }
    *present = content;
    return true;
}

bool tpm_nvram_store_volatile(TPMNvram *nvram, const unsigned char *data,
                              uint32_t length, Error **errp)
{
    const char *const shut_down[] = { TPM_SHUT_DOWN, NULL };

    return data ? nvram->medium->write(nvram->opaque, TPM_BLOB_VOLATILE, data,
                                       length, nvram->is_shut_down ? shut_down
                                                                   : NULL,
                                       errp)
                : nvram->medium->remove(nvram->opaque, TPM_BLOB_VOLATILE,
                                        errp);
}

bool tpm_nvram_has_volatile(TPMNvram *nvram, bool *present, bool *is_shut_down,
                            Error **errp)
{
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;

    if (!read_blob(nvram, TPM_BLOB_VOLATILE, &content,
                             &metadata, errp)) {
        return false;
    }
    *present = content;
    *is_shut_down = g_strv_contains((const char *const *)metadata,
                                    TPM_SHUT_DOWN);
    return true;
}

void tpm_nvram_clear(TPMNvram *nvram)
{
    error_free(nvram->failure);
    nvram->failure = NULL;
    g_clear_pointer(&nvram->store, g_free);
    g_clear_pointer(&nvram->place, g_free);
    g_clear_pointer(&nvram->profile, g_free);
}

bool tpm_nvram_check(TPMNvram *nvram, Error **errp)
{
    if (!nvram->failure) {
        return true;
    }
    error_propagate(errp, g_steal_pointer(&nvram->failure));
    return false;
}

void tpm_nvram_report(TPMNvram *nvram, TPMFailure failure, Error *err)
{
    if (nvram->reported & BIT(failure)) {
        error_free(err);
        return;
    }
    nvram->reported |= BIT(failure);
    error_append_hint(&err, "The same is not reported again until the TPM has "
                      "stored something.\n");
    if (failure == TPM_FAILED_SHUTDOWN) {
        warn_report_err(err);
    } else {
        error_report_err(err);
    }
}

/*
 * Libtpms does not report every callback that has failed: when it makes a new
 * TPM, it ignores that the state cannot be stored.  So the first failure is
 * remembered here.
 */
static uint32_t refuse(TPMNvram *nvram, Error *err)
{
    trace_tpm_nvram_refuse(error_get_pretty(err));
    if (nvram->failure) {
        error_free(err);
    } else {
        nvram->failure = err;
    }
    return TPM_FAIL;
}

static TPMBlob blob_of(const char *libtpms_name)
{
    for (int i = 0; i < TPM_BLOB__MAX; i++) {
        if (g_str_equal(libtpms_name, tpm_blob_infos[i].libtpms_name)) {
            return i;
        }
    }
    return TPM_BLOB__MAX;
}

static uint32_t refuse_unknown(TPMNvram *nvram, const char *libtpms_name)
{
    Error *err = NULL;

    error_setg(&err, "libtpms wants to keep the unknown state '%s'",
               libtpms_name);
    return refuse(nvram, err);
}

uint32_t tpm_nvram_load(TPMNvram *nvram, const char *libtpms_name,
                        unsigned char **data, uint32_t *length)
{
    TPMBlob blob = blob_of(libtpms_name);
    g_autoptr(GBytes) content = NULL;
    Error *err = NULL;
    gsize bytes;
    const void *from;

    if (blob == TPM_BLOB__MAX) {
        return refuse_unknown(nvram, libtpms_name);
    }
    /* A power-on clears PCRs and sessions. */
    if (blob == TPM_BLOB_VOLATILE && !nvram->resuming) {
        return TPM_RETRY;
    }
    if (blob == TPM_BLOB_PERMANENT && nvram->making && nvram->made) {
        content = g_bytes_ref(nvram->made);
    } else if (!read_blob(nvram, blob, &content, NULL,
                                    &err)) {
        return refuse(nvram, err);
    }
    if (!content) {
        trace_tpm_nvram_load_absent(tpm_blob_infos[blob].name);
        return TPM_RETRY;
    }

    from = g_bytes_get_data(content, &bytes);
    /* Libtpms calls free() on the data. */
    *data = malloc(bytes);
    if (!*data) {
        error_setg(&err, "there is no memory for %zu bytes of TPM state",
                   bytes);
        return refuse(nvram, err);
    }
    memcpy(*data, from, bytes);
    *length = bytes;
    trace_tpm_nvram_load(tpm_blob_infos[blob].name, bytes);
    return TPM_SUCCESS;
}

static char **new_metadata(TPMNvram *nvram)
{
    g_autofree char *libtpms = tpm_profile_libtpms_version();
    g_autofree char *stored = read_value(nvram, PROFILE_KEY);
    const char *profile = tpm_profile_to_store(nvram, stored);
    g_autoptr(GPtrArray) metadata = g_ptr_array_new();

    g_ptr_array_add(metadata,
                    g_strconcat(TPM_VERSION_KEY,
                                tpm_libtpms_version_str(nvram->version),
                                NULL));
    g_ptr_array_add(metadata, g_strconcat(LIBTPMS_KEY, libtpms, NULL));
    if (profile) {
        g_autofree char *level = tpm_profile_level_to_store();

        g_ptr_array_add(metadata, g_strconcat(PROFILE_KEY, profile, NULL));
        g_ptr_array_add(metadata, g_strconcat(LEVEL_KEY, level, NULL));
    }
    g_ptr_array_add(metadata, NULL);
    return (char **)g_ptr_array_steal(metadata, NULL);
}

uint32_t tpm_nvram_store(TPMNvram *nvram, const char *libtpms_name,
                         const unsigned char *data, uint32_t length)
{
    TPMBlob blob = blob_of(libtpms_name);
    g_auto(GStrv) metadata = NULL;
    Error *err = NULL;

    if (blob == TPM_BLOB__MAX) {
        return refuse_unknown(nvram, libtpms_name);
    }
    if (nvram->checking) {
        return TPM_SUCCESS;
    }
    if (nvram->making && blob == TPM_BLOB_PERMANENT) {
        g_bytes_unref(nvram->made);
        nvram->made = g_bytes_new(data, length);
        return TPM_SUCCESS;
    }
    trace_tpm_nvram_store(tpm_blob_infos[blob].name, length);
    metadata = blob == TPM_BLOB_PERMANENT ? new_metadata(nvram) : NULL;
    if (!nvram->medium->write(nvram->opaque, blob, data, length,
                              (const char *const *)metadata, &err)) {
        error_prepend(&err, "cannot store blob '" TPM_BLOB_OWNER "/%s': ",
                      tpm_blob_infos[blob].name);
        return refuse(nvram, err);
    }
    if (blob == TPM_BLOB_PERMANENT) {
        nvram->is_shut_down = false;
    }
    if (blob != TPM_BLOB_VOLATILE) {
        nvram->reported = 0;    /* The store has taken it, not only RAM. */
    }
    return TPM_SUCCESS;
}

bool tpm_nvram_store_made(TPMNvram *nvram, Error **errp)
{
    gsize bytes;
    const void *data;

    nvram->making = false;
    if (nvram->made) {
        data = g_bytes_get_data(nvram->made, &bytes);
        tpm_nvram_store(nvram, TPM_PERMANENT_ALL_NAME, data, bytes);
        g_clear_pointer(&nvram->made, g_bytes_unref);
    }
    return tpm_nvram_check(nvram, errp);
}

uint32_t tpm_nvram_delete(TPMNvram *nvram, const char *libtpms_name,
                          bool must_exist)
{
    TPMBlob blob = blob_of(libtpms_name);
    g_autoptr(GBytes) content = NULL;
    Error *err = NULL;

    if (blob == TPM_BLOB__MAX) {
        return refuse_unknown(nvram, libtpms_name);
    }
    if (!read_blob(nvram, blob, &content, NULL, &err)) {
        return refuse(nvram, err);
    }
    if (!content) {
        return must_exist ? TPM_FAIL : TPM_SUCCESS;
    }
    if (nvram->checking) {
        return TPM_SUCCESS;
    }
    if (blob == TPM_BLOB_PERMANENT) {
        error_setg(&err, "libtpms wants to delete the permanent state of the "
                   "TPM; the next start would make a new TPM");
        return refuse(nvram, err);
    }
    trace_tpm_nvram_delete(tpm_blob_infos[blob].name);
    if (!nvram->medium->remove(nvram->opaque, blob, &err)) {
        error_prepend(&err, "cannot delete blob '" TPM_BLOB_OWNER "/%s': ",
                      tpm_blob_infos[blob].name);
        return refuse(nvram, err);
    }
    return TPM_SUCCESS;
}
