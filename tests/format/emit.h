/*
 * Files with the possible contents of a disk after a power failure, and after
 * damage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FORMAT_EMIT_H
#define TESTS_FORMAT_EMIT_H

#include "simdisk.h"
#include "blobstore/store.h"

/* The folder for images, whose names say where they are from */
typedef struct Output {
    const char *directory;
    unsigned count;
    GRand *random;              /* of tears and damage */
} Output;

/*
 * Calls @run as the command line says; returns the exit status:
 *
 *   PROGRAM [--seed=N] DIRECTORY
 */
int emit_main(int argc, char **argv, void (*run)(Output *output));

/*
 * The power fails after any of the recorded events: flushed data is there;
 * each other write is there whole, in part or, as the disk may reorder, not at
 * all.
 */
void emit_cuts(Output *output, const SimDisk *disk, const char *store);

/* The same with whole writes only, after each @stride events */
void emit_whole_cuts(Output *output, const SimDisk *disk, const char *store,
                     guint stride);

/* Damages one place or several. */
void emit_damaged(Output *output, const SimDisk *disk, const char *store);

/* Makes all cuts and damages, and slots of @opened that are lost as a whole. */
void emit_all(Output *output, const SimDisk *disk, const char *store,
              BlobStore *opened);

#endif /* TESTS_FORMAT_EMIT_H */
