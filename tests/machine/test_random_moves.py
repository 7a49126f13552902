# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM moves, stays, stops and goes back in any order while its TPM works: nothing hangs or is lost."""

import signal
import unittest
from collections import Counter

import state
import tpm2
from case import EFFORT, TPM2, drive
from migration import ENDED, MigrationTest

ROUNDS = 125                # for each image format
ROUND_SECONDS = 60          # at most
PCR = 16
SNAPSHOT = "moment"


class MovesTest(MigrationTest):
    """Each action begins with a command in flight, and ends with it done and a VM that runs."""

    actions = ["move", "move", "cancel", "lose_destination", "hand_back", "stop_and_continue",
               "reset", "kill"]

    def check(self, image_format):
        self.args = drive(self.image(image_format), image_format) + TPM2
        self.vm, self.tpm = self.power_on(*self.args)
        self.tpm.run(tpm2.startup())
        self.tpm.run(tpm2.nv_define(state.COUNTER, tpm2.NV_COUNTER))
        self.tpm.run(tpm2.nv_increment(state.COUNTER))
        self.expected = {"count": 1, "pcr": bytes(32)}
        self.saved = self.before = None     # by savevm: the command in flight, what it began with
        self.numbers = 0
        tried, history = Counter(), []
        for _ in range(ROUNDS * EFFORT):
            action = self.random.choice(self.actions)
            history = [*history[-20:], action]
            signal.alarm(ROUND_SECONDS)
            try:
                self.play_round(action)
            except Exception as error:
                raise AssertionError(f"after {history}") from error
            tried[action] += 1
        print(f"# {image_format}: counted to {self.expected['count']}, {dict(tried)}", flush=True)

    def play_round(self, action):
        self.numbers += 1
        self.tpm.run(tpm2.pcr_extend(PCR, state.digest(self.numbers)))
        self.expected["pcr"] = self.tpm.run(tpm2.pcr_read(PCR))
        self.command = self.random.choice([tpm2.nv_increment(state.COUNTER), tpm2.get_random(16),
                                           tpm2.create_rsa_key(self.numbers)])
        self.tpm.start(self.command)
        getattr(self, action)()
        self.assertEqual(self.vm.status, "running")
        self.assertEqual({"count": self.tpm.run(tpm2.nv_counter(state.COUNTER)),
                          "pcr": self.tpm.run(tpm2.pcr_read(PCR))}, self.expected)
        self.assertEqual(self.vm.store()["state"], "active")

    def finish(self):
        """The command completes, once."""
        value = self.tpm.take_over(self.command)
        if self.command.code == tpm2.create_rsa_key(0).code:
            self.tpm.run(tpm2.flush_context(value))
        self.expected["count"] += self.command.code == tpm2.nv_increment(0).code

    def go_back(self):
        """The response to what was in flight at the snapshot waits to be read."""
        self.expected, self.command = dict(self.before), self.saved
        self.finish()

    def startup(self):
        """After a power cycle; the command in flight may have been done before it."""
        self.tpm.run(tpm2.startup())
        found = self.tpm.run(tpm2.nv_counter(state.COUNTER))
        self.assertIn(found - self.expected["count"],
                      (0, self.command.code == tpm2.nv_increment(0).code))
        self.expected = {"count": found, "pcr": bytes(32)}

    # Actions

    def move(self):
        destination, tpm = self.incoming(*self.args)
        self.migrate(self.vm, destination)
        self.vm.kill()
        self.vm, self.tpm = destination, tpm
        self.finish()

    def cancel(self):
        """At any moment; it may be too late."""
        destination, tpm = self.incoming(*self.args)
        self.start_migration(self.vm, destination)
        if self.random.randrange(2):
            self.wait_migration(self.vm, ["active", "device", *ENDED])
        self.vm.qmp("migrate_cancel")
        if self.wait_migration(self.vm) == "completed":
            self.wait_status(destination, "running")
            self.vm.kill()
            self.vm, self.tpm = destination, tpm
        else:
            destination.kill()
            if self.wait_status(self.vm, "running", "io-error") == "io-error":
                self.vm.qmp("cont")     # the destination had locked the image already
                self.wait_status(self.vm, "running")
        self.finish()

    def lose_destination(self):
        destination, _ = self.incoming(*self.args)
        self.start_and_pause(self.vm, destination)
        destination.kill()
        self.resume(self.vm)
        self.assertEqual(self.wait_migration(self.vm), "failed")
        self.wait_status(self.vm, "running")
        self.finish()

    def hand_back(self):
        destination, _ = self.incoming(*self.args)
        self.migrate(self.vm, destination)
        destination.kill()
        self.vm.qmp("cont")
        self.finish()

    def stop_and_continue(self):
        self.vm.qmp("stop")
        self.vm.qmp("cont")
        self.finish()

    def reset(self):
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")
        self.startup()

    def kill(self):
        self.vm.kill()
        self.vm, self.tpm = self.power_on(*self.args)
        self.startup()

    def savevm(self):
        self.vm.hmp(f"delvm {SNAPSHOT}")
        self.assertEqual(self.vm.hmp(f"savevm {SNAPSHOT}"), "")
        self.before, self.saved = dict(self.expected), self.command
        self.finish()

    def loadvm(self):
        if not self.saved:
            self.savevm()
        # Else QEMU 10.0 lets it fail after a migration that has failed.
        self.vm.hmp("savevm other")
        self.vm.hmp("delvm other")
        self.assertEqual(self.vm.hmp(f"loadvm {SNAPSHOT}"), "")
        self.go_back()

    def loadvm_in_a_new_process(self):
        if not self.saved:
            self.savevm()
        self.vm.kill()
        self.vm, self.tpm = self.power_on(*self.args, "-loadvm", SNAPSHOT)
        self.go_back()

    def test_on_raw(self):
        self.check("raw")

    def test_on_qcow2_with_snapshots(self):
        self.actions = self.actions + ["savevm", "loadvm", "loadvm", "loadvm_in_a_new_process"]
        self.check("qcow2")


if __name__ == "__main__":
    unittest.main()
