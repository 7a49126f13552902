# SPDX-License-Identifier: GPL-2.0-or-later
"""What the block jobs that people use on disks make of a running TPM's image."""

import shutil
import tempfile
import time
import unittest

from vm import BUILD, VM, create_image

LOGS = BUILD / "functional"
JOB_SECONDS = 60


class JobsTest(unittest.TestCase):
    """The machine stands still; its TPM has been made, and writes nothing more."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="blobstore-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def start(self, image, image_format, *options):
        """A VM whose store is to be on `image` already, if options say so."""
        store = ",".join(["blobstore,id=store,drive=nvram", *options])
        log = LOGS / f"{self.id().rpartition('.')[2]}-{image}"
        return VM(["-S", "-drive", f"if=none,id=nvram,file={image},format={image_format}",
                   "-object", store, "-device", "tpm-tis,blobstore=store"], self.directory, log)

    def state(self, vm):
        """What identifies the TPM: its store, and its permanent blob."""
        store, = vm.qmp("blobstore-info")
        self.assertEqual((store["state"], store["stats"]["write-errors"]), ("active", 0))
        blob, = [blob for blob in store["blobs"] if blob["name"] == "permanent"]
        self.assertTrue(blob["present"])
        return store["uuid"], blob["size"], blob["sequence"]

    def wait_for_job(self, vm, status):
        deadline = time.monotonic() + JOB_SECONDS
        while True:
            job, = vm.qmp("query-jobs")
            self.assertNotIn("error", job)
            if job["status"] == status:
                return
            self.assertLess(time.monotonic(), deadline, f"job is still {job['status']}")
            time.sleep(0.05)

    def check_copy(self, copy, image_format, expected):
        """The copy opens without being formatted, with the same TPM in it."""
        with self.start(copy, image_format, "format=never", f"uuid={expected[0]}") as vm:
            self.assertEqual(self.state(vm), expected)

    def test_backup_of_a_running_tpm_is_that_tpm(self):
        for image_format in "raw", "qcow2":
            with self.subTest(image_format):
                image = create_image(self.directory, image_format)
                with self.start(image, image_format) as vm:
                    expected = self.state(vm)
                    vm.qmp("drive-backup", job_id="job", device="nvram", sync="full",
                           target=f"copy.{image_format}", format=image_format,
                           auto_dismiss=False)
                    self.wait_for_job(vm, "concluded")
                    self.assertEqual(self.state(vm), expected)
                self.check_copy(f"copy.{image_format}", image_format, expected)

    def test_mirror_takes_the_tpm_along(self):
        image = create_image(self.directory, "raw")
        with self.start(image, "raw") as vm:
            expected = self.state(vm)
            vm.qmp("drive-mirror", job_id="job", device="nvram", sync="full",
                   target="copy.raw", format="raw", auto_dismiss=False)
            self.wait_for_job(vm, "ready")
            vm.qmp("job-complete", id="job")
            self.wait_for_job(vm, "concluded")
            self.assertEqual(self.state(vm), expected)
            vm.qmp("job-dismiss", id="job")
            vm.qmp("quit")
            vm.wait(30)
        self.check_copy("copy.raw", "raw", expected)

    def test_snapshot_holds_the_tpm_and_can_be_committed(self):
        image = create_image(self.directory, "qcow2")
        with self.start(image, "qcow2") as vm:
            expected = self.state(vm)
            vm.qmp("blockdev-snapshot-sync", device="nvram", snapshot_file="overlay.qcow2")
            self.assertEqual(self.state(vm), expected)
            vm.qmp("block-commit", job_id="job", device="nvram", auto_dismiss=False)
            self.wait_for_job(vm, "ready")
            vm.qmp("job-complete", id="job")
            self.wait_for_job(vm, "concluded")
            self.assertEqual(self.state(vm), expected)
        self.check_copy(image, "qcow2", expected)


if __name__ == "__main__":
    unittest.main()
