/*
 * A library that is loaded before OpenSSL's and forbids signatures of SHA-1,
 * as the OpenSSL of RHEL 9 does: unless the configuration of the library
 * context allows them, or the environment does.  With IGNORE_CONFIGURATION
 * the environment alone can.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static OSSL_LIB_CTX *allowed_in;

static int configure(CONF_IMODULE *module, const CONF *conf)
{
    const char *value = NCONF_get_string(conf, CONF_imodule_get_value(module),
                                         "rh-allow-sha1-signatures");

    if (value && !strcmp(value, "yes")) {
        allowed_in = NCONF_get0_libctx(conf);
    }
    return 1;
}

/* OpenSSL adds its own modules later, and uses the first one of a name. */
static void __attribute__((constructor)) take_the_place_of_a_module(void)
{
#ifndef IGNORE_CONFIGURATION
    CONF_module_add("alg_section", configure, NULL);
#endif
}

static bool is_allowed(EVP_PKEY_CTX *context)
{
    OSSL_LIB_CTX *in = EVP_PKEY_CTX_get0_libctx(context) ?:
                       OSSL_LIB_CTX_set0_default(NULL);

    return in == allowed_in || getenv("OPENSSL_ENABLE_SHA1_SIGNATURES");
}

int EVP_PKEY_CTX_set_signature_md(EVP_PKEY_CTX *context, const EVP_MD *digest)
{
    int (*original)(EVP_PKEY_CTX *, const EVP_MD *) =
        dlsym(RTLD_NEXT, "EVP_PKEY_CTX_set_signature_md");

    if (EVP_MD_is_a(digest, "SHA1") && !is_allowed(context)) {
        ERR_raise(ERR_LIB_EVP, EVP_R_INVALID_DIGEST);
        return -1;
    }
    return original(context, digest);
}
