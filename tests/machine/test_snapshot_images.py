# SPDX-License-Identifier: GPL-2.0-or-later
"""What a snapshot does to the images: which one takes the VM's state, and when none goes back."""

import json
import subprocess
import unittest

import state
import tpm2
from case import MachineTest, drive
from encryption import Mixin, new_key, opens_with, store
from vm import VMError, create_image, program

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


class LoadTest(Mixin, MachineTest):
    image_format = "qcow2"
    disk = [*node("disk", "disk.qcow2"), "-device", "virtio-blk-pci,drive=disk"]
    secret = []                 # of an image that is itself encrypted
    key = "sec0"

    def shown(self, image):
        return f"driver=qcow2,file.filename={image}"

    def setUp(self):
        super().setUp()
        create_image(self.directory, "qcow2", "8M", "disk")

    @property
    def args(self):
        return [*self.disk, *store(key=opens_with(self.key) if self.key else "")]

    def power_on_old(self, key):
        """A VM with the snapshot "old" of a store with that key."""
        self.key = key
        self.machine_, self.tpm = self.start(*self.args)
        state.make_permanent(self.tpm)
        self.change_disk("1")
        self.assertEqual(self.machine_.hmp("savevm old"), "")
        self.change_disk("2")

    def change_disk(self, byte):
        self.assertNotIn("error", self.machine_.hmp(f'qemu-io disk "write -P {byte} 0 64k"'))

    def change_key(self, command, key):
        arguments = new_key(key) if key else {}
        self.run_command(self.machine_, f"blobstore-{command}", id="bs", **arguments)
        self.key = key
        state.change_permanent(self.tpm, 1)
        self.permanent = state.permanent(self.tpm)

    def check_all_is_there(self):
        self.machine_.qmp("cont")
        self.assertEqual(self.machine_.status, "running")
        self.assertEqual(state.permanent(self.tpm), self.permanent)
        self.assertEqual(self.machine_.events("BLOBSTORE_STALE"), [])
        self.assertEqual(self.machine_.store()["state"], "active")

    def contents(self):
        """What both images show, without what qcow2 keeps beside it."""
        found = []
        for image in self.image_name, "disk.qcow2":
            subprocess.run([program("QEMU_IMG"), "convert", "-U", "-O", "raw", *self.secret,
                            "--image-opts", self.shown(image), "shown"],
                           cwd=self.directory, check=True)
            found.append(self.content("shown"))
        return found

    def check_refuses(self, says, **arguments):
        before = self.contents()
        said = self.machine_.hmp("loadvm old")
        self.assertRegex(said.replace("\r", ""), f"blobstore 'bs': in snapshot 'old' {says}\n")
        self.assertIn("No image has gone back", said)
        self.assertEqual(self.contents(), before)
        self.check_all_is_there()

    def check_each_way(self, says):
        says = f"the store on drive 'nvram' {says}"
        self.check_refuses(says)
        self.machine_.qmp("stop")
        self.check_refuses(says)
        node_name, = [node["node-name"] for node in self.machine_.qmp("query-named-block-nodes")
                      if node["drv"] == "qcow2" and "nvram" in node["file"]]
        self.machine_.qmp("snapshot-load", job_id="job", tag="old", vmstate="disk",
                          devices=["disk", node_name])
        while self.machine_.wait_event("JOB_STATUS_CHANGE")["status"] != "concluded":
            pass
        job, = self.machine_.qmp("query-jobs")
        self.assertRegex(job["error"], says)
        self.machine_.qmp("job-dismiss", id="job")
        self.check_all_is_there()
        self.machine_.quit()
        before = self.content(), self.content("disk.qcow2")
        machine = self.machine(*self.drive, *self.args, "-loadvm", "old")
        with self.assertRaises(VMError):
            machine.start()
        self.assertRegex(machine.qemu_log.read_text(encoding="utf-8"), says)
        self.assertEqual((self.content(), self.content("disk.qcow2")), before)
        self.check_holds(self.permanent, *self.args)


class OtherKeyTest(LoadTest):
    """A snapshot that the present key does not open takes no image back."""

    def test_snapshot_from_before_a_rekey(self):
        self.power_on_old("sec0")
        self.change_key("rekey", "sec1")
        self.check_each_way("has another data key")

    def test_snapshot_from_before_the_store_was_encrypted(self):
        self.power_on_old(None)
        self.change_key("encrypt", "sec0")
        self.check_each_way("is not encrypted, and now it is")

    def test_snapshot_from_before_the_store_was_decrypted(self):
        self.power_on_old("sec0")
        self.change_key("decrypt", None)
        self.check_each_way("is encrypted, and now it is not")

    def test_snapshot_of_another_store(self):
        self.power_on_old(None)
        uuid = self.machine_.store()["uuid"]
        self.machine_.quit()
        subprocess.run([program("QEMU_IO"), "-c", "write -z 0 4M", self.image_name],
                       cwd=self.directory, check=True, stdout=subprocess.DEVNULL)
        self.machine_, self.tpm = self.start(*self.args)
        state.make_permanent(self.tpm)
        self.permanent = state.permanent(self.tpm)
        self.check_refuses(f"drive 'nvram' holds another store, with uuid {uuid}")

    def test_another_passphrase_for_the_same_key_is_good(self):
        self.power_on_old("sec0")
        permanent = state.permanent(self.tpm)
        self.machine_.qmp("blobstore-key-add", id="bs", keyslot=0, force=True, **new_key("sec1"))
        state.change_permanent(self.tpm, 1)
        self.assertEqual(self.machine_.hmp("loadvm old"), "")
        self.assertEqual(state.permanent(self.tpm), permanent)

    def test_snapshot_without_the_nvram_is_not_looked_at(self):
        """Its state is refused by the stream, and the nvram keeps what it has."""
        self.power_on_old("sec0")
        self.change_key("rekey", "sec1")
        self.machine_.qmp("snapshot-load", job_id="job", tag="old", vmstate="disk",
                          devices=["disk"])
        while self.machine_.wait_event("JOB_STATUS_CHANGE")["status"] != "concluded":
            pass
        self.assertIn("rekeyed after that state was saved",
                      self.machine_.qemu_log.read_text(encoding="utf-8"))


class EncryptedImageTest(LoadTest):
    secret = ["--object", "secret,id=s,data=abc"]

    def shown(self, image):
        return super().shown(image) + (",encrypt.key-secret=s" if image == self.image_name else "")

    def test_image_that_is_itself_encrypted(self):
        subprocess.run([program("QEMU_IMG"), "create", "-q", "-f", "qcow2", *self.secret, "-o",
                        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
                        self.image_name, "4M"], cwd=self.directory, check=True)
        self.drive = ["-object", self.secret[1], *drive(self.image_name, "qcow2",
                                                        **{"encrypt_key-secret": "s"})]
        self.power_on_old("sec0")
        self.change_key("rekey", "sec1")
        self.check_each_way("has another data key")


if __name__ == "__main__":
    unittest.main()
