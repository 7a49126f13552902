/*
 * Unit tests of the core: digests and check values
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/crypto/digest.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include "hex.h"

static void assert_hex(const uint8_t *bytes, size_t count,
                       const char *expected)
{
    g_autofree char *found = to_hex(bytes, count);

    g_assert_cmpstr(found, ==, expected);
}

/* FIPS 180-4, the examples published with it */
static void test_sha256_is_that_of_fips_180(void)
{
    uint8_t out[BLOB_DIGEST_BYTES];

    blob_digest_init();
    blob_digest_sha256("abc", 3, out);
    assert_hex(out, sizeof(out), "ba7816bf8f01cfea414140de5dae2223"
               "b00361a396177a9cb410ff61f20015ad");
    blob_digest_sha256("", 0, out);
    assert_hex(out, sizeof(out), "e3b0c44298fc1c149afbf4c8996fb924"
               "27ae41e4649b934ca495991b7852b855");
}

/*
 * RFC 4231, test cases 1 and 2: keys are filled with zeros up to the block
 * length (RFC 2104), so a 32-byte seed can hold these shorter ones.
 */
static void test_check_is_hmac_of_rfc_4231(void)
{
    uint8_t seed[BLOB_SEED_BYTES] = { 0 };
    g_autoptr(BlobDigest) digest = NULL;
    g_autoptr(BlobDigest) jefe = NULL;
    uint8_t out[BLOB_DIGEST_BYTES];

    memset(seed, 0x0b, 20);
    digest = blob_digest_new(seed);
    /* The second round shows that earlier use of a handle does not matter. */
    for (int i = 0; i < 2; i++) {
        blob_digest_check(digest, "Hi There", 8, out);
        assert_hex(out, sizeof(out), "b0344c61d8db38535ca8afceaf0bf12b"
                   "881dc200c9833da726e9376c2e32cff7");
    }
    memset(seed, 0, sizeof(seed));
    memcpy(seed, "Jefe", 4);
    jefe = blob_digest_new(seed);
    blob_digest_check(jefe, "what do ya want for nothing?", 28, out);
    assert_hex(out, sizeof(out), "5bdcc146bf60754e6a042426089575c7"
               "5a003f089d2739839dec58b964ec3843");
}

static void test_no_seed_is_the_zero_seed(void)
{
    uint8_t seed[BLOB_SEED_BYTES] = { 0 };
    g_autoptr(BlobDigest) none = blob_digest_new(NULL);
    g_autoptr(BlobDigest) zero = blob_digest_new(seed);
    uint8_t a[BLOB_DIGEST_BYTES];
    uint8_t b[BLOB_DIGEST_BYTES];

    blob_digest_check(none, "x", 1, a);
    blob_digest_check(zero, "x", 1, b);
    g_assert_cmpmem(a, sizeof(a), b, sizeof(b));
    seed[31] = 1;
    blob_digest_free(zero);
    zero = blob_digest_new(seed);
    blob_digest_check(zero, "x", 1, b);
    g_assert_cmpint(memcmp(a, b, sizeof(a)), !=, 0);
}

/* docs/format.md, section 6, computed by hand for one blob */
static void test_census_of_one_blob_is_as_specified(void)
{
    uint8_t input[48];
    uint8_t seed[BLOB_SEED_BYTES];
    uint8_t hash[BLOB_DIGEST_BYTES];
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };
    g_autoptr(BlobDigest) digest = NULL;

    memset(seed, 0xa5, sizeof(seed));
    memset(input, 0, sizeof(input));
    memcpy(input, seed, sizeof(seed));
    input[32] = 0x10;           /* id 16 */
    input[40] = 0x07;           /* epoch 3, counter 7 */
    input[44] = 0x03;
    blob_digest_sha256(input, sizeof(input), hash);
    digest = blob_digest_new(seed);
    blob_digest_census(digest, 16, UINT64_C(0x300000007), census);
    g_assert_cmpmem(census, sizeof(census), hash, sizeof(census));
}

static void test_census_is_a_set_that_knows_no_order(void)
{
    const uint8_t empty[BLOB_CENSUS_BYTES] = { 0 };
    uint8_t ab[BLOB_CENSUS_BYTES] = { 0 };
    uint8_t ba[BLOB_CENSUS_BYTES] = { 0 };
    uint8_t a[BLOB_CENSUS_BYTES] = { 0 };
    g_autoptr(BlobDigest) digest = blob_digest_new(NULL);

    blob_digest_census(digest, 16, 1, ab);
    blob_digest_census(digest, 17, 2, ab);
    blob_digest_census(digest, 17, 2, ba);
    blob_digest_census(digest, 16, 1, ba);
    g_assert_cmpmem(ab, sizeof(ab), ba, sizeof(ba));

    blob_digest_census(digest, 17, 2, ab);
    blob_digest_census(digest, 16, 1, a);
    g_assert_cmpmem(ab, sizeof(ab), a, sizeof(a));
    blob_digest_census(digest, 16, 1, a);
    g_assert_cmpmem(a, sizeof(a), empty, sizeof(empty));

    /* The pair counts, not each of its parts. */
    blob_digest_census(digest, 16, 2, a);
    blob_digest_census(digest, 17, 1, a);
    blob_digest_census(digest, 16, 1, a);
    blob_digest_census(digest, 17, 2, a);
    g_assert_cmpint(memcmp(a, empty, sizeof(a)), !=, 0);
}

static void test_census_leaves_out_what_was_never_written(void)
{
    const uint8_t empty[BLOB_CENSUS_BYTES] = { 0 };
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };
    g_autoptr(BlobDigest) digest = blob_digest_new(NULL);

    blob_digest_census(digest, 16, 0, census);
    g_assert_cmpmem(census, sizeof(census), empty, sizeof(empty));
}

static void test_random_bytes_do_not_repeat(void)
{
    uint8_t a[32] = { 0 };
    uint8_t b[32] = { 0 };

    g_assert_true(blob_digest_random(a, sizeof(a), NULL));
    g_assert_true(blob_digest_random(b, sizeof(b), NULL));
    g_assert_cmpint(memcmp(a, b, sizeof(a)), !=, 0);
}

/* The function runs on a stack that the test can search afterwards. */
static void *use_secret(void *opaque)
{
    BlobDigest *digest = opaque;
    uint8_t census[BLOB_CENSUS_BYTES] = { 0 };
    uint8_t out[BLOB_DIGEST_BYTES];

    blob_digest_census(digest, 16, 1, census);
    blob_digest_check(digest, "text", 4, out);
    return NULL;
}

static void test_no_secret_seed_is_left_on_the_stack(void)
{
    enum { STACK_BYTES = 1 << 20 };
    g_autofree uint8_t *seed = g_malloc(BLOB_SEED_BYTES);
    g_autoptr(BlobDigest) digest = NULL;
    pthread_attr_t attr;
    pthread_t thread;
    uint8_t *stack;

    for (unsigned i = 0; i < BLOB_SEED_BYTES; i++) {
        seed[i] = 0xa5 ^ i;
    }
    digest = blob_digest_new_secret(seed, NULL);
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(stack != MAP_FAILED);
    g_assert_cmpint(pthread_attr_init(&attr), ==, 0);
    g_assert_cmpint(pthread_attr_setstack(&attr, stack, STACK_BYTES), ==, 0);
    g_assert_cmpint(pthread_create(&thread, &attr, use_secret, digest), ==,
                    0);
    g_assert_cmpint(pthread_join(thread, NULL), ==, 0);
    /*
     * Half of the secret would be enough for somebody who searches for the
     * rest.
     */
    for (size_t i = 0; i + BLOB_SEED_BYTES <= STACK_BYTES; i++) {
        g_assert_true(memcmp(stack + i, seed, BLOB_SEED_BYTES / 2));
    }
    pthread_attr_destroy(&attr);
    munmap(stack, STACK_BYTES);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/digest/sha256", test_sha256_is_that_of_fips_180);
    g_test_add_func("/digest/hmac", test_check_is_hmac_of_rfc_4231);
    g_test_add_func("/digest/zero-seed", test_no_seed_is_the_zero_seed);
    g_test_add_func("/digest/census/one",
                    test_census_of_one_blob_is_as_specified);
    g_test_add_func("/digest/census/set",
                    test_census_is_a_set_that_knows_no_order);
    g_test_add_func("/digest/census/absent",
                    test_census_leaves_out_what_was_never_written);
    g_test_add_func("/digest/random", test_random_bytes_do_not_repeat);
    g_test_add_func("/digest/stack",
                    test_no_secret_seed_is_left_on_the_stack);
    return g_test_run();
}
