# SPDX-License-Identifier: GPL-2.0-or-later
"""Section 5 of docs/format.md: superblock and directory."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import cached_property

import aead
import keyslots
from keyslots import derive
from slots import Conversion, Guard, Seal, Slot, has_possible_lengths, newest, newest_valid
from values import (
    BLOCK, Blank, CHECKED, CONVERSIONS, CONVERTING, DIRECTORY, DIRECTORY_ID, DIRECTORY_OFFSET,
    ENTRY, FIRST_BLOB_ID, FORMATTING, HEAD, HEADER, KEYED, KINDS, LAST_NUMBER, LINK, Locked, MAGIC,
    MAX_CONTENT, MAX_METADATA, MAX_PAST, PAST, PLACE, REKEYING, Refused, SEALED_FEATURE, SEALING,
    SECTOR, STATES, SUPERBLOCK, SUPERBLOCK_ID, SUPERBLOCK_SLOT, WIPING, demand, epoch_of,
    round_up)


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
    epoch_id: bytes
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
    superblock_digest: bytes
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
                              *[b''] * 7)
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
    rivals = [each for each in directory_slots(medium, superblock, slot.guard) if each.valid]
    demand(len({each.header.epoch_id for each in rivals
                if each.header.sequence == slot.header.sequence}) == 1, 'two of one epoch')
    demand(slot.header.flags == slot.guard.flag, 'flags of the directory')
    payload = slot.payload
    demand(len(payload) >= DIRECTORY.size, 'length of the directory')
    head = Directory(*DIRECTORY.unpack_from(payload))
    slot.guard.check_directory(payload, head)
    demand(head.epoch >= 1 and slot.header.sequence == head.epoch << 32
           and slot.header.epoch_id == head.epoch_id, 'epoch of the directory')
    demand(head.generation <= superblock.generation, 'directory newer than the superblock')
    check_link(superblock, head)
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


def check_link(superblock, head):
    """Section 5.3: superblock and directory are of one branch of the store."""
    if head.generation == superblock.generation:
        demand(head.superblock_digest == superblock.head_digest[:LINK],
               'another superblock of this generation')
    else:
        demand(superblock.epoch_id == head.epoch_id[:LINK], 'superblock of another epoch')


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
