/*
 * Helpers that the tests of keys in tokens share: tokens in a directory of
 * their own, the only ones that p11-kit has in this process
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_PKCS11_HSM_H
#define TESTS_PKCS11_HSM_H

#include "keys.h"
#include "blobstore/pkcs11/pkcs11.h"
#include "shim.h"

#define HSM_PIN "1234-user"
#define HSM_NSS_TOKEN "NSS Certificate DB"

/*
 * Like g_test_init(); also takes --nss, which chooses NSS's token instead of
 * SoftHSM's.
 */
void hsm_init(int *argc, char ***argv);
bool hsm_is_nss(void);

/*
 * Runs the added tests, after @provision has made the tokens; returns the exit
 * status.  Skips all tests if the module is not installed.  The shim is set to
 * zeros before each test; nothing may be open after it.
 */
int hsm_run(void (*provision)(void));
void hsm_add(const char *path, void (*test)(void));

/* The module as p11-kit sees it */
Shim *hsm_shim(void);

/* Makes a new token of SoftHSM, without a user PIN if @pin is NULL. */
void hsm_add_token(const char *token, const char *pin);

/* Prepares the only token that NSS has, so that it needs no PIN. */
void hsm_init_nss_token(void);

/*
 * These make new keys in a token, whose PIN is HSM_PIN or which needs none;
 * @id has one byte.  The private key's @use is CKA_DECRYPT or CKA_SIGN.
 */
void hsm_add_rsa(const char *token, const char *key, uint8_t id,
                 CK_ULONG bits);
void hsm_add_rsa_with(const char *token, const char *key, uint8_t id,
                      CK_ULONG bits, CK_ATTRIBUTE_TYPE use,
                      bool always_authenticate);
void hsm_add_ec(const char *token, const char *key, uint8_t id);
void hsm_add_aes(const char *token, const char *key, uint8_t id,
                 CK_ULONG bytes);
/* The same with these bytes; nobody needs a login to use the key. */
void hsm_add_public_aes(const char *token, const char *key, uint8_t id,
                        const uint8_t *value, CK_ULONG bytes);

/*
 * Runs @action while another session has an AES key that ends with that
 * session.
 */
void hsm_with_session_key(const char *token, const char *key, uint8_t id,
                          void (*action)(void));

/* The UUID of the store of all slots here */
extern const uint8_t hsm_uuid[BLOB_KEY_UUID_BYTES];

/* Puts data key 1 into slot 2 by @uri, or fails. */
bool hsm_put(BlobKeySlots *slots, const char *uri, const char *pin,
             GError **error);
void hsm_put_ok(BlobKeySlots *slots, const char *uri);
void hsm_put_fails(const char *uri, const char *pin, BlobStoreError code,
                   const char *pattern);

/* Opens any of @slots by its token; the data key must be number 1. */
void hsm_unlock_ok(const BlobKeySlots *slots, const char *pin);
void hsm_unlock_fails(const BlobKeySlots *slots, const char *pin,
                      BlobStoreError code, const char *pattern);

#endif /* TESTS_PKCS11_HSM_H */
