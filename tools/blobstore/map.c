/*
 * qemu-blobstore map
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "picture.h"
#include "tool.h"

static bool has_slots(const BlobRegion *region)
{
    return region->kind != BLOB_REGION_FREE &&
           region->kind != BLOB_REGION_OUTSIDE;
}

static void print_region(const BlobRegion *region)
{
    g_autofree char *name = tool_region_name(region);

    printf("%12" PRIu64 " %12" PRIu64 " %12" PRIu64 "  %s", region->offset,
           region->bytes, region->used, name);
    if (has_slots(region)) {
        printf(", slot %u%s", region->slot,
               region->current ? ", current" : "");
    }
    putchar('\n');
}

static QDict *region_json(const BlobRegion *region)
{
    QDict *shown = qdict_new();

    qdict_put_int(shown, "offset", region->offset);
    qdict_put_int(shown, "bytes", region->bytes);
    qdict_put_str(shown, "kind", tool_region_kind(region));
    if (has_slots(region)) {
        qdict_put_int(shown, "slot", region->slot);
        qdict_put_bool(shown, "current", region->current);
        qdict_put_int(shown, "used", region->used);
    }
    if (region->blob) {
        g_autofree char *name = tool_region_name(region);

        qdict_put_str(shown, "blob", name);
    }
    return shown;
}

static void take_region(const BlobRegion *region, void *opaque)
{
    g_array_append_val((GArray *)opaque, *region);
}

static void print_table(const GArray *regions)
{
    printf("%12s %12s %12s  %s\n", "offset", "bytes", "used", "what");
    for (guint n = 0; n < regions->len; n++) {
        print_region(&g_array_index(regions, BlobRegion, n));
    }
}

static void print_json(const GArray *regions)
{
    QList *shown = qlist_new();

    for (guint n = 0; n < regions->len; n++) {
        qlist_append(shown,
                     region_json(&g_array_index(regions, BlobRegion, n)));
    }
    tool_print_json(QOBJECT(shown));
}

bool coroutine_fn tool_map(Tool *tool, GError **error)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(BlobRegion));
    g_auto(ToolStore) opened = { 0 };
    BlobStorage *storage = &opened.medium.parent;
    uint64_t length;

    if (!tool_open(tool, &tool->image, TOOL_READ, &opened, error) ||
        !storage->ops->length(storage, &length, error)) {
        return false;
    }
    blob_store_map(opened.store, length, take_region, regions);
    switch (tool->output) {
    case TOOL_OUTPUT_JSON:
        print_json(regions);
        break;
    case TOOL_OUTPUT_SVG:
        tool_print_picture(tool->image.name, regions, length);
        break;
    default:
        print_table(regions);
    }
    return true;
}
