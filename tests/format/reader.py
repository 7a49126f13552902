#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a blobstore image with nothing but docs/format.md in mind.

usage: reader.py [--contents] IMAGE...

Prints a line of JSON for each image. It shares no code with the core: where
the two disagree, one of them or the specification is wrong. Sections named
below are those of docs/format.md.
"""

import argparse
import hashlib
import hmac
import json
import struct
import sys
import zlib
from dataclasses import dataclass

BLOCK = 4096
SECTOR = 512
HEADER = struct.Struct('<8sII16sQQQQQQQII16s32s80x1024s32s')
MEMBER = struct.Struct('<QQ')
SUPERBLOCK = struct.Struct('<IIQQQ16sQI4xQQQ32s392x8192x')
DIRECTORY = struct.Struct('<II16sQQQI4x32x40x')
ENTRY = struct.Struct('<QQQQQQQIBBBx64s64s32x')
assert (HEADER.size, SUPERBLOCK.size, DIRECTORY.size, ENTRY.size) == (1280, 8704, 128, 224)

MAGIC = b'QEMUBLOB'
CHECKED = HEADER.size - 32
DELETED, PACKED = 1, 2
MAX_MEMBERS = 64
MAX_METADATA = 1024
MAX_CONTENT = 64 << 20

SUPERBLOCK_ID, DIRECTORY_ID, FIRST_BLOB_ID = 0, 1, 16
SUPERBLOCK_SLOT = 16384
DIRECTORY_OFFSET = 32768
FORMATTING, READY = 1, 2
CLEAN = 1
CENSUS_TRIALS = 1 << 20
KINDS = {1: 'permanent', 2: 'savestate'}


class Refused(Exception):
    """This is no store that can be read."""


class Blank(Exception):
    """A store that holds nothing yet."""


class Damaged(Exception):
    """A version is there, but not what was written."""


def demand(condition, complaint):
    if not condition:
        raise Refused(complaint)


def round_up(number):
    return -(-number // BLOCK) * BLOCK


def epoch_of(sequence):
    return sequence >> 32


# Section 3: a slot

@dataclass
class Header:
    raw: bytes
    magic: bytes
    flags: int
    member_count: int
    epoch_id: bytes
    id: int
    sequence: int
    previous: int
    watermark: int
    offset: int
    raw_bytes: int
    stored_bytes: int
    metadata_bytes: int
    reserved: int
    census: bytes
    digest: bytes
    member_list: bytes
    check: bytes

    @property
    def image_bytes(self):
        return max(round_up(2 * HEADER.size + self.stored_bytes), 2 * BLOCK)

    @property
    def members(self):
        return list(MEMBER.iter_unpack(self.member_list))[:self.member_count]


def has_possible_lengths(version, slot_bytes):
    """Of a header, or of an entry in the directory."""
    if (version.raw_bytes > slot_bytes - 2 * HEADER.size
            or version.metadata_bytes > min(MAX_METADATA, version.raw_bytes)):
        return False
    if version.flags == DELETED:
        return version.raw_bytes == version.stored_bytes == 0
    if version.flags == PACKED:
        return version.stored_bytes < version.raw_bytes
    return version.flags == 0 and version.stored_bytes == version.raw_bytes


class Slot:
    """The place of one version, and the header and trailers found in it."""

    def __init__(self, medium, key, blob_id, offset, size):
        self.medium = medium
        self.key = key
        self.id = blob_id
        self.offset = offset
        self.size = size
        self.header = self.header_at(0)
        self.complete = (self.header is not None and
                         self.medium.read(offset + self.header.image_bytes - HEADER.size,
                                          HEADER.size) == self.header.raw)

    def header_at(self, position):
        """The intact header at a position in this slot, or None."""
        raw = self.medium.read(self.offset + position, HEADER.size)
        if len(raw) < HEADER.size or not raw.startswith(MAGIC):
            return None
        header = Header(raw, *HEADER.unpack(raw))
        if hmac.new(self.key, raw[:CHECKED], 'sha256').digest() != header.check:
            return None
        return header if self.allows(header) else None

    def allows(self, header):
        return (header.id == self.id and header.offset == self.offset
                and header.member_count <= MAX_MEMBERS and has_possible_lengths(header, self.size))

    def trailers(self):
        for end in range(2 * BLOCK, self.size + 1, BLOCK):
            trailer = self.header_at(end - HEADER.size)
            if trailer and trailer.image_bytes == end:
                yield trailer

    def stored_payload(self):
        return self.medium.read(self.offset + HEADER.size, self.header.stored_bytes)

    @property
    def valid(self):
        return (self.complete and
                hashlib.sha256(self.stored_payload()).digest() == self.header.digest)


def newest_valid(slots):
    """Section 5: of the slots of the superblock or the directory."""
    return max((slot for slot in slots if slot.valid),
               key=lambda slot: slot.header.sequence, default=None)


# Section 5: superblock and directory

@dataclass
class Superblock:
    version: int
    state: int
    incompatible: int
    read_only_compatible: int
    compatible: int
    uuid: bytes
    generation: int
    block_bytes: int
    directory_offset: int
    directory_bytes: int
    data_offset: int
    seed: bytes


@dataclass
class Directory:
    epoch: int
    flags: int
    epoch_id: bytes
    generation: int
    capacity: int
    next_id: int
    count: int


@dataclass
class Entry:
    id: int
    sequence: int
    max_size: int
    offset: int
    slot_bytes: int
    raw_bytes: int
    stored_bytes: int
    metadata_bytes: int
    kind: int
    flags: int
    slot: int
    owner: bytes
    name: bytes


def read_superblock(medium):
    if medium.is_zero_from(0):
        raise Blank
    demand(medium.size >= DIRECTORY_OFFSET, 'too small for a store')
    slot = newest_valid(Slot(medium, bytes(32), SUPERBLOCK_ID, n * SUPERBLOCK_SLOT,
                             SUPERBLOCK_SLOT) for n in range(2))
    if slot is None:
        if holds_interrupted_marker(medium):
            raise Blank
        raise Refused('no superblock')
    demand(slot.header.flags == 0, 'flags of the superblock')
    payload = slot.stored_payload()
    superblock = Superblock(*SUPERBLOCK.unpack(payload.ljust(SUPERBLOCK.size, b'\0')))
    demand(superblock.version == 1, 'unknown version')
    demand(not superblock.incompatible, 'unknown incompatible features, or sealed')
    demand(len(payload) == SUPERBLOCK.size, 'length of the superblock')
    demand(superblock.block_bytes == BLOCK, 'block size')
    demand(superblock.state in (FORMATTING, READY), 'state of the superblock')
    demand(superblock.generation == slot.header.sequence, 'generation of the superblock')
    if superblock.state == FORMATTING:
        raise Blank
    size = superblock.directory_bytes
    demand(superblock.directory_offset == DIRECTORY_OFFSET, 'offset of the directory')
    demand(2 * BLOCK <= size <= MAX_CONTENT and size % BLOCK == 0, 'size of the directory')
    demand(superblock.data_offset == DIRECTORY_OFFSET + 2 * size, 'offset of the blobs')
    demand(superblock.data_offset <= medium.size, 'directory beyond the end of the medium')
    return superblock


def marker():
    """Section 8: the first write of a format, the same for every store."""
    payload = SUPERBLOCK.pack(1, FORMATTING, 0, 0, 0, bytes(16), 1, BLOCK, 0, 0, 0, bytes(32))
    header = HEADER.pack(MAGIC, 0, 0, bytes(16), SUPERBLOCK_ID, 1, 0, 0, 0, len(payload),
                         len(payload), 0, 0, bytes(16), hashlib.sha256(payload).digest(),
                         bytes(1024), bytes(32))[:CHECKED]
    header += hmac.new(bytes(32), header, 'sha256').digest()
    image_bytes = round_up(len(payload) + 2 * len(header))
    return (header + payload).ljust(image_bytes - len(header), b'\0') + header


def holds_interrupted_marker(medium):
    whole = marker()
    found = medium.read(0, len(whole))
    sectors = [(n, found[n:n + SECTOR], whole[n:n + SECTOR])
               for n in range(0, len(whole), SECTOR)]
    garbled_blocks = {n // BLOCK for n, there, expected in sectors
                      if there != expected and any(there)}
    some_equal = any(there == expected and any(there) for _, there, expected in sectors)
    return some_equal and len(garbled_blocks) <= 1 and medium.is_zero_from(len(whole))


def text(field):
    """A label of section 5.2, checked."""
    label = field.rstrip(b'\0')
    demand(0 < len(label) < 64 and all(0x21 <= byte <= 0x7e and byte != ord('/')
                                       for byte in label), 'owner or name')
    return label.decode()


def read_directory(medium, superblock):
    """Returns the head and the checked entries."""
    size = superblock.directory_bytes
    slot = newest_valid(Slot(medium, superblock.seed, DIRECTORY_ID, DIRECTORY_OFFSET + n * size,
                             size) for n in range(2))
    demand(slot is not None, 'no directory')
    demand(slot.header.flags == 0, 'flags of the directory')
    payload = slot.stored_payload()
    demand(len(payload) >= DIRECTORY.size, 'length of the directory')
    head = Directory(*DIRECTORY.unpack_from(payload))
    demand(head.epoch >= 1 and slot.header.sequence == head.epoch << 32
           and slot.header.epoch_id == head.epoch_id, 'epoch of the directory')
    demand(head.generation <= superblock.generation, 'directory newer than the superblock')
    demand(head.capacity % BLOCK == 0 and head.capacity >= superblock.data_offset, 'capacity')
    demand(FIRST_BLOB_ID <= head.next_id < (1 << 64) - 1, 'next id')
    demand(len(payload) == DIRECTORY.size + head.count * ENTRY.size, 'length of the directory')
    entries = [Entry(*fields) for fields in ENTRY.iter_unpack(payload[DIRECTORY.size:])]
    for entry in entries:
        check_entry(head, entry, superblock.data_offset, medium.size)
    check_distinct(entries)
    return head, entries


def check_entry(head, entry, data_offset, medium_bytes):
    entry.owner, entry.name = text(entry.owner), text(entry.name)
    demand(FIRST_BLOB_ID <= entry.id < head.next_id, 'id of a blob')
    demand(entry.kind in KINDS, 'kind of a blob')
    demand(entry.slot in (0, 1), 'slot of a blob')
    demand(1 <= entry.max_size <= MAX_CONTENT, 'maximum size of a blob')
    wanted = round_up(2 * HEADER.size + MAX_METADATA + entry.max_size)
    demand(entry.slot_bytes == max(wanted, 2 * BLOCK), 'slot size of a blob')
    demand(entry.offset % BLOCK == 0 and entry.offset >= data_offset
           and entry.offset + 2 * entry.slot_bytes <= min(head.capacity, medium_bytes),
           'extent of a blob')
    if not entry.sequence:
        demand(not any((entry.raw_bytes, entry.stored_bytes, entry.metadata_bytes, entry.flags,
                        entry.slot)), 'version of a blob that has none')
        return
    demand(epoch_of(entry.sequence) < head.epoch, 'sequence of a blob')
    demand(has_possible_lengths(entry, entry.slot_bytes), 'recorded version of a blob')


def check_distinct(entries):
    demand(all(a.id < b.id for a, b in zip(entries, entries[1:])), 'order of ids')
    demand(len({(entry.owner, entry.name) for entry in entries}) == len(entries),
           'two blobs of one name')
    by_offset = sorted(entries, key=lambda entry: entry.offset)
    demand(all(a.offset + 2 * a.slot_bytes <= b.offset
               for a, b in zip(by_offset, by_offset[1:])), 'overlapping extents')


# Section 7: which version is current

class BlobSlot(Slot):
    """A slot of a blob in a store that was not closed cleanly."""

    def __init__(self, medium, key, entry, number, epoch_id):
        super().__init__(medium, key, entry.id, entry.offset + number * entry.slot_bytes,
                         entry.slot_bytes)
        self.epoch_id = epoch_id
        self.recorded = entry.sequence if number == entry.slot else 0
        # Of earlier epochs the digest is verified when the blob is read.
        self.is_valid = self.complete and self.matters(self.header) and (
            self.valid or self.header.epoch_id != epoch_id)
        self.evidence = [self.header] if self.header else []
        if not self.is_valid:
            self.evidence += self.trailers()
        mattering = [header for header in self.evidence if self.matters(header)]
        self.held = max(mattering, key=lambda header: header.sequence, default=None)

    def matters(self, header):
        return header.epoch_id == self.epoch_id or header.sequence == self.recorded != 0

    @property
    def sequence(self):
        return self.held.sequence if self.held else 0


@dataclass
class Blob:
    entry: Entry
    slots: list
    current: Slot | None = None
    sequence: int = 0       # of the current version, or of the one that is lost
    damaged: bool = False


def decide_clean(medium, superblock, entries):
    """Step 3."""
    blobs = []
    for entry in entries:
        slot = Slot(medium, superblock.seed, entry.id,
                    entry.offset + entry.slot * entry.slot_bytes, entry.slot_bytes)
        blob = Blob(entry, [slot], sequence=entry.sequence)
        if entry.sequence and not entry.flags & DELETED:
            blob.damaged = not (slot.valid and is_as_recorded(entry, slot.header))
            blob.current = slot
        blobs.append(blob)
    return blobs


def is_as_recorded(entry, header):
    return ((header.sequence, header.flags, header.raw_bytes, header.metadata_bytes) ==
            (entry.sequence, entry.flags, entry.raw_bytes, entry.metadata_bytes))


def decide_by_evidence(medium, superblock, head, entries):
    """Steps 4 to 7."""
    blobs = [Blob(entry, [BlobSlot(medium, superblock.seed, entry, n, head.epoch_id)
                          for n in range(2)]) for entry in entries]
    slots = [slot for blob in blobs for slot in blob.slots]
    demand(all(epoch_of(header.sequence) <= head.epoch
               for slot in slots for header in slot.evidence), 'a version newer than the directory')
    present = [slot for slot in slots if slot.held and slot.held.epoch_id == head.epoch_id]
    watermark = max([head.epoch << 32] + [slot.held.watermark for slot in present])
    written = {(slot.id, slot.sequence) for slot in present if slot.is_valid}
    for blob in blobs:
        decide_blob(blob, watermark, written)
    if present:
        newest = max(present, key=lambda slot: slot.sequence).held
        check_census(blobs, superblock.seed, newest, head.epoch << 32, watermark)
    return blobs


def decide_blob(blob, watermark, written):
    """Steps 5 and 6."""
    recorded = blob.entry.sequence

    def is_acknowledged(sequence):
        return sequence == recorded or sequence <= watermark

    counting = [slot for slot in blob.slots if slot.is_valid and slot.sequence and
                (is_acknowledged(slot.sequence) or written.issuperset(slot.held.members))]
    blob.current = max(counting, key=lambda slot: slot.sequence, default=None)
    current = blob.current.sequence if blob.current else 0
    acknowledged = [slot.sequence for slot in blob.slots
                    if not slot.is_valid and is_acknowledged(slot.sequence)] + [recorded]
    blob.sequence = max(current, *acknowledged)
    blob.damaged = blob.sequence > current


def census_part(seed, blob_id, sequence):
    """Section 6, as an integer, which XORs easily."""
    if not sequence:
        return 0
    digest = hashlib.sha256(seed + struct.pack('<QQ', blob_id, sequence)).digest()
    return int.from_bytes(digest[:16], 'little')


def check_census(blobs, seed, newest, base, watermark):
    """Step 7."""
    commit = set(newest.members or [(newest.id, newest.sequence)])
    missing = int.from_bytes(newest.census, 'little')
    suspects = []
    for blob in blobs:
        before = blob.sequence
        if not blob.damaged and (blob.entry.id, before) in commit:
            before = blob.current.header.previous
        if before == blob.sequence:
            suspects.append(blob)
        missing ^= census_part(seed, blob.entry.id, before)
    if missing:
        name_missing(suspects, seed, missing, base, watermark)


def name_missing(suspects, seed, missing, base, watermark):
    trials = 0
    for blob in suspects:
        rest = missing ^ census_part(seed, blob.entry.id, blob.sequence)
        for sequence in range(max(base, blob.sequence) + 1, watermark + 1):
            trials += 1
            demand(trials <= CENSUS_TRIALS, 'blobs lost acknowledged versions without evidence')
            if census_part(seed, blob.entry.id, sequence) == rest:
                blob.sequence, blob.damaged = sequence, True
                return
    raise Refused('more than one blob lost an acknowledged version without evidence')


# What is said of a store

def read_payload(slot):
    """Section 3.2: returns metadata strings and content."""
    header = slot.header
    payload = slot.stored_payload()
    if hashlib.sha256(payload).digest() != header.digest:
        raise Damaged
    if header.flags & PACKED:
        payload = inflate(payload, header.raw_bytes)
    metadata, content = payload[:header.metadata_bytes], payload[header.metadata_bytes:]
    strings = metadata.removesuffix(b'\0').split(b'\0') if metadata else []
    return [string.decode('latin-1') for string in strings], content


def inflate(packed, raw_bytes):
    stream = zlib.decompressobj()
    try:
        payload = stream.decompress(packed, raw_bytes + 1)
    except zlib.error as error:
        raise Damaged from error
    if len(payload) != raw_bytes or not stream.eof or stream.unused_data:
        raise Damaged
    return payload


def describe(blob, contents):
    said = {'owner': blob.entry.owner, 'name': blob.entry.name, 'kind': KINDS[blob.entry.kind],
            'state': 'absent', 'sequence': blob.sequence}
    if blob.damaged:
        return {**said, 'state': 'damaged'}
    if blob.current is None or blob.current.header.flags & DELETED:
        return said
    try:
        metadata, content = read_payload(blob.current)
    except Damaged:
        return {**said, 'state': 'damaged'}
    said.update(state='present', metadata=metadata, bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest())
    if contents:
        said['content'] = content.hex()
    return said


class Medium:
    def __init__(self, file):
        self.file = file
        self.size = file.seek(0, 2)

    def read(self, offset, length):
        """Short, or empty, at the end of the medium."""
        if offset >= self.size:
            return b''
        self.file.seek(offset)
        return self.file.read(min(length, self.size - offset))

    def is_zero_from(self, offset):
        while chunk := self.read(offset, 1 << 20):
            if any(chunk):
                return False
            offset += len(chunk)
        return True


def read_store(file, contents=False):
    """Returns what is in an image, fit for JSON; raises Refused."""
    medium = Medium(file)
    try:
        superblock = read_superblock(medium)
    except Blank:
        return {'store': 'blank'}
    head, entries = read_directory(medium, superblock)
    if head.flags & CLEAN:
        blobs = decide_clean(medium, superblock, entries)
    else:
        blobs = decide_by_evidence(medium, superblock, head, entries)
    return {'store': 'ready', 'blobs': [describe(blob, contents) for blob in blobs]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--contents', action='store_true', help='print them, in hexadecimal')
    parser.add_argument('image', nargs='+')
    arguments = parser.parse_args()
    status = 0
    for image in arguments.image:
        with open(image, 'rb') as file:
            try:
                store = read_store(file, arguments.contents)
            except Refused as refusal:
                store = {'store': 'refused'}
                print(f'{image}: {refusal}', file=sys.stderr)
                status = 1
        print(json.dumps(store))
    return status


if __name__ == '__main__':
    sys.exit(main())
