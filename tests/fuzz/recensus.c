/*
 * Gives the newest version of a hostile image a census that fits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "resign-private.h"

#include <string.h>
#include "sealed.h"

/* Returns the header in a slot if it is one of the current epoch. */
static bool present_header(const Signing *signing, const BlobSlot *slot,
                           BlobHeader *header)
{
    return signing_is_inside(signing->disk, slot) &&
           blob_layout_decode_header(signing->disk->data + slot->offset,
                                     signing->active, slot->id, slot->offset,
                                     slot->bytes, header) &&
           !memcmp(header->epoch_id, signing->directory.epoch_id,
                   sizeof(header->epoch_id));
}

static bool is_member(const BlobHeader *newest, uint64_t id)
{
    for (uint32_t i = 0; i < newest->member_count; i++) {
        if (newest->members[i].id == id) {
            return true;
        }
    }
    return !newest->member_count && newest->id == id;
}

void signing_do_census(const Signing *signing)
{
    BlobHeader header;
    BlobHeader newest = { 0 };
    unsigned newest_number = 0;
    BlobSlot newest_slot = { 0 };
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };
    uint8_t *at;

    for (guint i = 0; i < 2 * signing_count(signing); i++) {
        BlobPair pair = signing_pair(signing, i / 2);
        BlobSlot slot = signing_slot(&pair, signing_entry(signing, i / 2),
                                     i % 2);

        if (present_header(signing, &slot, &header) &&
            header.sequence > newest.sequence) {
            newest = header;
            newest_slot = slot;
            newest_number = 4 + i;
        }
    }
    if (!newest.sequence ||
        signing_sign(signing, newest_number) == FUZZ_SIGN_NOT) {
        return;
    }
    for (guint i = 0; i < signing->directory.entries->len; i++) {
        BlobPair pair = signing_pair(signing, i);
        uint64_t best = signing_entry(signing, i)->sequence;
        uint64_t folded = best;

        for (unsigned n = 0; n < 2; n++) {
            BlobSlot slot = blob_pair_slot(&pair, n);

            if (present_header(signing, &slot, &header) &&
                header.sequence > best) {
                best = header.sequence;
                folded = is_member(&newest, header.id) ? header.previous
                                                       : best;
            }
        }
        blob_digest_census(signing->active->digest, pair.id, folded, census);
    }
    at = signing->disk->data + newest_slot.offset;
    if (signing->head->repair & FUZZ_REPAIR_DIGEST &&
        signing_is_sealed(signing->active, at) &&
        !fuzz_payload_unseal(signing->active, newest_slot.entry, at)) {
        return;
    }
    memcpy(at + AT_CENSUS, census, sizeof(census));
    if (signing_is_sealed(signing->active, at) &&
        !(signing->head->repair & FUZZ_REPAIR_DIGEST)) {
        fuzz_census_mask(signing->active, at);
    }
    signing_do_slot(signing, &newest_slot, signing->active,
                    signing_sign(signing, newest_number));
}
