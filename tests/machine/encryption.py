# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers that the tests of encrypted stores share."""

import time

import state
import tpm2
from case import MachineTest, drive
from migration import MigrationTest
from softhsm import PIN
from vm import VMError

JOBS = "blobstore-encrypt", "blobstore-rekey", "blobstore-decrypt"
RAW_SECRET = "exactly 32 bytes of a raw secret"


def secret(name, text):
    return ["-object", f"secret,id={name},data={text}"]


SECRETS = secret("sec0", "sesame") + secret("sec1", "simsim") + secret("raw", RAW_SECRET)


def opens_with(name, *options):
    """Object options that say which secret opens the store; passphrases are quick to try."""
    kind = ["type=raw"] if name == "raw" else ["type=passphrase", "iter-time=1"]
    return ",".join(f"encrypt.{word}" for word in [*kind, f"key-secret={name}", *options])


def new_key(name):
    """The same for a command that adds a key, or encrypts."""
    return ({"type": "raw", "new_secret": name} if name == "raw" else
            {"type": "passphrase", "new_secret": name, "iter_time": 1})


def min_sequence(number, epoch_id):
    return f"min-sequence.number={number},min-sequence.epoch-id={epoch_id}"


def store(*options, key=opens_with("sec0")):
    """An object "bs" on the drive, and a TPM that uses it."""
    words = [word for word in ("blobstore,id=bs,drive=nvram", key, *options) if word]
    return [*SECRETS, "-object", ",".join(words), "-device", "tpm-tis,blobstore=bs"]


PLAIN = [*SECRETS, "-object", "blobstore,id=bs,drive=nvram", "-device", "tpm-tis,blobstore=bs"]


# QEMU does not look through this "raw" into the snapshots of a qcow2 image.
UNSEEN_SNAPSHOTS = ["-drive", "if=none,id=nvram,driver=raw,file.driver=qcow2,"
                    "file.file.driver=file,file.file.filename=nvram.qcow2"]

PINS = secret("pin0", PIN) + secret("wrong", "4321-resu")


def with_token(uri=None, pin="pin0", *options):
    """The same with a key in a token."""
    key = ["encrypt.type=token"]
    key += [f"encrypt.key-uri={uri}"] if uri else []
    key += [f"encrypt.pin-secret={pin}"] if pin else []
    return [*PINS, *store(*options, key=",".join(key))]


class Mixin:
    """For a MachineTest whose image is nvram.raw or nvram.qcow2."""

    image_format = "raw"

    def setUp(self):
        super().setUp()
        self.image(self.image_format)
        self.image_name = f"nvram.{self.image_format}"
        self.drive = drive(self.image_name, self.image_format)

    def start(self, *args):
        machine, tpm = self.power_on(*self.drive, *args)
        tpm.run(tpm2.startup())
        return machine, tpm

    def make(self, *args):
        """A new TPM with some content, and a description of that content."""
        machine, tpm = self.start(*args)
        state.make_permanent(tpm)
        return machine, tpm, state.permanent(tpm)

    def check_holds(self, expected, *args):
        machine, tpm = self.start(*args)
        self.assertEqual(state.permanent(tpm), expected)
        return machine, tpm

    def check_refused(self, *args, says):
        self.check_machine_refused(*self.drive, *args, says=says)

    def run_command(self, machine, command, **arguments):
        """Run a command. If it starts a job, wait until the job has ended."""
        if command not in JOBS:
            return machine.qmp(command, **arguments)
        machine.qmp(command, job_id="job0", **arguments)
        while True:
            job, = machine.qmp("query-jobs")
            if job["status"] == "concluded":
                break
            time.sleep(0.005)
        machine.qmp("job-dismiss", id="job0")
        if "error" in job:
            raise VMError(job["error"])
        self.assertEqual(job["current-progress"], job["total-progress"])
        return job

    def check_fails(self, machine, command, says, **arguments):
        with self.assertRaisesRegex(VMError, says):
            self.run_command(machine, command, **arguments)

    def readable(self, name=None):
        """Whether the image contains the content of the NV index unencrypted."""
        return any(state.digest(number)[:tpm2.NV_BYTES] in self.content(name)
                   for number in range(2))


class EncryptionTest(Mixin, MachineTest):
    pass


class EncryptedMigrationTest(Mixin, MigrationTest):
    pass
