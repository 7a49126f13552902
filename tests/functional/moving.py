# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving a VM from one QEMU to another."""

import time

WAIT_SECONDS = 60
POLL_SECONDS = 0.01
ENDED = "completed", "failed", "cancelled"


class Moving:
    """Helpers for tests with pairs of VMs.

    A source learns in time that its destination fails.
    """

    capabilities = {"return-path": True, "events": True, "pause-before-switchover": False,
                    "postcopy-ram": False, "multifd": False}

    def set_capabilities(self, vm, **capabilities):
        capabilities = {name.replace("_", "-"): on for name, on in capabilities.items()}
        vm.qmp("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": on}
            for name, on in {**self.capabilities, **capabilities}.items()])

    def listen(self, vm, **capabilities):
        """Let a VM that was started with "-incoming defer" wait for another one now."""
        self.set_capabilities(vm, **capabilities)
        vm.address = self.path(f"migration-{vm.pid}")
        vm.qmp("migrate-incoming", uri=f"unix:{vm.address}", exit_on_error=False)

    def start_migration(self, source, destination, **capabilities):
        self.set_capabilities(source, **capabilities)
        source.qmp("migrate", uri=f"unix:{destination.address}")

    def slow_down(self, source):
        """Leave the migration of the source no time to end."""
        source.qmp("migrate-set-parameters", max_bandwidth=1 << 16, downtime_limit=0)

    def speed_up(self, source):
        source.qmp("migrate-set-parameters", max_bandwidth=1 << 34, downtime_limit=300)

    def start_and_pause(self, source, destination):
        """Start a migration, and wait until the source has stopped and waits for migrate-continue.
        """
        self.start_migration(source, destination, pause_before_switchover=True)
        self.wait_migration(source, ["pre-switchover"])

    def resume(self, source):
        source.qmp("migrate-continue", state="pre-switchover")

    def finish_migration(self, source, destination):
        """Wait until the migration has succeeded, and check that the destination runs then."""
        self.assertEqual(self.wait_migration(source), "completed")
        self.assertEqual(self.wait_migration(destination), "completed")
        self.wait_status(destination, "running")

    def migrate(self, source, destination, **capabilities):
        """Migrate from start to end, with the capabilities."""
        if capabilities.get("postcopy_ram"):
            self.slow_down(source)
        self.start_migration(source, destination, **capabilities)
        if capabilities.get("postcopy_ram"):
            self.wait_migration(source, ["active"])
            source.qmp("migrate-start-postcopy")
        if capabilities.get("pause_before_switchover"):
            self.wait_migration(source, ["pre-switchover"])
            self.resume(source)
        self.finish_migration(source, destination)
        if capabilities.get("postcopy_ram"):
            self.assertIn("postcopy-active",
                          [event["status"] for event in source.events("MIGRATION")])

    def wait_migration(self, vm, states=ENDED):
        return self.wait_for(lambda: vm.qmp("query-migrate").get("status"), states)

    def wait_status(self, vm, *states):
        return self.wait_for(lambda: vm.status, states)

    def wait_for(self, query, wanted):
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := query()) not in wanted:
            self.assertLess(time.monotonic(), deadline, f"{found!r} is not one of {wanted}")
            time.sleep(POLL_SECONDS)
        return found
