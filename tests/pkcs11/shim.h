/*
 * A PKCS#11 module between the tests and a real one
 *
 * The shim passes every call on to the module that the environment variable
 * SHIM_OF names, and counts calls.  A test may let a call fail or make the
 * shim lie about an answer.  p11-kit loads the shim like any other module; the
 * test finds "shim" in p11-kit's list by name.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_PKCS11_SHIM_H
#define TESTS_PKCS11_SHIM_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* The calls that can fail or lie on request */
typedef enum ShimCall {
    SHIM_NONE,
    SHIM_INITIALIZE,
    SHIM_GET_INFO,
    SHIM_GET_SLOT_LIST,
    SHIM_GET_SLOT_INFO,
    SHIM_GET_TOKEN_INFO,
    SHIM_OPEN_SESSION,
    SHIM_CLOSE_SESSION,
    SHIM_LOGIN,
    SHIM_FIND_INIT,
    SHIM_FIND,
    SHIM_FIND_FINAL,
    SHIM_GET_ATTRIBUTE,
    SHIM_CREATE_OBJECT,
    SHIM_DESTROY_OBJECT,
    SHIM_WRAP,
    SHIM_UNWRAP,
    SHIM_ENCRYPT_INIT,
    SHIM_ENCRYPT,
    SHIM_DECRYPT_INIT,
    SHIM_DECRYPT,
} ShimCall;

typedef struct Shim {
    /* What has happened */
    int calls;
    int logins;                 /* how often a PIN was presented */
    int initialized;            /* and not finalised again */
    int sessions;               /* that are open */
    int objects;                /* that were made and not destroyed */
    int public_objects;         /* that were made, for all to see */

    /* What is to happen */
    int fail_at;                /* which of the calls, from 1; or 0 */
    ShimCall fail;              /* the call that fails each time */
    CK_RV rv;                   /* the error of both */
    ShimCall lie;               /* claims to have given @lie_bytes */
    CK_ATTRIBUTE_TYPE lie_attribute;    /* of SHIM_GET_ATTRIBUTE: which */
    CK_ULONG lie_bytes;
    CK_ATTRIBUTE_TYPE hidden;   /* cannot be read */
    bool garble;                /* the output of SHIM_DECRYPT is wrong */
    CK_FLAGS set_flags;         /* of every token */
    CK_FLAGS clear_flags;
    CK_FLAGS flags_after_login; /* more, once a PIN was presented */
    const char *label;          /* of every token; or NULL */
} Shim;

#endif /* TESTS_PKCS11_SHIM_H */
