/*
 * Blobstore: wrapping by an AES key in a token (RFC 3394)
 *
 * A token wraps objects of its own.  So the data is one for the moment of the
 * call, seen by this process only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

enum {
    OBJECT_ATTRIBUTES = 6,
    WRAPPED_BYTES = BLOB_KEY_TOKEN_BYTES + 8,
};

/* What the object is like; it points into itself. */
typedef struct Object {
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_BBOOL yes;
    CK_BBOOL no;
    CK_BBOOL private;
    CK_ATTRIBUTE attributes[OBJECT_ATTRIBUTES + 1];     /* one for a value */
} Object;

static void describe_object(const BlobPkcs11Session *session, Object *object)
{
    const CK_ATTRIBUTE attributes[OBJECT_ATTRIBUTES] = {
        { CKA_CLASS, &object->class, sizeof(object->class) },
        { CKA_KEY_TYPE, &object->type, sizeof(object->type) },
        { CKA_TOKEN, &object->no, sizeof(object->no) },
        { CKA_PRIVATE, &object->private, sizeof(object->private) },
        { CKA_SENSITIVE, &object->no, sizeof(object->no) },
        { CKA_EXTRACTABLE, &object->yes, sizeof(object->yes) },
    };

    *object = (Object) {
        .class = CKO_SECRET_KEY,
        .type = CKK_GENERIC_SECRET,
        .yes = CK_TRUE,
        .no = CK_FALSE,
        .private = session->is_logged_in,
    };
    for (unsigned i = 0; i < OBJECT_ATTRIBUTES; i++) {
        object->attributes[i] = attributes[i];
    }
}

bool blob_pkcs11_key_wrap(const BlobPkcs11Session *session,
                          CK_OBJECT_HANDLE key,
                          const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                          BlobKeySlot *slot, GError **error)
{
    CK_FUNCTION_LIST *module = session->module;
    CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP };
    CK_ULONG bytes = sizeof(slot->wrapped);
    CK_OBJECT_HANDLE handle;
    Object object;
    CK_RV rv;

    describe_object(session, &object);
    object.attributes[OBJECT_ATTRIBUTES] = (CK_ATTRIBUTE) {
        CKA_VALUE, (void *)data, BLOB_KEY_TOKEN_BYTES
    };
    rv = module->C_CreateObject(session->handle, object.attributes,
                                OBJECT_ATTRIBUTES + 1, &handle);
    if (rv != CKR_OK) {
        blob_pkcs11_set_error(error, session,
                              "does not take a key to be wrapped", rv);
        return false;
    }
    rv = module->C_WrapKey(session->handle, &mechanism, key, handle,
                           slot->wrapped, &bytes);
    module->C_DestroyObject(session->handle, handle);
    if (rv != CKR_OK) {
        blob_pkcs11_set_error(error, session, "cannot wrap by AES key wrap",
                              rv);
        return false;
    }
    if (bytes != WRAPPED_BYTES) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "%s: wraps %d bytes into %lu: that is not AES key wrap",
                    session->name, BLOB_KEY_TOKEN_BYTES, bytes);
        return false;
    }
    slot->wrapped_bytes = bytes;
    return true;
}

bool blob_pkcs11_key_unwrap(const BlobPkcs11Session *session,
                            CK_OBJECT_HANDLE key, const BlobKeySlot *slot,
                            uint8_t data[BLOB_KEY_TOKEN_BYTES],
                            GError **error)
{
    CK_FUNCTION_LIST *module = session->module;
    CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP };
    CK_ATTRIBUTE value = { CKA_VALUE, data, BLOB_KEY_TOKEN_BYTES };
    CK_OBJECT_HANDLE handle;
    Object object;
    CK_RV rv;

    describe_object(session, &object);
    rv = module->C_UnwrapKey(session->handle, &mechanism, key,
                             (CK_BYTE *)slot->wrapped, slot->wrapped_bytes,
                             object.attributes, OBJECT_ATTRIBUTES, &handle);
    if (rv == CKR_OK) {
        rv = module->C_GetAttributeValue(session->handle, handle, &value, 1);
        module->C_DestroyObject(session->handle, handle);
    }
    if (rv != CKR_OK || value.ulValueLen != BLOB_KEY_TOKEN_BYTES) {
        blob_pkcs11_set_unwrap_error(error, session, rv);
        return false;
    }
    return true;
}
