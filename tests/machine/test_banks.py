# SPDX-License-Identifier: GPL-2.0-or-later
"""The PCR banks of a new TPM: chosen once, and kept through everything."""

import struct
import unittest

import state
import tpm2
from case import drive
from frontend import TPMError
from migration import MigrationTest
from vm import VMError

CAP_PCRS = 5
BANKS = {0x4: "sha1", 0xb: "sha256", 0xc: "sha384", 0xd: "sha512"}
ALL = {"sha1", "sha256", "sha384", "sha512"}


def get_banks():
    """The names of the banks that have PCRs."""
    def parse(response):
        count, = struct.unpack_from(">I", response, 5)
        assert len(response) == 9 + 6 * count
        selections = (struct.unpack_from(">HB3s", response, 9 + 6 * n) for n in range(count))
        return {BANKS[algorithm] for algorithm, _, select in selections if any(select)}
    return tpm2.get_capability(CAP_PCRS, 0, 1, parse)


class BanksTest(MigrationTest):
    front_end = "tpm-tis"

    def args(self, *options, image_format="raw"):
        return [*drive(f"nvram.{image_format}", image_format), "-device",
                ",".join([f"{self.front_end},blobstore=nvram", *options])]

    def start(self, *args):
        machine, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        return machine, tpm

    def check(self, names, *options):
        self.image()
        machine, tpm = self.start(*self.args(*options))
        self.assertEqual(tpm.run(get_banks()), names)
        if "sha256" in names:
            tpm.run(tpm2.pcr_extend(7, state.digest("boot")))
        state.make_permanent(tpm)
        machine.qmp("system_reset")
        machine.wait_event("RESET")
        tpm.run(tpm2.startup())
        self.assertEqual(tpm.run(get_banks()), names)
        machine.quit()
        machine, tpm = self.start(*self.args())
        self.assertEqual(tpm.run(get_banks()), names)
        machine.quit()

    def test_default(self):
        self.check(ALL)

    def test_one(self):
        self.check({"sha256"}, "pcr-banks=sha256")

    def test_one_that_few_have(self):
        self.check({"sha384"}, "pcr-banks=sha384")

    def test_two(self):
        self.check({"sha256", "sha384"}, "pcr-banks=sha384:sha256")

    def test_comma(self):
        self.check({"sha1", "sha256"}, "pcr-banks=sha256,,sha1")

    def test_all(self):
        self.check(ALL, "pcr-banks=sha1:sha256:sha384:sha512")

    def test_tpmdev(self):
        self.image()
        _, tpm = self.start(*drive("nvram.raw"), "-tpmdev",
                            "libtpms,id=dev,blobstore=nvram,pcr-banks=sha256:sha512", "-device",
                            f"{self.front_end},tpmdev=dev")
        self.assertEqual(tpm.run(get_banks()), {"sha256", "sha512"})

    def test_existing_tpm_is_not_changed_and_the_user_is_told(self):
        self.image()
        machine, tpm = self.start(*self.args("pcr-banks=sha256"))
        machine.quit()
        machine, tpm = self.power_on(*self.args("pcr-banks=sha384"))
        self.assertIn("keeps the PCR banks that it has",
                      machine.qemu_log.read_text(encoding="utf-8"))
        tpm.run(tpm2.startup())
        self.assertEqual(tpm.run(get_banks()), {"sha256"})

    def test_banks_move_and_go_back(self):
        self.image("qcow2")
        args = self.args("pcr-banks=sha256", image_format="qcow2")
        machine, tpm = self.start(*args)
        machine.savevm("one")
        self.assertEqual(machine.hmp("loadvm one"), "")
        self.assertEqual(tpm.run(get_banks()), {"sha256"})
        destination, moved = self.incoming(*self.args("pcr-banks=sha384", image_format="qcow2"))
        self.migrate(machine, destination)
        self.assertEqual(moved.run(get_banks()), {"sha256"})

    def test_bad_choice_is_refused_and_writes_nothing(self):
        self.image()
        before = self.content()
        for options, says in ((["pcr-banks=sha3"], "there is no PCR bank 'sha3'"),
                              (["pcr-banks="], "there is no PCR bank ''"),
                              (["pcr-banks=sha256:"], "there is no PCR bank ''"),
                              (["pcr-banks=sha256:sha256"], "'sha256' is named twice")):
            machine = self.machine(*self.args(*options))
            with self.assertRaises(VMError):
                machine.start()
            self.assertIn(says, machine.qemu_log.read_text(encoding="utf-8"))
            self.assertEqual(self.content(), before)
        for args, says in (
                (["-tpmdev", "libtpms,id=dev,blobstore=nvram,version=1.2,pcr-banks=sha1",
                  "-device", "tpm-tis,tpmdev=dev"], "no choice of PCR banks"),
                (["-tpmdev", "libtpms,id=dev,blobstore=nvram", "-device",
                  f"{self.front_end},tpmdev=dev,pcr-banks=sha256"], "for a device with blobstore")):
            machine = self.machine(*drive("nvram.raw"), *args)
            with self.assertRaises(VMError):
                machine.start()
            self.assertIn(says, machine.qemu_log.read_text(encoding="utf-8"))
            self.assertEqual(self.content(), before)

    def test_pcr_of_another_bank_is_not_there(self):
        self.image()
        _, tpm = self.start(*self.args("pcr-banks=sha384"))
        with self.assertRaises((TPMError, struct.error)):
            tpm.run(tpm2.pcr_read(7))


class BanksBehindACRBTest(BanksTest):
    front_end = "tpm-crb"


if __name__ == "__main__":
    unittest.main()
