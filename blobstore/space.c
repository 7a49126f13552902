/*
 * Blobstore core: free space on the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "space.h"

struct BlobSpace {
    uint64_t end;
    uint64_t free_bytes;        /* of all extents */
    GArray *extents;            /* free; ascending, never touching */
};

static BlobExtent *extent_at(const BlobSpace *space, guint n)
{
    return &g_array_index(space->extents, BlobExtent, n);
}

/* The first extent that ends after @offset, or the number of extents */
static guint find(const BlobSpace *space, uint64_t offset)
{
    guint low = 0;
    guint high = space->extents->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (extent_at(space, middle)->end > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

BlobSpace *blob_space_new(uint64_t start, uint64_t end)
{
    BlobSpace *space = g_new0(BlobSpace, 1);
    BlobExtent all = { start, end };

    g_assert(start <= end);
    space->end = end;
    space->extents = g_array_new(FALSE, FALSE, sizeof(BlobExtent));
    space->free_bytes = end - start;
    if (start < end) {
        g_array_append_val(space->extents, all);
    }
    return space;
}

void blob_space_free(BlobSpace *space)
{
    if (space) {
        g_array_unref(space->extents);
        g_free(space);
    }
}

BlobSpace *blob_space_copy(const BlobSpace *space)
{
    BlobSpace *copy = g_new0(BlobSpace, 1);

    copy->end = space->end;
    copy->free_bytes = space->free_bytes;
    copy->extents = g_array_copy(space->extents);
    return copy;
}

void blob_space_take(BlobSpace *space, uint64_t offset, uint64_t bytes)
{
    guint n = find(space, offset);
    BlobExtent *extent = extent_at(space, n);
    BlobExtent rest = { offset + bytes, extent->end };

    g_assert(n < space->extents->len && extent->start <= offset &&
             rest.start <= rest.end);
    space->free_bytes -= bytes;
    extent->end = offset;
    if (rest.start < rest.end) {
        g_array_insert_val(space->extents, n + 1, rest);
    }
    if (extent_at(space, n)->start == offset) {
        g_array_remove_index(space->extents, n);
    }
}

bool blob_space_allocate(BlobSpace *space, uint64_t bytes, uint64_t *offset)
{
    for (guint n = 0; n < space->extents->len; n++) {
        BlobExtent *extent = extent_at(space, n);

        if (extent->end - extent->start >= bytes) {
            *offset = extent->start;
            blob_space_take(space, *offset, bytes);
            return true;
        }
    }
    return false;
}

void blob_space_release(BlobSpace *space, uint64_t offset, uint64_t bytes)
{
    guint n = find(space, offset);
    BlobExtent extent = { offset, offset + bytes };

    space->free_bytes += bytes;
    if (n < space->extents->len && extent_at(space, n)->start == extent.end) {
        extent.end = extent_at(space, n)->end;
        g_array_remove_index(space->extents, n);
    }
    if (n > 0 && extent_at(space, n - 1)->end == offset) {
        extent_at(space, n - 1)->end = extent.end;
    } else {
        g_array_insert_val(space->extents, n, extent);
    }
}

static gint compare_starts(gconstpointer a, gconstpointer b)
{
    uint64_t x = ((const BlobExtent *)a)->start;
    uint64_t y = ((const BlobExtent *)b)->start;

    return x < y ? -1 : x > y;
}

/* One by one, many of them would take quadratic time. */
void blob_space_release_all(BlobSpace *space, GArray *extents)
{
    GArray *merged = g_array_new(FALSE, FALSE, sizeof(BlobExtent));

    g_array_append_vals(extents, space->extents->data, space->extents->len);
    g_array_sort(extents, compare_starts);
    space->free_bytes = 0;
    for (guint i = 0; i < extents->len; i++) {
        BlobExtent extent = g_array_index(extents, BlobExtent, i);
        BlobExtent *last = merged->len ? &g_array_index(merged, BlobExtent,
                                                        merged->len - 1)
                                       : NULL;

        space->free_bytes += extent.end - extent.start;
        if (last && last->end == extent.start) {
            last->end = extent.end;
        } else {
            g_array_append_val(merged, extent);
        }
    }
    g_array_unref(space->extents);
    space->extents = merged;
}

void blob_space_extend(BlobSpace *space, uint64_t end)
{
    g_assert(end >= space->end);
    if (end > space->end) {
        blob_space_release(space, space->end, end - space->end);
        space->end = end;
    }
}

void blob_space_cut(BlobSpace *space, uint64_t end)
{
    g_assert(end <= space->end && blob_space_used_end(space) <= end);
    if (end < space->end) {
        blob_space_take(space, end, space->end - end);
        space->end = end;
    }
}

bool blob_space_nth(const BlobSpace *space, size_t n, uint64_t *offset,
                    uint64_t *bytes)
{
    if (n >= space->extents->len) {
        return false;
    }
    *offset = extent_at(space, n)->start;
    *bytes = extent_at(space, n)->end - *offset;
    return true;
}

uint64_t blob_space_free_bytes(const BlobSpace *space)
{
    return space->free_bytes;
}

uint64_t blob_space_used_end(const BlobSpace *space)
{
    guint count = space->extents->len;

    if (count && extent_at(space, count - 1)->end == space->end) {
        return extent_at(space, count - 1)->start;
    }
    return space->end;
}
