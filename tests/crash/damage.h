/*
 * Damage of a populated store: the places, and the consequences
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_DAMAGE_H
#define TESTS_CRASH_DAMAGE_H

#include "history.h"

enum {
    PLACE_SUPERBLOCK = -1,
    PLACE_DIRECTORY = -2,
    LOST = UINT32_MAX,          /* as a version: found damaged */
};

/* One slot, and its content in an intact store */
typedef struct Place {
    int owner;                  /* number of a blob, or one of the above */
    uint64_t offset;
    uint64_t payload;           /* stored bytes */
    uint64_t image;             /* bytes; 0: the slot is empty */
    bool deleted;
    bool current;               /* the slot holds the version that counts */
    bool unconfirmed;           /* ... and of the last commit */
    bool hit;                   /* a byte of it that matters has changed */
} Place;

typedef struct Damage {
    const char *ops;
    History *history;
    GPtrArray *older;           /* images, oldest first */
    World before_last;          /* what the last commit replaced */
    bool clean;
    bool sealed;
    GArray *places;             /* of Place */
    SimDisk *disk;
    const char *kind;
    uint64_t at;
    uint64_t other;             /* the place that it was swapped with */
    size_t bytes;
    World expected;
    unsigned lost_key_slots;    /* a bit for each that is hit in both copies */
    uint64_t images;
    uint64_t harmless;          /* nothing that matters has changed */
    uint64_t found;             /* images with a blob said to be damaged */
    uint64_t copies;            /* ... with a copy */
    uint64_t key_slots;         /* ... with a key slot */
    uint64_t unconfirmed;       /* the documented exception */
    uint64_t refused;           /* both copies of a pair were hit */
    uint64_t repaired;
    uint64_t failures;
} Damage;

/* Of the blobs */
extern const char *const damage_names[HISTORY_BLOBS];

void G_GNUC_PRINTF(2, 3) damage_fail(Damage *damage, const char *format, ...);

/* damageplace.c */

/* Finds the place of everything in the intact store. */
void damage_find_places(Damage *damage);
Place *damage_place(const Damage *damage, guint i);
/*
 * Returns whether the disk differs from the intact one between @from and @to.
 */
bool damage_differs(const Damage *damage, uint64_t from, uint64_t to);
/* Finds the places that have lost a byte that matters. */
void damage_find_hits(Damage *damage);
/*
 * Returns whether the last commit, which nothing confirms, is hit and so
 * undone.
 */
bool damage_is_undone(const Damage *damage);
/*
 * Returns whether @owner is lost: both copies are hit, and for the superblock
 * the damage is outside of the key slots.
 */
bool damage_is_lost(const Damage *damage, int owner);
/* Returns the secrets that still open the store. */
unsigned damage_secrets(const Damage *damage);
/* Returns the place that errors must name for blob @n, if there is one. */
const Place *damage_expected(const Damage *damage, int n, bool undone);
/* Finds what the blobs must be read as. */
void damage_find_expected(Damage *damage);

/* damagecheck.c: opens what is on the disk and compares */
void damage_check_image(Damage *damage);
/*
 * The same for writing, which repairs what can be repaired; the disk changes.
 */
void damage_check_repair(Damage *damage);

#endif /* TESTS_CRASH_DAMAGE_H */
