# SPDX-License-Identifier: GPL-2.0-or-later
"""Both readers agree on what only sealed stores have: keys and conversions."""

import json
import struct
import unittest
from collections import Counter
from unittest import mock

import reader
from compare import AgreementCase, EFFORT, Forger, NO_PLACE, SEED, count_states, forge_many
from keyslots import Credential
from seals import KEYS, RAW_SECRET, SESAME, SIMSIM, sealed_images

FORGERIES = 800
CONVERSIONS = {'seal': (None, 2), 'rekey': (1, 2), 'unseal': (1, None)}
STEPS = 'whole', 'prefix', 'suffix', 'subset', 'garbled'

images = None


def setUpModule():
    global images
    images = sealed_images()


class KeyTest(AgreementCase):
    def test_both_readers_say_the_same_without_a_key_and_with_each(self):
        for name, credential in (('none', None), ('data key 1', KEYS[1]), ('data key 2', KEYS[2])):
            with self.subTest(key=name):
                counts = count_states(self.demand_agreement_on(images.paths, credential))
                self.assertGreater(counts['ready'], 200, counts)
                self.assertGreater(counts['refused'] + counts['locked'], 50, counts)

    def test_wrong_keys_and_secrets_are_refused(self):
        paths = images.named('-rekey-')
        for n, credential in enumerate((Credential(key=bytes(32)),
                                        Credential(secret=bytes([4]) * 32), SESAME)):
            counts = count_states(self.demand_agreement_on(paths[n::3], credential))
            self.assertEqual(counts['refused'], len(paths[n::3]), counts)

    def test_a_passphrase_opens_as_long_as_its_slot_is_there(self):
        paths = [path for path in images.apart if '-whole-' in path.name][::3]
        sesame, simsim = (count_states(self.demand_agreement_on(paths, credential))
                          for credential in (SESAME, SIMSIM))
        self.assertTrue(simsim['ready'] and simsim['refused'], simsim)
        self.assertGreater(sesame['ready'], simsim['ready'])
        raw = count_states(self.demand_agreement_on(paths[::3], RAW_SECRET))
        self.assertTrue(raw['ready'] and raw['refused'], raw)

    def test_slots_are_the_same_wherever_a_change_of_them_was_cut(self):
        kinds = Counter()
        for by_core in self.demand_agreement_on(images.apart, None):
            kinds[tuple(json.loads(by_core)['key slots'])] += 1
        self.assertEqual(len(kinds), 3, kinds)      # before, with both, without the first
        counts = count_states(self.demand_agreement_on(images.apart, KEYS[1]))
        self.assertEqual(counts['ready'], len(images.apart), counts)


class ConversionTest(AgreementCase):
    credential = RAW_SECRET

    def test_both_readers_say_the_same_of_every_step(self):
        for name, by_reader, by_core in images.disagreements():
            with self.subTest(image=name, seed=SEED):
                self.assertEqual(by_reader, by_core)

    def test_the_images_are_of_every_step(self):
        steps = Counter()
        for path in images.paths:
            with open(path, 'rb') as file:
                steps[self.step_of(reader.Medium(file))] += 1
        for step in ('seal before', 'seal after', 'rekey before', 'rekey after', 'unseal before',
                     'unseal after', 'wiping sealed', 'wiping plain', 'ready sealed',
                     'ready plain'):
            self.assertGreater(steps[step], 12, steps)

    def step_of(self, medium):
        try:
            superblock = reader.read_superblock(medium)
            guards = reader.find_guards(superblock, self.credential)
            guard, *_ = reader.read_directory(medium, superblock, guards)
        except (reader.Refused, reader.Blank):
            return 'none'
        if superblock.state == reader.CONVERTING:
            name = list(CONVERSIONS)[superblock.conversion - 1]
            return f'{name} {"before" if guard is guards[0] else "after"}'
        state = 'wiping' if superblock.state == reader.WIPING else 'ready'
        return f'{state} {"sealed" if superblock.sealed else "plain"}'

    def test_content_is_the_same_at_every_step(self):
        """The blobs are always whole, in all images of a conversion that a power failure cut."""
        for name in CONVERSIONS:
            blobs = set()
            for path, said in zip(images.paths, images.said):
                if any(f'-{name}-{step}-' in path.name for step in (*STEPS, 'resumed-whole')):
                    with self.subTest(image=path.name):
                        blobs.add(json.dumps(json.loads(said)['blobs']))
            self.assertEqual(len(blobs), 1, name)
            self.assertEqual(count_states(['{"store": "ready", "blobs": %s}' % each
                                           for each in blobs])['present'], 2)

    def test_forged_fields_are_judged_the_same(self):
        originals = [(path.name, path.read_bytes())
                     for path, said in zip(images.paths, images.said)
                     if '-whole-' in path.name and '"present"' in said]
        forged = forge_many(self.random, originals, self.credential, FORGERIES * EFFORT)
        counts = count_states(self.demand_agreement(forged))
        for kind in ('refused', 'present', 'damaged', 'converting'):
            self.assertGreater(counts[kind], 30, counts)

    def begun(self, name):
        """The last image of a conversion with the old directory, and the first with the new one."""
        steps = []
        for path in images.named(f'-{name}-whole-'):
            with open(path, 'rb') as file:
                steps.append((self.step_of(reader.Medium(file)), path))
        before = [path for step, path in steps if step == f'{name} before'][-1]
        after = [path for step, path in steps if step == f'{name} after'][0]
        return before.read_bytes(), after.read_bytes()

    def test_of_two_directories_the_later_is_taken_and_the_former_if_they_are_equal(self):
        """Either directory may be in one slot; the new one lists a blob less."""
        forged = []
        for name in CONVERSIONS:
            before, after = self.begun(name)
            for change in (-1, 0, 1):
                for swapped in (False, True):
                    forged.append((f'{name} {change:+} {swapped}',
                                   self.with_two_directories(before, after, change, swapped)))
        said = [json.loads(by_core) for by_core in self.demand_agreement(forged)]
        listed = [len(store['blobs']) for store in said]
        self.assertEqual(listed, 3 * (2 * [4] + 2 * [4] + 2 * [3]))

    def with_two_directories(self, before, after, change, swapped):
        """The new directory lists a blob less, and is so much newer."""
        forger = Forger(self.random, before, self.credential)
        later = Forger(self.random, after, self.credential)
        former_guard, latter_guard = later.guards
        size = forger.superblock.directory_bytes
        former, latter = (32768 + size, 32768) if swapped else (32768, 32768 + size)
        forger.image[former:former + size] = forger.image[32768:32768 + size]
        self.assertTrue(forger.open(former, former_guard, NO_PLACE))
        forger.put(former + 64, 8, former)
        forger.sign(former, former_guard, NO_PLACE, size)
        newest = reader.newest_valid(reader.directory_slots(later.medium, later.superblock,
                                                            latter_guard))
        epoch = forger.head.epoch + change
        count = later.head.count - 1
        payload = newest.payload
        payload = (struct.pack('<I', epoch) + payload[4:48] + struct.pack('<I', count)
                   + payload[52:96] + bytes(4) + payload[100:128 + 224 * count])
        forger.image[latter:latter + size] = later.image[newest.offset:newest.offset + size]
        for at, number, value in ((40, 8, epoch << 32), (64, 8, latter), (72, 8, len(payload)),
                                  (80, 8, len(payload))):
            forger.put(latter + at, number, value)
        forger.image[forger.payload_at(latter)] = payload
        forger.vouch(latter, latter_guard)
        forger.sign(latter, latter_guard, NO_PLACE, size)
        return bytes(forger.image)

    def test_only_what_the_key_vouches_for_is_converted(self):
        """The forger can sign, but has another key than that of the key slots."""
        forged, expected = [], []
        for name in CONVERSIONS:
            for image in self.begun(name):
                for field in ('whole', 'voucher', 'clean flag', 'content'):
                    forger = Forger(self.random, image, self.credential)
                    self.forge(forger, field)
                    forged.append((f'{name} {field}', bytes(forger.image)))
                    expected.append('refused' if field in ('voucher', 'clean flag') else
                                    'damaged' if field == 'content' else
                                    'ready')
        said = self.demand_agreement(forged)
        self.assertEqual(['damaged' if '"damaged"' in by_core else json.loads(by_core)['store']
                          for by_core in said], expected)

    def forge(self, forger, field):
        size = forger.superblock.directory_bytes
        if field == 'content':
            entry = next(entry for entry in forger.entries if entry.raw_bytes)
            offset = entry.offset + entry.slot * entry.slot_bytes
            self.assertTrue(forger.open(offset, forger.guard, entry.place))
            forger.image[offset + 1280 + entry.raw_bytes - 1] ^= 1
            forger.sign(offset, forger.guard, entry.place, entry.slot_bytes)
        elif field != 'whole':
            offset = reader.newest_valid(reader.directory_slots(
                forger.medium, forger.superblock, forger.guard)).offset
            self.assertTrue(forger.open(offset, forger.guard, NO_PLACE))
            forger.image[offset + 1280 + (112 if field == 'voucher' else 4)] ^= 1
            if field != 'voucher':
                forger.vouch(offset, forger.guard)
            forger.sign(offset, forger.guard, NO_PLACE, size)
            other = 2 * 32768 + size - offset
            forger.image[other:other + 8] = bytes(8)

    def test_each_state_goes_with_its_conversions_and_with_being_sealed_or_not(self):
        forged, allowed = [], []
        for name in CONVERSIONS:
            _, image = self.begun(name)         # which the directory would not contradict
            for state in range(6):
                for conversion in range(5):
                    for feature in (0, 1):
                        forger = Forger(self.random, image, self.credential)
                        for at, value in ((4, state), (8, feature), (60, conversion)):
                            forger.put(1280 + at, 4, value)
                        forger.sign_superblock()
                        forged.append((f'{name}: {state} {conversion} {feature}',
                                       bytes(forger.image)))
                        allowed.append(state == reader.FORMATTING or (
                            conversion in (1, 2, 3) and feature == 1
                            if state == reader.CONVERTING else
                            conversion == 0 and state in (reader.READY, reader.WIPING)))
        said = self.demand_agreement(forged)
        for (name, _), is_allowed, by_core in zip(forged, allowed, said):
            with self.subTest(name):
                self.assertTrue(is_allowed or 'refused' in by_core)
        self.assertGreater(count_states(said)['ready'], 12)

    def test_a_previous_key_that_does_not_open_is_refused(self):
        before, after = self.begun('rekey')
        forged = []
        for at in (376, 388, 404, 435):
            for image in (before, after):
                forger = Forger(self.random, image, self.credential)
                forger.image[1280 + at] ^= 1
                forger.sign_superblock()
                forged.append((f'byte {at}', bytes(forger.image)))
        self.assertEqual(count_states(self.demand_agreement(forged))['refused'], len(forged))


class LeftOutTest(unittest.TestCase):
    def test_a_reader_that_leaves_out_a_rule_is_noticed(self):
        find = reader.find_guards
        broken = {
            'both ways of a directory are tried (9.4)':
                ('reader.find_guards', lambda *arguments: find(*arguments)[:1]),
            'the former way is tried (9.4)':
                ('reader.find_guards', lambda *arguments: find(*arguments)[-1:]),
            'the directory is vouched for (9.4)':
                ('reader.Conversion.voucher', lambda conversion, payload: bytes(16)),
            'what has a digest is that of the directory (9.4)':
                ('slots.version_digest', lambda slot: bytes(32)),
            'a store that is being wiped is read (9.4)': ('heads.STATES', (1, 2, 3)),
            'the data key is bound to place and header (9.2)':
                ('reader.Seal.associated_data', lambda seal, header, place: b''),
            'what is tried is the slot of the secret (9.3)':
                ('keyslots.take_apart', lambda raw: None),
        }
        for rule, (name, replacement) in broken.items():
            with self.subTest(rule=rule), mock.patch(name, replacement):
                self.assertIsNotNone(next(images.disagreements(), None))


if __name__ == '__main__':
    unittest.main()
