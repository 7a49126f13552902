# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are plugged, unplugged, or refused: their state is whole, and no one holds it."""

import unittest

import state
import tpm2
from case import TPM2, MachineTest, drive
from vm import VMError


class PlugTest(MachineTest):
    def make_tpm(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        return machine, tpm, state.permanent(tpm)

    def test_device_that_cannot_be_realized_gives_its_tpm_back(self):
        machine, _, permanent = self.make_tpm()
        machine.quit()
        for _ in range(2):
            machine = self.machine(*drive("nvram.raw"), "-device",
                                   "tpm-tis,blobstore=nvram,irq=99")
            with self.assertRaises(VMError):
                machine.start()
            self.assertEqual(machine.exit_status, 1)
            self.assertIn("IRQ 99", machine.qemu_log.read_text(encoding="utf-8"))
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)

    def test_device_that_cannot_be_plugged_leaves_nothing_behind(self):
        image = self.image()
        machine = self.machine(*drive(image))
        machine.start()
        for model in "tpm-tis", "tpm-crb":
            with self.assertRaisesRegex(VMError, "hotplug"):
                machine.qmp("device_add", driver=model, id="tpm", blobstore="nvram")
            self.assertEqual(machine.qmp("blobstore-info"), [])
            self.assertEqual(machine.qmp("query-tpm"), [])
        machine.hmp("drive_del nvram")
        self.assertEqual(machine.qmp("query-named-block-nodes"), [])
        with open(self.path(image), "rb") as content:
            self.assertFalse(any(content.read()))

    def test_nobody_takes_a_tpm_away(self):
        machine, tpm, permanent = self.make_tpm()
        before = machine.qmp("query-tpm")
        path, = [device["name"] for device in machine.qmp("qom-list", path="/machine/peripheral-anon")
                 if device["type"] == "child<tpm-tis>"]
        path = f"/machine/peripheral-anon/{path}"
        for command, arguments in (
                ("device_del", {"id": path}),
                ("device_add", {"driver": "tpm-crb", "blobstore": "nvram"}),
                ("qom-set", {"path": path, "property": "blobstore", "value": "other"}),
                ("object-del", {"id": "nvram"}),
                ("blockdev-del", {"node_name": machine.qmp("query-named-block-nodes")[0]
                                  ["node-name"]})):
            with self.subTest(command), self.assertRaises(VMError):
                machine.qmp(command, **arguments)
        machine.hmp("drive_del nvram")
        self.assertEqual(machine.qmp("query-tpm"), before)
        self.assertEqual(state.permanent(tpm), permanent)
        state.change_permanent(tpm, 1)
        permanent = state.permanent(tpm)
        machine.kill()
        _, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)


if __name__ == "__main__":
    unittest.main()
