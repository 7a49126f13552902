# SPDX-License-Identifier: GPL-2.0-or-later
"""The image of a running TPM gets another size."""

import os
import unittest

import state
import tpm2
from case import TPM2, MachineTest, drive
from tis import TIS
from vm import VMError

MIB = 1 << 20
SIZE = 4 * MIB              # of a new image
ONE_SLOT = 256 << 10        # enough for one slot of the permanent blob
TOO_SMALL = 64 << 10        # too little for that, and for the second copy of the directory
NOT_EVEN_A_SUPERBLOCK = 512


class ResizeTest(MachineTest):
    def begin(self, image_format, **options):
        self.args = [*drive(self.image(image_format), image_format, **options), *TPM2]
        self.power_on_again()
        state.make_permanent(self.tpm)
        self.expected = state.permanent(self.tpm)

    def power_on_again(self):
        self.vm = self.machine(*self.args)
        self.vm.start()
        self.tpm = TIS(self.vm)
        self.tpm.run(tpm2.startup())

    def resize(self, size):
        self.vm.qmp("block_resize", device="nvram", size=size)

    def change(self):
        state.change_permanent(self.tpm, self.random.random())
        self.expected = state.permanent(self.tpm)

    def wait_until_active(self):
        """The state in RAM is written after the resize, not within it."""
        while self.vm.store()["state"] == "dirty":
            pass
        self.assertEqual(self.vm.store()["state"], "active")

    def check(self):
        """The TPM has its state now, and in a new process."""
        self.assertEqual(state.permanent(self.tpm), self.expected)
        self.vm.kill()
        self.power_on_again()
        self.assertEqual(state.permanent(self.tpm), self.expected)

    def check_any_size_that_suffices(self, image_format):
        self.begin(image_format)
        for size in 8, 2, 3:
            self.tpm.start(tpm2.nv_increment(state.COUNTER))
            self.resize(size * MIB)
            self.tpm.finish()
            self.change()
            self.assertEqual(self.vm.store()["state"], "active")
            self.check()

    def test_raw_may_have_any_size_that_suffices(self):
        self.check_any_size_that_suffices("raw")

    def test_qcow2_may_have_any_size_that_suffices(self):
        self.check_any_size_that_suffices("qcow2")

    def check_too_small_fails_until_it_is_large_again(self, image_format):
        self.begin(image_format)
        for size in TOO_SMALL, NOT_EVEN_A_SUPERBLOCK, TOO_SMALL:
            self.resize(size)
            self.assertEqual(self.vm.store()["state"], "failed")
            event = self.vm.wait_event("BLOBSTORE_FAILED")
            self.assertIn(f"made smaller, to {size} bytes", event.pop("reason"))
            self.assertEqual(event, {"id": "nvram", "drive": "nvram"})
            self.assertEqual(state.permanent(self.tpm), self.expected)
            self.assertEqual(self.tpm.result(tpm2.nv_increment(state.COUNTER)), tpm2.RC_FAILURE)
            self.resize(SIZE)
            self.wait_until_active()
            self.vm.qmp("system_reset")
            self.tpm.run(tpm2.startup())
            self.assertEqual(state.permanent(self.tpm), self.expected)
            self.change()
            self.check()

    def test_raw_that_is_too_small_fails_until_it_is_large_again(self):
        self.check_too_small_fails_until_it_is_large_again("raw")

    def test_qcow2_that_is_too_small_fails_until_it_is_large_again(self):
        self.check_too_small_fails_until_it_is_large_again("qcow2")

    def test_enlarging_alone_brings_everything_back_to_the_medium(self):
        self.begin("raw")
        self.resize(TOO_SMALL)
        self.resize(SIZE)
        self.wait_until_active()
        self.check()

    def crash_cut_to(self, size):
        """Make an image that was shrunk and then enlarged again; it is refused in between."""
        self.begin("raw")
        self.change()
        self.resize(size)
        self.vm.kill()
        self.assert_refused("was it shrunk")
        os.truncate(self.path("nvram.raw"), SIZE)

    def assert_refused(self, says):
        with self.assertRaises(VMError):
            self.power_on_again()
        self.assertIn(says, self.vm.qemu_log.read_text())
        self.assertEqual(self.vm.exit_status, 1)

    def test_what_was_cut_off_is_damaged_and_makes_no_new_tpm(self):
        self.crash_cut_to(TOO_SMALL)
        self.assert_refused("tpm/permanent")

    def test_with_one_slot_cut_off_the_other_is_used(self):
        """The TPM has the state before the last change, if that change is gone without a trace."""
        self.crash_cut_to(ONE_SLOT)
        self.power_on_again()
        counter = self.tpm.run(tpm2.nv_counter(state.COUNTER))
        self.assertIn(counter, (self.expected["counter"], self.expected["counter"] - 1))
        self.assertEqual(self.tpm.run(tpm2.read_public(state.KEY)), self.expected["key"])


if __name__ == "__main__":
    unittest.main()
