/*
 * A PKCS#11 module between the tests and a real one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "shim.h"

#include <dlfcn.h>
#include <glib.h>
#include <string.h>

Shim shim;

static CK_FUNCTION_LIST *real;

/* Returns whether this @call has to fail; counts it. */
static bool fails(ShimCall call)
{
    int number = g_atomic_int_add(&shim.calls, 1) + 1;

    return shim.rv && (number == shim.fail_at || call == shim.fail);
}

static CK_RV count(int *counter, int change, CK_RV rv)
{
    if (rv == CKR_OK) {
        g_atomic_int_add(counter, change);
    }
    return rv;
}

static CK_RV lie(ShimCall call, CK_ULONG *bytes, CK_RV rv)
{
    if (rv == CKR_OK && call == shim.lie) {
        *bytes = shim.lie_bytes;
    }
    return rv;
}

static CK_RV initialize(void *arguments)
{
    return fails(SHIM_INITIALIZE) ? shim.rv
           : count(&shim.initialized, 1, real->C_Initialize(arguments));
}

static CK_RV finalize(void *reserved)
{
    return count(&shim.initialized, -1, real->C_Finalize(reserved));
}

static CK_RV get_info(CK_INFO *info)
{
    return fails(SHIM_GET_INFO) ? shim.rv : real->C_GetInfo(info);
}

static CK_RV get_slot_list(CK_BBOOL with_token, CK_SLOT_ID *slots,
                           CK_ULONG *slot_count)
{
    return fails(SHIM_GET_SLOT_LIST) ? shim.rv
           : lie(SHIM_GET_SLOT_LIST, slot_count,
                 real->C_GetSlotList(with_token, slots, slot_count));
}

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    return fails(SHIM_GET_SLOT_INFO) ? shim.rv
           : real->C_GetSlotInfo(slot, info);
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = fails(SHIM_GET_TOKEN_INFO) ? shim.rv
               : real->C_GetTokenInfo(slot, info);

    if (rv == CKR_OK) {
        info->flags |= shim.set_flags;
        info->flags &= ~shim.clear_flags;
        if (shim.logins) {
            info->flags |= shim.flags_after_login;
        }
        if (shim.label) {
            memset(info->label, ' ', sizeof(info->label));
            memcpy(info->label, shim.label,
                   MIN(strlen(shim.label), sizeof(info->label)));
        }
    }
    return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application,
                          CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    return fails(SHIM_OPEN_SESSION) ? shim.rv
           : count(&shim.sessions, 1,
                   real->C_OpenSession(slot, flags, application, notify,
                                       session));
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
    return fails(SHIM_CLOSE_SESSION) ? shim.rv
           : count(&shim.sessions, -1, real->C_CloseSession(session));
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user,
                   CK_UTF8CHAR *pin, CK_ULONG bytes)
{
    g_atomic_int_inc(&shim.logins);
    return fails(SHIM_LOGIN) ? shim.rv
           : real->C_Login(session, user, pin, bytes);
}

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes,
                       CK_ULONG attribute_count)
{
    return fails(SHIM_FIND_INIT) ? shim.rv
           : real->C_FindObjectsInit(session, attributes, attribute_count);
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects,
                  CK_ULONG max, CK_ULONG *found)
{
    return fails(SHIM_FIND) ? shim.rv
           : lie(SHIM_FIND, found,
                 real->C_FindObjects(session, objects, max, found));
}

static CK_RV find_final(CK_SESSION_HANDLE session)
{
    return fails(SHIM_FIND_FINAL) ? shim.rv
           : real->C_FindObjectsFinal(session);
}

static CK_RV get_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                           CK_ATTRIBUTE *attributes, CK_ULONG attribute_count)
{
    CK_RV rv = fails(SHIM_GET_ATTRIBUTE) ? shim.rv
               : real->C_GetAttributeValue(session, object, attributes,
                                           attribute_count);

    if (shim.hidden && attributes->type == shim.hidden) {
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
    return attributes->type == shim.lie_attribute
           ? lie(SHIM_GET_ATTRIBUTE, &attributes->ulValueLen, rv) : rv;
}

/* Counts an object if it has been made as @attributes say. */
static CK_RV count_object(const CK_ATTRIBUTE *attributes,
                          CK_ULONG attribute_count, CK_RV rv)
{
    for (CK_ULONG i = 0; i < attribute_count; i++) {
        if (attributes[i].type == CKA_PRIVATE &&
            *(CK_BBOOL *)attributes[i].pValue == CK_FALSE) {
            count(&shim.public_objects, 1, rv);
        }
    }
    return count(&shim.objects, 1, rv);
}

static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes,
                           CK_ULONG attribute_count, CK_OBJECT_HANDLE *object)
{
    return fails(SHIM_CREATE_OBJECT) ? shim.rv
           : count_object(attributes, attribute_count,
                          real->C_CreateObject(session, attributes,
                                               attribute_count, object));
}

static CK_RV destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    return fails(SHIM_DESTROY_OBJECT) ? shim.rv
           : count(&shim.objects, -1, real->C_DestroyObject(session, object));
}

static CK_RV wrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                      CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE object,
                      CK_BYTE *out, CK_ULONG *bytes)
{
    return fails(SHIM_WRAP) ? shim.rv
           : lie(SHIM_WRAP, bytes,
                 real->C_WrapKey(session, mechanism, key, object, out,
                                 bytes));
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                        CK_OBJECT_HANDLE key, CK_BYTE *in, CK_ULONG bytes,
                        CK_ATTRIBUTE *attributes, CK_ULONG attribute_count,
                        CK_OBJECT_HANDLE *object)
{
    return fails(SHIM_UNWRAP) ? shim.rv
           : count_object(attributes, attribute_count,
                          real->C_UnwrapKey(session, mechanism, key, in,
                                            bytes, attributes,
                                            attribute_count, object));
}

static CK_RV encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                          CK_OBJECT_HANDLE key)
{
    return fails(SHIM_ENCRYPT_INIT) ? shim.rv
           : real->C_EncryptInit(session, mechanism, key);
}

/* The operation ends, however it fails. */
static CK_RV encrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_bytes,
                     CK_BYTE *out, CK_ULONG *bytes)
{
    CK_RV rv = real->C_Encrypt(session, in, in_bytes, out, bytes);

    return fails(SHIM_ENCRYPT) ? shim.rv : lie(SHIM_ENCRYPT, bytes, rv);
}

static CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                          CK_OBJECT_HANDLE key)
{
    return fails(SHIM_DECRYPT_INIT) ? shim.rv
           : real->C_DecryptInit(session, mechanism, key);
}

static CK_RV decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_bytes,
                     CK_BYTE *out, CK_ULONG *bytes)
{
    CK_RV rv = real->C_Decrypt(session, in, in_bytes, out, bytes);

    if (rv == CKR_OK && shim.garble) {
        *out ^= 1;
    }
    return fails(SHIM_DECRYPT) ? shim.rv : lie(SHIM_DECRYPT, bytes, rv);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    static CK_FUNCTION_LIST own;
    CK_C_GetFunctionList get = NULL;
    void *library = dlopen(g_getenv("SHIM_OF"), RTLD_NOW | RTLD_NODELETE);

    if (library) {
        get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    }
    if (!get || get(&real) != CKR_OK) {
        return CKR_GENERAL_ERROR;
    }
    own = *real;
    own.C_Initialize = initialize;
    own.C_Finalize = finalize;
    own.C_GetInfo = get_info;
    own.C_GetFunctionList = C_GetFunctionList;
    own.C_GetSlotList = get_slot_list;
    own.C_GetSlotInfo = get_slot_info;
    own.C_GetTokenInfo = get_token_info;
    own.C_OpenSession = open_session;
    own.C_CloseSession = close_session;
    own.C_Login = login;
    own.C_FindObjectsInit = find_init;
    own.C_FindObjects = find;
    own.C_FindObjectsFinal = find_final;
    own.C_GetAttributeValue = get_attribute;
    own.C_CreateObject = create_object;
    own.C_DestroyObject = destroy_object;
    own.C_WrapKey = wrap_key;
    own.C_UnwrapKey = unwrap_key;
    own.C_EncryptInit = encrypt_init;
    own.C_Encrypt = encrypt;
    own.C_DecryptInit = decrypt_init;
    own.C_Decrypt = decrypt;
    *list = &own;
    return CKR_OK;
}
