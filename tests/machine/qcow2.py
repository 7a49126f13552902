# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a qcow2 image: as much of QEMU's docs/interop/qcow2.txt as the images of the tests need."""

import struct

HEADER = struct.Struct(">4sIQIIQIIQ")
MAGIC = b"QFI\xfb"
OFFSET_MASK = 0x00fffffffffffe00
COMPRESSED, ZERO = 1 << 62, 1 << 0


def table(image, offset, entries):
    return struct.unpack_from(f">{entries}Q", image, offset)


def guest_content(image):
    """The content that a guest reads from the image."""
    magic, _, _, _, bits, size, _, l1_entries, l1_offset = HEADER.unpack_from(image)
    assert magic == MAGIC
    cluster = 1 << bits
    content = bytearray(size)
    guest = 0
    for l1_entry in table(image, l1_offset, l1_entries):
        l2_offset = l1_entry & OFFSET_MASK
        l2_table = table(image, l2_offset, cluster // 8) if l2_offset else ()
        for n, l2_entry in enumerate(l2_table):
            start, offset = guest + n * cluster, l2_entry & OFFSET_MASK
            assert not l2_entry & COMPRESSED
            if offset and not l2_entry & ZERO and start < size:
                data = image[offset:offset + min(cluster, size - start)]
                content[start:start + len(data)] = data
        guest += cluster * cluster // 8
    return content
