/*
 * Blobstore: which PKCS#11 URIs (RFC 7512) a key slot may have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

#include <string.h>

/* Names the attribute, but not its value, which may be a PIN. */
static void set_forbidden(GError **error, const char *name, const char *why)
{
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                "the PKCS#11 URI has %s, which is not allowed: %s", name, why);
}

static const char no_pin[] =
    "the URI is stored readable in the image; give the PIN as a secret";
static const char no_module[] =
    "an image must not choose what is loaded; PKCS#11 modules are those of "
    "the host's p11-kit configuration";

/* p11-kit takes pin-value and its like before a '?' as well as behind it. */
static bool check_forbidden(P11KitUri *uri, const char *text, GError **error)
{
    if (p11_kit_uri_get_pin_value(uri)) {
        set_forbidden(error, "'pin-value'", no_pin);
    } else if (p11_kit_uri_get_pin_source(uri)) {
        set_forbidden(error, "'pin-source'", no_pin);
    } else if (p11_kit_uri_get_module_path(uri)) {
        set_forbidden(error, "'module-path'", no_module);
    } else if (p11_kit_uri_get_module_name(uri)) {
        set_forbidden(error, "'module-name'", no_module);
    } else if (strchr(text, '?')) {
        set_forbidden(error, "attributes behind a '?'",
                      "they do not name a key");
    } else if (p11_kit_uri_any_unrecognized(uri)) {
        set_forbidden(error, "an attribute, or a value of one, that p11-kit "
                      "does not know", "it would match nothing");
    } else {
        return true;
    }
    return false;
}

static bool check_class(P11KitUri *uri, GError **error)
{
    const CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
    CK_OBJECT_CLASS value;

    if (!class) {
        return true;
    }
    memcpy(&value, class->pValue, sizeof(value));
    if (value != CKO_PRIVATE_KEY && value != CKO_SECRET_KEY) {
        set_forbidden(error, "a type other than private and secret-key",
                      "what is wrapped must be unwrapped again");
        return false;
    }
    return true;
}

/*
 * Printable ASCII, as in RFC 7512.  p11-kit drops white space, and stops
 * without a word at an attribute that is empty: what follows, which narrows
 * the choice, would be ignored.
 */
static const char *what_is_wrong(const char *text)
{
    if (strstr(text, ";;") || strstr(text, ":;")) {
        return "has an empty attribute";
    }
    while (*text && g_ascii_isgraph(*text)) {
        text++;
    }
    return *text ? "has a character that has to be written as %XX" : NULL;
}

P11KitUri *blob_pkcs11_parse_uri(const char *text, GError **error)
{
    g_autoptr(P11KitUri) uri = p11_kit_uri_new();
    const char *wrong = what_is_wrong(text);
    int result;

    if (wrong) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the PKCS#11 URI %s", wrong);
        return NULL;
    }
    result = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri);
    if (result != P11_KIT_URI_OK) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "the PKCS#11 URI cannot be read: %s",
                    p11_kit_uri_message(result));
        return NULL;
    }
    if (!check_forbidden(uri, text, error) || !check_class(uri, error)) {
        return NULL;
    }
    return g_steal_pointer(&uri);
}
