# SPDX-License-Identifier: GPL-2.0-or-later
"""Suspend to RAM, reset, and the ways in which a QEMU ends."""

import hashlib
import unittest

import state
import tpm12
import tpm2
from acpi import suspend, wake_up
from case import TPM12, TPM2, MachineTest, drive

RC_VALUE = 0x84


class SuspendTest(MachineTest):
    def power_on_q35(self, tpm, image="nvram.raw"):
        return self.power_on("-M", "q35", *drive(image), *tpm)

    def test_tpm2_keeps_its_pcrs_through_suspend(self):
        self.image()
        machine, tpm = self.power_on_q35(TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        tpm.run(tpm2.pcr_extend(7, state.digest("boot")))
        for number in range(3):
            tpm.run(tpm2.pcr_extend(7, state.digest(number)))
            pcr, permanent = tpm.run(tpm2.pcr_read(7)), state.permanent(tpm)
            tpm.run(tpm2.shutdown(tpm2.STATE))
            suspend(machine)
            self.assertEqual(machine.status, "suspended")
            wake_up(machine)
            self.assertEqual(machine.status, "running")
            tpm.run(tpm2.startup(tpm2.STATE))
            self.assertEqual(tpm.run(tpm2.pcr_read(7)), pcr)
            self.assertEqual(state.permanent(tpm), permanent)

    def test_tpm2_refuses_to_resume_after_an_aborted_suspend(self):
        self.image()
        machine, tpm = self.power_on_q35(TPM2)
        tpm.run(tpm2.startup())
        tpm.run(tpm2.pcr_extend(7, state.digest("boot")))
        tpm.run(tpm2.shutdown(tpm2.STATE))
        tpm.run(tpm2.pcr_extend(7, state.digest("late")))
        suspend(machine)
        wake_up(machine)
        self.assertEqual(tpm.result(tpm2.startup(tpm2.STATE)) & 0xbf, RC_VALUE)
        tpm.run(tpm2.startup(tpm2.CLEAR))
        self.assertEqual(tpm.run(tpm2.pcr_read(7)), bytes(32))

    def test_tpm2_suspended_in_a_host_that_crashes_can_resume_in_a_new_process(self):
        """The VM's memory is saved elsewhere, as hibernation does."""
        self.image()
        machine, tpm = self.power_on_q35(TPM2)
        tpm.run(tpm2.startup())
        tpm.run(tpm2.pcr_extend(7, state.digest("boot")))
        pcr = tpm.run(tpm2.pcr_read(7))
        tpm.run(tpm2.shutdown(tpm2.STATE))
        suspend(machine)
        machine.kill()
        machine, tpm = self.power_on_q35(TPM2)
        tpm.run(tpm2.startup(tpm2.STATE))
        self.assertEqual(tpm.run(tpm2.pcr_read(7)), pcr)

    def test_tpm12_keeps_its_pcrs_through_suspend(self):
        """The saved state is there while the VM sleeps, and is used once."""
        self.image()
        machine, tpm = self.power_on_q35(TPM12)
        tpm.run(tpm12.startup())
        for number in range(3):
            tpm.run(tpm12.extend(1, hashlib.sha1(bytes([number])).digest()))
            pcr = tpm.run(tpm12.pcr_read(1))
            self.assertFalse(machine.blob("savestate")["present"])
            tpm.run(tpm12.save_state())
            suspend(machine)
            self.assertTrue(machine.blob("savestate")["present"])
            wake_up(machine)
            self.assertTrue(machine.blob("savestate")["present"])
            tpm.run(tpm12.startup(tpm12.STATE))
            self.assertFalse(machine.blob("savestate")["present"])
            self.assertEqual(tpm.run(tpm12.pcr_read(1)), pcr)
        machine.kill()
        machine, tpm = self.power_on_q35(TPM12)
        self.assertFalse(machine.blob("savestate")["present"])
        self.assertNotEqual(tpm.result(tpm12.startup(tpm12.STATE)), 0)

    def test_tpm12_command_after_saving_aborts_the_suspend(self):
        self.image()
        machine, tpm = self.power_on_q35(TPM12)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.extend(1, bytes(20)))
        tpm.run(tpm12.save_state())
        tpm.run(tpm12.get_ticks())
        self.assertFalse(machine.blob("savestate")["present"])
        suspend(machine)
        wake_up(machine)
        self.assertNotEqual(tpm.result(tpm12.startup(tpm12.STATE)), 0)

    def test_suspend_lets_a_running_command_end(self):
        """The guest has not saved its TPM, so the TPM starts from what it had stored."""
        self.image()
        machine, tpm = self.power_on_q35(TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        counter = tpm.run(tpm2.nv_counter(state.COUNTER))
        for command in tpm2.nv_increment(state.COUNTER), tpm2.create_rsa_key(1):
            tpm.start(command)
            suspend(machine)
            wake_up(machine)
            tpm.run(tpm2.startup())
        self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), counter + 1)


class EndTest(MachineTest):
    """However QEMU ends while commands run, acknowledged state is there at the next start."""

    ROUNDS = 3

    def check_end(self, end, lands):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        expected = state.permanent(tpm)
        for command in (tpm2.nv_increment(state.COUNTER), tpm2.create_rsa_key(1),
                        tpm2.get_random(8)) * self.ROUNDS:
            tpm.start(command)
            end(machine)
            self.assertEqual(self.was_closed_clean(), lands)
            machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
            tpm.run(tpm2.startup())
            found = state.permanent(tpm)
            incremented = {**expected, "counter": expected["counter"] + 1}
            if command.code != tpm2.nv_increment(0).code:
                self.assertEqual(found, expected)
            elif lands:
                self.assertEqual(found, incremented)
            else:
                self.assertIn(found, (expected, incremented))
            expected = found
        return machine

    def test_quit_lets_a_command_end(self):
        self.check_end(lambda machine: machine.quit(), lands=True)

    def test_sigterm_lets_a_command_end(self):
        self.check_end(lambda machine: machine.terminate(), lands=True)

    def test_kill_loses_nothing_acknowledged(self):
        self.check_end(lambda machine: machine.kill(), lands=False)

    def test_reset_lets_a_command_end(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        for number in range(1, 2 + 5):
            tpm.run(tpm2.pcr_extend(7, state.digest(number)))
            tpm.start(tpm2.nv_increment(state.COUNTER))
            machine.qmp("system_reset")
            machine.wait_event("RESET")
            tpm.run(tpm2.startup())
            self.assertEqual(tpm.run(tpm2.pcr_read(7)), bytes(32))
            self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), 1 + number)


if __name__ == "__main__":
    unittest.main()
