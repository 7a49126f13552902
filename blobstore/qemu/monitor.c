/*
 * Blobstore in QEMU: HMP info blobstore
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-blobstore.h"
#include "qemu/module.h"

static void print_blob(Monitor *mon, const BlobstoreBlobInfo *blob)
{
    BlobstoreSlotList *slot;

    monitor_printf(mon, "  %s/%s: %s, ", blob->owner, blob->name,
                   BlobstoreBlobKind_str(blob->kind));
    if (blob->present) {
        monitor_printf(mon, "%" PRIu64 " of %" PRIu64 " bytes", blob->size,
                       blob->max_size);
    } else {
        monitor_printf(mon, "absent, up to %" PRIu64 " bytes",
                       blob->max_size);
    }
    if (blob->packed) {
        monitor_printf(mon, ", packed into %" PRIu64, blob->stored_size);
    }
    if (blob->sequence) {
        monitor_printf(mon, ", sequence %" PRIu64 ".%" PRIu64,
                       blob->sequence >> 32, blob->sequence & UINT32_MAX);
    }
    monitor_printf(mon, "\n");
    for (slot = blob->slots; slot; slot = slot->next) {
        monitor_printf(mon, "    slot at %" PRIu64 ", %" PRIu64 " bytes%s\n",
                       slot->value->offset, slot->value->length,
                       slot->value->current ? ", current" : "");
    }
    if (blob->damage) {
        monitor_printf(mon, "    damaged: %s\n", blob->damage);
    }
}

static void print_store(Monitor *mon, const BlobstoreInfo *info)
{
    BlobstoreBlobInfoList *blob;

    monitor_printf(mon, "%s: %s%s, drive %s, uuid %s, format %" PRIu32 "\n",
                   info->id, BlobstoreCondition_str(info->state),
                   info->durable ? "" : " (not durable: cache=unsafe)",
                   info->drive, info->uuid, info->format_version);
    monitor_printf(mon, "  %" PRIu64 " bytes, %" PRIu64 " required, %" PRIu64
                   " free, blocks of %" PRIu32 "\n", info->capacity,
                   info->required, info->free, info->block_size);
    monitor_printf(mon, "  %" PRIu64 " commits, %" PRIu64 " bytes written, "
                   "%" PRIu64 " write errors\n", info->stats->commits,
                   info->stats->bytes_written, info->stats->write_errors);
    if (info->encryption) {
        monitor_printf(mon, "  encrypted with %s, %" PRIu32 " key slots in "
                       "use, key commitment %s%s\n",
                       info->encryption->cipher, info->encryption->key_slots,
                       info->encryption->key_commitment,
                       info->encryption->converting ? ", being converted"
                                                    : "");
    }
    for (blob = info->blobs; blob; blob = blob->next) {
        print_blob(mon, blob->value);
    }
}

static void hmp_info_blobstore(Monitor *mon, const QDict *qdict)
{
    g_autoptr(BlobstoreInfoList) list = qmp_blobstore_info(NULL,
                                                           &error_abort);
    BlobstoreInfoList *entry;

    if (!list) {
        monitor_printf(mon, "no device uses a blobstore\n");
    }
    for (entry = list; entry; entry = entry->next) {
        print_store(mon, entry->value);
    }
}

static void register_hmp(void)
{
    monitor_register_hmp("blobstore", true, hmp_info_blobstore);
}

type_init(register_hmp)
