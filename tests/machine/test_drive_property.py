# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM has its drive as other devices do: drive=, and what monitor commands and events show."""

import unittest

import state
import tpm2
from case import TPM12, TPM2, MachineTest, drive, front_end
from faults import Faults, faulty_drive
from vm import create_image

NODE = ["-blockdev", "driver=raw,node-name=nvram,file.driver=file,file.filename=nvram.raw"]


class DriveTest(MachineTest):
    def setUp(self):
        super().setUp()
        self.image()

    def entry(self, machine, command, qdev):
        found, = [entry for entry in machine.qmp(command) if entry.get("qdev") == qdev]
        return found

    def check_is_shown(self, machine, tpm, qdev):
        info = self.entry(machine, "query-block", qdev)
        self.assertEqual((info["device"], info["inserted"]["file"], info["removable"], info["locked"]),
                         ("", "nvram.raw", False, False))
        before = self.entry(machine, "query-blockstats", qdev)["stats"]
        state.make_permanent(tpm)
        after = self.entry(machine, "query-blockstats", qdev)["stats"]
        written = machine.store()["stats"]["bytes-written"]
        self.assertEqual(after["wr_bytes"], written)
        self.assertGreater(after["wr_bytes"], before["wr_bytes"])
        self.assertGreater(after["flush_operations"], before["flush_operations"])
        self.assertGreater(after["rd_operations"], 0)

    def test_drive_says_the_same_as_blobstore(self):
        for model in "tpm-tis", "tpm-crb":
            for backend in NODE, drive("nvram.raw"):
                create_image(self.directory, "raw")
                args = [*backend, "-device", f"{model},drive=nvram,id=tpm0"]
                machine, tpm = self.power_on(*args)
                tpm.run(tpm2.startup())
                self.check_is_shown(machine, tpm, "tpm0")
                permanent = state.permanent(tpm)
                self.assertEqual(machine.qmp("qom-get", path="tpm0", property="drive"), "nvram")
                machine.quit()
                machine, tpm = self.power_on(*backend, "-device", f"{model},blobstore=nvram")
                tpm.run(tpm2.startup())
                self.assertEqual(state.permanent(tpm), permanent)
                machine.quit()

    def test_device_without_an_id_is_shown_with_its_path(self):
        machine, tpm = self.power_on(*NODE, *TPM2)
        tpm.run(tpm2.startup())
        self.check_is_shown(machine, tpm, "/machine/peripheral-anon/device[0]")

    def test_long_form_is_shown(self):
        machine, _ = self.power_on(*NODE, *TPM12[:-1], "tpm-tis,tpmdev=dev,id=tpm0")
        self.assertGreater(self.entry(machine, "query-blockstats", "tpm0")["stats"]["wr_bytes"], 0)

    def test_migrated_vm_shows_it(self):
        args = [*NODE, "-device", "tpm-crb,drive=nvram,id=tpm0"]
        source, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        permanent = state.permanent(tpm)
        machine = self.machine(*args, "-incoming", f"unix:{self.path('socket')}")
        machine.start()
        self.assertEqual(self.entry(machine, "query-block", "tpm0")["inserted"]["file"], "nvram.raw")
        source.qmp("migrate", uri=f"unix:{self.path('socket')}")
        machine.wait_event("RESUME")
        source.quit()
        tpm = front_end(machine, args)
        self.assertEqual(state.permanent(tpm), permanent)
        state.change_permanent(tpm, 1)
        self.assertGreater(self.entry(machine, "query-blockstats", "tpm0")["stats"]["wr_bytes"], 0)

    def test_error_is_an_event_of_the_device(self):
        machine, tpm = self.power_on(*faulty_drive(self.image_name, werror="stop"), "-device",
                                     "tpm-tis,drive=nvram,id=tpm0")
        tpm.run(tpm2.startup())
        faults = Faults(machine)
        faults.begin("write", once=True)
        tpm.start(tpm2.nv_define(state.INDEX))
        event = machine.wait_event("BLOCK_IO_ERROR")
        self.assertEqual((event["operation"], event["action"], event["qom-path"]),
                         ("write", "stop", "/machine/peripheral/tpm0"))
        self.assertEqual(self.entry(machine, "query-block", "tpm0")["io-status"], "failed")
        stats = self.entry(machine, "query-blockstats", "tpm0")["stats"]
        self.assertEqual(stats["failed_wr_operations"], 1)
        machine.qmp("cont")
        tpm.finish()

    def test_limit_that_is_set_while_it_runs_makes_writes_wait(self):
        """QEMU throttles by the guest's clock here."""
        machine, tpm = self.power_on(*NODE, "-device", "tpm-tis,drive=nvram,id=tpm0")
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)

        def change():
            begun = machine.pass_time()
            for number in range(3):
                state.change_permanent(tpm, number)
            return machine.pass_time() - begun

        self.assertLess(change(), 1e9)
        self.assertEqual(machine.hmp("block_set_io_throttle tpm0 0 0 0 0 0 2"), "")
        self.assertEqual(self.entry(machine, "query-block", "tpm0")["inserted"]["iops_wr"], 2)
        self.assertGreater(change(), 2e9)


if __name__ == "__main__":
    unittest.main()
