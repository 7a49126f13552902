/*
 * TPM backend "libtpms": OpenSSL, as a TPM needs it
 *
 * A TPM needs what the crypto policy of the host may forbid: algorithms that
 * FIPS has not approved, and signatures of SHA-1.  Libtpms would fail in the
 * middle of a command.  So it computes in a library context of its own, to
 * which no configuration file applies.  The context is the default one of a
 * thread only while libtpms computes; QEMU, its other libraries and modules
 * of PKCS#11 stay with the context that they have, and with the policy.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include "qapi/error.h"
#include "engine.h"

#define SHA1_BYTES 20
#define SIGNATURE_BYTES 128     /* with P-256: 72 at most */

/* Red Hat's OpenSSL forbids signatures of SHA-1 unless a context has this. */
static const char sha1_allowed[] =
    "openssl_conf = tpm\n"
    "[tpm]\n"
    "alg_section = algorithms\n"
    "[algorithms]\n"
    "rh-allow-sha1-signatures = yes\n";

static OSSL_LIB_CTX *tpm_context;

/* What the thread uses otherwise */
static __thread OSSL_LIB_CTX *other_context;

void tpm_openssl_enter(void)
{
    other_context = OSSL_LIB_CTX_set0_default(tpm_context);
}

void tpm_openssl_leave(void)
{
    OSSL_LIB_CTX_set0_default(other_context);
}

/* Other versions of OpenSSL refuse the option, and need none. */
static void allow_sha1(OSSL_LIB_CTX *context)
{
    CONF *conf = NCONF_new_ex(context, NULL);
    BIO *text = BIO_new_mem_buf(sha1_allowed, -1);

    if (conf && text && NCONF_load_bio(conf, text, NULL) > 0) {
        CONF_modules_load(conf, NULL, CONF_MFLAGS_SILENT);
    }
    BIO_free(text);
    NCONF_free(conf);
}

/* Policies forbid this with any key, and keys of ECC are made at once. */
static bool can_sign_sha1(OSSL_LIB_CTX *context)
{
    const unsigned char digest[SHA1_BYTES] = { };
    EVP_PKEY *key = EVP_PKEY_Q_keygen(context, NULL, "EC", "P-256");
    EVP_PKEY_CTX *signer = key ? EVP_PKEY_CTX_new_from_pkey(context, key, NULL)
                               : NULL;
    unsigned char signature[SIGNATURE_BYTES];
    size_t bytes = sizeof(signature);
    bool ok = signer && EVP_PKEY_sign_init(signer) > 0 &&
              EVP_PKEY_CTX_set_signature_md(signer, EVP_sha1()) > 0 &&
              EVP_PKEY_sign(signer, signature, &bytes, digest,
                            sizeof(digest)) > 0;

    EVP_PKEY_CTX_free(signer);
    EVP_PKEY_free(key);
    return ok;
}

static OSSL_LIB_CTX *new_context(Error **errp)
{
    ERRP_GUARD();
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    bool ok = context && OSSL_PROVIDER_load(context, "default");

    if (ok) {
        allow_sha1(context);
        ERR_clear_error();
        ok = can_sign_sha1(context);
    }
    if (!ok) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        error_setg(errp, "OpenSSL does not sign SHA-1 digests (%s), and a TPM "
                   "has to: the crypto policy of this host forbids it",
                   reason ?: "it does not say why");
        error_append_hint(errp, "Allow it for QEMU alone, with "
                          "OPENSSL_ENABLE_SHA1_SIGNATURES=1 in its "
                          "environment, or for the host, with the command "
                          "'update-crypto-policies --set DEFAULT:SHA1'.\n");
        OSSL_LIB_CTX_free(context);
        context = NULL;
    }
    ERR_clear_error();
    return context;
}

bool tpm_openssl_open(Error **errp)
{
    if (!tpm_context) {
        tpm_context = new_context(errp);
    }
    return tpm_context;
}
