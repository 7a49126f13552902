/*
 * Blobstore: the key in a token that a PKCS#11 URI names
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

#include <string.h>

enum {
    MAX_MATCHES = 8,            /* as many as a message can list */
    MAX_NAME_BYTES = 64,
};

CK_ULONG blob_pkcs11_read_attribute(const BlobPkcs11Session *session,
                                    CK_OBJECT_HANDLE object,
                                    CK_ATTRIBUTE_TYPE type, void *out,
                                    CK_ULONG max)
{
    CK_ATTRIBUTE attribute = { type, out, max };

    if (session->module->C_GetAttributeValue(session->handle, object,
                                             &attribute, 1) != CKR_OK ||
        attribute.ulValueLen > max) {
        return 0;
    }
    return attribute.ulValueLen;
}

CK_RV blob_pkcs11_find_objects(const BlobPkcs11Session *session,
                               CK_ATTRIBUTE *attributes, CK_ULONG count,
                               CK_OBJECT_HANDLE *found, CK_ULONG max,
                               CK_ULONG *found_count)
{
    CK_FUNCTION_LIST *module = session->module;
    CK_RV rv = module->C_FindObjectsInit(session->handle, attributes, count);

    *found_count = 0;
    if (rv != CKR_OK) {
        return rv;
    }
    /* A token may give fewer at a time than it has. */
    while (*found_count < max) {
        CK_ULONG more = 0;

        rv = module->C_FindObjects(session->handle, found + *found_count,
                                   max - *found_count, &more);
        if (rv == CKR_OK && more > max - *found_count) {
            rv = CKR_GENERAL_ERROR;
        }
        if (rv != CKR_OK || !more) {
            break;
        }
        *found_count += more;
    }
    module->C_FindObjectsFinal(session->handle);
    return rv;
}

/* Adds the keys of @class that the rest of @uri names. */
static CK_RV find_class(const BlobPkcs11Session *session, P11KitUri *uri,
                        CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *found,
                        CK_ULONG *count)
{
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE *wanted = p11_kit_uri_get_attribute(uri, CKA_CLASS);
    CK_ATTRIBUTE attributes[] = {
        { CKA_CLASS, &class, sizeof(class) },
        /* Session objects of other threads are no keys of the token. */
        { CKA_TOKEN, &yes, sizeof(yes) },
        { 0 }, { 0 },
    };
    CK_ULONG attribute_count = 2;
    CK_ULONG more = 0;
    CK_RV rv;

    if (wanted && memcmp(wanted->pValue, &class, sizeof(class))) {
        return CKR_OK;
    }
    for (unsigned i = 0; i < 2; i++) {
        CK_ATTRIBUTE *name = p11_kit_uri_get_attribute(uri, i ? CKA_LABEL
                                                              : CKA_ID);

        if (name) {
            attributes[attribute_count++] = *name;
        }
    }
    rv = blob_pkcs11_find_objects(session, attributes, attribute_count,
                                  found + *count, MAX_MATCHES - *count, &more);
    *count += more;
    return rv;
}

/* "private key 'label' (id 0123)" */
static void append_description(GString *text, const BlobPkcs11Session *session,
                               CK_OBJECT_HANDLE key)
{
    uint8_t id[MAX_NAME_BYTES];
    char label[MAX_NAME_BYTES + 1] = "";
    CK_OBJECT_CLASS class = 0;
    g_autofree char *escaped = NULL;
    CK_ULONG bytes;

    blob_pkcs11_read_attribute(session, key, CKA_CLASS, &class,
                               sizeof(class));
    blob_pkcs11_read_attribute(session, key, CKA_LABEL, label,
                               MAX_NAME_BYTES);
    bytes = blob_pkcs11_read_attribute(session, key, CKA_ID, id, sizeof(id));
    escaped = g_strescape(label, NULL);
    g_string_append_printf(text, "%s%s key '%s' (id ", text->len ? ", " : "",
                           class == CKO_PRIVATE_KEY ? "private" : "secret",
                           escaped);
    for (CK_ULONG i = 0; i < bytes; i++) {
        g_string_append_printf(text, "%02x", id[i]);
    }
    g_string_append_c(text, ')');
}

static void set_ambiguous(GError **error, const BlobPkcs11Session *session,
                          const CK_OBJECT_HANDLE *keys, CK_ULONG count)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (CK_ULONG i = 0; i < count; i++) {
        append_description(text, session, keys[i]);
    }
    g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                "%s: the URI names more than one key: %s: add id=, object= "
                "or type= to it", session->name, text->str);
}

/* Sets what @key->handle can wrap by, if it can. */
static bool check_key(const BlobPkcs11Session *session, BlobPkcs11Key *key,
                      GError **error)
{
    CK_OBJECT_CLASS class = 0;
    CK_KEY_TYPE type = 0;
    CK_BBOOL wants_pin_again = CK_FALSE;

    if (!blob_pkcs11_read_attribute(session, key->handle, CKA_CLASS, &class,
                                    sizeof(class)) ||
        !blob_pkcs11_read_attribute(session, key->handle, CKA_KEY_TYPE,
                                    &type, sizeof(type))) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: does not say what kind of key it has",
                    session->name);
        return false;
    }
    blob_pkcs11_read_attribute(session, key->handle, CKA_ALWAYS_AUTHENTICATE,
                               &wants_pin_again, sizeof(wants_pin_again));
    if (class == CKO_PRIVATE_KEY && wants_pin_again) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: the key wants the PIN again for each use "
                    "(CKA_ALWAYS_AUTHENTICATE), which is not supported: use "
                    "another key", session->name);
        return false;
    }
    if (class == CKO_PRIVATE_KEY && type == CKK_RSA) {
        key->mechanism = BLOB_KEY_MECHANISM_RSA_OAEP;
    } else if (class == CKO_SECRET_KEY && type == CKK_AES) {
        key->mechanism = BLOB_KEY_MECHANISM_AES_KEY_WRAP;
    } else {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: the key is neither RSA nor AES, and no other kind "
                    "can be used", session->name);
        return false;
    }
    return true;
}

bool blob_pkcs11_find_key(const BlobPkcs11Session *session, P11KitUri *uri,
                          BlobPkcs11Key *key, GError **error)
{
    CK_OBJECT_HANDLE found[MAX_MATCHES];
    CK_ULONG count = 0;
    CK_RV rv = find_class(session, uri, CKO_PRIVATE_KEY, found, &count);

    if (rv == CKR_OK) {
        rv = find_class(session, uri, CKO_SECRET_KEY, found, &count);
    }
    if (rv != CKR_OK) {
        blob_pkcs11_set_error(error, session, "cannot look for the key", rv);
        return false;
    }
    if (!count) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: has no private or secret key that the URI names",
                    session->name);
        return false;
    }
    if (count > 1) {
        set_ambiguous(error, session, found, count);
        return false;
    }
    key->handle = found[0];
    return check_key(session, key, error);
}
