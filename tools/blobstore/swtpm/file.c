/*
 * State files of swtpm: the header, and the parts behind it
 *
 * All numbers are big-endian.  A header of 10 bytes gives the version, the
 * version that a reader has to know at least, its own length, flags, and the
 * length of the file.  In version 1 the rest is the state; encrypted, it is
 * AES-CBC, with an IV of zeros, of the state's SHA-256 and the state.  In
 * version 2 parts follow, each with a tag of two bytes and a length of four.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "swtpm.h"

#include <string.h>
#include "blobstore/crypto/digest.h"
#include "crypt.h"
#include "refuse.h"

enum {
    HEADER_BYTES = 10,
    TAG_BYTES = 6,
    VERSION = 2,

    FLAG_ENCRYPTED = 1 << 0,
    FLAG_256_BITS = 1 << 3,

    TAG_STATE = 1,
    TAG_ENCRYPTED = 2,
    TAG_MAC = 3,
    TAG_IV = 6,
    TAG__MAX = 7,
};

static uint16_t get16(const uint8_t *at)
{
    return at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* What a header says, once it has been checked */
typedef struct Header {
    unsigned version;
    unsigned flags;
} Header;

static bool decode_header(const uint8_t *data, size_t bytes, Header *header,
                          GError **error)
{
    if (bytes < HEADER_BYTES || !data[0] ||
        get16(data + 2) != HEADER_BYTES) {
        return refuse(error, BLOBSTORE_ERROR_FOREIGN,
                      "this is not a state file of swtpm");
    }
    if (get32(data + 6) != bytes) {
        return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                      "the file is not as long as its header says");
    }
    header->version = data[0];
    header->flags = get16(data + 4);
    if (data[1] > VERSION) {
        return refuse(error, BLOBSTORE_ERROR_UNSUPPORTED,
                      "the file is of a version that is too new");
    }
    if (header->flags & ~(FLAG_ENCRYPTED | FLAG_256_BITS)) {
        return refuse(error, BLOBSTORE_ERROR_UNSUPPORTED,
                      "the file has a flag that is not known; state that was "
                      "encrypted for a migration is one case");
    }
    return true;
}

/* Finds the parts by their tags; unknown ones are for other readers. */
static bool decode_parts(SwtpmPart rest, SwtpmPart parts[TAG__MAX],
                         GError **error)
{
    while (rest.bytes) {
        uint32_t bytes;
        unsigned tag;

        if (rest.bytes < TAG_BYTES) {
            return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                          "the file ends within a part");
        }
        tag = get16(rest.data);
        bytes = get32(rest.data + 2);
        rest.data += TAG_BYTES;
        rest.bytes -= TAG_BYTES;
        if (bytes > rest.bytes) {
            return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                          "a part is longer than the file");
        }
        if (tag < TAG__MAX) {
            if (parts[tag].data) {
                return refuse(error, BLOBSTORE_ERROR_CORRUPT,
                              "a part is there twice");
            }
            parts[tag] = (SwtpmPart) { rest.data, bytes };
        }
        rest.data += bytes;
        rest.bytes -= bytes;
    }
    return true;
}

static bool check_key(const Header *header, const BlobSecret *key,
                      GError **error)
{
    bool encrypted = header->flags & FLAG_ENCRYPTED;

    if (encrypted && !key) {
        return refuse(error, BLOBSTORE_ERROR_KEY,
                      "the state is encrypted, and no key was given");
    }
    if (!encrypted && key) {
        return refuse(error, BLOBSTORE_ERROR_KEY,
                      "the state is not encrypted, but a key was given");
    }
    if (key && !(header->flags & FLAG_256_BITS) != (key->bytes == 16)) {
        return refuse(error, BLOBSTORE_ERROR_KEY,
                      key->bytes == 16
                      ? "the state is encrypted with a key of 256 bits"
                      : "the state is encrypted with a key of 128 bits");
    }
    return true;
}

/*
 * Decrypts and unpads @in.  Returns memory for g_free(), or NULL if the length
 * or the padding is wrong.
 */
static uint8_t *decrypt(SwtpmPart in, const uint8_t iv[SWTPM_BLOCK_BYTES],
                        const BlobSecret *key, size_t *bytes)
{
    g_autofree uint8_t *plain = NULL;

    *bytes = in.bytes;
    if (!in.bytes || in.bytes % SWTPM_BLOCK_BYTES) {
        return NULL;
    }
    plain = g_malloc(in.bytes);
    swtpm_crypt_decrypt(key, iv, in.data, in.bytes, plain);
    return swtpm_crypt_unpad(key, plain, bytes) ? g_steal_pointer(&plain)
                                                : NULL;
}

static GBytes *fail_key(GError **error)
{
    refuse(error, BLOBSTORE_ERROR_KEY,
           "the key is wrong, or the file is damaged");
    return NULL;
}

static GBytes *decrypt_first_version(SwtpmPart in, const BlobSecret *key,
                                     GError **error)
{
    static const uint8_t iv[SWTPM_BLOCK_BYTES];
    uint8_t digest[BLOB_DIGEST_BYTES];
    size_t bytes;
    g_autofree uint8_t *plain = decrypt(in, iv, key, &bytes);

    if (!plain || bytes < sizeof(digest)) {
        return fail_key(error);
    }
    blob_digest_sha256(plain + sizeof(digest), bytes - sizeof(digest),
                       digest);
    if (!blob_digest_equal(digest, plain, sizeof(digest))) {
        return fail_key(error);
    }
    return g_bytes_new(plain + sizeof(digest), bytes - sizeof(digest));
}

/* The first files of version 2 had no IV: it was zeros. */
static GBytes *decrypt_parts(const SwtpmPart parts[TAG__MAX],
                             const BlobSecret *key, GError **error)
{
    static const uint8_t no_iv[SWTPM_BLOCK_BYTES];
    SwtpmPart iv = parts[TAG_IV];
    uint8_t mac[SWTPM_MAC_BYTES];
    uint8_t *plain;
    size_t bytes;

    if (!parts[TAG_ENCRYPTED].data || parts[TAG_MAC].bytes != sizeof(mac) ||
        (iv.data && iv.bytes < SWTPM_BLOCK_BYTES)) {
        refuse(error, BLOBSTORE_ERROR_CORRUPT,
               "the file lacks a part that an encrypted file has");
        return NULL;
    }
    swtpm_crypt_authenticate(key, parts[TAG_ENCRYPTED], iv, mac);
    if (!blob_digest_equal(mac, parts[TAG_MAC].data, sizeof(mac))) {
        return fail_key(error);
    }
    plain = decrypt(parts[TAG_ENCRYPTED], iv.data ?: no_iv, key, &bytes);
    return plain ? g_bytes_new_take(plain, bytes) : fail_key(error);
}

GBytes *swtpm_file_decode(const void *data, size_t bytes,
                          const BlobSecret *key, GError **error)
{
    SwtpmPart parts[TAG__MAX] = { };
    SwtpmPart rest;
    Header header;

    if (bytes > SWTPM_FILE_MAX_BYTES) {
        refuse(error, BLOBSTORE_ERROR_TOO_LARGE,
               "the file is larger than that of any TPM");
        return NULL;
    }
    if (!decode_header(data, bytes, &header, error) ||
        !check_key(&header, key, error)) {
        return NULL;
    }
    rest.data = (const uint8_t *)data + HEADER_BYTES;
    rest.bytes = bytes - HEADER_BYTES;
    if (header.version == 1) {
        return key ? decrypt_first_version(rest, key, error)
                   : g_bytes_new(rest.data, rest.bytes);
    }
    if (!decode_parts(rest, parts, error)) {
        return NULL;
    }
    if (key) {
        return decrypt_parts(parts, key, error);
    }
    if (!parts[TAG_STATE].data) {
        refuse(error, BLOBSTORE_ERROR_CORRUPT, "the file has no state");
        return NULL;
    }
    return g_bytes_new(parts[TAG_STATE].data, parts[TAG_STATE].bytes);
}

static void put(GByteArray *file, unsigned bytes, uint32_t value)
{
    for (unsigned n = bytes; n--; ) {
        uint8_t byte = value >> 8 * n;

        g_byte_array_append(file, &byte, 1);
    }
}

static void put_part(GByteArray *file, unsigned tag, const void *data,
                     size_t bytes)
{
    put(file, 2, tag);
    put(file, 4, bytes);
    g_byte_array_append(file, data, bytes);
}

static bool put_encrypted(GByteArray *file, const uint8_t *state, size_t bytes,
                          const BlobSecret *key, GError **error)
{
    size_t padding = swtpm_crypt_padding(key, bytes);
    g_autofree uint8_t *text = g_malloc(bytes + padding);
    uint8_t iv[SWTPM_KEY_MAX_BYTES];
    uint8_t mac[SWTPM_MAC_BYTES];

    if (!blob_digest_random(iv, key->bytes, error)) {
        return false;
    }
    if (bytes) {
        memcpy(text, state, bytes);
    }
    memset(text + bytes, padding, padding);
    swtpm_crypt_encrypt(key, iv, text, bytes + padding, text);
    swtpm_crypt_authenticate(key, (SwtpmPart) { text, bytes + padding },
                             (SwtpmPart) { iv, key->bytes }, mac);
    put_part(file, TAG_ENCRYPTED, text, bytes + padding);
    put_part(file, TAG_MAC, mac, sizeof(mac));
    put_part(file, TAG_IV, iv, key->bytes);
    return true;
}

GBytes *swtpm_file_encode(GBytes *state, const BlobSecret *key,
                          GError **error)
{
    g_autoptr(GByteArray) parts = g_byte_array_new();
    GByteArray *file;
    unsigned flags = 0;
    gsize bytes;
    const uint8_t *data = g_bytes_get_data(state, &bytes);

    if (bytes > SWTPM_FILE_MAX_BYTES / 2) {
        refuse(error, BLOBSTORE_ERROR_TOO_LARGE,
               "the state is larger than that of any TPM");
        return NULL;
    }
    if (!key) {
        put_part(parts, TAG_STATE, data, bytes);
    } else if (put_encrypted(parts, data, bytes, key, error)) {
        flags = FLAG_ENCRYPTED | (key->bytes == 32 ? FLAG_256_BITS : 0);
    } else {
        return NULL;
    }
    file = g_byte_array_new();
    put(file, 1, VERSION);
    put(file, 1, 1);                    /* the version that a reader needs */
    put(file, 2, HEADER_BYTES);
    put(file, 2, flags);
    put(file, 4, HEADER_BYTES + parts->len);
    g_byte_array_append(file, parts->data, parts->len);
    return g_byte_array_free_to_bytes(file);
}
