# SPDX-License-Identifier: GPL-2.0-or-later
"""reader.py, written from docs/format.md alone, agrees with the core on every image."""

import io
import subprocess
import sys
import unittest
from unittest import mock

import aead
import reader
from compare import (AgreementCase, EFFORT, Forger, Images, NO_PLACE, SEED, ask_reader,
                     count_states, forge_many, temporary_directory)
from keyslots import Credential

FORGERIES = {'plain': 1200, 'sealed': 800}

# tests/sealed/sealed.c
SEALED = Credential(key=b'\1' * 32)

crashed = {}                # images of a disk after a power failure or damage, by kind


def is_blank(path):
    return '"blank"' in ask_reader(io.BytesIO(path.read_bytes()))


def setUpModule():
    crashed['plain'] = Images('images')
    crashed['sealed'] = Images('images-sealed', SEALED)


class CrashedTests:
    kind = None

    @property
    def images(self):
        return crashed[self.kind]

    def test_both_readers_say_the_same_of_every_image(self):
        self.assertEqual(len(self.images.said), len(self.images.paths))
        for name, by_reader, by_core in self.images.disagreements():
            with self.subTest(image=name, seed=SEED):
                self.assertEqual(by_reader, by_core)

    def test_the_images_are_of_every_kind(self):
        counts = count_states(self.images.said)
        for kind in ('ready', 'blank', 'present', 'absent', 'damaged', 'with metadata'):
            self.assertGreater(counts[kind], 50, counts)

    def test_a_reader_that_leaves_out_a_rule_is_noticed(self):
        decide = reader.decide_blob

        def without_watermark(blob, _, written):
            decide(blob, 0, written)

        def without_members(blob, watermark, _):
            decide(blob, watermark, mock.Mock(issuperset=lambda members: True))

        broken = {
            'trailers are evidence (step 4)': ('slots.Slot.trailers', lambda slot: []),
            'only what matters is held (step 4)': ('choice.BlobSlot.matters', lambda slot, header: True),
            'digest or seal is verified (step 4)': self.unverified,
            'the watermark acknowledges (step 5)': ('choice.decide_blob', without_watermark),
            'members are all or nothing (step 5)': ('choice.decide_blob', without_members),
            'the census is checked (step 7)': ('choice.check_census', lambda *_: None),
            'the one that is missing is named (step 7)': ('choice.CENSUS_TRIALS', 0),
            'packed content is inflated (3.2)': ('reader.inflate', lambda packed, raw_bytes: packed),
            'a clean store is at rest (step 3)': ('reader.CLEAN', 0),
            'the higher sequence is taken (5)':
                ('heads.newest_valid', lambda slots: next((s for s in slots if s.valid), None)),
            'a cut marker is blank (8)': ('heads.holds_interrupted_marker', lambda medium: False),
        }
        for rule, (name, replacement) in broken.items():
            with self.subTest(rule=rule), mock.patch(name, replacement):
                self.assertIsNotNone(next(self.images.disagreements(), None))


    def test_past_epochs_are_those_that_were_recorded_completely(self):
        """The cuts, each with its last acknowledged sequence. No write fails in these histories."""
        known = 0
        for history in ('fwv', 'wvmdc', 'gwv', 'uwv', 'packed-clean'):
            complete = {}
            for path in self.images.named(f'-{history}-whole-'):
                complete, past = self.follow(path, complete)
                known += past
        self.assertGreater(known, 30)

    def follow(self, path, complete):
        """Compare with the epochs recorded completely; returns them and the number of past ones."""
        if is_blank(path):
            return complete, 0
        forger = Forger(None, path.read_bytes(), self.images.credential)
        head, entries = forger.head, forger.entries
        blobs = reader.decide_by_evidence(forger.medium, forger.guard, head, entries)
        past = {each.epoch: (each.epoch_id, each.counter) for each in head.past}
        expected = {epoch: said for epoch, said in complete.items() if epoch < head.epoch}
        self.assertEqual({epoch: past.get(epoch) for epoch in expected}, expected, path.name)
        if all(slot.valid and slot.header.sequence == head.epoch << 32
               for slot in forger.directory_slots()):
            # The first write of a blob is acknowledged in the next epoch.
            new = {entry.id for entry in entries if not entry.sequence}
            counters = [blob.sequence % (1 << 32) for blob in blobs
                        if reader.epoch_of(blob.sequence) == head.epoch and blob.entry.id not in new
                        and not new.intersection(dict(blob.current.header.members))]
            complete = {**complete, head.epoch: (head.epoch_id, max(counters, default=0))}
        return complete, len(expected)


class PlainCrashedTest(CrashedTests, unittest.TestCase):
    kind = 'plain'
    unverified = 'slots.Guard.open', lambda guard, header, stored, place: stored


class SealedCrashedTest(CrashedTests, unittest.TestCase):
    kind = 'sealed'
    unverified = 'slots.Seal.open', lambda seal, header, stored, place: aead.crypt(
        aead.message_keys(seal.key, header.digest[16:28])[1], header.digest[:16], stored)

    def test_no_more_is_sealed_than_the_directory_says(self):
        """At most an epoch's own two copies are not counted. Some image shows each seal's nonce."""
        for history in ('fwv', 'wvmdc', 'gwv', 'packed-grown'):
            seen, epoch, before = set(), 0, 0
            for path in self.images.named(f'-{history}-whole-'):
                if is_blank(path):
                    continue
                forger = Forger(None, path.read_bytes(), self.images.credential)
                if forger.head.epoch > epoch:
                    epoch, before = forger.head.epoch, len(seen) + 2
                self.assertGreaterEqual(forger.head.sealings, before, path.name)
                seen |= {slot.header.digest[16:28]
                         for slot in forger.directory_slots() + forger.blob_slots() if slot.header}
            self.assertGreater(before, 3, history)


class ForgedTests:
    kind = None

    @property
    def credential(self):
        return crashed[self.kind].credential

    def originals(self, part='-whole-'):
        """The images that hold something, as (name, bytes)."""
        images = crashed[self.kind]
        return [(path.name, path.read_bytes()) for path, said in zip(images.paths, images.said)
                if part in path.name and '"present"' in said]

    def test_forged_fields_are_judged_the_same(self):
        images = forge_many(self.random, self.originals(), self.credential,
                             FORGERIES[self.kind] * EFFORT)
        counts = count_states(self.demand_agreement(images))
        for kind in ('refused', 'present', 'damaged'):
            self.assertGreater(counts[kind], 30, counts)

    def forger(self):
        """A forger for an image of a store with room in its slots."""
        _, image = self.originals('-packed-whole-')[-1]
        return Forger(self.random, image, self.credential)

    def with_directory(self, change):
        """Returns an image whose directory @change has changed."""
        forger = self.forger()
        size = forger.superblock.directory_bytes
        self.assertTrue(forger.open(32768, forger.guard, NO_PLACE))
        change(forger)
        forger.sign(32768, forger.guard, NO_PLACE, size)
        forger.copy_slot(32768, forger.guard.seed, size)
        return bytes(forger.image)

    def with_fields(self, *fields):
        """Returns an image with (offset in the slot, bytes, value) in its directory."""
        def change(forger):
            for at, size, value in fields:
                forger.put(32768 + at, size, value)

        return self.with_directory(change)

    def test_limits_of_the_directory_are_exact(self):
        forger = self.forger()
        head, entries = forger.head, forger.entries
        end = max(entry.offset + 2 * entry.slot_bytes for entry in entries)
        room = entries[0].slot_bytes - 2560
        first = 1280 + 128
        past = first + 224 * len(entries)
        stored = 128 + 224 * len(entries) + 24 * head.past_count
        seal = forger.guard.flag
        self.assertGreater(head.past_count, 0)

        def packed(raw_bytes):
            return [(first + 40, 8, raw_bytes), (first + 48, 8, 1), (first + 61, 1, 2 | seal)]

        def with_past(count, *epochs):
            """The current epoch is raised, so that there can be so many past ones."""
            present = head.epoch + 100
            length = 128 + 224 * len(entries) + 24 * count
            fields = [(44, 4, present), (1280, 4, present), (72, 8, length), (80, 8, length),
                      (1280 + 96, 4, count)]
            return fields + [(past + 24 * n, 8, epoch)
                             for n, epoch in enumerate(epochs or range(1, count + 1))]

        cases = {
            'capacity': ([(1280 + 32, 8, end)], [(1280 + 32, 8, end - 4096)]),
            'next id': ([(1280 + 40, 8, (1 << 64) - 2)], [(1280 + 40, 8, (1 << 64) - 1)]),
            'id': ([(1280 + 40, 8, entries[-1].id + 1)], [(1280 + 40, 8, entries[-1].id)]),
            'raw bytes': (packed(room), packed(room + 1)),
            'packed header': ([], [(8, 4, 2 | seal), (72, 8, stored + 1)]),
            'sealed header': ([], [(8, 4, 4 ^ seal)]),
            'sealed version': ([], [(first + 61, 1, 4 ^ seal)]),
            'number of past epochs': (with_past(64), with_past(65)),
            'length of past epochs': (with_past(0), [(1280 + 96, 4, head.past_count - 1)]),
            'last past epoch': (with_past(2, 1, head.epoch + 99),
                                with_past(2, 1, head.epoch + 100)),
            'first past epoch': (with_past(2, 1, 2), with_past(2, 0, 2)),
            'past epochs in order': (with_past(2, 4, 5), with_past(2, 5, 4)),
            'past epochs twice': (with_past(2, 3, 4), with_past(2, 4, 4)),
            'superblock digest': ([], [(1280 + 111, 1, head.superblock_digest[-1] ^ 1)]),
            'generation of another epoch': ([], [(1280 + 24, 8, head.generation - 1)]),
        }
        if seal:
            cases['key commitment'] = [], [(1280 + 56, 1, forger.guard.commitment[0] ^ 1)]
        images = [(name, self.with_fields(*fields))
                  for name, allowed_and_not in cases.items() for fields in allowed_and_not]
        said = self.demand_agreement(images)
        for (name, _), by_core, refused in zip(images, said, [False, True] * len(cases)):
            with self.subTest(limit=name, refused=refused):
                self.assertEqual('refused' in by_core, refused)

    def with_superblock(self, newer, link):
        """Returns an image whose superblock is so much newer, and names the epoch of today."""
        forger = self.forger()
        self.assertEqual(forger.head.generation, forger.superblock.generation)
        for at in (40, 1280 + 48):
            forger.put(at, 8, forger.superblock.generation + newer)
        forger.put(1280 + 24, 8, 1)         # a compatible feature
        forger.sign_superblock(link=link)
        return bytes(forger.image)

    def test_superblock_and_directory_name_each_other(self):
        cases = [(newer, link) for newer in (0, 1, 5) for link in (True, False)]
        said = self.demand_agreement([(str(case), self.with_superblock(*case)) for case in cases])
        for (newer, link), by_core in zip(cases, said):
            with self.subTest(newer=newer, link=link):
                self.assertEqual('refused' in by_core, not link)

    def test_trailers_are_sought_in_a_slot_with_a_wrong_payload(self):
        forger = self.forger()
        entry, head = forger.entries[0], forger.head
        slots = [reader.BlobSlot(forger.medium, forger.guard, entry, n, head.epoch_id)
                 for n in range(2)]
        slot = max(slots, key=lambda slot: slot.sequence)
        self.assertTrue(slot.is_valid and slot.held.image_bytes == 8192)
        forger.image[0:1280] = slot.held.raw        # of 12288 bytes, from a later epoch
        for at, size, value in ((8, 4, forger.guard.flag), (40, 8, (head.epoch + 1) << 32),
                                (72, 8, 6000), (80, 8, 6000)):
            forger.put(at, size, value)
        forger.check(0, forger.guard.seed, 0)
        trailer = forger.image[:1280]

        images = []
        for name, end, flip in (('right payload', 12288, 0), ('wrong payload', 12288, 1),
                                ('wrong place', 16384, 1)):
            image = bytearray(self.forger().image)
            image[slot.offset + 1280] ^= flip
            image[slot.offset + end - 1280:slot.offset + end] = trailer
            images.append((name, bytes(image)))
        said = self.demand_agreement(images)
        self.assertEqual(['refused' in store for store in said], [False, True, False])

    def test_what_is_no_store_is_refused(self):
        noise = self.random.randbytes(1 << 16)
        _, store = self.originals()[-1]
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


class PlainForgedTest(ForgedTests, AgreementCase):
    kind = 'plain'

    def test_a_first_write_cut_short_is_blank(self):
        cut = reader.marker()[:-512]        # otherwise it is simply a superblock
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


class SealedForgedTest(ForgedTests, AgreementCase):
    kind = 'sealed'


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

    def test_a_sealed_store_opens_with_its_key_alone(self):
        image = crashed['sealed'].named('-packed-clean-whole-')[-1]
        self.assertIn('"locked"', self.run_reader(image).stdout)
        done = self.run_reader(f'--key={SEALED.key.hex()}', image)
        self.assertEqual((done.stderr, done.returncode), ('', 0))
        self.assertIn('"present"', done.stdout)
        self.assertEqual(self.run_reader(f'--key={bytes(32).hex()}', image).stderr,
                         f'{image}: keyed check of the superblock\n')


if __name__ == '__main__':
    unittest.main()
