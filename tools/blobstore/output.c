/*
 * qemu-blobstore: what the commands print
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/uuid.h"
#include "qobject/qjson.h"
#include "tool.h"

void tool_say(const Tool *tool, const char *format, ...)
{
    va_list args;

    if (tool->quiet || tool->output == TOOL_OUTPUT_JSON) {
        return;
    }
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

void tool_print_json(QObject *object)
{
    g_autoptr(GString) text = qobject_to_json_pretty(object, true);

    puts(text->str);
    qobject_unref(object);
}

char *tool_uuid(const uint8_t uuid[BLOB_UUID_BYTES])
{
    QemuUUID parsed;

    memcpy(parsed.data, uuid, sizeof(parsed.data));
    return qemu_uuid_unparse_strdup(&parsed);
}

void tool_print_blob(const BlobInfo *info)
{
    printf("  %s/%s: %s, ", info->owner, info->name,
           blob_kind_name(info->kind));
    if (info->present) {
        printf("%" PRIu64 " of %" PRIu64 " bytes", info->size,
               info->max_size);
    } else {
        printf("absent, up to %" PRIu64 " bytes", info->max_size);
    }
    if (info->sequence) {
        printf(", sequence %" PRIu64, info->sequence);
    }
    printf("%s%s\n", info->damage ? ", damaged: " : "",
           info->damage ?: "");
}

QDict *tool_blob_json(const BlobInfo *info)
{
    QDict *blob = qdict_new();

    qdict_put_str(blob, "owner", info->owner);
    qdict_put_str(blob, "name", info->name);
    qdict_put_str(blob, "kind", blob_kind_name(info->kind));
    qdict_put_bool(blob, "present", info->present);
    qdict_put_int(blob, "size", info->size);
    qdict_put_int(blob, "max-size", info->max_size);
    qdict_put(blob, "sequence", qnum_from_uint(info->sequence));
    if (info->damage) {
        qdict_put_str(blob, "damage", info->damage);
    }
    return blob;
}

const char *tool_region_kind(const BlobRegion *region)
{
    static const char *const kinds[] = {
        [BLOB_REGION_SUPERBLOCK] = "superblock",
        [BLOB_REGION_DIRECTORY] = "directory",
        [BLOB_REGION_BLOB] = "blob",
        [BLOB_REGION_FREE] = "free",
        [BLOB_REGION_OUTSIDE] = "outside",
    };

    return kinds[region->kind];
}

char *tool_blob_name(const Blob *blob)
{
    BlobInfo info;

    blob_get_info(blob, &info);
    return g_strdup_printf("%s/%s", info.owner, info.name);
}

char *tool_region_name(const BlobRegion *region)
{
    return region->blob ? tool_blob_name(region->blob)
                        : g_strdup(tool_region_kind(region));
}
