/*
 * Blobstore unit tests over the real block layer: a VM that waits for a stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_BLOBSTORE_INCOMING_H
#define TESTS_UNIT_BLOBSTORE_INCOMING_H

#include "qemu/units.h"
#include "blobstore-drive.h"
#include "blobstore-vm.h"

#define IMAGE_BYTES (2 * MiB)

/* Places in the stream; see vmstate-identity.c and vmstate-blobs.c */
enum {
    ENCRYPTED = 16 + 4 + 8 + 16,
    ANNOUNCED_COUNT = ENCRYPTED + 1,
    ANNOUNCED = ANNOUNCED_COUNT + 4,
    ANNOUNCED_BYTES = 64 + 64 + 1 + 8 + 4,
    ANNOUNCED_KIND = 64 + 64,
    ANNOUNCED_METADATA_SIZE = ANNOUNCED_KIND + 1 + 8,
    METADATA_SIZE = ANNOUNCED + 3 * ANNOUNCED_BYTES,
    SEQUENCE = METADATA_SIZE + 4 + sizeof("colour=blue") + sizeof("size=") + 1,
    CARRIED_COUNT = SEQUENCE + 8 + 16,
    CARRIED = CARRIED_COUNT + 4,
    CARRIED_NAME = CARRIED + 64,
    CARRIED_SIZE = CARRIED + 64 + 64 + 1,
    CARRIED_METADATA_SIZE = CARRIED_SIZE + 4,
    CARRIED_PAYLOAD_SIZE = CARRIED_METADATA_SIZE + 4,
    CARRIED_PAYLOAD = CARRIED_PAYLOAD_SIZE + 4,
};

/* What the glue has called of the device */
typedef struct Calls {
    Device *device;
    unsigned saved;
    unsigned loaded;
    const char *failure;
    char *seen;                 /* of the volatile blob by load */
} Calls;

/* A device on the drive "nvram", in a VM that waits for the stream */
typedef struct Fixture {
    char *path;                 /* the source's image, then the blank one */
    char *uuid;                 /* of the source */
    GBytes *stream;
    GBytes *blank;
    const BlobStoreClientOps *ops;
    void *opaque;
    Calls calls;                /* if incoming_set_up() has set the ops */
    Device device;
} Fixture;

/* Plugs the device of the source, on a new store. */
void incoming_begin(Fixture *fixture, const BlobStoreClientOps *device_ops,
                    void *opaque);
/* Saves a stream of it, and starts a VM that waits for it. */
void incoming_wait(Fixture *fixture);
/* Both, with a permanent blob between them, and a device that notes calls. */
void incoming_set_up(Fixture *fixture, gconstpointer data);
void incoming_tear_down(Fixture *fixture, gconstpointer data);

/* Starts a new QEMU that waits; each takes one stream. */
void incoming_wait_again(Fixture *fixture);

/* Stops the VM and resets it, as loadvm does. */
void incoming_reset_for_snapshot(void);

/* Returns the UUID of the store on "nvram". */
char *incoming_store_uuid(void);

void incoming_assert_nothing_written(Fixture *fixture);
/* The device has what the stream holds. */
void incoming_assert_loaded(Fixture *fixture);

#endif /* TESTS_UNIT_BLOBSTORE_INCOMING_H */
