# SPDX-License-Identifier: GPL-2.0-or-later
"""Both readers agree on what only sealed stores have: keys, key slots, conversions."""

import io
import json
import struct
import unittest
from collections import Counter
from unittest import mock

import aead
import keyslots
import reader
from compare import (AgreementCase, EFFORT, Forger, Images, NO_PLACE, SEED, ask_reader,
                     count_states, forge_many)
from keyslots import Credential, PASSPHRASE, RAW, TOKEN, UNUSED

FORGERIES = 800
SLOT_FORGERIES = 600
SALVAGES = 300

# seals.c: the data keys, and the secrets that they are behind
KEYS = {n: Credential(key=bytes([n]) * 32) for n in (1, 2)}
RAW_SECRET = Credential(secret=bytes([3]) * 32)
SESAME = Credential(secret=b'sesame')
SIMSIM = Credential(secret='simşim'.encode())
CONVERSIONS = {'seal': (None, 2), 'rekey': (1, 2), 'unseal': (1, None)}
STEPS = 'whole', 'prefix', 'suffix', 'subset', 'garbled'

images = None


def setUpModule():
    global images
    # Some of those images need a passphrase, which takes time to try.
    images = Images('seals', RAW_SECRET, apart='-slots-')


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


def make_key_slot(forger, number, kind, secret, key, **fields):
    """A slot of this kind, which opens with the secret if the fields allow that."""
    usual = {'memory': 0, 'iterations': 0, 'parallelism': 0, 'salt': forger.random.randbytes(32),
             'nonce': forger.random.randbytes(12), 'tag': b'', 'wrapped_bytes': 32,
             'mechanism': 0, 'hash': 0, 'commitment': b'', 'reserved': b'', 'uri': b'',
             'wrapped': b''}
    if kind == PASSPHRASE:
        usual.update(memory=8, iterations=1, parallelism=1)
    if kind == TOKEN:
        usual.update(salt=b'', nonce=b'')
    slot = keyslots.KeySlot(**{**usual, 'type': kind, **fields})
    wrapping = keyslots.wrapping_key(slot, secret)
    uuid = forger.superblock.uuid
    if kind != TOKEN and 'commitment' not in fields:
        slot.commitment = keyslots.derive(wrapping, 'commitment', uuid)
    raw = keyslots.KEY_SLOT.pack(*vars(slot).values())
    tag, wrapped = aead.seal(wrapping, slot.nonce.ljust(12, b'\0'), key,
                             keyslots.associated_data(raw, number, uuid))
    slot.tag = b'' if kind == TOKEN else tag
    slot.wrapped = wrapped + slot.wrapped
    return keyslots.KEY_SLOT.pack(*vars(slot).values())


class KeySlotTest(AgreementCase):
    """The store has a passphrase in slots 0 and 7, a token in 1."""

    @classmethod
    def setUpClass(cls):
        cls.original = [path for path in images.apart
                        if '-whole-' in path.name][-1].read_bytes()

    def forger(self):
        return Forger(self.random, self.original, KEYS[1])

    def slot_at(self, number):
        return 1280 + 512 + 1024 * number

    def put_slot(self, forger, number, kind, secret=b'', key=KEYS[1].key, **fields):
        at = self.slot_at(number)
        forger.image[at:at + 1024] = make_key_slot(forger, number, kind, secret, key,
                                                     **fields)

    def judge(self, cases, credential):
        """Cases are (name, forger, expected): the core's output has to contain that text."""
        forged = []
        for name, forger, _ in cases:
            forger.sign_superblock()
            forged.append((name, bytes(forger.image)))
        for (name, _, expected), by_core in zip(cases, self.demand_agreement(forged, credential)):
            with self.subTest(case=name):
                self.assertIn(expected, by_core)

    def test_limits_of_key_slots_are_exact(self):
        token = {'wrapped_bytes': 64, 'mechanism': 2, 'uri': b'pkcs11:object=x'}
        cases = [
            ('no such kind', 4, {}, False),
            ('unused and not zero', UNUSED, {}, False),
            ('passphrase', PASSPHRASE, {}, True),
            ('memory for parallelism', PASSPHRASE, {'parallelism': 16, 'memory': 128}, True),
            ('memory for parallelism', PASSPHRASE, {'parallelism': 16, 'memory': 127}, False),
            ('parallelism', PASSPHRASE, {'parallelism': 17, 'memory': 1024}, False),
            ('no parallelism', PASSPHRASE, {'parallelism': 0}, False),
            ('no memory', PASSPHRASE, {'parallelism': 0, 'memory': 0}, False),
            ('parallelism that overflows', PASSPHRASE, {'parallelism': 1 << 29, 'memory': 8}, False),
            ('iterations', PASSPHRASE, {'iterations': 64, 'memory': 1 << 16}, True),
            ('iterations', PASSPHRASE, {'iterations': 65}, False),
            ('no iteration', PASSPHRASE, {'iterations': 0}, False),
            ('memory', PASSPHRASE, {'memory': 1 << 18, 'iterations': 16}, True),
            ('memory', PASSPHRASE, {'memory': (1 << 18) + 1}, False),
            ('memory times iterations', PASSPHRASE, {'memory': 69905, 'iterations': 60}, True),
            ('memory times iterations', PASSPHRASE, {'memory': 69906, 'iterations': 60}, False),
            ('passphrase wraps less', PASSPHRASE, {'wrapped_bytes': 31}, False),
            ('passphrase wraps more', PASSPHRASE, {'wrapped_bytes': 33}, False),
            ('passphrase and the last byte', PASSPHRASE, {'wrapped': bytes(479) + b'\1'}, False),
            ('raw', RAW, {}, True),
            ('raw wraps less', RAW, {'wrapped_bytes': 31}, False),
            ('raw wraps more', RAW, {'wrapped_bytes': 33}, False),
            ('raw and what follows', RAW, {'wrapped': b'\1'}, False),
            ('token', TOKEN, token, True),
            ('token wraps the least', TOKEN, {**token, 'wrapped_bytes': 56}, True),
            ('token wraps too little', TOKEN, {**token, 'wrapped_bytes': 55}, False),
            ('token wraps the most', TOKEN, {**token, 'wrapped_bytes': 512}, True),
            ('token wraps too much', TOKEN, {**token, 'wrapped_bytes': 513}, False),
            ('token and what follows', TOKEN, {**token, 'wrapped': bytes(32) + b'\1'}, False),
            ('token and memory', TOKEN, {**token, 'memory': 1}, False),
            ('token and iterations', TOKEN, {**token, 'iterations': 1}, False),
            ('token and parallelism', TOKEN, {**token, 'parallelism': 1}, False),
            ('token and salt', TOKEN, {**token, 'salt': b'x'}, False),
            ('token and nonce', TOKEN, {**token, 'nonce': b'x'}, False),
            ('token and commitment', TOKEN, {**token, 'commitment': b'x'}, False),
            ('token and reserved', TOKEN, {**token, 'reserved': b'x'}, False),
            ('key wrap with a hash', TOKEN, {**token, 'hash': 1}, False),
            ('OAEP without a hash', TOKEN, {**token, 'mechanism': 1}, False),
            ('OAEP with SHA-1', TOKEN, {**token, 'mechanism': 1, 'hash': 1}, True),
            ('OAEP with SHA-256', TOKEN, {**token, 'mechanism': 1, 'hash': 2}, True),
            ('OAEP with another', TOKEN, {**token, 'mechanism': 1, 'hash': 3}, False),
            ('no mechanism', TOKEN, {**token, 'mechanism': 0}, False),
            ('another mechanism', TOKEN, {**token, 'mechanism': 3}, False),
            ('no URI', TOKEN, {**token, 'uri': b''}, False),
            ('longest URI', TOKEN, {**token, 'uri': b'pkcs11:'.ljust(383, b'x')}, True),
            ('URI too long', TOKEN, {**token, 'uri': b'pkcs11:'.ljust(384, b'x')}, False),
            ('URI and more', TOKEN, {**token, 'uri': b'pkcs11:x\0y'}, False),
            ('space in the URI', TOKEN, {**token, 'uri': b'pkcs11:x y'}, False),
            ('URI beyond ASCII', TOKEN, {**token, 'uri': b'pkcs11:\x7f'}, False),
            ('other URI', TOKEN, {**token, 'uri': b'https:x'}, True),
        ]
        made = []
        for name, kind, fields, is_good in cases:
            forger = self.forger()
            with mock.patch('keyslots.argon2id', lambda *_: bytes(32)):     # it is not opened
                self.put_slot(forger, 3, kind, **fields)
            expected = keyslots.TYPES[kind] if is_good else 'bad'
            made.append((f'{name} {is_good}', forger,
                         f'["passphrase", "token", "unused", "{expected}", "unused"'))
        self.judge(made, None)

    def test_what_a_kind_has_no_use_for_is_refused(self):
        fields = {'memory': 9, 'iterations': 2, 'parallelism': 1, 'mechanism': 1, 'hash': 1, 'uri': b'x',
                  'reserved': b'x', 'wrapped': b'more'}
        cases = []
        for name, value in fields.items():
            forger = self.forger()
            self.put_slot(forger, 3, RAW, RAW_SECRET.secret, **{name: value})
            cases.append((f'raw, {name}', forger, '"refused"'))
        for name in ('mechanism', 'hash', 'uri', 'reserved', 'wrapped'):
            forger = self.forger()
            self.put_slot(forger, 3, PASSPHRASE, RAW_SECRET.secret, **{name: fields[name]})
            cases.append((f'passphrase, {name}', forger, '"refused"'))
        for at in range(4, 1024, 15):
            forger = self.forger()
            self.put_slot(forger, 3, RAW, RAW_SECRET.secret)
            forger.image[self.slot_at(3) + at] ^= 1
            cases.append((f'raw, byte {at}', forger, '"refused"'))
        for case in cases:      # otherwise each slot would be tried, which takes time
            self.remove(case[1], 0, 7)
        self.judge(cases, RAW_SECRET)

    def test_a_slot_opens_with_the_one_key_that_it_commits_to(self):
        cases = []
        for kind in (RAW, PASSPHRASE):
            for expected, fields in (('"ready"', {}), ('"refused"', {'commitment': b'x'})):
                forger = self.forger()
                self.remove(forger, 0, 7)
                self.put_slot(forger, 3, kind, RAW_SECRET.secret, **fields)
                cases.append((f'{kind} {fields}', forger, expected))
        self.judge(cases, RAW_SECRET)

    def remove(self, forger, *numbers):
        for number in numbers:
            forger.image[self.slot_at(number):self.slot_at(number) + 1024] = bytes(1024)

    def test_a_slot_is_bound_to_its_store_and_number(self):
        cases = []
        for name, moved_to, uuid_byte in (('same', 3, 0), ('another number', 4, 0),
                                          ('another store', 3, 1)):
            forger = self.forger()
            self.remove(forger, 0, 7)
            self.put_slot(forger, 3, RAW, RAW_SECRET.secret)
            at, to = self.slot_at(3), self.slot_at(moved_to)
            raw = forger.image[at:at + 1024]
            self.remove(forger, 3)
            forger.image[to:to + 1024] = raw
            forger.image[1280 + 32] ^= uuid_byte
            cases.append((name, forger, '"ready"' if name == 'same' else '"refused"'))
        self.judge(cases, RAW_SECRET)

    def test_passphrases_of_every_length_and_cost(self):
        costs = [(8, 1, 1), (9, 1, 1), (11, 2, 1), (15, 64, 1), (64, 3, 4), (100, 2, 3),
                 (128, 1, 16), (1023, 5, 7), (1 << 12, 2, 2)]
        secrets = [b'x', 'σήσαμο'.encode(), b'\xff\xfe', bytes([3]) * 32, b'long' * 1024]
        for n, secret in enumerate(secrets):
            cases = []
            for memory, iterations, parallelism in costs[n::len(secrets)]:
                forger = self.forger()
                self.remove(forger, 0, 7)
                self.put_slot(forger, 5, PASSPHRASE, secret, memory=memory, iterations=iterations,
                              parallelism=parallelism)
                cases.append((f'{secret[:8]} {memory} {iterations} {parallelism}', forger, '"ready"'))
            self.judge(cases, Credential(secret=secret))

    def test_raw_secrets_come_first_and_then_the_number(self):
        """Slots of one secret hold different keys, so that the choice matters."""
        wrong = bytes(32)
        kinds = {'raw': RAW, 'passphrase': PASSPHRASE}
        cases = []
        for first, second, expected in (('raw', 'raw', 2), ('passphrase', 'passphrase', 2),
                                        ('passphrase', 'raw', 3), ('raw', 'passphrase', 2)):
            for right in (2, 3):
                forger = self.forger()
                self.remove(forger, 0, 7)
                for number, kind in ((2, first), (3, second)):
                    self.put_slot(forger, number, kinds[kind], RAW_SECRET.secret,
                                  KEYS[1].key if number == right else wrong)
                cases.append((f'{first}, {second}, right: {right}', forger,
                              '"ready"' if right == expected else '"refused"'))
        self.judge(cases, RAW_SECRET)

    def test_a_damaged_slot_opens_nothing_and_the_others_do(self):
        """In a valid superblock with a wrong digest of the slot, the other copy is no help."""
        cases = []
        for damaged, expected in ((0, '"refused"'), (7, '"ready"'), (1, '"ready"')):
            forger = self.forger()
            forger.image[self.slot_at(damaged) + 90] ^= 1       # reserved
            forger.sign_superblock(digests=False, both=False)
            cases.append((f'slot {damaged}', bytes(forger.image), expected))
        images_of = [(name, image) for name, image, _ in cases]
        for (name, _, expected), by_core in zip(cases, self.demand_agreement(images_of, SESAME)):
            with self.subTest(case=name):
                self.assertIn(expected, by_core)

    def test_forged_key_slots_are_judged_the_same(self):
        fields = [(0, 4), (4, 4), (8, 4), (12, 4), (16, 32), (48, 12), (60, 16), (76, 4), (80, 4),
                  (84, 4), (88, 8), (128, 1), (511, 1), (512, 4), (700, 4), (1023, 1)]
        forged = []
        for n in range(SLOT_FORGERIES * EFFORT):
            forger = self.forger()
            number = self.random.choice([0, 1, 3, 7])
            if number == 3:
                self.put_slot(forger, number, RAW, RAW_SECRET.secret)
            for _ in range(self.random.randrange(1, 3)):
                forger.change(self.slot_at(number), fields)
            forger.sign_superblock(digests=forger.probably(0.9))
            forged.append((f'{n}: slot {number}', bytes(forger.image)))
        kinds = Counter()
        for by_core in self.demand_agreement(forged):
            kinds.update(json.loads(by_core)['key slots'])
        for kind in ('passphrase', 'raw', 'token', 'bad', 'damaged', 'unused'):
            self.assertGreater(kinds[kind], 20, kinds)


class SalvageTest(AgreementCase):
    """Neither copy of the superblock is valid. Key slots are damaged in one copy or in both."""

    credential = RAW_SECRET

    def original(self, conversion, part='-whole-'):
        return images.named(f'-{conversion}{part}')[-1].read_bytes()

    def damage(self, image, *places):
        image = bytearray(image)
        for at in places:
            image[at] ^= 1
        return bytes(image)

    def judge(self, cases):
        said = self.demand_agreement([(name, image) for name, image, _ in cases])
        for (name, _, expected), by_core in zip(cases, said):
            with self.subTest(case=name):
                self.assertIn(expected, by_core)

    def test_a_key_slot_that_is_whole_in_either_copy_opens(self):
        store = self.original('rekey-after')
        raw = 1280 + 512 + 3 * 1024
        unused = raw - 1024
        other = 16384
        self.judge([
            ('one copy', self.damage(store, raw), '"ready"'),
            ('another slot in each', self.damage(store, unused, other + unused + 1),
             '"unused", "unused", "damaged", "raw"'),
            ('different slots', self.damage(store, unused, other + raw), '"unused", "raw"'),
            ('the other way round', self.damage(store, raw, other + unused), '"unused", "raw"'),
            ('both', self.damage(store, raw, other + raw + 1), '"refused"'),
            ('the head of one', self.damage(store, raw, other + 1280), '"ready"'),
            ('the header of one', self.damage(store, raw, other), '"ready"'),
            ('the trailer of one', self.damage(store, raw, other + 12287), '"ready"'),
            ('both heads', self.damage(store, 1280, other + 1280), '"refused"'),
            ('digest of the slot', self.damage(store, 1280 + 120, other + 1280 + 120),
             '"refused"'),
            ('the digest', self.damage(store, 112, other + 112), '"refused"'),
        ])

    def with_older_copy(self):
        """Returns a store whose second copy of the superblock is of an older generation, with
        another key slot 3 that would open the store.
        """
        forger = Forger(self.random, self.original('rekey-after'), self.credential)
        generation = forger.superblock.generation + 1
        forger.put(1280 + 48, 8, generation)
        forger.put(40, 8, generation)
        forger.sign_superblock(both=False)
        at = 16384 + 1280 + 512 + 3 * 1024
        forger.image[at:at + 1024] = make_key_slot(forger, 3, RAW, RAW_SECRET.secret,
                                                     forger.data_key)
        forger.sign_superblock(both=False, offset=16384)
        return bytes(forger.image)

    def test_a_key_slot_of_before_is_not_put_into_the_superblock_of_today(self):
        store = self.with_older_copy()
        raw, unused, other = 1280 + 512 + 3 * 1024, 1280 + 512, 16384
        self.judge([
            ('whole', store, '"ready"'),
            ('damaged', self.damage(store, raw, other + unused), '"refused"'),
            ('the older one', self.damage(store, other, raw), '"refused"'),
            ('the older one alone', self.damage(store, 1280, other + unused), '"ready"')])

    def test_a_reader_that_leaves_out_a_rule_is_noticed(self):
        store = self.original('rekey-after')
        raw, other = 1280 + 512 + 3 * 1024, 16384
        cases = [('one copy', self.damage(store, raw, other + raw - 1024)),
                 ('older', self.damage(self.with_older_copy(), raw, other + raw - 1024))]
        said = self.demand_agreement(cases)

        def mend_by_what_is_there(slot, slots):
            other, = (each for each in slots if each is not slot)
            return slot.stored_payload()[:120] + other.stored_payload()[120:376] + \
                slot.stored_payload()[376:512] + other.stored_payload()[512:]

        for name, replacement in (('is_salvageable', lambda slot: False),
                                  ('mend', lambda slot, slots: slot.stored_payload()),
                                  ('mend', mend_by_what_is_there)):
            with self.subTest(name), mock.patch(f'heads.{name}', replacement):
                self.assertNotEqual([ask_reader(io.BytesIO(image), self.credential)
                                     for _, image in cases], said)

    def test_a_plain_store_is_salvaged_as_well(self):
        store = self.original('unseal-after')
        self.judge([
            ('reserved', self.damage(store, 1280 + 600, 16384 + 1280 + 8000), '"ready"'),
            ('head', self.damage(store, 1280, 16384 + 1280), '"refused"')])

    def test_what_is_salvaged_is_checked_as_always(self):
        """The store is not salvaged if the older copy, or another version's, is what is left."""
        cases = []
        for name, at, value in (('version', 0, 2), ('state', 4, 5), ('feature', 8, 3),
                                ('conversion', 60, 4), ('generation', 48, 77),
                                ('block bytes', 56, 512), ('seed', 88, 1), ('compatible', 24, 1)):
            forger = Forger(self.random, self.original('rekey-after'), self.credential)
            forger.put(1280 + at, 4, value)
            forger.sign_superblock()
            harmless = name in ('seed', 'compatible')
            cases.append((name, self.damage(forger.image, 1280 + 600, 16384 + 1280 + 601),
                          '"ready"' if harmless else '"refused"'))
        self.judge(cases)

    def test_of_two_that_will_do_the_newer_is_taken(self):
        cases = []
        for offset, newer in ((0, 1), (16384, 1), (0, -1), (16384, -1), (0, 0), (16384, 0)):
            forger = Forger(self.random, self.original('rekey-after'), self.credential)
            generation = forger.superblock.generation + newer
            forger.put(offset + 1280 + 48, 8, generation)
            forger.put(offset + 40, 8, generation)
            forger.put(offset + 1280 + 24, 8, 1)
            forger.put(offset + 1280 + 32, 1, 0xab)             # of the UUID
            forger.sign_superblock(both=False, link=False, offset=offset)
            is_it = newer == 1 or newer == 0 and offset == 0
            cases.append((f'{offset} {newer}', self.damage(forger.image, 1280 + 600, 16384 + 1881),
                          '"refused"' if is_it else '"ready"'))
        self.judge(cases)

    def test_the_marker_of_a_format_is_not_salvaged(self):
        marker = reader.marker().ljust(16384, b'\0')
        self.judge([
            ('whole', marker.ljust(65536, b'\0'), '"blank"'),
            ('in one block', self.damage(marker.ljust(65536, b'\0'), 1900), '"blank"'),
            ('in two', self.damage(marker.ljust(65536, b'\0'), 1900, 5000), '"refused"'),
            ('with more behind it', self.damage(marker.ljust(65536, b'\0'), 1900, 50000),
             '"refused"')])

    def test_a_store_in_state_creating_is_blank_sealed_or_not(self):
        cases = []
        for keyed in (True, False):
            forger = Forger(self.random, self.original('rekey-after'), self.credential)
            forger.put(1280 + 4, 4, reader.FORMATTING)
            forger.put(1280 + 60, 4, 9)
            forger.sign_superblock(keyed=keyed)
            cases.append((f'keyed check {keyed}', bytes(forger.image), '"blank"'))
        self.judge(cases)

    def test_damage_of_both_copies_is_judged_the_same(self):
        originals = [path.read_bytes() for path in images.paths + images.apart
                     if '-whole-' in path.name]
        # The power failed between the copies of these images: their generations differ.
        differing = [image for image in originals if image[:64] != image[16384:16384 + 64]]
        forged = []
        for n in range(SALVAGES * EFFORT):
            image = bytearray(self.random.choice(differing if n % 2 else originals))
            for offset in (0, 16384):
                for _ in range(self.random.randrange(1, 4)):
                    first, size = self.random.choice([(0, 12288), (1280, 512), (1280, 8704),
                                                      (1280 + 512 + 3 * 1024, 1024)])
                    at = offset + first + self.random.randrange(size)
                    length = self.random.choice([1, 1, 64, 512])
                    image[at:at + length] = self.random.randbytes(length)
            forged.append((str(n), bytes(image)))
        for credential in (None, KEYS[1]):
            counts = count_states(self.demand_agreement(forged, credential))
            self.assertGreater(counts['refused'], 20, counts)
            self.assertGreater(counts['ready'] + counts['locked'], 50, counts)


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
