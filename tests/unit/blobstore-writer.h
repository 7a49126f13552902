/*
 * Blobstore unit tests over the real block layer: a store that is written to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_BLOBSTORE_WRITER_H
#define TESTS_UNIT_BLOBSTORE_WRITER_H

#include "qemu/thread.h"
#include "qemu/units.h"
#include "blobstore-drive.h"

#define IMAGE_BYTES (2 * MiB)

/* A device on the drive "nvram", with "old" in its permanent blob */
typedef struct Fixture {
    char *path;
    Device device;
} Fixture;

void fixture_set_up(Fixture *fixture, gconstpointer data);
/* The same on a drive with a werror= of @data; fail_writes() works on it. */
void fixture_set_up_policy(Fixture *fixture, gconstpointer data);
void fail_writes(bool fail);
/* Sets up all else, once there is a drive. */
void fixture_start(Fixture *fixture);
void fixture_tear_down(Fixture *fixture, gconstpointer data);

/* A write in another thread, as TPM commands are processed */
typedef struct Worker {
    QemuThread thread;
    Device *device;             /* or: */
    BlobStoreBlob *blob;
    const char *text;
    bool ok;
    Error *err;
    bool done;
} Worker;

void worker_start(Worker *worker, BlobStoreBlob *blob, const char *text);
void worker_finish(Worker *worker);
/* Waits long enough for a worker to get to where it must wait. */
void worker_gets_stuck(Worker *worker);

/* Runs the main loop until nothing is due any more. */
void run_until_idle(void);

/* Resizes the drive "nvram", and lets the store see that. */
void drive_resize(uint64_t bytes);

#endif /* TESTS_UNIT_BLOBSTORE_WRITER_H */
