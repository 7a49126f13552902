/*
 * qtest: commands for TPMs that live in blob stores
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_BLOBSTORE_TPM_H
#define TESTS_BLOBSTORE_TPM_H

#include "blobstore-util.h"
#include "tpm-util.h"

/* A TPM in a VM */
typedef struct TPM {
    QTestState *vm;
    tx_func *transfer;
} TPM;

#define TPM_STORED_BYTES 8

/*
 * Returns a command, to be unreferenced.  @params follows the header, in hex;
 * blanks are ignored.
 */
GByteArray *tpm_command(uint16_t tag, uint32_t ordinal, const char *params);
/* Executes the command; returns its result. */
uint32_t tpm_result(TPM *tpm, uint16_t tag, uint32_t ordinal,
                    const char *params);
/*
 * The same for a command that must succeed; returns the whole response, to be
 * unreferenced.
 */
GByteArray *tpm_run(TPM *tpm, uint16_t tag, uint32_t ordinal,
                    const char *params);
void tpm_do(TPM *tpm, uint16_t tag, uint32_t ordinal, const char *params);

/* Starts a command at a TIS. */
void tis_start(QTestState *vm, int locality, GByteArray *command);
bool tis_is_done(QTestState *vm, int locality);
/* Waits for the end of the command; returns the status register. */
uint32_t tis_wait(QTestState *vm, int locality);
/*
 * Waits for the end of the command and gives up the locality; returns the
 * result.
 */
uint32_t tis_end(QTestState *vm, int locality);

/* TPM 2.0 */
#define TPM2_NO_SESSIONS 0x8001
#define TPM2_SESSIONS    0x8002

uint32_t tpm2_startup(TPM *tpm, bool from_state);
uint32_t tpm2_nv_define(TPM *tpm, uint32_t index);
uint32_t tpm2_nv_write(TPM *tpm, uint32_t index,
                       const char text[TPM_STORED_BYTES]);
void tpm2_nv_assert(TPM *tpm, uint32_t index,
                    const char text[TPM_STORED_BYTES]);
bool tpm2_nv_exists(TPM *tpm, uint32_t index);
/* Makes a primary ECC key and persists it as @handle. */
void tpm2_make_key(TPM *tpm, uint32_t handle);
/* Returns public area and names of the key, to be unreferenced. */
GByteArray *tpm2_key(TPM *tpm, uint32_t handle);

/* A TPM in a raw image; %s is its path */
#define TPM_DRIVE  "-drive if=none,id=nvram,format=raw,file=%s "
#define TPM_DEVICE "-device tpm-tis,blobstore=nvram "
#define TPM_ON_RAW TPM_DRIVE TPM_DEVICE

TPM tpm_on_raw(const char *image);

/*
 * The same drive, where accesses of one kind to one place fail: the arguments
 * are the path, "read" or "write", "on" if only the first one fails, or "off",
 * and (uint64_t) the offset
 */
#define TPM_FAULTY_DRIVE \
    "-blockdev driver=raw,node-name=nvram,file.driver=blkdebug," \
    "file.image.driver=file,file.image.filename=%s," \
    "file.inject-error.0.event=none,file.inject-error.0.iotype=%s," \
    "file.inject-error.0.once=%s,file.inject-error.0.sector=$((%" PRIu64 \
    "/512)) "

/* A user's image: a TPM 2.0 with an NV index, not in use */
typedef struct TPMImage {
    char *path;
    char *uuid;
    uint64_t permanent;         /* offset of its current slot */
    uint64_t former;            /* of the other one */
} TPMImage;

#define TPM2_INDEX 0x01000001

TPMImage tpm_image_new(void);
void tpm_image_clear(TPMImage *image);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TPMImage, tpm_image_clear)
/* Checks that the image still holds the same TPM. */
void assert_tpm_image_works(TPMImage *image);

#endif /* TESTS_BLOBSTORE_TPM_H */
