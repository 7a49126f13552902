/*
 * Blobstore core: telling a blank medium from one that holds something else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "blank.h"

#include <string.h>
#include "blobstore/format/sparse.h"

enum {
    SECTOR_BYTES = 512,
    SIGNATURE_AREA_BYTES = 128 << 10,
};

static size_t count_zeros(const uint8_t *buf, size_t bytes)
{
    size_t n = 0;

    if (bytes && !buf[0] && !memcmp(buf, buf + 1, bytes - 1)) {
        return bytes;           /* quickly */
    }
    while (n < bytes && !buf[n]) {
        n++;
    }
    return n;
}

bool blob_blank_find_data(BlobMedium *medium, uint64_t start, uint64_t end,
                          uint64_t *offset, GError **error)
{
    g_auto(BlobSparse) sparse = blob_sparse_new(medium, start, end);
    size_t bytes;

    while (blob_sparse_next(&sparse, offset, &bytes, error)) {
        size_t zeros = count_zeros(sparse.buf, bytes);

        *offset += zeros;
        if (!bytes || zeros < bytes) {
            return true;
        }
    }
    return false;
}

/*
 * Where well-known formats put their signatures, from the documentation of
 * each
 */
static const struct {
    uint32_t offset;
    uint8_t bytes;
    const char *signature;
    const char *what;
} signatures[] = {
    { 0, 4, "QFI\xfb", "a qcow2 image (give it with format=qcow2)" },
    { 0, 6, "LUKS\xba\xbe", "a LUKS volume" },
    { 0, 4, "VMDK", "a VMDK image" },
    { 0, 4, "KDMV", "a VMDK image" },
    { 0, 8, "conectix", "a VHD image" },
    { 0, 8, "vhdxfile", "a VHDX image" },
    { 64, 4, "\x7f\x10\xda\xbe", "a VDI image" },
    { 512, 8, "EFI PART", "a GPT partition table" },
    { 4096, 8, "EFI PART", "a GPT partition table" },
    { 512, 8, "LABELONE", "an LVM physical volume" },
    { 0, 4, "XFSB", "an XFS file system" },
    { 3, 8, "NTFS    ", "an NTFS file system" },
    { 82, 5, "FAT32", "a FAT file system" },
    { 54, 3, "FAT", "a FAT file system" },
    { 0, 4, "hsqs", "a squashfs file system" },
    { 1080, 2, "\x53\xef", "an ext2/ext3/ext4 file system" },
    { 65600, 8, "_BHRfS_M", "a btrfs file system" },
    { 32769, 5, "CD001", "an ISO 9660 file system" },
    { 4086, 10, "SWAPSPACE2", "swap space" },
    { 0, 2, "\x1f\x8b", "a gzip archive" },
    { 257, 5, "ustar", "a tar archive" },
    { 0, 4, "\x7f" "ELF", "an ELF program" },
    { 510, 2, "\x55\xaa", "a boot sector or MBR partition table" },
};

const char *blob_blank_describe(BlobMedium *medium, uint64_t bytes)
{
    size_t area_bytes = MIN(bytes, SIGNATURE_AREA_BYTES);
    g_autofree uint8_t *area = blob_medium_alloc(SIGNATURE_AREA_BYTES);

    memset(area + area_bytes, 0, SIGNATURE_AREA_BYTES - area_bytes);
    if (!blob_medium_read(medium, 0, area, area_bytes, NULL)) {
        return "unreadable data";
    }
    for (size_t i = 0; i < G_N_ELEMENTS(signatures); i++) {
        if (!memcmp(area + signatures[i].offset, signatures[i].signature,
                    signatures[i].bytes)) {
            return signatures[i].what;
        }
    }
    return "unknown data";
}

static const BlobSlot marker_slot = {
    .id = BLOB_ID_SUPERBLOCK,
    .offset = 0,
    .bytes = BLOB_SUPERBLOCK_SLOT_BYTES,
};

/* The payload of the marker; *@header becomes its header. */
static GBytes *make_marker(BlobHeader *header)
{
    BlobSuperblock super = {
        .version = BLOB_FORMAT_VERSION,
        .state = BLOB_STATE_CREATING,
        .generation = 1,
    };
    uint8_t *bytes = g_malloc(BLOB_SUPERBLOCK_BYTES);

    *header = (BlobHeader) {
        .sequence = super.generation,
        .raw_bytes = BLOB_SUPERBLOCK_BYTES,
    };
    blob_layout_encode_superblock(&super, NULL, bytes);
    return g_bytes_new_take(bytes, BLOB_SUPERBLOCK_BYTES);
}

bool blob_blank_write_marker(BlobMedium *medium, const BlobGuard *zero_seed,
                             GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = make_marker(&header);

    return blob_slot_write(medium, zero_seed, &marker_slot, &header, payload,
                           true, error);
}

/* Whether every sector is zero or as expected, except in at most one block */
static bool is_part_of(const uint8_t *found, const uint8_t *expected,
                       size_t bytes)
{
    static const uint8_t zero[SECTOR_BYTES];
    unsigned matching = 0;
    size_t garbled = SIZE_MAX;

    for (size_t at = 0; at < bytes; at += SECTOR_BYTES) {
        if (!memcmp(found + at, zero, SECTOR_BYTES)) {
            continue;
        }
        if (!memcmp(found + at, expected + at, SECTOR_BYTES)) {
            matching++;
        } else if (garbled == SIZE_MAX || garbled == at / BLOB_BLOCK_BYTES) {
            garbled = at / BLOB_BLOCK_BYTES;
        } else {
            return false;
        }
    }
    return matching > 0;
}

bool blob_blank_is_cut_marker(BlobMedium *medium, const BlobGuard *zero_seed,
                              uint64_t bytes, bool *is_cut, GError **error)
{
    BlobHeader header;
    g_autoptr(GBytes) payload = make_marker(&header);
    uint64_t image_bytes;
    g_autofree uint8_t *expected = NULL;
    g_autofree uint8_t *found = NULL;
    uint64_t data;

    *is_cut = false;
    if (bytes < BLOB_DIRECTORY_OFFSET) {
        return true;
    }
    expected = blob_slot_render(zero_seed, &marker_slot, &header, payload,
                                &image_bytes, error);
    if (!expected) {
        return false;
    }
    found = blob_medium_alloc(image_bytes);
    if (!blob_medium_read(medium, 0, found, image_bytes, error)) {
        return false;
    }
    if (!is_part_of(found, expected, image_bytes)) {
        return true;
    }
    if (!blob_blank_find_data(medium, image_bytes, bytes, &data, error)) {
        return false;
    }
    *is_cut = data == bytes;
    return true;
}
