# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests suspended to RAM whose storage fails: after a repair and `cont` their state is intact."""

import unittest

import state
import tpm2
from acpi import suspend, wake_up
from case import EFFORT, TPM2, TPM2_CRB, drive, say_rounds
from faults import Faults, faulty_drive
from migration import MigrationTest

Q35 = ["-M", "q35"]
ROUNDS = 20


class SuspendedTest(MigrationTest):
    def begin(self, tpm=TPM2, image_format="raw", **policy):
        """A machine on a drive that can be made to fail; its TPM has a counter."""
        self.image(image_format)
        self.args = [*Q35, *faulty_drive(f"nvram.{image_format}", image_format, **policy), *tpm]
        vm, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        return vm, tpm, Faults(vm, image_format)

    def check_cont_works_after_repair(self, vm, faults):
        """The storage fails until it is repaired; the guest stays suspended."""
        for _ in range(2):
            vm.qmp("cont")
            self.assertEqual(vm.status, "io-error")
        faults.end()
        vm.qmp("cont")
        self.assertEqual(vm.status, "suspended")
        self.assertEqual(vm.store()["state"], "active")

    def check_wakes_up(self, vm, tpm, before):
        wake_up(vm)
        self.assertEqual(vm.status, "running")
        tpm.run(tpm2.startup(tpm2.STATE))
        self.assertEqual(state.permanent(tpm), before)
        tpm.run(tpm2.nv_increment(state.COUNTER))
        after = tpm.run(tpm2.nv_counter(state.COUNTER))
        vm.kill()
        again, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), after)
        again.kill()

    def sleep(self, vm, tpm):
        """Suspend the guest; returns the state that its TPM must have when it wakes up."""
        before = state.permanent(tpm)
        tpm.run(tpm2.shutdown(tpm2.STATE))
        suspend(vm)
        self.assertEqual(vm.status, "suspended")
        return before

    def test_source_of_a_finished_migration_resumes(self):
        for front_end in TPM2, TPM2_CRB:
            vm, tpm, faults = self.begin(front_end)
            before = self.sleep(vm, tpm)
            faults.begin("read")
            vm.qmp("migrate", uri=f"file:{self.path('state')}")
            self.assertEqual(self.wait_migration(vm), "completed")
            self.check_cont_works_after_repair(vm, faults)
            self.check_wakes_up(vm, tpm, before)

    def test_destination_starts(self):
        source, tpm, _ = self.begin()
        before = self.sleep(source, tpm)
        vm, tpm = self.incoming(*self.args)
        faults = Faults(vm)
        faults.begin("read")
        self.start_migration(source, vm)
        self.assertEqual(self.wait_migration(vm), "completed")
        self.wait_status(vm, "io-error")
        source.kill()
        self.check_cont_works_after_repair(vm, faults)
        self.check_wakes_up(vm, tpm, before)

    def test_loadvm_of_a_suspended_guest(self):
        vm, tpm, faults = self.begin(image_format="qcow2")
        before = self.sleep(vm, tpm)
        vm.hmp("savevm asleep")
        wake_up(vm)
        tpm.run(tpm2.startup(tpm2.STATE))
        tpm.run(tpm2.nv_increment(state.COUNTER))
        vm.qmp("stop")
        vm.hmp("loadvm asleep")
        faults.begin("read")
        self.check_cont_works_after_repair(vm, faults)
        self.check_wakes_up(vm, tpm, before)

    def test_write_error_while_the_guest_suspends(self):
        """The error comes when the guest is suspended already, or just before."""
        met = 0
        vm, tpm, faults = self.begin(werror="stop")
        count = tpm.run(tpm2.nv_counter(state.COUNTER))
        for number in range(1, ROUNDS * EFFORT + 1):
            self.set_alarm(self.watchdog_seconds)
            faults.begin("write")
            tpm.start(tpm2.nv_increment(state.COUNTER))
            suspend(vm)
            self.wait_status(vm, "io-error")
            faults.end()
            vm.qmp("cont")
            self.assertIn(vm.status, ["suspended", "running"])
            if vm.status == "suspended":
                met += 1
                wake_up(vm)             # which resets the TPM
                tpm.run(tpm2.startup())
            else:
                tpm.finish()
            self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), count + number)
        self.assertGreater(met, 0)
        say_rounds("write errors of guests that suspend", ROUNDS * EFFORT,
                   f"{met} of them suspended when the error came")


if __name__ == "__main__":
    unittest.main()
