# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that use one store at the same time."""

import os
import signal

import state
import tpm2
from encryption import store
from migration import MigrationTest
from vm import VMError

TAKEN = "store was taken over by another process"


class OwnersTest(MigrationTest):
    """A test sets `storage`, whose `drive` are the arguments of a drive that all can open."""

    def args(self, *options):
        return [*self.storage.drive, *store(*options, key="")]

    def make(self, *options):
        """A machine whose TPM has state of all kinds."""
        machine, tpm = self.power_on(*self.args(*options))
        state.make(tpm)
        return machine, tpm

    def take(self, *options):
        """A second machine, which begins to own the store."""
        machine, tpm = self.power_on(*self.args(*options))
        tpm.run(tpm2.startup())
        return machine, tpm

    def expect_taken(self, machine, tpm, number=1):
        """The machine writes nothing, and is paused."""
        before = self.content()
        state.change_permanent(tpm, number)
        self.wait_status(machine, "io-error")
        self.assertEqual(self.content(), before)
        self.assertEqual(machine.store()["state"], "failed")
        reason, = {event["reason"] for event in machine.events("BLOBSTORE_FAILED")}
        self.assertIn(TAKEN, reason)
        self.assertRegex(reason, "epoch [0-9]+$")

    def expect_stays_taken(self, machine):
        before = self.content()
        for command in "cont", "system_reset", "cont":
            try:
                machine.qmp(command)
            except VMError as error:
                self.assertIn("cont", str(error))
            self.assertNotEqual(machine.status, "running")
        self.assertEqual(self.content(), before)

    def expect_holds(self, expected):
        machine, tpm = self.take()
        self.assertEqual(state.permanent(tpm), expected)
        machine.quit()

    def change_without_alarm(self, machine, tpm, number):
        """The machine goes on as the owner; returns its state."""
        state.change_permanent(tpm, number)
        self.assertEqual(machine.status, "running")
        self.assertEqual(machine.events("BLOBSTORE_FAILED"), [])
        return state.permanent(tpm)

    def move_to_and_fro(self):
        """Each migration hands the store over; returns the last machine and its state."""
        source, _ = self.make()
        for number in range(4):
            destination, tpm = self.incoming(*self.args())
            self.migrate(source, destination)
            source.quit()
            source = destination
            expected = self.change_without_alarm(source, tpm, number)
        return source, expected

    def freeze_and_take(self, *options):
        """A host is frozen, another one owns the store, and the first one wakes up."""
        first, first_tpm = self.make(*options)
        os.kill(first.pid, signal.SIGSTOP)
        second, second_tpm = self.take()
        state.change_permanent(second_tpm, 7)
        os.kill(first.pid, signal.SIGCONT)
        return first, first_tpm, second, second_tpm

    def expect_last_owns(self, *options):
        """Of two machines the one that started last owns the store."""
        first, first_tpm = self.make(*options)
        second, second_tpm = self.take()
        state.change_permanent(second_tpm, 7)
        self.expect_taken(first, first_tpm)
        self.expect_stays_taken(first)
        first.quit()
        state.change_permanent(second_tpm, 8)
        expected = state.permanent(second_tpm)
        second.kill()
        self.expect_holds(expected)


class TwoOwners:
    """What must hold wherever nothing but the fence keeps a second user away."""

    def test_who_started_last_owns_the_store(self):
        self.expect_last_owns()

    def test_frozen_host_that_wakes_up_writes_nothing(self):
        first, first_tpm, second, second_tpm = self.freeze_and_take()
        self.expect_taken(first, first_tpm)
        state.change_permanent(second_tpm, 8)
        expected = state.permanent(second_tpm)
        second.kill()
        self.expect_holds(expected)

    def test_user_may_take_the_store_back(self):
        first, first_tpm = self.make()
        second, second_tpm = self.take()
        state.change_permanent(second_tpm, 7)
        self.expect_taken(first, first_tpm)
        before = state.permanent(first_tpm)
        first.qmp("qom-set", path="/objects/bs", property="fence", value="take-over")
        first.qmp("cont")
        self.wait_status(first, "running")
        self.expect_taken(second, second_tpm)
        state.change_permanent(first_tpm, 9)
        expected = state.permanent(first_tpm)
        self.assertNotEqual(expected, before)
        first.quit()
        second.kill()
        self.expect_holds(expected)
