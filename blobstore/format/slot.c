/*
 * Blobstore core: slots and slot pairs, the one way to change the medium
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "slot.h"

#include <string.h>
#include "sparse.h"

/* Encrypts @payload in place if @guard seals, and fills digest and flag. */
static bool seal_payload(const BlobGuard *guard, const BlobSlot *slot,
                         BlobHeader *header, uint8_t *payload, GError **error)
{
    uint8_t aad[BLOB_AAD_BYTES];

    memset(header->digest, 0, sizeof(header->digest));
    if (!guard->seal) {
        header->flags &= ~BLOB_FLAG_SEALED;
        blob_digest_sha256(payload, header->stored_bytes, header->digest);
        return true;
    }
    header->flags |= BLOB_FLAG_SEALED;
    blob_layout_encode_aad(header, guard, slot->entry, aad);
    return blob_seal_encrypt(guard->seal, aad, sizeof(aad), payload,
                             header->stored_bytes, blob_header_nonce(header),
                             blob_header_tag(header), error);
}

/* Decrypts @payload in place; returns whether it is what was written. */
static bool unseal_payload(const BlobGuard *guard, const BlobSlot *slot,
                           const BlobHeader *header, uint8_t *payload)
{
    uint8_t digest[BLOB_DIGEST_BYTES];
    uint8_t aad[BLOB_AAD_BYTES];

    if (!guard->seal) {
        blob_digest_sha256(payload, header->stored_bytes, digest);
        return !memcmp(digest, header->digest, sizeof(digest));
    }
    blob_layout_encode_aad(header, guard, slot->entry, aad);
    return blob_seal_decrypt(guard->seal, aad, sizeof(aad), payload,
                             header->stored_bytes,
                             header->digest + BLOB_TAG_BYTES, header->digest);
}

void *blob_slot_render(const BlobGuard *guard, const BlobSlot *slot,
                       BlobHeader *header, GBytes *payload, uint64_t *bytes,
                       GError **error)
{
    g_autofree uint8_t *image = NULL;
    gsize payload_bytes = 0;
    const void *data = payload ? g_bytes_get_data(payload, &payload_bytes)
                               : NULL;

    *bytes = blob_layout_image_bytes(payload_bytes);
    g_assert(*bytes <= slot->bytes);
    image = blob_medium_alloc(*bytes);
    if (payload_bytes) {
        memcpy(image + BLOB_HEADER_BYTES, data, payload_bytes);
    }
    memset(image + BLOB_HEADER_BYTES + payload_bytes, 0,
           *bytes - BLOB_HEADER_BYTES - payload_bytes);
    header->id = slot->id;
    header->offset = slot->offset;
    header->stored_bytes = payload_bytes;
    if (!seal_payload(guard, slot, header, image + BLOB_HEADER_BYTES,
                      error)) {
        return NULL;
    }
    if (slot->entry) {
        blob_layout_digest_version(header, data, payload_bytes,
                                   header->version_digest);
    }
    blob_layout_encode_header(header, guard, image);
    memcpy(image + *bytes - BLOB_HEADER_BYTES, image, BLOB_HEADER_BYTES);
    return g_steal_pointer(&image);
}

bool blob_slot_write(BlobMedium *medium, const BlobGuard *guard,
                     const BlobSlot *slot, BlobHeader *header,
                     GBytes *payload, bool durable, GError **error)
{
    uint64_t bytes;
    g_autofree uint8_t *image = blob_slot_render(guard, slot, header, payload,
                                                 &bytes, error);

    return image && blob_medium_write(medium, slot->offset, image, bytes,
                                      durable, error);
}

static bool is_of_epoch(const BlobJudge *judge, const BlobHeader *header)
{
    return judge->epoch_id && !memcmp(header->epoch_id, judge->epoch_id,
                                      sizeof(header->epoch_id));
}

static bool header_matters(const BlobJudge *judge, const BlobHeader *header)
{
    return judge->any ||
           (judge->recorded && header->sequence == judge->recorded) ||
           is_of_epoch(judge, header);
}

static void weigh(const BlobJudge *judge, const BlobHeader *header,
                  BlobEvidence *evidence)
{
    evidence->highest = MAX(evidence->highest, header->sequence);
    if (header_matters(judge, header) &&
        (!evidence->found || header->sequence > evidence->newest.sequence)) {
        evidence->found = true;
        evidence->newest = *header;
    }
}

/* R7: a trailer counts only at the place that its own length gives it. */
static bool scan_trailers(BlobMedium *medium, const BlobGuard *guard,
                          const BlobSlot *slot, const BlobJudge *judge,
                          BlobEvidence *evidence, GError **error)
{
    g_auto(BlobSparse) sparse =
        blob_sparse_new(medium, slot->offset, slot->offset + slot->bytes);
    uint64_t offset;
    size_t bytes;

    while (blob_sparse_next(&sparse, &offset, &bytes, error)) {
        uint64_t at = offset - slot->offset;

        if (!bytes) {
            return true;
        }
        for (size_t end = BLOB_BLOCK_BYTES; end <= bytes;
             end += BLOB_BLOCK_BYTES) {
            BlobHeader header;

            if (blob_layout_decode_header(sparse.buf + end -
                                          BLOB_HEADER_BYTES,
                                          guard, slot->id, slot->offset,
                                          slot->bytes, &header) &&
                blob_layout_image_bytes(header.stored_bytes) == at + end) {
                weigh(judge, &header, evidence);
            }
        }
    }
    return false;
}

/* Returns the payload in @image, and takes ownership of @image. */
static GBytes *take_payload(const BlobHeader *header, uint8_t *image)
{
    return g_bytes_new_with_free_func(image + BLOB_HEADER_BYTES,
                                      header->stored_bytes, g_free, image);
}

bool blob_slot_read(BlobMedium *medium, const BlobGuard *guard,
                    const BlobSlot *slot, const BlobHeader *header,
                    GBytes **payload, GError **error)
{
    uint64_t bytes = blob_layout_image_bytes(header->stored_bytes);
    g_autofree uint8_t *image = blob_medium_alloc(bytes);

    *payload = NULL;
    if (!blob_medium_read(medium, slot->offset, image, bytes, error)) {
        return false;
    }
    if (unseal_payload(guard, slot, header, image + BLOB_HEADER_BYTES)) {
        *payload = take_payload(header, g_steal_pointer(&image));
    }
    return true;
}

/* R9: payloads that the present epoch wrote are verified. */
static bool verify_payload(BlobMedium *medium, const BlobGuard *guard,
                           const BlobSlot *slot, const BlobJudge *judge,
                           BlobHeader *header, bool *right,
                           GError **error)
{
    g_autoptr(GBytes) payload = NULL;

    *right = true;
    if (!is_of_epoch(judge, header)) {
        return true;
    }
    if (!blob_sparse_charge(medium, slot->offset,
                            blob_layout_image_bytes(header->stored_bytes),
                            error) ||
        !blob_slot_read(medium, guard, slot, header, &payload, error)) {
        return false;
    }
    *right = payload != NULL;
    if (*right && slot->entry) {
        blob_layout_digest_version(header, g_bytes_get_data(payload, NULL),
                                   g_bytes_get_size(payload),
                                   header->version_digest);
    }
    return true;
}

bool blob_slot_probe(BlobMedium *medium, const BlobGuard *guard,
                     const BlobSlot *slot, const BlobJudge *judge,
                     BlobEvidence *evidence, GError **error)
{
    g_autofree uint8_t *first = NULL;
    g_autofree uint8_t *last = NULL;
    BlobHeader header;

    *evidence = (BlobEvidence) { 0 };
    if (blob_sparse_is_hole(medium, slot->offset, slot->bytes)) {
        return true;
    }
    first = blob_medium_alloc(BLOB_BLOCK_BYTES);
    last = blob_medium_alloc(BLOB_BLOCK_BYTES);
    if (!blob_medium_read(medium, slot->offset, first, BLOB_BLOCK_BYTES,
                          error)) {
        return false;
    }
    if (blob_layout_decode_header(first, guard, slot->id, slot->offset,
                                  slot->bytes, &header)) {
        uint64_t end = blob_layout_image_bytes(header.stored_bytes);

        weigh(judge, &header, evidence);
        if (!blob_medium_read(medium, slot->offset + end - BLOB_BLOCK_BYTES,
                              last, BLOB_BLOCK_BYTES, error)) {
            return false;
        }
        evidence->complete =
            header_matters(judge, &header) &&
            !memcmp(first, last + BLOB_BLOCK_BYTES - BLOB_HEADER_BYTES,
                    BLOB_HEADER_BYTES);
        if (evidence->complete &&
            !verify_payload(medium, guard, slot, judge, &evidence->newest,
                            &evidence->complete, error)) {
            return false;
        }
        if (evidence->complete) {
            return true;
        }
    }
    return scan_trailers(medium, guard, slot, judge, evidence, error);
}

/* The copy that is needed most is written last. */
unsigned blob_pair_first(const BlobPair *pair)
{
    int current = blob_pair_current(pair);

    if (blob_pair_is_whole(pair)) {
        return pair->last;
    }
    return current == 0 || (current < 0 && pair->partly[0]);
}

BlobSlot blob_pair_slot(const BlobPair *pair, unsigned n)
{
    return (BlobSlot) {
        .id = pair->id,
        .offset = pair->offset + n * pair->slot_bytes,
        .bytes = pair->slot_bytes,
    };
}

int blob_pair_current(const BlobPair *pair)
{
    if (pair->intact[0] && pair->intact[1]) {
        return pair->sequence[1] > pair->sequence[0];
    }
    return pair->intact[0] ? 0 : pair->intact[1] ? 1 : -1;
}

bool blob_pair_is_whole(const BlobPair *pair)
{
    return pair->intact[0] && pair->intact[1] &&
           pair->sequence[0] == pair->sequence[1];
}

/*
 * The image of slot @n, as long as its header says.  *@image becomes NULL if
 * the header is not intact; the caller frees it with g_free().
 */
static bool pair_read_image(BlobMedium *medium, const BlobGuard *guard,
                            const BlobPair *pair, unsigned n,
                            BlobHeader *header, uint8_t **image,
                            GError **error)
{
    BlobSlot slot = blob_pair_slot(pair, n);
    uint64_t first_bytes = pair->usual_bytes ?: BLOB_BLOCK_BYTES;
    g_autofree uint8_t *first = blob_medium_alloc(first_bytes);
    g_autofree uint8_t *all = NULL;
    uint64_t bytes;

    *image = NULL;
    if (!blob_medium_read(medium, slot.offset, first, first_bytes, error)) {
        return false;
    }
    if (!blob_layout_decode_header(first, guard, slot.id, slot.offset,
                                   slot.bytes, header)) {
        return true;
    }
    bytes = blob_layout_image_bytes(header->stored_bytes);
    if (bytes <= first_bytes) {
        *image = g_steal_pointer(&first);
        return true;
    }
    all = blob_medium_alloc(bytes);
    memcpy(all, first, first_bytes);
    if (!blob_medium_read(medium, slot.offset + first_bytes,
                          all + first_bytes, bytes - first_bytes, error)) {
        return false;
    }
    *image = g_steal_pointer(&all);
    return true;
}

/* The version in slot @n, if header, trailer and payload are intact */
static bool pair_read_slot(BlobMedium *medium, const BlobGuard *guard,
                           BlobPair *pair, unsigned n, BlobHeader *header,
                           GBytes **payload, GError **error)
{
    BlobSlot slot = blob_pair_slot(pair, n);
    g_autofree uint8_t *image = NULL;
    const uint8_t *trailer;

    *payload = NULL;
    pair->intact[n] = false;
    pair->begun[n] = false;
    pair->partly[n] = false;
    if (!pair_read_image(medium, guard, pair, n, header, &image, error)) {
        return false;
    }
    if (!image) {
        return true;
    }
    pair->begun[n] = true;
    trailer = image + blob_layout_image_bytes(header->stored_bytes) -
              BLOB_HEADER_BYTES;
    if (memcmp(image, trailer, BLOB_HEADER_BYTES) ||
        !unseal_payload(guard, &slot, header, image + BLOB_HEADER_BYTES)) {
        return true;
    }
    *payload = take_payload(header, g_steal_pointer(&image));
    pair->intact[n] = true;
    pair->sequence[n] = header->sequence;
    memcpy(pair->epoch_id[n], header->epoch_id, sizeof(header->epoch_id));
    return true;
}

/* A bad sector mostly shows as a read error: it costs this copy alone. */
static GBytes *pair_try_slot(BlobMedium *medium, const BlobGuard *guard,
                             BlobPair *pair, unsigned n, BlobHeader *header)
{
    g_autoptr(GError) failure = NULL;
    GBytes *payload;

    pair->failure[n][0] = '\0';
    if (!pair_read_slot(medium, guard, pair, n, header, &payload, &failure)) {
        g_strlcpy(pair->failure[n], failure->message,
                  sizeof(pair->failure[n]));
    }
    return payload;
}

bool blob_pair_fail_unreadable(const BlobPair *pair, GError **error)
{
    const char *failure = pair->failure[pair->failure[1][0] != '\0'];

    if (*failure) {
        g_set_error_literal(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_IO,
                            failure);
    }
    return !*failure;
}

bool blob_pair_read(BlobMedium *medium, const BlobGuard *guard,
                    BlobPair *pair, BlobHeader *header, GBytes **payload,
                    GError **error)
{
    BlobHeader headers[2];
    g_autoptr(GBytes) payload0 = pair_try_slot(medium, guard, pair, 0,
                                               &headers[0]);
    g_autoptr(GBytes) payload1 = pair_try_slot(medium, guard, pair, 1,
                                               &headers[1]);
    int current = blob_pair_current(pair);

    *payload = NULL;
    /* What cannot be read now may hold the only intact version. */
    if (current < 0 && !blob_pair_fail_unreadable(pair, error)) {
        return false;
    }
    if (current >= 0) {
        *header = headers[current];
        *payload = g_bytes_ref(current ? payload1 : payload0);
    }
    return true;
}

static bool pair_write_slot(BlobMedium *medium, const BlobGuard *guard,
                            BlobPair *pair, unsigned n,
                            const BlobHeader *header, GBytes *payload,
                            GError **error)
{
    BlobSlot slot = blob_pair_slot(pair, n);
    BlobHeader copy = *header;

    pair->intact[n] = false;
    if (!blob_slot_write(medium, guard, &slot, &copy, payload, true,
                         error)) {
        return false;
    }
    pair->intact[n] = true;
    pair->failure[n][0] = '\0';
    pair->sequence[n] = header->sequence;
    memcpy(pair->epoch_id[n], header->epoch_id, sizeof(header->epoch_id));
    return true;
}

bool blob_pair_write(BlobMedium *medium, const BlobGuard *guard,
                     BlobPair *pair, const BlobHeader *header, GBytes *payload,
                     GError **error)
{
    unsigned first = blob_pair_first(pair);

    pair->last = !first;
    return pair_write_slot(medium, guard, pair, first, header, payload,
                           error) &&
           pair_write_slot(medium, guard, pair, !first, header, payload,
                           error);
}

bool blob_pair_heal(BlobMedium *medium, const BlobGuard *guard,
                    BlobPair *pair, const BlobHeader *header, GBytes *payload,
                    GError **error)
{
    for (unsigned n = 0; n < 2; n++) {
        if ((!pair->intact[n] || pair->sequence[n] != header->sequence) &&
            !pair_write_slot(medium, guard, pair, n, header, payload,
                             error)) {
            return false;
        }
    }
    return true;
}
