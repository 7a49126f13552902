/*
 * Blobstore core: key slots, the ways to the data key of a sealed store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "keyslot.h"

#include <string.h>
#include "keyslot-layout.h"
#include "wrap.h"

const char *blob_key_slot_type_name(BlobKeySlotType type)
{
    switch (type) {
    case BLOB_KEY_SLOT_UNUSED:
        return "unused";
    case BLOB_KEY_SLOT_PASSPHRASE:
        return "passphrase";
    case BLOB_KEY_SLOT_RAW:
        return "raw";
    case BLOB_KEY_SLOT_TOKEN:
        return "token";
    }
    return "unknown";
}

bool blob_key_slots_is_used(const BlobKeySlots *slots, unsigned n)
{
    BlobKeySlot slot;

    return n < BLOB_KEY_SLOTS && (!blob_key_slots_get(slots, n, &slot) ||
                                  slot.type != BLOB_KEY_SLOT_UNUSED);
}

bool blob_key_slots_get(const BlobKeySlots *slots, unsigned n,
                        BlobKeySlot *slot)
{
    return !slots->damaged[n] &&
           blob_key_slot_decode(slots->bytes[n], slot);
}

bool blob_key_slot_is_weak(const BlobKeySlot *slot)
{
    return slot->type == BLOB_KEY_SLOT_PASSPHRASE &&
           (slot->kdf_memory_kib < BLOB_KEY_KDF_MEMORY_KIB ||
            blob_key_slot_work(slot) <
            BLOB_KEY_KDF_MEMORY_KIB * BLOB_KEY_KDF_MIN_ITERATIONS);
}

int blob_key_slots_find_unused(const BlobKeySlots *slots)
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (!blob_key_slots_is_used(slots, n)) {
            return n;
        }
    }
    return -1;
}

unsigned blob_key_slots_count_used(const BlobKeySlots *slots)
{
    unsigned count = 0;

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        count += blob_key_slots_is_used(slots, n);
    }
    return count;
}

/* Whether another slot than @n can be opened with something */
static bool has_other_use(const BlobKeySlots *slots, unsigned n)
{
    for (unsigned other = 0; other < BLOB_KEY_SLOTS; other++) {
        BlobKeySlot slot;

        if (other != n && blob_key_slots_get(slots, other, &slot) &&
            slot.type != BLOB_KEY_SLOT_UNUSED) {
            return true;
        }
    }
    return false;
}

bool blob_key_slots_remove(BlobKeySlots *slots, unsigned n, GError **error)
{
    if (!blob_key_slots_is_used(slots, n)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "key slot %u is not in use", n);
        return false;
    }
    if (!has_other_use(slots, n)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "key slot %u is the last one in use: without it nobody "
                    "could open the store any more", n);
        return false;
    }
    memset(slots->bytes[n], 0, BLOB_KEY_SLOT_BYTES);
    slots->damaged[n] = false;
    return true;
}

/* Whether @credential can be tried on a slot of this kind at all */
static bool is_wanted(const BlobKeySlot *slot,
                      const BlobCredential *credential)
{
    const BlobSecret *secret = credential->secret;

    switch (slot->type) {
    case BLOB_KEY_SLOT_PASSPHRASE:
        return secret;
    case BLOB_KEY_SLOT_RAW:
        return secret && secret->bytes == BLOB_KEY_RAW_BYTES;
    case BLOB_KEY_SLOT_TOKEN:
        return credential->token && !secret &&
               (!credential->uri || !strcmp(credential->uri, slot->uri));
    default:
        return false;
    }
}

/* What has been found out on the way */
typedef struct Attempt {
    const BlobKeySlots *slots;
    const uint8_t *uuid;
    const BlobCredential *credential;
    unsigned tried;             /* a bit for each slot */
    unsigned failed;            /* the same: which could not be tried */
    unsigned costly;            /* the same: which would cost too much */
    uint64_t work;              /* what passphrases have cost so far */
    GError *failure;            /* why the first of them could not, or NULL */
    GError *error;              /* why trying has to end, or NULL */
} Attempt;

static BlobKey *try_slot(Attempt *attempt, unsigned n, BlobKeySlotType type)
{
    const BlobCredential *credential = attempt->credential;
    GError *error = NULL;
    BlobKeySlot slot;
    BlobKey *key;

    if ((credential->slot >= 0 && (unsigned)credential->slot != n) ||
        !blob_key_slots_get(attempt->slots, n, &slot) || slot.type != type ||
        !is_wanted(&slot, credential)) {
        return NULL;
    }
    /* R15: the supplier of an image chooses the work for all slots at once. */
    if (blob_key_slot_work(&slot) > BLOB_KEY_WORK_ALL_KIB - attempt->work) {
        attempt->costly |= 1u << n;
        return NULL;
    }
    attempt->work += blob_key_slot_work(&slot);
    key = blob_wrap_open(&slot, n, attempt->uuid, credential, &error);
    if (error && type == BLOB_KEY_SLOT_PASSPHRASE &&
        g_error_matches(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY)) {
        /* It may want more memory than there is here; others need not. */
        attempt->failed |= 1u << n;
        attempt->work -= blob_key_slot_work(&slot);
        if (!attempt->failure) {
            attempt->failure = g_steal_pointer(&error);
        }
        g_clear_error(&error);
        return NULL;
    }
    attempt->tried |= 1u << n;
    attempt->error = error;
    return key;
}

static void append_slots(GString *text, const char *what, unsigned mask)
{
    const char *separator = " ";

    if (!mask) {
        return;
    }
    g_string_append_printf(text, "; %s:", what);
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        if (mask & 1u << n) {
            g_string_append_printf(text, "%s%u", separator, n);
            separator = ", ";
        }
    }
}

/* Why none of the slots opened: which there are, and which were tried */
static void explain(const Attempt *attempt, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned damaged = 0;
    unsigned of_type[BLOB_KEY_SLOT_TOKEN + 1] = { 0 };

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        if (!blob_key_slots_get(attempt->slots, n, &slot)) {
            damaged |= 1u << n;
        } else if (!((attempt->tried | attempt->failed | attempt->costly) &
                     1u << n)) {
            of_type[slot.type] |= 1u << n;
        }
    }
    g_string_append(text, attempt->tried
                    ? "the key is wrong: no key slot opens with it"
                    : "no key slot can be tried with the key that was given");
    append_slots(text, "tried", attempt->tried);
    append_slots(text, "could not be tried", attempt->failed);
    if (attempt->failure) {
        g_string_append_printf(text, " (%s)", attempt->failure->message);
    }
    append_slots(text, "not tried, because all of them together would take "
                 "too much work (name one to try it alone)", attempt->costly);
    append_slots(text, "not tried, want a passphrase",
                 of_type[BLOB_KEY_SLOT_PASSPHRASE]);
    append_slots(text, "not tried, want a raw secret of 32 bytes",
                 of_type[BLOB_KEY_SLOT_RAW]);
    append_slots(text, "not tried, want a token",
                 of_type[BLOB_KEY_SLOT_TOKEN]);
    append_slots(text, "damaged", damaged);
    g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_KEY,
                        text->str);
}

static bool check_number(const BlobKeySlots *slots, int n, GError **error)
{
    if (n == BLOB_KEY_SLOT_ANY) {
        return true;
    }
    if (n < 0 || !blob_key_slots_is_used(slots, n)) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "key slot %d is not in use", n);
        return false;
    }
    return true;
}

static BlobKey *try_slots(Attempt *attempt)
{
    /* The quick ones first */
    static const BlobKeySlotType order[] = {
        BLOB_KEY_SLOT_RAW, BLOB_KEY_SLOT_TOKEN, BLOB_KEY_SLOT_PASSPHRASE,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
            BlobKey *key = try_slot(attempt, n, order[i]);

            if (key || attempt->error) {
                return key;
            }
        }
    }
    explain(attempt, &attempt->error);
    return NULL;
}

BlobKey *blob_key_slots_unlock(const BlobKeySlots *slots,
                               const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                               const BlobCredential *credential,
                               GError **error)
{
    Attempt attempt = {
        .slots = slots,
        .uuid = uuid,
        .credential = credential,
    };
    BlobKey *key;

    if (!check_number(slots, credential->slot, error) ||
        !blob_wrap_check_secret(credential->secret, error)) {
        return NULL;
    }
    key = try_slots(&attempt);
    g_clear_error(&attempt.failure);
    if (attempt.error) {
        g_propagate_error(error, attempt.error);
    }
    return key;
}

bool blob_key_slots_put(BlobKeySlots *slots, unsigned n, const BlobKey *key,
                        const uint8_t uuid[BLOB_KEY_UUID_BYTES],
                        BlobKeySlotType type,
                        const BlobCredential *credential,
                        unsigned milliseconds, GError **error)
{
    BlobKeySlot slot = { .type = type };
    BlobKeySlot read_back;
    uint8_t bytes[BLOB_KEY_SLOT_BYTES];

    if (n >= BLOB_KEY_SLOTS) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                    "there are key slots 0 to %d", BLOB_KEY_SLOTS - 1);
        return false;
    }
    if (!blob_wrap_make(&slot, n, key, uuid, credential, milliseconds,
                        error)) {
        return false;
    }
    /* S4: what could not be read back would open nothing. */
    blob_key_slot_encode(&slot, bytes);
    if (!blob_key_slot_decode(bytes, &read_back)) {
        g_set_error(error, BLOBSTORE_ERROR,
                    type == BLOB_KEY_SLOT_TOKEN ? BLOBSTORE_ERROR_TOKEN
                                                : BLOBSTORE_ERROR_INVALID,
                    "key slot %u, of type %s, would not open: it is not as "
                    "the format wants it", n, blob_key_slot_type_name(type));
        return false;
    }
    memcpy(slots->bytes[n], bytes, sizeof(bytes));
    slots->damaged[n] = false;
    return true;
}
