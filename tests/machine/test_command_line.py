# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU carries out the whole command line before it writes to the image of a TPM."""

import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

import state
import tpm2
from case import NOBODY, TPM2, MachineTest, drive
from vm import create_image, program

NO_FOLDER = ["-run-with", "chroot=/there/is/no/such/folder"]


class FailingTest(MachineTest):
    """A command line with a mistake leaves each byte, of a blank image and of a store."""

    image_format = "qcow2"
    image_name = "nvram.qcow2"

    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o755)
        self.image(self.image_format)

    @property
    def args(self):
        return drive(self.image_name, self.image_format) + TPM2

    def make(self):
        machine, tpm = self.power_on(*self.args)
        state.make(tpm)
        return machine

    def check_leaves_the_image(self, *args, says, before=()):
        old = self.content()
        self.assertIn(says, self.start_and_fail(*self.args, *args, before=before))
        self.assertEqual(self.content(), old)

    def check_leaves_both(self, *args, **options):
        self.check_leaves_the_image(*args, **options)
        self.make().quit()
        self.check_leaves_the_image(*args, **options)

    def test_device_that_cannot_be_made(self):
        self.check_leaves_both("-device", "virtio-blk-pci,drive=lost", says="can't find value 'lost'")

    def test_disk_that_another_qemu_has(self):
        """The TPM has its permissions when the disk does not get them."""
        create_image(self.directory, "raw", "8M", "disk")
        disk = ["-drive", "if=none,id=disk,file=disk.raw,format=raw", "-device",
                "virtio-blk-pci,drive=disk"]
        self.power_on(*disk)
        self.check_leaves_both(*disk, says='Failed to get "write" lock')

    def test_folder_that_is_not_there(self):
        self.check_leaves_both(*NO_FOLDER, says="chroot failed")

    def test_user_that_qemu_may_not_become(self):
        os.chmod(self.path(self.image_name), 0o666)
        self.check_leaves_both("-run-with", "user=root", before=NOBODY, says="Failed to set")

    def test_snapshot_that_is_not_there(self):
        self.check_leaves_both("-loadvm", "lost", says="Snapshot 'lost' does not exist")

    def test_snapshot_without_the_state_of_a_vm(self):
        def snapshot():
            subprocess.run([program("QEMU_IMG"), "snapshot", "-c", "bare", self.image_name],
                           cwd=self.directory, check=True)

        snapshot()
        self.check_leaves_the_image("-loadvm", "bare", says="This is a disk-only snapshot")
        self.make().quit()
        self.check_leaves_the_image("-loadvm", "bare", says="This is a disk-only snapshot")

    def test_daemon_that_fails(self):
        self.check_leaves_both("-daemonize", *NO_FOLDER, says="chroot failed")


class DaemonTest(MachineTest):
    """The program that the user has started ends when the TPM is ready, or says why it is not."""

    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o755)
        create_image(self.directory, "raw")

    @property
    def args(self):
        return drive(self.path(self.image_name)) + TPM2

    def test_user_learns_what_is_wrong_with_the_image(self):
        os.truncate(self.path(self.image_name), 1 << 16)
        self.assertIn("medium is too small", self.start_and_fail("-daemonize", *self.args))

    @unittest.skipIf(os.geteuid(), "only root may become another user")
    def test_image_that_the_daemons_user_cannot_open(self):
        """It is open already, and the TPM is made in it all the same."""
        os.chmod(self.path(self.image_name), 0o600)
        subprocess.run([program("QEMU"), "-accel", "qtest", "-display", "none", "-daemonize",
                        "-pidfile", "pid", "-run-with", f"user=nobody,chroot={self.directory}",
                        *self.args], cwd=self.directory, check=True, timeout=60,
                       stdin=subprocess.DEVNULL)
        pid = int(Path(self.path("pid")).read_text(encoding="utf-8"))
        self.assertIn("65534", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
        self.assertTrue(self.was_closed_clean(self.image_name))
        machine, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        self.assertFalse(machine.store()["created"])


class LargeTest(MachineTest):
    """A blank image of more than 1 GiB becomes a store only if the user says so."""

    image_name = "nvram.qcow2"
    size = (1 << 30) + 4096

    def store(self, *options):
        return [*drive(self.image_name, "qcow2"), "-object",
                ",".join(["blobstore,id=bs,drive=nvram", *options]),
                "-device", "tpm-tis,blobstore=bs"]

    def make(self, size):
        create_image(self.directory, "qcow2", str(size), "nvram")

    def test_is_refused_unless_the_user_says_so(self):
        self.make(self.size)
        for args in drive(self.image_name, "qcow2") + TPM2, self.store(), self.store("create=auto"):
            self.check_machine_refused(*args, says="seems blank, but has more than 1073741824")
        machine, tpm = self.power_on(*self.store("create=always"))
        state.make(tpm)
        machine.quit()
        machine, _ = self.power_on(*drive(self.image_name, "qcow2"), *TPM2)
        self.assertFalse(machine.store()["created"])

    def test_one_gigabyte_is_not_too_much(self):
        self.make(1 << 30)
        machine, _ = self.power_on(*self.store())
        self.assertTrue(machine.store()["created"])


if __name__ == "__main__":
    unittest.main()
