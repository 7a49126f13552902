# SPDX-License-Identifier: GPL-2.0-or-later
"""A store goes back to a snapshot, and its keys change on both branches.

Each branch works, with its own keys. The superblock of one, which has the key slots, does not work
with the rest of the other, nor does an older one.
"""

import subprocess
import unittest
from pathlib import Path

import qcow2
import state
from encryption import EncryptionTest, new_key, opens_with, store
from vm import program

KEYS = "sec0", "sec1", "raw"
SUPERBLOCK_BYTES = 2 * 16384

NOT_OF_THIS_BRANCH = r"superblock \(generation [0-9]+\) does not belong to the directory"
OLDER = r"superblock \(generation [0-9]+\) is older than the directory \([0-9]+\)"


def opened(key):
    return store(key=opens_with(key))


class BranchTest(EncryptionTest):
    image_format = "qcow2"

    def superblocks(self, image=None):
        return bytes(qcow2.guest_content(image or self.content())[:SUPERBLOCK_BYTES])

    def put_image(self, image):
        Path(self.path(self.image_name)).write_bytes(image)

    def put_superblocks(self, superblocks):
        Path(self.path("superblocks")).write_bytes(superblocks)
        subprocess.run([program("QEMU_IO"), "-f", "qcow2", "-c",
                        f"write -s superblocks 0 {SUPERBLOCK_BYTES}", self.image_name],
                       cwd=self.directory, check=True, stdout=subprocess.DEVNULL)

    def snapshot(self, option):
        subprocess.run([program("QEMU_IMG"), "snapshot", option, "fork", self.image_name],
                       cwd=self.directory, check=True)

    def exchange_key(self, machine, key):
        """From now on `key` opens the store, and the passphrase in key slot 0 does not."""
        machine.qmp("blobstore-key-add", id="bs", **new_key(key))
        machine.qmp("blobstore-key-remove", id="bs", keyslot=0)

    def go_on(self, machine, tpm, key, number):
        """One branch: another key, another state. Returns the state."""
        state.change_permanent(tpm, number)
        self.exchange_key(machine, key)
        state.change_permanent(tpm, number + 1)
        return state.permanent(tpm)

    def check_opens_with(self, key, expected):
        """The image opens with this key alone, and works."""
        for other in KEYS:
            if other != key:
                self.check_refused(*opened(other), says="no key slot")
        machine, tpm = self.check_holds(expected, *opened(key))
        slots = machine.qmp("blobstore-key-list", id="bs")
        self.assertEqual(len(slots), 1)
        machine.quit()

    def check_mixed(self, superblocks, key, says):
        """The image with these superblocks, which `key` unlocks, is refused and stays as it is."""
        own = self.superblocks()
        self.put_superblocks(superblocks)
        self.check_refused(*opened(key), says=says)
        self.put_superblocks(own)

    def check_branches(self, fork, first, second, of_first_in_second=NOT_OF_THIS_BRANCH):
        """Of each branch: its image, key and state."""
        for (image, key, expected), (other, other_key, _), says in (
                (first, second, NOT_OF_THIS_BRANCH), (second, first, of_first_in_second)):
            self.put_image(image)
            self.check_mixed(self.superblocks(other), other_key, says)
            self.check_mixed(self.superblocks(fork), "sec0", OLDER)
            self.check_opens_with(key, expected)
            machine, _ = self.check_holds(expected, *opened(key))
            for _ in range(2):      # Each change is a generation of the superblock.
                machine.qmp("blobstore-key-add", id="bs", **new_key("sec0"), keyslot=7)
                machine.qmp("blobstore-key-remove", id="bs", keyslot=7)
            machine.quit()
            self.check_mixed(self.superblocks(other), other_key, OLDER)
            self.check_opens_with(key, expected)

    def branch(self, key, number):
        """Go on from the image, in a process of its own."""
        machine, tpm = self.start(*opened("sec0"))
        expected = self.go_on(machine, tpm, key, number)
        machine.quit()
        return self.content(), key, expected

    def make_fork(self):
        machine, _, expected = self.make(*opened("sec0"))
        machine.quit()
        return expected

    def test_copies(self):
        self.make_fork()
        fork = self.content()
        first = self.branch("sec1", 10)
        self.put_image(fork)
        self.check_branches(fork, first, self.branch("raw", 20))

    def test_snapshots_of_qemu_img(self):
        expected = self.make_fork()
        fork = self.content()
        self.snapshot("-c")
        first = self.branch("sec1", 10)
        self.snapshot("-a")
        self.check_opens_with("sec0", expected)
        self.snapshot("-a")
        self.check_branches(fork, first, self.branch("raw", 20))

    def fork_and_go_on(self):
        """A machine with a snapshot that has gone on, its branch, and the state at the fork."""
        machine, tpm, forked = self.make(*opened("sec0"))
        machine.savevm("fork")
        self.fork = self.content()
        expected = self.go_on(machine, tpm, "sec1", 10)
        return machine, tpm, (self.content(), "sec1", expected), forked

    def test_loadvm_keeps_the_keys_that_the_store_has(self):
        machine, tpm, first, forked = self.fork_and_go_on()
        self.assertEqual(machine.hmp("loadvm fork"), "")
        self.assertEqual(state.permanent(tpm), forked)
        slot, = machine.qmp("blobstore-key-list", id="bs")
        self.assertEqual(slot["keyslot"], 1)
        machine.qmp("blobstore-key-add", id="bs", **new_key("raw"), keyslot=0)
        machine.qmp("blobstore-key-remove", id="bs", keyslot=1)
        state.change_permanent(tpm, 20)
        expected = state.permanent(tpm)
        machine.quit()
        # The start of the VM has put the keys back, with a generation above that of the branch.
        self.check_branches(self.fork, first, (self.content(), "raw", expected), OLDER)

    def test_power_fails_after_loadvm(self):
        machine, _, first, forked = self.fork_and_go_on()
        self.assertEqual(machine.hmp("loadvm fork"), "")
        machine.kill()
        self.check_mixed(self.superblocks(first[0]), "sec1", NOT_OF_THIS_BRANCH)
        self.check_opens_with("sec1", forked)

    def test_power_fails_before_the_vm_runs_after_loadvm(self):
        """The image is the fork, with the key of that time."""
        machine, _, first, forked = self.fork_and_go_on()
        machine.qmp("stop")
        self.assertEqual(machine.hmp("loadvm fork"), "")
        machine.kill()
        self.check_mixed(self.superblocks(first[0]), "sec1", NOT_OF_THIS_BRANCH)
        self.check_opens_with("sec0", forked)


if __name__ == "__main__":
    unittest.main()
