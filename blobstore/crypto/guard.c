/*
 * Blobstore core: what guards the bytes of a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "guard.h"

#include <string.h>

BlobGuard *blob_guard_new_plain(const uint8_t *seed)
{
    BlobGuard *guard = g_new0(BlobGuard, 1);

    guard->digest = blob_digest_new(seed);
    return guard;
}

BlobGuard *blob_guard_new_sealed(const BlobKey *key,
                                 const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                                 GError **error)
{
    g_autoptr(BlobGuard) guard = g_new0(BlobGuard, 1);

    memcpy(guard->uuid, uuid, sizeof(guard->uuid));
    blob_key_commit(key, uuid, guard->commitment);
    guard->digest = blob_key_new_digest(key, BLOB_KEY_FOR_CHECKS, uuid, error);
    if (!guard->digest) {
        return NULL;
    }
    guard->mask = blob_key_new_digest(key, BLOB_KEY_FOR_CENSUS_MASKS, uuid,
                                      error);
    if (!guard->mask) {
        return NULL;
    }
    guard->seal = blob_key_new_seal(key, BLOB_KEY_FOR_PAYLOADS, uuid, error);
    return guard->seal ? g_steal_pointer(&guard) : NULL;
}

void blob_guard_free(BlobGuard *guard)
{
    if (guard) {
        blob_seal_free(guard->seal);
        blob_digest_free(guard->mask);
        blob_digest_free(guard->digest);
        g_free(guard);
    }
}
