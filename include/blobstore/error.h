/*
 * Blobstore: the error domain of the core
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_ERROR_H
#define BLOBSTORE_ERROR_H

#include <glib.h>

/*
 * A failing call leaves the store in memory as it was, unless the code says
 * otherwise.
 */
typedef enum BlobStoreError {
    /*
     * The storage failed to read, write or flush.  After a failed write the
     * last acknowledged content is current and the call may be repeated.
     */
    BLOBSTORE_ERROR_IO,
    BLOBSTORE_ERROR_INVALID,     /* an argument breaks a documented limit */
    BLOBSTORE_ERROR_BLANK,       /* medium is blank; creating is forbidden */
    BLOBSTORE_ERROR_FOREIGN,     /* medium holds something else */
    BLOBSTORE_ERROR_TOO_SMALL,   /* medium is too small; see the message */
    BLOBSTORE_ERROR_UNSUPPORTED, /* newer format version or unknown feature */
    BLOBSTORE_ERROR_UUID,        /* not the store that was asked for */
    BLOBSTORE_ERROR_DAMAGED,     /* a blob's acknowledged content is lost */
    BLOBSTORE_ERROR_CORRUPT,     /* superblock or directory is unusable */
    BLOBSTORE_ERROR_STALE,       /* directory is older than the slots (R10) */
    BLOBSTORE_ERROR_READ_ONLY,   /* opened, or only usable, for reading */
    BLOBSTORE_ERROR_KIND,        /* on the medium with another kind */
    BLOBSTORE_ERROR_TOO_LARGE,   /* content above the registered maximum */
    BLOBSTORE_ERROR_EXISTS,      /* owner and name are registered already */
    BLOBSTORE_ERROR_FULL,        /* no room for another blob's entry */
    BLOBSTORE_ERROR_EXHAUSTED,   /* the last epoch (R1), or id, is used up */
    BLOBSTORE_ERROR_BUSY,        /* the caller did not serialise (R5) */
    BLOBSTORE_ERROR_TAKEN,       /* another process writes to the store now */
    BLOBSTORE_ERROR_KEY,         /* no key, a wrong key, or a plain store */
    BLOBSTORE_ERROR_TOKEN,       /* no such token, key in it, or wrong PIN */
    BLOBSTORE_ERROR_TAMPERED,    /* changed by somebody without the key */
    BLOBSTORE_ERROR_ROLLED_BACK, /* older than, or unlike, what is expected */
    BLOBSTORE_ERROR_RANDOM,      /* no random bytes; nothing was written */
    BLOBSTORE_ERROR_NO_SECURE_MEMORY, /* no room for keys in locked memory */
} BlobStoreError;

#define BLOBSTORE_ERROR (blobstore_error_quark())
static inline GQuark blobstore_error_quark(void)
{
    return g_quark_from_static_string("blobstore-error-quark");
}

#endif /* BLOBSTORE_ERROR_H */
