# SPDX-License-Identifier: GPL-2.0-or-later
"""Which image takes the state of the VM in a snapshot."""

import json
import subprocess
import unittest

import state
import tpm2
from case import MachineTest, drive
from vm import create_image, program

GROWS = "the state of the VM is saved in drive"


def image_info(test, image):
    said = subprocess.run([program("QEMU_IMG"), "info", "-U", "--output=json", image],
                          cwd=test.directory, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(said)


def vmstate_bytes(test, image, name):
    """The size of the VM's state in a snapshot of an image."""
    size, = [snapshot["vm-state-size"] for snapshot in image_info(test, image)["snapshots"]
             if snapshot["name"] == name]
    return size


def node(name, image):
    return ["-blockdev", f"driver=qcow2,node-name={name},file.driver=file,file.filename={image}"]


class PlaceTest(MachineTest):
    """QEMU saves the VM's state in the first image; that of the TPM is the last choice."""

    tpm = ["-device", "tpm-tis,blobstore=nvram"]
    disk = ["-device", "virtio-blk-pci,drive=disk"]

    def setUp(self):
        super().setUp()
        for name in "nvram", "disk":
            create_image(self.directory, "qcow2", "8M", name)

    def sizes(self, name):
        return [vmstate_bytes(self, image, name) for image in ("nvram.qcow2", "disk.qcow2")]

    def check_state_is_on_the_disk(self, *args):
        machine, tpm = self.power_on(*args)
        session = state.make(tpm)
        saved = state.all(tpm, session)
        self.assertEqual(machine.hmp("savevm one"), "")
        state.change_permanent(tpm, 1)
        self.assertIn("one", machine.hmp("info snapshots"))
        self.assertEqual(machine.hmp("loadvm one"), "")
        self.assertEqual(state.all(tpm, session), saved)
        machine.quit()
        nvram, disk = self.sizes("one")
        self.assertEqual(nvram, 0)
        self.assertGreater(disk, 0)
        machine, tpm = self.power_on(*args, "-loadvm", "one")
        self.assertEqual(state.all(tpm, session), saved)

    def test_nvram_is_first_on_the_command_line(self):
        self.check_state_is_on_the_disk(*node("nvram", "nvram.qcow2"), *node("disk", "disk.qcow2"),
                                        *self.tpm, *self.disk)

    def test_nvram_is_the_first_drive(self):
        self.check_state_is_on_the_disk(
            *drive("nvram.qcow2", "qcow2"), "-drive",
            "if=none,id=disk,file=disk.qcow2,format=qcow2", *self.tpm, *self.disk)

    def test_nvram_is_last(self):
        self.check_state_is_on_the_disk(*node("disk", "disk.qcow2"), *node("nvram", "nvram.qcow2"),
                                        *self.disk, *self.tpm)

    def test_disk_that_was_plugged_in_takes_it(self):
        machine, tpm = self.power_on(*node("nvram", "nvram.qcow2"), *node("disk", "disk.qcow2"),
                                     *self.tpm)
        tpm.run(tpm2.startup())
        machine.qmp("device_add", driver="virtio-blk-pci", id="plugged", drive="disk")
        self.assertEqual(machine.hmp("savevm one"), "")
        self.assertEqual(self.sizes("one")[0], 0)

    def test_nvram_alone_takes_it_with_a_warning(self):
        machine, _ = self.power_on(*node("nvram", "nvram.qcow2"), *self.tpm)
        self.assertRegex(machine.hmp("savevm one"), rf"warning: blobstore 'nvram': {GROWS} 'nvram'")
        self.assertGreater(vmstate_bytes(self, "nvram.qcow2", "one"), 0)
        self.assertEqual(machine.hmp("loadvm one"), "")

    def test_raw_disk_cannot_take_it(self):
        """QEMU refuses then, whatever the order is."""
        create_image(self.directory, "raw", "8M", "disk")
        machine, _ = self.power_on(
            *node("nvram", "nvram.qcow2"), "-blockdev",
            "driver=raw,node-name=disk,file.driver=file,file.filename=disk.raw",
            *self.tpm, *self.disk)
        self.assertIn("does not support snapshots", machine.hmp("savevm one"))

    def test_user_may_choose_the_nvram(self):
        machine, _ = self.power_on(*node("nvram", "nvram.qcow2"), *node("disk", "disk.qcow2"),
                                   *self.tpm, *self.disk)
        machine.qmp("snapshot-save", job_id="job", tag="one", vmstate="nvram",
                    devices=["disk", "nvram"])
        while machine.wait_event("JOB_STATUS_CHANGE")["status"] != "concluded":
            pass
        job, = machine.qmp("query-jobs")
        self.assertNotIn("error", job)
        nvram, disk = self.sizes("one")
        self.assertGreater(nvram, 0)
        self.assertEqual(disk, 0)
        self.assertIn(GROWS, machine.qemu_log.read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main()
