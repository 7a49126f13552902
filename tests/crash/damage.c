/*
 * Damage: every sector and every slot of a populated store, one at a time
 *
 *   damage [--swaps=N] [--seed=N]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "history.h"

/* Stores with every kind of commit, closed cleanly (c) and not */
static const char *const histories[] = {
    "w", "wv", "vw", "wvm", "mwv", "wvd", "dwv", "wve", "ew", "nwvm", "wvn",
    "wvc", "wvmc", "wdc", "gwv", "wvg", "mmmw", "uwv", "fwvw", "wFwv",
};

typedef struct Damage {
    const char *ops;
    History *history;
    GPtrArray *older;           /* images, oldest first */
    World before_last;          /* what the last commit replaced */
    SimDisk *disk;
    const char *kind;
    uint64_t at;
    uint64_t images;
    uint64_t found;             /* images with a blob said to be damaged */
    uint64_t unconfirmed;       /* the documented exception */
    uint64_t refused;           /* both copies of a pair were hit */
    uint64_t failures;
} Damage;

static void fail(Damage *damage, const char *why)
{
    damage->failures++;
    printf("FAILED %s: %s at %" G_GUINT64_FORMAT ": %s\n", damage->ops,
           damage->kind, damage->at, why);
}

/* Whether @n reads as before the last commit, which nothing confirms */
static bool is_unconfirmed(const Damage *damage, unsigned n, unsigned version)
{
    return version == damage->before_last.version[n] &&
           version != damage->history->acknowledged.version[n];
}

static void check_blobs(Damage *damage, BlobStore *store, unsigned max_lost)
{
    static const char *const names[HISTORY_BLOBS] = { "a", "b", "c" };
    unsigned lost = 0;
    bool unconfirmed = false;

    for (unsigned n = 0; n < HISTORY_BLOBS; n++) {
        Blob *blob = blob_store_find(store, "dev", names[n]);
        g_autoptr(GBytes) content = NULL;
        g_autoptr(GBytes) expected = NULL;
        g_autoptr(GError) error = NULL;
        unsigned version = 0;
        unsigned wanted = damage->history->acknowledged.version[n];

        if (blob && !blob_store_read(store, blob, &content, NULL, &error)) {
            if (!g_error_matches(error, BLOBSTORE_ERROR,
                                 BLOBSTORE_ERROR_DAMAGED)) {
                fail(damage, error->message);
            }
            lost++;
            continue;
        }
        if (content) {
            const uint8_t *data = g_bytes_get_data(content, NULL);

            version = data[0] | data[1] << 8;
            expected = history_content(n, version);
            if (!g_bytes_equal(content, expected)) {
                fail(damage, "wrong bytes are returned");
            }
        }
        if (version != wanted) {
            if (is_unconfirmed(damage, n, version)) {
                unconfirmed = true;
            } else {
                fail(damage, "an older version is served silently");
            }
        }
    }
    damage->found += lost > 0;
    damage->unconfirmed += unconfirmed;
    if (lost > max_lost) {
        fail(damage, "more blobs are lost than the damage touched");
    }
}

static void check(Damage *damage, const char *kind, uint64_t at,
                  unsigned max_lost)
{
    BlobStoreOptions options = { .read_only = true, .directory_blobs = 4 };
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store =
        blob_store_open(sim_disk_storage(damage->disk), &options, &error);

    damage->kind = kind;
    damage->at = at;
    damage->images++;
    if (store) {
        check_blobs(damage, store, max_lost);
    } else if (max_lost > 1 && g_error_matches(error, BLOBSTORE_ERROR,
                                               BLOBSTORE_ERROR_CORRUPT)) {
        damage->refused++;
    } else {
        fail(damage, error->message);
    }
    memcpy(damage->disk->data, damage->history->disk->data,
           HISTORY_DISK_BYTES);
}

static uint8_t *sector(Damage *damage, uint64_t at)
{
    return damage->disk->data + at;
}

static void damage_piece(Damage *damage, uint64_t at, size_t bytes,
                         GRand *random, unsigned swaps)
{
    memset(sector(damage, at), 0, bytes);
    check(damage, "zeroed", at, 1);

    for (size_t i = 0; i < bytes; i++) {
        sector(damage, at)[i] = g_rand_int(random);
    }
    check(damage, "random", at, 1);

    sector(damage, at)[g_rand_int_range(random, 0, bytes)] ^=
        1 << g_rand_int_range(random, 0, 8);
    check(damage, "bit flipped", at, 1);

    for (guint i = 0; i < damage->older->len; i++) {
        const uint8_t *older = g_ptr_array_index(damage->older, i);

        if (memcmp(older + at, sector(damage, at), bytes)) {
            memcpy(sector(damage, at), older + at, bytes);
            check(damage, "rolled back", at, 1);
        }
    }
    for (unsigned i = 0; i < swaps; i++) {
        uint64_t other = g_rand_int_range(random, 0,
                                          HISTORY_DISK_BYTES / bytes) * bytes;
        const uint8_t *intact = damage->history->disk->data;

        memcpy(sector(damage, at), intact + other, bytes);
        memcpy(sector(damage, other), intact + at, bytes);
        /* Two sectors are damaged: of two blobs, or of both copies. */
        check(damage, "swapped", at, 2);
    }
}

/* R9: a whole slot leaves no evidence of its own. */
static void damage_slots(Damage *damage)
{
    for (size_t b = 0; b < blob_store_count(damage->history->store); b++) {
        BlobInfo info;

        blob_get_info(blob_store_nth(damage->history->store, b), &info);
        for (unsigned n = 0; n < info.slots; n++) {
            uint64_t at = info.slot[n].offset;

            memset(sector(damage, at), 0, info.slot[n].length);
            check(damage, "slot wiped", at, 1);
            for (guint i = 0; i < damage->older->len; i++) {
                const uint8_t *older = g_ptr_array_index(damage->older, i);

                memcpy(sector(damage, at), older + at, info.slot[n].length);
                check(damage, "slot rolled back", at, 1);
            }
        }
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

/* What the last operation replaced, if nothing came after it */
static World world_before_last(const History *history, const char *ops)
{
    char last = ops[strlen(ops) - 1];
    const Promise *promise;

    if (!strchr("wvmde", last) || history->cuts->len < 2) {
        return history->acknowledged;
    }
    promise = &g_array_index(history->promises, Promise,
                             history->promises->len - 2);
    return promise->worlds[promise->count - 2];
}

static void damage_history(Damage *damage, const char *ops, GRand *random,
                           gint swaps)
{
    damage->ops = ops;
    damage->history = history_run(ops);
    damage->older = older_images(damage->history->disk);
    damage->before_last = world_before_last(damage->history, ops);
    damage->disk = sim_disk_new(damage->history->disk->data,
                                HISTORY_DISK_BYTES);
    check(damage, "intact", 0, 0);
    for (uint64_t at = 0; at < HISTORY_DISK_BYTES; at += 512) {
        damage_piece(damage, at, 512, random, swaps);
    }
    for (uint64_t at = 0; at < HISTORY_DISK_BYTES; at += 4096) {
        damage_piece(damage, at, 4096, random, swaps);
    }
    damage_slots(damage);
    sim_disk_free(damage->disk);
    g_ptr_array_unref(damage->older);
    history_free(damage->history);
}

int main(int argc, char **argv)
{
    gint swaps = 4;
    gint seed = 1;
    const GOptionEntry entries[] = {
        { "swaps", 0, 0, G_OPTION_ARG_INT, &swaps,
          "other sectors that each is swapped with", "N" },
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
    for (size_t i = 0; i < G_N_ELEMENTS(histories); i++) {
        damage_history(&damage, histories[i], random, swaps);
    }
    printf("%" G_GUINT64_FORMAT " damaged images of %zu stores (seed %d): "
           "%" G_GUINT64_FORMAT " with a blob found damaged, %"
           G_GUINT64_FORMAT " with the last commit undone, %"
           G_GUINT64_FORMAT " refused\n", damage.images,
           G_N_ELEMENTS(histories), seed, damage.found, damage.unconfirmed,
           damage.refused);
    printf("%s: %" G_GUINT64_FORMAT " broken promises\n",
           damage.failures ? "FAILED" : "passed", damage.failures);
    return damage.failures ? 1 : 0;
}
