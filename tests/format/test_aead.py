# SPDX-License-Identifier: GPL-2.0-or-later
"""aead.py computes what RFC 8452 says, and Debian's Argon2 what its authors say."""

import unittest

import aead
import keyslots

KEY = bytes([1]).ljust(32, b'\0')
NONCE = bytes([3]).ljust(12, b'\0')

# RFC 8452, appendix C.2: plaintext, associated data, ciphertext with tag
VECTORS = [
    ('', '', '07f5f4169bbf55a8400cd47ea6fd400f'),
    ('0100000000000000', '', 'c2ef328e5c71c83b843122130f7364b761e0b97427e3df28'),
    ('010000000000000000000000', '',
     '9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e'),
    ('01000000000000000000000000000000', '',
     '85a01b63025ba19b7fd3ddfc033b3e76c9eac6fa700942702e90862383c6c366'),
    ('0100000000000000000000000000000002000000000000000000000000000000', '',
     '4a6a9db4c8c6549201b9edb53006cba821ec9cf850948a7c86c68ac7539d027f'
     'e819e63abcd020b006a976397632eb5d'),
    ('0200000000000000', '01', '1de22967237a813291213f267e3b452f02d01ae33e4ec854'),
    ('020000000000000000000000', '01',
     '163d6f9cc1b346cd453a2e4cc1a4a19ae800941ccdc57cc8413c277f'),
]


class AeadTest(unittest.TestCase):
    def test_polyval_is_that_of_appendix_a(self):
        data = bytes.fromhex('4f4f95668c83dfb6401762bb2d01a262d1a24ddd2721d006bbe45f20d3c9f362')
        self.assertEqual(aead.polyval(bytes.fromhex('25629347589242761d31f826ba4b757b'), data),
                         bytes.fromhex('f7a3b47b846119fae5b7866cf5e5b77e'))

    def test_results_are_those_of_appendix_c(self):
        for plaintext, associated, result in VECTORS:
            plaintext, associated, result = map(bytes.fromhex, (plaintext, associated, result))
            with self.subTest(plaintext=plaintext):
                tag, ciphertext = aead.seal(KEY, NONCE, plaintext, associated)
                self.assertEqual(ciphertext + tag, result)
                self.assertEqual(aead.unseal(KEY, NONCE, tag, ciphertext, associated), plaintext)

    def test_the_counter_wraps_as_in_appendix_c(self):
        plaintext = bytes(16) + bytes.fromhex('4db923dc793ee6497c76dcc03a98e108')
        result = bytes.fromhex('f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3ea'
                               'ffffffff000000000000000000000000')
        tag, ciphertext = aead.seal(bytes(32), bytes(12), plaintext, b'')
        self.assertEqual(ciphertext + tag, result)

    def test_what_is_changed_does_not_open(self):
        parts = KEY, NONCE, *aead.seal(KEY, NONCE, b'plaintext', b'associated'), b'associated'
        self.assertEqual(aead.unseal(*parts), b'plaintext')
        for n, part in enumerate(parts):
            for bit in range(8 * len(part)):
                changed = bytearray(part)
                changed[bit // 8] ^= 1 << bit % 8
                self.assertIsNone(aead.unseal(*parts[:n], bytes(changed), *parts[n + 1:]))

    def test_argon2id_is_that_of_the_reference_implementation(self):
        """The vectors are Argon2's own: those of RFC 9106 have a secret and associated data."""
        for memory, parallelism, result in (
                (1 << 8, 1, '9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe'),
                (1 << 8, 2, '6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037')):
            with self.subTest(parallelism=parallelism):
                self.assertEqual(keyslots.argon2id(b'password', b'somesalt', 2, memory, parallelism),
                                 bytes.fromhex(result))


if __name__ == '__main__':
    unittest.main()
