/*
 * Blobstore over the real block layer: state of a VM that is damaged, or forged
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "blobstore-incoming.h"

/* Loads the stream with @bytes at @offset; that must not do any harm. */
static bool load_changed(Fixture *fixture, size_t offset, const void *bytes,
                         size_t count)
{
    gsize size;
    g_autofree uint8_t *changed =
        g_memdup2(g_bytes_get_data(fixture->stream, &size),
                  g_bytes_get_size(fixture->stream));
    g_autoptr(GBytes) stream = NULL;

    incoming_wait_again(fixture);
    g_assert_cmpuint(offset + count, <=, size);
    memcpy(changed + offset, bytes, count);
    stream = g_bytes_new(changed, size);
    return vm_load_state(stream);
}

static void assert_stream_refused(Fixture *fixture, size_t offset,
                                  const void *bytes, size_t count)
{
    g_assert_false(load_changed(fixture, offset, bytes, count));
    g_assert_false(vm_start_now());
    g_assert_null(vm_save_state());
    incoming_assert_nothing_written(fixture);
}

/* A stream's statement about itself does not count for the next stream. */
static void test_stream_without_identity_is_refused(Fixture *fixture,
                                                    gconstpointer data)
{
    g_autoptr(GBytes) rest = g_bytes_new_from_bytes(
        fixture->stream, SEQUENCE,
        g_bytes_get_size(fixture->stream) - SEQUENCE);

    for (int i = 0; i < 2; i++) {
        g_assert_false(vm_load_rest_of_state(rest, 1));
        g_assert_false(vm_start_now());
        incoming_assert_nothing_written(fixture);
        g_assert_true(vm_load_state(fixture->stream));
    }
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    incoming_reset_for_snapshot();
    g_assert_false(vm_load_rest_of_state(rest, 1));
    vm_reset_now();
    g_assert_true(vm_start_now());
    assert_text_on_medium(&fixture->device, "nvram", "last");
}

/*
 * The sequence is above the limit for incoming ones, but that is not what ends
 * the load.
 */
static void test_store_with_the_highest_sequence_can_be_saved(
    Fixture *fixture, gconstpointer data)
{
    g_autoptr(GBytes) again = NULL;
    uint8_t highest[8];

    stq_be_p(highest, UINT64_C(0x7fffffff00000000));
    g_assert_true(load_changed(fixture, SEQUENCE, highest, sizeof(highest)));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
    again = vm_save_state();
    g_assert_nonnull(again);
    write_text(fixture->device.permanent, "more");
    assert_state("nvram", BLOBSTORE_CONDITION_ACTIVE);
}

static void test_lies_are_refused(Fixture *fixture, gconstpointer data)
{
    static const struct {
        size_t offset;
        uint64_t value;
        size_t bytes;
    } lies[] = {
        { 16, 2, 4 },                           /* format version */
        { ENCRYPTED, 1, 1 },                    /* without a key */
        { ANNOUNCED_COUNT, 2, 4 },
        { ANNOUNCED_COUNT, 4, 4 },
        { ANNOUNCED_COUNT, 0x7fffffff, 4 },
        { ANNOUNCED_COUNT, 0xffffffff, 4 },
        { ANNOUNCED, ' ', 1 },                  /* owner */
        { ANNOUNCED + 64, 'q', 1 },             /* name: another blob */
        { ANNOUNCED + ANNOUNCED_KIND, BLOBSTORE_SAVESTATE, 1 },
        { ANNOUNCED + ANNOUNCED_KIND, 3, 1 },
        { ANNOUNCED + ANNOUNCED_KIND + 1, 64 * KiB + 1, 8 },
        { ANNOUNCED + ANNOUNCED_KIND + 1, 0, 8 },
        { ANNOUNCED + ANNOUNCED_METADATA_SIZE, 1025, 4 },
        { ANNOUNCED + ANNOUNCED_METADATA_SIZE, 0xffffffff, 4 },
        { METADATA_SIZE, 0, 4 },
        { METADATA_SIZE, 0xffffffff, 4 },
        { METADATA_SIZE + 4, '=', 1 },          /* without a key */
        { SEQUENCE - 2, '=', 1 },               /* without a NUL */
        { SEQUENCE, UINT64_C(1) << 63, 8 },
        { SEQUENCE, 0, 8 },                     /* behind the first section */
        { SEQUENCE + 8, 0x1234, 8 },            /* beside that sequence */
        { CARRIED_COUNT, 2, 4 },
        { CARRIED_COUNT, 4, 4 },
        { CARRIED_COUNT, 0xffffffff, 4 },
        { CARRIED, 'x', 1 },
        { CARRIED_NAME, 'x', 1 },
        { CARRIED_SIZE, 64 * KiB + 1, 4 },
        { CARRIED_SIZE, 0xffffffff, 4 },
        { CARRIED_SIZE - 1, 0, 1 },             /* absent, with content */
        { CARRIED_METADATA_SIZE, 1025, 4 },
        { CARRIED_PAYLOAD_SIZE, 0, 4 },
        { CARRIED_PAYLOAD_SIZE, 0xffffffff, 4 },
        { CARRIED_PAYLOAD, '=', 1 },            /* metadata without a key */
    };

    for (int i = 0; i < ARRAY_SIZE(lies); i++) {
        uint8_t bytes[8];

        stq_be_p(bytes, lies[i].value);
        g_test_message("lie %d", i);
        assert_stream_refused(fixture, lies[i].offset,
                              bytes + 8 - lies[i].bytes, lies[i].bytes);
    }
    /* A name that does not end */
    {
        char name[64];

        memset(name, 'a', sizeof(name));
        assert_stream_refused(fixture, ANNOUNCED, name, sizeof(name));
        assert_stream_refused(fixture, CARRIED, name, sizeof(name));
    }
    incoming_wait_again(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
}

/*
 * A stream that is cut off or changed anywhere is refused, or means something
 * else.
 */
static void test_noise_does_no_harm(Fixture *fixture, gconstpointer data)
{
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(fixture->stream, &size);

    for (gsize i = 0; i < size; i++) {
        g_autoptr(GBytes) cut = g_bytes_new(bytes, i);
        uint8_t other = bytes[i] ^ (1 << g_test_rand_int_range(0, 8));

        g_assert_false(vm_load_state(cut));
        load_changed(fixture, i, &other, 1);
        incoming_wait_again(fixture);
    }
    incoming_assert_nothing_written(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
}

/* One load must not use the user's key, and present a PIN, more than once. */
static void test_second_identity_is_refused(Fixture *fixture,
                                            gconstpointer data)
{
    g_autoptr(GBytes) first = g_bytes_new_from_bytes(fixture->stream, 0,
                                                     SEQUENCE);

    g_assert_false(vm_load_state(first));
    g_assert_false(vm_load_state(fixture->stream));
    incoming_assert_nothing_written(fixture);
    incoming_wait_again(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_false(vm_start_now());
    incoming_assert_nothing_written(fixture);
    incoming_wait_again(fixture);
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
}

/* The same holds for loadvm, which begins with a reset. */
static void test_second_identity_in_a_snapshot_is_refused(
    Fixture *fixture, gconstpointer data)
{
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    write_text(fixture->device.permanent, "last");
    incoming_reset_for_snapshot();
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_false(vm_load_state(fixture->stream));
    g_assert_false(vm_start_now());
    incoming_reset_for_snapshot();
    g_assert_true(vm_load_state(fixture->stream));
    g_assert_true(vm_start_now());
    incoming_assert_loaded(fixture);
}

/* The source and the destination must have the same devices. */
static void test_missing_blob_is_refused(Fixture *fixture, gconstpointer data)
{
    BlobStoreClient *client = blobstore_attach("nvram", "more", &error_abort);

    g_assert_nonnull(blobstore_register_blob(client, "blob",
                                             BLOBSTORE_PERMANENT, 1,
                                             &error_abort));
    g_assert_true(blobstore_start(client, &error_abort));
    g_assert_false(vm_load_state(fixture->stream));
    blobstore_detach(client);
    g_assert_true(vm_load_state(fixture->stream));
}

static void add_tests(void)
{
#define ADD(name, test) \
    g_test_add("/blobstore/vmstate-lies/" name, Fixture, NULL, \
               incoming_set_up, test, incoming_tear_down)
    ADD("without-identity", test_stream_without_identity_is_refused);
    ADD("second-identity", test_second_identity_is_refused);
    ADD("second-identity-in-snapshot",
        test_second_identity_in_a_snapshot_is_refused);
    ADD("highest-sequence", test_store_with_the_highest_sequence_can_be_saved);
    ADD("lies", test_lies_are_refused);
    ADD("noise", test_noise_does_no_harm);
    ADD("missing-blob", test_missing_blob_is_refused);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
