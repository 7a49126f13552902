/*
 * A medium that queries a store at each call
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_WATCH_H
#define TESTS_UNIT_WATCH_H

#include "conversion.h"

/* A medium that queries the store about everything, at each call */
typedef struct Watch {
    TestDisk *disk;
    BlobStorage *storage;       /* above it */
    BlobStore *store;           /* NULL: the medium asks nothing */
    GPtrArray *seen;            /* one string for each state, in order */
    const Way *way;             /* the conversion on it; NULL: none */
} Watch;

/* Makes a medium of @bytes; the caller opens the store on its storage. */
void watch_set_up(Watch *watch, uint64_t bytes);
void watch_tear_down(Watch *watch);

/* Returns a line for the store and one for each blob. */
char *watch_ask(const BlobStore *store);

const char *watch_last_seen(const Watch *watch);

/* A store that another process opens finds what this one says. */
void watch_check_is_on_record(const Watch *watch);

#endif /* TESTS_UNIT_WATCH_H */
