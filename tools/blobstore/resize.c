/*
 * qemu-blobstore resize, size
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "tool.h"

/* How many bytes the image is to have, and has */
typedef struct Sizes {
    uint64_t wanted;            /* 0: as it is */
    uint64_t length;
} Sizes;

static bool parse_size(const Tool *tool, Sizes *sizes, GError **error)
{
    const char *text = tool->operand_count > 1 ? tool->operands[1] : NULL;

    return !text ||
           (qemu_strtosz(text, NULL, &sizes->wanted) == 0 && sizes->wanted &&
            sizes->wanted <= INT64_MAX / 2) ||
           tool_fail(error, TOOL_EXIT_USAGE, "'%s' is not a size: 64k, 4M, "
                     "...", text);
}

static bool coroutine_fn truncate_image(ToolStore *opened, uint64_t bytes,
                                        GError **error)
{
    Error *err = NULL;

    return blk_co_truncate(opened->blk, bytes, true, PREALLOC_MODE_OFF, 0,
                           &err) >= 0 ||
           tool_fail_err(error, TOOL_EXIT_ERROR, err);
}

static bool check_required(ToolStore *opened, const Sizes *sizes,
                           GError **error)
{
    uint64_t required = blob_store_required_bytes(opened->store);

    return sizes->wanted >= required ||
           tool_fail(error, TOOL_EXIT_ERROR, "the store needs %" PRIu64
                     " bytes, and would have %" PRIu64 ": it stays as it is",
                     required, sizes->wanted);
}

/*
 * The image is larger than the store whenever the command is cut short, and
 * never smaller.
 */
static bool coroutine_fn resize(ToolStore *opened, Sizes *sizes,
                                GError **error)
{
    BlobStorage *storage = &opened->medium.parent;

    if (!storage->ops->length(storage, &sizes->length, error)) {
        return false;
    }
    sizes->wanted = sizes->wanted ?: sizes->length;
    return check_required(opened, sizes, error) &&
           (sizes->wanted <= sizes->length ||
            truncate_image(opened, sizes->wanted, error)) &&
           blob_store_start(opened->store, error) &&
           blob_store_resize(opened->store, sizes->wanted, error) &&
           tool_finish(opened, error) &&
           (sizes->wanted >= sizes->length ||
            truncate_image(opened, sizes->wanted, error));
}

bool coroutine_fn tool_resize(Tool *tool, GError **error)
{
    g_auto(ToolStore) opened = { 0 };
    Sizes sizes = { 0 };
    BlobStoreStatus info;

    if (!parse_size(tool, &sizes, error) ||
        !tool_open(tool, &tool->image, TOOL_RESIZE, &opened, error) ||
        !resize(&opened, &sizes, error)) {
        return false;
    }
    blob_store_get_status(opened.store, &info);
    tool_say(tool, "%" PRIu64 " bytes, %" PRIu64 " free\n", info.capacity,
             info.free);
    return true;
}

static bool add_size(const char *text, GArray *sizes, GError **error)
{
    uint64_t bytes;

    if (qemu_strtosz(text, NULL, &bytes) < 0 || !bytes ||
        bytes > BLOB_MAX_SIZE_BYTES) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--blob=%s is not the size "
                         "of a blob, which is 1 to %" PRIu64 " bytes", text,
                         (uint64_t)BLOB_MAX_SIZE_BYTES);
    }
    g_array_append_val(sizes, bytes);
    return true;
}

bool coroutine_fn tool_size(Tool *tool, GError **error)
{
    g_autoptr(GArray) sizes = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    uint64_t bytes;

    if (tool->for_tpm) {
        g_array_append_vals(sizes, tool_tpm_sizes, TOOL_TPM_BLOBS);
    }
    for (GSList *at = tool->blob_sizes; at; at = at->next) {
        if (!add_size(at->data, sizes, error)) {
            return false;
        }
    }
    bytes = MAX(tool->required,
                blob_store_bytes_for((const uint64_t *)sizes->data,
                                     sizes->len));
    if (tool->output == TOOL_OUTPUT_JSON) {
        QDict *shown = qdict_new();

        qdict_put_int(shown, "required", bytes);
        tool_print_json(QOBJECT(shown));
    } else {
        printf("%" PRIu64 "\n", bytes);
    }
    return true;
}
