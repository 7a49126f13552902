# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving a machine from one QEMU to another."""

from case import MachineTest, front_end
from moving import Moving


class MigrationTest(Moving, MachineTest):
    def incoming(self, *args, **capabilities):
        """A machine that waits for another one; and its TPM, for later."""
        machine = self.machine("-incoming", "defer", *args)
        machine.start()
        self.listen(machine, **capabilities)
        return machine, front_end(machine, args)

    def slow_down(self, source):
        """It gives its migration something to do, too."""
        source.qtest("memset 0x1000000 0x1000000 0x5a")
        super().slow_down(source)
