/*
 * Blobstore: the token that a PKCS#11 URI names
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "pkcs11-private.h"

#include <string.h>

enum { MAX_SLOTS = 4096 };      /* of a module, lest it takes all memory */

/* A field of a token, which is padded with blanks and may be anything */
static char *printable(const CK_UTF8CHAR *text, size_t max)
{
    g_autofree char *copy = g_strndup((const char *)text,
                                      p11_kit_space_strlen(text, max));

    return g_strescape(copy, NULL);
}

char *blob_pkcs11_describe_token(const CK_TOKEN_INFO *info)
{
    g_autofree char *label = printable(info->label, sizeof(info->label));
    g_autofree char *serial = printable(info->serialNumber,
                                        sizeof(info->serialNumber));

    return g_strdup_printf("token '%s' (serial %s)", label, serial);
}

/* What has been seen on the way */
typedef struct Search {
    P11KitUri *uri;
    unsigned modules;
    unsigned tokens;
    unsigned matches;
    BlobPkcs11Token match;
    GString *names;             /* of the tokens that match */
} Search;

static bool slot_matches(const Search *search, CK_FUNCTION_LIST *module,
                         CK_SLOT_ID slot)
{
    CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(search->uri);
    CK_SLOT_INFO info;

    return (wanted == (CK_SLOT_ID)-1 || wanted == slot) &&
           module->C_GetSlotInfo(slot, &info) == CKR_OK &&
           p11_kit_uri_match_slot_info(search->uri, &info);
}

static void look_at_slot(Search *search, CK_FUNCTION_LIST *module,
                         CK_SLOT_ID slot)
{
    BlobPkcs11Token token = { module, slot };
    g_autofree char *name = NULL;

    /* One that is not initialised has neither a PIN nor keys. */
    if (module->C_GetTokenInfo(slot, &token.info) != CKR_OK ||
        !(token.info.flags & CKF_TOKEN_INITIALIZED)) {
        return;
    }
    search->tokens++;
    if (!slot_matches(search, module, slot) ||
        !p11_kit_uri_match_token_info(search->uri, &token.info)) {
        return;
    }
    name = blob_pkcs11_describe_token(&token.info);
    g_string_append_printf(search->names, "%s%s",
                           search->matches ? ", " : "", name);
    search->match = token;
    search->matches++;
}

/* A module that fails has no tokens: it may be that of a missing reader. */
static void look_at_module(Search *search, CK_FUNCTION_LIST *module)
{
    g_autofree CK_SLOT_ID *slots = NULL;
    CK_ULONG count = 0;
    CK_INFO info;

    search->modules++;
    if (module->C_GetInfo(&info) != CKR_OK ||
        !p11_kit_uri_match_module_info(search->uri, &info) ||
        /* Without an array: that makes some look for new slots. */
        module->C_GetSlotList(CK_TRUE, NULL, &count) != CKR_OK) {
        return;
    }
    slots = g_new0(CK_SLOT_ID, MAX_SLOTS);
    count = MAX_SLOTS;
    if (module->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK ||
        count > MAX_SLOTS) {
        return;
    }
    for (CK_ULONG i = 0; i < count; i++) {
        look_at_slot(search, module, slots[i]);
    }
}

bool blob_pkcs11_find_token(CK_FUNCTION_LIST **modules, P11KitUri *uri,
                            BlobPkcs11Token *token, GError **error)
{
    g_autoptr(GString) names = g_string_new(NULL);
    Search search = { .uri = uri, .names = names };

    for (unsigned i = 0; modules[i]; i++) {
        look_at_module(&search, modules[i]);
    }
    if (!search.matches) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "none of the %u tokens of %u PKCS#11 modules is the one "
                    "that the URI names: connect it, or add its module to "
                    "the host's p11-kit configuration",
                    search.tokens, search.modules);
        return false;
    }
    if (search.matches > 1) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_TOKEN,
                    "the URI names %u tokens: %s: add token= or serial= to "
                    "it",
                    search.matches, names->str);
        return false;
    }
    *token = search.match;
    return true;
}
