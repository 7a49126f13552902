/*
 * PINs, and tokens that fail or lie
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hsm.h"

#include <string.h>

static const char *const uris[] = {
    "pkcs11:token=box;object=rsa", "pkcs11:token=box;object=aes",
};
static const char public_uri[] = "pkcs11:token=box;object=public";

static void provision(void)
{
    static const uint8_t value[32] = { 'k' };

    hsm_add_token("box", HSM_PIN);
    hsm_add_rsa("box", "rsa", 1, 2048);
    hsm_add_aes("box", "aes", 2, 32);
    hsm_add_public_aes("box", "public", 3, value, sizeof(value));
    hsm_add_token("new", NULL);
}

/*
 * The PIN is refused with @slots of uris[0], and while there are no slots yet.
 */
static void expect_refused(const BlobKeySlots *slots, const char *pin,
                           const char *pattern, int logins)
{
    g_autofree char *both = g_strdup_printf("*token 'box' (serial *): %s",
                                            pattern);

    hsm_shim()->logins = 0;
    hsm_unlock_fails(slots, pin, BLOBSTORE_ERROR_TOKEN, both);
    g_assert_cmpint(hsm_shim()->logins, ==, logins);
    hsm_shim()->logins = 0;
    hsm_put_fails(uris[0], pin, BLOBSTORE_ERROR_TOKEN, both);
    g_assert_cmpint(hsm_shim()->logins, ==, logins);
}

static void test_pin_is_presented_once(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(uris); i++) {
        BlobKeySlots slots = { 0 };

        hsm_shim()->logins = 0;
        hsm_put_ok(&slots, uris[i]);
        g_assert_cmpint(hsm_shim()->logins, ==, 1);
        hsm_unlock_ok(&slots, HSM_PIN);
        g_assert_cmpint(hsm_shim()->logins, ==, 2);
    }
}

static void test_what_a_token_wraps_is_private_to_its_user(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uris[1]);
    hsm_unlock_ok(&slots, HSM_PIN);
    g_assert_cmpint(hsm_shim()->public_objects, ==, 0);
}

/* After a wrong PIN no other slot with the same token is tried. */
static void test_wrong_pin_is_tried_once(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uris[0]);
    memcpy(slots.bytes[5], slots.bytes[2], BLOB_KEY_SLOT_BYTES);
    expect_refused(&slots, "1234-usex", "the PIN is wrong; it was tried once*",
                   1);
    hsm_unlock_ok(&slots, HSM_PIN);
}

static void test_pin_is_not_shown(void)
{
    BlobKeySlots slots = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(hsm_put(&slots, uris[0], "wrong-pin", &error));
    g_assert_null(strstr(error->message, "wrong-pin"));
}

static void test_without_a_pin_none_is_tried(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uris[0]);
    expect_refused(&slots, NULL, "it wants a PIN, and none was given", 0);
    expect_refused(&slots, "", "it wants a PIN, and none was given", 0);
}

/* A file that an editor wrote has a newline at its end. */
static void test_pin_with_a_newline_is_not_tried(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uris[0]);
    expect_refused(&slots, HSM_PIN "\n",
                   "the PIN was not tried: there is a newline*", 0);
}

static void test_pin_is_not_tried_where_it_could_lock_the_token(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uris[0]);
    hsm_shim()->set_flags = CKF_USER_PIN_LOCKED;
    expect_refused(&slots, HSM_PIN, "its PIN is locked: unlock it*", 0);
    hsm_shim()->set_flags = CKF_USER_PIN_FINAL_TRY;
    expect_refused(&slots, HSM_PIN, "one more wrong PIN would lock it, so "
                   "none was tried*", 0);
    /* A PIN may be tried if this is not the last attempt. */
    hsm_shim()->set_flags = CKF_USER_PIN_COUNT_LOW;
    hsm_unlock_ok(&slots, HSM_PIN);
}

static void test_pin_is_not_tried_where_there_is_none(void)
{
    BlobKeySlots slots = { 0 };

    hsm_put_fails("pkcs11:token=new;object=aes", HSM_PIN,
                  BLOBSTORE_ERROR_TOKEN,
                  "token 'new' (serial *): its user PIN has not been set*");
    g_assert_cmpint(hsm_shim()->logins, ==, 0);

    hsm_put_ok(&slots, uris[0]);
    hsm_shim()->set_flags = CKF_PROTECTED_AUTHENTICATION_PATH;
    expect_refused(&slots, HSM_PIN, "it takes its PIN at a keypad of its own "
                   "only, which is not supported", 0);
}

static void test_what_a_token_says_to_a_pin_is_told(void)
{
    static const struct {
        CK_RV rv;
        CK_FLAGS flags;
        const char *pattern;
    } answers[] = {
        { CKR_PIN_LOCKED, 0, "its PIN is locked: unlock it*" },
        { CKR_PIN_EXPIRED, 0, "its PIN has expired*" },
        { CKR_PIN_LEN_RANGE, 0, "the PIN is too short, too long*" },
        { CKR_PIN_INVALID, 0, "the PIN is too short, too long*" },
        { CKR_PIN_INCORRECT, CKF_USER_PIN_FINAL_TRY,
          "the PIN is wrong; one more wrong one locks the token" },
        { CKR_PIN_INCORRECT, CKF_USER_PIN_LOCKED,
          "the PIN is wrong, and locked now*" },
        { CKR_DEVICE_REMOVED, 0, "cannot log in: * (0x32)" },
    };
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, uris[0]);
    hsm_shim()->fail = SHIM_LOGIN;
    for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++) {
        hsm_shim()->rv = answers[i].rv;
        hsm_shim()->flags_after_login = answers[i].flags;
        expect_refused(&slots, HSM_PIN, answers[i].pattern, 1);
    }
}

static void test_token_that_wants_no_login_gets_no_pin(void)
{
    BlobKeySlots slots = { 0 };
    g_autoptr(GError) error = NULL;

    hsm_shim()->clear_flags = CKF_LOGIN_REQUIRED;
    hsm_put(&slots, public_uri, NULL, &error);
    g_assert_no_error(error);
    hsm_unlock_ok(&slots, NULL);
    hsm_unlock_ok(&slots, "some PIN");
    g_assert_cmpint(hsm_shim()->logins, ==, 0);
    /* The token needs a PIN after all. */
    hsm_shim()->clear_flags = 0;
    hsm_unlock_ok(&slots, HSM_PIN);
}

/*
 * Each call fails in turn, including those that clean up.  Either the failure
 * does not matter, or the error names it, and nothing stays behind.
 */
static void fail_everywhere(const char *uri, CK_RV rv)
{
    Shim *shim = hsm_shim();
    BlobKeySlots good = { 0 };
    int put_calls, unlock_calls;

    *shim = (Shim) { 0 };
    hsm_put_ok(&good, uri);
    put_calls = shim->calls;
    hsm_unlock_ok(&good, HSM_PIN);
    unlock_calls = shim->calls - put_calls;
    g_assert_cmpint(put_calls, >, unlock_calls);
    g_assert_cmpint(unlock_calls, >, 15);
    for (int i = 1; i <= put_calls + unlock_calls; i++) {
        BlobKeySlots slots = { 0 };
        BlobCredential credential = {
            .token = blob_pkcs11_token(),
            .pin = HSM_PIN,
            .slot = 2,
        };
        g_autoptr(BlobKey) key = NULL;
        g_autoptr(GError) error = NULL;
        bool is_put = i <= put_calls;
        bool ok;

        *shim = (Shim) { .fail_at = is_put ? i : i - put_calls, .rv = rv };
        if (is_put) {
            ok = hsm_put(&slots, uri, HSM_PIN, &error);
        } else {
            key = blob_key_slots_unlock(&good, hsm_uuid, &credential, &error);
            ok = key;
        }
        g_assert_cmpint(shim->calls, >=, shim->fail_at);
        g_assert_cmpint(shim->logins, <=, 1);
        g_assert_cmpint(shim->initialized, ==, 0);
        *shim = (Shim) { 0 };
        if (!ok) {
            g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN);
        } else if (is_put) {
            hsm_unlock_ok(&slots, HSM_PIN);
        } else {
            g_assert_true(blob_key_equal(key, keys_data_key(1)));
        }
    }
}

static void test_every_failure_is_reported_and_tidied_up(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(uris); i++) {
        fail_everywhere(uris[i], CKR_DEVICE_ERROR);
    }
}

/* Whatever length a token claims, no more is read than the buffer holds. */
static void test_lies_about_lengths_are_caught(void)
{
    static const struct {
        ShimCall call;
        CK_ATTRIBUTE_TYPE attribute;
        unsigned uri;
        bool in_put;            /* only in put; else in unlock too */
    } lies[] = {
        { SHIM_DECRYPT, 0, 0 },
        { SHIM_GET_ATTRIBUTE, CKA_VALUE, 1 },
        { SHIM_WRAP, 0, 1, true },
        { SHIM_GET_ATTRIBUTE, CKA_MODULUS, 0, true },
    };
    static const CK_ULONG lengths[] = {
        0, 1, 55, 57, 65, 513, 4096, CK_UNAVAILABLE_INFORMATION,
    };
    Shim *shim = hsm_shim();

    for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
        BlobKeySlots slots = { 0 };

        hsm_put_ok(&slots, uris[lies[i].uri]);
        shim->lie = lies[i].call;
        shim->lie_attribute = lies[i].attribute;
        for (unsigned n = 0; n < G_N_ELEMENTS(lengths); n++) {
            shim->lie_bytes = lengths[n];
            hsm_put_fails(uris[lies[i].uri], HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                          "token 'box' *");
            if (!lies[i].in_put) {
                hsm_unlock_fails(&slots, HSM_PIN, BLOBSTORE_ERROR_KEY,
                                 "*does not unwrap*");
            }
        }
        shim->lie = SHIM_NONE;
        hsm_unlock_ok(&slots, HSM_PIN);
    }
}

static void test_lies_about_numbers_are_caught(void)
{
    static const CK_ULONG numbers[] = {
        4097, 1ul << 40, CK_UNAVAILABLE_INFORMATION,
    };
    Shim *shim = hsm_shim();

    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
        shim->lie_bytes = numbers[i];
        shim->lie = SHIM_GET_SLOT_LIST;
        hsm_put_fails(uris[0], HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                      "none of the 0 tokens *");
        shim->lie = SHIM_FIND;
        hsm_put_fails(uris[0], HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                      "token 'box' *cannot look for the key*");
    }
}

/* An id is only shown, and no more of it than exists. */
static void test_lies_about_names_are_caught(void)
{
    static const CK_ULONG lengths[] = { 65, 4096, CK_UNAVAILABLE_INFORMATION };
    Shim *shim = hsm_shim();

    shim->lie = SHIM_GET_ATTRIBUTE;
    shim->lie_attribute = CKA_ID;
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        shim->lie_bytes = lengths[i];
        hsm_put_fails("pkcs11:token=box", HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                      "*more than one key: private key 'rsa' (id ), *");
    }
}

/* A slot is not made if unwrapping gives something else than was wrapped. */
static void test_lies_about_content_are_caught(void)
{
    hsm_shim()->garble = true;
    hsm_put_fails(uris[0], HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                  "*does not unwrap what it has wrapped, use another: "
                  "what comes out is something else");
}

static void test_what_failed_is_told(void)
{
    static const struct {
        ShimCall call;
        unsigned uri;
        const char *pattern;
    } failures[] = {
        { SHIM_INITIALIZE, 0, "the PKCS#11 modules *cannot be loaded: *" },
        { SHIM_OPEN_SESSION, 0, "token 'box' *: cannot open a session: *" },
        { SHIM_FIND_INIT, 0, "token 'box' *: cannot look for the key: *" },
        { SHIM_FIND, 0, "token 'box' *: cannot look for the key: *" },
        { SHIM_GET_ATTRIBUTE, 0, "token 'box' *: does not say what kind *" },
        { SHIM_DECRYPT_INIT, 0, "token 'box' *: cannot unwrap by RSA-OAEP *" },
        { SHIM_DECRYPT, 0, "token 'box' *: cannot unwrap: *" },
        { SHIM_CREATE_OBJECT, 1, "token 'box' *: does not take a key *" },
        { SHIM_WRAP, 1, "token 'box' *: cannot wrap by AES key wrap: *" },
        { SHIM_UNWRAP, 1, "token 'box' *: cannot unwrap: *" },
    };

    hsm_shim()->rv = CKR_DEVICE_REMOVED;
    for (unsigned i = 0; i < G_N_ELEMENTS(failures); i++) {
        hsm_shim()->fail = failures[i].call;
        hsm_put_fails(uris[failures[i].uri], HSM_PIN, BLOBSTORE_ERROR_TOKEN,
                      failures[i].pattern);
    }
}

enum { THREADS = 4, ROUNDS = 5 };

static gpointer unlock_often(gpointer slots)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        hsm_unlock_ok(slots, HSM_PIN);
    }
    return NULL;
}

/* The threads share one login, whoever came first or is the last to go. */
static void test_threads_do_not_disturb_each_other(void)
{
    BlobKeySlots slots[G_N_ELEMENTS(uris)] = { 0 };
    GThread *threads[THREADS];

    keys_data_key(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(uris); i++) {
        hsm_put_ok(&slots[i], uris[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("unlock", unlock_often,
                                  &slots[i % G_N_ELEMENTS(uris)]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
}

int main(int argc, char **argv)
{
    hsm_init(&argc, &argv);
#define ADD(name) hsm_add("/pkcs11-login/" #name, test_##name)
    ADD(pin_is_presented_once);
    ADD(what_a_token_wraps_is_private_to_its_user);
    ADD(wrong_pin_is_tried_once);
    ADD(pin_is_not_shown);
    ADD(without_a_pin_none_is_tried);
    ADD(pin_with_a_newline_is_not_tried);
    ADD(pin_is_not_tried_where_it_could_lock_the_token);
    ADD(pin_is_not_tried_where_there_is_none);
    ADD(what_a_token_says_to_a_pin_is_told);
    ADD(token_that_wants_no_login_gets_no_pin);
    ADD(every_failure_is_reported_and_tidied_up);
    ADD(lies_about_lengths_are_caught);
    ADD(lies_about_numbers_are_caught);
    ADD(lies_about_names_are_caught);
    ADD(lies_about_content_are_caught);
    ADD(what_failed_is_told);
    ADD(threads_do_not_disturb_each_other);
    return hsm_run(provision);
}
