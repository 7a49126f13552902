# SPDX-License-Identifier: GPL-2.0-or-later
"""The power fails under a TPM that counts: no acknowledged count is lost.

A filter under the image format records everything that QEMU writes to the disk. From the record
the test makes every disk that a power failure could leave, or a sample of them. Each must hold the
last acknowledged state or the one in flight.
"""

import bisect
import io
import unittest
from dataclasses import dataclass
from pathlib import Path

import pytest

import qcow2
import tpm2
import writelog
from case import EFFORT, TPM2, MachineTest, drive, reader, rounds, say_rounds
from frontend import TPMError
from vm import create_image

COUNTER = 0x01000002
INCREMENTS = rounds(20, 150)    # in each of two processes
DRAWN = 3                   # of each set of writes that no flush has followed
STARTED = 8                 # disks that a new QEMU starts with, as well


@dataclass
class Step:
    """A state that has been acknowledged."""
    end: int                # number of writes in the log by then
    sequence: int           # of the permanent blob
    count: int | None       # of the counter, if there is one
    content: str = ""       # digest of the permanent blob


class Run:
    """Counting in two processes: the writes, and the state acknowledged by each."""

    def __init__(self, test, image_format):
        self.test = test
        self.format = image_format
        image = create_image(test.directory, image_format, "2M")
        self.base = Path(test.path(image)).read_bytes()
        self.log = test.path("log")
        Path(self.log).touch()
        self.steps = []
        self.count("off")
        self.count("on")
        self.writes = writelog.read(self.log)
        self.find_contents()

    def count(self, append):
        nodes = [f"driver=file,node-name=image,filename=nvram.{self.format}",
                 "driver=file,node-name=log,filename=log",
                 f"driver=blklogwrites,node-name=logged,file=image,log=log,log-append={append}",
                 f"driver={self.format},node-name=nvram,file=logged"]
        machine, tpm = self.test.power_on(
            *[word for node in nodes for word in ("-blockdev", node)], *TPM2)
        self.acknowledge(machine)
        tpm.run(tpm2.startup())
        self.acknowledge(machine)
        if append == "off":
            tpm.run(tpm2.nv_define(COUNTER, tpm2.NV_COUNTER))
            self.acknowledge(machine)
        for _ in range(INCREMENTS):
            tpm.run(tpm2.nv_increment(COUNTER))
            self.acknowledge(machine)
            self.steps[-1].count = tpm.run(tpm2.nv_counter(COUNTER))
        tpm.run(tpm2.shutdown())        # Otherwise the host would do this.
        self.acknowledge(machine)
        machine.quit()

    def acknowledge(self, machine):
        before = self.steps[-1].count if self.steps else None
        self.steps.append(Step(writelog.count(self.log), machine.blob("permanent")["sequence"],
                               before))

    def permanent(self, disk):
        """Sequence and digest of the permanent blob; None if it was never stored."""
        content = qcow2.guest_content(disk) if self.format == "qcow2" else disk
        store = reader.read_store(io.BytesIO(content))
        for blob in store.get("blobs", []):
            if blob["name"] == "permanent":
                self.test.assertNotEqual(blob["state"], "damaged")
                return (blob["sequence"], blob["sha256"]) if blob["state"] == "present" else None
        return None

    def find_contents(self):
        """The state that each step has on the disk: the version that QMP showed."""
        disk, done = writelog.Disk(self.base), 0
        for step in self.steps:
            for write in self.writes[done:step.end]:
                disk.take(write)
            done = step.end
            found = self.permanent(disk.content())
            self.test.assertIsNotNone(found, "acknowledged, but not on the disk")
            sequence, step.content = found
            self.test.assertEqual(sequence, step.sequence)

    def power_failures(self):
        """Each disk that a power failure may leave, with the step before it and the one in flight.
        """
        ends = [step.end for step in self.steps]

        def steps(done):
            at = bisect.bisect_right(ends, done)
            return [self.steps[at - 1] if at else None, *self.steps[at:at + 1]]

        disk = writelog.Disk(self.base)
        for done, write in enumerate(self.writes):
            if write.is_flush:
                # qcow2 itself does not survive garbled sectors, nor does the start of a format.
                may_garble = self.format == "raw" and steps(done)[0]
                for draw in range(DRAWN):
                    yield disk.drawn(self.test.random, may_garble and draw == 0), steps(done)
            disk.take(write)
            yield disk.content(), steps(done + 1)

    def check_costs(self):
        """Once a place has been written to, a commit is one write and one flush."""
        costs = {tuple(write.is_flush for write in self.writes[step.end - 2:step.end])
                 if step.end - before.end == 2 else step.end - before.end
                 for before, step in zip(self.steps[-INCREMENTS:], self.steps[1 - INCREMENTS:])}
        self.test.assertEqual(costs, {(False, True)})


@pytest.mark.drawn
class PowerFailureTest(MachineTest):
    watchdog_seconds = 180

    def check(self, image_format):
        run = Run(self, image_format)
        run.check_costs()
        disks = len(run.writes) + DRAWN * sum(write.is_flush for write in run.writes)
        started = set(self.random.sample(range(disks), STARTED * EFFORT))
        number = -1
        for number, (disk, steps) in enumerate(run.power_failures()):
            allowed = [step and (step.sequence, step.content) for step in steps]
            with self.subTest(disk=number):
                self.assertIn(run.permanent(disk), allowed)
                if number in started:
                    self.check_start(disk, image_format, [step and step.count for step in steps])
        self.assertEqual(number + 1, disks)
        say_rounds(f"power failures on {image_format}", disks,
                   f"of {len(run.writes)} writes and flushes, {len(started)} with a new start")

    def check_start(self, disk, image_format, counts):
        """A new QEMU finds one of the counts, and continues from there."""
        Path(self.path("after")).write_bytes(disk)
        machine, tpm = self.power_on(*drive("after", image_format), *TPM2)
        tpm.run(tpm2.startup())
        count = self.count(tpm)
        self.assertIn(count, counts)
        if count:
            tpm.run(tpm2.nv_increment(COUNTER))
            self.assertEqual(self.count(tpm), count + 1)
        machine.kill()

    def count(self, tpm):
        try:
            return tpm.run(tpm2.nv_counter(COUNTER))
        except TPMError:
            return None         # not defined yet, or never incremented

    def test_counter_on_raw_survives_power_failures(self):
        self.check("raw")

    def test_counter_on_qcow2_survives_power_failures(self):
        self.check("qcow2")


if __name__ == "__main__":
    unittest.main()
