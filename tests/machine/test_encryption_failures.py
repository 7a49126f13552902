# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys change while the storage fails: responses are true, and some key opens the store."""

import os
import time
import unittest
from pathlib import Path

import state
import tpm2
from encryption import (PLAIN, EncryptedMigrationTest, EncryptionTest, new_key, opens_with,
                        store)
from faults import Faults, faulty_drive

ENCRYPTED = store()
OTHER_KEY = store(key=opens_with("sec1"))
RAW_KEY = store(key=opens_with("raw"))

# Two copies of the directory and two of the superblock are flushed before.
FLUSH_OF_COPIES = 5


class FailingMediumTest(EncryptionTest):
    """A change of keys that cannot be written is an error, and can be repeated."""

    def setUp(self):
        super().setUp()
        self.drive = faulty_drive(self.image_name)

    def fail_and_repeat(self, machine, access, command, **arguments):
        faults = Faults(machine)
        faults.begin(access, once=access == "flush")
        self.check_fails(machine, command, "Input/output error", id="bs", **arguments)
        faults.end()
        self.run_command(machine, command, id="bs", **arguments)

    def check_repeated(self, former, new, command, *more, **arguments):
        for access in "write", *more:
            os.unlink(self.path(self.image_name))
            self.image()
            machine, tpm, expected = self.make(*former)
            self.fail_and_repeat(machine, access, command, **arguments)
            self.assertEqual(machine.store()["state"], "active")
            self.assertEqual(state.permanent(tpm), expected)
            machine.quit()
            machine, _ = self.check_holds(expected, *new)
            machine.quit()

    def test_key_is_added_again(self):
        self.check_repeated(ENCRYPTED, store(key=opens_with("sec1")), "blobstore-key-add",
                            **new_key("sec1"))

    def test_store_is_encrypted_again(self):
        self.check_repeated(PLAIN, ENCRYPTED, "blobstore-encrypt", "flush", **new_key("sec0"))

    def test_store_is_rekeyed_again(self):
        self.check_repeated(ENCRYPTED, store(key=opens_with("sec1")), "blobstore-rekey", "flush",
                            **new_key("sec1"))

    def test_store_is_decrypted_again(self):
        self.check_repeated(ENCRYPTED, PLAIN, "blobstore-decrypt", "flush")


class FailingRecordTest(EncryptionTest):
    """The superblock has the new key slots, but the directory could not record that."""

    def setUp(self):
        super().setUp()
        self.drive = faulty_drive(self.image_name)
        self.vm, _, self.expected = self.make(*ENCRYPTED)
        self.vm.qmp("blobstore-key-add", id="bs", **new_key("sec1"))

    def fail(self, command, **arguments):
        faults = Faults(self.vm)
        faults.begin("write", sector=32768 // 512)
        self.check_fails(self.vm, command, "Input/output error", id="bs", **arguments)
        faults.end()

    def slots(self):
        slots = [slot["keyslot"] for slot in self.vm.qmp("blobstore-key-list", id="bs")]
        self.assertEqual(len(slots), self.vm.store()["encryption"]["key-slots"])
        return slots

    def reopen(self):
        """The store does the same whenever the VM has been saved."""
        self.vm.qmp("migrate", uri=f"file:{self.path('stream')}")
        while self.vm.qmp("query-migrate")["status"] != "completed":
            time.sleep(0.01)
        self.vm.qmp("cont")

    def check_removed(self):
        self.reopen()
        self.assertEqual(self.slots(), [1])
        self.vm.quit()
        self.check_refused(*ENCRYPTED, says="the key is wrong")
        self.check_holds(self.expected, *OTHER_KEY)

    def test_removed_key_slot_does_not_come_back(self):
        self.fail("blobstore-key-remove", keyslot=0)
        self.assertEqual(self.slots(), [1])
        self.check_removed()

    def test_removing_is_repeated_until_it_is_on_record(self):
        self.fail("blobstore-key-remove", keyslot=0)
        before = self.vm.store()["sequence"]
        self.vm.qmp("blobstore-key-remove", id="bs", keyslot=0)
        self.assertGreater(self.vm.store()["sequence"], before)
        for slot in 0, 2:
            self.check_fails(self.vm, "blobstore-key-remove", "is not in use", id="bs",
                             keyslot=slot)
        self.check_removed()

    def test_added_key_slot_stays(self):
        self.fail("blobstore-key-add", **new_key("raw"))
        self.assertEqual(self.slots(), [0, 1, 2])
        self.reopen()
        self.assertEqual(self.slots(), [0, 1, 2])
        self.vm.quit()
        self.check_holds(self.expected, *RAW_KEY)


class FailingSnapshotTest(EncryptedMigrationTest):
    image_format = "qcow2"

    def test_state_is_kept_although_the_image_cannot_be_written_at_first(self):
        """A snapshot from before a rekey has been refused, after the image went back to it."""
        self.drive = ["-drive", "if=none,id=nvram,driver=raw,file.driver=qcow2,file.node-name=node,"
                      "file.file.driver=file,file.file.node-name=good,"
                      f"file.file.filename={self.image_name}"]
        machine, tpm = self.start(*ENCRYPTED)
        state.make_permanent(tpm)
        machine.savevm("first")
        self.run_command(machine, "blobstore-rekey", id="bs", **new_key("sec1"))
        state.change_permanent(tpm, 1)
        expected = state.permanent(tpm)
        self.assertIn("rekeyed after", machine.hmp("loadvm first"))
        faults = Faults(machine, "qcow2")
        for count in range(1, 25):
            faults.begin_at_flush(count)
            machine.qmp("system_reset")
            machine.qmp("cont")
            status = self.wait_status(machine, "io-error", "running")
            faults.end()
            if status == "running":
                break
        self.assertIn(count, range(4, 24))
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), expected)
        machine.quit()
        self.check_refused(*ENCRYPTED, says="the key is wrong")
        self.check_holds(expected, *OTHER_KEY)


class AfterFailureTest(EncryptionTest):
    """Any command after a conversion that has failed half way first ends the conversion.

    The next command brings the raw key. Either it says why it cannot be done, or it is done.
    """

    def setUp(self):
        super().setUp()
        self.drive = faulty_drive(self.image_name)

    def begin_at_copy(self, machine, faults):
        """The conversion has begun, but cannot copy the first of the blobs."""
        blob, = [blob for blob in machine.store()["blobs"] if blob["name"] == "permanent"]
        slot, = [slot for slot in blob["slots"] if not slot["current"]]
        faults.begin("write", sector=slot["offset"] // 512)

    def check_next(self, former, expected, failed, command, says, opens, at_copy):
        machine, tpm = self.start(*former)
        faults = Faults(machine)
        if at_copy:
            self.begin_at_copy(machine, faults)
        else:
            faults.begin_at_flush(FLUSH_OF_COPIES)
        key = {} if failed == "decrypt" else new_key("sec1")
        self.check_fails(machine, f"blobstore-{failed}", "Input/output error", id="bs", **key)
        faults.end()
        arguments = {"key-add": {**new_key("raw"), "keyslot": 0, "force": True},
                     "key-remove": {"keyslot": 0}, "decrypt": {}}
        arguments = arguments.get(command, new_key("raw"))
        if says:
            self.check_fails(machine, f"blobstore-{command}", says, id="bs", **arguments)
        else:
            self.run_command(machine, f"blobstore-{command}", id="bs", **arguments)
        self.assertEqual(machine.store()["state"], "active")
        self.assertEqual("encryption" in machine.store(), opens is not PLAIN)
        self.assertEqual(state.permanent(tpm), expected)
        machine.quit()
        machine, _ = self.check_holds(expected, *opens)
        machine.quit()

    def check_all(self, former, failed, *expectations):
        machine, _, expected = self.make(*former)
        machine.quit()
        image = self.content()
        for at_copy in False, True:
            for command, says, opens in expectations:
                with self.subTest(command=command, at_copy=at_copy):
                    Path(self.path(self.image_name)).write_bytes(image)
                    self.check_next(former, expected, failed, command, says, opens, at_copy)

    def test_after_encrypting(self):
        self.check_all(PLAIN, "encrypt",
                       ("key-add", None, RAW_KEY),
                       ("key-remove", "is the last one in use", OTHER_KEY),
                       ("encrypt", None, RAW_KEY),
                       ("rekey", None, RAW_KEY),
                       ("decrypt", None, PLAIN))

    def test_after_rekeying(self):
        self.check_all(ENCRYPTED, "rekey",
                       ("key-add", None, RAW_KEY),
                       ("key-remove", "is the last one in use", OTHER_KEY),
                       ("encrypt", "is already encrypted", OTHER_KEY),
                       ("rekey", None, RAW_KEY),
                       ("decrypt", None, PLAIN))

    def test_after_decrypting(self):
        self.check_all(ENCRYPTED, "decrypt",
                       ("key-add", "is not encrypted", PLAIN),
                       ("key-remove", "is not encrypted", PLAIN),
                       ("encrypt", None, RAW_KEY),
                       ("rekey", "is not encrypted", PLAIN),
                       ("decrypt", None, PLAIN))


if __name__ == "__main__":
    unittest.main()
