/*
 * Blobstore in QEMU: the blobs that the first section of a stream announces
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "vmstate.h"

bool blobstore_announced_is_valid(const StreamAnnounced *blob)
{
    return blobstore_stream_is_name(blob->owner) &&
           blobstore_stream_is_name(blob->name) &&
           blob->kind <= BLOBSTORE_VOLATILE && blob->max_size >= 1 &&
           blob->max_size <= BLOBSTORE_MAX_BLOB_BYTES &&
           blob->metadata_size <= BLOBSTORE_METADATA_MAX_BYTES;
}

static bool is_valid(void *opaque, int version_id)
{
    return blobstore_announced_is_valid(opaque);
}

const VMStateDescription vmstate_blobstore_announced = {
    .name = "blobstore-identity/blob",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(owner, StreamAnnounced),
        VMSTATE_BUFFER(name, StreamAnnounced),
        VMSTATE_UINT8(kind, StreamAnnounced),
        VMSTATE_UINT64(max_size, StreamAnnounced),
        VMSTATE_UINT32(metadata_size, StreamAnnounced),
        VMSTATE_VALIDATE("blob is valid", is_valid),
        VMSTATE_END_OF_LIST()
    },
};

void blobstore_announced_fill(StreamAnnounced *to, BlobStoreBlob *blob,
                              GByteArray *metadata)
{
    g_autoptr(BlobStoreVersion) version = blobstore_version_latest(blob);
    guint before = metadata->len;

    blobstore_stream_set_name(to->owner, blob->client->owner);
    blobstore_stream_set_name(to->name, blob->name);
    to->kind = blob->kind;
    to->max_size = blob->max_size;
    if (version->content) {
        blobstore_stream_put_metadata(metadata, version->metadata);
    }
    to->metadata_size = metadata->len - before;
}

void blobstore_announced_say(GByteArray *said, const StreamAnnounced *blob)
{
    g_byte_array_append(said, blob->owner, sizeof(blob->owner));
    g_byte_array_append(said, blob->name, sizeof(blob->name));
    blobstore_stream_say_number(said, blob->kind);
    blobstore_stream_say_number(said, blob->max_size);
    blobstore_stream_say_number(said, blob->metadata_size);
}

static bool check_announced(const StreamAnnounced *blob,
                            const BlobStoreBlob *ours, Error **errp)
{
    if (blob->kind != ours->kind) {
        error_setg(errp, "blob '%s/%s' is of another kind here",
                   blobstore_stream_name(blob->owner),
                   blobstore_stream_name(blob->name));
        return false;
    }
    if (blob->max_size > ours->max_size) {
        error_setg(errp,
                   "blob '%s/%s' may have %" PRIu64 " bytes at the "
                   "source, %" PRIu64 " here",
                   blobstore_stream_name(blob->owner),
                   blobstore_stream_name(blob->name), blob->max_size,
                   ours->max_size);
        return false;
    }
    return true;
}

static int compare_announced(const StreamAnnounced *blob,
                             const BlobStoreBlob *ours)
{
    return strcmp(blobstore_stream_name(blob->owner), ours->client->owner) ?:
           strcmp(blobstore_stream_name(blob->name), ours->name);
}

/* Both lists are in order. */
bool blobstore_announced_check(BlobStoreObject *store,
                               const StreamAnnounced *announced,
                               int32_t count, Error **errp)
{
    g_autoptr(GPtrArray) blobs = blobstore_stream_sorted_blobs(store);
    guint n = 0;

    for (int32_t i = 0; i < count || n < blobs->len; ) {
        const StreamAnnounced *blob = i < count ? &announced[i] : NULL;
        const BlobStoreBlob *ours =
            n < blobs->len ? g_ptr_array_index(blobs, n) : NULL;
        int order = !blob ? 1 : !ours ? -1 : compare_announced(blob, ours);

        if (order) {
            error_setg(
                errp, "blob '%s/%s' is %s",
                order < 0 ? blobstore_stream_name(blob->owner)
                          : ours->client->owner,
                order < 0 ? blobstore_stream_name(blob->name) : ours->name,
                order < 0 ? "at the source, but no device here uses it"
                          : "used by a device here, but not at the source");
            return false;
        }
        if (!check_announced(blob, ours, errp)) {
            return false;
        }
        i++;
        n++;
    }
    return true;
}

uint32_t blobstore_announced_metadata_size(const StreamAnnounced *announced,
                                           int32_t count)
{
    uint32_t bytes = 0;

    for (int32_t i = 0; i < count; i++) {
        bytes += announced[i].metadata_size;
    }
    return bytes;
}

static bool offer(BlobStoreBlob *blob, const uint8_t *data, uint32_t bytes,
                  Error **errp)
{
    ERRP_GUARD();
    BlobStoreClient *client = blob->client;
    g_auto(GStrv) metadata = blobstore_stream_get_metadata(data, bytes);

    if (!metadata) {
        error_setg(errp, "metadata of blob '%s/%s' in the stream is not valid",
                   client->owner, blob->name);
        return false;
    }
    if (*metadata && client->ops && client->ops->accepts &&
        !client->ops->accepts(client->opaque, blob, metadata, errp)) {
        error_prepend(errp, "blob '%s/%s' of the source cannot be used here: ",
                      client->owner, blob->name);
        return false;
    }
    return true;
}

bool blobstore_announced_offer(BlobStoreObject *store,
                               const StreamAnnounced *announced,
                               int32_t count, const uint8_t *metadata,
                               Error **errp)
{
    g_autoptr(GPtrArray) blobs = blobstore_stream_sorted_blobs(store);

    for (int32_t i = 0; i < count; i++) {
        uint32_t bytes = announced[i].metadata_size;

        if (!offer(g_ptr_array_index(blobs, i), metadata, bytes, errp)) {
            return false;
        }
        metadata += bytes;
    }
    return true;
}
