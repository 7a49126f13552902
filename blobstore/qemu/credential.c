/*
 * Blobstore in QEMU: secrets and tokens that open key slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "crypto/secret_common.h"
#include "qapi/error.h"
#include "blobstore/pkcs11/pkcs11.h"
#include "credential.h"

/* Milliseconds; the format allows no more iterations anyway. */
enum { ITER_TIME_MAX = 60000 };

BlobStoreKeySource blobstore_credential_source(const BlobstoreKey *key)
{
    BlobStoreKeySource source = {
        .type = key->type,
        .iter_time = BLOB_KEY_KDF_MILLISECONDS,
    };

    switch (key->type) {
    case BLOBSTORE_KEY_TYPE_PASSPHRASE:
        source.secret = key->u.passphrase.key_secret;
        if (key->u.passphrase.has_iter_time) {
            source.iter_time = key->u.passphrase.iter_time;
        }
        break;
    case BLOBSTORE_KEY_TYPE_RAW:
        source.secret = key->u.raw.key_secret;
        break;
    case BLOBSTORE_KEY_TYPE_TOKEN:
        source.uri = key->u.token.key_uri;
        source.pin_secret = key->u.token.pin_secret;
        break;
    default:
        g_assert_not_reached();
    }
    return source;
}

bool blobstore_credential_check_iter_time(uint32_t milliseconds,
                                          Error **errp)
{
    if (milliseconds < 1 || milliseconds > ITER_TIME_MAX) {
        error_setg(errp, "iter-time is 1 to %d milliseconds", ITER_TIME_MAX);
        return false;
    }
    return true;
}

BlobKeySlotType blobstore_credential_slot_type(const BlobStoreKeySource *source)
{
    switch (source->type) {
    case BLOBSTORE_KEY_TYPE_PASSPHRASE:
        return BLOB_KEY_SLOT_PASSPHRASE;
    case BLOBSTORE_KEY_TYPE_RAW:
        return BLOB_KEY_SLOT_RAW;
    case BLOBSTORE_KEY_TYPE_TOKEN:
        return BLOB_KEY_SLOT_TOKEN;
    default:
        g_assert_not_reached();
    }
}

void blobstore_credential_clear(BlobStoreCredential *credential)
{
    blob_secret_free(credential->secret);
    blob_secret_free(credential->pin);
}

static void wipe(void *data, size_t bytes)
{
    /* The compiler would leave the writes out if this were not volatile. */
    volatile uint8_t *at = data;

    while (bytes--) {
        *at++ = 0;
    }
}

/* A NUL follows the secret, uncounted, for calls that want a string. */
static BlobSecret *look_up_secret(const char *id, GError **error)
{
    Error *err = NULL;
    uint8_t *data;
    size_t bytes;
    BlobSecret *secret;

    if (qcrypto_secret_lookup(id, &data, &bytes, &err) < 0) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY, "%s",
                    error_get_pretty(err));
        error_free(err);
        return NULL;
    }
    secret = blob_secret_new(NULL, bytes + 1, error);
    if (secret) {
        memcpy(secret->data, data, bytes);
        secret->bytes = bytes;
    }
    wipe(data, bytes);
    g_free(data);
    return secret;
}

/* A PIN that is cut at a NUL would be another PIN, and cost a try. */
static bool load_pin(const char *id, BlobStoreCredential *credential,
                     GError **error)
{
    credential->pin = look_up_secret(id, error);
    if (!credential->pin) {
        return false;
    }
    if (memchr(credential->pin->data, 0, credential->pin->bytes)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "the PIN in secret '%s' has a NUL in it", id);
        return false;
    }
    credential->core.pin = (const char *)credential->pin->data;
    return true;
}

bool blobstore_credential_load(const BlobStoreKeySource *source,
                               BlobStoreCredential *credential,
                               GError **error)
{
    if (source->type != BLOBSTORE_KEY_TYPE_TOKEN) {
        credential->secret = look_up_secret(source->secret, error);
        if (!credential->secret) {
            return false;
        }
    } else {
        credential->core.token = blob_pkcs11_token();
    }
    if (source->pin_secret && !load_pin(source->pin_secret, credential,
                                        error)) {
        return false;
    }
    credential->core.secret = credential->secret;
    credential->core.uri = source->uri;
    credential->core.slot = BLOB_KEY_SLOT_ANY;
    return true;
}
