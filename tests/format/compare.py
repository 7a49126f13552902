# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers that the format tests share: they ask both readers, and forge images.

meson.build sets FORMAT_PROGRAMS to the place of dump and of the makers of images. SEED= chooses
tears, damage and forgeries; EFFORT= multiplies the forgeries.
"""

import functools
import hashlib
import hmac
import io
import json
import os
import random
import subprocess
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import aead
import reader
from keyslots import RAW_SECRET_BYTES, derive

PROGRAMS = Path(os.environ['FORMAT_PROGRAMS'])
SEED = int(os.environ.get('SEED', 1))
EFFORT = int(os.environ.get('EFFORT', 1))

IMAGES_AT_ONCE = 500        # on the command line of dump
STRIDE = 37
# AddressSanitizer would keep the memory that each image has freed, and touch new memory.
ENVIRONMENT = {**os.environ,
               'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=16'}
BLOCK = 4096
ZERO_BLOCK = bytes(BLOCK)

# Offset and length of the fields of each structure
HEADER_FIELDS = [(0, 8), (8, 4), (12, 4), (16, 16), (32, 8), (40, 8), (48, 8), (56, 8), (64, 8),
                 (72, 8), (80, 8), (88, 4), (92, 4), (96, 16), (112, 32), (140, 4), (224, 8),
                 (232, 8), (240, 8), (248, 8)]
PAYLOAD_FIELDS = [(1280, 4), (1288, 8)]
SUPERBLOCK_FIELDS = [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 16), (48, 8), (56, 4), (60, 4),
                     (64, 8), (72, 8), (80, 8), (88, 32), (120, 32), (216, 32), (376, 12),
                     (404, 32), (436, 12), (448, 32), (480, 32), (504, 8), (512, 4), (3588, 4),
                     (3644, 16), (8448, 256)]
DIRECTORY_FIELDS = [(0, 4), (4, 4), (8, 16), (24, 8), (32, 8), (40, 8), (48, 4), (52, 4), (56, 32),
                    (88, 8), (96, 4), (100, 12), (112, 16)]
ENTRY_FIELDS = [(0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8), (56, 4), (60, 1),
                (61, 1), (62, 1), (63, 1), (64, 1), (66, 1), (127, 1), (128, 1), (130, 1), (191, 1),
                (192, 8), (223, 1)]
PAST_FIELDS = [(0, 4), (4, 4), (8, 16)]
SUPERBLOCK_KEY = bytes(32)
NO_PLACE = bytes(reader.PLACE.size)


def options(credential):
    if credential is None:
        return []
    if credential.key:
        return [f'--key={credential.key.hex()}']
    if len(credential.secret) == RAW_SECRET_BYTES:
        return [f'--raw={credential.secret.hex()}']
    return [f'--passphrase={os.fsdecode(credential.secret)}']


def ask_core(paths, credential=None):
    """The lines that the core prints about images."""
    lines = []
    for n in range(0, len(paths), IMAGES_AT_ONCE):
        dump = subprocess.run([PROGRAMS / 'dump', '--contents', *options(credential),
                               *paths[n:n + IMAGES_AT_ONCE]],
                              env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if dump.returncode:
            raise RuntimeError(f'dump: status {dump.returncode}: {dump.stderr}')
        lines += dump.stdout.splitlines()
    return lines


def ask_reader(file, credential=None):
    try:
        return json.dumps(reader.read_store(file, contents=True, credential=credential))
    except reader.Refused:
        return '{"store": "refused"}'


def count_states(lines):
    counts = Counter()
    for store in map(json.loads, lines):
        counts[store['store']] += 1
        counts['converting'] += store.get('converting', False)
        counts.update(blob['state'] for blob in store.get('blobs', []))
        counts['with metadata'] += any(blob.get('metadata') for blob in store.get('blobs', []))
    return counts


def inside(start, fields):
    return [(start + offset, size) for offset, size in fields]


def temporary_directory(case):
    directory = tempfile.TemporaryDirectory(prefix='blobstore-format-')
    case.addCleanup(directory.cleanup)
    return Path(directory.name)


def write_sparse(path, image):
    with open(path, 'wb') as file:
        file.truncate(len(image))
        for at in range(0, len(image), BLOCK):
            block = image[at:at + BLOCK]
            if block != ZERO_BLOCK:
                file.seek(at)
                file.write(block)


class Images:
    """The images that a program has made, and the core's output for them."""

    def __init__(self, program, credential=None, apart=None):
        """The core is not asked about images with @apart in their names."""
        self.directory = tempfile.TemporaryDirectory(prefix='blobstore-format-')
        unittest.addModuleCleanup(self.directory.cleanup)
        self.credential = credential
        subprocess.run([PROGRAMS / program, f'--seed={SEED}', self.directory.name], check=True)
        paths = sorted(Path(self.directory.name).iterdir())
        self.apart = [path for path in paths if apart and apart in path.name]
        self.paths = [path for path in paths if path not in self.apart]

    @functools.cached_property
    def said(self):
        return ask_core(self.paths, self.credential)

    def named(self, part):
        return [path for path in self.paths if part in path.name]

    def disagreements(self):
        """Images with the core's output. Neighbours are much alike, so they are spread."""
        said = list(zip(self.paths, self.said))
        for path, by_core in (each for n in range(STRIDE) for each in said[n::STRIDE]):
            with open(path, 'rb') as file:
                by_reader = ask_reader(file, self.credential)
            if by_reader != by_core:
                yield path.name, by_reader, by_core


class AgreementCase(unittest.TestCase):
    credential = None           # the default credential for opening images

    def setUp(self):
        self.random = random.Random(SEED)
        self.directory = temporary_directory(self)
        self.count = 0

    def demand_agreement(self, images, *credential):
        """Write images of (name, bytes); returns the core's output for them."""
        credential, = credential or [self.credential]
        paths = []
        for _, image in images:
            paths.append(self.directory / f'{self.count:05}')
            write_sparse(paths[-1], image)
            self.count += 1
        said = ask_core(paths, credential)
        self.assertEqual(len(said), len(images))
        for (name, image), by_core in zip(images, said):
            with self.subTest(image=name, seed=SEED):
                self.assertEqual(ask_reader(io.BytesIO(image), credential), by_core)
        return said

    def demand_agreement_on(self, paths, credential):
        """Read files with both readers; returns the core's output."""
        said = ask_core(paths, credential)
        self.assertEqual(len(said), len(paths))
        for path, by_core in zip(paths, said):
            with self.subTest(image=path.name, seed=SEED), open(path, 'rb') as file:
                self.assertEqual(ask_reader(file, credential), by_core)
        return said


class Forger:
    """Changes an image and makes its check values and digests right again."""

    def __init__(self, generator, original, credential=None):
        self.random = generator
        self.image = bytearray(original)
        self.medium = reader.Medium(io.BytesIO(original))
        self.superblock = reader.read_superblock(self.medium)
        self.guards = reader.find_guards(self.superblock, credential)
        self.guard, self.head, self.entries = reader.read_directory(self.medium, self.superblock,
                                                                    self.guards)
        self.data_key = (reader.find_data_key(self.superblock, credential)
                         if self.superblock.sealed else None)

    def directory_slots(self):
        return reader.directory_slots(self.medium, self.superblock, self.guard)

    def blob_slots(self):
        return [reader.BlobSlot(self.medium, self.guard, entry, n, self.head.epoch_id)
                for entry in self.entries for n in range(2)]

    def probably(self, probability):
        return self.random.random() < probability

    def value_for(self, old):
        """A value of as many bytes that a careless reader may accept."""
        size = len(old)
        limit = 1 << 8 * size
        number = int.from_bytes(old, 'little')
        value = self.random.choice([
            0, 1, 2, 3, 4, 16, 17, 64, 65, 1024, 1025, 4096, 8192, 1 << 26, limit - 1, limit >> 1,
            number + 1, number - 1, number + 4096, number - 4096, number * 2, number // 2,
            number + (1 << 32), number - (1 << 32), number ^ 1 << self.random.randrange(8 * size),
            number ^ 4, self.random.randrange(limit)])
        return (value % limit).to_bytes(size, 'little')

    def change(self, start, fields):
        offset, size = self.random.choice(fields)
        at = start + offset
        self.image[at:at + size] = self.value_for(self.image[at:at + size])

    def put(self, at, size, value):
        self.image[at:at + size] = value.to_bytes(size, 'little')

    def stored_bytes(self, offset):
        return int.from_bytes(self.image[offset + 80:offset + 88], 'little')

    def payload_at(self, offset):
        return slice(offset + 1280, offset + 1280 + self.stored_bytes(offset))

    def header_at(self, offset):
        raw = bytes(self.image[offset:offset + 1280])
        return reader.Header(raw, *reader.HEADER.unpack(raw))

    def open(self, offset, guard, place):
        """Unseal a payload in place, if it is sealed so, and show the census."""
        at = self.payload_at(offset)
        header = self.header_at(offset)
        payload = guard.open(header, bytes(self.image[at]), place)
        if payload is not None:
            self.image[at] = payload
            self.image[offset + 96:offset + 112] = guard.census(header)
        return payload is not None

    def seal(self, offset, guard, place):
        """Make the digest or seal right of a payload that is open and fits into its slot."""
        at = self.payload_at(offset)
        payload = bytes(self.image[at])
        digest = hashlib.sha256(payload).digest()
        if guard.flag:
            nonce = bytes(self.image[offset + 128:offset + 140])
            header = self.header_at(offset)
            associated = guard.bound(header, place, header.census)
            tag, self.image[at] = aead.seal(guard.key, nonce, payload, associated)
            digest = tag + nonce + bytes(self.image[offset + 140:offset + 144])
        self.image[offset + 112:offset + 144] = digest
        if guard.flag:
            header = self.header_at(offset)
            self.image[offset + 96:offset + 112] = guard.masked(header, header.census)

    def check(self, offset, seed, slot_bytes):
        """Make the check of a header right, and the trailer equal."""
        header = self.image[offset:offset + 1248]
        header += hmac.new(seed, header, 'sha256').digest()
        self.image[offset:offset + 1280] = header
        stored = self.stored_bytes(offset)
        if stored <= slot_bytes - 2560:
            end = offset + max(-(-(2560 + stored) // BLOCK) * BLOCK, 2 * BLOCK)
            self.image[end - 1280:end] = header

    def sign(self, offset, guard, place, slot_bytes):
        if self.stored_bytes(offset) <= slot_bytes - 2560:
            self.seal(offset, guard, place)
        self.check(offset, guard.seed, slot_bytes)

    def copy_slot(self, offset, seed, slot_bytes):
        """Copy to slot 1 of the pair; the values that a payload is sealed with do not change."""
        other = offset + slot_bytes
        self.image[other:other + slot_bytes] = self.image[offset:other]
        self.put(other + 64, 8, other)
        self.check(other, seed, slot_bytes)

    def key_slot_digests(self, payload):
        for number in range(8):
            raw = payload[512 + 1024 * number:1536 + 1024 * number]
            digest = hashlib.sha256(raw).digest() if any(raw) else bytes(32)
            payload[120 + 32 * number:152 + 32 * number] = digest

    def sign_superblock(self, digests=True, keyed=True, head=True, both=True, link=True, offset=0):
        """Sign all values that depend on the rest of the payload, or only some."""
        payload = self.image[offset + 1280:offset + 1280 + 8704]
        if link:
            payload[436:448] = self.head.epoch_id[:12]
        if digests:
            self.key_slot_digests(payload)
        if keyed and self.data_key:
            key = derive(self.data_key, 'superblock', bytes(payload[32:48]))
            payload[448:480] = hmac.new(key, payload[:448], 'sha256').digest()
        if head:
            payload[480:512] = hashlib.sha256(payload[:480]).digest()
        self.image[offset + 1280:offset + 1280 + 8704] = payload
        self.sign(offset, reader.Guard(SUPERBLOCK_KEY), NO_PLACE, 16384)
        if both:
            self.copy_slot(offset, SUPERBLOCK_KEY, 16384)
        if link and int.from_bytes(payload[48:56], 'little') == self.head.generation:
            self.name_superblock(payload[480:492])

    def name_superblock(self, digest):
        """The directories name the superblock that has this digest."""
        medium = reader.Medium(io.BytesIO(self.image))
        for guard in self.guards:
            for slot in reader.directory_slots(medium, self.superblock, guard):
                if slot.valid and self.open(slot.offset, guard, NO_PLACE):
                    self.image[slot.offset + 1380:slot.offset + 1392] = digest
                    self.vouch(slot.offset, guard)
                    self.sign(slot.offset, guard, NO_PLACE, self.superblock.directory_bytes)

    def forge_superblock(self):
        self.change(0, HEADER_FIELDS + 2 * inside(1280, SUPERBLOCK_FIELDS))
        self.sign_superblock(self.probably(0.5), self.probably(0.8), self.probably(0.8),
                             both=self.probably(0.8), link=self.probably(0.8))

    def forge_directory(self, fields):
        """Fields are relative to the slot. In a conversion either guard may be the slot's."""
        size = self.superblock.directory_bytes
        guard = next((guard for guard in self.guards if self.open(32768, guard, NO_PLACE)),
                     self.guard)
        self.change(32768, fields)
        if self.probably(0.8):
            self.vouch(32768, guard)
        self.sign(32768, guard, NO_PLACE, size)
        if self.probably(0.8):              # else the other copy may win
            self.copy_slot(32768, guard.seed, size)

    def vouch(self, offset, guard):
        """Change a directory that is open."""
        at = self.payload_at(offset)
        if guard.conversion:
            payload = bytes(self.image[at])
            self.image[at] = payload[:112] + guard.conversion.voucher(payload) + payload[128:]

    def forge_head(self):
        self.forge_directory(HEADER_FIELDS + inside(1280, DIRECTORY_FIELDS))

    def forge_entry(self):
        at = 1280 + 128 + 224 * self.random.randrange(len(self.entries))
        self.forge_directory(inside(at, ENTRY_FIELDS))

    def forge_past(self):
        first = 1280 + 128 + 224 * len(self.entries)
        at = first + 24 * self.random.randrange(max(self.head.past_count, 1))
        self.forge_directory(inside(at, PAST_FIELDS))

    def forge_blob(self):
        entry = self.random.choice(self.entries)
        offset = entry.offset + self.random.randrange(2) * entry.slot_bytes
        if self.image[offset:offset + 8] != b'QEMUBLOB':
            offset = entry.offset + entry.slot * entry.slot_bytes
        if self.probably(0.2):              # a trailer of another length
            whole = self.image[offset:offset + entry.slot_bytes]
            self.change(offset, [(40, 8), (56, 8)])
            lengths = 2 * self.random.randrange(entry.slot_bytes - 2559).to_bytes(8, 'little')
            self.image[offset + 72:offset + 88] = lengths
            self.check(offset, self.guard.seed, entry.slot_bytes)
            self.image[offset:offset + BLOCK] = whole[:BLOCK]
        keep = self.probably(0.3)           # leave digest or seal as they were
        if not keep:
            self.open(offset, self.guard, entry.place)
        self.change(offset, HEADER_FIELDS + PAYLOAD_FIELDS)
        if keep:
            self.check(offset, self.guard.seed, entry.slot_bytes)
        else:
            self.sign(offset, self.guard, entry.place, entry.slot_bytes)
        if self.probably(0.8):
            self.record(entry, offset)

    def record(self, entry, offset):
        """The directory gets the digest of what is in the slot, if that is the recorded version."""
        number = (offset - entry.offset) // entry.slot_bytes
        slot = reader.Slot(reader.Medium(io.BytesIO(self.image)), self.guard, entry.place, entry.id,
                           offset, entry.slot_bytes)
        if number != entry.slot or not slot.valid or slot.header.sequence != entry.sequence:
            return

        def change(at):
            start = at + 1280 + 128 + 224 * self.entries.index(entry) + 192
            self.image[start:start + 32] = reader.version_digest(slot)

        self.rewrite_directory(change)

    def rewrite_directory(self, change):
        size = self.superblock.directory_bytes
        if self.open(32768, self.guard, NO_PLACE):
            change(32768)
            self.vouch(32768, self.guard)
            self.sign(32768, self.guard, NO_PLACE, size)
            self.copy_slot(32768, self.guard.seed, size)

    def forge(self):
        """Changes something; returns what."""
        what = self.random.choice(['superblock', 'head', 'entry', 'entry', 'past', 'blob', 'blob',
                                   'blob', 'blob'])
        getattr(self, f'forge_{what}')()
        return what


def forge_many(generator, originals, credential, count):
    """Forge images of (name, bytes); returns as many."""
    images = []
    for n in range(count):
        name, original = generator.choice(originals)
        forger = Forger(generator, original, credential)
        what = forger.forge()
        images.append((f'{n}: {what} of {name}', bytes(forger.image)))
    return images
