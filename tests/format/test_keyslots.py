# SPDX-License-Identifier: GPL-2.0-or-later
"""Both readers agree on key slots, and on superblocks of which neither copy is valid."""

import io
import json
import unittest
from collections import Counter
from unittest import mock

import aead
import keyslots
import reader
from compare import AgreementCase, EFFORT, Forger, ask_reader, count_states
from keyslots import Credential, PASSPHRASE, RAW, TOKEN, UNUSED
from seals import KEYS, RAW_SECRET, SESAME, sealed_images

SLOT_FORGERIES = 600
SALVAGES = 300

images = None


def setUpModule():
    global images
    images = sealed_images()


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
            ('memory', PASSPHRASE, {'memory': 1 << 17, 'iterations': 32}, True),
            ('memory', PASSPHRASE, {'memory': (1 << 17) + 1}, False),
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


if __name__ == '__main__':
    unittest.main()
