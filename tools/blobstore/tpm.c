/*
 * qemu-blobstore: a TPM outside any VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "tpm.h"

/* A TPM 2.0's permanent state has this behind a number of two bytes. */
#define STATE_MAGIC    0xab364723
#define STATE_MAGIC_AT 2

static const struct {
    TPMBlob blob;
    BlobKind kind;
} stored[] = {
    { TPM_BLOB_PERMANENT, BLOB_KIND_PERMANENT },
    { TPM_BLOB_SAVESTATE, BLOB_KIND_SAVESTATE },
};

static bool read_blob(void *opaque, TPMBlob blob, GBytes **content,
                      char ***metadata, Error **errp)
{
    static char *none[] = { NULL };
    ToolTpm *tpm = opaque;

    *content = tpm->contents[blob] ? g_bytes_ref(tpm->contents[blob]) : NULL;
    if (metadata) {
        *metadata = g_strdupv(tpm->metadata[blob] ?: none);
    }
    return true;
}

static void replace(ToolTpm *tpm, TPMBlob blob, GBytes *content,
                    char **metadata)
{
    g_clear_pointer(&tpm->contents[blob], g_bytes_unref);
    g_strfreev(tpm->metadata[blob]);
    tpm->contents[blob] = content;
    tpm->metadata[blob] = metadata;
}

static bool write_blob(void *opaque, TPMBlob blob, const void *data,
                       size_t bytes, const char *const *metadata, Error **errp)
{
    replace(opaque, blob, g_bytes_new(data, bytes),
            g_strdupv((char **)metadata));
    return true;
}

static bool remove_blob(void *opaque, TPMBlob blob, Error **errp)
{
    replace(opaque, blob, NULL, NULL);
    return true;
}

static const TPMMedium memory = {
    .read = read_blob,
    .write = write_blob,
    .remove = remove_blob,
};

bool tool_tpm_init(ToolTpm *tpm, TPMVersion version, const char *place,
                   GError **error)
{
    Error *err = NULL;

    tpm_nvram_init(&tpm->engine.nvram, place, place, version, &memory, tpm);
    return (tpm_openssl_open(&err) && tpm_engine_claim(&tpm->engine, &err)) ||
           tool_fail_err(error, TOOL_EXIT_ERROR, err);
}

void tool_tpm_close(ToolTpm *tpm)
{
    tpm_engine_power_off(&tpm->engine);
    tpm_engine_release(&tpm->engine);
    tpm_nvram_clear(&tpm->engine.nvram);
    for (int n = 0; n < TPM_BLOB__MAX; n++) {
        replace(tpm, n, NULL, NULL);
    }
}

void tool_tpm_set(ToolTpm *tpm, TPMBlob blob, GBytes *content)
{
    replace(tpm, blob, content ? g_bytes_ref(content) : NULL, NULL);
}

TPMVersion tool_tpm_version_of(GBytes *content)
{
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(content, &bytes);

    return bytes >= STATE_MAGIC_AT + 4 &&
           ldl_be_p(data + STATE_MAGIC_AT) == STATE_MAGIC ? TPM_VERSION_2_0
                                                          : TPM_VERSION_1_2;
}

static Blob *find(const ToolStore *opened, TPMBlob blob)
{
    return blob_store_find(opened->store, TPM_BLOB_OWNER,
                           tpm_blob_infos[blob].name);
}

bool tool_tpm_exists(const ToolStore *opened)
{
    Blob *blob = find(opened, TPM_BLOB_PERMANENT);
    BlobInfo info;

    if (!blob) {
        return false;
    }
    blob_get_info(blob, &info);
    return info.present || info.damage;
}

bool coroutine_fn tool_tpm_load(ToolStore *opened, ToolTpm *tpm,
                                GError **error)
{
    GBytes *permanent;

    if (!tool_tpm_exists(opened)) {
        return tool_fail(error, TOOL_EXIT_NO_BLOB, "there is no TPM in the "
                         "store");
    }
    for (int n = 0; n < ARRAY_SIZE(stored); n++) {
        TPMBlob blob = stored[n].blob;
        Blob *at = find(opened, blob);

        if (at && !blob_store_read(opened->store, at, &tpm->contents[blob],
                                   &tpm->metadata[blob], error)) {
            return false;
        }
    }
    permanent = tpm->contents[TPM_BLOB_PERMANENT];
    return tool_tpm_init(tpm, tool_tpm_version_of(permanent), "the store",
                         error);
}

bool tool_tpm_power_on(ToolTpm *tpm, GError **error)
{
    Error *err = NULL;

    return (tpm_nvram_check_permanent(&tpm->engine.nvram, &err) &&
            tpm_engine_power_on(&tpm->engine, &err)) ||
           tool_fail_err(error, TOOL_EXIT_ERROR, err);
}

bool tool_tpm_check(ToolTpm *tpm, GError **error)
{
    bool ok;

    tpm->engine.nvram.checking = true;
    ok = tool_tpm_power_on(tpm, error);
    tool_tpm_power_off(tpm);
    tpm->engine.nvram.checking = false;
    return ok;
}

void tool_tpm_power_off(ToolTpm *tpm)
{
    tpm_engine_power_off(&tpm->engine);
}

bool coroutine_fn tool_tpm_commit(ToolStore *opened, ToolTpm *tpm,
                                  GError **error)
{
    BlobChange changes[ARRAY_SIZE(stored)];

    for (int n = 0; n < ARRAY_SIZE(stored); n++) {
        const TPMBlobInfo *info = &tpm_blob_infos[stored[n].blob];

        changes[n] = (BlobChange) {
            .blob = blob_store_register(opened->store, TPM_BLOB_OWNER,
                                        info->name, stored[n].kind,
                                        info->max_bytes, error),
            .content = tpm->contents[stored[n].blob],
            .metadata =
                (const char *const *)tpm->metadata[stored[n].blob],
        };
        if (!changes[n].blob) {
            return false;
        }
    }
    return blob_store_start(opened->store, error) &&
           blob_store_write(opened->store, changes, ARRAY_SIZE(changes),
                            error) &&
           tool_finish(opened, error);
}
