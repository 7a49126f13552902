/*
 * qemu-blobstore create
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/tpm/libtpms/engine/engine.h"
#include "tool.h"

/* The volatile blob is never on the medium. */
const uint64_t tool_tpm_sizes[TOOL_TPM_BLOBS] = {
    TPM_BLOB_PERMANENT_MAX_BYTES, TPM_BLOB_SAVESTATE_MAX_BYTES,
};

/* The arguments and results of bdrv_img_create(), which no coroutine calls */
typedef struct NewImage {
    const ToolImage *image;
    uint64_t bytes;
    Error *err;
    Coroutine *waiting;
} NewImage;

static void make_image_bh(void *opaque)
{
    NewImage *new = opaque;

    bdrv_img_create(new->image->name, new->image->format, NULL, NULL, NULL,
                    new->bytes, BDRV_O_RDWR, true, &new->err);
    aio_co_wake(new->waiting);
}

static bool coroutine_fn make_image(const ToolImage *image, uint64_t bytes,
                                    GError **error)
{
    NewImage new = {
        .image = image,
        .bytes = bytes,
        .waiting = qemu_coroutine_self(),
    };

    aio_bh_schedule_oneshot(qemu_get_aio_context(), make_image_bh, &new);
    qemu_coroutine_yield();
    return !new.err || tool_fail_err(error, TOOL_EXIT_ERROR, new.err);
}

/* Whether the image is a file that is to be made */
static bool is_missing(const ToolImage *image)
{
    return !image->is_options && !path_has_protocol(image->name) &&
           access(image->name, F_OK) < 0 && errno == ENOENT;
}

bool coroutine_fn tool_make_missing(ToolImage *image, uint64_t bytes,
                                    GError **error)
{
    if (!is_missing(image)) {
        return true;
    }
    image->format = image->format ?: "raw";
    return make_image(image, bytes, error);
}

static bool coroutine_fn make_store(Tool *tool, const ToolImage *image,
                                    uint64_t bytes, GError **error)
{
    g_auto(ToolStore) opened = { 0 };
    g_autofree char *uuid = NULL;
    BlobStoreStatus info;

    if (!tool_open(tool, image, TOOL_MAKE, &opened, error) ||
        !tool_check_space(&opened, bytes, error) ||
        !blob_store_start(opened.store, error) ||
        !tool_finish(&opened, error)) {
        return false;
    }
    blob_store_get_status(opened.store, &info);
    uuid = tool_uuid(info.uuid);
    tool_say(tool, "uuid: %s\n", uuid);
    return true;
}

bool coroutine_fn tool_create(Tool *tool, GError **error)
{
    ToolImage image = tool->image;
    uint64_t bytes = 0;

    if (tool->for_tpm) {
        bytes = blob_store_bytes_for(tool_tpm_sizes, TOOL_TPM_BLOBS);
    }
    bytes = MAX(bytes, tool->required);
    if (is_missing(&image) && !bytes) {
        return tool_fail(error, TOOL_EXIT_USAGE, "there is no such file: how "
                         "large is it to be? --tpm or --required is needed");
    }
    return tool_make_missing(&image, bytes, error) &&
           make_store(tool, &image, bytes, error);
}
