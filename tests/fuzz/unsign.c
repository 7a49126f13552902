/*
 * Removes from a store's image everything that can be computed again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "resign-private.h"

#include <string.h>
#include "fuzz.h"
#include "sealed.h"
#include "blobstore/superblock.h"

/*
 * Returns whether both slots hold the same, except for the offset and what
 * follows it.  The tags of sealed data are zero by now, and the nonces differ.
 */
static bool is_copy(const FuzzDisk *disk, const BlobPair *pair)
{
    const uint8_t *a = disk->data + pair->offset;
    const uint8_t *b = a + pair->slot_bytes;
    const BlobSlot slot = { .bytes = pair->slot_bytes };
    uint64_t end = signing_image_end(&slot, a);
    bool sealed = fuzz_get32(a + AT_FLAGS) & BLOB_FLAG_SEALED;
    size_t same = sealed ? AT_NONCE : AT_MEMBERS;

    return end && !memcmp(a, b, AT_OFFSET) &&
           !memcmp(a + AT_RAW_BYTES, b + AT_RAW_BYTES, same - AT_RAW_BYTES) &&
           !memcmp(a + AT_MEMBERS, b + AT_MEMBERS, AT_CHECK - AT_MEMBERS) &&
           !memcmp(a + BLOB_HEADER_BYTES, b + BLOB_HEADER_BYTES,
                   end - 2 * BLOB_HEADER_BYTES);
}

/* Returns the guard that the slot was written under, or NULL. */
static const BlobGuard *find_guard(const Signing *signing,
                                   const BlobSlot *slot)
{
    const BlobGuard *const guards[] = { signing->guard, signing->former };

    if (slot->id == BLOB_ID_SUPERBLOCK) {
        return signing->zero_guard;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(guards) && guards[i]; i++) {
        BlobHeader header;

        if (blob_layout_decode_header(signing->disk->data + slot->offset,
                                      guards[i], slot->id, slot->offset,
                                      slot->bytes, &header)) {
            return guards[i];
        }
    }
    return NULL;
}

/* Zeroes the fields of one slot that can be computed again. */
static void unsign_slot(const Signing *signing, FuzzHead *head,
                        const BlobSlot *slot, unsigned number)
{
    uint8_t *header = signing->disk->data + slot->offset;
    uint64_t end = signing_image_end(slot, header);
    uint8_t *trailer = header + end - BLOB_HEADER_BYTES;
    const BlobGuard *guard = find_guard(signing, slot);
    bool whole = end && !memcmp(header, trailer, BLOB_HEADER_BYTES);

    if (!guard && !signing_is_zero(header, AT_CHECK)) {
        head->sign[number] = FUZZ_SIGN_NOT;     /* not under these keys */
        return;
    }
    head->sign[number] = whole ? FUZZ_SIGN_WHOLE : FUZZ_SIGN_APART;
    if (guard && guard == signing->former) {
        head->sign[number] |= FUZZ_SIGN_FORMER;
    }
    if (!guard || !whole) {
        return;
    }
    memset(trailer, 0, BLOB_HEADER_BYTES);
    if (head->repair & FUZZ_REPAIR_DIGEST) {
        if (slot->id == BLOB_ID_SUPERBLOCK) {
            fuzz_superblock_strip(header + BLOB_HEADER_BYTES);
        }
        if (signing_is_sealed(guard, header)) {
            fuzz_payload_unseal(guard, slot->entry, header);
        } else {
            memset(header + AT_DIGEST, 0, BLOB_DIGEST_BYTES);
        }
    }
    memset(header + AT_CHECK, 0, BLOB_DIGEST_BYTES);
}

static void unsign_pair(const Signing *signing, FuzzHead *head,
                        const BlobPair *pair, const BlobEntry *entry,
                        unsigned first)
{
    uint8_t *copy = signing->disk->data + pair->offset + pair->slot_bytes;

    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = signing_slot(pair, entry, n);

        unsign_slot(signing, head, &slot, first + n);
    }
    if (head->sign[first] == head->sign[first + 1] &&
        head->sign[first] % FUZZ_SIGN_COUNT == FUZZ_SIGN_WHOLE &&
        is_copy(signing->disk, pair)) {
        uint8_t nonce[BLOB_NONCE_BYTES] = { 0 };

        if (fuzz_get32(copy + AT_FLAGS) & BLOB_FLAG_SEALED) {
            memcpy(nonce, copy + AT_NONCE, sizeof(nonce));
        }
        memset(copy, 0, pair->slot_bytes);
        memcpy(copy + AT_NONCE, nonce, sizeof(nonce));
        head->sign[first + 1] += FUZZ_SIGN_COPY - FUZZ_SIGN_WHOLE;
    }
}

void fuzz_unsign(FuzzDisk *disk, FuzzHead *head)
{
    FuzzHead none = { 0 };
    Signing signing = {
        .disk = disk,
        .medium = { .storage = disk->storage },
        .head = &none,
        .zero_guard = blob_guard_new_plain(NULL),
    };
    BlobPair super_pair = blob_superblock_pair();

    if (signing_do_superblock(&signing) && signing_do_directory(&signing)) {
        BlobPair directory_pair = signing_directory(&signing);

        unsign_pair(&signing, head, &super_pair, NULL, 0);
        unsign_pair(&signing, head, &directory_pair, NULL, 2);
        for (guint i = 0; i < signing_count(&signing); i++) {
            BlobPair pair = signing_pair(&signing, i);

            unsign_pair(&signing, head, &pair, signing_entry(&signing, i),
                        4 + 2 * i);
        }
    }
    signing_clear(&signing);
}
