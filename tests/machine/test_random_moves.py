# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM moves, stays, stops and returns in any order while its TPM works: nothing is lost."""

import unittest
from collections import Counter
from dataclasses import dataclass

import pytest

import state
import tpm2
from case import TPM2, TPM2_CRB, drive, rounds, say_rounds
from frontend import Command
from migration import MigrationTest
from moving import ENDED
from stalling import StallingStorage
from vm import VMError

LONG = 250
ROUNDS = rounds(50, LONG)   # for each image format
ROUND_SECONDS = 60          # at most
LEAST_IN_FLIGHT = 2         # for each action, if there are enough rounds for that
PCR = 16
SNAPSHOT = "moment"
NOT_RUNNING = "paused", "prelaunch", "postmigrate"      # after stop, reset and a migration
INCREMENT = tpm2.nv_increment(state.COUNTER)
SNAPSHOTS = ["savevm", "loadvm", "loadvm", "loadvm_in_a_new_process"]


@dataclass
class Moment:
    """The state of a TPM after the command that was last in flight."""
    count: int
    pcr: bytes
    command: Command | None = None      # whose response has not been read
    is_on: bool = True                  # since its last reset

    def copy(self):
        return Moment(**vars(self))


@pytest.mark.drawn
class MovesTest(MigrationTest):
    """Each action meets a command in flight, unless the VM is paused.

    Storage that stalls makes that certain for a command that stores something; for others it is
    likely.
    """

    actions = ["move", "move", "cancel", "lose_destination", "hand_back", "stop", "cont", "cont",
               "reset", "drive_del", "device_del", "quit", "kill"]

    def check(self, image_format, args, model):
        self.args = [*args, "-device", f"{model[1]},id=tpm"]
        self.vm, self.tpm = self.power_on(*self.args)
        self.tpm.run(tpm2.startup())
        self.tpm.run(tpm2.nv_define(state.COUNTER, tpm2.NV_COUNTER))
        self.tpm.run(INCREMENT)
        self.now = Moment(1, bytes(32))
        self.saved = None                   # by savevm
        self.numbers = 0
        self.is_running = True
        tried, history = Counter(), []
        self.in_flight = Counter()          # commands, by the action that met them
        for _ in range(ROUNDS):
            action = self.random.choice(self.actions)
            history = [*history[-20:], action]
            tried[action if self.is_running else f"{action} (paused)"] += 1
            self.set_alarm(ROUND_SECONDS)
            try:
                self.play_round(action)
            except Exception as error:
                raise AssertionError(self.again(history)) from error
        say_rounds(f"moves in any order on {image_format}", ROUNDS,
                   f"{self.in_flight.total()} with a command in flight,"
                   f" counted to {self.now.count}",
                   dict(tried), f"with a command in flight: {dict(self.in_flight)}")
        self.assertGreater(self.in_flight.total(), 0)
        for action in self.actions if ROUNDS >= LONG else []:
            self.assertGreaterEqual(self.in_flight[action], LEAST_IN_FLIGHT, action)

    def play_round(self, action):
        self.action = action
        getattr(self, action)()
        self.assertIn(self.vm.status, self.expected_states)
        if self.is_running:
            self.finish_command()

    def draw_command(self):
        """Start a command; the first ones of an action take long."""
        key = tpm2.create_rsa_key(self.numbers)
        if self.in_flight[self.action] < LEAST_IN_FLIGHT:
            return INCREMENT if self.storage else key
        return self.random.choice([INCREMENT, INCREMENT, tpm2.get_random(16), key])

    def start_command(self):
        """Start a command just before the action, if the VM runs."""
        if not self.is_running:
            return
        self.numbers += 1
        self.tpm.run(tpm2.pcr_extend(PCR, state.digest(self.numbers)))
        self.now.pcr = self.tpm.run(tpm2.pcr_read(PCR))
        self.now.command = self.draw_command()
        stalls = self.storage and self.now.command is INCREMENT
        if stalls:
            self.storage.stall()
        self.tpm.start(self.now.command)
        is_done = self.tpm.is_done()
        if stalls:
            self.assertFalse(is_done)
            self.storage.go_on_when_it_is_missed(self.vm)
        self.in_flight[self.action] += not is_done

    def finish_command(self):
        """Check that the command was done once, or at most once if the TPM was reset."""
        if self.storage:
            self.storage.go_on()
        command, self.now.command = self.now.command, None
        incremented = bool(command and command.code == INCREMENT.code)
        if not self.now.is_on:
            self.tpm.run(tpm2.startup())
            found = self.tpm.run(tpm2.nv_counter(state.COUNTER))
            self.assertIn(found - self.now.count, (0, incremented))
            self.now = Moment(found, bytes(32))
        elif command:
            value = self.tpm.take_over(command)
            if command.code == tpm2.create_rsa_key(0).code:
                self.tpm.run(tpm2.flush_context(value))
            self.now.count += incremented
        self.assertEqual(self.tpm.run(tpm2.nv_counter(state.COUNTER)), self.now.count)
        self.assertEqual(self.tpm.run(tpm2.pcr_read(PCR)), self.now.pcr)
        self.assertEqual(self.vm.store()["state"], "active")

    @property
    def expected_states(self):
        return ("running",) if self.is_running else NOT_RUNNING

    def begin_at(self, machine, tpm):
        """Use the destination, where the VM is now."""
        self.vm.kill()
        self.vm, self.tpm = machine, tpm

    def begin_migration(self, **capabilities):
        """Pause before the switch, so that the command is in flight when the VM stops."""
        destination, tpm = self.incoming(*self.args)
        if not self.is_running:
            self.start_migration(self.vm, destination, **capabilities)
            return destination, tpm
        self.slow_down(self.vm)
        self.start_migration(self.vm, destination, **capabilities)
        self.wait_until_it_has_looked(destination, self.vm.store()["uuid"])
        self.start_command()
        self.speed_up(self.vm)
        return destination, tpm

    # Actions

    def move(self):
        destination, tpm = self.begin_migration()
        self.assertEqual(self.wait_migration(self.vm), "completed")
        self.wait_status(destination, *self.expected_states)
        self.begin_at(destination, tpm)

    def cancel(self):
        """Cancel the migration at any moment, possibly too late."""
        destination, tpm = self.begin_migration()
        if self.random.randrange(2):
            self.wait_migration(self.vm, ["active", "device", *ENDED])
        self.vm.qmp("migrate_cancel")
        if self.wait_migration(self.vm) == "completed":
            self.wait_status(destination, *self.expected_states)
            self.begin_at(destination, tpm)
            return
        destination.kill()
        if self.wait_status(self.vm, *self.expected_states, "io-error") == "io-error":
            self.vm.qmp("cont")     # the destination had locked the image already
            self.wait_status(self.vm, "running")

    def lose_destination(self):
        destination, _ = self.begin_migration(pause_before_switchover=True)
        self.wait_migration(self.vm, ["pre-switchover"])
        destination.kill()
        self.resume(self.vm)
        self.assertEqual(self.wait_migration(self.vm), "failed")
        self.wait_status(self.vm, *self.expected_states)

    def hand_back(self):
        """The VM runs at the destination first, unless it is paused."""
        destination, _ = self.begin_migration()
        self.assertEqual(self.wait_migration(self.vm), "completed")
        self.wait_status(destination, *self.expected_states)
        destination.kill()
        self.vm.qmp("cont")
        self.is_running = True

    def stop(self):
        self.start_command()
        self.vm.qmp("stop")
        self.is_running = False

    def cont(self):
        self.start_command()
        self.vm.qmp("cont")
        self.is_running = True

    def reset(self):
        self.start_command()
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")
        self.now.is_on = False

    def drive_del(self):
        """drive_del removes the name, but the store keeps its drive."""
        self.start_command()
        self.vm.hmp("drive_del nvram")

    def device_del(self):
        self.start_command()
        with self.assertRaises(VMError):
            self.vm.qmp("device_del", id="tpm")

    def power_off(self, *args):
        """Start a new process, which runs."""
        if self.storage:
            self.storage.go_on()
        self.vm, self.tpm = self.power_on(*self.args, *args)
        self.is_running = True
        self.now.is_on = False

    def quit(self):
        self.start_command()
        self.vm.quit()
        self.power_off()

    def kill(self):
        self.start_command()
        self.vm.kill()
        self.power_off()

    def may_snapshot(self):
        """QEMU saves no disk of a paused VM that has migrated in and not run yet.

        After a migration that has failed QEMU 10.0 lets loadvm fail, but not after a savevm.
        """
        try:
            self.vm.savevm("other")
        except VMError as error:
            self.assertIn("does not support snapshots", str(error))
            self.assertEqual((self.vm.store()["state"], self.is_running), ("inactive", False))
            return False
        self.vm.hmp("delvm other")
        return True

    def savevm(self):
        if self.may_snapshot():
            self.vm.hmp(f"delvm {SNAPSHOT}")
            self.start_command()
            self.vm.savevm(SNAPSHOT)
            self.saved = self.now.copy()

    def make_first_snapshot(self):
        self.savevm()
        if self.is_running:
            self.finish_command()

    def loadvm(self):
        if not self.saved:
            self.make_first_snapshot()
        if self.saved and self.may_snapshot():
            self.start_command()
            self.assertEqual(self.vm.hmp(f"loadvm {SNAPSHOT}"), "")
            self.now = self.saved.copy()

    def loadvm_in_a_new_process(self):
        if not self.saved:
            self.make_first_snapshot()
        if self.saved:
            self.start_command()
            self.vm.kill()
            self.power_off("-loadvm", SNAPSHOT)
            self.now = self.saved.copy()

    def savevm_is_refused(self):
        """On raw, QEMU refuses at once, and nothing happens."""
        self.start_command()
        self.assertIn("does not support snapshots", self.vm.hmp(f"savevm {SNAPSHOT}"))

    def loadvm_is_refused(self):
        """A failed loadvm leaves a VM stopped that was running."""
        self.start_command()
        self.assertIn("does not support snapshots", self.vm.hmp(f"loadvm {SNAPSHOT}"))
        if self.is_running:
            self.assertEqual(self.vm.status, "restore-vm")
            self.vm.qmp("cont")

    def test_on_raw(self):
        self.storage = None
        self.actions = self.actions + ["savevm_is_refused", "loadvm_is_refused"]
        self.check("raw", drive(self.image(), "raw"), TPM2_CRB)

    def test_on_qcow2_with_snapshots(self):
        self.storage = StallingStorage(self, self.image("qcow2"), "qcow2")
        self.actions = self.actions + SNAPSHOTS
        self.check("qcow2", self.storage.drive, TPM2)


if __name__ == "__main__":
    unittest.main()
