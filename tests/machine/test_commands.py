# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that libtpms must not see: the TPM does not have them, and does not list them."""

import hashlib
import struct
import unittest

import lockout
import tpm2
from case import TPM2, TPM2_CRB, MachineTest, drive
from frontend import Command

CERTIFY_X509 = 0x197
RC_COMMAND_CODE = 0x143
RC_INITIALIZE = 0x100
RC_ATTRIBUTES_OF_HANDLE, RC_SIZE_OF_PARAMETER_3, RC_UNKNOWN_HANDLE = 0x182, 0x3d5, 0x910
RC_RETRY = 0x922

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


FIXED, MAY_LEAVE = 0x00030472, 0x00030460   # attributes of a parent, which is not locked out


def storage(attributes):
    """What makes a parent: ECC P-256, AES-128-CFB."""
    return (bytes.fromhex("0023 000b") + struct.pack(">I", attributes) +
            bytes.fromhex("0000 0006 0080 0043 0010 0003 0010 0000 0000"))


def import_object(parent, auth_bytes):
    """Import an HMAC key whose name is a SHA-1 digest, of 20 bytes, without a wrapper."""
    seed, key = bytes(20), b"k" * 20
    public = struct.pack(">HHI", 0x8, tpm2.SHA1, 0x00040040) + tpm2.sized(b"") + \
        struct.pack(">HH", 0x5, tpm2.SHA256) + tpm2.sized(hashlib.sha1(seed + key).digest())
    sensitive = struct.pack(">H", 0x8) + tpm2.sized(b"a" * auth_bytes) + \
        tpm2.sized(seed) + tpm2.sized(key)
    return tpm2.authorized(0x156, [parent], tpm2.sized(b"") + tpm2.sized(public) +
                           tpm2.sized(tpm2.sized(sensitive)) + tpm2.sized(b"") +
                           struct.pack(">H", tpm2.ALG_NULL))


class ImportTest(MachineTest):
    """TPM2_Import works, but not where it ends the process (libtpms issue 619)."""
    tpm_args = TPM2
    begin = WithheldTest.begin

    def import_results(self, tpm, parent):
        return [tpm.result(import_object(parent, size)) for size in (8, 20, 21, 64)]

    def test_parent_that_may_leave_the_tpm_imports_nothing(self):
        tpm = self.begin()
        primary = tpm.run(tpm2.create_primary(storage(MAY_LEAVE), b""))
        self.assertEqual(self.import_results(tpm, primary), [RC_ATTRIBUTES_OF_HANDLE] * 4)
        tpm.run(tpm2.evict_control(primary, 0x81000001))
        self.assertEqual(self.import_results(tpm, 0x81000001), [RC_ATTRIBUTES_OF_HANDLE] * 4)
        self.assertEqual(tpm.result(Command(0x8001, 0x10156, struct.pack(">I", primary))),
                         RC_ATTRIBUTES_OF_HANDLE)
        self.assertEqual(len(tpm.run(tpm2.get_random(8))), 8)

    def test_child_that_may_leave_its_parent_imports_nothing(self):
        tpm = self.begin()
        root = tpm.run(tpm2.create_primary(storage(FIXED), b""))
        made = tpm.run(tpm2.authorized(
            0x153, [root], tpm2.sized(bytes(4)) + tpm2.sized(storage(MAY_LEAVE)) + bytes(6),
            lambda parameters: parameters))
        private = tpm2.first_sized(made)
        public = tpm2.first_sized(made[2 + len(private):])
        child = tpm.run(tpm2.Command(
            0x8002, 0x157, struct.pack(">I", root) + tpm2.EMPTY_PASSWORD + tpm2.sized(private) +
            tpm2.sized(public), tpm2.handle))
        self.assertEqual(self.import_results(tpm, child), [RC_ATTRIBUTES_OF_HANDLE] * 4)

    def test_fixed_parent_imports(self):
        tpm = self.begin()
        primary = tpm.run(tpm2.create_primary(storage(FIXED), b""))
        self.assertEqual(self.import_results(tpm, primary),
                         [0, 0, RC_SIZE_OF_PARAMETER_3, RC_SIZE_OF_PARAMETER_3])
        self.assertIn(0x156, tpm.run(list_commands(0, 1000))[1])

    def test_other_handles_are_refused_as_libtpms_does(self):
        tpm = self.begin()
        self.assertEqual(tpm.result(import_object(0x80000000, 8)), RC_UNKNOWN_HANDLE)
        session = tpm.run(tpm2.start_policy_session())
        for handle in tpm2.OWNER, session, 0x01500001, 0xffffffff:
            self.assertNotIn(tpm.result(import_object(handle, 64)), (0, RC_RETRY))
        for parameters in b"", b"\x80", bytes(3):
            for tag in 0x8001, 0x8002:
                self.assertTrue(tpm.result(Command(tag, 0x156, parameters)))


if __name__ == "__main__":
    unittest.main()
