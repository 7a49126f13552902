/*
 * qemu-blobstore copy, clone
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "blobstore/copy.h"
#include "tool.h"

/* Which store the target becomes, and who can open it */
typedef struct Target {
    ToolImage image;
    bool is_new;                /* another store than the source */
    bool same_key;
    BlobKeySlots slots;         /* with the same key: those of the source */
} Target;

static bool choose_key(const Tool *tool, const ToolStore *source,
                       Target *target, GError **error)
{
    if (tool->unencrypted && tool_names_key(&tool->new_key)) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--unencrypted and a new key "
                         "exclude each other");
    }
    target->same_key = source->data_key && !tool->unencrypted &&
                       !tool_names_key(&tool->new_key);
    if (target->same_key && target->is_new) {
        return tool_fail(error, TOOL_EXIT_USAGE, "the store is encrypted, and "
                         "its key slots are good for its uuid only: "
                         "--new-key-secret, --new-key-uri or --unencrypted "
                         "is needed");
    }
    blob_store_get_key_slots(source->store, &target->slots);
    return true;
}

/* A new image has as many bytes as that of the source. */
static bool coroutine_fn make_target(ToolStore *source, Target *target,
                                     GError **error)
{
    BlobStorage *storage = &source->medium.parent;
    uint64_t length;

    return storage->ops->length(storage, &length, error) &&
           tool_make_missing(&target->image,
                             MAX(ROUND_UP(length, BDRV_SECTOR_SIZE),
                                 blob_store_copy_bytes(source->store)),
                             error);
}

static bool coroutine_fn copy_store(Tool *tool, ToolStore *source,
                                    Target *target, GError **error)
{
    BlobStoreOptions options = {
        .uuid = target->is_new ? NULL : source->uuid,
        .create_as_uuid = !target->is_new,
        .key = target->same_key ? source->data_key : NULL,
        .key_slots = target->same_key ? &target->slots : NULL,
    };
    g_auto(ToolStore) opened = { 0 };
    g_autofree char *uuid = NULL;
    BlobStoreStatus info;

    if (!tool_open_blank(tool, &target->image, &options, &opened, error)) {
        g_prefix_error(error, "%s: ", target->image.name);
        return false;
    }
    if (!blob_store_copy(source->store, opened.store, error)) {
        return false;
    }
    blob_store_get_status(opened.store, &info);
    uuid = tool_uuid(info.uuid);
    tool_say(tool, "uuid: %s\n", uuid);
    return true;
}

static bool coroutine_fn copy(Tool *tool, bool is_new, GError **error)
{
    Target target = {
        .image = {
            .name = tool->operands[1],
            .format = tool->target_format,
            .is_options = tool->target_is_options,
        },
        .is_new = is_new,
    };
    g_auto(ToolStore) source = { 0 };

    return tool_open(tool, &tool->image, TOOL_READ, &source, error) &&
           choose_key(tool, &source, &target, error) &&
           make_target(&source, &target, error) &&
           copy_store(tool, &source, &target, error);
}

bool coroutine_fn tool_copy(Tool *tool, GError **error)
{
    return copy(tool, false, error);
}

bool coroutine_fn tool_clone(Tool *tool, GError **error)
{
    if (!tool->new_identity) {
        return tool_fail(error, TOOL_EXIT_USAGE, "a clone is another store: "
                         "--new-identity says that this is meant; copy keeps "
                         "the uuid");
    }
    return copy(tool, true, error);
}
