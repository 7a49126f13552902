# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux guest of scripts/guest.sh: it gets a job, and returns what it found."""

import os
import shutil
import tempfile
import unittest

from vm import BUILD, VM, VMError

KERNEL = BUILD / "guest/vmlinuz"
INITRAMFS = BUILD / "guest/initramfs.cpio"
MARKER = "GUEST: "
TIMEOUT_SECONDS = 120


def boot_args(job, **parameters):
    """QEMU arguments that boot the guest into a job of tests/guest/init."""
    for path in KERNEL, INITRAMFS:
        if not path.exists():
            raise VMError(f"{path} is missing; run: scripts/guest.sh")
    words = [f"{name}={value}" for name, value in {"job": job, **parameters}.items()]
    return ["-kernel", str(KERNEL), "-initrd", str(INITRAMFS),
            "-append", " ".join(["console=ttyS0", "quiet", "panic=-1", *words])]


def tpm_args(image, image_format, front_end="tpm-tis"):
    """The arguments of a user: a TPM whose state lives in an image."""
    return ["-drive", f"if=none,id=nvram,file={image},format={image_format}",
            "-device", f"{front_end},blobstore=nvram"]


class GuestFailure(VMError):
    """The guest did its job and reports an error."""


class Guest(VM):
    """A VM that does one job, reports facts on its console and powers off."""

    def finish(self, on_fact=None):
        """Let it run to the end; returns its facts, such as {"key-name": "000b..."}."""
        facts = {}

        def collect(line):
            if line.startswith(MARKER):
                name, _, value = line.removeprefix(MARKER).partition(" ")
                facts[name] = value
                if on_fact:
                    on_fact(name, value)

        self.wait(TIMEOUT_SECONDS, collect)
        if "FAIL" in facts:
            raise GuestFailure(str(self.error(f"guest: {facts['FAIL']}")))
        if "OK" not in facts:
            raise self.error("the guest ended without saying OK")
        return facts


class GuestCase(unittest.TestCase):
    """Tests with guests; each test has a folder of its own."""

    logs = BUILD / "functional"

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="blobstore-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self._guests = 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def guest(self, *args):
        """A guest in a QEMU with these arguments, which the test starts and its end kills."""
        self._guests += 1
        log = self.logs / f"{self.id()}-{self._guests}"
        guest = Guest(list(args), self.directory, log)
        self.addCleanup(guest.stop)
        return guest
