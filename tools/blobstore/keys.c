/*
 * qemu-blobstore: commands that change how a store is encrypted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/qemu-progress.h"
#include "tool.h"

enum { PIECE_BYTES = 1 << 20 };

static bool check_sealed(const ToolStore *opened, bool sealed, GError **error)
{
    BlobStoreStatus info;

    blob_store_get_status(opened->store, &info);
    /* Until the conversion has ended, nobody knows what the store becomes. */
    return info.sealed == sealed || info.converting ||
           tool_fail(error, TOOL_EXIT_ERROR, "%s",
                     sealed ? "the store is not encrypted"
                            : "the store is already encrypted");
}

/* Starts the store, which ends an interrupted conversion. */
static bool coroutine_fn begin(ToolStore *opened, bool sealed, GError **error)
{
    return check_sealed(opened, sealed, error) &&
           blob_store_start(opened->store, error) &&
           check_sealed(opened, sealed, error);
}

static bool check_new_key(const Tool *tool, GError **error)
{
    return tool_names_key(&tool->new_key) ||
           tool_fail(error, TOOL_EXIT_USAGE, "no new key is given: "
                     "--new-key-secret or --new-key-uri is needed");
}

static bool choose_slot(const Tool *tool, const BlobKeySlots *slots,
                        unsigned *n, GError **error)
{
    int unused = blob_key_slots_find_unused(slots);

    *n = tool->slot;
    if (tool->slot == BLOB_KEY_SLOT_ANY) {
        *n = unused;
        return unused >= 0 || tool_fail(error, TOOL_EXIT_ERROR,
                                        "all key slots are in use");
    }
    return tool->replace || !blob_key_slots_is_used(slots, *n) ||
           tool_fail(error, TOOL_EXIT_ERROR, "that key slot is in use: use "
                     "another, or --replace");
}

bool coroutine_fn tool_key_add(Tool *tool, GError **error)
{
    g_autofree BlobKeySlots *slots = g_new(BlobKeySlots, 1);
    g_auto(ToolStore) opened = { 0 };
    unsigned n;

    if (!check_new_key(tool, error) ||
        !tool_open(tool, &tool->image, TOOL_WRITE, &opened, error)) {
        return false;
    }
    /* Nothing is written before all these questions are settled. */
    blob_store_get_key_slots(opened.store, slots);
    if (!check_sealed(&opened, true, error) ||
        !choose_slot(tool, slots, &n, error) ||
        !tool_put_key(tool, slots, n, opened.data_key, opened.uuid, error) ||
        !begin(&opened, true, error) ||
        !blob_store_set_key_slots(opened.store, opened.data_key, slots,
                                  error) ||
        !tool_finish(&opened, error)) {
        return false;
    }
    tool_say(tool, "key slot %u\n", n);
    return true;
}

bool coroutine_fn tool_key_remove(Tool *tool, GError **error)
{
    g_autofree BlobKeySlots *slots = g_new(BlobKeySlots, 1);
    g_auto(ToolStore) opened = { 0 };

    if (tool->slot == BLOB_KEY_SLOT_ANY) {
        return tool_fail(error, TOOL_EXIT_USAGE,
                         "which key slot? --slot is needed");
    }
    if (!tool_open(tool, &tool->image, TOOL_WRITE, &opened, error)) {
        return false;
    }
    blob_store_get_key_slots(opened.store, slots);
    return check_sealed(&opened, true, error) &&
           blob_key_slots_remove(slots, tool->slot, error) &&
           begin(&opened, true, error) &&
           blob_store_set_key_slots(opened.store, opened.data_key, slots,
                                    error) &&
           tool_finish(&opened, error);
}

/* Converts the store to @key (NULL: to a plain one), and shows progress. */
static bool coroutine_fn run_conversion(ToolStore *opened, BlobKey *key,
                                        const BlobKeySlots *slots,
                                        GError **error)
{
    BlobStoreStatus status;
    bool done = false;

    if (!blob_store_convert_begin(opened->store, key, slots, error)) {
        return false;
    }
    while (!done) {
        if (!blob_store_convert_next(opened->store, PIECE_BYTES, &done,
                                     error)) {
            return false;
        }
        blob_store_get_status(opened->store, &status);
        qemu_progress_print(100.0 * status.wiped / status.capacity, 0);
    }
    return tool_finish(opened, error);
}

/* Encrypts the store, which is @sealed or plain, with a new data key. */
static bool coroutine_fn seal(Tool *tool, bool sealed, GError **error)
{
    g_autofree BlobKeySlots *slots = g_new0(BlobKeySlots, 1);
    g_autoptr(BlobKey) key = NULL;
    g_auto(ToolStore) opened = { 0 };

    if (!check_new_key(tool, error) ||
        !tool_open(tool, &tool->image, TOOL_WRITE, &opened, error) ||
        !check_sealed(&opened, sealed, error)) {
        return false;
    }
    key = blob_key_new(error);
    return key && tool_put_key(tool, slots, 0, key, opened.uuid, error) &&
           begin(&opened, sealed, error) &&
           run_conversion(&opened, key, slots, error);
}

bool coroutine_fn tool_encrypt(Tool *tool, GError **error)
{
    return seal(tool, false, error);
}

bool coroutine_fn tool_rekey(Tool *tool, GError **error)
{
    return seal(tool, true, error);
}

bool coroutine_fn tool_decrypt(Tool *tool, GError **error)
{
    static const BlobKeySlots none;
    g_auto(ToolStore) opened = { 0 };

    return tool_open(tool, &tool->image, TOOL_WRITE, &opened, error) &&
           begin(&opened, true, error) &&
           run_conversion(&opened, NULL, &none, error);
}
