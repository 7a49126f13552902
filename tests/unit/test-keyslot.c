/*
 * Unit tests of the core: key slots in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include "keys.h"

#include <errno.h>
#include <gcrypt.h>
#include <sched.h>
#include <string.h>
#include "blobstore/crypto/keyslot-layout.h"
#include "hex.h"

static const uint8_t uuid[BLOB_UUID_BYTES] = { 0xb1, 0x0b };
static const uint8_t other_uuid[BLOB_UUID_BYTES] = { 0xb1, 0x0c };

static BlobSecret *secret_of(const char *text)
{
    return blob_secret_new(text, strlen(text), NULL);
}

static bool put(BlobKeySlots *slots, unsigned n, BlobKeySlotType type,
                const char *text, GError **error)
{
    g_autoptr(BlobSecret) secret = secret_of(text);
    BlobCredential credential = { .secret = secret };

    return blob_key_slots_put(slots, n, keys_data_key(1), uuid, type,
                              &credential, 1, error);
}

static BlobKey *unlock(const BlobKeySlots *slots, const char *text, int n,
                       GError **error)
{
    g_autoptr(BlobSecret) secret = secret_of(text);
    BlobCredential credential = { .secret = secret, .slot = n };

    return blob_key_slots_unlock(slots, uuid, &credential, error);
}

static void expect_opens(const BlobKeySlots *slots, const char *text, int n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlobKey) key = unlock(slots, text, n, &error);

    g_assert_no_error(error);
    g_assert_true(blob_key_equal(key, keys_data_key(1)));
}

static void expect_refused(const BlobKeySlots *slots, const char *text, int n,
                           BlobStoreError code, const char *pattern)
{
    GError *error = NULL;

    g_assert_null(unlock(slots, text, n, &error));
    test_assert_error(&error, code, pattern);
}

static const char raw_text[] = "exactly 32 bytes of a raw secret";

/* RFC 9106, section 5.3: libgcrypt computes the function that it names. */
static void test_argon2id_is_that_of_rfc_9106(void)
{
    const unsigned long param[] = { 32, 3, 32, 4 };
    uint8_t password[32], salt[16], key[8], data[12], tag[32];
    g_autofree char *found = NULL;
    gcry_kdf_hd_t kdf;

    blob_digest_init();
    memset(password, 1, sizeof(password));
    memset(salt, 2, sizeof(salt));
    memset(key, 3, sizeof(key));
    memset(data, 4, sizeof(data));
    g_assert_cmpuint(gcry_kdf_open(&kdf, GCRY_KDF_ARGON2, GCRY_KDF_ARGON2ID,
                                   param, 4, password, sizeof(password), salt,
                                   sizeof(salt), key, sizeof(key), data,
                                   sizeof(data)), ==, 0);
    g_assert_cmpuint(gcry_kdf_compute(kdf, NULL), ==, 0);
    g_assert_cmpuint(gcry_kdf_final(kdf, sizeof(tag), tag), ==, 0);
    gcry_kdf_close(kdf);
    found = to_hex(tag, sizeof(tag));
    g_assert_cmpstr(found, ==, "0d640df58d78766c08c037a34a8b53c9"
                    "d01ef0452d75b65eb52520e96b01e659");
}

static void test_each_kind_opens_with_its_secret(void)
{
    BlobKeySlots slots = { 0 };

    g_assert_true(put(&slots, 0, BLOB_KEY_SLOT_PASSPHRASE, "sesame", NULL));
    g_assert_true(put(&slots, 5, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    g_assert_true(put(&slots, 7, BLOB_KEY_SLOT_PASSPHRASE, "simsim", NULL));
    expect_opens(&slots, "sesame", BLOB_KEY_SLOT_ANY);
    expect_opens(&slots, raw_text, BLOB_KEY_SLOT_ANY);
    expect_opens(&slots, "simsim", BLOB_KEY_SLOT_ANY);
    expect_opens(&slots, "simsim", 7);
    g_assert_cmpuint(blob_key_slots_count_used(&slots), ==, 3);
    g_assert_cmpint(blob_key_slots_find_unused(&slots), ==, 1);
}

/*
 * Slots made by the second reader (tests/format, which is based on
 * docs/format.md alone), up to where zeros begin
 */
static const struct {
    unsigned n;
    const char *secret;
    const char *head;
    const char *wrapped;
} known[] = {
    { 6, "correct horse battery staple",
      "01000000640000000300000002000000000102030405060708090a0b0c0d0e0f"
      "101112131415161718191a1b1c1d1e1fa0a1a2a3a4a5a6a7a8a9aaab4d1c9114"
      "ed5c0083f319a61cc88b75ca200000000000000000000000552cd8c52cea0eec"
      "c1b238124edf5c3e96008ec488cc97e07846a5d830fb1285",
      "75d3457c6d8eb7a09c28d5cdd472f67f7d244e1985256a91dfe194cd21d90e37" },
    { 1, raw_text,
      "02000000000000000000000000000000000102030405060708090a0b0c0d0e0f"
      "101112131415161718191a1b1c1d1e1fa0a1a2a3a4a5a6a7a8a9aaab75bee9c0"
      "0e5ba19f74039fdb8d41f3ee200000000000000000000000102f858f647e4be3"
      "c2eb519edc8929099a058d04044a56ab1a5b68037266e3f2",
      "1e6071c4b13978c4ae00348fa8b845966fbea4a9e07f7013a0eefc03682b62e8" },
};

static void test_slots_made_elsewhere_open(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(known); i++) {
        BlobKeySlots slots = { 0 };
        uint8_t *slot = slots.bytes[known[i].n];

        from_hex(known[i].head, slot);
        from_hex(known[i].wrapped, slot + 512);
        expect_opens(&slots, known[i].secret, known[i].n);
    }
}

static void test_wrong_key_is_told_from_one_that_was_not_tried(void)
{
    BlobKeySlots slots = { 0 };

    g_assert_true(put(&slots, 0, BLOB_KEY_SLOT_PASSPHRASE, "sesame", NULL));
    g_assert_true(put(&slots, 5, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    expect_refused(&slots, "Sesame", BLOB_KEY_SLOT_ANY, BLOBSTORE_ERROR_KEY,
                   "the key is wrong: *; tried: 0; "
                   "not tried, want a raw secret of 32 bytes: 5");
    expect_refused(&slots, "simsim", 5, BLOBSTORE_ERROR_KEY,
                   "no key slot can be tried *: 0; *raw*: 5");
    expect_refused(&slots, "sesame", 3, BLOBSTORE_ERROR_INVALID,
                   "key slot 3 is not in use");
    expect_refused(&slots, "sesame", 8, BLOBSTORE_ERROR_INVALID,
                   "key slot 8 is not in use");
    expect_refused(&slots, "", BLOB_KEY_SLOT_ANY, BLOBSTORE_ERROR_INVALID,
                   "a passphrase has 1 to 4096 bytes, not 0");
    expect_refused(&slots, "sesame", -2, BLOBSTORE_ERROR_INVALID,
                   "key slot -2 is not in use");
}

static void test_slot_is_bound_to_its_store_and_number(void)
{
    BlobKeySlots slots = { 0 };
    BlobKeySlots moved = { 0 };
    g_autoptr(BlobSecret) secret = secret_of(raw_text);
    BlobCredential credential = { secret, .slot = BLOB_KEY_SLOT_ANY };
    GError *error = NULL;

    g_assert_true(put(&slots, 2, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    memcpy(moved.bytes[3], slots.bytes[2], BLOB_KEY_SLOT_BYTES);
    expect_refused(&moved, raw_text, BLOB_KEY_SLOT_ANY, BLOBSTORE_ERROR_KEY,
                   "the key is wrong*tried: 3");
    g_assert_null(blob_key_slots_unlock(&slots, other_uuid, &credential,
                                        &error));
    test_assert_error(&error, BLOBSTORE_ERROR_KEY, "the key is wrong*");
}

/*
 * Parameters and wrapped key are protected alike; bytes behind both are
 * ignored.
 */
static void test_any_change_of_a_slot_is_refused(void)
{
    BlobKeySlots slots = { 0 };
    g_autoptr(BlobSecret) secret = secret_of(raw_text);
    BlobCredential credential = { secret, .slot = BLOB_KEY_SLOT_ANY };

    g_assert_true(put(&slots, 2, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    for (unsigned bit = 0; bit < 8 * BLOB_KEY_SLOT_BYTES; bit++) {
        g_autoptr(BlobKey) key = NULL;

        slots.bytes[2][bit / 8] ^= 1 << bit % 8;
        key = blob_key_slots_unlock(&slots, uuid, &credential, NULL);
        g_assert_null(key);
        slots.bytes[2][bit / 8] ^= 1 << bit % 8;
    }
}

static void test_damaged_slot_does_not_matter_to_the_others(void)
{
    BlobKeySlots slots = { 0 };

    g_assert_true(put(&slots, 1, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    g_assert_true(put(&slots, 4, BLOB_KEY_SLOT_PASSPHRASE, "sesame", NULL));
    slots.damaged[1] = true;
    expect_opens(&slots, "sesame", BLOB_KEY_SLOT_ANY);
    expect_refused(&slots, raw_text, BLOB_KEY_SLOT_ANY, BLOBSTORE_ERROR_KEY,
                   "the key is wrong*; tried: 4; damaged: 1");
    expect_refused(&slots, raw_text, 1, BLOBSTORE_ERROR_KEY,
                   "no key slot can be tried*; damaged: 1");
    g_assert_cmpuint(blob_key_slots_count_used(&slots), ==, 2);
}

/* Memory that libgcrypt gets, and that a small host may lack */
static void *allocate(size_t bytes)
{
    if (bytes >= 128 << 20) {
        errno = ENOMEM;
        return NULL;
    }
    return malloc(bytes);
}

static void demand_much_memory(BlobKeySlots *slots, unsigned n)
{
    BlobKeySlot slot;

    g_assert_true(blob_key_slots_get(slots, n, &slot));
    slot.kdf_memory_kib = 1 << 17;
    slot.kdf_iterations = 1;
    blob_key_slot_encode(&slot, slots->bytes[n]);
}

static void test_slot_that_wants_too_much_memory_keeps_no_other(void)
{
    BlobKeySlots slots = { 0 };

    g_assert_true(put(&slots, 0, BLOB_KEY_SLOT_PASSPHRASE, "sesame", NULL));
    g_assert_true(put(&slots, 1, BLOB_KEY_SLOT_PASSPHRASE, "simsim", NULL));
    demand_much_memory(&slots, 0);
    expect_opens(&slots, "simsim", BLOB_KEY_SLOT_ANY);
    expect_refused(&slots, "sesame", BLOB_KEY_SLOT_ANY, BLOBSTORE_ERROR_KEY,
                   "the key is wrong*; tried: 1; could not be tried: 0 "
                   "(*131072 KiB of memory*)");
    expect_refused(&slots, "sesame", 0, BLOBSTORE_ERROR_KEY,
                   "no key slot can be tried*; could not be tried: 0 (*)*");
}

static void test_all_slots_share_one_limit_of_work(void)
{
    BlobKeySlots slots = { 0 };

    for (unsigned n = 0; n < BLOB_KEY_SLOTS; n++) {
        BlobKeySlot slot;

        g_assert_true(put(&slots, n, BLOB_KEY_SLOT_PASSPHRASE,
                          n == 5 ? "simsim" : "sesame", NULL));
        if (n == 0 || n == 6) {
            g_assert_true(blob_key_slots_get(&slots, n, &slot));
            slot.kdf_memory_kib = 1 << 16;
            slot.kdf_iterations = 64;
            blob_key_slot_encode(&slot, slots.bytes[n]);
        }
    }
    /* 4 GiB, some that cost little, and 4 GiB: that is above the limit. */
    expect_refused(&slots, "mellon", BLOB_KEY_SLOT_ANY, BLOBSTORE_ERROR_KEY,
                   "*; tried: 0, 1, 2, 3, 4, 5, 7; not tried, because all of "
                   "them together would take too much work (name one to try "
                   "it alone): 6");
    expect_opens(&slots, "simsim", 5);
}

static void test_last_usable_slot_is_not_removed(void)
{
    BlobKeySlots slots = { 0 };
    GError *error = NULL;

    g_assert_true(put(&slots, 1, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    g_assert_true(put(&slots, 4, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    g_assert_false(blob_key_slots_remove(&slots, 2, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*2 is not in use");
    g_assert_false(blob_key_slots_remove(&slots, 8, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*8 is not in use");
    slots.damaged[4] = true;
    g_assert_false(blob_key_slots_remove(&slots, 1, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*1 is the last one*");
    g_assert_true(blob_key_slots_remove(&slots, 4, NULL));
    g_assert_false(blob_key_slots_remove(&slots, 1, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*1 is the last one*");
    g_assert_true(put(&slots, 4, BLOB_KEY_SLOT_RAW, raw_text, NULL));
    g_assert_true(blob_key_slots_remove(&slots, 1, NULL));
    expect_opens(&slots, raw_text, BLOB_KEY_SLOT_ANY);
}

static void test_bad_secrets_are_refused(void)
{
    BlobKeySlots slots = { 0 };
    g_autofree char *long_text = g_strnfill(4097, 'x');
    GError *error = NULL;

    g_assert_false(put(&slots, 0, BLOB_KEY_SLOT_PASSPHRASE, "", &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "a passphrase has 1*");
    g_assert_false(put(&slots, 0, BLOB_KEY_SLOT_PASSPHRASE, long_text,
                       &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*not 4097");
    g_assert_false(put(&slots, 0, BLOB_KEY_SLOT_RAW, "too short", &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID,
                      "a raw secret has 32 bytes, not 9");
    g_assert_false(put(&slots, 8, BLOB_KEY_SLOT_RAW, raw_text, &error));
    test_assert_error(&error, BLOBSTORE_ERROR_INVALID, "*slots 0 to 7");
    g_assert_cmpuint(blob_key_slots_count_used(&slots), ==, 0);
}

static unsigned iterations_in(unsigned milliseconds)
{
    g_autoptr(BlobSecret) secret = secret_of("sesame");
    BlobCredential credential = { .secret = secret };
    BlobKeySlots slots = { 0 };
    BlobKeySlot slot;

    g_assert_true(blob_key_slots_put(&slots, 0, keys_data_key(1), uuid,
                                     BLOB_KEY_SLOT_PASSPHRASE, &credential,
                                     milliseconds, NULL));
    g_assert_true(blob_key_slots_get(&slots, 0, &slot));
    return slot.kdf_iterations;
}

static void test_passphrase_slots_have_what_they_cost_in_them(void)
{
    BlobKeySlots slots = { 0 };
    BlobKeySlot slot[2];

    for (unsigned n = 0; n < 2; n++) {
        g_assert_true(put(&slots, n, BLOB_KEY_SLOT_PASSPHRASE, "sesame",
                          NULL));
        g_assert_true(blob_key_slots_get(&slots, n, &slot[n]));
        g_assert_cmpuint(slot[n].kdf_memory_kib, ==, 65536);
        /* A millisecond is not enough for the fewest. */
        g_assert_cmpuint(slot[n].kdf_iterations, ==, 3);
        g_assert_cmpuint(slot[n].kdf_parallelism, ==, 1);
    }
    g_assert_true(memcmp(slot[0].salt, slot[1].salt, sizeof(slot[0].salt)));
}

/* Between the time of one iteration and that of three as well */
static void test_no_time_makes_weak_slots(void)
{
    for (unsigned milliseconds = 8; milliseconds <= 256; milliseconds *= 2) {
        g_assert_cmpuint(iterations_in(milliseconds), >=,
                         BLOB_KEY_KDF_MIN_ITERATIONS);
    }
}

static gpointer compute_until_told(gpointer stop)
{
    while (true) {
        if (g_atomic_int_get((gint *)stop)) {
            return NULL;
        }
    }
}

/* On one processor, which others want as well, a second goes by early. */
static void test_busy_host_makes_no_weak_slots(void)
{
    enum { RIVALS = 3 };
    GThread *rivals[RIVALS];
    cpu_set_t all, one;
    unsigned milliseconds = 500;
    unsigned alone, rivalled;
    gint stop = 0;
    int cpu = 0;

    g_assert_cmpint(sched_getaffinity(0, sizeof(all), &all), ==, 0);
    while (!CPU_ISSET(cpu, &all)) {
        cpu++;
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    g_assert_cmpint(sched_setaffinity(0, sizeof(one), &one), ==, 0);
    do {
        milliseconds *= 2;
        alone = iterations_in(milliseconds);
    } while (alone <= 2 * BLOB_KEY_KDF_MIN_ITERATIONS);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] = g_thread_new("rival", compute_until_told, &stop);
    }
    rivalled = iterations_in(milliseconds);
    g_atomic_int_set(&stop, 1);
    for (int i = 0; i < RIVALS; i++) {
        g_thread_join(rivals[i]);
    }
    g_assert_cmpint(sched_setaffinity(0, sizeof(all), &all), ==, 0);
    g_test_message("%u ms: %u iterations alone, %u with rivals", milliseconds,
                   alone, rivalled);
    g_assert_cmpuint(2 * rivalled, >, alone);
}

static void test_slot_that_is_cheap_to_guess_is_weak(void)
{
    static const struct {
        uint32_t memory_kib;
        uint32_t iterations;
        bool is_weak;
    } cases[] = {
        { 65536, 3, false }, { 65536, 2, true }, { 65536, 1, true },
        { 131072, 2, false }, { 131072, 1, true }, { 65535, 64, true },
        { 8, 1, true },
    };
    BlobKeySlot slot = { .kdf_parallelism = 1 };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        slot.type = BLOB_KEY_SLOT_PASSPHRASE;
        slot.kdf_memory_kib = cases[i].memory_kib;
        slot.kdf_iterations = cases[i].iterations;
        g_assert_cmpint(blob_key_slot_is_weak(&slot), ==, cases[i].is_weak);
        /* Nobody guesses 256 bits. */
        slot.type = BLOB_KEY_SLOT_RAW;
        g_assert_false(blob_key_slot_is_weak(&slot));
    }
}

static void test_keys_are_in_locked_memory_and_wiped_after_use(void)
{
    static const uint8_t zeros[BLOB_KEY_BYTES];
    BlobKey *key = blob_key_new(NULL);
    BlobSecret *payloads = blob_key_derive(key, BLOB_KEY_FOR_PAYLOADS, uuid,
                                           NULL);
    const uint8_t *bytes = blob_key_bytes(key);
    const uint8_t *derived = payloads->data;

    g_assert_true(gcry_is_secure(bytes));
    g_assert_true(gcry_is_secure(derived));
    g_assert_cmpint(memcmp(bytes, zeros, BLOB_KEY_BYTES), !=, 0);
    blob_secret_free(payloads);
    blob_key_unref(key);
    /* libgcrypt's pool is mapped as long as the process lives. */
    g_assert_cmpmem(bytes, BLOB_KEY_BYTES, zeros, BLOB_KEY_BYTES);
    g_assert_cmpmem(derived, BLOB_KEY_BYTES, zeros, BLOB_KEY_BYTES);
}

int main(int argc, char **argv)
{
    gcry_set_allocation_handler(allocate, NULL, NULL, NULL, NULL);
    g_test_init(&argc, &argv, NULL);
#define ADD(name) g_test_add_func("/keyslot/" #name, test_##name)
    ADD(argon2id_is_that_of_rfc_9106);
    ADD(each_kind_opens_with_its_secret);
    ADD(slots_made_elsewhere_open);
    ADD(wrong_key_is_told_from_one_that_was_not_tried);
    ADD(slot_is_bound_to_its_store_and_number);
    ADD(any_change_of_a_slot_is_refused);
    ADD(damaged_slot_does_not_matter_to_the_others);
    ADD(slot_that_wants_too_much_memory_keeps_no_other);
    ADD(all_slots_share_one_limit_of_work);
    ADD(last_usable_slot_is_not_removed);
    ADD(bad_secrets_are_refused);
    ADD(passphrase_slots_have_what_they_cost_in_them);
    ADD(no_time_makes_weak_slots);
    ADD(busy_host_makes_no_weak_slots);
    ADD(slot_that_is_cheap_to_guess_is_weak);
    ADD(keys_are_in_locked_memory_and_wiped_after_use);
    return g_test_run();
}
