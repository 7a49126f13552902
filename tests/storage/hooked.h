/*
 * A storage whose calls a test sees first
 *
 * The media of the tests are built on it: one that fails, counts and records
 * (tests/unit/testdisk.c), one whose power may fail (tests/crash/simdisk.c), one
 * whose n-th call fails (tests/crash/faultdisk.c), and one that says where the
 * core may write (tests/fuzz/disk.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_STORAGE_HOOKED_H
#define TESTS_STORAGE_HOOKED_H

#include "blobstore/storage.h"

typedef enum HookedKind {
    HOOKED_LENGTH,
    HOOKED_READ,
    HOOKED_WRITE,
    HOOKED_FLUSH,
    HOOKED_GIVE_BACK,           /* passed on, it changes nothing */
} HookedKind;

/* A call of the core: the arguments of the operation in storage.h */
typedef struct HookedCall {
    HookedKind kind;
    bool durable;               /* of a write */
    uint64_t offset;            /* of a read, a write or space given back */
    size_t bytes;               /* the same */
    const void *data;           /* of a write */
    void *buf;                  /* of a read */
    uint64_t *length;           /* of HOOKED_LENGTH: the answer */
} HookedCall;

typedef enum HookedVerdict {
    HOOKED_PASS,                /* the storage below carries the call out */
    HOOKED_DONE,                /* the hook has carried it out */
    HOOKED_FAIL,                /* the hook has set the error */
} HookedVerdict;

/* What a test does at a call; each may be NULL. */
typedef struct Hooks {
    /* Decides about a call.  What a failing write leaves is its affair. */
    HookedVerdict (*before)(void *opaque, const HookedCall *call,
                            GError **error);

    /* Follows a call that the storage below has carried out. */
    void (*after)(void *opaque, const HookedCall *call);

    /* The operations of these names; with NULL the storage has none. */
    uint64_t (*known_zero)(void *opaque, uint64_t offset, uint64_t bytes);
    bool (*drop_cache)(void *opaque, GError **error);
} Hooks;

/*
 * Returns a new storage that calls @hooks with @opaque, and passes calls on to
 * @below.  Freed with blob_storage_free(), it leaves @below to its owner.
 */
BlobStorage *hooked_storage_new(BlobStorage *below, const Hooks *hooks,
                                void *opaque);

/*
 * Aborts unless a call keeps what storage.h demands of the core, on a medium
 * of @medium_bytes.
 */
void hooked_check(const HookedCall *call, uint64_t medium_bytes);

#endif /* TESTS_STORAGE_HOOKED_H */
