/*
 * qemu-blobstore: a picture of what the bytes of an image are for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "picture.h"
#include "tool.h"

/* Pixels */
enum {
    LEFT = 92,                  /* of it the offsets are written */
    TOP = 76,
    ROW_WIDTH = 1024,
    ROW_HEIGHT = 22,
    ROW_STEP = 26,
    LEGEND = LEFT + ROW_WIDTH + 36,
    LEGEND_STEP = 36,
    WIDTH = LEGEND + 290,
    LETTER = 7,                 /* a letter in a label takes that */
};

enum {
    ROWS_MAX = 32,
    ROW_MIN_BYTES = 64 * KiB,
};

static const char *const blob_colours[] = {
    "#2a6fb0", "#d07a1f", "#2c9468", "#b83a5b", "#7a5c99", "#8a6d3b",
    "#3b8f9c", "#9a9a2e",
};

/* Regions that belong to the same thing */
typedef struct Thing {
    char *name;
    const char *colour;
    uint64_t bytes;
    uint64_t used;
} Thing;

typedef struct Picture {
    uint64_t row_bytes;
    unsigned rows;
    GPtrArray *things;          /* of Thing */
    unsigned blobs;             /* of them */
} Picture;

static void free_thing(gpointer data)
{
    Thing *thing = data;

    g_free(thing->name);
    g_free(thing);
}

static const char *choose_colour(Picture *picture, BlobRegionKind kind)
{
    switch (kind) {
    case BLOB_REGION_SUPERBLOCK:
        return "#39424e";
    case BLOB_REGION_DIRECTORY:
        return "#75808d";
    case BLOB_REGION_BLOB:
        return blob_colours[picture->blobs++ % ARRAY_SIZE(blob_colours)];
    case BLOB_REGION_FREE:
        return "#e9edf1";
    default:
        return "url(#outside)";
    }
}

/* The thing that @region belongs to */
static Thing *find_thing(Picture *picture, const BlobRegion *region)
{
    g_autofree char *name = tool_region_name(region);
    Thing *thing;

    for (guint n = picture->things->len; n-- > 0; ) {
        thing = g_ptr_array_index(picture->things, n);
        if (!strcmp(thing->name, name)) {
            return thing;
        }
    }
    thing = g_new0(Thing, 1);
    thing->name = g_steal_pointer(&name);
    thing->colour = choose_colour(picture, region->kind);
    g_ptr_array_add(picture->things, thing);
    return thing;
}

static double x_of(const Picture *picture, uint64_t offset)
{
    return LEFT + (double)(offset % picture->row_bytes) * ROW_WIDTH /
                  picture->row_bytes;
}

static unsigned y_of(const Picture *picture, uint64_t offset)
{
    return TOP + offset / picture->row_bytes * ROW_STEP;
}

/* Draws bytes @from to @to, in as many rows as they are in. */
static void draw_bytes(const Picture *picture, uint64_t from, uint64_t to,
                       const char *colour, double opacity)
{
    while (from < to) {
        uint64_t end = MIN(to, QEMU_ALIGN_DOWN(from, picture->row_bytes) +
                               picture->row_bytes);
        double width = (double)(end - from) * ROW_WIDTH / picture->row_bytes;

        printf("<rect x=\"%.3f\" y=\"%u\" width=\"%.3f\" height=\"%d\" "
               "fill=\"%s\" fill-opacity=\"%.2f\"/>\n", x_of(picture, from),
               y_of(picture, from), width, ROW_HEIGHT, colour, opacity);
        from = end;
    }
}

/* Writes @name, which is escaped, on the region if it has the room for it. */
static void draw_label(const Picture *picture, const BlobRegion *region,
                       const char *name)
{
    uint64_t row_end = QEMU_ALIGN_DOWN(region->offset, picture->row_bytes) +
                       picture->row_bytes;
    uint64_t width = strlen(name) * LETTER + 10;
    uint64_t bytes = width * picture->row_bytes / ROW_WIDTH;

    if (bytes > MIN(region->bytes, row_end - region->offset)) {
        return;
    }
    printf("<text x=\"%.1f\" y=\"%u\" class=\"%s\">%s</text>\n",
           x_of(picture, region->offset) + 6,
           y_of(picture, region->offset) + 15,
           bytes > region->used ? "label" : "on", name);
}

/* A line between it and what is before it, unless that would hide it. */
static void draw_edge(const Picture *picture, const BlobRegion *region)
{
    if (region->bytes * ROW_WIDTH / picture->row_bytes > 3) {
        printf("<rect x=\"%.3f\" y=\"%u\" width=\"1\" height=\"%d\" "
               "fill=\"#fff\"/>\n", x_of(picture, region->offset),
               y_of(picture, region->offset), ROW_HEIGHT);
    }
}

static void draw_region(Picture *picture, const BlobRegion *region)
{
    Thing *thing = find_thing(picture, region);
    uint64_t end = region->offset + region->bytes;
    g_autofree char *name = g_markup_escape_text(thing->name, -1);
    bool is_slot = region->kind != BLOB_REGION_FREE &&
                   region->kind != BLOB_REGION_OUTSIDE;

    thing->bytes += region->bytes;
    thing->used += region->used;
    printf("<g><title>%s", name);
    if (is_slot) {
        printf(", slot %u%s: %" PRIu64 " of", region->slot,
               region->current ? ", current" : "", region->used);
    } else {
        printf(":");
    }
    printf(" %" PRIu64 " bytes at offset %" PRIu64 "</title>\n",
           region->bytes, region->offset);
    if (is_slot) {
        draw_bytes(picture, region->offset, region->offset + region->used,
                   thing->colour, 1);
        draw_bytes(picture, region->offset + region->used, end, thing->colour,
                   region->current ? 0.5 : 0.25);
    } else {
        draw_bytes(picture, region->offset, end, thing->colour, 1);
    }
    draw_edge(picture, region);
    draw_label(picture, region, name);
    printf("</g>\n");
}

static void draw_rulers(const Picture *picture)
{
    uint64_t unit = picture->row_bytes < MiB ? KiB : MiB;

    for (unsigned row = 0; row < picture->rows; row++) {
        printf("<text x=\"%d\" y=\"%d\" class=\"ruler\">%" PRIu64
               " %s</text>\n", LEFT - 10, TOP + row * ROW_STEP + 15,
               row * picture->row_bytes / unit, unit == KiB ? "KiB" : "MiB");
    }
}

static void draw_swatch(unsigned x, unsigned y, const char *colour,
                        double opacity)
{
    printf("<rect x=\"%u\" y=\"%u\" width=\"18\" height=\"18\" rx=\"2\" "
           "fill=\"%s\" fill-opacity=\"%.2f\"/>\n", x, y, colour, opacity);
}

static void draw_thing(const Thing *thing, unsigned y)
{
    g_autofree char *name = g_markup_escape_text(thing->name, -1);
    g_autofree char *bytes = size_to_str(thing->bytes);
    g_autofree char *used = size_to_str(thing->used);

    draw_swatch(LEGEND, y, thing->colour, 1);
    printf("<text x=\"%d\" y=\"%u\" class=\"name\">%s</text>\n"
           "<text x=\"%d\" y=\"%u\" class=\"note\">%s",
           LEGEND + 28, y + 8, name, LEGEND + 28, y + 23, bytes);
    if (thing->used) {
        printf(" in 2 slots, %s used", used);
    }
    printf("</text>\n");
}

static void draw_legend(const Picture *picture)
{
    static const struct {
        double opacity;
        const char *text;
    } shades[] = {
        { 1, "version that counts, or a copy of it" },
        { 0.5, "room behind it, in the same slot" },
        { 0.25, "slot for the next version" },
    };
    unsigned y = TOP;

    for (guint n = 0; n < picture->things->len; n++, y += LEGEND_STEP) {
        draw_thing(g_ptr_array_index(picture->things, n), y);
    }
    y += 10;
    for (size_t n = 0; n < ARRAY_SIZE(shades); n++, y += 24) {
        draw_swatch(LEGEND, y, "#39424e", shades[n].opacity);
        printf("<text x=\"%d\" y=\"%u\" class=\"note\">%s</text>\n",
               LEGEND + 28, y + 13, shades[n].text);
    }
}

static void draw_title(const Picture *picture, const char *title,
                       uint64_t length)
{
    g_autofree char *name = g_markup_escape_text(title, -1);
    g_autofree char *size = size_to_str(length);
    g_autofree char *row = size_to_str(picture->row_bytes);

    printf("<text x=\"%d\" y=\"32\" class=\"title\">%s</text>\n"
           "<text x=\"%d\" y=\"54\" class=\"note\">%s; a row is %s, and one "
           "pixel of it %" PRIu64 " bytes</text>\n", LEFT, name, LEFT, size,
           row, picture->row_bytes / ROW_WIDTH);
}

static const char style[] =
    "<style>text { font-family: 'DejaVu Sans', Helvetica, Arial, sans-serif; "
    "font-size: 12px; fill: #39424e } .title { font-size: 18px; font-weight: "
    "bold } .ruler { text-anchor: end; fill: #75808d; font-size: 11px } "
    ".name { font-weight: bold } .note { fill: #5b6673 } .on { fill: #fff; "
    "font-size: 11px } .label { font-size: 11px }</style>\n"
    "<defs><pattern id=\"outside\" width=\"6\" height=\"6\" "
    "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
    "<rect width=\"6\" height=\"6\" fill=\"#fff\"/>"
    "<rect width=\"1.5\" height=\"6\" fill=\"#c9d0d8\"/></pattern></defs>\n";

/* The legend is known when all is drawn, so the height comes before that. */
static unsigned count_things(const GArray *regions)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash,
                                                        g_str_equal, g_free,
                                                        NULL);

    for (guint n = 0; n < regions->len; n++) {
        g_hash_table_add(names, tool_region_name(
            &g_array_index(regions, BlobRegion, n)));
    }
    return g_hash_table_size(names);
}

void tool_print_picture(const char *title, const GArray *regions,
                        uint64_t length)
{
    Picture picture = {
        .row_bytes = ROW_MIN_BYTES,
        .things = g_ptr_array_new_with_free_func(free_thing),
    };
    unsigned height;

    while (DIV_ROUND_UP(length, picture.row_bytes) > ROWS_MAX) {
        picture.row_bytes *= 2;
    }
    picture.rows = DIV_ROUND_UP(length, picture.row_bytes);
    height = TOP + 20 + MAX(picture.rows * ROW_STEP,
                            count_things(regions) * LEGEND_STEP + 82);
    printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
           "height=\"%u\" viewBox=\"0 0 %d %u\">\n%s"
           "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", WIDTH,
           height, WIDTH, height, style);
    draw_title(&picture, title, length);
    draw_rulers(&picture);
    for (guint n = 0; n < regions->len; n++) {
        draw_region(&picture, &g_array_index(regions, BlobRegion, n));
    }
    draw_legend(&picture);
    printf("</svg>\n");
    g_ptr_array_unref(picture.things);
}
