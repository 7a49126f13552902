/*
 * A power failure, and the states that it may leave on the disk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "outage.h"

#include <stdio.h>
#include <string.h>
#include "mix.h"

enum { BLOCK_BYTES = 4096 };

typedef enum Garble {
    GARBLE_SECTOR,
    GARBLE_BLOCK,
    GARBLE_HALF,
    GARBLE_KINDS,
} Garble;

bool state_name_parse(const char *text, StateName *name)
{
    char again[OUTAGE_NAME_BYTES];

    *name = (StateName) { 0 };
    if (!*text || !strchr("scpmgr", *text) ||
        sscanf(text, "%c%x.%x", &name->kind, &name->number, &name->how) < 2) {
        return false;
    }
    state_name_print(name, again);
    return !strcmp(text, again);
}

void state_name_print(const StateName *name, char text[OUTAGE_NAME_BYTES])
{
    if (strchr("mg", name->kind)) {
        snprintf(text, OUTAGE_NAME_BYTES, "%c%x.%x", name->kind,
                 name->number, name->how);
    } else {
        snprintf(text, OUTAGE_NAME_BYTES, "%c%x", name->kind, name->number);
    }
}

/*
 * Returns the class of a sector in a write: header, first, middle, last,
 * trailer.
 */
static unsigned class_of(const SimEvent *event, size_t at)
{
    if (at < 1280) {
        return 0;
    }
    if (at + 1280 >= event->bytes) {
        return 4;
    }
    if (at < 2048) {
        return 1;
    }
    return at + 2048 >= event->bytes ? 3 : 2;
}

static bool is_loose(const Outage *outage, uint64_t offset)
{
    for (unsigned i = 0; i < outage->count; i++) {
        if (outage->loose[i].offset == offset) {
            return true;
        }
    }
    return false;
}

/* Sectors that would change nothing, landed or not, are left out. */
static void loosen(Outage *outage, const SimEvent *event, unsigned write)
{
    unsigned before = outage->count;

    for (size_t at = 0; at < event->bytes; at += SIM_SECTOR_BYTES) {
        uint64_t offset = event->offset + at;

        if (memcmp(outage->disk->data + offset, event->data + at,
                   SIM_SECTOR_BYTES) ||
            (before && is_loose(outage, offset))) {
            g_assert(outage->count < OUTAGE_MAX_LOOSE);
            outage->loose[outage->count++] = (Loose) {
                offset, event->data + at, write, class_of(event, at),
                event->failed,
            };
        }
    }
}

/*
 * Forgets loose sectors in a range that a durable write has settled.  Sectors
 * of a failed write may still land, on top of the durable one.
 */
static void settle(Outage *outage, const SimEvent *event)
{
    unsigned kept = 0;

    sim_disk_poke(outage->disk, event->offset, event->data, event->bytes);
    for (unsigned i = 0; i < outage->count; i++) {
        const Loose *loose = &outage->loose[i];

        if (loose->failed || loose->offset < event->offset ||
            loose->offset >= event->offset + event->bytes) {
            outage->loose[kept++] = *loose;
        }
    }
    outage->count = kept;
}

/* Counts the writes that have loose sectors. */
static void number_writes(Outage *outage)
{
    unsigned number = 0;

    for (unsigned i = 0, write = 0; i < outage->count; i++) {
        Loose *loose = &outage->loose[i];

        if (i && loose->write != write) {
            number++;
        }
        write = loose->write;
        loose->write = number;
    }
}

void outage_prepare(Outage *outage, SimDisk *disk, const GArray *log,
                    unsigned events)
{
    unsigned writes = 0;
    unsigned flushed = 0;

    outage->disk = disk;
    outage->count = 0;
    for (unsigned i = 0; i < events; i++) {
        const SimEvent *event = &g_array_index(log, SimEvent, i);

        if (event->kind == SIM_WRITE) {
            loosen(outage, event, writes++);
        } else if (event->kind == SIM_DURABLE) {
            settle(outage, event - 1);
        } else {
            sim_disk_settle_events(disk, log, flushed, i);
            outage->count = 0;
            flushed = i + 1;
            writes = 0;
        }
    }
    number_writes(outage);
}

unsigned outage_masks(const Outage *outage, char kind)
{
    unsigned writes = outage->count
                      ? outage->loose[outage->count - 1].write + 1 : 0;

    if (kind == 's') {
        return outage->count <= OUTAGE_EXHAUSTIVE_SECTORS
               ? 1u << outage->count : 0;
    }
    return 1u << MIN(OUTAGE_CLASSES * writes, OUTAGE_EXHAUSTIVE_SECTORS);
}

static bool is_in_mask(const Outage *outage, const StateName *name, unsigned i)
{
    const Loose *loose = &outage->loose[i];

    if (name->kind == 's') {
        return name->number & 1u << i;
    }
    return name->number & 1u << (OUTAGE_CLASSES * loose->write +
                                 loose->class) % OUTAGE_EXHAUSTIVE_SECTORS;
}

static bool is_same_block(const Outage *outage, unsigned i, unsigned j)
{
    return outage->loose[i].offset / BLOCK_BYTES ==
           outage->loose[j].offset / BLOCK_BYTES;
}

static bool has_landed(const Outage *outage, const StateName *name, unsigned i)
{
    switch (name->kind) {
    case 'p':
        return i < name->number;
    case 'm':
        return name->how ? !is_same_block(outage, i, name->number)
                         : i != name->number;
    case 'g':
        if (i == name->number) {
            return false;
        }
        return name->how / GARBLE_KINDS == 0 ? i < name->number
               : name->how / GARBLE_KINDS == 1;
    case 'r':
        return mix(mix(name->number, i), i) >> 40 & 1;
    default:
        return is_in_mask(outage, name, i);
    }
}

static bool exists(const Outage *outage, const StateName *name)
{
    switch (name->kind) {
    case 'p':
        return name->number <= outage->count;
    case 'm':
        return name->number < outage->count &&
               name->how < OUTAGE_MISSING_HOWS;
    case 'g':
        return name->number < outage->count &&
               name->how < OUTAGE_GARBLED_HOWS;
    case 'r':
        return true;
    default:
        return name->number < outage_masks(outage, name->kind);
    }
}

static void garble(const Outage *outage, const StateName *name)
{
    const Loose *loose = &outage->loose[name->number];
    Garble kind = name->how % GARBLE_KINDS;
    size_t bytes = kind == GARBLE_BLOCK ? BLOCK_BYTES : SIM_SECTOR_BYTES;
    uint64_t offset = loose->offset / bytes * bytes;
    uint64_t words[BLOCK_BYTES / sizeof(uint64_t)];
    /* The value differs in other places and at other times. */
    uint64_t state = mix(mix(name->number + 1, offset), outage->disk->hash);

    if (kind == GARBLE_HALF) {
        memcpy(words, outage->disk->data + offset, bytes);
        memcpy(words, loose->data, bytes / 2);
    } else {
        for (size_t i = 0; i < bytes / sizeof(uint64_t); i++) {
            state = mix(state, i);
            words[i] = state;
        }
    }
    sim_disk_poke(outage->disk, offset, (uint8_t *)words, bytes);
}

bool outage_apply(const Outage *outage, const StateName *name)
{
    if (!exists(outage, name)) {
        return false;
    }
    for (unsigned i = 0; i < outage->count; i++) {
        if (has_landed(outage, name, i)) {
            sim_disk_poke(outage->disk, outage->loose[i].offset,
                          outage->loose[i].data, SIM_SECTOR_BYTES);
        }
    }
    if (name->kind == 'g') {
        garble(outage, name);
    }
    return true;
}

bool outage_is_garble_only(const Outage *outage, const StateName *name)
{
    if (name->kind != 'g') {
        return false;
    }
    for (unsigned i = 0; i < outage->count; i++) {
        if (has_landed(outage, name, i) &&
            !(name->how % GARBLE_KINDS == GARBLE_BLOCK &&
              is_same_block(outage, i, name->number))) {
            return false;
        }
    }
    return true;
}

StateName outage_draw(const Outage *outage, GRand *random)
{
    StateName name = { "srrpmg"[g_rand_int_range(random, 0, 6)] };

    switch (name.kind) {
    case 's':
        if (outage_masks(outage, 's')) {
            name.number = g_rand_int_range(random, 0,
                                           outage_masks(outage, 's'));
            return name;
        }
        name.kind = 'c';
        name.number = g_rand_int_range(random, 0, outage_masks(outage, 'c'));
        return name;
    case 'p':
        name.number = g_rand_int_range(random, 0, outage->count + 1);
        return name;
    case 'm':
    case 'g':
        if (outage->count) {
            name.number = g_rand_int_range(random, 0, outage->count);
            name.how = g_rand_int_range(random, 0, name.kind == 'm'
                                                   ? OUTAGE_MISSING_HOWS
                                                   : OUTAGE_GARBLED_HOWS);
            return name;
        }
        name.kind = 'p';
        return name;
    default:
        name.number = g_rand_int(random);
        return name;
    }
}
