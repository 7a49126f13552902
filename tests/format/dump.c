/*
 * What the core reads in store images, as JSON: the other side of reader.py
 *
 *   dump [--contents] IMAGE...
 *
 * Prints a line for each image, as Python's json.dumps() would.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>
#include "store.h"

static void print_string(const char *string)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
        static const char plain[] = "\b\f\n\r\t\"\\";
        static const char escaped[] = "bfnrt\"\\";
        const char *found = strchr(plain, *c);

        if (found) {
            printf("\\%c", escaped[found - plain]);
        } else if (*c < 0x20 || *c > 0x7e) {
            printf("\\u%04x", *c);
        } else {
            putchar(*c);
        }
    }
    putchar('"');
}

static void print_content(GBytes *content, char **metadata, bool contents)
{
    g_autofree char *digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256,
                                                           content);
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(content, &bytes);

    fputs(", \"metadata\": [", stdout);
    for (char **string = metadata; *string; string++) {
        fputs(string == metadata ? "" : ", ", stdout);
        print_string(*string);
    }
    printf("], \"bytes\": %zu, \"sha256\": \"%s\"", bytes, digest);
    if (contents) {
        fputs(", \"content\": \"", stdout);
        for (gsize i = 0; i < bytes; i++) {
            printf("%02x", data[i]);
        }
        putchar('"');
    }
}

static bool print_blob(BlobStore *store, Blob *blob, bool contents,
                       GError **error)
{
    BlobInfo info;
    g_autoptr(GBytes) content = NULL;
    g_auto(GStrv) metadata = NULL;
    g_autoptr(GError) local = NULL;
    const char *state = "damaged";

    if (blob_store_read(store, blob, &content, &metadata, &local)) {
        state = content ? "present" : "absent";
    } else if (!g_error_matches(local, BLOBSTORE_ERROR,
                                BLOBSTORE_ERROR_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    blob_get_info(blob, &info);
    fputs("{\"owner\": ", stdout);
    print_string(info.owner);
    fputs(", \"name\": ", stdout);
    print_string(info.name);
    printf(", \"kind\": \"%s\", \"state\": \"%s\", \"sequence\": %"
           G_GUINT64_FORMAT, blob_kind_name(info.kind), state, info.sequence);
    if (content) {
        print_content(content, metadata, contents);
    }
    putchar('}');
    return true;
}

static bool print_blobs(BlobStore *store, bool contents, GError **error)
{
    fputs("{\"store\": \"ready\", \"blobs\": [", stdout);
    for (size_t i = 0; i < blob_store_count(store); i++) {
        fputs(i ? ", " : "", stdout);
        if (!print_blob(store, blob_store_nth(store, i), contents, error)) {
            return false;
        }
    }
    puts("]}");
    return true;
}

/* Returns false if the image cannot be read, not if it is no store. */
static bool print_image(const char *path, bool contents, GError **error)
{
    BlobStoreOptions options = { .read_only = true };
    g_autoptr(BlobStorage) storage = blob_storage_new_file(path, false,
                                                           error);
    g_autoptr(BlobStore) store = NULL;
    g_autoptr(GError) refusal = NULL;
    BlobStoreInfo info;

    if (!storage) {
        return false;
    }
    store = blob_store_open(storage, &options, &refusal);
    if (!store && g_error_matches(refusal, BLOBSTORE_ERROR,
                                  BLOBSTORE_ERROR_IO)) {
        g_propagate_error(error, g_steal_pointer(&refusal));
        return false;
    }
    if (!store) {
        puts("{\"store\": \"refused\"}");
        fprintf(stderr, "%s: %s\n", path, refusal->message);
        return true;
    }
    blob_store_get_info(store, &info);
    if (info.blank) {
        puts("{\"store\": \"blank\"}");
        return true;
    }
    return print_blobs(store, contents, error);
}

int main(int argc, char **argv)
{
    gboolean contents = false;
    g_auto(GStrv) images = NULL;
    const GOptionEntry entries[] = {
        { "contents", 0, 0, G_OPTION_ARG_NONE, &contents,
          "print them, in hexadecimal", NULL },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &images,
          NULL, "IMAGE..." },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    for (char **image = images; image && *image; image++) {
        if (!print_image(*image, contents, &error)) {
            fprintf(stderr, "%s: %s\n", *image, error->message);
            return 2;
        }
    }
    return 0;
}
