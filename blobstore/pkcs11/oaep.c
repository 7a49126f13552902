/*
 * Blobstore: wrapping by an RSA key in a token (RFC 8017, RSAES-OAEP)
 *
 * The private key unwraps, in the token.  Wrapping needs only what is public,
 * and many smart cards leave it to their users: what the token does not
 * encrypt is encrypted here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

#include <gcrypt.h>
#include <string.h>

enum {
    MIN_BITS = 2048,
    MAX_BITS = 8 * BLOB_KEY_WRAPPED_MAX_BYTES,
    MAX_READ_BYTES = 2048,      /* of a modulus, in order to complain of it */
    MAX_EXPONENT_BYTES = 64,
};

typedef struct PublicKey {
    uint8_t modulus[MAX_READ_BYTES];    /* as the token has it */
    CK_ULONG modulus_bytes;
    uint8_t exponent[MAX_EXPONENT_BYTES];
    CK_ULONG exponent_bytes;            /* 0: the token does not tell */
    size_t bytes;                       /* of what is encrypted by it */
} PublicKey;

static CK_RSA_PKCS_OAEP_PARAMS parameters(const BlobKeySlot *slot)
{
    bool is_sha1 = slot->hash == BLOB_KEY_HASH_SHA1;

    return (CK_RSA_PKCS_OAEP_PARAMS) {
        .hashAlg = is_sha1 ? CKM_SHA_1 : CKM_SHA256,
        .mgf = is_sha1 ? CKG_MGF1_SHA1 : CKG_MGF1_SHA256,
        .source = CKZ_DATA_SPECIFIED,
    };
}

static bool read_public_key(const BlobPkcs11Session *session,
                            CK_OBJECT_HANDLE key, PublicKey *public,
                            GError **error)
{
    gcry_mpi_t modulus = NULL;
    unsigned bits = 0;

    public->modulus_bytes = blob_pkcs11_read_attribute(
        session, key, CKA_MODULUS, public->modulus, sizeof(public->modulus));
    public->exponent_bytes = blob_pkcs11_read_attribute(
        session, key, CKA_PUBLIC_EXPONENT, public->exponent,
        sizeof(public->exponent));
    if (!gcry_mpi_scan(&modulus, GCRYMPI_FMT_USG, public->modulus,
                       public->modulus_bytes, NULL)) {
        bits = gcry_mpi_get_nbits(modulus);
        gcry_mpi_release(modulus);
    }
    if (bits < MIN_BITS || bits > MAX_BITS) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: the RSA key has %u bits: use one of %d to %d",
                    session->name, bits, MIN_BITS, MAX_BITS);
        return false;
    }
    public->bytes = (bits + 7) / 8;
    return true;
}

/*
 * By the public key in the token that has the modulus of the private one,
 * whatever it is called.
 */
static bool encrypt_in_token(const BlobPkcs11Session *session,
                             PublicKey *public,
                             const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                             BlobKeySlot *slot)
{
    CK_FUNCTION_LIST *module = session->module;
    CK_RSA_PKCS_OAEP_PARAMS oaep = parameters(slot);
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep) };
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_RSA;
    CK_ATTRIBUTE attributes[] = {
        { CKA_CLASS, &class, sizeof(class) },
        { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_MODULUS, public->modulus, public->modulus_bytes },
    };
    CK_OBJECT_HANDLE key;
    CK_ULONG count;
    CK_ULONG bytes = sizeof(slot->wrapped);

    return blob_pkcs11_find_objects(session, attributes,
                                    G_N_ELEMENTS(attributes), &key, 1,
                                    &count) == CKR_OK &&
           count == 1 &&
           module->C_EncryptInit(session->handle, &mechanism, key) ==
           CKR_OK &&
           module->C_Encrypt(session->handle, (CK_BYTE *)data,
                             BLOB_KEY_TOKEN_BYTES, slot->wrapped, &bytes) ==
           CKR_OK &&
           bytes == public->bytes;
}

/* The number in an S-expression "(enc-val (rsa (a NUMBER)))" */
static bool take_result(gcry_sexp_t result, const PublicKey *public,
                        BlobKeySlot *slot)
{
    gcry_mpi_t number = NULL;
    size_t bytes = 0;
    bool ok;

    ok = !gcry_sexp_extract_param(result, "enc-val!rsa", "a", &number,
                                  NULL) &&
         !gcry_mpi_print(GCRYMPI_FMT_USG, NULL, 0, &bytes, number) &&
         bytes <= public->bytes;
    if (ok) {
        memset(slot->wrapped, 0, sizeof(slot->wrapped));
        ok = !gcry_mpi_print(GCRYMPI_FMT_USG,
                             slot->wrapped + public->bytes - bytes, bytes,
                             NULL, number);
    }
    gcry_mpi_release(number);
    return ok;
}

static bool encrypt_here(const PublicKey *public,
                         const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                         BlobKeySlot *slot)
{
    /* libgcrypt keeps what it makes of that in secure memory, too. */
    g_autoptr(BlobSecret) secret = blob_secret_new(data, BLOB_KEY_TOKEN_BYTES,
                                                   NULL);
    gcry_sexp_t key = NULL;
    gcry_sexp_t input = NULL;
    gcry_sexp_t result = NULL;
    bool ok;

    ok = secret && public->exponent_bytes &&
         !gcry_sexp_build(&key, NULL, "(public-key (rsa (n %b) (e %b)))",
                          (int)public->modulus_bytes, public->modulus,
                          (int)public->exponent_bytes, public->exponent) &&
         !gcry_sexp_build(&input, NULL,
                          "(data (flags oaep) (hash-algo %s) (value %b))",
                          slot->hash == BLOB_KEY_HASH_SHA1 ? "sha1"
                                                           : "sha256",
                          (int)secret->bytes, secret->data) &&
         !gcry_pk_encrypt(&result, input, key) &&
         take_result(result, public, slot);
    gcry_sexp_release(key);
    gcry_sexp_release(input);
    gcry_sexp_release(result);
    return ok;
}

bool blob_pkcs11_oaep_wrap(const BlobPkcs11Session *session,
                           CK_OBJECT_HANDLE key,
                           const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                           BlobKeySlot *slot, GError **error)
{
    PublicKey public = { 0 };

    if (!read_public_key(session, key, &public, error)) {
        return false;
    }
    if (!encrypt_in_token(session, &public, data, slot) &&
        !encrypt_here(&public, data, slot)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: has no public key that can be used beside the "
                    "private one", session->name);
        return false;
    }
    slot->wrapped_bytes = public.bytes;
    return true;
}

bool blob_pkcs11_oaep_unwrap(const BlobPkcs11Session *session,
                             CK_OBJECT_HANDLE key, const BlobKeySlot *slot,
                             uint8_t data[BLOB_KEY_TOKEN_BYTES],
                             GError **error)
{
    CK_FUNCTION_LIST *module = session->module;
    CK_RSA_PKCS_OAEP_PARAMS oaep = parameters(slot);
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep) };
    /* A token may want room for more than there can be. */
    g_autoptr(BlobSecret) out = blob_secret_new(NULL,
                                                BLOB_KEY_WRAPPED_MAX_BYTES,
                                                error);
    CK_ULONG bytes = BLOB_KEY_WRAPPED_MAX_BYTES;
    CK_RV rv;

    if (!out) {
        return false;
    }
    rv = module->C_DecryptInit(session->handle, &mechanism, key);
    if (rv != CKR_OK) {
        blob_pkcs11_set_error(error, session,
                              slot->hash == BLOB_KEY_HASH_SHA1
                              ? "cannot unwrap by RSA-OAEP with SHA-1"
                              : "cannot unwrap by RSA-OAEP with SHA-256",
                              rv);
        return false;
    }
    rv = module->C_Decrypt(session->handle, (CK_BYTE *)slot->wrapped,
                           slot->wrapped_bytes, out->data, &bytes);
    if (rv != CKR_OK || bytes != BLOB_KEY_TOKEN_BYTES) {
        blob_pkcs11_set_unwrap_error(error, session, rv);
        return false;
    }
    memcpy(data, out->data, BLOB_KEY_TOKEN_BYTES);
    return true;
}
