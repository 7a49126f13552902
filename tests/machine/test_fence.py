# SPDX-License-Identifier: GPL-2.0-or-later
"""Two machines on one store, behind a server that keeps nobody away."""

import subprocess
import unittest

import state
import tpm2
from case import drive
from encryption import store
from owners import OwnersTest, TwoOwners
from stalling import SERVED_BYTES, StallingStorage
from vm import VMError, program


class FenceTest(OwnersTest):
    def setUp(self):
        super().setUp()
        self.image()
        self.storage = StallingStorage(self, self.image_name, "raw")

    def blank(self):
        """The size stays: the server may just be asking for it."""
        subprocess.run(["fallocate", "--punch-hole", "--length", str(SERVED_BYTES),
                        self.path(self.image_name)], check=True)


class TwoOwnersTest(TwoOwners, FenceTest):
    def test_who_started_last_owns_the_store_whatever_the_policy(self):
        for policy in "report", "ignore", "stop", "enospc":
            with self.subTest(policy=policy):
                self.blank()
                self.expect_last_owns(f"werror={policy}")

    def test_paused_vm_does_not_go_on_over_another_owner(self):
        first, _ = self.make()
        first.qmp("stop")
        second, second_tpm = self.take()
        state.change_permanent(second_tpm, 7)
        expected = state.permanent(second_tpm)
        self.expect_stays_taken(first)
        second.kill()
        first.kill()
        self.expect_holds(expected)

    def test_decision_to_take_over_is_good_once_and_for_cont(self):
        first, first_tpm = self.make()
        second, second_tpm = self.take()
        self.expect_taken(first, first_tpm)
        first.qmp("qom-set", path="/objects/bs", property="fence", value="take-over")
        state.change_permanent(second_tpm, 7)
        expected = state.permanent(second_tpm)
        second.kill()
        first.quit()
        self.expect_holds(expected)

    def test_change_of_keys_does_not_hide_the_other_owner(self):
        first, first_tpm = self.make()
        second, second_tpm = self.take()
        state.change_permanent(second_tpm, 7)
        expected = state.permanent(second_tpm)
        before = self.content()
        first.qmp("blobstore-encrypt", job_id="job", id="bs", type="passphrase",
                  new_secret="sec0", iter_time=1)
        self.wait_status(first, "io-error")
        state.change_permanent(first_tpm, 8)
        self.assertEqual(self.content(), before)
        self.expect_stays_taken(first)
        second.kill()
        first.quit()
        self.expect_holds(expected)

    def test_vm_that_has_lost_the_store_is_not_saved(self):
        first, first_tpm = self.make()
        second, second_tpm = self.take()
        state.change_permanent(second_tpm, 7)
        expected = state.permanent(second_tpm)
        destination, _ = self.incoming(*self.args())
        self.start_migration(first, destination)
        self.assertEqual(self.wait_migration(first), "failed")
        self.assertNotEqual(first.status, "running")
        destination.kill()
        first.kill()
        second.kill()
        self.expect_holds(expected)

    def test_without_a_fence_nobody_looks(self):
        """So the fence is what the other tests test."""
        first, first_tpm = self.make("fence=off")
        self.take("fence=off")
        state.change_permanent(first_tpm, 1)
        self.assertEqual(first.status, "running")

    def test_other_properties_cannot_be_changed(self):
        machine, _ = self.make()
        with self.assertRaisesRegex(VMError, "cannot be changed any more"):
            machine.qmp("qom-set", path="/objects/bs", property="werror", value="stop")


class HandOverTest(FenceTest):
    """A migration hands the store over without a false alarm."""

    def test_store_goes_with_the_vm_and_back(self):
        machine, expected = self.move_to_and_fro()
        machine.quit()
        self.expect_holds(expected)

    def test_source_goes_on_after_a_migration_that_failed(self):
        source, tpm = self.make()
        destination, _ = self.incoming(*self.args())
        self.start_and_pause(source, destination)
        destination.kill()
        source.qmp("migrate_cancel")
        self.wait_migration(source, ["cancelled", "failed"])
        self.wait_status(source, "running")
        expected = self.change_without_alarm(source, tpm, 5)
        source.quit()
        self.expect_holds(expected)

    def test_source_that_goes_on_beside_its_destination_is_the_owner(self):
        source, tpm = self.make()
        destination, destination_tpm = self.incoming(*self.args())
        self.migrate(source, destination)
        self.change_without_alarm(destination, destination_tpm, 1)
        source.qmp("cont")
        self.wait_status(source, "running")
        self.change_without_alarm(source, tpm, 2)
        self.expect_taken(destination, destination_tpm)

    def test_reset_stop_and_snapshot_are_no_alarm(self):
        machine, tpm = self.make()
        for number, commands in enumerate((["stop", "cont"], ["system_reset"],
                                           ["stop", "system_reset", "cont"])):
            for command in commands:
                machine.qmp(command)
            if "system_reset" in commands:
                tpm.run(tpm2.startup())
            self.change_without_alarm(machine, tpm, number)


class LostServerTest(FenceTest):
    def test_vm_pauses_as_werror_says_whether_the_store_looks_or_not(self):
        for fence in "on", "off":
            with self.subTest(fence=fence):
                self.blank()
                machine, tpm = self.make("werror=stop", f"fence={fence}")
                self.storage.go()
                tpm.start(tpm2.nv_increment(state.COUNTER))
                self.wait_status(machine, "io-error")
                self.storage.come()
                machine.kill()


class ToolTest(FenceTest):
    def encrypt(self, *options):
        return subprocess.run(
            [program("QEMU_BLOBSTORE"), "encrypt", "--object=secret,id=sec0,data=sesame",
             "--new-key-secret=sec0", "--new-key-iter-time=1", "-f", "raw", *options,
             f"nbd+unix:///?socket={self.storage.socket}"], cwd=self.directory, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def test_tool_does_not_write_beside_a_vm(self):
        machine, tpm = self.make()
        before = self.content()
        done = self.encrypt()
        self.assertEqual(done.returncode, 8)
        self.assertIn("--take-over", done.stdout)
        self.assertEqual(self.content(), before)
        state.change_permanent(tpm, 1)
        self.assertEqual(machine.status, "running")

    def test_vm_notices_a_tool_that_was_told_to(self):
        machine, tpm = self.make()
        done = self.encrypt("--take-over")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        before = self.content()
        state.change_permanent(tpm, 1)
        self.wait_status(machine, "io-error")
        self.assertEqual(self.content(), before)

    def test_tool_works_on_a_store_that_was_closed(self):
        machine, _ = self.make()
        machine.quit()
        self.assertEqual(self.encrypt().returncode, 0)


class CostTest(FenceTest):
    """How much is read for each write"""

    def reads_of_a_write(self, args):
        self.blank()
        machine, tpm = self.power_on("-trace", "blobstore_read", *args)
        state.make(tpm)
        before = machine.qemu_log.read_text().count("blobstore_read ")
        tpm.run(tpm2.nv_increment(state.COUNTER))
        reads = machine.qemu_log.read_text().count("blobstore_read ") - before
        machine.quit()
        return reads

    def test_fence_costs_one_read_and_a_file_with_a_lock_has_none(self):
        self.assertEqual(self.reads_of_a_write(self.args()), 1)
        self.assertEqual(self.reads_of_a_write(self.args("fence=off")), 0)
        self.storage.go()
        for options, reads in ((), 0), (("fence=on",), 1):
            args = [*drive(self.image_name), *store(*options, key="")]
            self.assertEqual(self.reads_of_a_write(args), reads, options)


if __name__ == "__main__":
    unittest.main()
