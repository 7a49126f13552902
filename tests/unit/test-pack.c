/*
 * Unit tests of the core: packing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/format/pack.h"

#include <string.h>
#include <zlib.h>
#include "testdisk.h"

static GBytes *filled(size_t bytes)
{
    return g_bytes_new_take(memset(g_malloc(bytes), 'p', bytes), bytes);
}

static GBytes *noise(size_t bytes)
{
    GRand *random = test_random();
    uint8_t *data = g_malloc(bytes);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = g_rand_int(random);
    }
    g_rand_free(random);
    return g_bytes_new_take(data, bytes);
}

static void test_packed_bytes_come_back(void)
{
    static const size_t sizes[] = { 5633, 8192, 100000, 3 << 20 };

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GBytes) raw = filled(sizes[i]);
        g_autoptr(GBytes) packed = blob_pack(raw);
        g_autoptr(GBytes) back = NULL;

        g_assert_nonnull(packed);
        g_assert_cmpuint(g_bytes_get_size(packed), <, sizes[i]);
        back = blob_unpack(packed, sizes[i]);
        g_assert_nonnull(back);
        g_assert_true(g_bytes_equal(back, raw));
    }
}

/* A slot image has at least two blocks: 5632 bytes fit in without packing. */
static void test_packing_must_save_a_block(void)
{
    g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
    g_autoptr(GBytes) two_blocks = filled(5632);
    g_autoptr(GBytes) three_blocks = filled(5633);
    g_autoptr(GBytes) packed = blob_pack(three_blocks);
    g_autoptr(GBytes) noisy = noise(20000);

    g_assert_null(blob_pack(nothing));
    g_assert_null(blob_pack(two_blocks));
    g_assert_nonnull(packed);
    g_assert_null(blob_pack(noisy));
}

static void test_only_the_declared_length_inflates(void)
{
    g_autoptr(GBytes) raw = filled(10000);
    g_autoptr(GBytes) packed = blob_pack(raw);

    g_assert_null(blob_unpack(packed, 9999));
    g_assert_null(blob_unpack(packed, 10001));
    g_assert_null(blob_unpack(packed, 0));
}

static void test_anything_else_does_not_inflate(void)
{
    g_autoptr(GBytes) raw = filled(10000);
    g_autoptr(GBytes) packed = blob_pack(raw);
    gsize bytes = g_bytes_get_size(packed);
    const uint8_t *data = g_bytes_get_data(packed, NULL);
    g_autoptr(GBytes) cut = g_bytes_new(data, bytes - 1);
    g_autofree uint8_t *longer = g_malloc0(bytes + 1);
    g_autoptr(GBytes) trailing = NULL;
    g_autoptr(GBytes) nothing = g_bytes_new(NULL, 0);
    g_autoptr(GBytes) noisy = noise(500);

    memcpy(longer, data, bytes);
    trailing = g_bytes_new(longer, bytes + 1);
    g_assert_null(blob_unpack(cut, 10000));
    g_assert_null(blob_unpack(trailing, 10000));
    g_assert_null(blob_unpack(nothing, 10000));
    g_assert_null(blob_unpack(nothing, 0));
    g_assert_null(blob_unpack(noisy, 10000));
    longer[bytes / 2] ^= 0x40;
    cut = (g_bytes_unref(cut), g_bytes_new(longer, bytes));
    g_assert_null(blob_unpack(cut, 10000));
}

/* A small bomb: 10 MiB of zeros in 10 KiB, declared as 4 KiB */
static void test_declared_length_bounds_inflation(void)
{
    g_autofree uint8_t *zeros = g_malloc0(10 << 20);
    uLongf bytes = compressBound(10 << 20);
    g_autofree uint8_t *bomb = g_malloc(bytes);
    g_autoptr(GBytes) packed = NULL;

    g_assert_cmpint(compress(bomb, &bytes, zeros, 10 << 20), ==, Z_OK);
    packed = g_bytes_new(bomb, bytes);
    g_assert_null(blob_unpack(packed, 4096));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/pack/" #name, test_##name)
    ADD(packed_bytes_come_back);
    ADD(packing_must_save_a_block);
    ADD(only_the_declared_length_inflates);
    ADD(anything_else_does_not_inflate);
    ADD(declared_length_bounds_inflation);
    return g_test_run();
}
