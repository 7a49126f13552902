# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest uses a TPM whose state lives in a disk image."""

import secrets
import unittest

from guest import GuestCase, GuestFailure, boot_args, tpm_args
from vm import create_image


class GuestTest(GuestCase):
    def boot(self, job, image, image_format, front_end="tpm-tis", **parameters):
        """A QEMU that is paused before the first instruction of its guest."""
        return self.guest("-S", *tpm_args(image, image_format, front_end),
                          *boot_args(job, **parameters))

    def run_job(self, *args, **parameters):
        with self.boot(*args, **parameters) as guest:
            guest.qmp("cont")
            return guest.finish()

    def check_state_survives(self, image_format, front_end="tpm-tis"):
        image = create_image(self.directory, image_format)
        secret = secrets.token_hex(64)
        written = self.run_job("write", image, image_format, front_end, nv=secret)
        self.assertEqual(written["nv-content"], secret)
        with self.boot("verify", image, image_format, front_end, nv=secret,
                       key=written["key-name"]) as guest:
            self.check_store_before_boot(guest)
            guest.qmp("cont")
            read = guest.finish()
        self.assertEqual(read["nv-content"], secret)
        self.assertEqual(read["key-name"], written["key-name"])

    def check_store_before_boot(self, guest):
        """QMP shows what the first process left, before the guest runs."""
        store, = guest.qmp("blobstore-info")
        self.assertEqual(store["drive"], "nvram")
        self.assertEqual(store["stats"]["write-errors"], 0)
        blobs = {(blob["owner"], blob["name"]): blob for blob in store["blobs"]}
        permanent = blobs["tpm", "permanent"]
        self.assertTrue(permanent["present"])
        self.assertGreater(permanent["size"], 64)
        self.assertEqual([slot["current"] for slot in permanent["slots"]].count(True), 1)

    def test_tpm_state_survives_a_new_process_on_qcow2(self):
        self.check_state_survives("qcow2")

    def test_tpm_state_survives_a_new_process_on_raw(self):
        self.check_state_survives("raw")

    def test_tpm_state_survives_behind_the_crb_front_end(self):
        self.check_state_survives("qcow2", "tpm-crb")

    def test_guest_notices_another_state(self):
        image = create_image(self.directory, "qcow2")
        written = self.run_job("write", image, "qcow2", nv=secrets.token_hex(64))
        with self.assertRaisesRegex(GuestFailure, "NV index holds something else"):
            self.run_job("verify", image, "qcow2", nv=secrets.token_hex(64),
                         key=written["key-name"])

    def test_blank_image_is_a_tpm_without_that_state(self):
        image = create_image(self.directory, "qcow2")
        with self.assertRaisesRegex(GuestFailure, "nvread"):
            self.run_job("verify", image, "qcow2")


if __name__ == "__main__":
    unittest.main()
