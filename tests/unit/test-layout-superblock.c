/*
 * Unit tests of the core: the bytes of the superblock and its key slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blobstore/format/layout.h"

#include <string.h>
#include "blobstore/crypto/keyslot-layout.h"
#include "little-endian.h"

static BlobSuperblock sample_super(void)
{
    BlobSuperblock super = {
        .version = BLOB_FORMAT_VERSION,
        .state = BLOB_STATE_READY,
        .ro_compatible = 0x10,
        .compatible = 0x20,
        .generation = 9,
        .directory_offset = BLOB_DIRECTORY_OFFSET,
        .directory_slot_bytes = 16384,
        .data_offset = BLOB_DIRECTORY_OFFSET + 2 * 16384,
    };

    memset(super.uuid, 0x0a, sizeof(super.uuid));
    memset(super.seed, 0x0b, sizeof(super.seed));
    memset(super.epoch_id, 0x0c, sizeof(super.epoch_id));
    return super;
}

/* docs/format.md, section 5.1 */
static void test_superblock_is_as_specified_and_comes_back(void)
{
    BlobSuperblock super = sample_super();
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES];
    uint8_t digest[BLOB_DIGEST_BYTES];
    g_autoptr(GError) error = NULL;

    blob_layout_encode_superblock(&super, NULL, bytes);
    g_assert_cmpuint(le_get(bytes, 4), ==, 1);
    g_assert_cmpuint(le_get(bytes + 4, 4), ==, 2);
    g_assert_cmpuint(le_get(bytes + 8, 8), ==, 0);
    g_assert_cmpuint(le_get(bytes + 16, 8), ==, 0x10);
    g_assert_cmpuint(le_get(bytes + 24, 8), ==, 0x20);
    g_assert_cmpmem(bytes + 32, 16, super.uuid, 16);
    g_assert_cmpuint(le_get(bytes + 48, 8), ==, 9);
    g_assert_cmpuint(le_get(bytes + 56, 4), ==, 4096);
    g_assert_cmpuint(le_get(bytes + 64, 8), ==, 32768);
    g_assert_cmpuint(le_get(bytes + 72, 8), ==, 16384);
    g_assert_cmpuint(le_get(bytes + 80, 8), ==, 65536);
    g_assert_cmpmem(bytes + 88, 32, super.seed, 32);
    for (unsigned i = 120; i < sizeof(bytes); i++) {
        if (i < 436 || (i >= 448 && i < 480) || i >= 512) {
            g_assert_cmpuint(bytes[i], ==, 0);
        }
    }
    g_assert_cmpmem(bytes + 436, 12, super.epoch_id, 12);
    blob_digest_sha256(bytes, 480, digest);
    g_assert_cmpmem(bytes + 480, 32, digest, 32);
    g_assert_cmpmem(super.digest, 12, digest, 12);
    g_assert_true(blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                &error));
    g_assert_no_error(error);
    g_assert_cmpmem(&back, sizeof(back), &super, sizeof(super));
}

/* R15 */
static void test_hostile_superblock_is_refused(void)
{
    static const struct {
        const char *what;
        unsigned at;
        unsigned bytes;
        uint64_t value;
        BlobStoreError code;
    } hostile[] = {
        { "older version", 0, 4, 0, BLOBSTORE_ERROR_UNSUPPORTED },
        { "newer version", 0, 4, 2, BLOBSTORE_ERROR_UNSUPPORTED },
        { "feature", 8, 8, 2, BLOBSTORE_ERROR_UNSUPPORTED },
        { "feature besides", 8, 8, 3, BLOBSTORE_ERROR_UNSUPPORTED },
        { "feature", 8, 8, UINT64_C(1) << 63, BLOBSTORE_ERROR_UNSUPPORTED },
        { "no state", 4, 4, 0, BLOBSTORE_ERROR_CORRUPT },
        { "converting, not sealed", 4, 4, 3, BLOBSTORE_ERROR_CORRUPT },
        { "unknown state", 4, 4, 5, BLOBSTORE_ERROR_CORRUPT },
        { "conversion, but ready", 60, 4, 1, BLOBSTORE_ERROR_CORRUPT },
        { "blocks", 56, 4, 512, BLOBSTORE_ERROR_CORRUPT },
        { "directory elsewhere", 64, 8, 36864, BLOBSTORE_ERROR_CORRUPT },
        { "no directory", 72, 8, 0, BLOBSTORE_ERROR_CORRUPT },
        { "directory too small", 72, 8, 4096, BLOBSTORE_ERROR_CORRUPT },
        { "directory not aligned", 72, 8, 16385, BLOBSTORE_ERROR_CORRUPT },
        { "directory too large", 72, 8, (64 << 20) + 4096,
          BLOBSTORE_ERROR_CORRUPT },
        { "directory endless", 72, 8, ~UINT64_C(4095),
          BLOBSTORE_ERROR_CORRUPT },
        { "data in the directory", 80, 8, 32768, BLOBSTORE_ERROR_CORRUPT },
        { "data elsewhere", 80, 8, 69632, BLOBSTORE_ERROR_CORRUPT },
    };
    BlobSuperblock super = sample_super();
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES];
    GError *error = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        blob_layout_encode_superblock(&super, NULL, bytes);
        le_put(bytes + hostile[i].at, hostile[i].value, hostile[i].bytes);
        if (blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                          &error)) {
            g_error("accepted: %s", hostile[i].what);
        }
        g_assert_error(error, BLOBSTORE_ERROR, (int)hostile[i].code);
        g_clear_error(&error);
    }
}

/* Another length belongs to another version, or is nonsense. */
static void test_superblock_of_another_length(void)
{
    BlobSuperblock super = sample_super();
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES + 100] = { 0 };
    GError *error = NULL;

    blob_layout_encode_superblock(&super, NULL, bytes);
    g_assert_false(blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                 &error));
    g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_false(blob_layout_decode_superblock(
        bytes, BLOB_SUPERBLOCK_BYTES - 1, &back, &error));
    g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_CORRUPT);
    g_clear_error(&error);
    bytes[0] = 2;
    g_assert_false(blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                 &error));
    g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    g_assert_false(blob_layout_decode_superblock(bytes, 0, &back, &error));
    g_assert_error(error, BLOBSTORE_ERROR, BLOBSTORE_ERROR_UNSUPPORTED);
    g_clear_error(&error);
}

/* A format that has just begun has no geometry yet. */
static void test_superblock_of_a_format_in_progress_is_accepted(void)
{
    BlobSuperblock super = { .version = 1, .state = BLOB_STATE_CREATING };
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES];

    blob_layout_encode_superblock(&super, NULL, bytes);
    g_assert_true(blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                NULL));
}

/*
 * Returns the superblock of a sealed store that is being rekeyed, with one key
 * slot in use.
 */
static BlobSuperblock sample_sealed(void)
{
    BlobSuperblock super = sample_super();

    super.state = BLOB_STATE_CONVERTING;
    super.conversion = BLOB_CONVERSION_REKEY;
    super.incompatible = BLOB_FEATURE_SEALED;
    memset(super.previous_key.nonce, 0x21, sizeof(super.previous_key.nonce));
    memset(super.previous_key.tag, 0x22, sizeof(super.previous_key.tag));
    memset(super.previous_key.wrapped, 0x23,
           sizeof(super.previous_key.wrapped));
    memset(super.key_slots.bytes[3], 0x24, BLOB_KEY_SLOT_BYTES);
    return super;
}

static void test_sealed_superblock_is_as_specified_and_comes_back(void)
{
    static const uint8_t seed[BLOB_SEED_BYTES] = { 0x5e };
    g_autoptr(BlobDigest) keyed = blob_digest_new(seed);
    g_autoptr(BlobDigest) other = blob_digest_new(NULL);
    BlobSuperblock super = sample_sealed();
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES];
    uint8_t digest[BLOB_DIGEST_BYTES];

    blob_layout_encode_superblock(&super, keyed, bytes);
    g_assert_cmpuint(le_get(bytes + 4, 4), ==, 3);
    g_assert_cmpuint(le_get(bytes + 8, 8), ==, 1);
    g_assert_cmpuint(le_get(bytes + 60, 4), ==, 2);
    g_assert_cmpuint(le_get(bytes + 120, 8), ==, 0);
    blob_digest_sha256(bytes + 512 + 3 * 1024, 1024, digest);
    g_assert_cmpmem(bytes + 120 + 3 * 32, 32, digest, 32);
    g_assert_cmpmem(bytes + 376, 12, super.previous_key.nonce, 12);
    g_assert_cmpmem(bytes + 388, 16, super.previous_key.tag, 16);
    g_assert_cmpmem(bytes + 404, 32, super.previous_key.wrapped, 32);
    blob_digest_check(keyed, bytes, 448, digest);
    g_assert_cmpmem(bytes + 448, 32, digest, 32);
    g_assert_true(blob_layout_superblock_head_is_intact(bytes));
    g_assert_true(blob_layout_superblock_is_authentic(bytes, keyed));
    g_assert_false(blob_layout_superblock_is_authentic(bytes, other));
    g_assert_true(blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                NULL));
    g_assert_cmpmem(&back, sizeof(back), &super, sizeof(super));
}

/* The keyed check covers everything but the key slots, which have digests. */
static void test_any_change_of_a_sealed_superblock_is_seen(void)
{
    static const uint8_t seed[BLOB_SEED_BYTES] = { 0x5e };
    g_autoptr(BlobDigest) keyed = blob_digest_new(seed);
    BlobSuperblock super = sample_sealed();
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES];

    blob_layout_encode_superblock(&super, keyed, bytes);
    for (unsigned bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bool authentic;
        bool refused;

        bytes[bit / 8] ^= 1 << bit % 8;
        authentic = blob_layout_superblock_is_authentic(bytes, keyed);
        refused = !blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                 NULL);
        if (bit / 8 < 480) {
            g_assert_false(authentic);
        } else if (bit / 8 >= 512) {
            g_assert_false(refused);
            g_assert_true(back.key_slots.damaged[(bit / 8 - 512) / 1024]);
        }
        bytes[bit / 8] ^= 1 << bit % 8;
    }
}

static void test_a_damaged_key_slot_stays_damaged(void)
{
    BlobSuperblock super = sample_sealed();
    BlobSuperblock back;
    uint8_t bytes[BLOB_SUPERBLOCK_BYTES];

    super.key_slots.damaged[3] = true;
    super.key_slots.damaged[5] = true;
    blob_layout_encode_superblock(&super, NULL, bytes);
    g_assert_true(blob_layout_decode_superblock(bytes, sizeof(bytes), &back,
                                                NULL));
    g_assert_cmpmem(&back, sizeof(back), &super, sizeof(super));
}

static void test_key_slots_are_mended_from_the_other_copy(void)
{
    BlobSuperblock super = sample_sealed();
    uint8_t good[BLOB_SUPERBLOCK_BYTES];
    uint8_t own[BLOB_SUPERBLOCK_BYTES];
    uint8_t other[BLOB_SUPERBLOCK_BYTES];

    blob_layout_encode_superblock(&super, NULL, good);
    memcpy(own, good, sizeof(own));
    memcpy(other, good, sizeof(other));
    own[512 + 3 * 1024 + 7] ^= 1;
    other[512 + 4 * 1024 + 7] ^= 1;
    other[33] ^= 1;
    blob_layout_mend_key_slots(own, other);
    g_assert_cmpmem(own, sizeof(own), good, sizeof(good));
    /* A slot that is damaged in both copies stays as it is. */
    own[512 + 3 * 1024 + 7] ^= 1;
    other[512 + 3 * 1024 + 9] ^= 1;
    blob_layout_mend_key_slots(own, other);
    g_assert_cmpuint(own[512 + 3 * 1024 + 7], ==, 0x25);
    g_assert_cmpuint(own[512 + 3 * 1024 + 9], ==, 0x24);
}

static BlobKeySlot sample_key_slot(void)
{
    BlobKeySlot slot = {
        .type = BLOB_KEY_SLOT_PASSPHRASE,
        .kdf_memory_kib = 65536,
        .kdf_iterations = 9,
        .kdf_parallelism = 2,
        .wrapped_bytes = 32,
    };

    memset(slot.salt, 0x31, sizeof(slot.salt));
    memset(slot.nonce, 0x32, sizeof(slot.nonce));
    memset(slot.tag, 0x33, sizeof(slot.tag));
    memset(slot.wrapped, 0x34, 32);
    return slot;
}

static BlobKeySlot sample_token_slot(void)
{
    BlobKeySlot slot = {
        .type = BLOB_KEY_SLOT_TOKEN,
        .mechanism = BLOB_KEY_MECHANISM_RSA_OAEP,
        .hash = BLOB_KEY_HASH_SHA1,
        .uri = "pkcs11:token=t;object=k",
        .wrapped_bytes = 256,
    };

    memset(slot.wrapped, 0x41, 256);
    return slot;
}

static void test_key_slot_is_as_specified_and_comes_back(void)
{
    BlobKeySlot slots[] = { sample_key_slot(), sample_token_slot(), { 0 } };
    uint8_t bytes[BLOB_KEY_SLOT_BYTES];

    blob_key_slot_encode(&slots[0], bytes);
    g_assert_cmpuint(le_get(bytes, 4), ==, 1);
    g_assert_cmpuint(le_get(bytes + 4, 4), ==, 65536);
    g_assert_cmpuint(le_get(bytes + 8, 4), ==, 9);
    g_assert_cmpuint(le_get(bytes + 12, 4), ==, 2);
    g_assert_cmpmem(bytes + 16, 32, slots[0].salt, 32);
    g_assert_cmpmem(bytes + 48, 12, slots[0].nonce, 12);
    g_assert_cmpmem(bytes + 60, 16, slots[0].tag, 16);
    g_assert_cmpuint(le_get(bytes + 76, 4), ==, 32);
    g_assert_cmpmem(bytes + 512, 512, slots[0].wrapped, 512);
    blob_key_slot_encode(&slots[1], bytes);
    g_assert_cmpuint(le_get(bytes, 4), ==, 3);
    g_assert_cmpuint(le_get(bytes + 80, 4), ==, 1);
    g_assert_cmpuint(le_get(bytes + 84, 4), ==, 1);
    g_assert_cmpstr((char *)bytes + 128, ==, "pkcs11:token=t;object=k");
    for (unsigned i = 0; i < G_N_ELEMENTS(slots); i++) {
        BlobKeySlot back;

        blob_key_slot_encode(&slots[i], bytes);
        g_assert_true(blob_key_slot_decode(bytes, &back));
        g_assert_cmpmem(&back, sizeof(back), &slots[i], sizeof(slots[i]));
    }
}

/*
 * R15: a key slot cannot make anybody spend more time and memory than the
 * format allows.
 */
static void test_hostile_key_slot_is_refused(void)
{
    static const struct {
        const char *what;
        bool token;
        unsigned at;
        unsigned bytes;
        uint64_t value;
    } hostile[] = {
        { "unused, but not zero", false, 0, 4, 0 },
        { "unknown type", false, 0, 4, 4 },
        { "no memory", false, 4, 4, 0 },
        { "too little for its lanes", false, 4, 4, 15 },
        { "more than 1 GiB, in one pass", false, 4, 8,
          UINT64_C(1) << 32 | ((1 << 20) + 1) },
        { "memory without end", false, 4, 4, UINT32_MAX },
        { "no pass", false, 8, 4, 0 },
        { "more than 64 passes", false, 8, 4, 65 },
        { "more than 4 GiB of work", false, 4, 4, (4 << 20) / 9 + 1 },
        { "no lane", false, 12, 4, 0 },
        { "more than 16 lanes", false, 12, 4, 17 },
        { "wrapped key too short", false, 76, 4, 31 },
        { "wrapped key too long", false, 76, 4, 33 },
        { "wrapped by the token too short", true, 76, 4, 55 },
        { "wrapped by the token too long", true, 76, 4, 513 },
        { "no mechanism", true, 80, 4, 0 },
        { "unknown mechanism", true, 80, 4, 3 },
        { "key wrap with a hash", true, 80, 4, 2 },
        { "OAEP without a hash", true, 84, 4, 0 },
        { "unknown hash", true, 84, 4, 3 },
        { "no URI", true, 128, 1, 0 },
        { "URI not followed by zeros", true, 128 + 383, 1, 'x' },
        { "URI with a blank", true, 128 + 9, 1, ' ' },
        { "URI with a control character", true, 128 + 9, 1, 0x1b },
        { "URI with a DEL", true, 128 + 9, 1, 0x7f },
        { "URI with more than ASCII", true, 128 + 9, 1, 0xc3 },
    };

    for (guint i = 0; i < G_N_ELEMENTS(hostile); i++) {
        BlobKeySlot slot = hostile[i].token ? sample_token_slot()
                                            : sample_key_slot();
        uint8_t bytes[BLOB_KEY_SLOT_BYTES];

        blob_key_slot_encode(&slot, bytes);
        le_put(bytes + hostile[i].at, hostile[i].value, hostile[i].bytes);
        if (blob_key_slot_decode(bytes, &slot)) {
            g_error("accepted: %s", hostile[i].what);
        }
    }
}

static void test_uri_without_an_end_is_refused(void)
{
    BlobKeySlot slot = sample_token_slot();
    uint8_t bytes[BLOB_KEY_SLOT_BYTES];

    blob_key_slot_encode(&slot, bytes);
    memset(bytes + 128, 'x', 383);
    g_assert_true(blob_key_slot_decode(bytes, &slot));
    bytes[128 + 383] = 'x';
    g_assert_false(blob_key_slot_decode(bytes, &slot));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    blob_digest_init();
#define ADD(name) g_test_add_func("/layout-superblock/" #name, test_##name)
    ADD(superblock_is_as_specified_and_comes_back);
    ADD(hostile_superblock_is_refused);
    ADD(superblock_of_another_length);
    ADD(superblock_of_a_format_in_progress_is_accepted);
    ADD(sealed_superblock_is_as_specified_and_comes_back);
    ADD(any_change_of_a_sealed_superblock_is_seen);
    ADD(a_damaged_key_slot_stays_damaged);
    ADD(key_slots_are_mended_from_the_other_copy);
    ADD(key_slot_is_as_specified_and_comes_back);
    ADD(hostile_key_slot_is_refused);
    ADD(uri_without_an_end_is_refused);
    return g_test_run();
}
