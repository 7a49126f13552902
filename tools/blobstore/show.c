/*
 * qemu-blobstore: commands that write nothing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "blobstore/check.h"
#include "tool.h"

static void print_hex(const char *name, const uint8_t *bytes, size_t count)
{
    g_autofree char *hex = blob_digest_to_hex(bytes, count);

    printf("%s%s\n", name, hex);
}

static void print_uuid(const uint8_t uuid[BLOB_UUID_BYTES])
{
    QemuUUID parsed;
    g_autofree char *text = NULL;

    memcpy(parsed.data, uuid, sizeof(parsed.data));
    text = qemu_uuid_unparse_strdup(&parsed);
    printf("uuid:           %s\n", text);
}

static void print_blob(const BlobInfo *info)
{
    printf("  %s/%s: %s, ", info->owner, info->name,
           blob_kind_name(info->kind));
    if (info->present) {
        printf("%" PRIu64 " of %" PRIu64 " bytes", info->size,
               info->max_size);
    } else {
        printf("absent, up to %" PRIu64 " bytes", info->max_size);
    }
    printf("%s%s\n", info->damage ? ", damaged: " : "",
           info->damage ?: "");
}

int coroutine_fn tool_info(Tool *tool, GError **error)
{
    BlobStoreStatus info;

    blob_store_get_status(tool->store, &info);
    if (info.blank) {
        printf("The image is blank: a store is made when it is first used.\n");
        return TOOL_EXIT_OK;
    }
    print_uuid(info.uuid);
    printf("format:         %" PRIu32 "\n", info.format_version);
    printf("size:           %" PRIu64 " bytes, %" PRIu64 " required, %" PRIu64
           " free\n", info.capacity,
           blob_store_required_bytes(tool->store), info.free);
    printf("sequence:       %" PRIu64 "\n", info.sequence);
    print_hex("epoch-id:       ", info.epoch_id, sizeof(info.epoch_id));
    if (info.sealed) {
        printf("encryption:     aes-256-gcm-siv, %u key slots in use%s\n",
               info.key_slots,
               info.converting ? ", being converted" : "");
        print_hex("key-commitment: ", info.key_commitment,
                  sizeof(info.key_commitment));
    } else {
        printf("encryption:     none%s\n",
               info.converting ? ", being converted" : "");
    }
    printf("blobs:          %zu\n", blob_store_count(tool->store));
    for (size_t n = 0; n < blob_store_count(tool->store); n++) {
        BlobInfo blob;

        blob_get_info(blob_store_nth(tool->store, n), &blob);
        print_blob(&blob);
    }
    return TOOL_EXIT_OK;
}

static void print_finding(const BlobFinding *finding, void *opaque)
{
    int *status = opaque;

    if (finding->blob) {
        BlobInfo info;

        blob_get_info(finding->blob, &info);
        printf("blob '%s/%s', ", info.owner, info.name);
    }
    printf("offset %" PRIu64 ", %" PRIu64 " bytes: %s%s\n", finding->offset,
           finding->bytes, finding->text,
           finding->heals ? " (heals when the store is used)" : "");
    if (finding->kind == BLOB_FINDING_LEAK) {
        return;                 /* no error: a device may use it again */
    }
    /* The store was opened by another key slot. */
    if (!finding->heals && finding->kind != BLOB_FINDING_KEY_SLOT) {
        *status = TOOL_EXIT_DAMAGED;
    } else if (*status == TOOL_EXIT_OK) {
        *status = TOOL_EXIT_HEALS;
    }
}

/* It is no damage: the key slot is as it was made. */
static void warn_of_weak_key_slots(Tool *tool)
{
    BlobKeySlots slots;

    blob_store_get_key_slots(tool->store, &slots);
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        if (blob_key_slots_get(&slots, n, &slot) &&
            blob_key_slot_is_weak(&slot)) {
            warn_report("key slot %u is weak: a guess costs %" PRIu32
                        " iterations of Argon2id over %" PRIu32 " KiB, and %d "
                        "over %d KiB are the least; make it again with "
                        "key-add --slot=%u --replace", n, slot.kdf_iterations,
                        slot.kdf_memory_kib, BLOB_KEY_KDF_MIN_ITERATIONS,
                        BLOB_KEY_KDF_MEMORY_KIB, n);
        }
    }
}

int coroutine_fn tool_check(Tool *tool, GError **error)
{
    int status = TOOL_EXIT_OK;
    BlobStoreStatus info;

    blob_store_get_status(tool->store, &info);
    if (info.blank) {
        g_set_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_BLANK,
                    "image is blank, or the creation of a store in it was cut "
                    "short: there is nothing to check");
        return TOOL_EXIT_ERROR;
    }
    if (!blob_store_check(tool->store, print_finding, &status, error)) {
        return TOOL_EXIT_ERROR;
    }
    warn_of_weak_key_slots(tool);
    if (status == TOOL_EXIT_OK) {
        printf("No errors were found.\n");
    }
    return status;
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

/* A label shows its key slots without a key. */
int coroutine_fn tool_key_list(Tool *tool, GError **error)
{
    if (!tool->label.sealed) {
        printf("The store is not encrypted.\n");
        return TOOL_EXIT_OK;
    }
    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        if (!blob_key_slots_get(&tool->label.key_slots, n, &slot)) {
            printf("%u: damaged\n", n);
        } else if (slot.type != BLOB_KEY_SLOT_UNUSED) {
            print_key_slot(n, &slot);
        }
    }
    return TOOL_EXIT_OK;
}
