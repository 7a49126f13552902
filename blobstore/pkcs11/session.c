/*
 * Blobstore: a session with a token, its user logged in
 *
 * Tokens lock after a few wrong PINs, so a PIN is presented once, and only
 * if the token may take it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

#include <string.h>

void blob_pkcs11_set_error(GError **error, const BlobPkcs11Session *session,
                           const char *what, CK_RV rv)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                "%s: %s: %s (0x%lx)", session->name, what,
                p11_kit_strerror(rv), rv);
}

/*
 * Whether @rv, of a call that unwraps, may be about what was to be unwrapped.
 * Tokens have more than one answer to that, some of them vague.
 */
static bool is_about_data(CK_RV rv)
{
    switch (rv) {
    case CKR_OK:                        /* but the length is wrong */
    case CKR_ARGUMENTS_BAD:             /* NSS: above the modulus */
    case CKR_BUFFER_TOO_SMALL:
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
    case CKR_WRAPPED_KEY_INVALID:
    case CKR_WRAPPED_KEY_LEN_RANGE:
    case CKR_KEY_SIZE_RANGE:
    case CKR_FUNCTION_FAILED:
    case CKR_GENERAL_ERROR:
        return true;
    default:
        return false;
    }
}

void blob_pkcs11_set_unwrap_error(GError **error,
                                  const BlobPkcs11Session *session, CK_RV rv)
{
    if (!is_about_data(rv)) {
        blob_pkcs11_set_error(error, session, "cannot unwrap", rv);
        return;
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                "%s: its key does not unwrap this: it is damaged, or was "
                "wrapped by another key", session->name);
}

static void set_pin_error(GError **error, const BlobPkcs11Session *session,
                          const char *what)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN, "%s: %s",
                session->name, what);
}

static bool has_control_character(const char *text)
{
    while (*text && !g_ascii_iscntrl(*text)) {
        text++;
    }
    return *text;
}

/* What speaks against presenting @pin, or NULL */
static const char *why_not(CK_FLAGS flags, const char *pin)
{
    if (flags & CKF_PROTECTED_AUTHENTICATION_PATH) {
        return "it takes its PIN at a keypad of its own only, which is not "
               "supported";
    }
    if (!(flags & CKF_USER_PIN_INITIALIZED)) {
        return "its user PIN has not been set: set it with the tool of the "
               "token";
    }
    if (flags & CKF_USER_PIN_LOCKED) {
        return "its PIN is locked: unlock it with the tool of the token";
    }
    if (flags & CKF_USER_PIN_FINAL_TRY) {
        return "one more wrong PIN would lock it, so none was tried: log in "
               "with the tool of the token first";
    }
    if (!pin || !*pin) {
        return "it wants a PIN, and none was given";
    }
    /* Files tend to end with one.  That must not cost a try. */
    if (has_control_character(pin)) {
        return "the PIN was not tried: there is a newline or another control "
               "character in it";
    }
    return NULL;
}

/* What a wrong PIN has led to */
static const char *describe_wrong_pin(CK_FUNCTION_LIST *module,
                                      CK_SLOT_ID slot)
{
    CK_TOKEN_INFO info;

    if (module->C_GetTokenInfo(slot, &info) != CKR_OK) {
        info.flags = 0;
    }
    if (info.flags & CKF_USER_PIN_LOCKED) {
        return "the PIN is wrong, and locked now: unlock it with the tool of "
               "the token";
    }
    if (info.flags & CKF_USER_PIN_FINAL_TRY) {
        return "the PIN is wrong; one more wrong one locks the token";
    }
    return "the PIN is wrong; it was tried once, and is not tried again";
}

static bool log_in(BlobPkcs11Session *session, const BlobPkcs11Token *token,
                   const char *pin, GError **error)
{
    const char *obstacle = why_not(token->info.flags, pin);
    CK_RV rv;

    if (obstacle) {
        set_pin_error(error, session, obstacle);
        return false;
    }
    rv = session->module->C_Login(session->handle, CKU_USER,
                                  (CK_UTF8CHAR *)pin, strlen(pin));
    switch (rv) {
    case CKR_OK:
    /* By another thread; there is one login for the whole process. */
    case CKR_USER_ALREADY_LOGGED_IN:
        session->is_logged_in = true;
        return true;
    case CKR_PIN_INCORRECT:
        set_pin_error(error, session,
                      describe_wrong_pin(session->module, token->slot));
        return false;
    case CKR_PIN_LOCKED:
        set_pin_error(error, session, "its PIN is locked: unlock it with the "
                      "tool of the token");
        return false;
    case CKR_PIN_EXPIRED:
        set_pin_error(error, session, "its PIN has expired: set a new one "
                      "with the tool of the token");
        return false;
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
        set_pin_error(error, session, "the PIN is too short, too long, or has "
                      "characters that it cannot have");
        return false;
    default:
        blob_pkcs11_set_error(error, session, "cannot log in", rv);
        return false;
    }
}

static bool open_session(BlobPkcs11Session *session, P11KitUri *uri,
                         const char *pin, GError **error)
{
    BlobPkcs11Token token;
    CK_RV rv;

    session->modules = p11_kit_modules_load_and_initialize(0);
    if (!session->modules) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "the PKCS#11 modules of the host's p11-kit "
                    "configuration cannot be loaded: %s",
                    p11_kit_message() ?: "no reason is given");
        return false;
    }
    if (!blob_pkcs11_find_token(session->modules, uri, &token, error)) {
        return false;
    }
    session->module = token.module;
    session->name = blob_pkcs11_describe_token(&token.info);
    rv = session->module->C_OpenSession(token.slot, CKF_SERIAL_SESSION, NULL,
                                        NULL, &session->handle);
    if (rv != CKR_OK) {
        blob_pkcs11_set_error(error, session, "cannot open a session", rv);
        return false;
    }
    session->is_open = true;
    return !(token.info.flags & CKF_LOGIN_REQUIRED) ||
           log_in(session, &token, pin, error);
}

BlobPkcs11Session *blob_pkcs11_open_session(P11KitUri *uri, const char *pin,
                                            GError **error)
{
    g_autoptr(BlobPkcs11Session) session = g_new0(BlobPkcs11Session, 1);

    return open_session(session, uri, pin, error)
           ? g_steal_pointer(&session) : NULL;
}

/*
 * Closing the last session of the process logs out.  C_Logout would do so
 * for other threads that are at work with the same token.
 */
void blob_pkcs11_close_session(BlobPkcs11Session *session)
{
    if (session->is_open) {
        session->module->C_CloseSession(session->handle);
    }
    if (session->modules) {
        p11_kit_modules_finalize_and_release(session->modules);
    }
    g_free(session->name);
    g_free(session);
}
