# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of RBD: a TPM goes back to one, and a clone begins with one."""

import unittest

from ceph import Ceph
from stored import StoredTest

import state
import tpm2
from case import TPM2


class SnapshotTest(StoredTest):
    server_class = Ceph

    def snapshot(self, tpm, name):
        """Take one while the VM runs; returns the state in it. A later change is not in it."""
        then = state.permanent(tpm)
        self.storage.rbd("snap", "create", f"nvram@{name}")
        self.addCleanup(self.storage.rbd, "snap", "rm", f"nvram@{name}")
        state.change_permanent(tpm, 5)
        self.assertNotEqual(state.permanent(tpm), then)
        return then

    def test_tpm_goes_back_to_a_snapshot(self):
        machine, tpm = self.make()
        then = self.snapshot(tpm, "then")
        machine.quit()
        self.storage.rbd("snap", "rollback", "nvram@then")
        machine, tpm = self.take()
        self.assertEqual(state.permanent(tpm), then)
        state.change_permanent(tpm, 6)
        expected = state.permanent(tpm)
        machine.kill()
        self.expect_holds(expected)

    def test_clone_begins_with_the_snapshot_and_leaves_the_image_alone(self):
        machine, tpm = self.make()
        then = self.snapshot(tpm, "then")
        now = state.permanent(tpm)
        self.storage.rbd("snap", "protect", "nvram@then")
        self.addCleanup(self.storage.rbd, "snap", "unprotect", "nvram@then")
        self.storage.rbd("clone", "nvram@then", "clone")
        self.addCleanup(self.storage.rbd, "rm", "clone")
        clone, clone_tpm = self.power_on(
            *self.storage.drive_on(self.storage.node_on("clone")), *TPM2)
        clone_tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(clone_tpm), then)
        state.change_permanent(clone_tpm, 6)
        self.assertEqual(state.permanent(tpm), now)
        state.change_permanent(tpm, 7)
        self.assertEqual(machine.status, "running")
        now = state.permanent(tpm)
        clone.quit()
        machine.kill()
        self.expect_holds(now)

    def test_image_does_not_go_back_while_a_vm_uses_it(self):
        machine, tpm = self.make()
        self.snapshot(tpm, "then")
        with self.assertRaisesRegex(RuntimeError, "Read-only file system"):
            self.storage.rbd("snap", "rollback", "nvram@then")
        state.change_permanent(tpm, 6)
        expected = state.permanent(tpm)
        machine.kill()
        self.expect_holds(expected)


if __name__ == "__main__":
    unittest.main()
