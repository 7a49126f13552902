/*
 * A store with three blobs, and power failures under it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_TRIO_H
#define TESTS_UNIT_TRIO_H

#include "fixture.h"

enum { TRIO_BLOBS = 3 };

/* Blobs a, b and c with "a1", "b1" and "c1" on record, none in this epoch */
typedef struct Trio {
    TestDisk *disk;
    BlobStore *store;
    Blob *blobs[TRIO_BLOBS];
} Trio;

void trio_set_up(Trio *trio, gconstpointer unused);
void trio_tear_down(Trio *trio, gconstpointer unused);

/* Begins again with a new store. */
void trio_renew(Trio *trio);

void trio_write(Trio *trio, unsigned n, const char *text);

/* Writes to a and b at once. */
void trio_write_ab(Trio *trio, const char *a, const char *b);

/* Registers and starts all blobs. */
void trio_start(Trio *trio);

/*
 * trio_crash() lets the power fail and return; then the store opens, or with
 * trio_crash_fails() it does not.
 */
void trio_crash(Trio *trio);
void trio_crash_fails(Trio *trio, BlobStoreError code, const char *pattern);

/*
 * Both return the place of a slot of blob @n: slot @slot, or that of the
 * current version.
 */
uint8_t *trio_slot(Trio *trio, unsigned n, unsigned slot);
uint8_t *trio_current(Trio *trio, unsigned n);

/* Makes zeros of a small version. */
void trio_wipe(uint8_t *slot);

/* Checks the content of the blobs: a text, NULL for absent, or "damaged" */
void trio_expect(Trio *trio, const char *a, const char *b, const char *c);

#endif /* TESTS_UNIT_TRIO_H */
