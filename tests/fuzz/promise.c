/*
 * The content that a store has promised to hold, while operations succeed and
 * fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "promise.h"

#include <stdlib.h>
#include <string.h>

void fuzz_promise_init(FuzzPromise *promise)
{
    *promise = (FuzzPromise) {
        .maybe = g_array_new(FALSE, FALSE, sizeof(FuzzWorld)),
        .contents = g_ptr_array_new_with_free_func(
            (GDestroyNotify)g_bytes_unref),
    };
}

void fuzz_promise_clear(FuzzPromise *promise)
{
    g_array_unref(promise->maybe);
    g_ptr_array_unref(promise->contents);
}

const char *fuzz_blob_name(unsigned n)
{
    static const char *const names[FUZZ_BLOBS] = { "a", "b", "c", "d" };

    return names[n];
}

int fuzz_promise_new(FuzzPromise *promise, size_t bytes)
{
    int version = promise->contents->len + 1;
    uint8_t *content = g_malloc(bytes + 1);
    uint64_t random = version;

    /* Every second content deflates. */
    for (size_t i = 0; i < bytes; i++) {
        content[i] = version & 1 ? version + i / 256 : fuzz_random(&random);
    }
    g_ptr_array_add(promise->contents, g_bytes_new_take(content, bytes));
    return version;
}

GBytes *fuzz_promise_content(const FuzzPromise *promise, int version)
{
    return g_ptr_array_index(promise->contents, version - 1);
}

char **fuzz_promise_metadata(int version)
{
    char **metadata = g_new0(char *, 2);

    metadata[0] = g_strdup_printf("version=%d", version);
    return metadata;
}

void fuzz_promise_done(FuzzPromise *promise, const FuzzWorld *after)
{
    promise->acknowledged = *after;
    g_array_set_size(promise->maybe, 0);
}

void fuzz_promise_failed(FuzzPromise *promise, const FuzzWorld *after)
{
    g_array_append_val(promise->maybe, *after);
}

/*
 * Returns the version that a blob's metadata names, if the content is that
 * version's.
 */
static int identify(const FuzzPromise *promise, GBytes *content,
                    char **metadata)
{
    int version;

    FUZZ_CHECK(metadata[0] && !metadata[1]);
    FUZZ_CHECK(g_str_has_prefix(metadata[0], "version="));
    version = atoi(metadata[0] + strlen("version="));
    FUZZ_CHECK(version >= 1 && version <= promise->contents->len);
    FUZZ_CHECK(g_bytes_equal(content,
                             fuzz_promise_content(promise, version)));
    return version;
}

void fuzz_promise_read(const FuzzPromise *promise, BlobStore *store,
                       FuzzWorld *world)
{
    *world = (FuzzWorld) { 0 };
    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        Blob *blob = blob_store_find(store, "t", fuzz_blob_name(n));
        g_autoptr(GBytes) content = NULL;
        g_auto(GStrv) metadata = NULL;
        g_autoptr(GError) error = NULL;
        bool ok;

        if (!blob) {
            continue;
        }
        ok = blob_store_read(store, blob, &content, &metadata, &error);
        switch (fuzz_outcome(ok, &error, FUZZ_CODE(IO) | FUZZ_CODE(DAMAGED))) {
        case FUZZ_OK:
            world->version[n] =
                content ? identify(promise, content, metadata) : 0;
            break;
        case BLOBSTORE_ERROR_DAMAGED:
            world->version[n] = FUZZ_DAMAGED;
            break;
        default:
            world->version[n] = FUZZ_UNREAD;
        }
    }
}

bool fuzz_world_is(const FuzzWorld *a, const FuzzWorld *b)
{
    return !memcmp(a, b, sizeof(*a));
}

bool fuzz_world_has(const FuzzWorld *world, int version)
{
    for (unsigned n = 0; n < FUZZ_BLOBS; n++) {
        if (world->version[n] == version) {
            return true;
        }
    }
    return false;
}

void fuzz_promise_check(const FuzzPromise *promise, const FuzzWorld *world)
{
    bool known = fuzz_world_is(world, &promise->acknowledged);

    for (guint i = 0; i < promise->maybe->len; i++) {
        known |= fuzz_world_is(world, &g_array_index(promise->maybe,
                                                     FuzzWorld, i));
    }
    if (!known) {
        fuzz_fail("holds %d %d %d %d, acknowledged is %d %d %d %d and %u "
                  "more may be", world->version[0], world->version[1],
                  world->version[2], world->version[3],
                  promise->acknowledged.version[0],
                  promise->acknowledged.version[1],
                  promise->acknowledged.version[2],
                  promise->acknowledged.version[3], promise->maybe->len);
    }
}
