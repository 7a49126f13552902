# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU is killed at random moments while its TPM counts: no acknowledged count is lost."""

import itertools
import os
import signal
import threading
import time
import unittest

import pytest

import tpm2
from case import TPM2, MachineTest, drive, rounds, say_rounds
from frontend import TPMError
from tis import TIS
from vm import VMError

COUNTER = 0x01000002
ROUNDS = rounds(20, 150)    # for each image format
ROUND_SECONDS = 60          # at most
YOUNG = 0.25                # share of the rounds that end while QEMU starts, or little later
YOUNG_SECONDS = 0.2         # at most, from the start of a process
COUNTS = 20                 # at most, in rounds that end while the TPM counts
MOMENT_SECONDS = 0.005      # at most, after that; time for some commands


class Killer(threading.Thread):
    """Kills a machine after a time, which begins with its process at the earliest."""

    def __init__(self, machine, seconds):
        super().__init__()
        self.machine = machine
        self.seconds = seconds

    def run(self):
        while not self.machine.pid:
            time.sleep(0.001)
        time.sleep(self.seconds)
        os.kill(self.machine.pid, signal.SIGKILL)


@pytest.mark.drawn
class KillTest(MachineTest):
    def setUp(self):
        super().setUp()
        self.is_defined = False
        self.count = 0              # number of acknowledged counts
        self.unacknowledged = 0     # number of rounds that found one count more

    def live(self, machine, killer, counts):
        """Count until the kill, which comes after so many counts, or at a time if that is None."""
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
        for number in itertools.count():
            if number == counts:
                killer.start()
            tpm.run(tpm2.nv_increment(COUNTER))
            self.count += 1

    def read(self, tpm):
        try:
            return tpm.run(tpm2.nv_counter(COUNTER))
        except TPMError:
            return 0            # not defined yet, or never incremented

    def check(self, image_format):
        image = self.image(image_format)
        for _ in range(ROUNDS):
            self.set_alarm(ROUND_SECONDS)
            self.end_a_life(self.machine(*drive(image, image_format), *TPM2))
        say_rounds(f"kills on {image_format}", ROUNDS, f"counted to {self.count},"
                   f" {self.unacknowledged} found one more than was acknowledged")
        self.assertGreater(self.count, ROUNDS)

    def end_a_life(self, machine):
        if self.random.random() < YOUNG:
            counts, seconds = None, self.random.uniform(0, YOUNG_SECONDS)
        else:
            counts, seconds = self.random.randrange(COUNTS), self.random.uniform(0, MOMENT_SECONDS)
        killer = Killer(machine, seconds)
        if counts is None:
            killer.start()
        try:
            self.live(machine, killer, counts)
        except VMError:
            if killer.ident is None:    # The thread has yet to start: it did not kill.
                raise
        finally:
            if killer.ident:
                killer.join()
            machine.stop()
        self.assertEqual(machine.exit_status, -signal.SIGKILL)

    def test_counter_on_raw_survives_kills(self):
        self.check("raw")

    def test_counter_on_qcow2_survives_kills(self):
        self.check("qcow2")


if __name__ == "__main__":
    unittest.main()
