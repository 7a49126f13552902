#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a blobstore image with nothing but docs/format.md in mind.

usage: reader.py [--contents] [--passphrase=TEXT | --raw=HEX | --key=HEX] IMAGE...

Prints a line of JSON for each image. It shares no code with the core: where
the two disagree, one of them or the specification is wrong. Sections named
below are those of docs/format.md. Sealed stores want Debian's packages
python3-cryptography, and python3-argon2 for passphrases.
"""

import argparse
import hashlib
import hmac
import json
import os
import struct
import sys
import zlib
from dataclasses import dataclass
from functools import cached_property

import aead
import keyslots
from keyslots import Credential, derive

BLOCK = 4096
SECTOR = 512
HEADER = struct.Struct('<8sII16sQQQQQQQII16s32s80x1024s32s')
MEMBER = struct.Struct('<QQ')
SUPERBLOCK = struct.Struct('<IIQQQ16sQIIQQQ32s256s60s4x32s32s8x8192s')
KEYED, HEAD = 440, 472      # what the keyed check, and the head digest, is of
DIRECTORY = struct.Struct('<II16sQQQI4x32sQI12x16s')
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


def has_possible_lengths(version, slot_bytes, seal):
    """Checks a header, or an entry in the directory; @seal is the flag that it needs."""
    if (version.raw_bytes > slot_bytes - 2 * HEADER.size
            or version.metadata_bytes > min(MAX_METADATA, version.raw_bytes)):
        return False
    if version.flags == DELETED | seal:
        return version.raw_bytes == version.stored_bytes == 0
    if version.flags == PACKED | seal:
        return version.stored_bytes < version.raw_bytes
    return version.flags == seal and version.stored_bytes == version.raw_bytes


class Guard:
    """Tells whether a version was written by a plain store."""
    flag = 0
    commitment = bytes(32)
    conversion = None       # while the store is converted

    def __init__(self, seed):
        self.seed = seed

    def check_directory(self, payload, head):
        """Section 9.4"""
        if self.conversion:
            demand(head.flags & CLEAN and self.conversion.voucher(payload) == head.voucher,
                   'voucher of the directory')

    def census(self, header):
        """Section 6"""
        return header.census

    def accepts(self, slot, digest):
        """Whether it is the version of which the directory has this digest."""
        return version_digest(slot) == digest

    def open(self, header, stored, place):
        """The payload, possibly packed, or None."""
        return stored if hashlib.sha256(stored).digest() == header.digest else None


class Seal(Guard):
    """Section 9: the same for a sealed store."""
    flag = SEALED

    def __init__(self, key, uuid):
        super().__init__(derive(key, 'check', uuid))
        self.key = derive(key, 'payload', uuid)
        self.mask = derive(key, 'census mask', uuid)
        self.commitment = derive(key, 'commitment', uuid)
        self.uuid = uuid

    def census(self, header):
        return self.masked(header, header.census)

    def masked(self, header, census):
        """The same mask hides a census and shows it again."""
        mask = hmac.new(self.mask, header.raw[16:48] + header.digest, 'sha256').digest()
        return bytes(a ^ b for a, b in zip(census, mask))

    def associated_data(self, header, place):
        return self.bound(header, place, self.census(header))

    def bound(self, header, place, census):
        bound = bytearray(header.raw[:CHECKED])
        bound[96:112] = census
        unused = min(224 + MEMBER.size * header.member_count, CHECKED)
        for start, end in ((64, 72), (92, 96), (112, 224), (unused, CHECKED)):
            bound[start:end] = bytes(end - start)
        return self.uuid + place + bytes(bound)

    def open(self, header, stored, place):
        tag, nonce = header.digest[:16], header.digest[16:28]
        return aead.unseal(self.key, nonce, tag, stored, self.associated_data(header, place))


@dataclass
class Conversion:
    """Section 9.4: the values that the key in the key slots vouches for."""
    key: bytes
    uuid: bytes

    def voucher(self, payload):
        bound = payload[:112] + bytes(16) + payload[128:]
        return hmac.new(derive(self.key, 'voucher', self.uuid), bound, 'sha256').digest()[:16]


def version_digest(slot):
    bound = bytearray(slot.header.raw[:CHECKED])
    bound[96:112] = slot.guard.census(slot.header)
    unused = min(224 + MEMBER.size * slot.header.member_count, CHECKED)
    for start, end in ((92, 96), (144, 224), (unused, CHECKED)):
        bound[start:end] = bytes(end - start)
    payload = slot.payload if slot.header.flags & SEALED and slot.header.stored_bytes else b''
    return hashlib.sha256(bound + payload).digest()


class Slot:
    """The place of one version, and the header and trailers found in it."""

    def __init__(self, medium, guard, place, blob_id, offset, size):
        self.medium = medium
        self.guard = guard
        self.place = place      # the place that a sealed payload is bound to
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
        if hmac.new(self.guard.seed, raw[:CHECKED], 'sha256').digest() != header.check:
            return None
        return header if self.allows(header) else None

    def allows(self, header):
        return (header.id == self.id and header.offset == self.offset
                and header.member_count <= MAX_MEMBERS
                and has_possible_lengths(header, self.size, self.guard.flag))

    def trailers(self):
        for end in range(2 * BLOCK, self.size + 1, BLOCK):
            trailer = self.header_at(end - HEADER.size)
            if trailer and trailer.image_bytes == end:
                yield trailer

    def stored_payload(self):
        return self.medium.read(self.offset + HEADER.size, self.header.stored_bytes)

    @cached_property
    def payload(self):
        """The payload, unsealed, possibly packed, or None."""
        return self.guard.open(self.header, self.stored_payload(), self.place)

    @property
    def valid(self):
        return self.complete and self.payload is not None


def newest(slots):
    """Section 5: the first of those with the highest sequence, or None."""
    return max(slots, key=lambda slot: slot.header.sequence, default=None)


def newest_valid(slots):
    return newest(slot for slot in slots if slot.valid)


# Section 5: superblock and directory

@dataclass
class Superblock:
    raw: bytes
    version: int
    state: int
    incompatible: int
    read_only_compatible: int
    compatible: int
    uuid: bytes
    generation: int
    block_bytes: int
    conversion: int
    directory_offset: int
    directory_bytes: int
    data_offset: int
    seed: bytes
    key_slot_digests: bytes
    previous_key: bytes
    keyed_check: bytes
    head_digest: bytes
    key_slot_area: bytes

    @property
    def sealed(self):
        return bool(self.incompatible & SEALED_FEATURE)

    @property
    def converting(self):
        return self.state in (CONVERTING, WIPING)

    @cached_property
    def whole_key_slots(self):
        """The key slots that are not damaged, by number."""
        places = {number: places_of_key_slot(number) for number in range(keyslots.KEY_SLOTS)}
        return {number: self.raw[at] for number, (digest, at) in places.items()
                if key_slot_digest(self.raw[at]) == self.raw[digest]}


@dataclass
class Directory:
    epoch: int
    flags: int
    epoch_id: bytes
    generation: int
    capacity: int
    next_id: int
    count: int
    commitment: bytes
    sealings: int
    past_count: int
    voucher: bytes
    past: list = ()


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
    digest: bytes

    @property
    def place(self):
        return PLACE.pack(self.kind, self.owner.encode(), self.name.encode())


@dataclass
class Past:
    epoch: int
    counter: int
    epoch_id: bytes


def superblock_slots(medium):
    return [Slot(medium, Guard(bytes(32)), bytes(PLACE.size), SUPERBLOCK_ID, n * SUPERBLOCK_SLOT,
                 SUPERBLOCK_SLOT) for n in range(2)]


def read_superblock(medium):
    """The superblock, with every check but the keyed one."""
    if medium.is_zero_from(0):
        raise Blank
    demand(medium.size >= DIRECTORY_OFFSET, 'too small for a store')
    slots = superblock_slots(medium)
    slot = newest_valid(slots)
    if slot:
        payload = slot.payload
    elif slot := newest(filter(is_salvageable, slots)):
        payload = mend(slot, slots)
    elif holds_interrupted_marker(medium):
        raise Blank
    else:
        raise Refused('no superblock')
    demand(slot.header.flags == 0, 'flags of the superblock')
    fields = SUPERBLOCK.unpack(payload[:SUPERBLOCK.size].ljust(SUPERBLOCK.size, b'\0'))
    superblock = Superblock(payload, *fields)
    demand(superblock.version == 1, 'unknown version')
    demand(not superblock.incompatible & ~SEALED_FEATURE, 'unknown incompatible features')
    demand(len(payload) == SUPERBLOCK.size, 'length of the superblock')
    demand(superblock.generation == slot.header.sequence, 'generation of the superblock')
    check_superblock(superblock)
    if superblock.state == FORMATTING:
        raise Blank
    check_places(superblock, medium.size)
    return superblock


def check_superblock(superblock):
    demand(superblock.block_bytes == BLOCK, 'block size')
    demand(superblock.generation <= LAST_NUMBER, 'generation beyond the last')
    demand(superblock.state in STATES, 'state of the superblock')
    if superblock.state == CONVERTING:
        demand(superblock.conversion in CONVERSIONS, 'unknown conversion')
        demand(superblock.sealed, 'conversion of a store that is not sealed')
    elif superblock.state != FORMATTING:
        demand(superblock.conversion == 0, 'conversion in another state')


def check_places(superblock, medium_bytes):
    size = superblock.directory_bytes
    demand(superblock.directory_offset == DIRECTORY_OFFSET, 'offset of the directory')
    demand(2 * BLOCK <= size <= MAX_CONTENT and size % BLOCK == 0, 'size of the directory')
    demand(superblock.data_offset == DIRECTORY_OFFSET + 2 * size, 'offset of the blobs')
    demand(superblock.data_offset <= medium_bytes, 'directory beyond the end of the medium')


def is_salvageable(slot):
    """In state creating the head digest is zero, which is never right here."""
    if not slot.complete or slot.header.stored_bytes != SUPERBLOCK.size:
        return False
    payload = slot.stored_payload()
    return hashlib.sha256(payload[:HEAD]).digest() == payload[HEAD:HEAD + 32]


def mend(slot, slots):
    """Takes key slots from the other slot of the pair; returns the payload."""
    other, = (each for each in slots if each is not slot)
    there = other.medium.read(other.offset + HEADER.size, SUPERBLOCK.size)
    payload = bytearray(slot.stored_payload())
    for number in range(keyslots.KEY_SLOTS):
        digest, at = places_of_key_slot(number)
        if (key_slot_digest(payload[at]) != payload[digest]
                and key_slot_digest(there[at]) == payload[digest]):
            payload[at] = there[at]
    return bytes(payload)


def places_of_key_slot(number):
    """The places of a key slot's digest and of the slot in the payload of the superblock."""
    return (slice(120 + 32 * number, 152 + 32 * number),
            slice(512 + 1024 * number, 1536 + 1024 * number))


def key_slot_digest(raw):
    return hashlib.sha256(raw).digest() if any(raw) else bytes(32)


def marker():
    """Section 8: the first write of a format, the same for every store."""
    payload = SUPERBLOCK.pack(1, FORMATTING, 0, 0, 0, bytes(16), 1, BLOCK, *bytes(4),
                              *[b''] * 6)
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


def find_guards(superblock, credential):
    """Section 9.4: the guards of the store; in a conversion the old guard is first."""
    plain = Guard(superblock.seed)
    if not superblock.sealed:
        return [plain]
    key = find_data_key(superblock, credential)
    seal = Seal(key, superblock.uuid)
    if superblock.state != CONVERTING:
        return [seal]
    guards = ([Seal(find_previous_key(superblock, key), superblock.uuid), seal]
              if superblock.conversion == REKEYING else
              [plain, seal] if superblock.conversion == SEALING else [seal, plain])
    for guard in guards:
        guard.conversion = Conversion(key, superblock.uuid)
    return guards


def find_data_key(superblock, credential):
    if credential is None:
        raise Locked
    key = credential.key or keyslots.unlock(superblock.whole_key_slots, superblock.uuid,
                                            credential.secret)
    demand(key, 'no key slot opens')
    check = hmac.new(derive(key, 'superblock', superblock.uuid), superblock.raw[:KEYED], 'sha256')
    demand(check.digest() == superblock.keyed_check, 'keyed check of the superblock')
    return key


def find_previous_key(superblock, key):
    wrapped = superblock.previous_key
    previous = aead.unseal(derive(key, 'previous key', superblock.uuid), wrapped[:12],
                           wrapped[12:28], wrapped[28:], superblock.uuid)
    demand(previous, 'previous data key')
    return previous


def directory_slots(medium, superblock, guard):
    size = superblock.directory_bytes
    return [Slot(medium, guard, bytes(PLACE.size), DIRECTORY_ID, DIRECTORY_OFFSET + n * size, size)
            for n in range(2)]


def read_directory(medium, superblock, guards):
    """Returns the guard of the directory, the head and the checked entries."""
    slot = newest_valid(slot for guard in guards
                        for slot in directory_slots(medium, superblock, guard))
    demand(slot is not None, 'no directory')
    demand(slot.header.flags == slot.guard.flag, 'flags of the directory')
    payload = slot.payload
    demand(len(payload) >= DIRECTORY.size, 'length of the directory')
    head = Directory(*DIRECTORY.unpack_from(payload))
    slot.guard.check_directory(payload, head)
    demand(head.epoch >= 1 and slot.header.sequence == head.epoch << 32
           and slot.header.epoch_id == head.epoch_id, 'epoch of the directory')
    demand(head.generation <= superblock.generation, 'directory newer than the superblock')
    demand(head.capacity % BLOCK == 0 and head.capacity >= superblock.data_offset, 'capacity')
    demand(FIRST_BLOB_ID <= head.next_id < (1 << 64) - 1, 'next id')
    demand(head.sealings <= LAST_NUMBER, 'sealings')
    demand(head.commitment == slot.guard.commitment or not slot.guard.flag, 'key commitment')
    end = DIRECTORY.size + head.count * ENTRY.size
    demand(len(payload) == end + head.past_count * PAST.size, 'length of the directory')
    entries = [Entry(*fields) for fields in ENTRY.iter_unpack(payload[DIRECTORY.size:end])]
    for entry in entries:
        check_entry(head, entry, superblock.data_offset, medium.size, slot.guard)
    check_distinct(entries)
    head.past = [Past(*fields) for fields in PAST.iter_unpack(payload[end:])]
    check_past(head)
    return slot.guard, head, entries


def check_past(head):
    demand(len(head.past) <= MAX_PAST, 'number of past epochs')
    epochs = [0] + [each.epoch for each in head.past] + [head.epoch]
    demand(all(a < b for a, b in zip(epochs, epochs[1:])), 'order of past epochs')


def check_entry(head, entry, data_offset, medium_bytes, guard):
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
                        entry.slot, *entry.digest)), 'version of a blob that has none')
        return
    demand(epoch_of(entry.sequence) < head.epoch, 'sequence of a blob')
    demand(has_possible_lengths(entry, entry.slot_bytes, guard.flag), 'recorded version of a blob')


def check_distinct(entries):
    demand(all(a.id < b.id for a, b in zip(entries, entries[1:])), 'order of ids')
    demand(len({(entry.owner, entry.name) for entry in entries}) == len(entries),
           'two blobs of one name')
    by_offset = sorted(entries, key=lambda entry: entry.offset)
    demand(all(a.offset + 2 * a.slot_bytes <= b.offset
               for a, b in zip(by_offset, by_offset[1:])), 'overlapping extents')


# Section 7: the choice of the current version

class BlobSlot(Slot):
    """A slot of a blob in a store that was not closed cleanly."""

    def __init__(self, medium, guard, entry, number, epoch_id):
        super().__init__(medium, guard, entry.place, entry.id,
                         entry.offset + number * entry.slot_bytes, entry.slot_bytes)
        self.epoch_id = epoch_id
        self.recorded = entry.sequence if number == entry.slot else 0
        # The digest of a version of an earlier epoch is verified when the blob is read.
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


def decide_clean(medium, guard, entries):
    """Step 3."""
    blobs = []
    for entry in entries:
        slot = Slot(medium, guard, entry.place, entry.id,
                    entry.offset + entry.slot * entry.slot_bytes, entry.slot_bytes)
        blob = Blob(entry, [slot], sequence=entry.sequence)
        if entry.sequence and not entry.flags & DELETED:
            blob.damaged = not (slot.valid and is_as_recorded(entry, slot.header))
            blob.current = slot
        blobs.append(blob)
    return blobs


def looks_recorded(slot, entry):
    """Step 5: a sealed payload is looked at when it is read."""
    header = slot.held
    return (is_as_recorded(entry, header) and header.stored_bytes == entry.stored_bytes
            and (header.flags & SEALED and header.stored_bytes
                 or slot.guard.accepts(slot, entry.digest)))


def is_as_recorded(entry, header):
    return ((header.sequence, header.flags, header.raw_bytes, header.metadata_bytes) ==
            (entry.sequence, entry.flags, entry.raw_bytes, entry.metadata_bytes))


def decide_by_evidence(medium, guard, head, entries):
    """Steps 4 to 7."""
    blobs = [Blob(entry, [BlobSlot(medium, guard, entry, n, head.epoch_id)
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
        last = max(present, key=lambda slot: slot.sequence).held
        check_census(blobs, guard, last, head.epoch << 32, watermark)
    return blobs


def decide_blob(blob, watermark, written):
    """Steps 5 and 6."""
    recorded = blob.entry.sequence

    def is_acknowledged(sequence):
        return sequence == recorded or sequence <= watermark

    counting = [slot for slot in blob.slots if slot.is_valid and slot.sequence and
                (is_acknowledged(slot.sequence) or written.issuperset(slot.held.members)) and
                (slot.sequence != recorded or looks_recorded(slot, blob.entry))]
    blob.current = max(counting, key=lambda slot: slot.sequence, default=None)
    current = blob.current.sequence if blob.current else 0
    acknowledged = [slot.sequence for slot in blob.slots
                    if not slot.is_valid and is_acknowledged(slot.sequence)] + [recorded]
    blob.sequence = max(current, *acknowledged)
    blob.damaged = blob.sequence > current


def census_part(seed, blob_id, sequence):
    """Section 6: the hash as an integer, which is easy to XOR."""
    if not sequence:
        return 0
    digest = hashlib.sha256(seed + struct.pack('<QQ', blob_id, sequence)).digest()
    return int.from_bytes(digest[:16], 'little')


def check_census(blobs, guard, last, base, watermark):
    """Step 7."""
    seed = guard.seed
    commit = set(last.members or [(last.id, last.sequence)])
    missing = int.from_bytes(guard.census(last), 'little')
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


# The output for a store

def read_payload(slot):
    """Section 3.2: returns metadata strings and content."""
    header = slot.header
    payload = slot.payload
    if payload is None:
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


def is_of_this_branch(blob):
    """Whether a version that was recorded is the one that the directory has a digest of."""
    slot = blob.current
    return (slot.header.sequence != blob.entry.sequence
            or slot.guard.accepts(slot, blob.entry.digest))


def describe(blob, contents):
    said = {'owner': blob.entry.owner, 'name': blob.entry.name, 'kind': KINDS[blob.entry.kind],
            'state': 'absent', 'sequence': blob.sequence}
    if blob.damaged:
        return {**said, 'state': 'damaged'}
    if blob.current is None or blob.current.header.flags & DELETED:
        return said
    try:
        metadata, content = read_payload(blob.current)
        if not is_of_this_branch(blob):
            raise Damaged
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
        """The bytes; fewer, or none, at the end of the medium."""
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


def describe_key_slots(superblock):
    def describe_one(number):
        raw = superblock.whole_key_slots.get(number)
        if raw is None:
            return 'damaged'
        slot = keyslots.take_apart(raw)
        return keyslots.TYPES[slot.type] if slot else 'bad'

    return [describe_one(number) for number in range(keyslots.KEY_SLOTS)]


def read_store(file, contents=False, credential=None):
    """Returns the content of an image, fit for JSON; raises Refused."""
    medium = Medium(file)
    try:
        superblock = read_superblock(medium)
        said = {'uuid': superblock.uuid.hex()}
        if superblock.sealed:
            said['key slots'] = describe_key_slots(superblock)
        guards = find_guards(superblock, credential)
    except Blank:
        return {'store': 'blank'}
    except Locked:
        return {'store': 'locked', **said}
    guard, head, entries = read_directory(medium, superblock, guards)
    if head.flags & CLEAN:
        blobs = decide_clean(medium, guard, entries)
    else:
        blobs = decide_by_evidence(medium, guard, head, entries)
    return {'store': 'ready', **said, 'converting': superblock.converting,
            'epoch': head.epoch_id.hex(),
            'blobs': [describe(blob, contents) for blob in blobs]}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--contents', action='store_true', help='print them, in hexadecimal')
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument('--passphrase', type=os.fsencode, metavar='TEXT', dest='secret',
                      help='of a sealed store')
    keys.add_argument('--raw', type=bytes.fromhex, metavar='HEX', dest='secret',
                      help='secret of 32 bytes')
    keys.add_argument('--key', type=bytes.fromhex, metavar='HEX', help='the data key itself')
    parser.add_argument('image', nargs='+')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    credential = None
    if arguments.key or arguments.secret:
        credential = Credential(arguments.key, arguments.secret)
    status = 0
    for image in arguments.image:
        with open(image, 'rb') as file:
            try:
                store = read_store(file, arguments.contents, credential)
            except Refused as refusal:
                store = {'store': 'refused'}
                print(f'{image}: {refusal}', file=sys.stderr)
                status = 1
        print(json.dumps(store))
    return status


if __name__ == '__main__':
    sys.exit(main())
