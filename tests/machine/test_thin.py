# SPDX-License-Identifier: GPL-2.0-or-later
"""A thin image stays thin: zeroing old content makes the drive allocate nothing else."""

import os
import subprocess
import unittest

import state
import tpm2
import tpm12
from case import drive
from encryption import PLAIN, SECRETS, EncryptionTest, new_key, opens_with
from vm import program

IMAGE_BYTES = 1 << 30
QUICK = "--new-key-iter-time=1"
JUNK = 0xa5
JUNK_FROM, JUNK_BYTES = 64 << 20, 8 << 20
TPM12_ENCRYPTED = [*SECRETS, "-object", f"blobstore,id=bs,drive=nvram,{opens_with('sec0')}",
                   "-tpmdev", "libtpms,id=dev,blobstore=bs,version=1.2",
                   "-device", "tpm-tis,tpmdev=dev"]


class ThinImages:
    """The tests of an image. A class says how it is made, and has its file in self.file."""

    drive_options = {}

    def allocated(self):
        with open(self.file, "rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_blocks * 512

    def check_thin(self, before, what):
        after = self.allocated()
        print(f"# {self.id()}: {what}: {before >> 10} KiB before, {after >> 10} KiB after")
        self.assertLessEqual(after, before, what)

    def written(self):
        """All of the file but its holes."""
        content, end = b"", 0
        with open(self.file, "rb") as file:
            while True:
                try:
                    start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                except OSError:         # Nothing follows.
                    return content
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                content += os.pread(file.fileno(), end - start, start)

    def check_readable(self, expected):
        """The file has the content of the NV index, in the open or not."""
        content = self.written()
        self.assertEqual(any(state.digest(number)[:tpm2.NV_BYTES] in content
                             for number in range(4)), expected)

    def tool(self, command, *options):
        done = subprocess.run(
            [program("QEMU_BLOBSTORE"), command, "--object=secret,id=sec0,data=sesame",
             "--object=secret,id=sec1,data=simsim", *options, "--image-opts",
             self.tool_image()], cwd=self.directory, check=False, stderr=subprocess.PIPE,
            text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def make_changed(self):
        """A new TPM whose blobs have been in both of their slots."""
        machine, tpm, _ = self.make(*PLAIN)
        for number in range(4):
            state.change_permanent(tpm, number)
        return machine, state.permanent(tpm)

    def test_jobs_allocate_nothing(self):
        machine, expected = self.make_changed()
        before = self.allocated()
        self.check_readable(True)
        for command, options in (("blobstore-encrypt", new_key("sec0")),
                                 ("blobstore-rekey", new_key("sec1")),
                                 ("blobstore-decrypt", {})):
            self.run_command(machine, command, id="bs", **options)
            self.check_thin(before, command)
            self.check_readable(command == "blobstore-decrypt")
        machine.quit()
        self.check_holds(expected, *PLAIN)

    def test_tool_allocates_nothing(self):
        machine, expected = self.make_changed()
        machine.quit()
        before = self.allocated()
        for command, *options in (("encrypt", "--new-key-secret=sec0", QUICK),
                                  ("rekey", "--key-secret=sec0", "--new-key-secret=sec1", QUICK),
                                  ("decrypt", "--key-secret=sec1")):
            self.tool(command, *options)
            self.check_thin(before, command)
            self.check_readable(command == "decrypt")
        self.check_holds(expected, *PLAIN)

    def fill(self):
        """Put something into the free space."""
        subprocess.run([program("QEMU_IO"), "--image-opts", self.tool_image(), "-c",
                        f"write -P {JUNK} {JUNK_FROM} {JUNK_BYTES}"], cwd=self.directory,
                       check=True, stdout=subprocess.DEVNULL)

    def test_what_free_space_held_is_zeroed_and_given_back_if_the_user_wants_that(self):
        machine, expected = self.make_changed()
        machine.quit()
        before = self.allocated()
        self.fill()
        filled = self.allocated()
        self.assertGreaterEqual(filled, before + JUNK_BYTES)
        self.tool("encrypt", "--new-key-secret=sec0", QUICK)
        if self.drive_options.get("discard") == "unmap":
            self.check_thin(before, "filled and encrypted")
        else:
            self.assertEqual(self.allocated(), filled)
        self.assertNotIn(bytes([JUNK]) * 512, self.written())
        self.tool("decrypt", "--key-secret=sec0")
        self.check_holds(expected, *PLAIN)

    def test_delete_allocates_nothing(self):
        machine, tpm = self.power_on(*self.drive, *TPM12_ENCRYPTED)
        tpm.run(tpm12.startup())
        for _ in range(2):
            tpm.run(tpm12.save_state())
            self.assertTrue(machine.blob("savestate")["present"])
            before = self.allocated()
            machine.qmp("system_reset")
            machine.wait_event("RESET")
            tpm.run(tpm12.startup(tpm12.STATE))
            self.assertFalse(machine.blob("savestate")["present"])
        self.check_thin(before, "delete")


class RawTest(ThinImages, EncryptionTest):
    create_options = ()

    def setUp(self):
        super().setUp()
        self.file = self.path(self.image_name)
        subprocess.run([program("QEMU_IMG"), "create", "-q", "-f", self.image_format,
                        *self.create_options, self.file, str(IMAGE_BYTES)], check=True)
        self.drive = drive(self.image_name, self.image_format, **self.drive_options)

    def tool_image(self):
        return ",".join([f"driver={self.image_format},file.filename={self.image_name}",
                         *(f"{name}={value}" for name, value in self.drive_options.items())])


class RawUnmapTest(RawTest):
    drive_options = {"discard": "unmap"}


class Qcow2Test(RawTest):
    image_format = "qcow2"


class Qcow2SmallClustersTest(Qcow2Test):
    create_options = "-o", "cluster_size=4k"


class Qcow2LargeClustersTest(Qcow2Test):
    create_options = "-o", "cluster_size=2M"


class Qcow2UnmapTest(Qcow2Test):
    drive_options = {"discard": "unmap"}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class LoopTest(ThinImages, EncryptionTest):
    """A device that does not say what is a hole."""

    device_bytes = 256 << 20

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest("loop devices want root")
        self.file = self.path("backing")
        with open(self.file, "wb") as file:
            file.truncate(self.device_bytes)
        try:
            self.device = run("losetup", "-f", "--show", self.file)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            self.skipTest(f"no loop device: {error}")
        self.addCleanup(run, "losetup", "-d", self.device)
        self.drive = drive(self.device, **self.drive_options)

    def allocated(self):
        with open(self.device, "rb") as device:
            os.fsync(device.fileno())
        return super().allocated()

    def tool_image(self):
        return ",".join([f"driver=raw,file.driver=host_device,file.filename={self.device}",
                         *(f"{name}={value}" for name, value in self.drive_options.items())])


class LoopUnmapTest(LoopTest):
    drive_options = {"discard": "unmap"}


if __name__ == "__main__":
    unittest.main()
