/*
 * Files with the possible contents of a disk after a power failure, and after
 * damage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "emit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 4096,
    DAMAGES = 40,               /* of each store */
    DOUBLE_DAMAGES = 12,
};

static void write_block(int fd, const uint8_t *block, uint64_t offset)
{
    static const uint8_t zero[BLOCK_BYTES];

    if (memcmp(block, zero, BLOCK_BYTES) &&
        pwrite(fd, block, BLOCK_BYTES, offset) != BLOCK_BYTES) {
        g_error("cannot write an image: %s", g_strerror(errno));
    }
}

/* Writes a sparse file whose name says where the image is from. */
static void emit(Output *output, const uint8_t *image, uint64_t bytes,
                 const char *store, const char *what, uint64_t where)
{
    g_autofree char *path = g_strdup_printf(
        "%s/%05u-%s-%s-%" G_GUINT64_FORMAT, output->directory,
        output->count++, store, what, where);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

    if (fd < 0 || ftruncate(fd, bytes)) {
        g_error("cannot create %s: %s", path, g_strerror(errno));
    }
    for (uint64_t at = 0; at < bytes; at += BLOCK_BYTES) {
        write_block(fd, image + at, at);
    }
    close(fd);
}

static const SimEvent *nth_event(const SimDisk *disk, guint n)
{
    return &g_array_index(disk->events, SimEvent, n);
}

typedef enum Torn {
    TORN_NOT,
    TORN_AFTER_PREFIX,
    TORN_BEFORE_SUFFIX,
    TORN_ANYHOW,
    TORN_GARBLED,
    TORN_COUNT,
} Torn;

static const char *const torn_names[TORN_COUNT] = {
    "whole", "prefix", "suffix", "subset", "garbled",
};

static void tear(Output *output, uint8_t *image, const SimEvent *event,
                 Torn torn)
{
    guint sectors = event->bytes / SIM_SECTOR_BYTES;
    guint border = g_rand_int_range(output->random, 0, sectors);

    if (torn == TORN_NOT) {
        sim_event_apply(event, image);
        return;
    }
    for (guint i = 0; i < sectors; i++) {
        uint8_t *to = image + event->offset + i * SIM_SECTOR_BYTES;
        bool lands = (torn == TORN_AFTER_PREFIX && i < border) ||
                     (torn == TORN_BEFORE_SUFFIX && i >= border) ||
                     (torn == TORN_ANYHOW &&
                      g_rand_boolean(output->random)) ||
                     (torn == TORN_GARBLED && i != border);

        if (lands) {
            memcpy(to, event->data + i * SIM_SECTOR_BYTES, SIM_SECTOR_BYTES);
        } else if (torn == TORN_GARBLED) {
            memset(to, 0xa5, SIM_SECTOR_BYTES);
        }
    }
}

/*
 * The power fails after @events: flushed data is there; each other write is
 * there whole, in part or, as the disk may reorder, not at all.
 */
static void emit_cut(Output *output, const SimDisk *disk, const char *store,
                     guint events)
{
    g_autofree uint8_t *image = g_malloc(disk->bytes);
    guint flushed = 0;

    for (guint i = 0; i < events; i++) {
        if (nth_event(disk, i)->kind != SIM_WRITE) {
            flushed = i;
        }
    }
    for (Torn torn = TORN_NOT; torn < TORN_COUNT; torn++) {
        bool loose = false;

        memcpy(image, disk->start, disk->bytes);
        for (guint i = 0; i < events; i++) {
            const SimEvent *event = nth_event(disk, i);

            if (event->kind != SIM_WRITE) {
                continue;
            }
            loose |= i >= flushed;
            tear(output, image, event, i < flushed ? TORN_NOT : torn);
        }
        if (torn == TORN_NOT || loose) {
            emit(output, image, disk->bytes, store, torn_names[torn], events);
        }
    }
}

static void replay(const SimDisk *disk, uint8_t *image, guint events)
{
    memcpy(image, disk->start, disk->bytes);
    for (guint i = 0; i < events; i++) {
        const SimEvent *event = nth_event(disk, i);

        if (event->kind == SIM_WRITE) {
            sim_event_apply(event, image);
        }
    }
}

/* Returns a place that was written at some time, and so matters. */
static uint64_t any_written(Output *output, const SimDisk *disk, size_t bytes)
{
    const SimEvent *event;

    do {
        event = nth_event(disk, g_rand_int_range(output->random, 0,
                                                 disk->events->len));
    } while (event->kind != SIM_WRITE);
    return event->offset + g_rand_int_range(output->random, 0,
                                            event->bytes / bytes) * bytes;
}

typedef enum Damage {
    DAMAGE_ZEROED,
    DAMAGE_RANDOM,
    DAMAGE_FLIPPED,
    DAMAGE_OLDER,
    DAMAGE_SWAPPED,
    DAMAGE_COUNT,
} Damage;

static const char *const damage_names[DAMAGE_COUNT] = {
    "zeroed", "random", "flipped", "older", "swapped",
};

static void damage(Output *output, uint8_t *to, const uint8_t *older,
                   const uint8_t *other, size_t bytes, Damage kind)
{
    switch (kind) {
    case DAMAGE_ZEROED:
        memset(to, 0, bytes);
        break;
    case DAMAGE_RANDOM:
        for (size_t i = 0; i < bytes; i++) {
            to[i] = g_rand_int(output->random);
        }
        break;
    case DAMAGE_FLIPPED:
        to[g_rand_int_range(output->random, 0, bytes)] ^= 4;
        break;
    case DAMAGE_OLDER:
        memcpy(to, older, bytes);
        break;
    default:
        memcpy(to, other, bytes);
        break;
    }
}

void emit_damaged(Output *output, const SimDisk *disk, const char *store)
{
    g_autofree uint8_t *image = g_malloc(disk->bytes);
    g_autofree uint8_t *older = g_malloc(disk->bytes);

    for (unsigned i = 0; i < DAMAGES; i++) {
        Damage kind = i % DAMAGE_COUNT;
        size_t bytes = i & 1 ? SIM_SECTOR_BYTES : BLOCK_BYTES;
        uint64_t at = any_written(output, disk, bytes);
        uint64_t other = any_written(output, disk, bytes);

        memcpy(image, disk->data, disk->bytes);
        replay(disk, older, g_rand_int_range(output->random, 0,
                                             disk->events->len));
        damage(output, image + at, older + at, disk->data + other, bytes,
               kind);
        emit(output, image, disk->bytes, store, damage_names[kind], at);
    }
}

/* Loses whole slots, which leave no evidence of their own. */
static void emit_lost_slots(Output *output, const SimDisk *disk,
                            const char *store, BlobStore *opened)
{
    g_autofree uint8_t *image = g_memdup2(disk->data, disk->bytes);
    g_autofree uint8_t *older = g_malloc(disk->bytes);

    for (size_t i = 0; i < blob_store_count(opened); i++) {
        BlobInfo info;

        blob_get_info(blob_store_nth(opened, i), &info);
        for (unsigned n = 0; n < info.slots; n++) {
            const BlobSlotInfo *slot = &info.slot[n];

            memset(image + slot->offset, 0, slot->length);
            emit(output, image, disk->bytes, store, "wiped", slot->offset);
            for (unsigned part = 1; part < 4; part++) {
                replay(disk, older, disk->events->len * part / 4);
                memcpy(image + slot->offset, older + slot->offset,
                       slot->length);
                emit(output, image, disk->bytes, store, "rolled",
                     slot->offset);
            }
            memcpy(image + slot->offset, disk->data + slot->offset,
                   slot->length);
        }
    }
}

static void hit_current_slot(Output *output, uint8_t *image, BlobStore *opened,
                             bool header_only)
{
    size_t n = g_rand_int_range(output->random, 0, blob_store_count(opened));
    BlobInfo info;

    blob_get_info(blob_store_nth(opened, n), &info);
    for (unsigned i = 0; i < info.slots; i++) {
        if (info.slot[i].current) {
            memset(image + info.slot[i].offset, 0,
                   header_only ? BLOCK_BYTES : info.slot[i].length);
        }
    }
}

/* Damages two versions at once: only trailers can tell which they were. */
static void emit_twice_damaged(Output *output, const SimDisk *disk,
                               const char *store, BlobStore *opened)
{
    g_autofree uint8_t *image = g_malloc(disk->bytes);

    for (unsigned i = 0; i < DOUBLE_DAMAGES; i++) {
        memcpy(image, disk->data, disk->bytes);
        hit_current_slot(output, image, opened, true);
        hit_current_slot(output, image, opened, i & 1);
        emit(output, image, disk->bytes, store, "twice", i);
    }
}

void emit_cuts(Output *output, const SimDisk *disk, const char *store)
{
    for (guint events = 0; events <= disk->events->len; events++) {
        emit_cut(output, disk, store, events);
    }
}

void emit_whole_cuts(Output *output, const SimDisk *disk, const char *store,
                     guint stride)
{
    g_autofree uint8_t *image = g_malloc(disk->bytes);

    for (guint events = 0; events <= disk->events->len; events += stride) {
        replay(disk, image, events);
        emit(output, image, disk->bytes, store, torn_names[TORN_NOT], events);
    }
}

void emit_all(Output *output, const SimDisk *disk, const char *name,
              BlobStore *store)
{
    emit_cuts(output, disk, name);
    emit_damaged(output, disk, name);
    emit_lost_slots(output, disk, name, store);
    emit_twice_damaged(output, disk, name, store);
}

int emit_main(int argc, char **argv, void (*run)(Output *output))
{
    gint seed = 1;
    const GOptionEntry entries[] = {
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of tears and damage", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new("DIRECTORY");
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) random = NULL;
    Output output = { 0 };

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc != 2) {
        fprintf(stderr, "%s\n", error ? error->message
                                      : "one DIRECTORY is needed");
        return 2;
    }
    random = g_rand_new_with_seed(seed);
    output.directory = argv[1];
    output.random = random;
    run(&output);
    return 0;
}
