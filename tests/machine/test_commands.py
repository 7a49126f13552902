# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that libtpms must not see: the TPM does not have them, and does not list them."""

import struct
import unittest

import lockout
import tpm2
from case import TPM2, TPM2_CRB, MachineTest, drive
from frontend import Command

CERTIFY_X509 = 0x197
RC_COMMAND_CODE = 0x143
RC_INITIALIZE = 0x100

CAP_COMMANDS = 2
PT_TOTAL_COMMANDS, PT_LIBRARY_COMMANDS, PT_VENDOR_COMMANDS = 0x129, 0x12a, 0x12b


def list_commands(first, count):
    """Whether the TPM has more, and the codes of the listed commands."""
    def parse(response):
        more, capability, found = struct.unpack_from(">BII", response)
        assert capability == CAP_COMMANDS and len(response) == 9 + 4 * found
        return bool(more), [code & 0xffff for code, in
                            struct.iter_unpack(">I", response[9:])]
    return tpm2.get_capability(CAP_COMMANDS, first, count, parse)


class WithheldTest(MachineTest):
    tpm_args = TPM2

    def begin(self):
        self.image()
        _, tpm = self.power_on(*drive("nvram.raw"), *self.tpm_args)
        tpm.run(tpm2.startup())
        return tpm

    def test_command_is_not_there(self):
        """The TPM refuses such a command whatever the upper half of its code is."""
        tpm = self.begin()
        for code in CERTIFY_X509, 0x10000 | CERTIFY_X509, 0x80000000 | CERTIFY_X509:
            for tag in 0x8001, 0x8002:
                for parameters in b"", bytes(64), tpm2.EMPTY_PASSWORD * 3:
                    self.assertEqual(tpm.result(Command(tag, code, parameters)), RC_COMMAND_CODE)
        self.assertEqual(len(tpm.run(tpm2.get_random(8))), 8)

    def test_no_list_has_it(self):
        tpm = self.begin()
        more, codes = tpm.run(list_commands(0, 1000))
        self.assertFalse(more)
        self.assertNotIn(CERTIFY_X509, codes)
        for code in 0x144, 0x145, 0x17a, 0x17b, 0x182:
            self.assertIn(code, codes)
        self.assertEqual(codes, sorted(set(codes), key=codes.index))

    def test_list_in_pieces_is_the_same(self):
        tpm = self.begin()
        _, codes = tpm.run(list_commands(0, 1000))
        library = [code for code in codes if code >= 0x11f]
        for count in 1, 2, 7, len(library) - 1, len(library):
            found, more = [], True
            while more:
                more, piece = tpm.run(list_commands(found[-1] + 1 if found else 0x11f, count))
                self.assertTrue(piece or not more)
                self.assertLessEqual(len(piece), count)
                found += piece
                if piece and piece[-1] == library[-1]:
                    break
            self.assertEqual(found, library)
        for first in range(CERTIFY_X509 - 3, CERTIFY_X509 + 2):
            _, piece = tpm.run(list_commands(first, 2))
            self.assertEqual(piece[:1], [code for code in library if code >= first][:1])
        self.assertEqual(tpm.run(list_commands(library[0], 0)), (True, []))

    def test_counts_fit(self):
        tpm = self.begin()
        _, codes = tpm.run(list_commands(0, 1000))
        total, library, vendor = (tpm.run(lockout.get_property(number)) for number in
                                  (PT_TOTAL_COMMANDS, PT_LIBRARY_COMMANDS, PT_VENDOR_COMMANDS))
        self.assertEqual(total, len(codes))
        self.assertEqual(library, len(codes) - vendor)

    def test_tpm_that_was_not_started_lists_nothing(self):
        self.image()
        _, tpm = self.power_on(*drive("nvram.raw"), *self.tpm_args)
        self.assertEqual(tpm.result(list_commands(0, 1000)), RC_INITIALIZE)
        self.assertEqual(tpm.result(lockout.get_property(PT_TOTAL_COMMANDS)), RC_INITIALIZE)


class WithheldBehindACRBTest(WithheldTest):
    tpm_args = TPM2_CRB


if __name__ == "__main__":
    unittest.main()
