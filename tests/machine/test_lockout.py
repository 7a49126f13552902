# SPDX-License-Identifier: GPL-2.0-or-later
"""Actions of the host on a VM do not count as a dictionary attack on its TPM.

A TPM 2.0 that loses its power after a protected password was used, without TPM2_Shutdown, counts
that as a failed attempt. After three such attempts it refuses right passwords, too. Only the end
of the process or of the host counts here.
"""

import unittest

import lockout
import state
import tpm12
import tpm2
from acpi import power_off, suspend, wake_up
from case import TPM12, TPM2, TPM2_CRB, drive, front_end
from faults import Faults, faulty_drive
from migration import MigrationTest

ROUNDS = 4                          # one more than a TPM forgives
RC_VALUE = 0x84


class LockoutTest(MigrationTest):
    tpm_args = TPM2

    def begin(self, *args, image_format="raw"):
        """A VM whose TPM has a protected index, on a new image."""
        self.image(image_format)
        self.args = [*args, *drive(f"nvram.{image_format}", image_format), *self.tpm_args]
        machine, tpm = self.power_on(*self.args)
        tpm.run(tpm2.startup())
        lockout.make(tpm)
        return machine, tpm

    def reset(self, machine):
        machine.qmp("system_reset")
        machine.wait_event("RESET")

    def use(self, tpm):
        self.assertEqual(lockout.use(tpm), 0)

    def check_nothing_is_counted(self, tpm):
        """Check that the password is accepted after a start of the VM."""
        tpm.run(tpm2.startup())
        self.assertEqual(lockout.counter(tpm), 0)
        self.use(tpm)


class ResetTest(LockoutTest):
    def test_reset(self):
        machine, tpm = self.begin()
        self.use(tpm)
        for _ in range(ROUNDS):
            self.reset(machine)
            self.check_nothing_is_counted(tpm)

    def test_reset_of_a_paused_vm(self):
        machine, tpm = self.begin()
        self.use(tpm)
        for _ in range(ROUNDS):
            machine.qmp("stop")
            self.reset(machine)
            machine.qmp("cont")
            self.check_nothing_is_counted(tpm)

    def test_reset_with_a_command_in_flight(self):
        machine, tpm = self.begin()
        self.use(tpm)
        for number in range(ROUNDS):
            tpm.start(tpm2.create_rsa_key(number))
            self.reset(machine)
            self.check_nothing_is_counted(tpm)

    def test_wrong_password_is_counted(self):
        """A reset still is no way to guess once more."""
        machine, tpm = self.begin()
        for number in range(1, 3):
            self.assertEqual(lockout.use(tpm, b"wrong"), lockout.RC_AUTH_FAIL)
            self.assertEqual(lockout.counter(tpm), number)
            self.reset(machine)
            tpm.run(tpm2.startup())
            self.assertEqual(lockout.counter(tpm), number)

    def test_power_failure_is_counted(self):
        """The lockout works as on a chip: time or the lockout authorization ends it."""
        machine, tpm = self.begin()
        for number in range(3):
            self.assertEqual(lockout.counter(tpm), number)
            self.use(tpm)
            machine.kill()
            machine, tpm = self.power_on(*self.args)
            tpm.run(tpm2.startup())
        self.assertEqual(lockout.use(tpm), lockout.RC_LOCKOUT)
        tpm.run(lockout.reset())
        self.use(tpm)

    def test_reset_while_the_medium_fails(self):
        """The failed write is no error; the TPM's note lands when the medium works again."""
        self.image()
        machine = self.machine(*faulty_drive("nvram.raw", werror="stop"), *self.tpm_args)
        machine.start()
        tpm = front_end(machine, self.tpm_args)
        tpm.run(tpm2.startup())
        lockout.make(tpm)
        faults = Faults(machine)
        self.use(tpm)
        for _ in range(ROUNDS):
            faults.begin("write")
            self.reset(machine)
            self.wait_status(machine, "io-error")
            faults.end()
            machine.qmp("cont")
            self.check_nothing_is_counted(tpm)

    def test_reset_while_the_medium_fails_and_says_so(self):
        """With werror=report the TPM works after the reset; this reset may be counted."""
        self.image()
        machine = self.machine(*faulty_drive("nvram.raw", werror="report"), *self.tpm_args)
        machine.start()
        tpm = front_end(machine, self.tpm_args)
        tpm.run(tpm2.startup())
        lockout.make(tpm)
        self.use(tpm)
        faults = Faults(machine)
        faults.begin("write")
        self.reset(machine)
        self.assertEqual(machine.status, "running")
        faults.end()
        tpm.run(tpm2.startup())
        self.assertLessEqual(lockout.counter(tpm), 1)
        self.use(tpm)


class ResetBehindACRBTest(ResetTest):
    tpm_args = TPM2_CRB


class EndTest(LockoutTest):
    def check_end(self, end, *args):
        machine, tpm = self.begin(*args)
        self.use(tpm)
        for _ in range(ROUNDS):
            end(machine)
            self.assertTrue(self.was_closed_clean())
            machine, tpm = self.power_on(*self.args)
            self.check_nothing_is_counted(tpm)

    def test_quit(self):
        self.check_end(lambda machine: machine.quit())

    def test_sigterm(self):
        self.check_end(lambda machine: machine.terminate())

    def test_quit_of_a_paused_vm(self):
        def end(machine):
            machine.qmp("stop")
            machine.quit()
        self.check_end(end)

    def test_crash_of_the_guest(self):
        def end(machine):
            machine.qtest("outb 0x505 1")
            machine.wait_event("GUEST_PANICKED")
            machine.quit()
        self.check_end(end, "-device", "pvpanic", "-action", "panic=pause")

    def test_cont_after_shutdown_and_reset(self):
        """With -no-shutdown the VM waits for a reset when it would otherwise end."""
        machine, tpm = self.begin("-M", "q35", "-action", "shutdown=pause")
        self.use(tpm)
        for _ in range(ROUNDS):
            power_off(machine)
            self.wait_status(machine, "shutdown")
            self.reset(machine)
            machine.qmp("cont")
            self.check_nothing_is_counted(tpm)


class EndBehindACRBTest(EndTest):
    tpm_args = TPM2_CRB


class SuspendTest(LockoutTest):
    def begin_q35(self):
        machine, tpm = self.begin("-M", "q35")
        tpm.run(tpm2.pcr_extend(7, state.digest("boot")))
        self.use(tpm)
        return machine, tpm, tpm.run(tpm2.pcr_read(7))

    def sleep(self, machine):
        suspend(machine)
        wake_up(machine)

    def test_guest_that_shuts_its_tpm_down_resumes(self):
        machine, tpm, pcr = self.begin_q35()
        for _ in range(ROUNDS):
            tpm.run(tpm2.shutdown(tpm2.STATE))
            content = self.content()
            self.sleep(machine)
            self.assertEqual(self.content(), content)
            tpm.run(tpm2.startup(tpm2.STATE))
            self.assertEqual(tpm.run(tpm2.pcr_read(7)), pcr)
            self.assertEqual(lockout.counter(tpm), 0)
            self.use(tpm)

    def test_guest_that_does_not_is_not_locked_out(self):
        machine, tpm, _ = self.begin_q35()
        for _ in range(ROUNDS):
            self.sleep(machine)
            self.check_nothing_is_counted(tpm)

    def test_guest_that_takes_its_shutdown_back_does_not_resume(self):
        machine, tpm, _ = self.begin_q35()
        for _ in range(ROUNDS):
            tpm.run(tpm2.shutdown(tpm2.STATE))
            tpm.run(tpm2.pcr_extend(7, state.digest("late")))
            self.use(tpm)
            self.sleep(machine)
            self.assertEqual(tpm.result(tpm2.startup(tpm2.STATE)) & 0xbf, RC_VALUE)
            self.check_nothing_is_counted(tpm)

    def test_guest_asks_a_tpm_that_it_has_shut_down(self):
        """A command that changes nothing does not take the shutdown back."""
        machine, tpm, pcr = self.begin_q35()
        tpm.run(tpm2.shutdown(tpm2.STATE))
        tpm.run(tpm2.get_random(8))
        lockout.counter(tpm)
        self.sleep(machine)
        tpm.run(tpm2.startup(tpm2.STATE))
        self.assertEqual(tpm.run(tpm2.pcr_read(7)), pcr)


class SuspendBehindACRBTest(SuspendTest):
    tpm_args = TPM2_CRB


class MoveTest(LockoutTest):
    def test_migration_counts_nothing(self):
        machine, tpm = self.begin()
        self.use(tpm)
        for _ in range(ROUNDS):
            destination, moved = self.incoming(*self.args)
            self.migrate(machine, destination)
            content = self.content()
            machine.quit()
            self.assertEqual(self.content(), content)
            machine, tpm = destination, moved
            self.assertEqual(lockout.counter(tpm), 0)
            self.use(tpm)
        self.reset(machine)
        self.check_nothing_is_counted(tpm)

    def check_source_writes_nothing(self, end):
        machine, tpm = self.begin()
        self.use(tpm)
        machine.qmp("migrate", uri=f"file:{self.path('state')}")
        self.assertEqual(self.wait_migration(machine), "completed")
        before = machine.qemu_log.read_text(encoding="utf-8")
        content = self.content()
        end(machine)
        self.assertEqual(self.content(), content)
        said = machine.qemu_log.read_text(encoding="utf-8")[len(before):].splitlines()
        self.assertEqual([line for line in said if "terminating on signal" not in line], [])

    def test_source_that_quits_after_the_switch_writes_nothing(self):
        self.check_source_writes_nothing(lambda machine: machine.quit())

    def test_source_that_gets_sigterm_after_the_switch_writes_nothing(self):
        self.check_source_writes_nothing(lambda machine: machine.terminate())

    def test_source_that_is_reset_after_the_switch_writes_nothing(self):
        def end(machine):
            self.reset(machine)
            machine.quit()
        self.check_source_writes_nothing(end)

    def test_destination_that_never_ran_writes_nothing(self):
        machine, tpm = self.begin()
        self.use(tpm)
        destination, _ = self.incoming("-S", *self.args)
        self.start_migration(machine, destination)
        self.assertEqual(self.wait_migration(machine), "completed")
        self.wait_status(destination, "paused")
        content = self.content()
        destination.quit()
        self.assertEqual(self.content(), content)
        machine.qmp("cont")
        self.assertEqual(lockout.counter(tpm), 0)
        self.use(tpm)
        self.reset(machine)
        self.check_nothing_is_counted(tpm)

    def test_reset_of_a_destination_that_has_not_run(self):
        machine, tpm = self.begin()
        self.use(tpm)
        destination, moved = self.incoming("-S", *self.args)
        self.start_migration(machine, destination)
        self.assertEqual(self.wait_migration(machine), "completed")
        self.wait_status(destination, "paused")
        content = self.content()
        self.reset(destination)
        self.assertEqual(self.content(), content)
        machine.quit()
        destination.qmp("cont")
        self.check_nothing_is_counted(moved)

    def test_migration_that_is_cancelled(self):
        machine, tpm = self.begin()
        self.use(tpm)
        destination, _ = self.incoming(*self.args)
        self.slow_down(machine)
        self.start_migration(machine, destination)
        self.wait_migration(machine, ["active"])
        machine.qmp("migrate_cancel")
        self.wait_migration(machine, ["cancelled"])
        destination.kill()
        machine.quit()
        _, tpm = self.power_on(*self.args)
        self.check_nothing_is_counted(tpm)


class MoveBehindACRBTest(MoveTest):
    tpm_args = TPM2_CRB


class SnapshotTest(LockoutTest):
    def save(self, machine):
        machine.savevm("used")

    def load(self, machine):
        self.assertEqual(machine.hmp("loadvm used"), "")

    def test_savevm_and_loadvm_count_nothing(self):
        machine, tpm = self.begin(image_format="qcow2")
        self.use(tpm)
        self.save(machine)
        for _ in range(ROUNDS):
            self.use(tpm)
            self.load(machine)
            self.assertEqual(lockout.counter(tpm), 0)
            self.use(tpm)
        self.reset(machine)
        self.check_nothing_is_counted(tpm)
        machine.quit()
        machine, tpm = self.power_on("-loadvm", "used", *self.args)
        self.assertEqual(lockout.counter(tpm), 0)
        self.use(tpm)
        machine.quit()
        machine, tpm = self.power_on(*self.args)
        self.check_nothing_is_counted(tpm)

    def test_snapshot_of_a_paused_vm(self):
        machine, tpm = self.begin(image_format="qcow2")
        for step in self.save, self.load:
            self.use(tpm)
            machine.qmp("stop")
            step(machine)
            machine.quit()
            machine, tpm = self.power_on(*self.args)
            self.check_nothing_is_counted(tpm)


class TPM12Test(LockoutTest):
    """A TPM 1.2 counts wrong passwords alone, so that the host has nothing to do."""

    def test_reset_stores_nothing(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM12)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.nv_define(0x1000))
        for _ in range(ROUNDS):
            content = self.content()
            self.reset(machine)
            self.assertEqual(self.content(), content)
            tpm.run(tpm12.startup())

    def test_reset_keeps_the_saved_state(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM12)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.extend(1, bytes(20)))
        pcr = tpm.run(tpm12.pcr_read(1))
        tpm.run(tpm12.save_state())
        self.reset(machine)
        tpm.run(tpm12.startup(tpm12.STATE))
        self.assertEqual(tpm.run(tpm12.pcr_read(1)), pcr)


if __name__ == "__main__":
    unittest.main()
