/*
 * New tokens, and new keys in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hsm.h"

#include <p11-kit/p11-kit.h>
#include <string.h>

#define SO_PIN "5678-officer"

/* A session that may write, with the user logged in */
typedef struct Login {
    CK_FUNCTION_LIST **modules;
    CK_FUNCTION_LIST *module;
    CK_SESSION_HANDLE session;
} Login;

/*
 * Returns the first slot with the token @label, or not initialised if that is
 * NULL.
 */
static CK_SLOT_ID find_slot(CK_FUNCTION_LIST *module, const char *label)
{
    CK_SLOT_ID slots[32];
    CK_ULONG count = G_N_ELEMENTS(slots);

    g_assert_cmpuint(module->C_GetSlotList(CK_TRUE, slots, &count), ==,
                     CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        g_autofree char *found = NULL;
        CK_TOKEN_INFO info;

        g_assert_cmpuint(module->C_GetTokenInfo(slots[i], &info), ==, CKR_OK);
        found = p11_kit_space_strdup(info.label, sizeof(info.label));
        if (label ? !strcmp(found, label)
                  : !(info.flags & CKF_TOKEN_INITIALIZED)) {
            return slots[i];
        }
    }
    g_assert_not_reached();
}

static Login load(void)
{
    Login login = { p11_kit_modules_load_and_initialize(0) };

    g_assert_nonnull(login.modules);
    g_assert_nonnull(login.modules[0]);
    g_assert_null(login.modules[1]);
    login.module = login.modules[0];
    return login;
}

static void open_session(Login *login, CK_SLOT_ID slot)
{
    g_assert_cmpuint(login->module->C_OpenSession(slot, CKF_SERIAL_SESSION |
                                                  CKF_RW_SESSION, NULL, NULL,
                                                  &login->session), ==,
                     CKR_OK);
}

static void log_in(Login *login, CK_USER_TYPE user, const char *pin)
{
    g_assert_cmpuint(login->module->C_Login(login->session, user,
                                            (CK_BYTE *)pin, strlen(pin)), ==,
                     CKR_OK);
}

static void unload(Login *login)
{
    g_assert_cmpuint(login->module->C_CloseSession(login->session), ==,
                     CKR_OK);
    p11_kit_modules_finalize_and_release(login->modules);
}

static void set_pin(Login *login, const char *so_pin, const char *pin)
{
    log_in(login, CKU_SO, so_pin);
    g_assert_cmpuint(login->module->C_InitPIN(login->session, (CK_BYTE *)pin,
                                              strlen(pin)), ==, CKR_OK);
}

void hsm_add_token(const char *token, const char *pin)
{
    Login login = load();
    CK_SLOT_ID slot = find_slot(login.module, NULL);
    CK_UTF8CHAR label[32];

    memset(label, ' ', sizeof(label));
    memcpy(label, token, strlen(token));
    g_assert_cmpuint(login.module->C_InitToken(slot, (CK_BYTE *)SO_PIN,
                                               strlen(SO_PIN), label), ==,
                     CKR_OK);
    open_session(&login, slot);
    if (pin) {
        set_pin(&login, SO_PIN, pin);
    }
    unload(&login);
}

/* A database of NSS with an empty PIN needs no login. */
void hsm_init_nss_token(void)
{
    Login login = load();

    open_session(&login, find_slot(login.module, HSM_NSS_TOKEN));
    set_pin(&login, "", "");
    unload(&login);
}

static Login user(const char *token)
{
    Login login = load();
    CK_SLOT_ID slot = find_slot(login.module, token);
    CK_TOKEN_INFO info;

    open_session(&login, slot);
    g_assert_cmpuint(login.module->C_GetTokenInfo(slot, &info), ==, CKR_OK);
    if (info.flags & CKF_LOGIN_REQUIRED) {
        log_in(&login, CKU_USER, HSM_PIN);
    }
    return login;
}

static void generate_pair(const char *token, CK_MECHANISM_TYPE type,
                          CK_ATTRIBUTE *public, CK_ULONG public_count,
                          CK_ATTRIBUTE *private, CK_ULONG private_count)
{
    Login login = user(token);
    CK_MECHANISM mechanism = { type };
    CK_OBJECT_HANDLE handles[2];

    g_assert_cmpuint(login.module->C_GenerateKeyPair(
                         login.session, &mechanism, public, public_count,
                         private, private_count, &handles[0], &handles[1]),
                     ==, CKR_OK);
    unload(&login);
}

void hsm_add_rsa_with(const char *token, const char *key, uint8_t id,
                      CK_ULONG bits, CK_ATTRIBUTE_TYPE use,
                      bool always_authenticate)
{
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_BYTE exponent[] = { 1, 0, 1 };
    CK_ATTRIBUTE public[] = {
        { CKA_TOKEN, &yes, sizeof(yes) },
        { CKA_ENCRYPT, &yes, sizeof(yes) },
        { CKA_MODULUS_BITS, &bits, sizeof(bits) },
        { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) },
        { CKA_LABEL, (void *)key, strlen(key) },
        { CKA_ID, &id, sizeof(id) },
    };
    CK_ATTRIBUTE private[] = {
        { CKA_TOKEN, &yes, sizeof(yes) },
        { CKA_PRIVATE, &yes, sizeof(yes) },
        { CKA_SENSITIVE, &yes, sizeof(yes) },
        { CKA_DECRYPT, use == CKA_DECRYPT ? &yes : &no, sizeof(yes) },
        { CKA_SIGN, use == CKA_SIGN ? &yes : &no, sizeof(yes) },
        { CKA_LABEL, (void *)key, strlen(key) },
        { CKA_ID, &id, sizeof(id) },
        { CKA_ALWAYS_AUTHENTICATE, &yes, sizeof(yes) },
    };

    generate_pair(token, CKM_RSA_PKCS_KEY_PAIR_GEN, public,
                  G_N_ELEMENTS(public), private,
                  G_N_ELEMENTS(private) - !always_authenticate);
}

void hsm_add_rsa(const char *token, const char *key, uint8_t id, CK_ULONG bits)
{
    hsm_add_rsa_with(token, key, id, bits, CKA_DECRYPT, false);
}

void hsm_add_ec(const char *token, const char *key, uint8_t id)
{
    /* DER of the name of NIST P-256 */
    CK_BYTE curve[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE public[] = {
        { CKA_TOKEN, &yes, sizeof(yes) },
        { CKA_EC_PARAMS, curve, sizeof(curve) },
    };
    CK_ATTRIBUTE private[] = {
        { CKA_TOKEN, &yes, sizeof(yes) },
        { CKA_LABEL, (void *)key, strlen(key) },
        { CKA_ID, &id, sizeof(id) },
    };

    generate_pair(token, CKM_EC_KEY_PAIR_GEN, public, G_N_ELEMENTS(public),
                  private, G_N_ELEMENTS(private));
}

static void generate_aes(const Login *login, CK_BBOOL on_token,
                         const char *key, uint8_t id, CK_ULONG bytes)
{
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN };
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE attributes[] = {
        { CKA_TOKEN, &on_token, sizeof(on_token) },
        { CKA_PRIVATE, &yes, sizeof(yes) },
        { CKA_SENSITIVE, &yes, sizeof(yes) },
        { CKA_WRAP, &yes, sizeof(yes) },
        { CKA_UNWRAP, &yes, sizeof(yes) },
        { CKA_VALUE_LEN, &bytes, sizeof(bytes) },
        { CKA_LABEL, (void *)key, strlen(key) },
        { CKA_ID, &id, sizeof(id) },
    };
    CK_OBJECT_HANDLE handle;

    g_assert_cmpuint(login->module->C_GenerateKey(login->session, &mechanism,
                                                  attributes,
                                                  G_N_ELEMENTS(attributes),
                                                  &handle), ==, CKR_OK);
}

void hsm_add_aes(const char *token, const char *key, uint8_t id,
                 CK_ULONG bytes)
{
    Login login = user(token);

    generate_aes(&login, CK_TRUE, key, id, bytes);
    unload(&login);
}

void hsm_with_session_key(const char *token, const char *key, uint8_t id,
                          void (*action)(void))
{
    Login login = user(token);

    generate_aes(&login, CK_FALSE, key, id, 32);
    action();
    unload(&login);
}

void hsm_add_public_aes(const char *token, const char *key, uint8_t id,
                        const uint8_t *value, CK_ULONG bytes)
{
    Login login = user(token);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE attributes[] = {
        { CKA_CLASS, &class, sizeof(class) },
        { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &yes, sizeof(yes) },
        { CKA_PRIVATE, &no, sizeof(no) },
        { CKA_WRAP, &yes, sizeof(yes) },
        { CKA_UNWRAP, &yes, sizeof(yes) },
        { CKA_VALUE, (void *)value, bytes },
        { CKA_LABEL, (void *)key, strlen(key) },
        { CKA_ID, &id, sizeof(id) },
    };
    CK_OBJECT_HANDLE handle;

    g_assert_cmpuint(login.module->C_CreateObject(login.session, attributes,
                                                  G_N_ELEMENTS(attributes),
                                                  &handle), ==, CKR_OK);
    unload(&login);
}
