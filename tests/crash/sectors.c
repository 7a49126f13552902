/*
 * Sets of sectors, by their content
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "sectors.h"

#include <string.h>
#include "mix.h"

/*
 * Content that is nearly zero, such as the end of a list of members, may occur
 * again by itself; a blob's content, sealed or not, is never like that.
 */
enum { NEARLY_ZERO_BYTES = 24 };

/* Hashes of 64 bits, as those of whole images */
struct Sectors {
    gint refs;
    GHashTable *hashes;
};

static bool is_zero(const uint8_t *sector)
{
    static const uint8_t zero[SIM_SECTOR_BYTES];

    return !memcmp(sector, zero, sizeof(zero));
}

static bool matters(const uint8_t *sector)
{
    unsigned count = 0;

    for (unsigned i = 0; i < SIM_SECTOR_BYTES; i++) {
        count += sector[i] != 0;
    }
    return count >= NEARLY_ZERO_BYTES;
}

static gpointer hash_of(const uint8_t *sector)
{
    return (gpointer)(uintptr_t)mix_bytes(1, sector, SIM_SECTOR_BYTES);
}

static void add(Sectors *sectors, uint64_t offset, const uint8_t *data,
                size_t bytes, uint64_t from)
{
    for (size_t at = 0; at < bytes; at += SIM_SECTOR_BYTES) {
        if (offset + at >= from && !is_zero(data + at) && matters(data + at)) {
            g_hash_table_add(sectors->hashes, hash_of(data + at));
        }
    }
}

static Sectors *new_sectors(void)
{
    Sectors *sectors = g_new0(Sectors, 1);

    sectors->refs = 1;
    sectors->hashes = g_hash_table_new(g_direct_hash, g_direct_equal);
    return sectors;
}

Sectors *sectors_of(const SimDisk *disk, uint64_t from)
{
    Sectors *sectors = new_sectors();

    add(sectors, 0, disk->data, disk->bytes, from);
    for (guint i = disk->events->len; i-- > 0; ) {
        const SimEvent *event = &g_array_index(disk->events, SimEvent, i);

        if (event->kind == SIM_FLUSH) {
            break;
        }
        if (event->kind == SIM_WRITE) {
            add(sectors, event->offset, event->data, event->bytes, from);
        }
    }
    return sectors;
}

static void add_all(Sectors *sectors, const Sectors *from)
{
    GHashTableIter iter;
    gpointer hash;

    g_hash_table_iter_init(&iter, from->hashes);
    while (g_hash_table_iter_next(&iter, &hash, NULL)) {
        g_hash_table_add(sectors->hashes, hash);
    }
}

Sectors *sectors_union(const Sectors *a, const Sectors *b)
{
    Sectors *sectors = new_sectors();

    add_all(sectors, a);
    add_all(sectors, b);
    return sectors;
}

Sectors *sectors_ref(const Sectors *sectors)
{
    Sectors *same = (Sectors *)sectors;

    same->refs++;
    return same;
}

void sectors_unref(gpointer data)
{
    Sectors *sectors = data;

    if (!--sectors->refs) {
        g_hash_table_unref(sectors->hashes);
        g_free(sectors);
    }
}

int64_t sectors_find(const Sectors *sectors, const SimDisk *disk)
{
    for (uint64_t at = 0; at < disk->bytes; at += SIM_SECTOR_BYTES) {
        if (!is_zero(disk->data + at) &&
            g_hash_table_contains(sectors->hashes,
                                  hash_of(disk->data + at))) {
            return at;
        }
    }
    return -1;
}
