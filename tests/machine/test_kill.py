# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU is killed at random moments while its TPM counts: no acknowledged count is lost."""

import os
import signal
import threading
import time
import unittest

import tpm2
from case import EFFORT, TPM2, MachineTest, drive
from frontend import TPMError
from tis import TIS
from vm import VMError

COUNTER = 0x01000002
ROUNDS = 150                # for each image format
LIFE_SECONDS = 0.25         # at most, from the start of a process


class Killer(threading.Thread):
    """Kills a machine after a time that begins when its process does."""

    def __init__(self, machine, seconds):
        super().__init__()
        self.machine = machine
        self.seconds = seconds

    def run(self):
        while not self.machine.pid:
            time.sleep(0.001)
        time.sleep(self.seconds)
        os.kill(self.machine.pid, signal.SIGKILL)


class KillTest(MachineTest):
    def setUp(self):
        super().setUp()
        self.is_defined = False
        self.count = 0              # acknowledged
        self.unacknowledged = 0     # how often one more was found

    def live(self, machine):
        """Count until the end."""
        machine.start()
        tpm = TIS(machine)
        tpm.run(tpm2.startup())
        found = self.read(tpm)
        self.assertIn(found, (self.count, self.count + 1))
        self.unacknowledged += found > self.count
        self.count = found
        if not found:
            result = tpm.result(tpm2.nv_define(COUNTER, tpm2.NV_COUNTER))
            self.assertIn(result, (tpm2.RC_NV_DEFINED,) if self.is_defined
                          else (tpm2.RC_NV_DEFINED, 0))
            self.is_defined = True
        while True:
            tpm.run(tpm2.nv_increment(COUNTER))
            self.count += 1

    def read(self, tpm):
        try:
            return tpm.run(tpm2.nv_counter(COUNTER))
        except TPMError:
            return 0            # not defined yet, or never incremented

    def check(self, image_format):
        image = self.image(image_format)
        for _ in range(ROUNDS * EFFORT):
            machine = self.machine(*drive(image, image_format), *TPM2)
            killer = Killer(machine, self.random.uniform(0, LIFE_SECONDS))
            killer.start()
            try:
                self.live(machine)
            except VMError:
                pass            # as it must be, if that was the killer
            finally:
                killer.join()
                machine.stop()
            self.assertEqual(machine.exit_status, -signal.SIGKILL)
        print(f"# {image_format}: killed {ROUNDS * EFFORT} times, counted to {self.count},"
              f" {self.unacknowledged} found one more than was acknowledged", flush=True)
        self.assertGreater(self.count, ROUNDS * EFFORT)

    def test_counter_on_raw_survives_kills(self):
        self.check("raw")

    def test_counter_on_qcow2_survives_kills(self):
        self.check("qcow2")


if __name__ == "__main__":
    unittest.main()
