# SPDX-License-Identifier: GPL-2.0-or-later
"""Random actions on a machine while its TPM works: nothing hangs, nothing is lost."""

import unittest
from collections import Counter

import pytest

import tpm2
from acpi import suspend, wake_up
from case import MachineTest, drive, rounds, say_rounds
from faults import Faults, faulty_drive
from vm import VMError

COUNTER = 0x01000002
ROUNDS = rounds(30, 130)    # for each image format, with faults and without
ROUND_SECONDS = 60          # at most
LIMITS = {"throttling.iops-write": 300}     # so that commands take some time
MIB = 1 << 20

# Actions that a round may draw; each is a method of the test. All leave the machine running or
# ended.
WHILE_RUNNING = ["stop_and_continue", "drive_del", "device_del", "object_del", "grow", "info"]
BLOCK_JOBS = ["backup", "snapshot"]         # Drawn while the machine runs, too
FAULTS = ["fail_once", "fail_for_a_while"]  # Drawn while the machine runs, too
WITH_RESET = ["reset", "sleep"]
FAULTS_WITH_RESET = ["fail_and_reset"]
AT_THE_END = ["quit", "terminate", "kill"]
FAULTS_AT_THE_END = ["fail_and_quit", "fail_and_kill"]


@pytest.mark.drawn
class RandomTest(MachineTest):
    what = "anything in any order"
    while_running = WHILE_RUNNING + BLOCK_JOBS
    with_reset = WITH_RESET
    at_the_end = AT_THE_END

    def check(self, image_format):
        self.disk, self.format, self.size = self.image(image_format), image_format, 4 * MIB
        self.vm = None
        self.count = 0              # acknowledged
        self.files = 0
        self.tried, self.refused = Counter(), Counter()
        self.paused = 0             # pauses that a fault caused
        history = []
        actions = self.while_running * 2 + self.with_reset * 2 + self.at_the_end
        self.begin()
        for _ in range(ROUNDS):
            command, action = self.draw_command(), self.random.choice(actions)
            history = [*history[-20:], f"{command.code:#x} {action}"]
            self.set_alarm(ROUND_SECONDS)
            try:
                self.play_round(command, action)
            except Exception as error:
                raise AssertionError(self.again(history)) from error
        say_rounds(f"{self.what} on {image_format}", ROUNDS, f"counted to {self.count}",
                   dict(self.tried), f"refused: {dict(self.refused)}, paused: {self.paused}")

    def draw_command(self):
        increment = tpm2.nv_increment(COUNTER)
        key = tpm2.create_rsa_key(self.random.getrandbits(32))
        return self.random.choice([increment, increment, increment, key, tpm2.get_random(16)])

    def play_round(self, command, action):
        self.start(command, action)
        for _ in range(self.random.randrange(8)):
            self.vm.pass_time()
        getattr(self, action)()
        self.tried[action] += 1
        increments = command.code == tpm2.nv_increment(COUNTER).code
        if action in self.while_running:
            value = self.tpm.finish()
            self.count += increments
            if command.code == tpm2.create_rsa_key(0).code:
                self.tpm.run(tpm2.flush_context(value))
            self.assertEqual(self.tpm.run(tpm2.nv_counter(COUNTER)), self.count)
            return
        if action in self.at_the_end:
            self.begin()
        else:
            self.tpm.run(tpm2.startup())
        found = self.tpm.run(tpm2.nv_counter(COUNTER))
        self.assertIn(found, (self.count, self.count + increments))
        self.count = found

    def begin(self):
        """Start a new process with the newest image."""
        self.vm, self.tpm = self.power_on("-M", "q35", *self.drive(), "-device",
                                          "tpm-tis,id=tpm,blobstore=nvram")
        self.tpm.run(tpm2.startup())
        if not self.count:
            self.tpm.run(tpm2.nv_define(COUNTER, tpm2.NV_COUNTER))
            self.tpm.run(tpm2.nv_increment(COUNTER))
            self.count = 1

    def drive(self):
        return drive(self.disk, self.format, **LIMITS)

    def start(self, command, _action):
        self.tpm.start(command)

    def may_fail(self, command, **arguments):
        """Run a QMP command that QEMU may refuse at the moment; returns whether it was accepted."""
        try:
            self.vm.qmp(command, **arguments)
        except VMError:
            self.assertEqual(self.vm.status, "running")
            self.refused[command] += 1
            return False
        return True

    def new_file(self):
        self.files += 1
        return self.path(f"file-{self.files}.qcow2")

    # Actions

    def stop_and_continue(self):
        self.vm.qmp("stop")
        self.assertTrue(self.tpm.is_done())
        self.vm.qmp("cont")

    def drive_del(self):
        self.vm.hmp("drive_del nvram")

    def device_del(self):
        self.assertFalse(self.may_fail("device_del", id="tpm"))

    def object_del(self):
        self.assertFalse(self.may_fail("object-del", id="nvram"))

    def grow(self):
        if self.may_fail("block_resize", device="nvram", size=self.size + MIB):
            self.size += MIB

    def backup(self):
        """Run the backup to its end: QEMU 10.0 crashes if another begins just when one ends."""
        self.may_fail("drive-backup", device="nvram", job_id="job", sync="full",
                      target=self.new_file(), format="qcow2")
        while self.vm.qmp("query-jobs"):
            self.vm.pass_time()

    def snapshot(self):
        name = self.new_file()
        if self.may_fail("blockdev-snapshot-sync", device="nvram", snapshot_file=name):
            self.disk, self.format = name, "qcow2"

    def info(self):
        self.assertIn(self.vm.store()["state"], ("active", "dirty"))
        self.assertIn("nvram", self.vm.hmp("info blobstore"))

    def reset(self):
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")

    def sleep(self):
        suspend(self.vm)
        wake_up(self.vm)

    def quit(self):
        self.vm.quit()

    def terminate(self):
        self.vm.terminate()

    def kill(self):
        self.vm.kill()

    def test_on_raw(self):
        self.check("raw")

    def test_on_qcow2(self):
        self.check("qcow2")


class RandomFaultTest(RandomTest):
    """The same on storage that fails now and then, which pauses the machine."""

    what = "the same with faults"
    while_running = WHILE_RUNNING + FAULTS
    with_reset = WITH_RESET + FAULTS_WITH_RESET
    at_the_end = AT_THE_END + FAULTS_AT_THE_END

    def drive(self):
        return faulty_drive(self.disk, self.format, werror="stop", rerror="stop", **LIMITS)

    def start(self, command, action):
        """If the action is a fault, storage begins to fail shortly before or after it."""
        self.faults = Faults(self.vm, self.format)
        fault = {"access": self.random.choice(["read", "write", "write"]),
                 "once": action == "fail_once"}
        fails, before = action.startswith("fail"), self.random.getrandbits(1)
        if fails and before:
            self.faults.begin(**fault)
        self.tpm.start(command)
        if fails and not before:
            self.faults.begin(**fault)

    def wait(self):
        """Wait until the command has ended. If it failed, the machine has paused before that."""
        while not self.tpm.is_done():
            self.vm.pass_time()
        self.paused += self.vm.status == "io-error"

    def recover(self):
        """End the faults; a machine that was continued too soon may pause again."""
        self.faults.end()
        while (self.vm.status, self.vm.store()["state"]) != ("running", "active"):
            if self.vm.status != "running":
                self.vm.qmp("cont")

    def fail_once(self):
        self.wait()
        self.recover()

    def fail_for_a_while(self):
        self.wait()
        for _ in range(3):
            try:
                self.vm.qmp("cont")
            except VMError:
                pass            # refused because the medium still fails
        self.recover()

    def fail_and_reset(self):
        self.wait()
        self.reset()
        self.recover()

    def fail_and_quit(self):
        self.wait()
        self.quit()

    def fail_and_kill(self):
        self.wait()
        self.kill()


if __name__ == "__main__":
    unittest.main()
