/*
 * The content of a store, to be compared with its later content
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "view.h"

#include <string.h>

typedef struct FuzzContent {
    GBytes *content;            /* NULL: damaged */
    char **metadata;
} FuzzContent;

static void content_free(gpointer data)
{
    FuzzContent *content = data;

    g_clear_pointer(&content->content, g_bytes_unref);
    g_strfreev(content->metadata);
    g_free(content);
}

static char *full_name(const Blob *blob)
{
    BlobInfo info;

    blob_get_info(blob, &info);
    return g_strdup_printf("%s/%s", info.owner, info.name);
}

static void make(FuzzView *view)
{
    if (!view->blobs) {
        view->blobs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                            content_free);
    }
}

void fuzz_view_set(FuzzView *view, const Blob *blob, GBytes *content,
                   const char *const *metadata)
{
    g_autofree char *name = full_name(blob);
    FuzzContent *new;

    make(view);
    if (!content) {
        g_hash_table_remove(view->blobs, name);
        return;
    }
    new = g_new0(FuzzContent, 1);
    new->content = g_bytes_ref(content);
    new->metadata = metadata ? g_strdupv((char **)metadata)
                             : g_new0(char *, 1);
    g_hash_table_insert(view->blobs, g_steal_pointer(&name), new);
}

void fuzz_view_read(FuzzView *view, BlobStore *store)
{
    fuzz_view_clear(view);
    make(view);
    for (size_t i = 0; i < blob_store_count(store); i++) {
        Blob *blob = blob_store_nth(store, i);
        g_autoptr(GBytes) content = NULL;
        g_auto(GStrv) metadata = NULL;
        g_autoptr(GError) error = NULL;
        bool ok = blob_store_read(store, blob, &content, &metadata, &error);
        BlobInfo info;

        blob_get_info(blob, &info);
        switch (fuzz_outcome(ok, &error, FUZZ_CODE(IO) | FUZZ_CODE(DAMAGED))) {
        case FUZZ_OK:
            FUZZ_CHECK(metadata && info.present == (content != NULL));
            FUZZ_CHECK(!content || g_bytes_get_size(content) == info.size);
            fuzz_view_set(view, blob, content, (const char *const *)metadata);
            break;
        case BLOBSTORE_ERROR_DAMAGED:
            FUZZ_CHECK(!content && !metadata && info.damage);
            view->damaged++;
            g_hash_table_insert(view->blobs, full_name(blob),
                                g_new0(FuzzContent, 1));
            break;
        default:
            view->cut_short = true;
        }
    }
}

void fuzz_view_clear(FuzzView *view)
{
    g_clear_pointer(&view->blobs, g_hash_table_unref);
    *view = (FuzzView) { 0 };
}

static bool is_same(const FuzzContent *a, const FuzzContent *b)
{
    if (!a->content || !b->content) {
        return a->content == b->content;
    }
    return g_bytes_equal(a->content, b->content) &&
           g_strv_equal((const char *const *)a->metadata,
                        (const char *const *)b->metadata);
}

void fuzz_view_compare(const FuzzView *expected, const FuzzView *found)
{
    GHashTableIter iter;
    gpointer name;
    gpointer content;

    FUZZ_CHECK(!expected->cut_short && !found->cut_short);
    g_hash_table_iter_init(&iter, expected->blobs);
    while (g_hash_table_iter_next(&iter, &name, &content)) {
        const FuzzContent *other = g_hash_table_lookup(found->blobs, name);

        if (!((FuzzContent *)content)->content) {
            continue;
        }
        if (!other) {
            fuzz_fail("blob %s is gone", (char *)name);
        }
        if (!is_same(content, other)) {
            fuzz_fail("blob %s has changed", (char *)name);
        }
    }
    g_hash_table_iter_init(&iter, found->blobs);
    while (g_hash_table_iter_next(&iter, &name, &content)) {
        if (((FuzzContent *)content)->content &&
            !g_hash_table_contains(expected->blobs, name)) {
            fuzz_fail("blob %s has come from nowhere", (char *)name);
        }
    }
}

void fuzz_check_info(const BlobStore *store)
{
    BlobStoreStatus info;
    uint64_t taken = 0;
    const char *const *warning;

    blob_store_get_status(store, &info);
    FUZZ_CHECK(blob_store_required_bytes(store) % BLOB_BLOCK_BYTES == 0);
    for (size_t i = 0; i < blob_store_count(store); i++) {
        Blob *blob = blob_store_nth(store, i);
        BlobInfo of_blob;

        blob_get_info(blob, &of_blob);
        FUZZ_CHECK(blob_store_find(store, of_blob.owner, of_blob.name) ==
                   blob);
        FUZZ_CHECK(of_blob.slots == 0 || of_blob.slots == 2);
        FUZZ_CHECK(!of_blob.registered || of_blob.size <= of_blob.max_size);
        for (unsigned n = 0; n < of_blob.slots; n++) {
            taken += of_blob.slot[n].length;
            FUZZ_CHECK(of_blob.slot[n].offset + of_blob.slot[n].length <=
                       info.capacity);
        }
    }
    FUZZ_CHECK(info.free + taken <= info.capacity);
    for (warning = blob_store_warnings(store); *warning; warning++) {
        FUZZ_CHECK(**warning);
    }
}
