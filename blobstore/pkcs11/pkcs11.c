/*
 * Blobstore: keys in tokens through PKCS#11, as the core calls them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

#include <string.h>
#include "blobstore/crypto/digest.h"

static bool wrap_by(const BlobPkcs11Session *session,
                    const BlobPkcs11Key *key,
                    const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                    BlobKeySlot *slot, GError **error)
{
    return key->mechanism == BLOB_KEY_MECHANISM_RSA_OAEP
           ? blob_pkcs11_oaep_wrap(session, key->handle, data, slot, error)
           : blob_pkcs11_key_wrap(session, key->handle, data, slot, error);
}

static bool unwrap_by(const BlobPkcs11Session *session,
                      const BlobPkcs11Key *key, const BlobKeySlot *slot,
                      uint8_t data[BLOB_KEY_TOKEN_BYTES], GError **error)
{
    return key->mechanism == BLOB_KEY_MECHANISM_RSA_OAEP
           ? blob_pkcs11_oaep_unwrap(session, key->handle, slot, data, error)
           : blob_pkcs11_key_unwrap(session, key->handle, slot, data, error);
}

/* That a slot does not open is better learnt now than when it is needed. */
static bool opens_again(const BlobPkcs11Session *session,
                        const BlobPkcs11Key *key,
                        const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                        const BlobKeySlot *slot, GError **error)
{
    g_autoptr(BlobSecret) again = blob_secret_new(NULL, BLOB_KEY_TOKEN_BYTES,
                                                  error);
    g_autoptr(GError) why = NULL;

    if (!again) {
        return false;
    }
    if (unwrap_by(session, key, slot, again->data, &why) &&
        blob_digest_equal(again->data, data, BLOB_KEY_TOKEN_BYTES)) {
        return true;
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                "%s: the key does not unwrap what it has wrapped, use "
                "another: %s", session->name,
                why ? why->message : "what comes out is something else");
    return false;
}

/*
 * By the first hash that works with this token and key.  A token's list of
 * mechanisms does not tell: some take SHA-1 only.
 */
static bool wrap_by_any_hash(const BlobPkcs11Session *session,
                             const BlobPkcs11Key *key,
                             const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                             BlobKeySlot *slot, GError **error)
{
    static const BlobKeyHash rsa_hashes[] = {
        BLOB_KEY_HASH_SHA256, BLOB_KEY_HASH_SHA1,
    };
    static const BlobKeyHash no_hash[] = { BLOB_KEY_HASH_NONE };
    bool is_rsa = key->mechanism == BLOB_KEY_MECHANISM_RSA_OAEP;
    const BlobKeyHash *hashes = is_rsa ? rsa_hashes : no_hash;
    unsigned count = is_rsa ? G_N_ELEMENTS(rsa_hashes) : 1;
    GError *last = NULL;

    slot->mechanism = key->mechanism;
    for (unsigned i = 0; i < count; i++) {
        g_clear_error(&last);
        slot->hash = hashes[i];
        if (wrap_by(session, key, data, slot, &last) &&
            opens_again(session, key, data, slot, &last)) {
            return true;
        }
    }
    g_propagate_error(error, last);
    return false;
}

static bool wrap(const BlobToken *token, const char *pin,
                 const uint8_t data[BLOB_KEY_TOKEN_BYTES], BlobKeySlot *slot,
                 GError **error)
{
    g_autoptr(P11KitUri) uri = blob_pkcs11_parse_uri(slot->uri, error);
    g_autoptr(BlobPkcs11Session) session = NULL;
    BlobPkcs11Key key;

    if (!uri) {
        return false;
    }
    session = blob_pkcs11_open_session(uri, pin, error);
    return session && blob_pkcs11_find_key(session, uri, &key, error) &&
           wrap_by_any_hash(session, &key, data, slot, error);
}

static bool unwrap(const BlobToken *token, const char *pin,
                   const BlobKeySlot *slot,
                   uint8_t data[BLOB_KEY_TOKEN_BYTES], GError **error)
{
    g_autoptr(P11KitUri) uri = blob_pkcs11_parse_uri(slot->uri, error);
    g_autoptr(BlobPkcs11Session) session = NULL;
    BlobPkcs11Key key;

    if (!uri) {
        return false;
    }
    session = blob_pkcs11_open_session(uri, pin, error);
    if (!session || !blob_pkcs11_find_key(session, uri, &key, error)) {
        return false;
    }
    if (key.mechanism != slot->mechanism) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                    "%s: the key that the URI names is of another kind than "
                    "the one that wrapped this", session->name);
        return false;
    }
    return unwrap_by(session, &key, slot, data, error);
}

const BlobToken *blob_pkcs11_token(void)
{
    static const BlobToken token = { wrap, unwrap };

    return &token;
}
