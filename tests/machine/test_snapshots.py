# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM returns to a snapshot with its VM."""

import re
import subprocess
import unittest
from pathlib import Path

import pytest

import state
import tpm12
import tpm2
from case import EFFORT, TPM12, TPM2, TPM2_CRB, MachineTest, drive
from stalling import StallingStorage
from vm import create_image, program

MOMENTS = 3


def name_of(moment):
    """The name is not a number, which could be the id of another snapshot."""
    return f"at{moment}"


class SnapshotTest(MachineTest):
    model = TPM2

    @property
    def args(self):
        return drive("nvram.qcow2", "qcow2") + self.model

    def power_on_new(self, *args):
        self.image("qcow2")
        machine, tpm = self.power_on(*self.args, *args)
        return machine, tpm, state.make(tpm)

    def save(self, machine, name):
        machine.savevm(name)

    def load(self, machine, name):
        self.assertEqual(machine.hmp(f"loadvm {name}"), "")
        self.assertEqual(machine.status, "running")

    def run_job(self, machine, command, tag, **arguments):
        machine.qmp(command, job_id="job", tag=tag, **arguments)
        while machine.wait_event("JOB_STATUS_CHANGE")["status"] != "concluded":
            pass
        job, = machine.qmp("query-jobs")
        machine.qmp("job-dismiss", id="job")
        return job.get("error")

    def node_of_nvram(self, machine):
        name, = [node["node-name"] for node in machine.qmp("query-named-block-nodes")
                 if node["drv"] == "qcow2" and "nvram" in node["file"]]
        return name

    def make_moments(self, machine, tpm, session, save):
        """Make states of the TPM, and snapshots of them with their number as name."""
        moments = []
        for number in range(MOMENTS):
            state.change_permanent(tpm, number)
            state.change_volatile(tpm, session, number)
            moments.append(state.all(tpm, session))
            save(machine, name_of(number))
            self.assertEqual(machine.status, "running")
            self.assertEqual(state.all(tpm, session), moments[number])
        return moments

    def check_moments(self, machine, tpm, session, moments, load):
        for _ in range(10 * EFFORT):
            number = self.random.randrange(MOMENTS)
            if self.random.randrange(2):
                state.change_permanent(tpm, 10 + number)
                state.change_volatile(tpm, session, 10 + number)
            load(machine, name_of(number))
            self.assertEqual(state.all(tpm, session), moments[number])
            self.assertEqual(machine.store()["state"], "active")
        self.assertEqual(machine.events("BLOBSTORE_STALE"), [])
        self.assertEqual(machine.store()["stats"]["write-errors"], 0)

    def check_stored(self, permanent):
        machine, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()

    @pytest.mark.scaled
    def test_loadvm_returns_to_any_moment_in_any_order(self):
        machine, tpm, session = self.power_on_new()
        moments = self.make_moments(machine, tpm, session, self.save)
        self.check_moments(machine, tpm, session, moments, self.load)
        self.load(machine, name_of(1))
        machine.kill()
        self.check_stored(moments[1]["permanent"])

    def test_loadvm_of_a_paused_vm(self):
        machine, tpm, session = self.power_on_new()
        moments = self.make_moments(machine, tpm, session, self.save)
        for number in 2, 0, 1:
            machine.qmp("stop")
            self.assertEqual(machine.hmp(f"loadvm {name_of(number)}"), "")
            self.assertEqual(machine.status, "paused")
            machine.qmp("cont")
            self.assertEqual(state.all(tpm, session), moments[number])
            state.change_permanent(tpm, 10)

    def test_fresh_process_begins_with_a_snapshot(self):
        machine, tpm, session = self.power_on_new()
        moments = self.make_moments(machine, tpm, session, self.save)
        state.change_permanent(tpm, 10)
        machine.kill()
        for number in 1, 0, 2:
            machine, tpm = self.power_on(*self.args, "-loadvm", name_of(number))
            self.assertEqual(machine.status, "running")
            self.assertEqual(state.all(tpm, session), moments[number])
            state.change_permanent(tpm, 11)
            permanent = state.permanent(tpm)
            machine.kill()
            machine, tpm = self.power_on(*self.args)
            tpm.run(tpm2.startup())
            self.assertEqual(state.permanent(tpm), permanent)
            machine.kill()

    @pytest.mark.scaled
    def test_jobs_save_load_and_delete(self):
        machine, tpm, session = self.power_on_new("-blockdev", (
            "driver=qcow2,node-name=disk,file.driver=file,file.filename="
            + create_image(self.directory, "qcow2", "8M", "disk")))
        devices = {"vmstate": "disk", "devices": ["disk", self.node_of_nvram(machine)]}

        def save(machine, tag):
            self.assertIsNone(self.run_job(machine, "snapshot-save", tag, **devices))

        def load(machine, tag):
            self.assertIsNone(self.run_job(machine, "snapshot-load", tag, **devices))
            machine.qmp("cont")

        moments = self.make_moments(machine, tpm, session, save)
        self.check_moments(machine, tpm, session, moments, load)
        before = state.all(tpm, session)
        self.assertIsNone(self.run_job(machine, "snapshot-delete", name_of(1),
                                       devices=devices["devices"]))
        self.assertIn("does not exist",
                      self.run_job(machine, "snapshot-load", name_of(1), **devices))
        machine.qmp("cont")
        self.assertEqual(state.all(tpm, session), before)

    def test_snapshot_without_the_nvram_brings_its_state_back(self):
        """Only the VM's state reverts; the medium is written to match it."""
        machine, tpm, session = self.power_on_new("-blockdev", (
            "driver=qcow2,node-name=disk,file.driver=file,file.filename="
            + create_image(self.directory, "qcow2", "8M", "disk")))
        devices = {"vmstate": "disk", "devices": ["disk"]}
        self.assertIsNone(self.run_job(machine, "snapshot-save", "0", **devices))
        before = state.all(tpm, session)
        state.change_permanent(tpm, 1)
        self.assertIsNone(self.run_job(machine, "snapshot-load", "0", **devices))
        machine.qmp("cont")
        stale, = machine.events("BLOBSTORE_STALE")
        self.assertEqual((stale["found"], stale["blobs"]),
                         ("newer", [{"owner": "tpm", "name": "permanent"}]))
        self.assertEqual(state.all(tpm, session), before)
        machine.kill()
        self.check_stored(before["permanent"])

    def test_raw_drive_makes_savevm_fail_and_nothing_else(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *self.model)
        session = state.make(tpm)
        before = state.all(tpm, session)
        self.assertIn("Device 'nvram' is writable but does not support snapshots",
                      machine.hmp("savevm 0"))
        self.assertEqual(machine.status, "running")
        self.assertEqual(state.all(tpm, session), before)

    def test_image_that_qemu_img_reverts_takes_the_tpm_with_it(self):
        machine, tpm, session = self.power_on_new()
        moments = self.make_moments(machine, tpm, session, self.save)
        state.change_permanent(tpm, 10)
        machine.quit()
        for number in 1, 0, 2:
            subprocess.run([program("QEMU_IMG"), "snapshot", "-a", name_of(number), "nvram.qcow2"],
                           cwd=self.directory, check=True)
            self.check_stored(moments[number]["permanent"])

    def test_command_in_flight_is_in_the_snapshot_as_done(self):
        storage = StallingStorage(self, self.image("qcow2"), "qcow2")
        machine, tpm = self.power_on(*storage.drive, *self.model)
        session = state.make(tpm)
        expected = state.all(tpm, session)
        for _ in range(5):
            storage.stall()
            tpm.start(tpm2.nv_increment(state.COUNTER))
            self.assertFalse(tpm.is_done())
            storage.go_on_when_it_is_missed(machine)
            self.save(machine, "flight")
            storage.go_on()
            tpm.finish()
            expected["permanent"]["counter"] += 1
            self.assertEqual(state.all(tpm, session), expected)
            # After loadvm the response still waits to be read.
            self.load(machine, "flight")
            tpm.take_over(tpm2.nv_increment(state.COUNTER))
            self.assertEqual(state.all(tpm, session), expected)

    def fail_half_way(self, stop_first):
        """The nvram has reverted already when another disk cannot; the TPM has not.

        Returns the machine, its TPM and the state of that.
        """
        create_image(self.directory, "qcow2", "8M", "disk")
        options = {"driver": "qcow2", "node-name": "disk"}
        machine, tpm, _ = self.power_on_new(
            "-blockdev", "driver=file,node-name=good,filename=disk.qcow2",
            "-blockdev", "driver=qcow2,node-name=disk,file=good")
        devices = {"vmstate": "disk", "devices": [self.node_of_nvram(machine), "disk"]}
        self.assertIsNone(self.run_job(machine, "snapshot-save", "old", **devices))
        state.change_permanent(tpm, 1)
        permanent = state.permanent(tpm)
        if stop_first:
            machine.qmp("stop")
        machine.qmp("blockdev-add", driver="blkdebug", node_name="bad", image="good",
                    inject_error=[{"event": "none", "iotype": "read", "errno": 5}])
        machine.qmp("blockdev-reopen", options=[{**options, "file": "bad"}])
        self.assertIn("Could not load snapshot 'old' on 'disk'",
                      self.run_job(machine, "snapshot-load", "old", **devices))
        machine.qmp("blockdev-reopen", options=[{**options, "file": "good"}])
        return machine, tpm, permanent

    def check_continues_after_failing_half_way(self, stop_first):
        machine, tpm, permanent = self.fail_half_way(stop_first)
        machine.qmp("cont")
        stale, = machine.events("BLOBSTORE_STALE")
        self.assertEqual((stale["found"], stale["blobs"]),
                         ("older", [{"owner": "tpm", "name": "permanent"}]))
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()
        self.check_stored(permanent)

    def test_loadvm_that_fails_half_way_loses_nothing(self):
        self.check_continues_after_failing_half_way(stop_first=False)

    def test_loadvm_that_fails_half_way_in_a_paused_vm_loses_nothing(self):
        self.check_continues_after_failing_half_way(stop_first=True)

    def test_vm_that_quits_after_a_loadvm_that_failed_half_way_loses_nothing(self):
        for stop_first in False, True:
            with self.subTest(stop_first=stop_first):
                machine, _, permanent = self.fail_half_way(stop_first)
                machine.quit()
                self.check_stored(permanent)

    def make_snapshot_without_a_tpm(self):
        """Save a snapshot of a machine without a TPM, on an image that holds a TPM.

        Returns a machine with that TPM, which has changed since, and the TPM.
        """
        machine, *_ = self.power_on_new()
        machine.quit()
        machine, _ = self.power_on(*drive("nvram.qcow2", "qcow2"))
        self.save(machine, "none")
        machine.quit()
        machine, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        state.change_permanent(tpm, 5)
        return machine, tpm

    def test_vm_waits_after_a_snapshot_without_the_tpm(self):
        """The TPM's state was not loaded: after a reset the TPM has what it had stored."""
        machine, tpm = self.make_snapshot_without_a_tpm()
        permanent = state.permanent(tpm)
        self.assertIn("not loaded completely", machine.hmp("loadvm none"))
        self.check_waits_for_a_reset(machine, tpm, permanent)

    def test_paused_vm_waits_after_a_snapshot_without_the_tpm(self):
        machine, tpm = self.make_snapshot_without_a_tpm()
        permanent = state.permanent(tpm)
        machine.qmp("stop")
        self.assertEqual(machine.hmp("loadvm none"), "")
        machine.qmp("cont")
        self.check_waits_for_a_reset(machine, tpm, permanent)

    def damage_volatile_state_in_snapshots(self):
        """The snapshots are in the image of the nvram."""
        image = Path(self.path("nvram.qcow2"))
        content = bytearray(image.read_bytes())
        name = b"tpm".ljust(64, b"\0") + b"volatile".ljust(64, b"\0") + b"\1"
        sizes = 3 * 4                       # behind the name, and before metadata and content
        self.assertIn(name, content)
        for found in re.finditer(re.escape(name), content):
            start = found.end() + sizes + 16
            content[start:start + 64] = bytes(byte ^ 0xff for byte in content[start:start + 64])
        image.write_bytes(content)

    def test_vm_waits_after_a_snapshot_that_the_tpm_refuses(self):
        """The TPM starts from the state that it had before, not from the snapshot's."""
        machine, tpm, _ = self.power_on_new()
        self.save(machine, "old")
        state.change_permanent(tpm, 1)
        permanent = state.permanent(tpm)
        machine.quit()
        self.damage_volatile_state_in_snapshots()
        machine, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        self.assertIn("cannot load the state of 'tpm'", machine.hmp("loadvm old"))
        machine.qmp("cont")
        self.check_waits_for_a_reset(machine, tpm, permanent)

    def check_waits_for_a_reset(self, machine, tpm, permanent):
        self.assertEqual(machine.status, "io-error")
        self.assertEqual(machine.store()["state"], "failed")
        self.assertIn("not loaded completely", machine.hmp("savevm more"))
        machine.qmp("cont")
        self.assertEqual(machine.status, "io-error")
        machine.qmp("system_reset")
        machine.wait_event("RESET")
        machine.qmp("cont")
        self.assertEqual(machine.status, "running")
        self.assertEqual(machine.wait_event("BLOBSTORE_STALE")["found"], "older")
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()
        self.check_stored(permanent)


class SnapshotBehindACRBTest(SnapshotTest):
    """A CRB keeps commands and responses in memory of the guest."""

    model = TPM2_CRB



class StoppedSnapshotTest(MachineTest):
    """With a command that a debugger has begun in the stopped VM, and that stores something"""

    def setUp(self):
        super().setUp()
        self.image("qcow2")
        self.machine_, self.tpm = self.power_on(*drive("nvram.qcow2", "qcow2"), *TPM12)
        self.tpm.run(tpm12.startup())
        self.machine_.savevm("before")
        self.machine_.qmp("stop")
        self.tpm.start(tpm12.make_endorsement_key())

    def check_says_nothing(self, command):
        self.assertEqual(self.machine_.hmp(command), "")

    def check_has_key(self, has):
        """A TPM makes it once."""
        self.assertEqual(self.tpm.result(tpm12.make_endorsement_key()) != 0, has)

    def test_savevm_waits_for_it(self):
        self.machine_.savevm("after")
        self.tpm.finish()
        self.check_has_key(True)
        self.check_says_nothing("loadvm before")
        self.check_has_key(False)
        self.check_says_nothing("loadvm after")
        self.check_has_key(True)

    def test_loadvm_waits_for_it(self):
        self.check_says_nothing("loadvm before")
        self.check_has_key(False)
        self.check_has_key(True)


if __name__ == "__main__":
    unittest.main()
