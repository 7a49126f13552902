/*
 * The PKCS#11 URIs that a key slot may have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hsm.h"

#include <string.h>

static void provision(void)
{
    hsm_add_token("box", HSM_PIN);
    hsm_add_aes("box", "key", 1, 32);
}

/* The URI is refused before any module is loaded. */
static void expect_refused(const char *uri, const char *pattern)
{
    hsm_put_fails(uri, HSM_PIN, BLOBSTORE_ERROR_INVALID, pattern);
    g_assert_cmpint(hsm_shim()->calls, ==, 0);
}

static void test_uri_has_no_pin(void)
{
    expect_refused("pkcs11:token=box;object=key?pin-value=1234-user",
                   "*'pin-value'*give the PIN as a secret");
    expect_refused("pkcs11:token=box;object=key;pin-value=1234-user",
                   "*'pin-value'*");
    expect_refused("pkcs11:token=box;object=key?pin-source=/etc/shadow",
                   "*'pin-source'*");
    expect_refused("pkcs11:token=box;pin-source=file:/etc/shadow",
                   "*'pin-source'*");
    expect_refused("pkcs11:token=box;pinfile=/etc/shadow", "*'pin-source'*");
}

static void test_pin_in_a_uri_is_not_shown(void)
{
    BlobKeySlots slots = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(hsm_put(&slots, "pkcs11:token=box?pin-value=1234-user",
                           NULL, &error));
    g_assert_null(strstr(error->message, "1234-user"));
}

static void test_uri_chooses_no_module(void)
{
    expect_refused("pkcs11:token=box?module-path=/tmp/evil.so",
                   "*'module-path'*p11-kit configuration");
    expect_refused("pkcs11:token=box?module-name=evil", "*'module-name'*");
    expect_refused("pkcs11:token=box;module-path=/tmp/evil.so",
                   "*does not know*");
}

static void test_unknown_attributes_are_refused(void)
{
    expect_refused("pkcs11:token=box?x-vendor=1", "*behind a '?'*");
    expect_refused("pkcs11:token=box?", "*behind a '?'*");
    expect_refused("pkcs11:token=box;x-vendor=1", "*does not know*");
    expect_refused("pkcs11:token=box;type=key", "*does not know*");
}

static void test_uri_names_what_unwraps(void)
{
    expect_refused("pkcs11:token=box;type=public", "*type*must be unwrapped*");
    expect_refused("pkcs11:token=box;type=cert", "*type*");
    expect_refused("pkcs11:token=box;type=data", "*type*");
}

/* p11-kit ignores attributes that follow an empty one. */
static void test_malformed_uris_are_refused(void)
{
    g_autofree char *text = g_strnfill(BLOB_KEY_URI_MAX_BYTES, 'x');
    g_autofree char *long_uri = g_strdup_printf("pkcs11:object=%s", text);

    expect_refused("", "the PKCS#11 URI of the key has 1 to 383 bytes");
    expect_refused(long_uri, "the PKCS#11 URI of the key has 1 to 383 bytes");
    expect_refused("file:/etc/passwd", "*cannot be read: *scheme*");
    expect_refused("pkcs11:token", "*cannot be read: *");
    expect_refused("pkcs11:token=%4", "*cannot be read: *");
    expect_refused("pkcs11:token=box;;object=key", "*empty attribute");
    expect_refused("pkcs11:;object=key", "*empty attribute");
    expect_refused("pkcs11:token=my box", "*as %XX");
    expect_refused("pkcs11:token=box\n", "*as %XX");
    expect_refused("pkcs11:token=b\303\266x", "*as %XX");
    expect_refused("pkcs11:token=\033[2J", "*as %XX");
}

/* A URI in an image is trusted as little as one from the user. */
static void test_uri_of_an_image_is_checked_too(void)
{
    static const char *const bad[] = {
        "pkcs11:token=box;object=key?module-path=/tmp/evil.so",
        "pkcs11:token=box;object=key?pin-source=/etc/shadow",
        "pkcs11:token=box;object=key;pin-value=1234-user",
        "pkcs11:token=box;object=key?x-vendor=1",
        "pkcs11:token=box;;object=key",
        "pkcs11:token=box;type=public",
    };
    BlobKeySlots slots = { 0 };

    hsm_put_ok(&slots, "pkcs11:token=box;object=key");
    hsm_unlock_ok(&slots, HSM_PIN);
    hsm_shim()->calls = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        BlobKeySlots forged = slots;

        strcpy((char *)forged.bytes[2] + 128, bad[i]);
        hsm_unlock_fails(&forged, HSM_PIN, BLOBSTORE_ERROR_INVALID,
                         "key slot 2*the PKCS#11 URI has*");
        g_assert_cmpint(hsm_shim()->calls, ==, 0);
    }
}

int main(int argc, char **argv)
{
    hsm_init(&argc, &argv);
#define ADD(name) hsm_add("/pkcs11-uri/" #name, test_##name)
    ADD(uri_has_no_pin);
    ADD(pin_in_a_uri_is_not_shown);
    ADD(uri_chooses_no_module);
    ADD(unknown_attributes_are_refused);
    ADD(uri_names_what_unwraps);
    ADD(malformed_uris_are_refused);
    ADD(uri_of_an_image_is_checked_too);
    return hsm_run(provision);
}
