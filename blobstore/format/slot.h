/*
 * Blobstore core: slots and slot pairs, the one way to change the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef BLOBSTORE_SLOT_H
#define BLOBSTORE_SLOT_H

#include "layout.h"
#include "medium.h"

/* Where one slot lies and whose it is */
typedef struct BlobSlot {
    uint64_t id;
    uint64_t offset;
    uint64_t bytes;
    const BlobEntry *entry;     /* borrowed; NULL: of no blob */
} BlobSlot;

/*
 * The bytes of a version in @slot: @header, @payload (the stored bytes; NULL
 * for none) and the trailer, sealed if @guard seals.  Fills the header's id,
 * offset, stored length, digest and sealed flag, and for a slot of a blob its
 * version digest.  The caller frees the image
 * with g_free(); *@bytes becomes its length.  Errors: RANDOM.
 */
void *blob_slot_render(const BlobGuard *guard, const BlobSlot *slot,
                       BlobHeader *header, GBytes *payload, uint64_t *bytes,
                       GError **error);

/* Writes what blob_slot_render() returns in one write.  Errors: IO, RANDOM. */
bool blob_slot_write(BlobMedium *medium, const BlobGuard *guard,
                     const BlobSlot *slot, BlobHeader *header,
                     GBytes *payload, bool durable, GError **error);

/*
 * Which of the headers in a slot matter: those of the present epoch and the
 * one at the recorded sequence (R3, R8)
 */
typedef struct BlobJudge {
    bool any;                   /* all of them do */
    const uint8_t *epoch_id;    /* NULL: only @recorded matters */
    uint64_t recorded;          /* 0: none */
} BlobJudge;

/*
 * What a slot says about itself; header and trailer are both evidence (R7).
 * It is complete if they are intact, equal, and matter, and if so is the
 * payload of what the present epoch wrote (R9): then @newest has the digest of
 * the version.
 */
typedef struct BlobEvidence {
    bool found;         /* some header or trailer that matters is intact */
    bool complete;
    BlobHeader newest;  /* of those that matter; valid if @found */
    uint64_t highest;   /* sequence of any intact header or trailer */
} BlobEvidence;

/* Fills @evidence from @slot.  Returns false only if the storage fails. */
bool blob_slot_probe(BlobMedium *medium, const BlobGuard *guard,
                     const BlobSlot *slot, const BlobJudge *judge,
                     BlobEvidence *evidence, GError **error);

/*
 * Reads the stored payload that @header describes, and verifies its digest or
 * decrypts it.  *@payload becomes the bytes, or NULL if they are not what was
 * written.  Returns false only if the storage fails.
 */
bool blob_slot_read(BlobMedium *medium, const BlobGuard *guard,
                    const BlobSlot *slot, const BlobHeader *header,
                    GBytes **payload, GError **error);

/*
 * A pair whose slots hold the same: superblock or directory.  It is written
 * to both slots in turn, each durable before the next, first where the
 * current version is not.
 */
typedef struct BlobPair {
    uint64_t id;
    uint64_t offset;            /* of slot 0; slot 1 follows it */
    uint64_t slot_bytes;
    uint64_t usual_bytes;       /* of its image, read at once; 0: unknown */
    bool intact[2];             /* the slot holds a complete version */
    bool begun[2];              /* its header, at least, is intact */
    bool partly[2];             /* it does not, but is still of use */
    unsigned last;              /* the slot that was written last */
    char failure[2][120];       /* why it cannot be read, or empty */
    uint64_t sequence[2];       /* valid if intact */
    uint8_t epoch_id[2][BLOB_EPOCH_ID_BYTES];   /* the same */
} BlobPair;

/* The slot with the newest intact version, or -1 */
int blob_pair_current(const BlobPair *pair);

/*
 * The slot that is to be written first.  Of two that are whole it is the one
 * that was written last: nobody has seen anything come after it.
 */
unsigned blob_pair_first(const BlobPair *pair);

/* Whether both slots hold the same version */
bool blob_pair_is_whole(const BlobPair *pair);

/* Slot @n (0 or 1) of @pair */
BlobSlot blob_pair_slot(const BlobPair *pair, unsigned n);

/*
 * Reads both slots, each byte of them once at most, and returns the newest
 * intact version: *@header and *@payload, which becomes NULL if there is
 * none.  A slot that the storage cannot read counts as damaged while the other
 * one is intact; else the call returns false with the storage's error.
 */
bool blob_pair_read(BlobMedium *medium, const BlobGuard *guard,
                    BlobPair *pair, BlobHeader *header, GBytes **payload,
                    GError **error);

/*
 * Returns true if the last reading could read both slots, else false with the
 * storage's error.  Errors: IO.
 */
bool blob_pair_fail_unreadable(const BlobPair *pair, GError **error);

/*
 * Writes both slots.  On failure a version that was intact before, or the
 * new one, is still there.
 */
bool blob_pair_write(BlobMedium *medium, const BlobGuard *guard,
                     BlobPair *pair, const BlobHeader *header, GBytes *payload,
                     GError **error);

/* Writes the slots that do not hold version @header->sequence. */
bool blob_pair_heal(BlobMedium *medium, const BlobGuard *guard,
                    BlobPair *pair, const BlobHeader *header, GBytes *payload,
                    GError **error);

#endif /* BLOBSTORE_SLOT_H */
