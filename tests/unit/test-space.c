/*
 * Unit tests of the core: free space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/space.h"

#include <string.h>
#include "testdisk.h"

static uint64_t allocate(BlobSpace *space, uint64_t bytes)
{
    uint64_t offset = UINT64_MAX;

    return blob_space_allocate(space, bytes, &offset) ? offset : UINT64_MAX;
}

static void test_first_fit_wins(void)
{
    g_autoptr(BlobSpace) space = blob_space_new(100, 200);

    g_assert_cmpuint(allocate(space, 10), ==, 100);
    g_assert_cmpuint(allocate(space, 20), ==, 110);
    g_assert_cmpuint(allocate(space, 30), ==, 130);
    blob_space_release(space, 110, 20);
    g_assert_cmpuint(allocate(space, 21), ==, 160);
    g_assert_cmpuint(allocate(space, 15), ==, 110);
    g_assert_cmpuint(allocate(space, 6), ==, 181);
    g_assert_cmpuint(allocate(space, 5), ==, 125);
    g_assert_cmpuint(allocate(space, 14), ==, UINT64_MAX);
    g_assert_cmpuint(allocate(space, 13), ==, 187);
    g_assert_cmpuint(allocate(space, 1), ==, UINT64_MAX);
    g_assert_cmpuint(blob_space_free_bytes(space), ==, 0);
    g_assert_cmpuint(blob_space_used_end(space), ==, 200);
}

static void test_neighbours_grow_together(void)
{
    static const uint64_t orders[][3] = {
        { 0, 10, 20 }, { 0, 20, 10 }, { 10, 0, 20 },
        { 10, 20, 0 }, { 20, 0, 10 }, { 20, 10, 0 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(orders); i++) {
        g_autoptr(BlobSpace) space = blob_space_new(0, 30);

        blob_space_take(space, 0, 30);
        for (int n = 0; n < 3; n++) {
            blob_space_release(space, orders[i][n], 10);
        }
        g_assert_cmpuint(blob_space_free_bytes(space), ==, 30);
        g_assert_cmpuint(allocate(space, 30), ==, 0);
    }
}

static void test_extents_can_be_taken_anywhere(void)
{
    g_autoptr(BlobSpace) space = blob_space_new(0, 100);

    blob_space_take(space, 0, 10);
    blob_space_take(space, 90, 10);
    blob_space_take(space, 50, 10);
    g_assert_cmpuint(blob_space_free_bytes(space), ==, 70);
    g_assert_cmpuint(blob_space_used_end(space), ==, 100);
    g_assert_cmpuint(allocate(space, 40), ==, 10);
    g_assert_cmpuint(allocate(space, 30), ==, 60);
}

static void test_range_can_be_extended(void)
{
    g_autoptr(BlobSpace) space = blob_space_new(0, 10);

    g_assert_cmpuint(blob_space_used_end(space), ==, 0);
    blob_space_extend(space, 10);
    blob_space_extend(space, 30);
    g_assert_cmpuint(allocate(space, 30), ==, 0);
    blob_space_extend(space, 50);
    g_assert_cmpuint(blob_space_used_end(space), ==, 30);
    g_assert_cmpuint(allocate(space, 20), ==, 30);
}

static void test_empty_range_has_no_space(void)
{
    g_autoptr(BlobSpace) space = blob_space_new(40, 40);

    g_assert_cmpuint(blob_space_free_bytes(space), ==, 0);
    g_assert_cmpuint(blob_space_used_end(space), ==, 40);
    g_assert_cmpuint(allocate(space, 1), ==, UINT64_MAX);
}

static void test_copy_has_a_life_of_its_own(void)
{
    g_autoptr(BlobSpace) space = blob_space_new(0, 100);
    g_autoptr(BlobSpace) copy = blob_space_copy(space);

    g_assert_cmpuint(allocate(copy, 60), ==, 0);
    g_assert_cmpuint(blob_space_free_bytes(space), ==, 100);
    g_assert_cmpuint(blob_space_free_bytes(copy), ==, 40);
    blob_space_extend(copy, 120);
    g_assert_cmpuint(allocate(space, 100), ==, 0);
}

/* Compares the space with a plain map of bytes. */
static void test_random_walk_agrees_with_a_map(void)
{
    enum { END = 64, STEPS = 20000 };
    GRand *random = test_random();
    g_autoptr(BlobSpace) space = blob_space_new(0, END);
    uint8_t map[END] = { 0 };   /* 0: free, else the length at its start */
    bool taken[END] = { false };

    for (unsigned step = 0; step < STEPS * test_effort(); step++) {
        unsigned bytes = g_rand_int_range(random, 1, 9);
        unsigned at = g_rand_int_range(random, 0, END);
        unsigned first = END;
        unsigned run = 0;
        unsigned unused = 0;

        if (map[at]) {
            blob_space_release(space, at, map[at]);
            memset(taken + at, 0, map[at]);
            map[at] = 0;
        } else {
            for (unsigned i = 0; i < END && first == END; i++) {
                run = taken[i] ? 0 : run + 1;
                first = run == bytes ? i + 1 - bytes : END;
            }
            g_assert_cmpuint(allocate(space, bytes), ==,
                             first == END ? UINT64_MAX : first);
            if (first < END) {
                memset(taken + first, 1, bytes);
                map[first] = bytes;
            }
        }
        for (unsigned i = 0; i < END; i++) {
            unused += !taken[i];
        }
        g_assert_cmpuint(blob_space_free_bytes(space), ==, unused);
    }
    g_rand_free(random);
}

/* In any order, and beside what is free already */
static void test_many_are_released_at_once(void)
{
    static const BlobExtent parts[] = {
        { 60, 70 }, { 10, 20 }, { 0, 10 }, { 30, 40 }, { 90, 100 },
    };
    g_autoptr(BlobSpace) space = blob_space_new(0, 100);
    g_autoptr(BlobSpace) one_by_one = NULL;
    g_autoptr(GArray) released = g_array_new(FALSE, FALSE,
                                             sizeof(BlobExtent));
    uint64_t offset;
    uint64_t bytes;

    blob_space_take(space, 0, 20);
    blob_space_take(space, 30, 10);
    blob_space_take(space, 50, 50);
    one_by_one = blob_space_copy(space);
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        blob_space_release(one_by_one, parts[i].start,
                           parts[i].end - parts[i].start);
    }
    g_array_append_vals(released, parts, G_N_ELEMENTS(parts));
    blob_space_release_all(space, released);
    g_assert_cmpuint(blob_space_free_bytes(space), ==,
                     blob_space_free_bytes(one_by_one));
    for (size_t n = 0; blob_space_nth(space, n, &offset, &bytes); n++) {
        uint64_t offset2;
        uint64_t bytes2;

        g_assert_true(blob_space_nth(one_by_one, n, &offset2, &bytes2));
        g_assert_cmpuint(offset, ==, offset2);
        g_assert_cmpuint(bytes, ==, bytes2);
    }
    g_assert_cmpuint(blob_space_used_end(space), ==,
                     blob_space_used_end(one_by_one));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/space/" #name, test_##name)
    ADD(first_fit_wins);
    ADD(neighbours_grow_together);
    ADD(extents_can_be_taken_anywhere);
    ADD(range_can_be_extended);
    ADD(empty_range_has_no_space);
    ADD(copy_has_a_life_of_its_own);
    ADD(random_walk_agrees_with_a_map);
    ADD(many_are_released_at_once);
    return g_test_run();
}
