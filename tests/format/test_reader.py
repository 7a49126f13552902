# SPDX-License-Identifier: GPL-2.0-or-later
"""reader.py, written from docs/format.md alone, says of every image what the core says.

meson.build tells in FORMAT_PROGRAMS where the programs dump and images are.
SEED= chooses tears, damage and forgeries; EFFORT= multiplies the forgeries.
"""

import hashlib
import hmac
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

import reader

PROGRAMS = Path(os.environ['FORMAT_PROGRAMS'])
SEED = int(os.environ.get('SEED', 1))
EFFORT = int(os.environ.get('EFFORT', 1))

IMAGES_AT_ONCE = 500        # on the command line of dump
FORGERIES = 1500

# Offset and length of the fields of each structure
HEADER_FIELDS = [(0, 8), (8, 4), (12, 4), (16, 16), (32, 8), (40, 8), (48, 8), (56, 8), (64, 8),
                 (72, 8), (80, 8), (88, 4), (92, 4), (96, 16), (112, 32), (224, 8), (232, 8),
                 (240, 8), (248, 8)]
PAYLOAD_FIELDS = [(1280, 4), (1288, 8)]
SUPERBLOCK_FIELDS = [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 16), (48, 8), (56, 4), (64, 8),
                     (72, 8), (80, 8), (88, 32), (512, 1024)]
DIRECTORY_FIELDS = [(0, 4), (4, 4), (8, 16), (24, 8), (32, 8), (40, 8), (48, 4), (56, 32)]
ENTRY_FIELDS = [(0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8), (56, 4), (60, 1),
                (61, 1), (62, 1), (63, 1), (64, 1), (66, 1), (127, 1), (128, 1), (130, 1), (191, 1)]


def ask_core(paths):
    """The lines that the core prints about images."""
    lines = []
    for n in range(0, len(paths), IMAGES_AT_ONCE):
        dump = subprocess.run([PROGRAMS / 'dump', '--contents', *paths[n:n + IMAGES_AT_ONCE]],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if dump.returncode:
            raise RuntimeError(f'dump: status {dump.returncode}: {dump.stderr}')
        lines += dump.stdout.splitlines()
    return lines


def ask_reader(file):
    try:
        return json.dumps(reader.read_store(file, contents=True))
    except reader.Refused:
        return '{"store": "refused"}'


def count_states(lines):
    counts = Counter()
    for store in map(json.loads, lines):
        counts[store['store']] += 1
        counts.update(blob['state'] for blob in store.get('blobs', []))
        counts['with metadata'] += any(blob.get('metadata') for blob in store.get('blobs', []))
    return counts


def inside(start, fields):
    return [(start + offset, size) for offset, size in fields]


def temporary_directory(case):
    directory = tempfile.TemporaryDirectory(prefix='blobstore-format-')
    case.addCleanup(directory.cleanup)
    return Path(directory.name)


class Crashed:
    """What a disk may hold after a power failure or damage: the work of images.c"""
    directory = None
    paths = []
    said = []               # by the core


def setUpModule():
    Crashed.directory = tempfile.TemporaryDirectory(prefix='blobstore-format-')
    unittest.addModuleCleanup(Crashed.directory.cleanup)
    subprocess.run([PROGRAMS / 'images', f'--seed={SEED}', Crashed.directory.name], check=True)
    Crashed.paths = sorted(Path(Crashed.directory.name).iterdir())
    Crashed.said = ask_core(Crashed.paths)


class CrashedTest(unittest.TestCase):
    def disagreements(self):
        for path, by_core in zip(Crashed.paths, Crashed.said):
            with open(path, 'rb') as file:
                by_reader = ask_reader(file)
            if by_reader != by_core:
                yield path.name, by_reader, by_core

    def test_both_readers_say_the_same_of_every_image(self):
        self.assertEqual(len(Crashed.said), len(Crashed.paths))
        for name, by_reader, by_core in self.disagreements():
            with self.subTest(image=name, seed=SEED):
                self.assertEqual(by_reader, by_core)

    def test_the_images_are_of_every_kind(self):
        counts = count_states(Crashed.said)
        for kind in ('ready', 'blank', 'present', 'absent', 'damaged', 'with metadata'):
            self.assertGreater(counts[kind], 50, counts)

    def test_a_reader_that_leaves_out_a_rule_is_noticed(self):
        decide = reader.decide_blob

        def without_watermark(blob, _, written):
            decide(blob, 0, written)

        def without_members(blob, watermark, _):
            decide(blob, watermark, mock.Mock(issuperset=lambda members: True))

        broken = {
            'trailers are evidence (step 4)': ('Slot.trailers', lambda slot: []),
            'only what matters is held (step 4)': ('BlobSlot.matters', lambda slot, header: True),
            'the digest is verified (step 4)': ('Slot.valid', property(lambda slot: slot.complete)),
            'the watermark acknowledges (step 5)': ('decide_blob', without_watermark),
            'members are all or nothing (step 5)': ('decide_blob', without_members),
            'the census is checked (step 7)': ('check_census', lambda *_: None),
            'the one that is missing is named (step 7)': ('CENSUS_TRIALS', 0),
            'packed content is inflated (3.2)': ('inflate', lambda packed, raw_bytes: packed),
            'a clean store is at rest (step 3)': ('CLEAN', 0),
            'the higher sequence is taken (5)':
                ('newest_valid', lambda slots: next((s for s in slots if s.valid), None)),
            'a cut marker is blank (8)': ('holds_interrupted_marker', lambda medium: False),
        }
        for rule, (name, replacement) in broken.items():
            with self.subTest(rule=rule), mock.patch(f'reader.{name}', replacement):
                self.assertIsNotNone(next(self.disagreements(), None))


class ForgedTest(unittest.TestCase):
    """Images whose check values and digests are right, and nothing else needs to be"""

    @classmethod
    def setUpClass(cls):
        cls.originals = [(path.name, path.read_bytes())
                         for path, said in zip(Crashed.paths, Crashed.said)
                         if '-whole-' in path.name and '"present"' in said]

    def setUp(self):
        self.random = random.Random(SEED)
        self.directory = temporary_directory(self)

    def demand_agreement(self, images):
        """Of (name, bytes); returns what the core says."""
        paths = []
        for n, (_, image) in enumerate(images):
            paths.append(self.directory / f'{n:05}')
            paths[-1].write_bytes(image)
        said = ask_core(paths)
        self.assertEqual(len(said), len(images))
        for (name, image), by_core in zip(images, said):
            with self.subTest(image=name):
                self.assertEqual(ask_reader(io.BytesIO(image)), by_core)
        return said

    def forge_value(self, old):
        """A value of as many bytes that a careless reader may stumble over."""
        size = len(old)
        limit = 1 << 8 * size
        number = int.from_bytes(old, 'little')
        value = self.random.choice([
            0, 1, 2, 3, 4, 16, 17, 64, 65, 1024, 1025, 4096, 8192, 1 << 26, limit - 1, limit >> 1,
            number + 1, number - 1, number + 4096, number - 4096, number * 2, number // 2, number + (1 << 32),
            number - (1 << 32), number ^ 1 << self.random.randrange(8 * size),
            self.random.randrange(limit)])
        return (value % limit).to_bytes(size, 'little')

    def change(self, image, start, fields):
        offset, size = self.random.choice(fields)
        at = start + offset
        image[at:at + size] = self.forge_value(image[at:at + size])

    def sign(self, image, offset, key, slot_bytes, keep_digest=False):
        """Makes header, digest and trailer of a slot fit what is in it now."""
        stored = int.from_bytes(image[offset + 80:offset + 88], 'little')
        fits = stored <= slot_bytes - 2560
        if fits and not keep_digest:
            payload = image[offset + 1280:offset + 1280 + stored]
            image[offset + 112:offset + 144] = hashlib.sha256(payload).digest()
        header = image[offset:offset + 1248]
        header += hmac.new(key, header, 'sha256').digest()
        image[offset:offset + 1280] = header
        if fits:
            end = offset + max(-(-(2560 + stored) // 4096) * 4096, 8192)
            image[end - 1280:end] = header

    def forge_pair(self, image, offset, fields, key, slot_bytes):
        """Of the superblock or the directory; fields are relative to the slot."""
        self.change(image, offset, fields)
        self.sign(image, offset, key, slot_bytes)
        if self.random.random() < 0.8:      # else the other copy may win
            self.copy_slot(image, offset, key, slot_bytes)

    def copy_slot(self, image, offset, key, slot_bytes):
        other = offset + slot_bytes
        image[other:other + slot_bytes] = image[offset:other]
        image[other + 64:other + 72] = other.to_bytes(8, 'little')
        self.sign(image, other, key, slot_bytes)

    def forge_blob(self, image, entry, key):
        offset = entry.offset + self.random.randrange(2) * entry.slot_bytes
        if image[offset:offset + 8] != b'QEMUBLOB':
            offset = entry.offset + entry.slot * entry.slot_bytes
        if self.random.random() < 0.2:      # a trailer of another length
            whole = image[offset:offset + entry.slot_bytes]
            self.change(image, offset, [(40, 8), (56, 8)])
            image[offset + 72:offset + 88] = 2 * self.random.randrange(
                entry.slot_bytes - 2559).to_bytes(8, 'little')
            self.sign(image, offset, key, entry.slot_bytes)
            image[offset:offset + 4096] = whole[:4096]
        self.change(image, offset, HEADER_FIELDS + PAYLOAD_FIELDS)
        self.sign(image, offset, key, entry.slot_bytes, keep_digest=self.random.random() < 0.3)

    def forge(self, original):
        """Returns what was changed, and the image."""
        image = bytearray(original)
        medium = reader.Medium(io.BytesIO(original))
        superblock = reader.read_superblock(medium)
        _, entries = reader.read_directory(medium, superblock)
        directory = (superblock.seed, superblock.directory_bytes)
        what = self.random.choice(['superblock', 'directory', 'entry', 'entry', 'blob', 'blob',
                                   'blob'])
        if what == 'superblock':
            self.forge_pair(image, 0, HEADER_FIELDS + inside(1280, SUPERBLOCK_FIELDS), bytes(32),
                            16384)
        elif what == 'directory':
            self.forge_pair(image, 32768, HEADER_FIELDS + inside(1280, DIRECTORY_FIELDS),
                            *directory)
        elif what == 'entry':
            at = 1280 + 128 + 224 * self.random.randrange(len(entries))
            self.forge_pair(image, 32768, inside(at, ENTRY_FIELDS), *directory)
        else:
            self.forge_blob(image, self.random.choice(entries), superblock.seed)
        return what, bytes(image)

    def test_forged_fields_are_judged_the_same(self):
        images = []
        for n in range(FORGERIES * EFFORT):
            name, original = self.random.choice(self.originals)
            what, image = self.forge(original)
            images.append((f'{n}: {what} of {name}, seed {SEED}', image))
        counts = count_states(self.demand_agreement(images))
        for kind in ('refused', 'present', 'damaged'):
            self.assertGreater(counts[kind], 30, counts)

    def open_packed(self):
        """Returns an image of a store with room in its slots, and what is in it."""
        image = bytearray([image for name, image in self.originals
                           if '-packed-whole-' in name][-1])
        medium = reader.Medium(io.BytesIO(image))
        superblock = reader.read_superblock(medium)
        return image, superblock, *reader.read_directory(medium, superblock)

    def test_limits_of_the_directory_are_exact(self):
        original, superblock, _, entries = self.open_packed()
        end = max(entry.offset + 2 * entry.slot_bytes for entry in entries)
        room = entries[0].slot_bytes - 2560
        first = 1280 + 128
        payload_bytes = 128 + 224 * len(entries)

        def packed(raw_bytes):
            return [(first + 40, 8, raw_bytes), (first + 48, 8, 1), (first + 61, 1, 2)]

        cases = {
            'capacity': ([(1280 + 32, 8, end)], [(1280 + 32, 8, end - 4096)]),
            'next id': ([(1280 + 40, 8, (1 << 64) - 2)], [(1280 + 40, 8, (1 << 64) - 1)]),
            'id': ([(1280 + 40, 8, entries[-1].id + 1)], [(1280 + 40, 8, entries[-1].id)]),
            'raw bytes': (packed(room), packed(room + 1)),
            'flags of the header': ([], [(8, 4, 2), (72, 8, payload_bytes + 1)]),
        }
        images = []
        for name, allowed_and_not in cases.items():
            for fields in allowed_and_not:
                image = bytearray(original)
                for at, size, value in fields:
                    image[32768 + at:32768 + at + size] = value.to_bytes(size, 'little')
                pair = (superblock.seed, superblock.directory_bytes)
                self.sign(image, 32768, *pair)
                self.copy_slot(image, 32768, *pair)
                images.append((name, bytes(image)))
        said = self.demand_agreement(images)
        self.assertEqual(['refused' in store for store in said], [False, True] * len(cases))

    def test_trailers_are_sought_in_a_slot_with_a_wrong_payload(self):
        original, superblock, head, entries = self.open_packed()
        slots = [reader.BlobSlot(reader.Medium(io.BytesIO(original)), superblock.seed, entries[0],
                                 n, head.epoch_id) for n in range(2)]
        slot = max(slots, key=lambda slot: slot.sequence)
        self.assertTrue(slot.is_valid and slot.held.image_bytes == 8192)
        trailer = bytearray(8192)           # of 12288 bytes, from a later epoch
        trailer[:1280] = slot.held.raw
        for at, size, value in ((8, 4, 0), (40, 8, (head.epoch + 1) << 32), (72, 8, 6000),
                                (80, 8, 6000)):
            trailer[at:at + size] = value.to_bytes(size, 'little')
        self.sign(trailer, 0, superblock.seed, 0)

        images = []
        for name, end, flip in (('right payload', 12288, 0), ('wrong payload', 12288, 1),
                                ('wrong place', 16384, 1)):
            image = bytearray(original)
            image[slot.offset + 1280] ^= flip
            image[slot.offset + end - 1280:slot.offset + end] = trailer[:1280]
            images.append((name, bytes(image)))
        said = self.demand_agreement(images)
        self.assertEqual(['refused' in store for store in said], [False, True, False])

    def test_a_first_write_cut_short_is_blank(self):
        cut = reader.marker()[:-512]        # else it is simply a superblock
        self.assertEqual(len(cut), 12288 - 512)
        cases = [('cut', [], True), ('first block', [0], True), ('one block', [4096, 7680], True),
                 ('two blocks', [0, 4096], False), ('behind it', [12288], False),
                 ('at the end', [65024], False)]
        images = []
        for name, garbled, _ in cases:
            image = bytearray(cut.ljust(65536, b'\0'))
            for at in garbled:
                image[at:at + 512] = self.random.randbytes(512)
            images.append((name, bytes(image)))
        said = self.demand_agreement(images)
        self.assertEqual(['blank' in store for store in said],
                         [is_blank for *_, is_blank in cases])

    def test_what_is_no_store_is_refused(self):
        noise = self.random.randbytes(1 << 16)
        _, store = self.originals[-1]
        images = [('empty', b''), ('short and zero', bytes(512)), ('zero', bytes(1 << 20)),
                  ('noise', noise), ('short noise', noise[:512]), ('ones', b'\xff' * (1 << 16)),
                  ('all magic', b'QEMUBLOB' * 8192)]
        images += [(f'noise after {n} bytes', store[:n] + noise)
                   for n in (8, 1280, 4096, 12288, 32768, 45056)]
        images += [(f'cut to {n} bytes', store[:n])
                   for n in range(512, len(store), 11 * 512)]
        counts = count_states(self.demand_agreement(images))
        self.assertEqual(counts['blank'], 3, counts)
        self.assertGreater(counts['refused'], 20, counts)


class CommandTest(unittest.TestCase):
    def run_reader(self, *arguments):
        return subprocess.run([sys.executable, reader.__file__, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_a_line_for_each_image_and_an_exit_status(self):
        directory = temporary_directory(self)
        blank, noise = directory / 'blank', directory / 'noise'
        blank.write_bytes(bytes(1 << 16))
        noise.write_bytes(b'noise' * 20000)
        done = self.run_reader(blank, noise)
        self.assertEqual(done.stdout, '{"store": "blank"}\n{"store": "refused"}\n')
        self.assertEqual(done.stderr, f'{noise}: no superblock\n')
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.run_reader(blank).returncode, 0)


if __name__ == '__main__':
    unittest.main()
