/*
 * qemu-blobstore: commands that change how a store is encrypted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/qemu-progress.h"
#include "tool.h"

enum { PIECE_BYTES = 1 << 20 };

static bool invalid(GError **error, const char *text)
{
    g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_INVALID,
                        text);
    return false;
}

static bool check_sealed(Tool *tool, bool sealed, GError **error)
{
    BlobStoreStatus info;

    blob_store_get_status(tool->store, &info);
    if (info.blank) {
        return invalid(error, "the image is blank");
    }
    /* Until the conversion has ended, nobody knows what the store becomes. */
    if (info.sealed != sealed && !info.converting) {
        return invalid(error, sealed ? "the store is not encrypted"
                                     : "the store is already encrypted");
    }
    return true;
}

/* Starts the store, which ends an interrupted conversion. */
static bool coroutine_fn begin(Tool *tool, bool sealed, GError **error)
{
    return check_sealed(tool, sealed, error) &&
           blob_store_start(tool->store, error) &&
           check_sealed(tool, sealed, error);
}

static int coroutine_fn end(Tool *tool, bool ok, GError **error)
{
    return ok && blob_store_close_clean(tool->store, error)
           ? TOOL_EXIT_OK : TOOL_EXIT_ERROR;
}

/* Makes slot @n of @slots hold @key, as the new key of the command line. */
static bool put_key(Tool *tool, BlobKeySlots *slots, unsigned n,
                    const BlobKey *key, GError **error)
{
    const BlobStoreKeySource *source = &tool->new_key;
    g_auto(BlobStoreCredential) credential = { 0 };

    if (!tool_names_key(source)) {
        return invalid(error, "no new key is given: --new-key-secret or "
                       "--new-key-uri is needed");
    }
    return blobstore_credential_load(source, &credential, error) &&
           blob_key_slots_put(slots, n, key, tool->uuid,
                              blobstore_credential_slot_type(source),
                              &credential.core, source->iter_time, error);
}

static bool choose_slot(const Tool *tool, const BlobKeySlots *slots,
                        unsigned *n, GError **error)
{
    int unused = blob_key_slots_find_unused(slots);

    *n = tool->slot;
    if (tool->slot == BLOB_KEY_SLOT_ANY) {
        *n = unused;
        return unused >= 0 || invalid(error, "all key slots are in use");
    }
    return tool->replace || !blob_key_slots_is_used(slots, *n) ||
           invalid(error, "that key slot is in use: use another, or "
                   "--replace");
}

static bool coroutine_fn add(Tool *tool, GError **error)
{
    g_autofree BlobKeySlots *slots = g_new(BlobKeySlots, 1);
    unsigned n;

    /* Nothing is written before all these questions are settled. */
    blob_store_get_key_slots(tool->store, slots);
    if (!check_sealed(tool, true, error) ||
        !choose_slot(tool, slots, &n, error) ||
        !put_key(tool, slots, n, tool->data_key, error) ||
        !begin(tool, true, error) ||
        !blob_store_set_key_slots(tool->store, tool->data_key, slots,
                                  error)) {
        return false;
    }
    printf("key slot %u\n", n);
    return true;
}

int coroutine_fn tool_key_add(Tool *tool, GError **error)
{
    return end(tool, add(tool, error), error);
}

static bool coroutine_fn remove_key(Tool *tool, GError **error)
{
    g_autofree BlobKeySlots *slots = g_new(BlobKeySlots, 1);

    if (tool->slot == BLOB_KEY_SLOT_ANY) {
        return invalid(error, "which key slot? --slot is needed");
    }
    blob_store_get_key_slots(tool->store, slots);
    return check_sealed(tool, true, error) &&
           blob_key_slots_remove(slots, tool->slot, error) &&
           begin(tool, true, error) &&
           blob_store_set_key_slots(tool->store, tool->data_key, slots,
                                    error);
}

int coroutine_fn tool_key_remove(Tool *tool, GError **error)
{
    return end(tool, remove_key(tool, error), error);
}

/* Converts the store to @key (NULL: to a plain one), and shows progress. */
static bool coroutine_fn run_conversion(Tool *tool, BlobKey *key,
                                        const BlobKeySlots *slots,
                                        GError **error)
{
    BlobStoreStatus status;
    bool done = false;

    if (!blob_store_convert_begin(tool->store, key, slots, error)) {
        return false;
    }
    while (!done) {
        if (!blob_store_convert_next(tool->store, PIECE_BYTES, &done,
                                     error)) {
            return false;
        }
        blob_store_get_status(tool->store, &status);
        qemu_progress_print(100.0 * status.wiped / status.capacity, 0);
    }
    return true;
}

static bool coroutine_fn convert(Tool *tool, bool sealed, GError **error)
{
    g_autofree BlobKeySlots *slots = g_new0(BlobKeySlots, 1);
    g_autoptr(BlobKey) key = NULL;

    if (!check_sealed(tool, sealed, error)) {
        return false;
    }
    key = blob_key_new(error);
    return key && put_key(tool, slots, 0, key, error) &&
           begin(tool, sealed, error) &&
           run_conversion(tool, key, slots, error);
}

int coroutine_fn tool_encrypt(Tool *tool, GError **error)
{
    return end(tool, convert(tool, false, error), error);
}

int coroutine_fn tool_rekey(Tool *tool, GError **error)
{
    return end(tool, convert(tool, true, error), error);
}

int coroutine_fn tool_decrypt(Tool *tool, GError **error)
{
    static const BlobKeySlots none;

    return end(tool, begin(tool, true, error) &&
               run_conversion(tool, NULL, &none, error), error);
}
