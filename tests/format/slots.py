# SPDX-License-Identifier: GPL-2.0-or-later
"""Section 3 of docs/format.md: slots, and what guards them."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import cached_property

import aead
from keyslots import derive
from values import (
    BLOCK, CHECKED, CLEAN, DELETED, HEADER, MAGIC, MAX_MEMBERS, MAX_METADATA, MEMBER, PACKED,
    SEALED, demand, round_up)


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
