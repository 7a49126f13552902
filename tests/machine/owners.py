# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that use one store at the same time."""

import state
import tpm2
from encryption import secret
from migration import MigrationTest
from vm import VMError

TAKEN = "store was taken over by another process"


class OwnersTest(MigrationTest):
    """A test sets `storage`, whose `drive` are the arguments of a drive that all can open."""

    def args(self, *options):
        words = ["blobstore,id=bs,drive=nvram", *options]
        return [*self.storage.drive, *secret("sec0", "sesame"), "-object", ",".join(words),
                "-device", "tpm-tis,blobstore=bs"]

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
