/*
 * A power failure, and the states that it may leave on the disk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_OUTAGE_H
#define TESTS_CRASH_OUTAGE_H

#include "simdisk.h"

enum {
    OUTAGE_EXHAUSTIVE_SECTORS = 12,
    OUTAGE_MAX_LOOSE = 768,
    OUTAGE_CLASSES = 5,         /* of the sectors of a write */
    OUTAGE_NAME_BYTES = 32,
};

/* A sector that was written but not flushed when the power failed */
typedef struct Loose {
    uint64_t offset;
    const uint8_t *data;
    unsigned write;             /* which write it belongs to */
    unsigned class;             /* the sector's role within that write */
    bool failed;                /* the write was reported as failed */
} Loose;

typedef struct Outage {
    SimDisk *disk;              /* holds what is durable */
    unsigned count;
    Loose loose[OUTAGE_MAX_LOOSE];
} Outage;

/*
 * A short name describes what is left:
 *
 * s<MASK>     of up to 12 loose sectors, those in the mask have landed
 * c<MASK>     the same of the classes header, first, middle, last payload
 *             sector and trailer, of each write
 * p<N>        the first N have landed
 * m<N>.<HOW>  all but the Nth have; HOW 1: all but its block of 4096 bytes
 * g<N>.<HOW>  the Nth was garbled.  HOW % 3: the sector, its block, or the
 *             sector is half new; HOW / 3: those before it, all, or none of
 *             the others have landed
 * r<SEED>     a random subset
 *
 * All numbers are hexadecimal.
 */
typedef struct StateName {
    char kind;
    unsigned number;
    unsigned how;
} StateName;

enum { OUTAGE_MISSING_HOWS = 2, OUTAGE_GARBLED_HOWS = 9 };

bool state_name_parse(const char *text, StateName *name);
void state_name_print(const StateName *name, char text[OUTAGE_NAME_BYTES]);

/*
 * Prepares for a power failure after the first @events of @log, which began
 * with the current content of @disk.  Makes @disk, whose sectors are kept,
 * hold what is durable then, and lists what is loose.
 */
void outage_prepare(Outage *outage, SimDisk *disk, const GArray *log,
                    unsigned events);

/*
 * Makes the disk hold the state @name.  Returns false, and changes nothing, if
 * there is no such state.
 */
bool outage_apply(const Outage *outage, const StateName *name);

/* Returns the number of masks for 's' and 'c'. */
unsigned outage_masks(const Outage *outage, char kind);

/*
 * Returns whether the state is garble and nothing else: no other loose sector
 * of the state has landed.
 */
bool outage_is_garble_only(const Outage *outage, const StateName *name);

/* Draws an existing state, of any kind. */
StateName outage_draw(const Outage *outage, GRand *random);

#endif /* TESTS_CRASH_OUTAGE_H */
