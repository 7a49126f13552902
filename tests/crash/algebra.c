/*
 * Damage by somebody who computes: he cannot write what the store would take
 * for its own, but he reads every header, and keeps old images.
 *
 *   algebra [--blobs=N] [--sets=N] [--seed=N]
 *
 * A census is an XOR of hashes.  The censuses of successive headers show him
 * what each commit changed in the sum; elimination over GF(2) gives sets of
 * commits that together change nothing.  He undoes such a set.  In a plain
 * store he must succeed, or he is not clever enough for this test; in a sealed
 * one he must fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "keys.h"

enum {
    MAX_BLOBS = 256,
    ROUNDS = 3,                 /* versions of each blob, and so images */
    AT_CENSUS = 96,
};

/* So many bits, one for each commit of a round */
typedef struct Set {
    uint64_t bits[MAX_BLOBS / 64];
} Set;

typedef struct Vector {
    uint64_t sum[2];            /* the change of a census */
    Set commits;                /* which make it up */
} Vector;

/* His idea of the censuses of two rounds */
typedef enum Idea {
    /* They are sums: he undoes the last commit of a blob. */
    IDEA_BARE,
    /* A blob has one mask for ever: he undoes its last two commits. */
    IDEA_MASK_OF_BLOB,
    IDEA_COUNT,
} Idea;

/* What he writes to a slot that he undoes */
typedef enum Way {
    WAY_WIPE,
    WAY_ROLL_BACK,
    WAY_WIPE_HEADER,
    WAY_WIPE_TRAILER,
    WAY_ROLL_BACK_HEADER,
    WAY_COUNT,
} Way;

typedef struct Attack {
    bool sealed;
    unsigned blobs;
    uint8_t uuid[BLOB_UUID_BYTES];
    TestDisk *disk;
    uint8_t *images[ROUNDS + 1];        /* after so many rounds */
    uint64_t bytes;
    uint64_t offsets[MAX_BLOBS];        /* of the extents */
    uint64_t slot_bytes;
    unsigned tried;
    unsigned refused;
    unsigned damaged;
    unsigned deceived;          /* a blob was older without an error */
} Attack;

static BlobStore *open_store(Attack *attack, BlobKeySlots *slots,
                             GError **error)
{
    BlobStoreOptions options = {
        .uuid = attack->uuid,
        .create_as_uuid = true,
        .key = attack->sealed ? keys_data_key(1) : NULL,
        .key_slots = slots,
    };

    return blob_store_open(attack->disk->storage, &options, error);
}

static Blob *find(BlobStore *store, unsigned n)
{
    g_autofree char *name = g_strdup_printf("%u", n);

    return blob_store_find(store, "t", name);
}

static void write_round(Attack *attack, BlobStore *store, unsigned round)
{
    g_autofree char *text = g_strdup_printf("version %u", round);

    for (unsigned n = 0; n < attack->blobs; n++) {
        test_write(store, find(store, n), text);
    }
    attack->images[round] = g_memdup2(test_disk_bytes(attack->disk),
                                      attack->bytes);
}

/* All rounds but the first are of one epoch, which is not closed. */
static void populate(Attack *attack)
{
    BlobKeySlots slots = { 0 };
    g_autoptr(BlobStore) store = NULL;

    memset(attack->uuid, 1, sizeof(attack->uuid));
    keys_put_raw(&slots, 1, keys_data_key(1), attack->uuid);
    store = open_store(attack, &slots, NULL);
    g_assert_nonnull(store);
    for (unsigned n = 0; n < attack->blobs; n++) {
        g_autofree char *name = g_strdup_printf("%u", n);

        test_register(store, name, 1000);
    }
    test_start(store);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        write_round(attack, store, round);
    }
    for (unsigned n = 0; n < attack->blobs; n++) {
        attack->offsets[n] = find(store, n)->entry.offset;
        attack->slot_bytes = find(store, n)->entry.slot_bytes;
    }
}

/* The rounds go to the slots in turn. */
static uint64_t slot_of_round(const Attack *attack, unsigned n, unsigned round)
{
    return attack->offsets[n] + (round - 1) % 2 * attack->slot_bytes;
}

static const uint8_t *header_of_round(const Attack *attack, unsigned n,
                                      unsigned round)
{
    return attack->images[round] + slot_of_round(attack, n, round);
}

/*
 * Returns the census before commit @n of the last round, according to the
 * idea.
 */
static Vector census_before(const Attack *attack, Idea idea, unsigned n)
{
    Vector vector = { 0 };
    uint64_t before[2];

    memcpy(vector.sum, header_of_round(attack, n, ROUNDS) + AT_CENSUS,
           sizeof(vector.sum));
    if (idea == IDEA_MASK_OF_BLOB) {
        memcpy(before, header_of_round(attack, n, ROUNDS - 1) + AT_CENSUS,
               sizeof(before));
        vector.sum[0] ^= before[0];
        vector.sum[1] ^= before[1];
    }
    return vector;
}

static void add_set(Set *to, const Set *set)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(to->bits); i++) {
        to->bits[i] ^= set->bits[i];
    }
}

static void add(Vector *to, const Vector *vector)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(to->sum); i++) {
        to->sum[i] ^= vector->sum[i];
    }
    add_set(&to->commits, &vector->commits);
}

static bool has_bit(const uint64_t *bits, unsigned n)
{
    return bits[n / 64] >> n % 64 & 1;
}

/*
 * Returns sets of commits that, according to the idea, together change
 * nothing.  The last commit is in none, because nothing shows what it changed.
 */
static GArray *find_sets(const Attack *attack, Idea idea)
{
    GArray *sets = g_array_new(FALSE, FALSE, sizeof(Set));
    Vector pivots[128] = { 0 };

    for (unsigned n = 0; n + 1 < attack->blobs; n++) {
        Vector vector = census_before(attack, idea, n);
        Vector next = census_before(attack, idea, n + 1);
        unsigned bit = 0;

        add(&vector, &next);
        vector.commits.bits[n / 64] |= UINT64_C(1) << n % 64;
        for (; bit < 128; bit++) {
            if (!has_bit(vector.sum, bit)) {
                continue;
            }
            if (!has_bit(pivots[bit].sum, bit)) {
                pivots[bit] = vector;
                break;
            }
            add(&vector, &pivots[bit]);
        }
        if (bit == 128) {
            g_array_append_val(sets, vector.commits);
        }
    }
    return sets;
}

/*
 * Returns the slot of @round on the medium; *@older becomes what it held when
 * @then was written.
 */
static uint8_t *find_slot(Attack *attack, unsigned n, unsigned round,
                          unsigned then, const uint8_t **older)
{
    uint64_t at = slot_of_round(attack, n, round);

    *older = attack->images[then] + at;
    return test_disk_bytes(attack->disk) + at;
}

/* Restores the slot to its state before @round was written. */
static void undo_slot(Attack *attack, unsigned n, unsigned round, Way way)
{
    const uint8_t *older;
    uint8_t *slot = find_slot(attack, n, round, round - 1, &older);

    switch (way) {
    case WAY_WIPE:
        memset(slot, 0, attack->slot_bytes);
        break;
    case WAY_ROLL_BACK:
        memcpy(slot, older, attack->slot_bytes);
        break;
    case WAY_WIPE_HEADER:
        memset(slot, 0, BLOB_BLOCK_BYTES);
        break;
    case WAY_WIPE_TRAILER:
        memset(slot + BLOB_BLOCK_BYTES, 0, BLOB_BLOCK_BYTES);
        break;
    default:
        memcpy(slot, older, BLOB_BLOCK_BYTES);
    }
}

static void undo(Attack *attack, const Set *set, Idea idea, Way way)
{
    const uint8_t *older;
    uint8_t *slot;

    for (unsigned n = 0; n < attack->blobs; n++) {
        if (!has_bit(set->bits, n)) {
            continue;
        }
        if (idea == IDEA_MASK_OF_BLOB) {
            /* The slot of this round holds what the first round wrote. */
            undo_slot(attack, n, ROUNDS - 1, way);
            slot = find_slot(attack, n, ROUNDS, 1, &older);
            memcpy(slot, older, attack->slot_bytes);
        } else {
            undo_slot(attack, n, ROUNDS, way);
        }
    }
}

/* Opens the store in its current state. */
static void look(Attack *attack)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobStore) store = open_store(attack, NULL, &error);
    g_autofree char *text = g_strdup_printf("version %u", ROUNDS);
    bool any_older = false;
    bool any_damaged = false;

    attack->tried++;
    if (!store) {
        attack->refused++;
        return;
    }
    for (unsigned n = 0; n < attack->blobs; n++) {
        g_autofree char *found = test_read(store, find(store, n), NULL);

        any_older = any_older || (found && strcmp(found, text));
        any_damaged = any_damaged || !found;
    }
    attack->damaged += any_damaged;
    attack->deceived += any_older;
}

static void try_sets(Attack *attack, Idea idea, unsigned count, GRand *random)
{
    g_autoptr(GArray) sets = find_sets(attack, idea);

    g_assert_cmpuint(sets->len, >, 0);
    for (unsigned i = 0; i < count; i++) {
        Set set = g_array_index(sets, Set, i % sets->len);

        /* Two such sets make another one. */
        if (i >= sets->len) {
            add_set(&set, &g_array_index(
                sets, Set, g_rand_int_range(random, 0, sets->len)));
        }
        for (Way way = 0; way < WAY_COUNT; way++) {
            undo(attack, &set, idea, way);
            look(attack);
            memcpy(test_disk_bytes(attack->disk), attack->images[ROUNDS],
                   attack->bytes);
        }
    }
}

/* Returns how often he deceived the store. */
static unsigned run(bool sealed, unsigned blobs, unsigned sets, GRand *random)
{
    Attack attack = {
        .sealed = sealed,
        .blobs = blobs,
        .bytes = test_required_bytes(blobs, 1000),
    };

    attack.disk = test_disk_new(attack.bytes);
    populate(&attack);
    look(&attack);
    g_assert_cmpuint(attack.refused + attack.damaged + attack.deceived, ==, 0);
    for (Idea idea = 0; idea < IDEA_COUNT; idea++) {
        try_sets(&attack, idea, sets, random);
    }
    printf("%s store of %u blobs, %u images: %u refused, %u with damage, "
           "%u with older content that nothing reports\n",
           sealed ? "sealed" : "plain", blobs, attack.tried, attack.refused,
           attack.damaged, attack.deceived);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        g_free(attack.images[round]);
    }
    test_disk_free(attack.disk);
    return attack.deceived;
}

int main(int argc, char **argv)
{
    gint blobs = 200;
    gint sets = 4;
    gint seed = 1;
    unsigned plain;
    unsigned sealed;
    const GOptionEntry entries[] = {
        { "blobs", 0, 0, G_OPTION_ARG_INT, &blobs, "in a store", "N" },
        { "sets", 0, 0, G_OPTION_ARG_INT, &sets, "that are undone", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of what is drawn", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) random = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) ||
        blobs < 140 || blobs > MAX_BLOBS) {
        fprintf(stderr, "%s\n", error ? error->message
                                      : "blobs: 140 to 256");
        return 2;
    }
    random = g_rand_new_with_seed(seed);
    plain = run(false, blobs, sets, random);
    sealed = run(true, blobs, sets, random);
    printf("%s: the attacker %s a plain store, and %s a sealed one (seed "
           "%d)\n", plain && !sealed ? "passed" : "FAILED",
           plain ? "deceives" : "cannot even deceive",
           sealed ? "deceives" : "does not deceive", seed);
    return plain && !sealed ? 0 : 1;
}
