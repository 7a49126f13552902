/*
 * Damage: every sector and every slot of a populated store, one at a time
 *
 *   damage [--swaps=N] [--every=N] [--seed=N]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "blobstore/format/layout.h"

/* Stores with every kind of commit; a full stop closes them cleanly */
static const char *const histories[] = {
    "w", "wv", "vw", "wvm", "mwv", "wvd", "dwv", "wve", "ew", "nwvm", "wvn",
    "wvc", "wvmc", "wdc", "gwv", "wvg", "mmmw", "uwv", "fwvw", "wFwv",
    "wv.", "wvmn.", "wvd.", "wvg.",
};

/* The same, sealed, and stores whose keys have changed */
static const char *const sealed_histories[] = {
    "Sw", "Swv", "Svw", "Swvm", "Smwv", "Swvd", "Sdwv", "Swve", "Sew",
    "Snwvm", "Swvn", "Swvc", "Swvmc", "Swdc", "Sgwv", "Swvg", "Smmmw", "Suwv",
    "Sfwvw", "SwFwv", "Swv.", "Swvmn.", "Swvd.", "Swvg.",
    "Skwv", "Skkm", "Swk", "Skd", "Skmd", "Smde.", "xw", "xwv", "dx", "x.",
    "Sxk", "Sxkm", "Sdxw", "Sx.", "Sywv", "Sy.",
};

/*
 * Checks a disk on which @bytes at @at and at @other have changed, and
 * restores them.
 */
static void check(Damage *damage, const char *kind, uint64_t at,
                  uint64_t other, size_t bytes, bool repair)
{
    const uint8_t *intact = damage->history->disk->data;
    bool any = false;

    damage->kind = kind;
    damage->at = at;
    damage->other = other;
    damage->bytes = bytes;
    if (bytes && !damage_differs(damage, at, at + bytes) &&
        !damage_differs(damage, other, other + bytes)) {
        return;
    }
    damage->images++;
    damage_find_hits(damage);
    damage_find_expected(damage);
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);

        any = any || (place->hit && place->current);
        damage->copies += place->hit && place->owner < 0;
        damage->found += place->hit && place->current && place->owner >= 0 &&
                         !place->unconfirmed;
    }
    damage->harmless += !any;
    damage_check_image(damage);
    if (repair && !damage_is_lost(damage, PLACE_SUPERBLOCK) &&
        !damage_is_lost(damage, PLACE_DIRECTORY) &&
        (!damage->sealed || damage_secrets(damage))) {
        damage_check_repair(damage);
        memcpy(damage->disk->data, intact, HISTORY_DISK_BYTES);
    }
    memcpy(damage->disk->data + at, intact + at, bytes);
    memcpy(damage->disk->data + other, intact + other, bytes);
}

static uint8_t *piece(Damage *damage, uint64_t at)
{
    return damage->disk->data + at;
}

static void swap(Damage *damage, const char *kind, uint64_t at,
                 uint64_t other, size_t bytes)
{
    const uint8_t *intact = damage->history->disk->data;

    memcpy(piece(damage, at), intact + other, bytes);
    memcpy(piece(damage, other), intact + at, bytes);
    check(damage, kind, at, other, bytes, false);
}

/*
 * Returns where a piece lies within the image of its slot: bytes from the
 * start in a header, from the end in a trailer, or in the payload.
 */
static int64_t role(const Place *place, uint64_t at, size_t bytes)
{
    uint64_t image = place->image ? place->image
                                  : blob_layout_image_bytes(0);
    uint64_t from = at - place->offset;

    if (from < BLOB_HEADER_BYTES) {
        return from + bytes;
    }
    if (from + bytes > image - BLOB_HEADER_BYTES) {
        return -(int64_t)(image - from);
    }
    return 0;
}

static const Place *place_around(const Damage *damage, uint64_t at)
{
    for (guint i = 0; i < damage->places->len; i++) {
        const Place *place = damage_place(damage, i);
        uint64_t image = place->image ? place->image
                                      : blob_layout_image_bytes(0);

        if (at >= place->offset && at < place->offset + image) {
            return place;
        }
    }
    return NULL;
}

/* Swaps each two pieces of the same role once. */
static void swap_roles(Damage *damage, uint64_t at, size_t bytes)
{
    const Place *place = place_around(damage, at);

    for (uint64_t other = at + bytes; place && other < HISTORY_DISK_BYTES;
         other += bytes) {
        const Place *around = place_around(damage, other);

        if (around && role(around, other, bytes) == role(place, at, bytes)) {
            swap(damage, "swapped (same role)", at, other, bytes);
        }
    }
}

static void damage_piece(Damage *damage, uint64_t at, size_t bytes,
                         GRand *random, unsigned swaps)
{
    memset(piece(damage, at), 0, bytes);
    check(damage, "zeroed", at, at, bytes, false);

    for (size_t i = 0; i < bytes; i++) {
        piece(damage, at)[i] = g_rand_int(random);
    }
    check(damage, "random", at, at, bytes, true);

    piece(damage, at)[g_rand_int_range(random, 0, bytes)] ^=
        1 << g_rand_int_range(random, 0, 8);
    check(damage, "with a bit flipped", at, at, bytes, false);

    for (guint i = 0; i < damage->older->len; i++) {
        const uint8_t *older = g_ptr_array_index(damage->older, i);

        memcpy(piece(damage, at), older + at, bytes);
        check(damage, "rolled back", at, at, bytes, false);
    }
    swap_roles(damage, at, bytes);
    for (unsigned i = 0; i < swaps; i++) {
        swap(damage, "swapped", at,
             g_rand_int_range(random, 0, HISTORY_DISK_BYTES / bytes) * bytes,
             bytes);
    }
}

/* R9: a whole slot leaves no evidence of its own. */
static void damage_slots(Damage *damage)
{
    for (guint n = 0; n < damage->places->len; n++) {
        const Place *place = damage_place(damage, n);
        uint64_t at = place->offset;
        size_t bytes = place->image;

        memset(piece(damage, at), 0, bytes);
        check(damage, "wiped (a slot)", at, at, bytes, true);
        for (guint i = 0; i < damage->older->len; i++) {
            const uint8_t *older = g_ptr_array_index(damage->older, i);

            memcpy(piece(damage, at), older + at, bytes);
            check(damage, "rolled back (a slot)", at, at, bytes, true);
        }
    }
}

static void garble(Damage *damage, uint64_t at, GRand *random)
{
    for (size_t i = 0; i < SIM_SECTOR_BYTES; i++) {
        piece(damage, at)[i] = g_rand_int(random);
    }
}

/* Damages both copies of the superblock: the same sector, or different ones. */
static void damage_superblocks(Damage *damage, GRand *random)
{
    uint64_t bytes = blob_layout_image_bytes(BLOB_SUPERBLOCK_BYTES);

    for (uint64_t at = 0; at < bytes; at += SIM_SECTOR_BYTES) {
        uint64_t same = BLOB_SUPERBLOCK_SLOT_BYTES + at;
        uint64_t other = BLOB_SUPERBLOCK_SLOT_BYTES +
                         g_rand_int_range(random, 0, bytes / 512) * 512;

        memset(piece(damage, at), 0, SIM_SECTOR_BYTES);
        memset(piece(damage, same), 0, SIM_SECTOR_BYTES);
        check(damage, "zeroed", at, same, SIM_SECTOR_BYTES, false);
        garble(damage, at, random);
        garble(damage, same, random);
        check(damage, "random", at, same, SIM_SECTOR_BYTES, true);
        garble(damage, at, random);
        garble(damage, other, random);
        check(damage, "random", at, other, SIM_SECTOR_BYTES, true);
    }
}

/* The images that the disk held after each flush before the last */
static GPtrArray *older_images(const SimDisk *disk)
{
    GPtrArray *images = g_ptr_array_new_with_free_func(g_free);
    g_autofree uint8_t *image = g_memdup2(disk->start, disk->bytes);

    g_ptr_array_add(images, g_memdup2(image, disk->bytes));
    for (guint i = 0; i + 1 < disk->events->len; i++) {
        const SimEvent *event = &g_array_index(disk->events, SimEvent, i);

        if (event->kind != SIM_WRITE) {
            g_ptr_array_add(images, g_memdup2(image, disk->bytes));
        } else {
            sim_event_apply(event, image);
        }
    }
    return images;
}

/*
 * Returns what the last operation replaced, if nothing followed it; an epoch
 * record follows a deletion from a sealed store.
 */
static World world_before_last(const History *history, const char *ops)
{
    bool sealed = history->keys.data_key;
    char last = ops[strlen(ops) - 1];
    const Promise *promise;

    if (!strchr(sealed ? "wvm" : "wvmde", last) || history->cuts->len < 2) {
        return history->acknowledged;
    }
    promise = &g_array_index(history->promises, Promise,
                             history->promises->len - 2);
    return promise->worlds[promise->count - 2];
}

static void damage_history(Damage *damage, const char *ops, GRand *random,
                           gint swaps)
{
    g_auto(GStrv) parts = g_strsplit(ops, ".", 2);

    damage->ops = ops;
    damage->clean = parts[1];
    damage->history = history_run(parts[0]);
    damage->sealed = damage->history->keys.data_key;
    if (damage->clean &&
        !blob_store_close_clean(damage->history->store, NULL)) {
        g_error("%s: cannot be closed", ops);
    }
    damage->older = older_images(damage->history->disk);
    damage->before_last = damage->clean
                          ? damage->history->acknowledged
                          : world_before_last(damage->history, ops);
    damage->places = g_array_new(FALSE, TRUE, sizeof(Place));
    damage_find_places(damage);
    damage->disk = sim_disk_new(damage->history->disk->data,
                                HISTORY_DISK_BYTES);
    check(damage, "intact", 0, 0, 0, true);
    for (uint64_t at = 0; at < HISTORY_DISK_BYTES; at += 512) {
        damage_piece(damage, at, 512, random, swaps);
    }
    for (uint64_t at = 0; at < HISTORY_DISK_BYTES; at += 4096) {
        damage_piece(damage, at, 4096, random, swaps);
    }
    damage_slots(damage);
    damage_superblocks(damage, random);
    sim_disk_free(damage->disk);
    g_array_unref(damage->places);
    g_ptr_array_unref(damage->older);
    history_free(damage->history);
}

int main(int argc, char **argv)
{
    gint swaps = 64;
    gint every = 1;
    gint seed = 1;
    guint stores = 0;
    const GOptionEntry entries[] = {
        { "swaps", 0, 0, G_OPTION_ARG_INT, &swaps,
          "other sectors that each is swapped with", "N" },
        { "every", 0, 0, G_OPTION_ARG_INT, &every,
          "of so many stores one is taken", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of the damage", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) random = NULL;
    Damage damage = { 0 };

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    random = g_rand_new_with_seed(seed);
    every = MAX(1, every);
    for (size_t i = 0; i < G_N_ELEMENTS(histories); i += every) {
        damage_history(&damage, histories[i], random, swaps);
        stores++;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(sealed_histories); i += every) {
        damage_history(&damage, sealed_histories[i], random, swaps);
        stores++;
    }
    printf("%" PRIu64 " damaged images of %u stores (seed %d): %" PRIu64
           " blobs, %" PRIu64 " copies and %" PRIu64 " with key slots found "
           "damaged, %" PRIu64 " with the last commit undone, %" PRIu64
           " refused, %" PRIu64 " harmless; %" PRIu64 " repaired\n",
           damage.images, stores, seed, damage.found, damage.copies,
           damage.key_slots, damage.unconfirmed, damage.refused,
           damage.harmless, damage.repaired);
    printf("%s: %" PRIu64 " broken promises\n",
           damage.failures ? "FAILED" : "passed", damage.failures);
    return damage.failures ? 1 : 0;
}
