/*
 * Blobstore over the real block layer: many keys that are derived at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "crypto/secret.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"
#include "qemu/main-loop.h"
#include "qom/object_interfaces.h"
#include "blobstore/qemu/credential.h"
#include "blobstore/qemu/glue.h"
#include "blobstore-vm.h"

static const QemuUUID uuid = { .data = { 0xb1, 0x0b } };
static unsigned jobs, ended;
static bool all_ended;

static void coroutine_fn put_entry(void *opaque)
{
    BlobKeySlots *slots = opaque;
    BlobStoreKeySource source = {
        .type = BLOBSTORE_KEY_TYPE_PASSPHRASE,
        .secret = "sec0",
        .iter_time = 1,
    };
    g_autoptr(BlobKey) key = blob_key_new(NULL);
    GError *error = NULL;

    blobstore_keys_put(&source, slots, 0, key, &uuid, &error);
    g_assert_no_error(error);
    if (++ended == jobs) {
        qatomic_set(&all_ended, true);
    }
}

/* The most memory that this process has had since forget_peak(), in KiB */
static uint64_t peak_kib(void)
{
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents("/proc/self/status", &status, NULL,
                                      NULL));
    line = strstr(status, "VmHWM:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("VmHWM:"), NULL, 10);
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    g_assert_nonnull(file);
    g_assert_cmpint(fputs("5", file), >=, 0);
    g_assert_cmpint(fclose(file), ==, 0);
}

/* Each job has its memory all the time that it computes. */
static void test_one_for_each_processor(void)
{
    const unsigned processors = g_get_num_processors();
    g_autofree BlobKeySlots *slots = NULL;
    uint64_t before, peak;

    jobs = 4 * processors;
    slots = g_new0(BlobKeySlots, jobs);
    forget_peak();
    before = peak_kib();
    for (unsigned i = 0; i < jobs; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(put_entry, &slots[i]));
    }
    poll_until(&all_ended);
    peak = peak_kib() - before;
    g_test_message("%u processors, %u keys: %" PRIu64 " KiB at most",
                   processors, jobs, peak);
    g_assert_cmpuint(peak, >=, BLOB_KEY_KDF_MEMORY_KIB);
    g_assert_cmpuint(peak, <, (processors + 1) * BLOB_KEY_KDF_MEMORY_KIB);
    for (unsigned i = 0; i < jobs; i++) {
        g_assert_true(blob_key_slots_is_used(&slots[i], 0));
    }
}

static void add_tests(void)
{
    object_new_with_props(TYPE_QCRYPTO_SECRET, object_get_objects_root(),
                          "sec0", &error_abort, "data", "sesame", NULL);
    g_test_add_func("/blobstore/key-work/one-for-each-processor",
                    test_one_for_each_processor);
}

int main(int argc, char **argv)
{
    return vm_run_tests(argc, argv, add_tests);
}
