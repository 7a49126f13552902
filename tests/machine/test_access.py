# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's permission to write the image, and the message to a user whose TPM is a new one."""

import os
import subprocess
import unittest

import tpm2
from case import NOBODY, TPM2, MachineTest, drive

class AccessTest(MachineTest):
    def check_is_explained(self, said, *parts):
        self.assertNotIn("in use", said)
        for part in parts:
            self.assertIn(part, said)

    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o755)
        self.image()

    def test_no_permission_names_file_mode_and_user(self):
        for mode in 0o444, 0o644:
            os.chmod(self.path("nvram.raw"), mode)
            said = self.start_and_fail(*drive("nvram.raw"), *TPM2, before=NOBODY)
            self.check_is_explained(said, "drive 'nvram' cannot be written", "file 'nvram.raw'",
                                    f"owner root, mode {mode:04o}", "by user nobody",
                                    "Permission denied", "Give that user the permission")

    def test_another_users_file_that_cannot_be_read(self):
        os.chmod(self.path("nvram.raw"), 0o600)
        said = self.start_and_fail(*drive("nvram.raw"), *TPM2, before=NOBODY)
        self.check_is_explained(said, "nvram.raw", "Permission denied")

    def test_no_permission_for_the_directory(self):
        os.chmod(self.directory, 0o700)
        said = self.start_and_fail(*drive(self.path("nvram.raw")), *TPM2, before=NOBODY)
        self.check_is_explained(said, "nvram.raw", "Permission denied")

    def test_immutable_file(self):
        image = self.path("nvram.raw")
        if subprocess.run(["chattr", "+i", image], check=False, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("the file system has no immutable files")
        self.addCleanup(subprocess.run, ["chattr", "-i", image], check=True)
        said = self.start_and_fail(*drive("nvram.raw"), *TPM2)
        self.check_is_explained(said, "file 'nvram.raw'", "Operation not permitted", "chattr -i")
        subprocess.run(["chattr", "-i", image], check=True)

    def test_read_only_file_system(self):
        """The script runs in a mount namespace of its own."""
        script = ("mount -t tmpfs none ro && truncate -s 4M ro/nvram.raw && "
                  "mount -o remount,ro ro && exec \"$@\"")
        os.mkdir(self.path("ro"))
        if subprocess.run(["unshare", "-m", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no mount namespaces here")
        said = self.start_and_fail(*drive("ro/nvram.raw"), *TPM2,
                                   before=["unshare", "-m", "sh", "-c", script, "sh"])
        self.check_is_explained(said, "file 'ro/nvram.raw'", "Read-only file system",
                                "mounted read-only")

    def test_a_second_qemu_is_told_that_the_image_is_in_use(self):
        vm, _ = self.power_on(*drive("nvram.raw"), *TPM2)
        said = self.start_and_fail(*drive("nvram.raw"), *TPM2)
        self.assertRegex(said, "in use|Is another process using the image")
        self.assertNotIn("cannot be written", said)
        self.assertEqual(vm.store()["state"], "active")


class NewTest(MachineTest):
    def test_user_learns_once_that_a_tpm_is_new(self):
        self.image()
        for number in range(2):
            vm, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
            tpm.run(tpm2.startup())
            said = vm.qemu_log.read_text(encoding="utf-8")
            self.assertEqual(said.count("devices begin with empty state in a new store"),
                             number == 0)
            self.assertEqual(vm.store()["created"], number == 0)
            if number == 0:
                self.assertIn(vm.store()["uuid"], said)
            vm.quit()

    def test_event_tells_a_client_that_is_connected_by_then(self):
        self.image()
        vm = self.machine("-preconfig", *drive("nvram.raw"), *TPM2)
        vm.start()
        vm.qmp("x-exit-preconfig")
        event = vm.wait_event("BLOBSTORE_CREATED")
        self.assertEqual(event, {"id": "nvram", "drive": "nvram", "uuid": vm.store()["uuid"]})


if __name__ == "__main__":
    unittest.main()
