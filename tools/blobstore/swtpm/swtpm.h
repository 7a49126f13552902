/*
 * The files in which swtpm keeps the state of a TPM: reading and writing them
 *
 * swtpm keeps up to three states: the permanent one, the volatile one of a TPM
 * that was saved while it ran, and the one that a TPM 1.2 saves to sleep.  Each
 * is a file of its own in a directory, or all of them are in one linear file.
 * They may be encrypted with an AES key.  What is in a state is libtpms's
 * matter and nothing is known of it here.
 *
 * What is read is hostile: every length is checked before it is used, and the
 * memory that a call takes is bounded by a few times SWTPM_FILE_MAX_BYTES.
 * The functions may be called by any thread after blob_digest_init().  All
 * errors are of BLOBSTORE_ERROR.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLS_BLOBSTORE_SWTPM_H
#define TOOLS_BLOBSTORE_SWTPM_H

#include <stdbool.h>
#include <stdint.h>
#include "blobstore/error.h"
#include "blobstore/crypto/secret.h"

enum {
    SWTPM_FILE_MAX_BYTES = 1 << 20,     /* of one state, with its header */
    SWTPM_LINEAR_HEADER_BYTES = 192,
    SWTPM_KEY_MAX_BYTES = 32,
    SWTPM_SECRET_MAX_BYTES = 4096,      /* of a file with key or passphrase */
};

/* In the order of a linear file */
typedef enum SwtpmKind {
    SWTPM_PERMANENT,
    SWTPM_VOLATILE,
    SWTPM_SAVED,
    SWTPM__MAX,
} SwtpmKind;

/* key.c */

typedef enum SwtpmKdf {
    SWTPM_KDF_SHA512,
    SWTPM_KDF_PBKDF2,
} SwtpmKdf;

/*
 * The key of @key_bytes (16 or 32) that the @bytes at @content are, or that
 * they are in hexadecimal, with or without "0x" and white space at the end.
 * The caller frees it.  Errors: INVALID (the length, or the digits),
 * NO_SECURE_MEMORY.
 */
BlobSecret *swtpm_key_from_binary(const void *content, size_t bytes,
                                  size_t key_bytes, GError **error);
BlobSecret *swtpm_key_from_hex(const void *content, size_t bytes,
                               size_t key_bytes, GError **error);
/*
 * The key of @key_bytes that swtpm derives from the passphrase of @bytes at
 * @content; a line break at its end is part of it.  Errors: INVALID (an empty
 * passphrase), NO_SECURE_MEMORY.
 */
BlobSecret *swtpm_key_from_passphrase(const void *content, size_t bytes,
                                      SwtpmKdf kdf, size_t key_bytes,
                                      GError **error);

/* file.c */

/*
 * The state in a file of the @bytes at @data: in the present format, or in the
 * first one, plain (@key is NULL) or encrypted with @key.
 *
 * Errors: FOREIGN (no state file), UNSUPPORTED (a newer version, or a flag
 * that is not known), CORRUPT (lengths that do not fit), TOO_LARGE, KEY (it is
 * encrypted and there is no key, the other way round, the key is of another
 * length, or it is another one; the last cannot be told from damage).
 */
GBytes *swtpm_file_decode(const void *data, size_t bytes,
                          const BlobSecret *key, GError **error);

/*
 * The file of the present format that holds @state, encrypted with @key unless
 * that is NULL.  Errors: TOO_LARGE, RANDOM.
 */
GBytes *swtpm_file_encode(GBytes *state, const BlobSecret *key,
                          GError **error);

/* linear.c */

/* Where the file of a state is in a linear file; absent if @bytes is 0 */
typedef struct SwtpmExtent {
    uint32_t offset;
    uint32_t bytes;
} SwtpmExtent;

/* Whether a linear file begins with the @bytes at @data */
bool swtpm_linear_is(const void *data, size_t bytes);

/*
 * Where a linear file of @file_bytes, which begins with @header, has the file
 * of each state.  The extents are within the file, and no two have a byte in
 * common.  Errors: FOREIGN, UNSUPPORTED (a newer version, or a state that is
 * not known), CORRUPT, TOO_LARGE.
 */
bool swtpm_linear_decode(const uint8_t header[SWTPM_LINEAR_HEADER_BYTES],
                         uint64_t file_bytes, SwtpmExtent extents[SWTPM__MAX],
                         GError **error);

/* The linear file with @files, of which each may be NULL */
GBytes *swtpm_linear_encode(GBytes *const files[SWTPM__MAX]);

/* source.c, target.c */

/* The states of a TPM */
typedef struct SwtpmStates {
    bool is_tpm12;                      /* by the names of the files */
    bool is_linear;                     /* which do not tell the version */
    GBytes *of[SWTPM__MAX];             /* NULL: there is none */
} SwtpmStates;

void swtpm_states_clear(SwtpmStates *states);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SwtpmStates, swtpm_states_clear)

/*
 * Reads the states in @path, a directory or a linear file, into @states, which
 * is zero before.  Writes nothing and takes no lock.
 *
 * Errors: those of swtpm_file_decode() and swtpm_linear_decode(), IO, BLANK
 * (there is no permanent state), TAKEN (a swtpm uses the directory), INVALID
 * (there are TPMs of both versions).
 */
bool swtpm_source_read(const char *path, const BlobSecret *key,
                       SwtpmStates *states, GError **error);

/*
 * Writes @states into the directory @path, which is made if there is none, or
 * as the linear file @path if @states->is_linear.  The permanent state is
 * written last, and nothing stays if the call fails.  Durable on return.
 * Errors: those of swtpm_file_encode(), IO, EXISTS (there is a TPM already).
 */
bool swtpm_target_write(const char *path, const SwtpmStates *states,
                        const BlobSecret *key, GError **error);

/* The name of a state's file in a directory */
const char *swtpm_file_name(bool is_tpm12, SwtpmKind kind);

#endif /* TOOLS_BLOBSTORE_SWTPM_H */
