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
import json
import os
import sys
import zlib

import keyslots
# Besides what is used here, these are the names that the tests look for in this module.
from choice import BlobSlot, decide_blob, decide_by_evidence, decide_clean
from heads import (
    directory_slots, find_data_key, find_guards, marker, read_directory, read_superblock)
from keyslots import Credential
from slots import Conversion, Guard, Header, Seal, Slot, newest_valid, version_digest
from values import (
    Blank, CLEAN, CONVERTING, DELETED, Damaged, FORMATTING, HEADER, KINDS, Locked, PACKED, PLACE,
    READY, Refused, WIPING, epoch_of)


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
