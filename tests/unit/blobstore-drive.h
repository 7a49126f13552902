/*
 * Blobstore unit tests over the real block layer: drives, stores, devices
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_BLOBSTORE_DRIVE_H
#define TESTS_UNIT_BLOBSTORE_DRIVE_H

#include "blobstore/blobstore.h"
#include "qapi/qapi-types-blobstore.h"
#include "system/block-backend.h"

/* The two make and remove the directory of the tests; see vm_run_tests(). */
void images_begin(void);
void images_end(void);

/* A file in the directory of the tests; the caller frees the name. */
char *image_new(const char *name, const char *format, uint64_t bytes);
/* Like image_new(), with creation options as for qemu-img create -o */
char *image_new_with(const char *name, const char *format,
                     const char *options, uint64_t bytes);
GBytes *image_content(const char *path);
void image_set_content(const char *path, GBytes *content);

/* -drive if=none,id=ID with these options, dotted keys, in JSON */
BlockBackend *drive_add(const char *id, const char *json, ...)
    G_GNUC_PRINTF(2, 3);
/* The same for an image file; @format is as in image_new(). */
BlockBackend *drive_add_image(const char *id, const char *format,
                              const char *path);
void drive_remove(const char *id);

/* Returns NULL and sets @errp if -object blobstore is refused. */
Object *store_add(const char *id, Error **errp, ...) G_GNUC_NULL_TERMINATED;
void store_remove(const char *id);

/* The client "tpm" of a store, with three blobs of at most 64 KiB */
typedef struct Device {
    BlobStoreClient *client;
    BlobStoreBlob *permanent;
    BlobStoreBlob *savestate;
    BlobStoreBlob *volatile_;
} Device;

/*
 * Attaches, registers and starts.  Returns false on failure, with nothing left
 * behind.
 */
bool device_plug(Device *device, const char *store, Error **errp);
void device_unplug(Device *device);
/*
 * A device that names @store is refused with @part in the message.  It leaves
 * nothing behind, as device_add requires.
 */
void assert_refused(const char *store, const char *part);

void write_text(BlobStoreBlob *blob, const char *text);
bool try_write_text(BlobStoreBlob *blob, const char *text, Error **errp);
/* @text is NULL if the blob must be absent. */
void assert_text(BlobStoreBlob *blob, const char *text);
/*
 * Checks the blobs that a device sees after the VM restarts with the same
 * drives.
 */
void assert_text_on_medium(Device *device, const char *store,
                           const char *text);

BlobstoreInfo *store_info(const char *id);
void assert_state(const char *id, BlobstoreCondition state);

/* Hides error reports, for tests that provoke thousands of them. */
void reports_hide(bool hide);
/* Does not consume the error. */
void assert_hint(Error *err, const char *part);
/* Consumes the error. */
void assert_error(Error *err, const char *part);

#endif /* TESTS_UNIT_BLOBSTORE_DRIVE_H */
