/*
 * TPM backend "libtpms": what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_TPM_LIBTPMS_H
#define HW_TPM_LIBTPMS_H

#include "blobstore/blobstore.h"
#include "system/runstate.h"
#include "system/tpm_backend.h"

#define TYPE_TPM_LIBTPMS "tpm-libtpms"
OBJECT_DECLARE_SIMPLE_TYPE(TPMLibtpms, TPM_LIBTPMS)

typedef enum TPMBlob {
    TPM_BLOB_PERMANENT,
    TPM_BLOB_SAVESTATE,
    TPM_BLOB_VOLATILE,
    TPM_BLOB__MAX,
} TPMBlob;

/* The state of the TPM: the blobs of owner "tpm" in a blob store */
typedef struct TPMNvram {
    char *store;
    TPMVersion version;
    BlobStoreClient *client;
    BlobStoreBlob *blobs[TPM_BLOB__MAX];
    bool resuming;              /* the TPM is to go on, not to start anew */
    Error *failure;             /* what libtpms has been refused, or NULL */
} TPMNvram;

struct TPMLibtpms {
    TPMBackend parent;

    TPMVersion version;
    TPMNvram nvram;

    /* The front end's pointer to us, if its blobstore= property made us */
    TPMBackend **front_end;
    VMChangeStateEntry *vm_change;

    /*
     * The TPM.  A worker thread uses it while there is a request
     * (TPMBackend.cmd), the main thread or a vCPU with the BQL otherwise.
     */
    bool powered;
    bool untouched;             /* no command since it was powered on */
    uint8_t locality;
    uint32_t buffer_bytes;      /* as set by the front end; 0: not yet */

    /* Atomic: read and written by vCPUs while a command runs. */
    bool established;
    uint8_t reset_established;  /* locality that asked for it; 0: nobody */
};

/* backend.c */

/*
 * A TPM with its state in the blob store @store, ready for a front end.
 * Returns NULL if it cannot be had; the state is as it was then.
 */
TPMLibtpms *tpm_libtpms_new(const char *store, TPMVersion version,
                            Error **errp);
const char *tpm_libtpms_version_str(TPMVersion version);

/* config.c */

/*
 * Is there one TPM in the configuration, with @blobstore as the property of
 * a front end, or NULL for a -tpmdev?
 */
bool tpm_libtpms_check_config(const char *blobstore, Error **errp);

/* engine.c: libtpms itself, of which a process has one */

bool tpm_engine_claim(TPMLibtpms *tpm, Error **errp);
void tpm_engine_release(TPMLibtpms *tpm);

/*
 * Powers the TPM on, off and on if it was on.  If nothing was ever stored
 * for it, that makes a new TPM.  On failure the TPM is off.
 */
bool tpm_engine_power_on(TPMLibtpms *tpm, Error **errp);
void tpm_engine_power_off(TPMLibtpms *tpm);

/*
 * Writes what a power-off would lose into the volatile blob: PCRs, sessions,
 * loaded objects.  The TPM goes on as if nothing had been.
 */
bool tpm_engine_save(TPMLibtpms *tpm, Error **errp);
/* Makes the TPM the one of which the blobs are.  On failure it is off. */
bool tpm_engine_resume(TPMLibtpms *tpm, Error **errp);

/*
 * Executes @cmd.  There is a response in any case; it is the TPM's own or
 * says that the TPM has failed.  Returns false if state could not be stored.
 */
bool tpm_engine_execute(TPMLibtpms *tpm, TPMBackendCmd *cmd, Error **errp);

/* Clears the flag of a dynamic launch, on behalf of @locality. */
void tpm_engine_reset_established(TPMLibtpms *tpm, uint8_t locality);

/* nvram.c: where libtpms loads its state from and stores it */

bool tpm_nvram_open(TPMNvram *nvram, const char *store, TPMVersion version,
                    Error **errp);
/* Is what is stored the state of such a TPM? */
bool tpm_nvram_check_permanent(TPMNvram *nvram, Error **errp);
/* What a power-off would lose; without @data: the TPM is off. */
bool tpm_nvram_store_volatile(TPMNvram *nvram, const unsigned char *data,
                              uint32_t length, Error **errp);
bool tpm_nvram_has_volatile(TPMNvram *nvram, bool *present, Error **errp);
void tpm_nvram_close(TPMNvram *nvram);

/* Fails with what was refused to libtpms since the last call, if anything. */
bool tpm_nvram_check(TPMNvram *nvram, Error **errp);

/* The callbacks of libtpms, for the TPM whose state @nvram is. */
uint32_t tpm_nvram_load(TPMNvram *nvram, const char *libtpms_name,
                        unsigned char **data, uint32_t *length);
uint32_t tpm_nvram_store(TPMNvram *nvram, const char *libtpms_name,
                         const unsigned char *data, uint32_t length);
uint32_t tpm_nvram_delete(TPMNvram *nvram, const char *libtpms_name,
                          bool must_exist);

/* log.c: what libtpms would print */

/* Turns it into trace events from now on. */
bool tpm_log_open(Error **errp);
void tpm_log_close(void);
/*
 * Traces what libtpms has said since the last call.  Returns the first line
 * of it, to be freed with g_free(), or NULL.
 */
char *tpm_log_take(void);

#endif /* HW_TPM_LIBTPMS_H */
