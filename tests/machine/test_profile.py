# SPDX-License-Identifier: GPL-2.0-or-later
"""Which libtpms has stored the state, and a profile that libtpms cannot make."""

import re
import subprocess
import unittest
from pathlib import Path

import tpm2
from case import TPM2, MachineTest, drive
from vm import VMError


class ProfileTest(MachineTest):
    def test_image_names_the_libtpms_that_stored_it(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        machine.quit()
        version = subprocess.run(["pkg-config", "--modversion", "libtpms"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout.strip()
        found = re.findall(rb"libtpms=([0-9.]+)\0", Path(self.path("nvram.raw")).read_bytes())
        self.assertEqual({name.decode() for name in found}, {version})

    def test_profile_that_cannot_be_made_is_refused_and_writes_nothing(self):
        self.image()
        before = Path(self.path("nvram.raw")).read_bytes()
        for version, profile, says in (
                ("2.0", "default-v9", "libtpms [0-9.]+ has no profiles|there is no profile"),
                ("2.0", "{}", "libtpms [0-9.]+ has no profiles|there is no profile"),
                ("1.2", "null", "a TPM 1.2 has no profiles")):
            machine = self.machine(*drive("nvram.raw"), "-tpmdev",
                                   f"libtpms,id=dev,blobstore=nvram,version={version},"
                                   f"profile={profile}", "-device", "tpm-tis,tpmdev=dev")
            with self.assertRaises(VMError):
                machine.start()
            self.assertRegex(machine.qemu_log.read_text(encoding="utf-8"), says)
            self.assertEqual(Path(self.path("nvram.raw")).read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
