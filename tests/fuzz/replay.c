/*
 * Runs a fuzz target on the inputs of a folder, each once, without libFuzzer
 *
 * usage: replay FOLDER
 *
 * The last name printed before a failure is that of the input.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include "fuzz.h"

static int compare_names(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

static GPtrArray *list(const char *folder)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &error);
    const char *name;

    if (!dir) {
        fuzz_fail("%s", error->message);
    }
    while ((name = g_dir_read_name(dir))) {
        g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
    }
    g_ptr_array_sort(paths, compare_names);
    return paths;
}

static void replay(const char *path)
{
    g_autofree char *data = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *copy = NULL;
    gsize bytes;

    printf("%s\n", path);
    fflush(stdout);
    if (!g_file_get_contents(path, &data, &bytes, &error)) {
        fuzz_fail("%s", error->message);
    }
    /* The copy ends without the NUL, which nothing may read. */
    copy = g_memdup2(data, bytes);
    LLVMFuzzerTestOneInput(copy, bytes);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) paths = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    LLVMFuzzerInitialize(&argc, &argv);
    paths = list(argv[1]);
    for (guint i = 0; i < paths->len; i++) {
        replay(g_ptr_array_index(paths, i));
    }
    printf("%u inputs replayed\n", paths->len);
    return paths->len ? 0 : 1;
}
