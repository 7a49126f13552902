/*
 * Sets of sectors, by their content
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CRASH_SECTORS_H
#define TESTS_CRASH_SECTORS_H

#include "simdisk.h"

typedef struct Sectors Sectors;

/*
 * Returns everything but zeros, or nearly so, that @disk holds from offset
 * @from on, or may hold after a failed write.
 */
Sectors *sectors_of(const SimDisk *disk, uint64_t from);
Sectors *sectors_union(const Sectors *a, const Sectors *b);
void sectors_unref(gpointer sectors);
Sectors *sectors_ref(const Sectors *sectors);

/* Returns the first place of a sector of the set on @disk, or -1. */
int64_t sectors_find(const Sectors *sectors, const SimDisk *disk);

#endif /* TESTS_CRASH_SECTORS_H */
