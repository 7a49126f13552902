/*
 * The token and the key that a PKCS#11 URI names
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hsm.h"

#include <p11-kit/p11-kit.h>
#include <string.h>

static void provision(void)
{
    hsm_add_token("box", HSM_PIN);
    hsm_add_aes("box", "aes", 0x01, 32);
    hsm_add_rsa("box", "rsa", 0x02, 2048);
    hsm_add_aes("box", "twins", 0x03, 32);
    hsm_add_aes("box", "twins", 0x04, 32);
    hsm_add_aes("box", "pair", 0x05, 32);
    hsm_add_rsa("box", "pair", 0x05, 2048);
    hsm_add_ec("box", "ec", 0x06);
    hsm_add_rsa("box", "short", 0x07, 1024);
    hsm_add_rsa_with("box", "careful", 0x08, 2048, CKA_DECRYPT, true);
    hsm_add_rsa_with("box", "signer", 0x09, 2048, CKA_SIGN, false);
    hsm_add_token("lonely", HSM_PIN);
    hsm_add_aes("lonely", "only", 0x01, 32);
    hsm_add_token("same", HSM_PIN);
    hsm_add_token("same", HSM_PIN);
}

static void expect_opens(const char *uri)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uri);
    hsm_unlock_ok(&slots, HSM_PIN);
}

static void expect_refused(const char *uri, const char *pattern)
{
    hsm_put_fails(uri, HSM_PIN, BLOBSTORE_ERROR_TOKEN, pattern);
}

static void test_key_is_found_by_any_of_its_names(void)
{
    expect_opens("pkcs11:token=box;object=rsa");
    expect_opens("pkcs11:token=box;id=%02");
    expect_opens("pkcs11:token=box;object=aes;id=%01;type=secret-key");
    expect_opens("pkcs11:token=box;object=rsa;type=private");
    expect_opens("pkcs11:object=aes;token=box;manufacturer=SoftHSM%20project");
    expect_opens("pkcs11:token=lonely");
}

static void test_absent_token_is_named_as_such(void)
{
    expect_refused("pkcs11:token=bax;object=aes",
                   "none of the 4 tokens of 1 PKCS#11 modules *");
    expect_refused("pkcs11:token=box;manufacturer=nobody", "none of the 4 *");
    expect_refused("pkcs11:token=box;library-manufacturer=nobody",
                   "none of the 0 *");
    expect_refused("pkcs11:token=box;slot-id=12345", "none of the 4 *");
    expect_refused("pkcs11:token=box;slot-manufacturer=nobody",
                   "none of the 4 *");
    g_assert_cmpint(hsm_shim()->logins, ==, 0);
}

/* The PIN is not presented to a token that the user may not mean. */
static void test_several_tokens_are_told_apart_by_serial(void)
{
    CK_FUNCTION_LIST **modules = p11_kit_modules_load_and_initialize(0);
    CK_SLOT_ID slots[16];
    CK_ULONG count = G_N_ELEMENTS(slots);
    unsigned looked_at = 0;

    expect_refused("pkcs11:token=same;object=aes",
                   "the URI names 2 tokens: token 'same' (serial *), "
                   "token 'same' (serial *): add token= or serial= to it");
    expect_refused("pkcs11:object=aes", "the URI names 4 tokens: *");
    g_assert_cmpint(hsm_shim()->logins, ==, 0);

    g_assert_cmpuint(modules[0]->C_GetSlotList(CK_TRUE, slots, &count), ==,
                     CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        g_autofree char *uri = NULL;
        CK_TOKEN_INFO info;

        g_assert_cmpuint(modules[0]->C_GetTokenInfo(slots[i], &info), ==,
                         CKR_OK);
        if (!strncmp((char *)info.label, "same ", 5)) {
            uri = g_strdup_printf("pkcs11:token=same;serial=%.16s",
                                  info.serialNumber);
            expect_refused(uri, "token 'same' (serial *): has no private or "
                           "secret key that the URI names");
            looked_at++;
        }
    }
    g_assert_cmpuint(looked_at, ==, 2);
    p11_kit_modules_finalize_and_release(modules);
}

static void test_absent_key_is_named_as_such(void)
{
    expect_refused("pkcs11:token=box;object=axs",
                   "token 'box' (serial *): has no private or secret key *");
    expect_refused("pkcs11:token=box;id=%7f", "*has no private or secret *");
    expect_refused("pkcs11:token=box;object=aes;id=%02", "*has no private *");
    expect_refused("pkcs11:token=box;object=aes;type=private",
                   "*has no private *");
}

static void test_several_keys_are_told_apart_by_id_or_type(void)
{
    expect_refused("pkcs11:token=box;object=twins",
                   "*names more than one key: secret key 'twins' (id 0?), "
                   "secret key 'twins' (id 0?): add id=*");
    expect_opens("pkcs11:token=box;object=twins;id=%03");
    expect_opens("pkcs11:token=box;object=twins;id=%04");
    expect_refused("pkcs11:token=box;object=pair",
                   "*names more than one key: private key 'pair' (id 05), "
                   "secret key 'pair' (id 05): *");
    expect_opens("pkcs11:token=box;object=pair;type=private");
    expect_opens("pkcs11:token=box;id=%05;type=secret-key");
    expect_refused("pkcs11:token=box", "*names more than one key*");
}

static void open_by_the_only_key(void)
{
    expect_opens("pkcs11:token=lonely;object=only");
}

/* Such a key may be one that another thread wraps or unwraps at the moment. */
static void test_keys_of_other_sessions_are_none_of_the_token(void)
{
    hsm_with_session_key("lonely", "only", 0x09, open_by_the_only_key);
}

/* A URI that named one key when the slot was made may name two now. */
static void test_key_must_still_be_the_only_one(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, "pkcs11:token=lonely");
    hsm_add_aes("lonely", "new", 0x02, 32);
    hsm_unlock_fails(&slots, HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                     "key slot 2, pkcs11:token=lonely: *more than one key*");
}

static void test_keys_that_cannot_be_used_are_refused(void)
{
    expect_refused("pkcs11:token=box;object=ec", "*neither RSA nor AES*");
    expect_refused("pkcs11:token=box;object=short",
                   "*RSA key has 1024 bits: use one of 2048 to 4096");
    expect_refused("pkcs11:token=box;object=careful",
                   "*wants the PIN again for each use*use another key");
    expect_refused("pkcs11:token=box;object=signer",
                   "*does not unwrap what it has wrapped, use another: *");
}

/*
 * The parts of a message that a token supplies cannot do anything to a
 * terminal.
 */
static void test_names_are_shown_printable(void)
{
    hsm_shim()->label = "\033[2J\n\377";
    expect_refused("pkcs11:token=%1b%5b2J%0a%ff",
                   "the URI names 4 tokens: token '\\033[2J\\n\\377' *");
}

int main(int argc, char **argv)
{
    hsm_init(&argc, &argv);
#define ADD(name) hsm_add("/pkcs11-keys/" #name, test_##name)
    ADD(key_is_found_by_any_of_its_names);
    ADD(absent_token_is_named_as_such);
    ADD(several_tokens_are_told_apart_by_serial);
    ADD(absent_key_is_named_as_such);
    ADD(several_keys_are_told_apart_by_id_or_type);
    ADD(keys_of_other_sessions_are_none_of_the_token);
    ADD(key_must_still_be_the_only_one);
    ADD(keys_that_cannot_be_used_are_refused);
    ADD(names_are_shown_printable);
    return hsm_run(provision);
}
