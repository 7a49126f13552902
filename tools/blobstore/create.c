/*
 * qemu-blobstore create
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "tool.h"

/* What hw/tpm/libtpms registers; its volatile blob is never on the medium. */
static const struct {
    const char *owner;
    const char *name;
    BlobKind kind;
    uint64_t max_size;
} tpm_blobs[] = {
    { "tpm", "permanent", BLOB_KIND_PERMANENT, 512 * KiB },
    { "tpm", "savestate", BLOB_KIND_SAVESTATE, 64 * KiB },
};

static bool register_tpm(BlobStore *store, GError **error)
{
    for (size_t n = 0; n < ARRAY_SIZE(tpm_blobs); n++) {
        if (!blob_store_register(store, tpm_blobs[n].owner, tpm_blobs[n].name,
                                 tpm_blobs[n].kind, tpm_blobs[n].max_size,
                                 error)) {
            return false;
        }
    }
    return true;
}

/* How many bytes the new store needs, so that it has space for a TPM. */
static bool measure_tpm(uint64_t *bytes, GError **error)
{
    static const BlobStoreOptions options;
    BlobStorage *storage = blob_storage_new_memory(4 * KiB);
    BlobStore *store = blob_store_open(storage, &options, error);
    bool ok = store && register_tpm(store, error);

    if (ok) {
        *bytes = blob_store_required_bytes(store);
    }
    blob_store_free(store);
    blob_storage_free(storage);
    return ok;
}

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

    if (tool->for_tpm && !measure_tpm(&bytes, error)) {
        return false;
    }
    bytes = MAX(bytes, tool->required);
    if (is_missing(&image)) {
        if (!bytes) {
            return tool_fail(error, TOOL_EXIT_USAGE, "there is no such file: "
                             "how large is it to be? --tpm or --required is "
                             "needed");
        }
        image.format = image.format ?: "raw";
        if (!make_image(&image, bytes, error)) {
            return false;
        }
    }
    return make_store(tool, &image, bytes, error);
}
