/*
 * Blobstore in QEMU: what of a store travels with the state of the VM
 *
 * Two sections.  The first comes while the source still runs: which store it
 * is and which blobs it has, so that a destination that cannot take it says
 * so in time.  The second comes when the VM has stopped: the blobs.  It goes
 * ahead of the devices', which have the default priority.
 *
 * Whoever sends the stream is not trusted: what follows a length, a count or
 * a name is only read, and only gets memory, after that has been checked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_QEMU_VMSTATE_H
#define BLOBSTORE_QEMU_VMSTATE_H

#include "migration/vmstate.h"
#include "glue.h"

/* vmstate-stream.c: what both sections need */

/* A name is as long in the stream as it may be, with a NUL at least. */
enum { STREAM_NAME_BYTES = BLOBSTORE_NAME_MAX_BYTES + 1 };

bool blobstore_stream_is_name(const uint8_t name[STREAM_NAME_BYTES]);
/* The text of a name that is_name */
const char *blobstore_stream_name(const uint8_t name[STREAM_NAME_BYTES]);
void blobstore_stream_set_name(uint8_t name[STREAM_NAME_BYTES],
                               const char *from);
/* All blobs, ordered by owner and name, so that both sides agree */
GPtrArray *blobstore_stream_sorted_blobs(BlobStoreObject *store);
/* Reports @err, consumes it, and returns what a post_load then returns. */
int blobstore_stream_fail_load(BlobStoreObject *store, Error *err);

/* vmstate-identity.c: the first section */
typedef struct IdentityState IdentityState;

extern const VMStateDescription vmstate_blobstore_identity;
IdentityState *blobstore_identity_new(BlobStoreObject *store);
void blobstore_identity_free(IdentityState *state);

/* vmstate-blobs.c: the second */
typedef struct BlobsState BlobsState;

extern const VMStateDescription vmstate_blobstore_blobs;
BlobsState *blobstore_blobs_new(BlobStoreObject *store);
void blobstore_blobs_free(BlobsState *state);

#endif /* BLOBSTORE_QEMU_VMSTATE_H */
