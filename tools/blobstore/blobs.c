/*
 * qemu-blobstore: commands that read and write single blobs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "tool.h"

/* The words of the second operand, OWNER/NAME */
typedef struct BlobName {
    char *owner;
    char *name;
} BlobName;

static void clear_name(BlobName *name)
{
    g_free(name->owner);
    g_free(name->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BlobName, clear_name)

static bool parse_name(const Tool *tool, BlobName *name, GError **error)
{
    const char *text = tool->operands[1];
    const char *slash = strchr(text, '/');

    if (!slash || slash == text || !slash[1]) {
        return tool_fail(error, TOOL_EXIT_USAGE, "'%s' is no blob: it is "
                         "named OWNER/NAME", text);
    }
    name->owner = g_strndup(text, slash - text);
    name->name = g_strdup(slash + 1);
    return true;
}

/* The file operand; NULL: standard input or output */
static const char *file_of(const Tool *tool)
{
    const char *file = tool->operand_count > 2 ? tool->operands[2] : "-";

    return strcmp(file, "-") ? file : NULL;
}

static bool fail_file(const char *file, const char *what, GError **error)
{
    return tool_fail(error, TOOL_EXIT_ERROR, "cannot %s '%s': %s", what,
                     file ?: "-", strerror(errno));
}

static bool fail_missing(const Tool *tool, GError **error)
{
    return tool_fail(error, TOOL_EXIT_NO_BLOB, "there is no blob '%s'",
                     tool->operands[1]);
}

/* Nobody else reads what is in a blob: it may be keys. */
static bool write_file(const char *file, GBytes *content, GError **error)
{
    size_t bytes;
    const void *data = g_bytes_get_data(content, &bytes);
    int fd = file ? qemu_create(file, O_WRONLY | O_TRUNC, 0600, NULL)
                  : STDOUT_FILENO;
    bool ok = fd >= 0 && qemu_write_full(fd, data, bytes) == bytes;

    if (file && fd >= 0 && close(fd) < 0) {
        ok = false;
    }
    return ok || fail_file(file, "write", error);
}

/* Reads at most one byte more than a blob can have. */
static GBytes *read_file(const char *file, GError **error)
{
    g_autoptr(GByteArray) content = g_byte_array_new();
    int fd = file ? qemu_open_old(file, O_RDONLY) : STDIN_FILENO;
    uint8_t piece[65536];
    ssize_t bytes = -1;

    while (fd >= 0 && content->len <= BLOB_MAX_SIZE_BYTES) {
        bytes = RETRY_ON_EINTR(read(fd, piece, sizeof(piece)));
        if (bytes <= 0) {
            break;
        }
        g_byte_array_append(content, piece, bytes);
    }
    if (bytes < 0) {
        fail_file(file, "read", error);
    }
    if (file && fd >= 0) {
        close(fd);
    }
    return bytes < 0 ? NULL
                     : g_byte_array_free_to_bytes(g_steal_pointer(&content));
}

static void print_metadata(char **metadata)
{
    for (; *metadata; metadata++) {
        puts(*metadata);
    }
}

bool coroutine_fn tool_get(Tool *tool, GError **error)
{
    g_auto(ToolStore) opened = { 0 };
    g_auto(BlobName) name = { 0 };
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;
    Blob *blob;

    if (!parse_name(tool, &name, error) ||
        !tool_open(tool, &tool->image, TOOL_READ, &opened, error)) {
        return false;
    }
    blob = blob_store_find(opened.store, name.owner, name.name);
    if (!blob) {
        return fail_missing(tool, error);
    }
    if (!blob_store_read(opened.store, blob, &content, &metadata, error)) {
        return false;
    }
    if (!content) {
        return fail_missing(tool, error);
    }
    if (tool->show_metadata) {
        print_metadata(metadata);
        return true;
    }
    return write_file(file_of(tool), content, error);
}

/* What the command line says of the blob, or else what it is, or becomes */
static bool choose_size(const Tool *tool, const BlobInfo *info, GBytes *content,
                        uint64_t *max_size, GError **error)
{
    uint64_t size = g_bytes_get_size(content);

    if (tool->max_size && tool->max_size < size) {
        return tool_fail(error, TOOL_EXIT_USAGE, "--max-size is less than the "
                         "content has: %" PRIu64 " bytes", size);
    }
    *max_size = MAX(MAX(size, 1), MAX(tool->max_size, info->max_size));
    return true;
}

static bool choose_kind(const Tool *tool, const BlobInfo *info, BlobKind *kind,
                        GError **error)
{
    static const BlobKind kinds[] = {
        BLOB_KIND_PERMANENT, BLOB_KIND_SAVESTATE,
    };

    *kind = info->name ? info->kind : BLOB_KIND_PERMANENT;
    if (tool->kind < 0) {
        return true;
    }
    if (tool->kind >= ARRAY_SIZE(kinds)) {
        return tool_fail(error, TOOL_EXIT_USAGE, "volatile blobs are never on "
                         "the medium");
    }
    *kind = kinds[tool->kind];
    return true;
}

/* Registers the blob, whether or not it is there yet; NULL: failed */
static Blob *coroutine_fn prepare(Tool *tool, ToolStore *opened,
                                  const BlobName *name, GBytes *content,
                                  GError **error)
{
    Blob *found = blob_store_find(opened->store, name->owner, name->name);
    BlobInfo info = { 0 };
    BlobKind kind;
    uint64_t max_size;

    if (found) {
        blob_get_info(found, &info);
    }
    if (!choose_kind(tool, &info, &kind, error) ||
        !choose_size(tool, &info, content, &max_size, error)) {
        return NULL;
    }
    return blob_store_register(opened->store, name->owner, name->name, kind,
                               max_size, error);
}

/* The metadata of the command line, or else those that the blob has */
static char **coroutine_fn choose_metadata(Tool *tool, ToolStore *opened,
                                           Blob *blob)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GBytes) content = NULL;
    char **metadata = NULL;

    if (!tool->metadata && blob_store_read(opened->store, blob, &content,
                                           &metadata, NULL)) {
        return metadata;
    }
    for (GSList *at = tool->metadata; at; at = at->next) {
        g_ptr_array_insert(chosen, 0, g_strdup(at->data));
    }
    g_ptr_array_add(chosen, NULL);
    return (char **)g_ptr_array_steal(chosen, NULL);
}

static bool coroutine_fn write_blob(Tool *tool, ToolStore *opened, Blob *blob,
                                    GBytes *content, GError **error)
{
    g_auto(GStrv) metadata = choose_metadata(tool, opened, blob);
    BlobChange change = {
        .blob = blob,
        .content = content,
        .metadata = (const char *const *)metadata,
    };
    BlobInfo info;

    blob_get_info(blob, &info);
    /* Nothing is written before these questions are settled. */
    return blob_content_check(info.owner, info.name, info.max_size, content,
                              change.metadata, error) &&
           tool_check_space(opened, blob_store_required_bytes(opened->store),
                            error) &&
           blob_store_start(opened->store, error) &&
           blob_store_write(opened->store, &change, 1, error) &&
           tool_finish(opened, error);
}

bool coroutine_fn tool_put(Tool *tool, GError **error)
{
    g_auto(ToolStore) opened = { 0 };
    g_auto(BlobName) name = { 0 };
    g_autoptr(GBytes) content = NULL;
    Blob *blob;

    if (!parse_name(tool, &name, error)) {
        return false;
    }
    content = read_file(file_of(tool), error);
    if (!content ||
        !tool_open(tool, &tool->image, TOOL_REPLACE, &opened, error)) {
        return false;
    }
    blob = prepare(tool, &opened, &name, content, error);
    return blob && write_blob(tool, &opened, blob, content, error);
}

bool coroutine_fn tool_rm(Tool *tool, GError **error)
{
    g_auto(ToolStore) opened = { 0 };
    g_auto(BlobName) name = { 0 };
    BlobChange change = { 0 };
    BlobInfo info;

    if (!parse_name(tool, &name, error) ||
        !tool_open(tool, &tool->image, TOOL_REPLACE, &opened, error)) {
        return false;
    }
    change.blob = blob_store_find(opened.store, name.owner, name.name);
    if (!change.blob) {
        return fail_missing(tool, error);
    }
    blob_get_info(change.blob, &info);
    if (!blob_store_register(opened.store, name.owner, name.name, info.kind,
                             info.max_size, error) ||
        !blob_store_start(opened.store, error) ||
        !blob_store_write(opened.store, &change, 1, error)) {
        return false;
    }
    /* The next record drops its entry. */
    blob_store_unregister(opened.store, change.blob);
    return tool_finish(&opened, error);
}
