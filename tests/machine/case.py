# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers that the tests of machines share.

SEED= chooses the random draws; EFFORT= multiplies the rounds. LENGTH=check shortens the loops that
are marked as drawn.
"""

import faulthandler
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from crb import CRB
from machine import Machine
from tis import TIS
from vm import BUILD, ROOT, VMError, create_image, program

sys.path.insert(0, str(ROOT / "tests/format"))

import reader  # noqa: E402

EFFORT = int(os.environ.get("EFFORT") or 1)
SEED = int(os.environ.get("SEED") or 1)
LOGS = BUILD / "machine"


def rounds(short, long):
    """The rounds of a loop that is marked as drawn: `short` in make check, else `long`."""
    return (short if os.environ.get("LENGTH") == "check" else long) * EFFORT


def drive(image, image_format="raw", **options):
    """The arguments of a drive for a TPM; underscores in option names stand for dots."""
    words = [f"if=none,id=nvram,file={image},format={image_format}",
             *(f"{name.replace('_', '.')}={value}" for name, value in options.items())]
    return ["-drive", ",".join(words)]


NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]

TPM2 = ["-device", "tpm-tis,blobstore=nvram"]
TPM2_CRB = ["-device", "tpm-crb,blobstore=nvram"]
TPM12 = ["-tpmdev", "libtpms,id=dev,blobstore=nvram,version=1.2", "-device", "tpm-tis,tpmdev=dev"]


def front_end(machine, args):
    """The front end of the TPM in a machine with these arguments."""
    return CRB(machine) if any(word.startswith("tpm-crb,") for word in args) else TIS(machine)


def say_rounds(name, rounds, result, *details):
    """Print what a loop has done. make check shows the first line, too."""
    print(f"# {name}: {rounds} rounds, {result} (SEED={SEED})",
          *(f"#   {line}" for line in details), sep="\n", flush=True)


def in_main_thread():
    return threading.current_thread() is threading.main_thread()


class MachineTest(unittest.TestCase):
    """Each test has a folder of its own, and must end within a time limit."""

    watchdog_seconds = 120
    image_name = "nvram.raw"

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="blobstore-test-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.random = random.Random(f"{SEED} {self.id()}")
        self._machines = 0
        if in_main_thread():
            signal.signal(signal.SIGALRM, self._bite)
            self.addCleanup(signal.alarm, 0)
        else:
            self.addCleanup(faulthandler.cancel_dump_traceback_later)
        self.set_alarm(self.watchdog_seconds * EFFORT)

    def set_alarm(self, seconds):
        """Replace the time limit, from now on. A test with rounds sets it for each round.

        pytest-xdist runs tests in another thread now and then, which no signal reaches: the
        worker then ends, and xdist says in which test.
        """
        self._alarm_seconds = seconds
        if in_main_thread():
            signal.alarm(seconds)
        else:
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)

    def _bite(self, *_args):
        raise TimeoutError(f"the test, or its round, still runs after {self._alarm_seconds} s")

    def again(self, history):
        """The text that a random test shows when it fails."""
        return f"SEED={SEED}: after {history}"

    def path(self, name):
        return os.path.join(self.directory, name)

    def image(self, image_format="raw"):
        """A new blank image."""
        return create_image(self.directory, image_format)

    def need(self, **options):
        """Skip the test where the host cannot open a file with that cache mode."""
        probe = create_image(self.directory, "raw", "4k", "probe")
        node = ",".join([f"driver=file,filename={probe}", *(f"{name}={value}" for name, value in
                                                            options.items())])
        found = subprocess.run([program("QEMU_IO"), "-t", "none", "-c", "read 0 4k",
                                "--image-opts", node], cwd=self.directory, check=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if found.returncode:
            self.skipTest(found.stderr.strip())

    def content(self, name=None):
        with open(self.path(name or self.image_name), "rb") as image:
            return image.read()

    def start_and_fail(self, *args, before=()):
        """The output of a QEMU, behind the command `before`, that must not start."""
        ended = subprocess.run([*before, program("QEMU"), "-accel", "qtest", "-display", "none",
                                *args], cwd=self.directory, check=False, timeout=60,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        self.assertEqual(ended.returncode, 1, ended.stdout)
        return ended.stdout

    def check_machine_refused(self, *args, says):
        """The machine is refused with a message, and nothing is written."""
        before = self.content()
        machine = self.machine(*args)
        with self.assertRaises(VMError):
            machine.start()
        self.assertRegex(machine.qemu_log.read_text(), says)
        self.assertEqual(machine.exit_status, 1)
        self.assertEqual(self.content(), before)

    def was_closed_clean(self, image="nvram.raw"):
        """Whether the store in a raw image says that it is at rest."""
        with open(self.path(image), "rb") as file:
            medium = reader.Medium(file)
            superblock = reader.read_superblock(medium)
            _, directory, _ = reader.read_directory(medium, superblock,
                                                    reader.find_guards(superblock, None))
        return bool(directory.flags & reader.CLEAN)

    def machine(self, *args):
        """A machine that the test starts; the end of the test kills it."""
        self._machines += 1
        log = LOGS / f"{self.id()}-{self._machines % 10}"
        machine = Machine(list(args), self.directory, log)
        self.addCleanup(machine.stop)
        return machine

    def power_on(self, *args):
        """A running machine, and its TPM."""
        machine = self.machine(*args)
        machine.start()
        return machine, front_end(machine, args)
