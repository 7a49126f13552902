/*
 * TPM backend "libtpms": what its files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_TPM_LIBTPMS_H
#define HW_TPM_LIBTPMS_H

#include "blobstore/blobstore.h"
#include "blobstore/machine.h"
#include "qemu/error-report.h"
#include "system/runstate.h"
#include "system/tpm_backend.h"
#include "hw/tpm/libtpms/engine/engine.h"

#define TYPE_TPM_LIBTPMS "tpm-libtpms"
OBJECT_DECLARE_SIMPLE_TYPE(TPMLibtpms, TPM_LIBTPMS)

/* The blobs of owner "tpm" in a blob store */
typedef struct TPMBlobs {
    BlobStoreClient *client;
    BlobStoreBlob *of[TPM_BLOB__MAX];
} TPMBlobs;

struct TPMLibtpms {
    TPMBackend parent;

    unsigned pcr_banks;         /* of a new TPM: see banks.c; 0 is any */
    TPMBlobs blobs;
    TPMEngine engine;

    /* The front end's pointer to this TPM; NULL if -tpmdev has made it */
    TPMBackend **front_end;
    VMChangeStateEntry *vm_change;
    Notifier on_shutdown;

    /* The state was migrated in, and the VM has not run here yet. */
    bool has_arrived;

    /* Until the machine is complete the store is open and the TPM is off. */
    bool waiting;
    Notifier machine_complete;
    Location option;            /* on the command line, for messages */
};

/* backend.c */

/*
 * Makes a TPM with its state in the blob store @store, for a front end.  It
 * starts when the machine is complete, or at once if the machine is.
 * Returns NULL on failure; the stored state is unchanged then.
 */
TPMLibtpms *tpm_libtpms_new(const char *store, TPMVersion version,
                            const char *pcr_banks, const char *profile,
                            Error **errp);

/* The TPM that uses libtpms, or NULL */
static inline TPMLibtpms *tpm_libtpms_owner(void)
{
    TPMEngine *owner = tpm_engine_owner();

    return owner ? container_of(owner, TPMLibtpms, engine) : NULL;
}

/* execute.c */

/*
 * Executes @cmd.  There is always a response: either the TPM's own, or one
 * that says that the TPM has failed.  Returns false if state could not be
 * stored.
 */
bool tpm_execute(TPMLibtpms *tpm, TPMBackendCmd *cmd, Error **errp);

/* shutdown.c: TPM2_Shutdown, for a guest that has not executed it */

/*
 * Prepares the TPM for the loss of its power by a reset of the VM.  The
 * caller powers it off next.
 */
void tpm_shutdown_for_reset(TPMLibtpms *tpm);
/* The same for the end of QEMU; what is written later is lost. */
void tpm_shutdown_for_exit(TPMLibtpms *tpm);

/* blobs.c: the blobs of the TPM in a blob store */

/*
 * Opens the store, registers the blobs in it, and makes them what @nvram is
 * kept in.  Writes nothing.
 */
bool tpm_blobs_open(TPMBlobs *blobs, TPMNvram *nvram, const char *store,
                    TPMVersion version, Error **errp);
/*
 * Reads the blobs; then backend.c checks them, while nothing is written yet.
 * A blank medium is formatted.
 */
bool tpm_blobs_start(TPMBlobs *blobs, Error **errp);
/* Frees @nvram's part, too. */
void tpm_blobs_close(TPMBlobs *blobs, TPMNvram *nvram);

#endif /* HW_TPM_LIBTPMS_H */
