/*
 * TPM backend "libtpms": the TPM itself, apart from the device
 *
 * The engine is libtpms, with what its state is kept in, and knows no device
 * and no VM, so that qemu-blobstore has it too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_TPM_LIBTPMS_ENGINE_H
#define HW_TPM_LIBTPMS_ENGINE_H

#include "qemu/units.h"
#include "system/tpm.h"

#define TPM2_ST_NO_SESSIONS     0x8001
#define TPM2_ST_SESSIONS        0x8002
#define TPM2_RC_FAILURE         0x101
#define TPM2_RH_PLATFORM        0x4000000c
#define TPM2_RS_PW              0x40000009
#define TPM2_CC_STARTUP         0x144
#define TPM2_CC_SHUTDOWN        0x145
#define TPM2_CC_GET_CAPABILITY  0x17a
#define TPM2_CAP_TPM_PROPERTIES 6

/* A command begins with tag, length and ordinal, a response with its code. */
#define TPM_HEADER_BYTES 10

/* Under which the blobs of a TPM are filed */
#define TPM_BLOB_OWNER "tpm"

typedef enum TPMBlob {
    TPM_BLOB_PERMANENT,
    TPM_BLOB_SAVESTATE,
    TPM_BLOB_VOLATILE,
    TPM_BLOB__MAX,
} TPMBlob;

/* How large each can become, in bytes */
enum {
    /*
     * The state of a TPM 2.0 has 172.7 KiB of NV memory and its buffer has
     * 271 KiB, which libtpms enlarges by 66 KiB as needed.  The state of a
     * TPM 1.2 has at most 40 KiB.
     */
    TPM_BLOB_PERMANENT_MAX_BYTES = 512 * KiB,
    /*
     * Only a TPM 1.2 writes this blob, with up to 20.6 KiB (libtpms 0.9).
     * The store does not know the version, so every store has space for it.
     */
    TPM_BLOB_SAVESTATE_MAX_BYTES = 64 * KiB,
    /* Libtpms returns the size of this blob as a number of 16 bits. */
    TPM_BLOB_VOLATILE_MAX_BYTES = 64 * KiB,
};

/* How a blob is kept, for whoever keeps it */
typedef struct TPMBlobInfo {
    const char *name;
    const char *libtpms_name;
    uint64_t max_bytes;
} TPMBlobInfo;

extern const TPMBlobInfo tpm_blob_infos[TPM_BLOB__MAX];

/* What keeps the blobs; all calls but read may fail without a change. */
typedef struct TPMMedium {
    /*
     * @content, to be released with g_bytes_unref(), becomes NULL if the blob
     * is absent.  @metadata (NULL, or to be freed with g_strfreev()) never
     * becomes NULL.
     */
    bool (*read)(void *opaque, TPMBlob blob, GBytes **content,
                 char ***metadata, Error **errp);
    /* @metadata may be NULL. */
    bool (*write)(void *opaque, TPMBlob blob, const void *data, size_t bytes,
                  const char *const *metadata, Error **errp);
    bool (*remove)(void *opaque, TPMBlob blob, Error **errp);
} TPMMedium;

/* What has not worked because state could not be stored or read */
typedef enum TPMFailure {
    TPM_FAILED_COMMAND,
    TPM_FAILED_START,
    TPM_FAILED_SHUTDOWN,
} TPMFailure;

/* The state of the TPM */
typedef struct TPMNvram {
    char *store;                /* its id, for messages */
    char *place;                /* the same in words: blobstore 'nvram' */
    TPMVersion version;
    char *profile;              /* that was asked for, or NULL: see profile.c */
    const TPMMedium *medium;
    void *opaque;               /* of @medium */
    bool resuming;              /* the TPM continues instead of starting */
    bool checking;              /* the TPM is tried, and nothing is stored */
    bool making;                /* stores wait in @made until the TPM is made */
    GBytes *made;               /* the permanent state of that TPM, or NULL */
    bool is_shut_down;          /* TPM2_Shutdown, and nothing stored since */
    Error *failure;             /* why a callback has failed first, or NULL */
    unsigned reported;          /* a bit for each TPMFailure */
} TPMNvram;

typedef struct TPMEngine {
    TPMNvram nvram;
    /*
     * While there is a request (TPMBackend.cmd) a worker thread uses these
     * fields, otherwise the main thread or a vCPU with the BQL does.
     */
    bool powered;
    uint8_t locality;
    uint32_t buffer_bytes;      /* 0 until the front end sets it */

    /* Atomic, because vCPUs use them while a command runs. */
    bool established;
    uint8_t reset_established;  /* locality that has asked for it, or 0 */
} TPMEngine;

/* engine.c: libtpms itself, of which a process has one */

/* Makes @tpm the one that uses libtpms.  Fails if there is another. */
bool tpm_engine_claim(TPMEngine *tpm, Error **errp);
void tpm_engine_release(TPMEngine *tpm);
/* The TPM that uses libtpms, or NULL */
TPMEngine *tpm_engine_owner(void);

/*
 * Powers the TPM on; a TPM that is on is powered off first.  If no permanent
 * state was ever stored, libtpms makes a new TPM.  On failure the TPM is off.
 */
bool tpm_engine_power_on(TPMEngine *tpm, Error **errp);
void tpm_engine_power_off(TPMEngine *tpm);

/*
 * Whether libtpms accepts the stored state, if there is one.  Stores nothing,
 * and leaves the TPM off.
 */
bool tpm_engine_check(TPMEngine *tpm, Error **errp);

/*
 * Writes PCRs, sessions and loaded objects into the volatile blob; a power-off
 * would lose them.  The TPM does not change.
 */
bool tpm_engine_save(TPMEngine *tpm, Error **errp);
/* Makes the TPM continue from its blobs.  On failure the TPM is off. */
bool tpm_engine_resume(TPMEngine *tpm, Error **errp);

/*
 * Executes a command, which may be changed, on behalf of @locality in a TPM
 * that is on.  Returns TPM_SUCCESS if there is a @response, of @bytes and to
 * be freed with free(), or what libtpms returned.  Whether state could be
 * stored is what tpm_nvram_check() says next.
 */
uint32_t tpm_engine_process(TPMEngine *tpm, uint8_t locality,
                            uint8_t *request, uint32_t length,
                            uint8_t **response, uint32_t *bytes);
/* Notes what a command has done whose response had @code. */
void tpm_engine_note(TPMEngine *tpm, uint32_t ordinal, uint32_t code);

/*
 * Executes a command of the host in a TPM that is on and executes no other.
 * @code becomes its response code, and its response is appended to @answer
 * unless that is NULL.  Returns false if state could not be
 * stored.
 */
bool tpm_engine_send(TPMEngine *tpm, uint8_t *request, uint32_t length,
                     uint32_t *code, GByteArray *answer, Error **errp);

/*
 * As tpm_engine_send(), for TPM2_Startup or TPM2_Shutdown (@ordinal) of the
 * type CLEAR
 */
bool tpm_engine_send_clear(TPMEngine *tpm, uint32_t ordinal, uint32_t *code,
                           Error **errp);

/*
 * Clears the flag of a dynamic launch, on behalf of @locality: at once, or if
 * a command runs (@busy), when it ends.
 */
void tpm_engine_reset_established(TPMEngine *tpm, uint8_t locality, bool busy);

/* banks.c: the PCR banks of a new TPM 2.0 */

/* The name of the bank of a hash algorithm (TPM_ALG_ID); NULL: it has none */
const char *tpm_banks_name(uint16_t algorithm);
/* @names may be NULL.  @chosen becomes 0 if it names none. */
bool tpm_banks_parse(const char *names, unsigned *chosen, Error **errp);
/*
 * Starts a new TPM and gives it its PCR banks, which it has when it gets its
 * power the next time.
 */
bool tpm_banks_allocate(TPMEngine *tpm, unsigned chosen, Error **errp);

/* commands.c: commands that libtpms must not see */

/* Writes the TPM_HEADER_BYTES of a command, or of a response, to @at. */
void tpm_commands_put_header(uint8_t *at, uint16_t tag, uint32_t bytes,
                             uint32_t code);

/*
 * As TPMLIB_Process(), for a TPM 2.0.  It may change @request, which nobody
 * else writes to meanwhile.
 */
uint32_t tpm_commands_process(unsigned char **response, uint32_t *bytes,
                              uint32_t *allocated, unsigned char *request,
                              uint32_t length);

/* profile.c: versions and profiles of libtpms */

/* Returns what to free with g_free(). */
char *tpm_profile_libtpms_version(void);
/* Whether this libtpms can make a TPM with this profile; NULL is any. */
bool tpm_profile_parse(const char *name, Error **errp);
/* What the metadata of a permanent state say of it; NULL: nothing */
typedef struct TPMNotes {
    const char *version;        /* of the TPM */
    const char *libtpms;        /* that has stored it */
    const char *profile;
    const char *level;          /* of the state's format */
} TPMNotes;

/*
 * Whether this libtpms can use, and the user wants, a TPM with these @notes
 */
bool tpm_profile_check(const TPMNvram *nvram, const TPMNotes *notes,
                       Error **errp);
/*
 * The state format level of the TPM that is on, or the highest that libtpms
 * knows, from what TPMLIB_GetInfo() says, or NULL
 */
int64_t tpm_profile_active_level(const char *json);
int64_t tpm_profile_highest_level(const char *json);
/* The profile of the TPM that is on, to be freed with g_free(), or NULL */
char *tpm_profile_active_name(void);
/* What to note of a TPM whose profile is noted as @stored, or NULL */
const char *tpm_profile_to_store(const TPMNvram *nvram, const char *stored);
/* The state format level to note with it, to be freed with g_free() */
char *tpm_profile_level_to_store(void);
/* Tells libtpms the profile of a new TPM. */
uint32_t tpm_profile_set(const TPMNvram *nvram);

/* nvram.c: where libtpms loads its state from and stores it */

const char *tpm_libtpms_version_str(TPMVersion version);
/* For the TPM in the blob store @store, at @place in words */
void tpm_nvram_init(TPMNvram *nvram, const char *store, const char *place,
                    TPMVersion version, const TPMMedium *medium, void *opaque);
/* Checks that the permanent state is that of a TPM of the right version. */
bool tpm_nvram_check_permanent(TPMNvram *nvram, Error **errp);
/* The same before it has been loaded, by its @metadata */
bool tpm_nvram_accepts(const TPMNvram *nvram, char **metadata, Error **errp);
/* The libtpms that has stored the permanent state; NULL if it is not noted */
char *tpm_nvram_stored_by(TPMNvram *nvram);
bool tpm_nvram_has_permanent(TPMNvram *nvram, bool *present, Error **errp);
/* Stores what the TPM that was made is. */
bool tpm_nvram_store_made(TPMNvram *nvram, Error **errp);
/* Stores the volatile state; @data is NULL if the TPM is off. */
bool tpm_nvram_store_volatile(TPMNvram *nvram, const unsigned char *data,
                              uint32_t length, Error **errp);
/* Whether there is volatile state, and whether it is of a TPM shut down */
bool tpm_nvram_has_volatile(TPMNvram *nvram, bool *present, bool *is_shut_down,
                            Error **errp);
void tpm_nvram_clear(TPMNvram *nvram);

/* Fails if a callback has failed since the last call, with its error. */
bool tpm_nvram_check(TPMNvram *nvram, Error **errp);

/*
 * Reports @err, which is freed, unless a @failure of the same kind has been
 * reported since something was stored last: the guest chooses how often it
 * tries.  Called where a command could run: by a worker, or with the BQL.
 */
void tpm_nvram_report(TPMNvram *nvram, TPMFailure failure, Error *err);

/* The callbacks of libtpms, for the TPM with the state @nvram */
uint32_t tpm_nvram_load(TPMNvram *nvram, const char *libtpms_name,
                        unsigned char **data, uint32_t *length);
uint32_t tpm_nvram_store(TPMNvram *nvram, const char *libtpms_name,
                         const unsigned char *data, uint32_t length);
uint32_t tpm_nvram_delete(TPMNvram *nvram, const char *libtpms_name,
                          bool must_exist);

/* openssl.c: OpenSSL, as a TPM needs it */

/*
 * Fails if OpenSSL cannot do what a TPM needs.  What it opens stays open until
 * QEMU ends.
 */
bool tpm_openssl_open(Error **errp);
/*
 * A call of libtpms that may compute stands between these two.  Between them
 * OpenSSL works in this thread as a TPM needs it, so nothing but libtpms may
 * use it: callbacks of libtpms leave, and enter again.
 */
void tpm_openssl_enter(void);
void tpm_openssl_leave(void);

/* log.c: the messages of libtpms */

/* From now on tpm_log_take() gets the messages. */
bool tpm_log_open(Error **errp);
void tpm_log_close(void);
/*
 * Traces the messages since the last call.  Returns the first line of them,
 * to be freed with g_free(), or NULL.
 */
char *tpm_log_take(void);

#endif /* HW_TPM_LIBTPMS_ENGINE_H */
