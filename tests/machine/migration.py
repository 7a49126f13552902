# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving a machine from one QEMU to another."""

import shutil
import time
from pathlib import Path

from case import MachineTest, front_end
from moving import Moving

QUIET_SECONDS = 0.05        # Within this time a QEMU would read on.


class MigrationTest(Moving, MachineTest):
    def incoming(self, *args, **capabilities):
        """A machine that waits for another one, and its TPM for later."""
        machine = self.machine("-incoming", "defer", *args)
        machine.start()
        self.listen(machine, **capabilities)
        return machine, front_end(machine, args)

    def blank_other(self, size=4 << 20):
        Path(self.path("other.raw")).write_bytes(bytes(size))

    def copy_to_other(self):
        shutil.copy(self.path(self.image_name), self.path("other.raw"))

    def save_stream(self, source):
        source.qmp("migrate", uri=f"file:{self.path('stream')}")
        self.assertEqual(self.wait_migration(source), "completed")
        return Path(self.path("stream")).read_bytes()

    def fail_to_load_stream(self, machine):
        machine.qmp("migrate-incoming", uri=f"file:{self.path('stream')}", exit_on_error=False)
        self.assertEqual(self.wait_migration(machine), "failed")

    def slow_down(self, source):
        """Fill memory of the source, so that the migration has something to do."""
        source.qtest("memset 0x1000000 0x1000000 0x5a")
        super().slow_down(source)

    def wait_until_it_has_looked(self, destination, uuid):
        """Wait until the destination knows the store from the stream, and has read its medium."""
        def reads():
            return [node["stats"]["rd_operations"] for node in
                    destination.qmp("query-blockstats", query_nodes=True)]

        self.wait_for(lambda: destination.store()["uuid"], [uuid])
        before = None
        while before != reads():
            before = reads()
            time.sleep(QUIET_SECONDS)
