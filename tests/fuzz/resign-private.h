/*
 * Shared by the files that sign slots, and undo that
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_RESIGN_PRIVATE_H
#define TESTS_FUZZ_RESIGN_PRIVATE_H

#include "resign.h"

/* The places of fields: docs/format.md, implemented a second time */
enum {
    AT_FLAGS = 8,
    AT_EPOCH_ID = 16,
    AT_ID = 32,
    AT_SEQUENCE = 40,
    AT_WATERMARK = 56,
    AT_OFFSET = 64,
    AT_RAW_BYTES = 72,
    AT_STORED_BYTES = 80,
    AT_CENSUS = 96,
    AT_DIGEST = 112,
    AT_NONCE = 128,
    AT_MEMBERS = 224,
    AT_CHECK = 1248,
    DIRECTORY_AT_EPOCH_ID = 8,
    DIRECTORY_AT_GENERATION = 24,
    DIRECTORY_AT_COUNT = 48,
    DIRECTORY_AT_PAST_COUNT = 96,
    DIRECTORY_AT_SUPERBLOCK_DIGEST = 100,
    DIRECTORY_AT_VOUCHER = 112,
    VOUCHER_BYTES = 16,
    ENTRY_AT_MAX_SIZE = 16,
    ENTRY_AT_SLOT_BYTES = 32,
    ENTRY_AT_RAW_BYTES = 40,
    ENTRY_AT_STORED_BYTES = 48,
    ENTRY_AT_FLAGS = 61,
    ENTRY_AT_DIGEST = 192,
};

/* What is known of the store while its slots are signed */
typedef struct Signing {
    FuzzDisk *disk;
    BlobMedium medium;
    const FuzzHead *head;
    BlobGuard *zero_guard;
    BlobGuard *guard;           /* NULL until the superblock is known */
    BlobGuard *former;          /* of a store that is converted, or NULL */
    const BlobGuard *active;    /* the guard of the directory */
    BlobSuperblock super;
    BlobDirectory directory;
} Signing;

uint64_t signing_stored_bytes(const uint8_t *header);
bool signing_is_zero(const uint8_t *at, size_t bytes);

bool signing_is_inside(const FuzzDisk *disk, const BlobSlot *slot);

/* Returns the end of the image that the header at @header describes, or 0. */
uint64_t signing_image_end(const BlobSlot *slot, const uint8_t *header);

bool signing_is_sealed(const BlobGuard *guard, const uint8_t *header);

/* Returns slot @n of @pair, which belongs to @entry or NULL. */
BlobSlot signing_slot(const BlobPair *pair, const BlobEntry *entry,
                      unsigned n);

/* Return whether the superblock, or the directory, is one that leads on. */
bool signing_do_superblock(Signing *signing);
bool signing_do_directory(Signing *signing);

/* Returns the pair of the directory. */
BlobPair signing_directory(const Signing *signing);

/* Returns an entry of the directory, up to as many as the head has room for. */
const BlobEntry *signing_entry(const Signing *signing, guint i);
BlobPair signing_pair(const Signing *signing, guint i);
guint signing_count(const Signing *signing);

/* Returns how slot @n of the head is to be signed, and with which guard. */
FuzzSign signing_sign(const Signing *signing, unsigned n);
const BlobGuard *signing_guard(const Signing *signing, unsigned n);

/* Makes the voucher of a directory copy right, if its store is converted. */
void signing_vouch(const Signing *signing, const BlobSlot *slot);

/* Makes digest or seal and the checks of a slot right. */
void signing_do_slot(const Signing *signing, const BlobSlot *slot,
                     const BlobGuard *guard, FuzzSign sign);

/*
 * Makes the newest header agree with the rest, approximately: with the newest
 * version of each blob, or the version before if the newest belongs to the
 * newest commit.
 */
void signing_do_census(const Signing *signing);

/* Gives the directory copies the digests of the versions that they name. */
void signing_digest_entries(Signing *signing);

void signing_clear(Signing *signing);

#endif /* TESTS_FUZZ_RESIGN_PRIVATE_H */
