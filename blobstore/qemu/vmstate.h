/*
 * Blobstore in QEMU: what of a store travels with the state of the VM
 *
 * Two sections.  The first comes while the source still runs: which store it
 * is and which blobs it has, so that a destination that cannot take it says
 * so in time.  The second comes when the VM has stopped: the blobs.  It goes
 * ahead of the devices', which have the default priority.
 *
 * Whoever sends the stream is not trusted: what follows a length, a count or
 * a name is only read, and only gets memory, after that has been checked.  Of
 * a sealed store, all of a section is authenticated with the data key before
 * anything of it is acted on; the second section is bound to the first.
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
/* Append "key=value" and so on, each with its NUL. */
void blobstore_stream_put_metadata(GByteArray *to, char **metadata);
/* Returns the same, to be freed with g_strfreev(); NULL if it is not valid */
char **blobstore_stream_get_metadata(const uint8_t *data, uint32_t bytes);
/* Reports @err, consumes it, and returns what a post_load then returns. */
int blobstore_stream_fail_load(BlobStoreObject *store, Error *err);

/* vmstate-keys.c: what the data key has to do with a stream */

/* What a blank medium needs to become the same sealed store */
typedef struct StreamKeys {
    uint8_t commitment[BLOB_KEY_COMMITMENT_BYTES];
    uint8_t slots[BLOB_KEY_SLOTS * BLOB_KEY_SLOT_BYTES];
    uint8_t damaged;            /* a bit for each slot */
} StreamKeys;

/* That somebody who has the data key has said something */
typedef struct StreamProof {
    uint8_t nonce[BLOB_NONCE_BYTES];
    uint8_t tag[BLOB_TAG_BYTES];
} StreamProof;

/* Of a sealed store whose uuid is known */
void blobstore_stream_fill_keys(const BlobStoreObject *store,
                                StreamKeys *keys);
void blobstore_stream_get_key_slots(const StreamKeys *keys,
                                    BlobKeySlots *slots);
/*
 * The data key of the store @uuid, by the key of @store; or NULL.  Nothing
 * else of @keys is used, and @store does not change: @keys may be forged.
 */
BlobKey *blobstore_stream_unlock(BlobStoreObject *store,
                                 const StreamKeys *keys, const QemuUUID *uuid,
                                 Error **errp);
/* Whether @key is the one that @keys are of */
bool blobstore_stream_has_key(const StreamKeys *keys, const BlobKey *key,
                              const QemuUUID *uuid);
/* Append to what is going to be proved. */
void blobstore_stream_say_number(GByteArray *said, uint64_t number);
void blobstore_stream_say_sequence(GByteArray *said,
                                   const BlobSequence *sequence);
void blobstore_stream_say_keys(GByteArray *said, const StreamKeys *keys);
/* What proves and seals in a stream, to be freed */
BlobSeal *blobstore_stream_new_seal(const BlobKey *key, const QemuUUID *uuid,
                                    GError **error);
/* Encrypts @data, which may be NULL, in place, and proves it and @said. */
bool blobstore_stream_seal(BlobSeal *seal, const GByteArray *said,
                           uint8_t *data, size_t bytes, StreamProof *proof,
                           GError **error);
bool blobstore_stream_unseal(BlobSeal *seal, const GByteArray *said,
                             uint8_t *data, size_t bytes,
                             const StreamProof *proof);

/* vmstate-announced.c: the blobs that the first section announces */

/* The blob @owner/@name */
typedef struct StreamAnnounced {
    uint8_t owner[STREAM_NAME_BYTES];
    uint8_t name[STREAM_NAME_BYTES];
    uint8_t kind;
    uint64_t max_size;
    uint32_t metadata_size;     /* the section has the metadata of all */
} StreamAnnounced;

extern const VMStateDescription vmstate_blobstore_announced;
bool blobstore_announced_is_valid(const StreamAnnounced *blob);
/* Appends the metadata of @blob, which may change later, to @metadata. */
void blobstore_announced_fill(StreamAnnounced *to, BlobStoreBlob *blob,
                              GByteArray *metadata);
/* Appends to what is going to be proved. */
void blobstore_announced_say(GByteArray *said, const StreamAnnounced *blob);
/* Both sides must have the same blobs. */
bool blobstore_announced_check(BlobStoreObject *store,
                               const StreamAnnounced *announced,
                               int32_t count, Error **errp);
/* How long the metadata of all are */
uint32_t blobstore_announced_metadata_size(const StreamAnnounced *announced,
                                           int32_t count);
/*
 * Asks the devices whether they can use what is announced, which has been
 * checked and authenticated.
 */
bool blobstore_announced_offer(BlobStoreObject *store,
                               const StreamAnnounced *announced,
                               int32_t count, const uint8_t *metadata,
                               Error **errp);

/* vmstate-identity.c: the first section */
typedef struct IdentityState IdentityState;

extern const VMStateDescription vmstate_blobstore_identity;
IdentityState *blobstore_identity_new(BlobStoreObject *store);
void blobstore_identity_free(IdentityState *state);
/*
 * Of the last first section that was saved, or found to be right: the second
 * one of the same stream is bound to it.  Of a plain store: zero.
 */
const StreamProof *blobstore_identity_proof(const IdentityState *state);
/*
 * Whether a second section at @sequence may follow the first one: what the
 * pins demand of that holds for this, too.
 */
bool blobstore_identity_check_next(const IdentityState *state,
                                   const BlobSequence *sequence,
                                   Error **errp);

/* vmstate-carried.c: one blob in the second section */

typedef struct StreamCarried {
    BlobStoreBlob *blob;        /* ours */
    uint8_t owner[STREAM_NAME_BYTES];
    uint8_t name[STREAM_NAME_BYTES];
    bool present;
    uint32_t size;              /* of the content */
    uint32_t metadata_size;
    uint32_t payload_size;      /* both */
    uint8_t *payload;           /* metadata, then content */
    StreamProof proof;          /* of an encrypted store; seals the payload */
} StreamCarried;

extern const VMStateDescription vmstate_blobstore_carried;
/* From the latest version of carried->blob */
void blobstore_carried_fill(StreamCarried *carried);
/* QEMU validates outgoing fields too, and aborts: so call this before. */
bool blobstore_carried_is_valid(StreamCarried *carried);
/* Appends to what is going to be proved, all but the payload. */
void blobstore_carried_say(GByteArray *said, const StreamCarried *carried);

/* vmstate-blobs.c: the second */
typedef struct BlobsState BlobsState;

extern const VMStateDescription vmstate_blobstore_blobs;
BlobsState *blobstore_blobs_new(BlobStoreObject *store,
                                const IdentityState *identity);
void blobstore_blobs_free(BlobsState *state);

#endif /* BLOBSTORE_QEMU_VMSTATE_H */
