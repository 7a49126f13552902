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

/* Milliseconds; more passes than the format allows are not made anyway */
enum { KEY_ITER_TIME_MAX = 60000 };

bool blobstore_credential_source_is_valid(const BlobstoreKeySource *source,
                                          Error **errp)
{
    bool is_token = source->key_uri || source->pin_secret;

    if (source->key_secret && is_token) {
        error_setg(errp, "a key is either key-secret or in a token, "
                   "not both");
        return false;
    }
    if (source->has_key_type &&
        (source->key_type == BLOBSTORE_KEY_TYPE_TOKEN) == !is_token) {
        error_setg(errp, "key-type=%s does not go with %s",
                   BlobstoreKeyType_str(source->key_type),
                   is_token ? "a token" : "key-secret");
        return false;
    }
    if (source->has_key_iter_time &&
        (source->key_iter_time < 1 ||
         source->key_iter_time > KEY_ITER_TIME_MAX)) {
        error_setg(errp, "key-iter-time is 1 to %d milliseconds",
                   KEY_ITER_TIME_MAX);
        return false;
    }
    return true;
}

bool blobstore_credential_source_names_key(const BlobstoreKeySource *source)
{
    return source->key_secret || source->key_uri || source->pin_secret;
}

BlobKeySlotType blobstore_credential_slot_type(const BlobstoreKeySource *source)
{
    if (!source->key_secret) {
        return BLOB_KEY_SLOT_TOKEN;
    }
    return source->has_key_type && source->key_type == BLOBSTORE_KEY_TYPE_RAW
           ? BLOB_KEY_SLOT_RAW : BLOB_KEY_SLOT_PASSPHRASE;
}

void blobstore_credential_clear(BlobStoreCredential *credential)
{
    blob_secret_free(credential->secret);
    blob_secret_free(credential->pin);
}

static void wipe(void *data, size_t bytes)
{
    /* volatile: or the compiler would leave it out. */
    volatile uint8_t *at = data;

    while (bytes--) {
        *at++ = 0;
    }
}

/* With a NUL behind it that does not count, for what wants a string */
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

/* Cut at a NUL it would be another one, and cost a try. */
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

bool blobstore_credential_load(const BlobstoreKeySource *source,
                               BlobStoreCredential *credential,
                               GError **error)
{
    if (source->key_secret) {
        credential->secret = look_up_secret(source->key_secret, error);
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
    credential->core.uri = source->key_uri;
    credential->core.slot = BLOB_KEY_SLOT_ANY;
    return true;
}
