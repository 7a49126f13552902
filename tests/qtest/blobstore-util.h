/*
 * qtest: images with blob stores in them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_BLOBSTORE_UTIL_H
#define TESTS_BLOBSTORE_UTIL_H

#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"

/* Make a directory for the test's files, and remove it with all in it. */
void blobstore_test_init(int *argc, char ***argv);
int blobstore_test_run(void);

/* Images: paths are to be freed. */
char *image_path(const char *name);
/* Makes a blank image of 4 MiB, under a new name. */
char *image_new(const char *format);
char *image_new_sized(uint64_t bytes);
GBytes *image_read(const char *path);
void image_write(const char *path, uint64_t offset, const void *data,
                 size_t bytes);
void image_fill(const char *path, uint64_t offset, uint8_t byte, size_t bytes);
void image_flip(const char *path, uint64_t offset);
/* Makes @version the format version of both superblocks; see format.md. */
void image_set_format_version(const char *path, uint32_t version);
void assert_image_is(const char *path, GBytes *content);
void assert_image_is_not(const char *path, GBytes *content);

/*
 * Runs QEMU with @args, which must be too bad to start with.  Returns QEMU's
 * output on stderr.
 */
char *qemu_fails(const char *args);
/* The same with @image for each %s; no byte of the image may change. */
char *qemu_refuses(const char *image, const char *args);
/* Checks that each of the strings that follow, up to NULL, is in @text. */
void assert_contains(const char *text, ...) G_GNUC_NULL_TERMINATED;

/*
 * Returns the entry of blobstore-info for the only store, to be unreferenced.
 */
QDict *store_info(QTestState *vm);
/* Returns a blob in @info, borrowed. */
QDict *store_blob(QDict *info, const char *name);
bool blob_is_present(QDict *info, const char *name);
/* Returns the offset of the slot of @blob that is current, or of the other. */
uint64_t blob_slot(QDict *blob, bool current);

#endif /* TESTS_BLOBSTORE_UTIL_H */
