/*
 * Blobstore in QEMU: one blob in the second section of a stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "vmstate.h"

static bool is_ours(void *opaque, int version_id)
{
    StreamCarried *carried = opaque;
    BlobStoreBlob *blob = carried->blob;

    return blobstore_stream_is_name(carried->owner) &&
           blobstore_stream_is_name(carried->name) &&
           !strcmp(blobstore_stream_name(carried->owner),
                   blob->client->owner) &&
           !strcmp(blobstore_stream_name(carried->name), blob->name);
}

static bool size_is_valid(void *opaque, int version_id)
{
    StreamCarried *carried = opaque;

    return carried->size <= (carried->present ? carried->blob->max_size : 0);
}

static bool metadata_size_is_valid(void *opaque, int version_id)
{
    StreamCarried *carried = opaque;

    return carried->metadata_size <=
           (carried->present ? BLOBSTORE_METADATA_MAX_BYTES : 0);
}

static bool payload_size_is_valid(void *opaque, int version_id)
{
    StreamCarried *carried = opaque;

    return carried->payload_size == carried->size + carried->metadata_size;
}

const VMStateDescription vmstate_blobstore_carried = {
    .name = "blobstore/blob",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(owner, StreamCarried),
        VMSTATE_BUFFER(name, StreamCarried),
        VMSTATE_VALIDATE("blob is the expected one", is_ours),
        VMSTATE_BOOL(present, StreamCarried),
        VMSTATE_UINT32(size, StreamCarried),
        VMSTATE_VALIDATE("size is valid", size_is_valid),
        VMSTATE_UINT32(metadata_size, StreamCarried),
        VMSTATE_VALIDATE("metadata size is valid", metadata_size_is_valid),
        VMSTATE_UINT32(payload_size, StreamCarried),
        VMSTATE_VALIDATE("payload size is valid", payload_size_is_valid),
        VMSTATE_VBUFFER_ALLOC_UINT32(payload, StreamCarried, 1, NULL,
                                     payload_size),
        VMSTATE_BUFFER(proof.nonce, StreamCarried),
        VMSTATE_BUFFER(proof.tag, StreamCarried),
        VMSTATE_END_OF_LIST()
    },
};

void blobstore_carried_fill(StreamCarried *carried)
{
    BlobStoreBlob *blob = carried->blob;
    g_autoptr(BlobStoreVersion) version = blobstore_version_latest(blob);
    GByteArray *payload = g_byte_array_new();

    blobstore_stream_set_name(carried->owner, blob->client->owner);
    blobstore_stream_set_name(carried->name, blob->name);
    if (version->content) {
        gsize size;
        const uint8_t *content = g_bytes_get_data(version->content, &size);

        blobstore_stream_put_metadata(payload, version->metadata);
        carried->present = true;
        carried->metadata_size = payload->len;
        carried->size = size;
        g_byte_array_append(payload, content, size);
    }
    carried->payload_size = payload->len;
    carried->payload = g_byte_array_free(payload, FALSE);
}

bool blobstore_carried_is_valid(StreamCarried *carried)
{
    int version_id = vmstate_blobstore_carried.version_id;

    return is_ours(carried, version_id) &&
           size_is_valid(carried, version_id) &&
           metadata_size_is_valid(carried, version_id) &&
           payload_size_is_valid(carried, version_id);
}

void blobstore_carried_say(GByteArray *said, const StreamCarried *carried)
{
    g_byte_array_append(said, carried->owner, sizeof(carried->owner));
    g_byte_array_append(said, carried->name, sizeof(carried->name));
    blobstore_stream_say_number(said, carried->blob->kind);
    blobstore_stream_say_number(said, carried->present);
    blobstore_stream_say_number(said, carried->size);
    blobstore_stream_say_number(said, carried->metadata_size);
}
