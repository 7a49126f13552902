/*
 * qemu-blobstore: commands that show a store
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "tool.h"

static char *hex(const uint8_t *bytes, size_t count)
{
    return blob_digest_to_hex(bytes, count);
}

static void print_encryption(const BlobStoreStatus *info)
{
    const char *converting = info->converting ? ", being converted" : "";
    g_autofree char *commitment = hex(info->key_commitment,
                                      sizeof(info->key_commitment));

    if (info->sealed) {
        printf("encryption:     aes-256-gcm-siv, %u key slots in use%s\n"
               "key-commitment: %s\n", info->key_slots, converting,
               commitment);
    } else {
        printf("encryption:     none%s\n", converting);
    }
}

static void print_blobs(BlobStore *store)
{
    for (size_t n = 0; n < blob_store_count(store); n++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, n), &blob);
        tool_print_blob(&blob);
    }
}

static void print_info(BlobStore *store, const BlobStoreStatus *info)
{
    g_autofree char *uuid = tool_uuid(info->uuid);
    g_autofree char *epoch_id = hex(info->epoch_id, sizeof(info->epoch_id));

    printf("uuid:           %s\n", uuid);
    printf("format:         %" PRIu32 "\n", info->format_version);
    printf("size:           %" PRIu64 " bytes, %" PRIu64 " required, %" PRIu64
           " free\n", info->capacity, blob_store_required_bytes(store),
           info->free);
    printf("sequence:       %" PRIu64 "\n", info->sequence);
    printf("epoch-id:       %s\n", epoch_id);
    printf("closed:         %s\n", info->clean ? "yes" : "no");
    print_encryption(info);
    printf("blobs:          %zu\n", blob_store_count(store));
    print_blobs(store);
}

static QDict *encryption_json(const BlobStoreStatus *info)
{
    QDict *encryption = qdict_new();
    g_autofree char *commitment = hex(info->key_commitment,
                                      sizeof(info->key_commitment));

    qdict_put_str(encryption, "cipher", "aes-256-gcm-siv");
    qdict_put_int(encryption, "key-slots", info->key_slots);
    qdict_put_str(encryption, "key-commitment", commitment);
    return encryption;
}

static QList *blobs_json(BlobStore *store)
{
    QList *blobs = qlist_new();

    for (size_t n = 0; n < blob_store_count(store); n++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(store, n), &blob);
        qlist_append(blobs, tool_blob_json(&blob));
    }
    return blobs;
}

static QDict *info_json(BlobStore *store, const BlobStoreStatus *info)
{
    QDict *shown = qdict_new();
    g_autofree char *uuid = tool_uuid(info->uuid);
    g_autofree char *epoch_id = hex(info->epoch_id, sizeof(info->epoch_id));

    qdict_put_str(shown, "uuid", uuid);
    qdict_put_int(shown, "format", info->format_version);
    qdict_put_int(shown, "capacity", info->capacity);
    qdict_put_int(shown, "required", blob_store_required_bytes(store));
    qdict_put_int(shown, "free", info->free);
    qdict_put(shown, "sequence", qnum_from_uint(info->sequence));
    qdict_put_str(shown, "epoch-id", epoch_id);
    qdict_put_bool(shown, "closed", info->clean);
    qdict_put_bool(shown, "converting", info->converting);
    if (info->sealed) {
        qdict_put(shown, "encryption", encryption_json(info));
    }
    qdict_put(shown, "blobs", blobs_json(store));
    return shown;
}

bool coroutine_fn tool_info(Tool *tool, GError **error)
{
    g_auto(ToolStore) opened = { 0 };
    BlobStoreStatus info;

    if (!tool_open(tool, &tool->image, TOOL_READ, &opened, error)) {
        return false;
    }
    blob_store_get_status(opened.store, &info);
    if (tool->output == TOOL_OUTPUT_JSON) {
        tool_print_json(QOBJECT(info_json(opened.store, &info)));
    } else {
        print_info(opened.store, &info);
    }
    return true;
}

bool coroutine_fn tool_list(Tool *tool, GError **error)
{
    g_auto(ToolStore) opened = { 0 };

    if (!tool_open(tool, &tool->image, TOOL_READ, &opened, error)) {
        return false;
    }
    if (tool->output == TOOL_OUTPUT_JSON) {
        tool_print_json(QOBJECT(blobs_json(opened.store)));
    } else {
        print_blobs(opened.store);
    }
    return true;
}

static void print_key_slot(unsigned n, const BlobKeySlot *slot)
{
    printf("%u: %s", n, blob_key_slot_type_name(slot->type));
    if (slot->type == BLOB_KEY_SLOT_PASSPHRASE) {
        printf(", Argon2id, %" PRIu32 " KiB, %" PRIu32 " iterations, "
               "parallelism %" PRIu32, slot->kdf_memory_kib,
               slot->kdf_iterations, slot->kdf_parallelism);
    } else if (slot->type == BLOB_KEY_SLOT_TOKEN) {
        printf(", %s", slot->uri);
    }
    putchar('\n');
}

static QDict *key_slot_json(unsigned n, const BlobKeySlot *slot)
{
    QDict *shown = qdict_new();

    qdict_put_int(shown, "slot", n);
    qdict_put_str(shown, "type", blob_key_slot_type_name(slot->type));
    if (slot->type == BLOB_KEY_SLOT_PASSPHRASE) {
        qdict_put_str(shown, "kdf", "argon2id");
        qdict_put_int(shown, "memory-kib", slot->kdf_memory_kib);
        qdict_put_int(shown, "iterations", slot->kdf_iterations);
        qdict_put_int(shown, "parallelism", slot->kdf_parallelism);
    } else if (slot->type == BLOB_KEY_SLOT_TOKEN) {
        qdict_put_str(shown, "uri", slot->uri);
    }
    return shown;
}

static QDict *damaged_key_slot_json(unsigned n)
{
    QDict *shown = qdict_new();

    qdict_put_int(shown, "slot", n);
    qdict_put_bool(shown, "damaged", true);
    return shown;
}

static void print_key_slots(const BlobKeySlots *slots)
{
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        if (!blob_key_slots_get(slots, n, &slot)) {
            printf("%u: damaged\n", n);
        } else if (slot.type != BLOB_KEY_SLOT_UNUSED) {
            print_key_slot(n, &slot);
        }
    }
}

static QList *key_slots_json(const BlobKeySlots *slots)
{
    QList *shown = qlist_new();

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        if (!blob_key_slots_get(slots, n, &slot)) {
            qlist_append(shown, damaged_key_slot_json(n));
        } else if (slot.type != BLOB_KEY_SLOT_UNUSED) {
            qlist_append(shown, key_slot_json(n, &slot));
        }
    }
    return shown;
}

/* A label shows its key slots without a key; those of a plain store not. */
bool coroutine_fn tool_key_list(Tool *tool, GError **error)
{
    static const BlobKeySlots none;
    g_auto(ToolStore) opened = { 0 };
    const BlobKeySlots *slots;

    if (!tool_open(tool, &tool->image, TOOL_LABEL, &opened, error)) {
        return false;
    }
    slots = opened.label.sealed ? &opened.label.key_slots : &none;
    if (tool->output == TOOL_OUTPUT_JSON) {
        tool_print_json(QOBJECT(key_slots_json(slots)));
    } else if (opened.label.sealed) {
        print_key_slots(slots);
    } else {
        tool_say(tool, "The store is not encrypted.\n");
    }
    return true;
}
