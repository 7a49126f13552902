# SPDX-License-Identifier: GPL-2.0-or-later
"""Structs, names and limits of docs/format.md, and what a reader says of an image."""

import struct

BLOCK = 4096
SECTOR = 512
HEADER = struct.Struct('<8sII16sQQQQQQQII16s32s80x1024s32s')
MEMBER = struct.Struct('<QQ')
SUPERBLOCK = struct.Struct('<IIQQQ16sQIIQQQ32s256s60s12s32s32s8192s')
KEYED, HEAD = 448, 480      # what the keyed check, and the head digest, is of
DIRECTORY = struct.Struct('<II16sQQQI4x32sQI12s16s')
ENTRY = struct.Struct('<QQQQQQQIBBBx64s64s32s')
PAST = struct.Struct('<II16s')
PLACE = struct.Struct('<Q64s64s')
assert (HEADER.size, SUPERBLOCK.size, DIRECTORY.size, ENTRY.size) == (1280, 8704, 128, 224)

MAGIC = b'QEMUBLOB'
CHECKED = HEADER.size - 32
DELETED, PACKED, SEALED = 1, 2, 4
MAX_MEMBERS = 64
MAX_PAST = 64
MAX_METADATA = 1024
MAX_CONTENT = 64 << 20

SUPERBLOCK_ID, DIRECTORY_ID, FIRST_BLOB_ID = 0, 1, 16
SUPERBLOCK_SLOT = 16384
DIRECTORY_OFFSET = 32768
FORMATTING, READY, CONVERTING, WIPING = STATES = 1, 2, 3, 4
SEALED_FEATURE = 1
SEALING, REKEYING, UNSEALING = CONVERSIONS = 1, 2, 3
CLEAN = 1
CENSUS_TRIALS = 1 << 20
LAST_NUMBER = 1 << 62       # limit of generations and sealings
LINK = 12                   # bytes by which superblock and directory name each other
KINDS = {1: 'permanent', 2: 'savestate'}


class Refused(Exception):
    """The image is no store that can be read."""


class Blank(Exception):
    """The store holds nothing yet."""


class Locked(Exception):
    """The store is sealed, and there is nothing to open it with."""


class Damaged(Exception):
    """A version exists, but differs from what was written."""


def demand(condition, complaint):
    if not condition:
        raise Refused(complaint)


def round_up(number):
    return -(-number // BLOCK) * BLOCK


def epoch_of(sequence):
    return sequence >> 32
