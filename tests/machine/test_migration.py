# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM moves to another QEMU with its VM."""

import unittest

import state
import tpm2
from case import TPM2, drive
from migration import MigrationTest


class SharedStorageTest(MigrationTest):
    def check_everything_moves(self, image_format, **capabilities):
        image = self.image(image_format)
        args = drive(image, image_format) + TPM2
        source, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        session = state.make_volatile(tpm)
        permanent, volatile = state.permanent(tpm), state.volatile(tpm, session)
        destination, moved = self.incoming(*args, **capabilities)
        self.migrate(source, destination, **capabilities)
        self.assertEqual(destination.store()["state"], "active")
        self.assertEqual(state.permanent(moved), permanent)
        self.assertEqual(state.volatile(moved, session), volatile)
        self.assertEqual(destination.events("BLOBSTORE_STALE"), [])
        source.kill()

        state.change_permanent(moved, 1)
        permanent = state.permanent(moved)
        destination.kill()
        _, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)

    def test_everything_moves_on_raw(self):
        self.check_everything_moves("raw")

    def test_everything_moves_on_qcow2(self):
        self.check_everything_moves("qcow2")


if __name__ == "__main__":
    unittest.main()
