/*
 * TPM backend "libtpms": the blobs of the TPM in a blob store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "libtpms.h"

static const BlobStoreKind kinds[TPM_BLOB__MAX] = {
    [TPM_BLOB_PERMANENT] = BLOBSTORE_PERMANENT,
    [TPM_BLOB_SAVESTATE] = BLOBSTORE_SAVESTATE,
    [TPM_BLOB_VOLATILE] = BLOBSTORE_VOLATILE,
};

static bool read_blob(void *opaque, TPMBlob blob, GBytes **content,
                      char ***metadata, Error **errp)
{
    TPMBlobs *blobs = opaque;

    return blobstore_read_blob(blobs->of[blob], content, metadata, errp);
}

static bool write_blob(void *opaque, TPMBlob blob, const void *data,
                       size_t bytes, const char *const *metadata, Error **errp)
{
    TPMBlobs *blobs = opaque;

    return blobstore_write_blob(blobs->of[blob], data, bytes, metadata, errp);
}

static bool remove_blob(void *opaque, TPMBlob blob, Error **errp)
{
    TPMBlobs *blobs = opaque;

    return blobstore_delete_blob(blobs->of[blob], errp);
}

static const TPMMedium medium = {
    .read = read_blob,
    .write = write_blob,
    .remove = remove_blob,
};

bool tpm_blobs_open(TPMBlobs *blobs, TPMNvram *nvram, const char *store,
                    TPMVersion version, Error **errp)
{
    g_autofree char *place = g_strdup_printf("blobstore '%s'", store);

    tpm_nvram_init(nvram, store, place, version, &medium, blobs);
    blobs->client = blobstore_attach(store, TPM_BLOB_OWNER, errp);
    if (!blobs->client) {
        return false;
    }
    for (int i = 0; i < TPM_BLOB__MAX; i++) {
        blobs->of[i] = blobstore_register_blob(blobs->client,
                                               tpm_blob_infos[i].name,
                                               kinds[i],
                                               tpm_blob_infos[i].max_bytes,
                                               errp);
        if (!blobs->of[i]) {
            return false;
        }
    }
    return true;
}

bool tpm_blobs_start(TPMBlobs *blobs, Error **errp)
{
    return blobstore_start(blobs->client, errp);
}

void tpm_blobs_close(TPMBlobs *blobs, TPMNvram *nvram)
{
    blobstore_detach(blobs->client);
    blobs->client = NULL;
    tpm_nvram_clear(nvram);
}
