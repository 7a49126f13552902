/*
 * Blobstore: what the files of the PKCS#11 room share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_PKCS11_PRIVATE_H
#define BLOBSTORE_PKCS11_PRIVATE_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
#include "pkcs11.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(P11KitUri, p11_kit_uri_free)

/* uri.c */

/*
 * @text, if it names nothing but tokens and keys.  It may come from a hostile
 * image, and an image is readable: it has no PIN in it, and nothing that
 * makes this program load a module or read a file.  Errors: INVALID.
 */
P11KitUri *blob_pkcs11_parse_uri(const char *text, GError **error);

/* find-token.c */

/* A token, as long as its modules are loaded */
typedef struct BlobPkcs11Token {
    CK_FUNCTION_LIST *module;
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;
} BlobPkcs11Token;

/* The only one of all tokens of @modules that @uri names.  Errors: TOKEN. */
bool blob_pkcs11_find_token(CK_FUNCTION_LIST **modules, P11KitUri *uri,
                            BlobPkcs11Token *token, GError **error);

/* "token 'label' (serial 0123)", printable whatever the token says */
char *blob_pkcs11_describe_token(const CK_TOKEN_INFO *info);

/* session.c */

/* With one token; the user is logged in if the token wants that. */
typedef struct BlobPkcs11Session {
    CK_FUNCTION_LIST **modules;
    CK_FUNCTION_LIST *module;
    CK_SESSION_HANDLE handle;
    bool is_open;
    bool is_logged_in;
    char *name;                 /* of the token, for messages */
} BlobPkcs11Session;

/* With the token that @uri names.  Errors: TOKEN. */
BlobPkcs11Session *blob_pkcs11_open_session(P11KitUri *uri, const char *pin,
                                            GError **error);

/* Ends the session and frees it; the last one of the process logs out. */
void blob_pkcs11_close_session(BlobPkcs11Session *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlobPkcs11Session, blob_pkcs11_close_session)

/* @what went wrong with the token of @session, and what @rv says to it */
void blob_pkcs11_set_error(GError **error, const BlobPkcs11Session *session,
                           const char *what, CK_RV rv);

/*
 * The same after a try to unwrap.  Errors: KEY, if what was given to the
 * token may be to blame; then @rv is not told apart, or who makes images
 * could learn from it what is wrong with the padding.  Else TOKEN.
 */
void blob_pkcs11_set_unwrap_error(GError **error,
                                  const BlobPkcs11Session *session, CK_RV rv);

/* find-key.c */

typedef struct BlobPkcs11Key {
    CK_OBJECT_HANDLE handle;
    BlobKeyMechanism mechanism; /* what it wraps by */
} BlobPkcs11Key;

/*
 * The only private or secret key of the token that @uri names.  Errors:
 * TOKEN.
 */
bool blob_pkcs11_find_key(const BlobPkcs11Session *session, P11KitUri *uri,
                          BlobPkcs11Key *key, GError **error);

/* Up to @max objects of the token that are as @attributes say */
CK_RV blob_pkcs11_find_objects(const BlobPkcs11Session *session,
                               CK_ATTRIBUTE *attributes, CK_ULONG count,
                               CK_OBJECT_HANDLE *found, CK_ULONG max,
                               CK_ULONG *found_count);

/*
 * Reads an attribute of at most @max bytes; returns how many, or 0 if it
 * cannot be read.
 */
CK_ULONG blob_pkcs11_read_attribute(const BlobPkcs11Session *session,
                                    CK_OBJECT_HANDLE object,
                                    CK_ATTRIBUTE_TYPE type, void *out,
                                    CK_ULONG max);

/* oaep.c, keywrap.c: the two mechanisms.  Errors as in BlobToken. */

/* By @slot->hash */
bool blob_pkcs11_oaep_wrap(const BlobPkcs11Session *session,
                           CK_OBJECT_HANDLE key,
                           const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                           BlobKeySlot *slot, GError **error);
bool blob_pkcs11_oaep_unwrap(const BlobPkcs11Session *session,
                             CK_OBJECT_HANDLE key, const BlobKeySlot *slot,
                             uint8_t data[BLOB_KEY_TOKEN_BYTES],
                             GError **error);

bool blob_pkcs11_key_wrap(const BlobPkcs11Session *session,
                          CK_OBJECT_HANDLE key,
                          const uint8_t data[BLOB_KEY_TOKEN_BYTES],
                          BlobKeySlot *slot, GError **error);
bool blob_pkcs11_key_unwrap(const BlobPkcs11Session *session,
                            CK_OBJECT_HANDLE key, const BlobKeySlot *slot,
                            uint8_t data[BLOB_KEY_TOKEN_BYTES],
                            GError **error);

#endif /* BLOBSTORE_PKCS11_PRIVATE_H */
