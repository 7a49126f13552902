# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM in an encrypted store moves with its VM, and returns with it to a snapshot."""

import unittest
from pathlib import Path

import state
import tpm2
from case import drive
from encryption import (PLAIN, UNSEEN_SNAPSHOTS, EncryptedMigrationTest, min_sequence, new_key,
                        opens_with, store)

ENCRYPTED = store()
OTHER_KEY = store(key=opens_with("sec1"))
IN_STREAM = state.digest(0)[:tpm2.NV_BYTES]


class EncryptedMoveTest(EncryptedMigrationTest):
    def setUp(self):
        super().setUp()
        self.source, self.tpm = self.start(*ENCRYPTED)
        state.make_permanent(self.tpm)
        self.session = state.make_volatile(self.tpm)
        self.expected = state.all(self.tpm, self.session)
        self.other_drive = drive("other.raw")

    def move(self, *args):
        destination, moved = self.incoming(*args)
        self.migrate(self.source, destination)
        self.assertEqual(state.all(moved, self.session), self.expected)
        return destination, moved

    def check_move_refused(self, *args, says):
        """The source runs, and continues after the failed move."""
        before = self.content("other.raw")
        destination, _ = self.incoming(*self.other_drive, *args)
        self.slow_down(self.source)
        self.start_migration(self.source, destination)
        self.assertEqual(self.wait_migration(self.source), "failed")
        self.speed_up(self.source)
        self.wait_status(self.source, "running")
        self.assertRegex(destination.qemu_log.read_text(), says)
        destination.kill()
        self.assertEqual(self.content("other.raw"), before)
        self.assertEqual(state.all(self.tpm, self.session), self.expected)

    def test_it_moves_on_shared_storage(self):
        destination, moved = self.move(*self.drive, *ENCRYPTED)
        state.change_permanent(moved, 1)
        expected = state.permanent(moved)
        destination.quit()
        self.source.kill()
        self.check_holds(expected, *ENCRYPTED)

    def test_postcopy_and_a_pause(self):
        destination, moved = self.incoming(*self.drive, *ENCRYPTED, postcopy_ram=True)
        self.migrate(self.source, destination, postcopy_ram=True, pause_before_switchover=True)
        self.assertEqual(state.all(moved, self.session), self.expected)

    def test_blank_image_becomes_the_same_encrypted_store(self):
        self.source.qmp("blobstore-key-add", id="bs", **new_key("sec1"))
        before = self.source.store()
        self.blank_other()
        destination, moved = self.move(*self.other_drive, *ENCRYPTED)
        after = destination.store()
        self.assertEqual(after["uuid"], before["uuid"])
        for name in "key-commitment", "key-slots":
            self.assertEqual(after["encryption"][name], before["encryption"][name])
        permanent = state.permanent(moved)
        destination.quit()
        self.assertFalse(self.readable("other.raw"))
        self.drive = self.other_drive
        for args in ENCRYPTED, OTHER_KEY:
            machine, _ = self.check_holds(permanent, *args)
            machine.quit()

    def test_damaged_key_slot_stays_damaged(self):
        """A damaged key slot does not count as one that could open the store."""
        self.source.qmp("blobstore-key-add", id="bs", **new_key("sec1"))
        permanent = self.expected["permanent"]
        self.source.quit()
        image = bytearray(self.content())
        for copy in 0, 16384:
            image[copy + 1280 + 512 + 1024 + 520] ^= 1
        Path(self.path(self.image_name)).write_bytes(image)
        self.source, self.tpm = self.check_holds(permanent, *ENCRYPTED)
        self.session = state.make_volatile(self.tpm)
        self.expected = state.all(self.tpm, self.session)
        self.blank_other()
        destination, _ = self.move(*self.other_drive, *ENCRYPTED)
        slots = destination.qmp("blobstore-key-list", id="bs")
        self.assertEqual([slot["type"] for slot in slots], ["passphrase", "damaged"])
        self.check_fails(destination, "blobstore-key-remove", "the last one in use", id="bs",
                         keyslot=0)
        destination.quit()
        self.drive = self.other_drive
        self.check_refused(*OTHER_KEY, says="tried: 0; damaged: 1")

    def test_older_copy_is_brought_up_to_date(self):
        self.copy_to_other()
        state.change_permanent(self.tpm, 1)
        self.expected = state.all(self.tpm, self.session)
        destination, _ = self.move(*self.other_drive, *ENCRYPTED)
        self.assertEqual(destination.wait_event("BLOBSTORE_STALE")["found"], "older")
        self.assertFalse(self.readable("other.raw"))

    def test_older_copy_gets_the_keys_of_today(self):
        self.copy_to_other()
        self.source.qmp("blobstore-key-add", id="bs", keyslot=0, force=True,
                        **new_key("sec1"))
        destination, moved = self.move(*self.other_drive, *OTHER_KEY)
        permanent = state.permanent(moved)
        destination.quit()
        self.drive = self.other_drive
        self.check_refused(*ENCRYPTED, says="the key is wrong")
        self.check_holds(permanent, *OTHER_KEY)

    def test_destination_without_the_key_is_refused_in_time(self):
        self.blank_other()
        self.check_move_refused(*PLAIN, says="encrypted at the source, and no key was given")
        self.check_move_refused(*OTHER_KEY, says="the key is wrong")
        self.check_move_refused(*store(key=opens_with("none")), says="No secret with id 'none'")
        self.check_move_refused(*store(f"key-commitment={'00' * 32}"),
                                says="another key commitment")

    def test_plain_copy_of_the_same_store_is_refused_in_time(self):
        """A destination that is not encrypted does not take a store that is."""
        self.run_command(self.source, "blobstore-decrypt", id="bs")
        self.copy_to_other()
        self.run_command(self.source, "blobstore-encrypt", id="bs", **new_key("sec0"))
        self.check_move_refused(*ENCRYPTED, says="not encrypted, but at the source it is")
        self.check_move_refused(*PLAIN, says="no key was given here")

    def test_plain_source_does_not_fit_a_key(self):
        self.run_command(self.source, "blobstore-decrypt", id="bs")
        self.blank_other()
        self.check_move_refused(*ENCRYPTED, says="not encrypted at the source, and a key was")

    def test_copy_from_before_a_rekey_is_refused_in_time(self):
        self.copy_to_other()
        self.run_command(self.source, "blobstore-rekey", id="bs", **new_key("sec0"))
        self.check_move_refused(*ENCRYPTED, says="another data key than at the source")

    def test_image_that_is_too_old_for_min_sequence_is_refused(self):
        info = self.source.store()
        self.blank_other()
        seen = min_sequence(info["sequence"] + (1 << 32), info["epoch-id"])
        self.check_move_refused(*store(seen), says="does not follow min-sequence")
        seen = min_sequence(info["sequence"], info["epoch-id"])
        destination, _ = self.move(*self.other_drive, *store(seen))
        destination.quit()
        self.drive = self.other_drive
        self.start(*store(seen))

    def test_stream_tells_nothing(self):
        self.assertNotIn(IN_STREAM, self.save_stream(self.source))

    def test_stream_of_a_plain_store_tells_it(self):
        """The search of the other test would find unencrypted content."""
        self.run_command(self.source, "blobstore-decrypt", id="bs")
        self.assertIn(IN_STREAM, self.save_stream(self.source))

    def test_stream_that_was_changed_is_refused(self):
        """Any bit of a blob's description is changed, without the key."""
        stream = bytearray(self.save_stream(self.source))
        at = stream.rindex(b"permanent\0") + 64 + 1 + 12 + 7
        stream[at] ^= 1
        Path(self.path("stream")).write_bytes(stream)
        before = self.content()
        machine, _ = self.power_on(*self.drive, *ENCRYPTED, "-incoming", "defer")
        self.fail_to_load_stream(machine)
        self.assertIn("was not written with the key of the store", machine.qemu_log.read_text())
        self.assertEqual(self.content(), before)


class SnapshotTest(EncryptedMigrationTest):
    image_format = "qcow2"
    unseen = False

    def setUp(self):
        super().setUp()
        if self.unseen:
            self.drive = UNSEEN_SNAPSHOTS
        self.vm, self.tpm = self.start(*ENCRYPTED)
        state.make_permanent(self.tpm)
        self.session = state.make_volatile(self.tpm)
        self.saved = state.all(self.tpm, self.session)
        self.vm.savevm("first")
        state.change_permanent(self.tpm, 1)


class EncryptedSnapshotTest(SnapshotTest):
    def check_back(self):
        self.assertEqual(self.vm.hmp("loadvm first"), "")
        self.assertEqual(state.all(self.tpm, self.session), self.saved)

    def test_state_goes_back_to_a_snapshot(self):
        for number in range(3):
            self.check_back()
            state.change_permanent(self.tpm, number)
        self.vm.quit()
        machine, tpm = self.power_on(*self.drive, *ENCRYPTED, "-loadvm", "first")
        self.assertEqual(state.all(tpm, self.session), self.saved)
        machine.quit()
        self.assertFalse(self.readable())

    def test_key_that_was_changed_since_stays_changed(self):
        """Whoever returns to a snapshot wants to open the store afterwards."""
        self.vm.qmp("blobstore-key-add", id="bs", keyslot=0, force=True,
                        **new_key("sec1"))
        self.check_back()
        permanent = self.saved["permanent"]
        self.vm.quit()
        self.check_refused(*ENCRYPTED, says="the key is wrong")
        self.check_holds(permanent, *OTHER_KEY)


class UnseenSnapshotTest(SnapshotTest):
    """QEMU cannot look into the snapshots of this image before it goes back to one."""

    unseen = True

    def rekey(self):
        self.run_command(self.vm, "blobstore-rekey", id="bs", **new_key("sec1"))

    def check_not_loaded(self, name, says):
        """Until a reset the VM is neither in its old state nor in the saved one."""
        self.assertRegex(self.vm.hmp(f"loadvm {name}"), says)
        self.assertEqual(self.vm.store()["state"], "failed")

    def check_kept(self, name, says, opens, refused):
        """The snapshot has reverted the image, but the current state of the TPM is not lost."""
        state.change_permanent(self.tpm, 2)
        expected = state.permanent(self.tpm)
        for _ in range(2):
            self.check_not_loaded(name, says)
            self.vm.qmp("system_reset")
            self.vm.qmp("cont")
            self.wait_status(self.vm, "running")
            self.tpm.run(tpm2.startup())
            self.assertEqual(state.permanent(self.tpm), expected)
            self.assertEqual(self.vm.store()["state"], "active")
        self.assertEqual(self.vm.wait_event("BLOBSTORE_STALE")["found"], "older")
        state.change_permanent(self.tpm, 1)
        expected = state.permanent(self.tpm)
        self.vm.quit()
        self.check_refused(*refused, says="the key is wrong|no key was given|not encrypted")
        self.check_holds(expected, *opens)

    def test_snapshot_from_before_a_rekey_is_refused(self):
        self.rekey()
        self.check_kept("first", "rekeyed after that state was saved", OTHER_KEY, ENCRYPTED)

    def test_the_same_when_nobody_knows_the_former_key_any_more(self):
        self.rekey()
        self.vm.quit()
        self.vm, self.tpm = self.start(*OTHER_KEY)
        self.check_kept("first", "rekeyed after that state was saved", OTHER_KEY, ENCRYPTED)

    def test_snapshot_from_before_it_was_encrypted_is_refused(self):
        self.run_command(self.vm, "blobstore-decrypt", id="bs")
        self.vm.savevm("plain")
        self.run_command(self.vm, "blobstore-encrypt", id="bs", **new_key("sec0"))
        self.check_kept("plain", "saved when the store was not encrypted", ENCRYPTED, PLAIN)

    def test_snapshot_from_before_it_was_decrypted_is_refused(self):
        self.run_command(self.vm, "blobstore-decrypt", id="bs")
        self.check_kept("first", "saved when the store was encrypted", PLAIN, ENCRYPTED)

    def test_right_snapshot_can_be_loaded_after_a_wrong_one(self):
        self.rekey()
        self.vm.savevm("second")
        self.saved = state.all(self.tpm, self.session)
        state.change_permanent(self.tpm, 2)
        self.check_not_loaded("first", "rekeyed after that state was saved")
        self.assertNotIn("Error", self.vm.hmp("loadvm second"))
        self.vm.qmp("cont")
        self.assertEqual(state.all(self.tpm, self.session), self.saved)
        self.vm.quit()
        self.check_holds(self.saved["permanent"], *OTHER_KEY)


if __name__ == "__main__":
    unittest.main()
