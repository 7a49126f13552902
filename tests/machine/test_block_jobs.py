# SPDX-License-Identifier: GPL-2.0-or-later
"""Block jobs and snapshots that people use on disk images, on the image of a TPM in use."""

import shutil
import unittest

import state
import tpm2
from case import TPM2, MachineTest
from vm import create_image

SLOW = 1                    # bytes per second: the job waits for the test


class BlockJobTest(MachineTest):
    def power_on_nodes(self, image_format):
        """Start a TPM on nodes with names; returns the state stored before the first job."""
        image = self.image(image_format)
        self.format = image_format
        self.vm, self.tpm = self.power_on(
            "-blockdev", f"driver={image_format},node-name=nvram,file.driver=file,"
            f"file.filename={image}", "-object", "blobstore,id=store,drive=nvram",
            "-device", "tpm-tis,blobstore=store")
        self.tpm.run(tpm2.startup())
        state.make_permanent(self.tpm)
        self.changes = 0

    def change(self):
        """Store a change; returns all permanent state."""
        self.changes += 1
        state.change_permanent(self.tpm, self.changes)
        return state.permanent(self.tpm)

    def start_job(self, command, **arguments):
        """Start a job that makes no progress until end_job(), and store more meanwhile."""
        self.vm.qmp(command, job_id="job", speed=SLOW, auto_dismiss=False, **arguments)
        for _ in range(3):
            self.change()
        job, = self.vm.qmp("query-jobs")
        self.assertEqual(job["status"], "running")

    def end_job(self, is_mirror=False):
        self.vm.qmp("block-job-set-speed", device="job", speed=0)
        if is_mirror:
            self.wait_for_job("ready")
            self.change()
            self.vm.qmp("job-complete", id="job")
        self.wait_for_job("concluded")
        job, = self.vm.qmp("query-jobs")
        self.assertNotIn("error", job)
        self.vm.qmp("job-dismiss", id="job")
        return self.change()

    def wait_for_job(self, status):
        while self.vm.wait_event("JOB_STATUS_CHANGE")["status"] != status:
            pass

    def add_node(self, image_format, name):
        """Start a job to a new image of that name; returns the name."""
        image = create_image(self.directory, image_format, name=name)
        self.vm.qmp("blockdev-add", driver=image_format, node_name=name,
                    file={"driver": "file", "filename": image})
        return name

    def check_image(self, image, image_format, permanent):
        """The copy opens as the same store, without being formatted or repaired."""
        uuid = self.vm.store()["uuid"]
        machine, tpm = self.power_on(
            "-drive", f"if=none,id=nvram,file={image},format={image_format}", "-object",
            f"blobstore,id=store,drive=nvram,create=never,uuid={uuid}", "-device",
            "tpm-tis,blobstore=store")
        self.assertNotIn("warning", machine.qemu_log.read_text(encoding="utf-8"))
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()

    def check_vm(self, image, image_format, permanent):
        """Neither the VM nor its image, opened in the next process, has lost anything."""
        self.assertEqual(state.permanent(self.tpm), permanent)
        store = self.vm.store()
        self.assertEqual((store["state"], store["stats"]["write-errors"]), ("active", 0))
        self.vm.kill()
        machine, tpm = self.power_on(
            "-drive", f"if=none,id=nvram,file={image},format={image_format}", *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()

    def check_backup(self, image_format, command, **arguments):
        """The copy has the state that was stored when the job began."""
        self.power_on_nodes(image_format)
        if command == "blockdev-backup":
            arguments["target"] = self.add_node(image_format, "copy")
        then = self.change()
        self.start_job(command, device="nvram", sync="full", **arguments)
        now = self.end_job()
        if command == "blockdev-backup":
            self.vm.qmp("blockdev-del", node_name="copy")
        self.check_image(f"copy.{image_format}", image_format, then)
        self.check_vm(f"nvram.{image_format}", image_format, now)

    def test_blockdev_backup(self):
        for image_format in "raw", "qcow2":
            with self.subTest(image_format):
                self.check_backup(image_format, "blockdev-backup")

    def test_drive_backup(self):
        for image_format in "raw", "qcow2":
            with self.subTest(image_format):
                self.check_backup(image_format, "drive-backup", target=f"copy.{image_format}",
                                  format=image_format)

    def test_drive_mirror_with_pivot(self):
        self.power_on_nodes("raw")
        self.start_job("drive-mirror", device="nvram", sync="full", format="raw",
                       target="copy.raw")
        self.check_vm("copy.raw", "raw", self.end_job(is_mirror=True))

    def take_snapshots(self, *names):
        """Make external snapshots in new images of these names; returns the state before each."""
        then, below = [], "nvram"
        for name in names:
            image = create_image(self.directory, "qcow2", name=name)
            self.vm.qmp("blockdev-add", driver="qcow2", node_name=name, backing=None,
                        file={"driver": "file", "filename": image})
            then.append(self.change())
            self.vm.qmp("blockdev-snapshot", node=below, overlay=name)
            self.change()
            below = name
        return then

    def check_what_is_below(self, then, image_format):
        """A file that a snapshot has left behind does not change any more, and opens."""
        shutil.copy(self.path(f"nvram.{image_format}"), self.path("below"))
        self.check_image("below", image_format, then)

    def test_external_snapshot(self):
        for image_format in "raw", "qcow2":
            with self.subTest(image_format):
                self.power_on_nodes(image_format)
                then, = self.take_snapshots("over")
                self.check_what_is_below(then, image_format)
                self.check_overlay(image_format, "over")

    def check_overlay(self, image_format, overlay):
        """The image does not have its backing file recorded yet."""
        permanent = self.change()
        self.vm.kill()
        machine, tpm = self.power_on(
            "-blockdev", f"driver=qcow2,node-name=nvram,file.driver=file,file.filename={overlay}"
            f".qcow2,backing.driver={image_format},backing.file.driver=file,"
            f"backing.file.filename=nvram.{image_format}", *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()

    def test_stream_into_the_overlay(self):
        """Afterwards the image stands alone, and the one below is unchanged."""
        self.power_on_nodes("qcow2")
        then, _ = self.take_snapshots("over", "top")
        self.start_job("block-stream", device="top")
        now = self.end_job()
        self.check_what_is_below(then, "qcow2")
        self.check_vm("top.qcow2", "qcow2", now)

    def test_commit_of_the_active_overlay(self):
        self.power_on_nodes("qcow2")
        self.take_snapshots("over")
        self.start_job("block-commit", device="over")
        self.check_vm("nvram.qcow2", "qcow2", self.end_job(is_mirror=True))

    def test_commit_of_what_is_below_the_active_overlay(self):
        self.power_on_nodes("qcow2")
        self.take_snapshots("over", "top")
        self.start_job("block-commit", device="top", top_node="over", base_node="nvram")
        self.end_job()
        self.check_overlay("qcow2", "top")


if __name__ == "__main__":
    unittest.main()
