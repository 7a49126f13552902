# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM on each kind of storage: its state survives, moves, and has one owner."""

import errno
import os
import signal
import subprocess
import time
import unittest

from stored import StoredTest
from ceph import Ceph, CephWithKeys, CephWithoutMap, CephWithQuota, CephWithReplica
from iscsi import ISCSI, ISCSI4096
from local import XFS, Btrfs, Ext4, Loop, Loop4096
from nbd import NBD
from nfs import NFS
from server import IMAGE_BYTES

import state
import tpm2
from case import TPM2, rounds, say_rounds
from owners import TwoOwners
from vm import VMError, program

KILLS = rounds(8, 40)
CONVERT_SECONDS = 60
COUNTS = 6              # at most, between two kills
LARGE_INDEX, LARGE_BYTES, LARGE_INDICES = 0x01000100, 1024, 40
AWAY_SECONDS = 1        # so long the server is away while a command waits


class Thin:
    """What is not written takes up no space."""

    def test_store_allocates_what_it_writes_and_no_more(self):
        self.assertEqual(self.storage.allocated(), 0)
        _, tpm = self.make()
        self.count(tpm, 20)
        self.assertGreater(self.storage.allocated(), 0)
        self.assertLess(self.storage.allocated(), IMAGE_BYTES // 2)

    def convert(self, command, *options):
        subprocess.run([program("QEMU_BLOBSTORE"), command, "--object=secret,id=key,data=sesame",
                        *options, *self.storage.image], check=True, timeout=CONVERT_SECONDS)

    def test_thin_image_stays_thin_when_it_is_encrypted_and_decrypted(self):
        machine, tpm = self.make()
        expected = state.permanent(tpm)
        machine.quit()
        self.assertIn(expected["index"], self.content())
        self.convert("encrypt", "--new-key-secret=key", "--new-key-iter-time=1")
        self.assertNotIn(expected["index"], self.content())
        self.convert("decrypt", "--key-secret=key")
        self.assertLess(self.storage.allocated(), IMAGE_BYTES // 2)
        self.expect_holds(expected)


class Durable(Thin):
    """What every kind of storage must do."""

    def test_state_survives_the_end_of_qemu(self):
        machine, tpm = self.make()
        expected = state.permanent(tpm)
        for number in range(3):
            machine.quit()
            machine, tpm = self.take()
            self.assertEqual(state.permanent(tpm), expected)
            state.change_permanent(tpm, number)
            expected = state.permanent(tpm)

    def test_no_acknowledged_count_is_lost_when_qemu_is_killed(self):
        machine, tpm = self.make()
        counted, beyond = self.count(tpm), 0
        for _ in range(KILLS):
            counted = self.count(tpm, self.random.randrange(1, COUNTS))
            tpm.start(tpm2.nv_increment(state.COUNTER))
            time.sleep(self.random.uniform(0, 0.002))
            os.kill(machine.pid, signal.SIGKILL)
            machine.kill()
            machine, tpm = self.take()
            found = tpm.run(tpm2.nv_counter(state.COUNTER))
            self.assertIn(found, (counted, counted + 1))
            beyond += found > counted
        say_rounds(f"kills on {type(self.storage).__name__}", KILLS,
                   f"counted to {found}, {beyond} found one more than was acknowledged")

    def test_store_goes_with_the_vm_and_back(self):
        machine, expected = self.move_to_and_fro()
        machine.kill()
        self.expect_holds(expected)


class Waiting:
    """Storage that is away for a while"""

    def check_waits(self, leave, come):
        machine, tpm = self.make()
        counted = self.count(tpm)
        for _ in range(3):
            leave()
            try:
                tpm.run(tpm2.get_random(16))
                tpm.start(tpm2.nv_increment(state.COUNTER))
                end = time.monotonic() + AWAY_SECONDS
                while time.monotonic() < end:
                    machine.pass_time()
                    self.assertEqual(machine.status, "running")
                    self.assertEqual(machine.store()["state"], "active")
                    self.assertFalse(tpm.is_done())
            finally:
                come()
            tpm.finish()
            counted += 1
            self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), counted)
        machine.kill()
        machine, tpm = self.take()
        self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), counted)


class Served(Waiting, TwoOwners, Durable):
    """What storage must do whose server can go, and that keeps no second user away."""

    def test_command_waits_for_a_server_that_was_killed(self):
        self.check_waits(self.storage.go, self.storage.come)

    def test_command_waits_for_a_server_that_stands_still(self):
        self.check_waits(self.storage.stall, self.storage.go_on)


class ISCSITest(Served, StoredTest):
    server_class = ISCSI


class ISCSI4096Test(Served, StoredTest):
    server_class = ISCSI4096


class CephTest(Served, StoredTest):
    server_class = Ceph

    def test_frozen_host_that_wakes_up_writes_nothing(self):
        """Ceph takes the lock of a client that says nothing, and shuts the client out."""
        for policy, status in ("report", "running"), ("stop", "io-error"):
            with self.subTest(policy=policy):
                self.storage.blank()
                first, first_tpm, second, second_tpm = self.freeze_and_take(f"werror={policy}")
                before = self.content()
                first_tpm.start(tpm2.nv_increment(state.COUNTER))
                self.wait_for(lambda: os.strerror(errno.ESHUTDOWN) in first.qemu_log.read_text(),
                              [True])
                self.wait_status(first, status)
                self.assertEqual(self.content(), before)
                first.kill()
                state.change_permanent(second_tpm, 8)
                expected = state.permanent(second_tpm)
                second.kill()
                self.expect_holds(expected)


class CephWithoutMapTest(Thin, StoredTest):
    server_class = CephWithoutMap


class CephWithReplicaTest(StoredTest):
    server_class = CephWithReplica

    def test_tpm_goes_on_while_one_of_two_osds_is_gone(self):
        machine, tpm = self.make()
        counted = self.count(tpm)
        for _ in range(2):
            self.storage.go()
            counted += COUNTS
            self.assertEqual(self.count(tpm, COUNTS), counted)
            self.storage.come_back()
        machine.kill()
        _, tpm = self.take()
        self.assertEqual(self.count(tpm), counted + 1)


class CephWithQuotaTest(Waiting, StoredTest):
    server_class = CephWithQuota

    def test_command_waits_while_the_pool_is_full(self):
        self.check_waits(self.storage.fill, self.storage.make_room)


class CephWithKeysTest(StoredTest):
    server_class = CephWithKeys

    def test_old_capability_does_not_take_the_lock_of_a_dead_client(self):
        self.storage.make_user("old", mon="allow r", osd="allow rwx pool=rbd")
        machine, tpm = self.make()
        counted = self.count(tpm)
        os.kill(machine.pid, signal.SIGKILL)
        before = self.content()
        second = self.machine(*self.args())
        with self.assertRaises(VMError):
            second.start()
        said = second.qemu_log.read_text()
        self.assertIn("Permission denied", said)
        self.assertIn("mon 'profile rbd'", said)
        self.assertEqual(self.content(), before)
        self.storage.make_user("new", mon="profile rbd", osd="profile rbd pool=rbd")
        _, tpm = self.take()
        self.assertEqual(self.count(tpm), counted + 1)


class NFSTest(Served, StoredTest):
    server_class = NFS


class NBDTest(Served, StoredTest):
    server_class = NBD


class Local(Durable):
    """What storage of the host must do, on which QEMU has a lock."""

    def test_second_user_is_kept_away(self):
        machine, tpm = self.make()
        before = self.content()
        second = self.machine(*self.args())
        with self.assertRaisesRegex(VMError, "another process using"):
            second.start()
        self.assertEqual(self.content(), before)
        state.change_permanent(tpm, 1)
        self.assertEqual(machine.status, "running")


class LoopTest(Local, StoredTest):
    server_class = Loop

    def test_page_cache_of_a_host_device_is_warned_of(self):
        node = {"driver": "host_device", "filename": self.storage.device}
        for cache, warnings in ({"direct": True}, 0), ({"direct": False}, 1):
            machine, _ = self.power_on(*self.storage.drive_on({**node, "cache": cache}), *TPM2)
            machine.quit()
            self.assertEqual(machine.qemu_log.read_text().count("uses the page cache"), warnings)


class Loop4096Test(Local, StoredTest):
    server_class = Loop4096


class PowerCut:
    """What must hold on a file system that can be shut down."""

    def test_no_acknowledged_count_is_lost_in_a_power_cut(self):
        machine, tpm = self.make()
        for number in range(4):
            counted = self.count(tpm, number + 1)
            self.storage.cut_power()
            machine.kill()
            self.storage.unmount()
            self.storage.come()
            machine, tpm = self.take()
            self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), counted)


class Limited(Local):
    """What must hold on a file system that is full, or whose quota is used up."""

    def grow_until_pause(self, machine, tpm):
        """Store more until no block is left; returns the indices that the TPM has made."""
        made = []
        while machine.status == "running":
            self.assertLess(len(made), LARGE_INDICES)
            made.append(LARGE_INDEX + len(made))
            tpm.run(tpm2.nv_define(made[-1], size=LARGE_BYTES))
        return made

    def test_vm_pauses_without_space_and_goes_on(self):
        machine, tpm = self.make()
        self.storage.fill()
        made = self.grow_until_pause(machine, tpm)
        self.assertTrue(machine.wait_event("BLOCK_IO_ERROR")["nospace"])
        self.storage.make_room()
        machine.qmp("cont")
        self.wait_status(machine, "running")
        for index in made:
            tpm.run(tpm2.nv_write(index, state.digest(index)))
        machine.kill()
        machine, tpm = self.take()
        for index in made:
            self.assertEqual(tpm.run(tpm2.nv_read(index)), state.digest(index)[:tpm2.NV_BYTES])


class Ext4Test(PowerCut, Limited, StoredTest):
    server_class = Ext4


class XFSTest(PowerCut, Limited, StoredTest):
    server_class = XFS


class BtrfsTest(Limited, StoredTest):
    server_class = Btrfs


if __name__ == "__main__":
    unittest.main()
