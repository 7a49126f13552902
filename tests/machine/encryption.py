# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of encrypted stores have in common."""

import state
import tpm2
from case import MachineTest, drive
from migration import MigrationTest
from vm import VMError

# Quick to try; nobody attacks them.
QUICK = "key-iter-time=1"
RAW_SECRET = "exactly 32 bytes of a raw secret"


def secret(name, text):
    return ["-object", f"secret,id={name},data={text}"]


SECRETS = secret("sec0", "sesame") + secret("sec1", "simsim") + secret("raw", RAW_SECRET)


def store(*options, key="key-secret=sec0"):
    """An object "bs" on the drive, and a TPM that uses it."""
    words = [word for word in ("blobstore,id=bs,drive=nvram", key, QUICK, *options) if word]
    return [*SECRETS, "-object", ",".join(words), "-device", "tpm-tis,blobstore=bs"]


PLAIN = [*SECRETS, "-object", "blobstore,id=bs,drive=nvram", "-device", "tpm-tis,blobstore=bs"]


class Mixin:
    """For a MachineTest whose image is nvram.raw or nvram.qcow2."""

    image_format = "raw"

    def setUp(self):
        super().setUp()
        self.image(self.image_format)
        self.image_name = f"nvram.{self.image_format}"
        self.drive = drive(self.image_name, self.image_format)

    def content(self, name=None):
        with open(self.path(name or self.image_name), "rb") as image:
            return image.read()

    def start(self, *args):
        machine, tpm = self.power_on(*self.drive, *args)
        tpm.run(tpm2.startup())
        return machine, tpm

    def make(self, *args):
        """A new TPM with something in it, and what that is."""
        machine, tpm = self.start(*args)
        state.make_permanent(tpm)
        return machine, tpm, state.permanent(tpm)

    def check_holds(self, expected, *args):
        machine, tpm = self.start(*args)
        self.assertEqual(state.permanent(tpm), expected)
        return machine, tpm

    def check_refused(self, *args, says):
        """With a message, and without writing anything."""
        before = self.content()
        machine = self.machine(*self.drive, *args)
        with self.assertRaises(VMError):
            machine.start()
        self.assertRegex(machine.qemu_log.read_text(), says)
        self.assertEqual(machine.exit_status, 1)
        self.assertEqual(self.content(), before)

    def check_fails(self, machine, command, says, **arguments):
        with self.assertRaisesRegex(VMError, says):
            machine.qmp(command, **arguments)

    def readable(self, name=None):
        """Whether the content of the NV index is in the image as it is."""
        return any(state.digest(number)[:tpm2.NV_BYTES] in self.content(name)
                   for number in range(2))


class EncryptionTest(Mixin, MachineTest):
    pass


class EncryptedMigrationTest(Mixin, MigrationTest):
    pass
