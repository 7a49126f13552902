/*
 * Gives the directories of a hostile image the digests of what they name
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "resign-private.h"

#include "fuzz.h"
#include "sealed.h"

/* Computes in @out the digest of the version that @entry names. */
static void digest_version(Signing *signing, const BlobGuard *guard,
                           const BlobEntry *entry, uint8_t *out)
{
    BlobSlot slot = {
        .id = entry->id,
        .offset = entry->offset + entry->slot * entry->slot_bytes,
        .bytes = entry->slot_bytes,
        .entry = entry,
    };
    BlobHeader header;
    g_autoptr(GBytes) payload = NULL;

    if (!entry->sequence ||
        !fuzz_disk_covers(signing->disk, slot.offset, slot.bytes) ||
        !blob_layout_decode_header(signing->disk->data + slot.offset, guard,
                                   slot.id, slot.offset, slot.bytes,
                                   &header) ||
        header.sequence != entry->sequence) {
        return;
    }
    FUZZ_CHECK(blob_slot_read(&signing->medium, guard, &slot, &header,
                              &payload, NULL));
    if (payload) {
        blob_layout_digest_version(&header, g_bytes_get_data(payload, NULL),
                                   g_bytes_get_size(payload), out);
    }
}

static void digest_entries(Signing *signing, const BlobGuard *guard,
                           uint8_t *payload, size_t count)
{
    g_auto(BlobDirectory) directory = { 0 };
    g_autoptr(GBytes) bytes = g_bytes_new(payload, count);

    if (!blob_layout_decode_directory(bytes, &signing->super, guard->seal,
                                      &directory, NULL)) {
        return;
    }
    for (guint i = 0; i < directory.entries->len; i++) {
        digest_version(signing, guard,
                       &g_array_index(directory.entries, BlobEntry, i),
                       payload + BLOB_DIRECTORY_HEAD_BYTES +
                       i * BLOB_ENTRY_BYTES + ENTRY_AT_DIGEST);
    }
}

void signing_digest_entries(Signing *signing)
{
    BlobPair pair = signing_directory(signing);

    for (unsigned n = 0; n < 2; n++) {
        BlobSlot slot = blob_pair_slot(&pair, n);
        const BlobGuard *guard = signing_guard(signing, 2 + n);
        FuzzSign sign = signing_sign(signing, 2 + n);
        uint8_t *header = signing->disk->data + slot.offset;
        uint64_t end = signing_image_end(&slot, header);

        if (sign == FUZZ_SIGN_NOT || !end ||
            (signing_is_sealed(guard, header) &&
             !fuzz_payload_unseal(guard, NULL, header))) {
            continue;
        }
        digest_entries(signing, guard, header + BLOB_HEADER_BYTES,
                       signing_stored_bytes(header));
        signing_vouch(signing, &slot);
        signing_do_slot(signing, &slot, guard, sign);
    }
}
