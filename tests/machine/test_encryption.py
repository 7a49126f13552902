# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM in an encrypted store: nobody reads it without a key, and no key is lost."""

import os
import time
import unittest
from pathlib import Path

import keyring
import state
from encryption import (PLAIN, EncryptionTest, min_sequence, new_key, opens_with, secret,
                        store)

ENCRYPTED = store()


class PersistenceTest(EncryptionTest):
    def check(self):
        machine, _, expected = self.make(*ENCRYPTED)
        machine.quit()
        machine, tpm = self.check_holds(expected, *ENCRYPTED)
        state.change_permanent(tpm, 1)
        expected = state.permanent(tpm)
        machine.kill()
        self.check_holds(expected, *ENCRYPTED)
        self.assertFalse(self.readable())

    def test_state_survives_in_an_encrypted_raw_image(self):
        self.check()

    def test_raw_secret_opens_it(self):
        args = store(key=opens_with("raw"))
        machine, _, expected = self.make(*args)
        slot, = machine.qmp("blobstore-key-list", id="bs")
        self.assertEqual(slot, {"keyslot": 0, "type": "raw"})
        machine.quit()
        self.check_holds(expected, *store(key=opens_with("raw")))

    def test_secret_in_a_file_opens_it(self):
        Path(self.path("key")).write_text("sesame")
        machine, _, expected = self.make(*ENCRYPTED)
        machine.quit()
        self.check_holds(expected, "-object", "secret,id=file,file=key",
                         *store(key=opens_with("file")))

    def test_plain_image_is_readable(self):
        """The search of the other tests would find unencrypted content."""
        machine, _, _ = self.make(*PLAIN)
        machine.quit()
        self.assertTrue(self.readable())


class QcowPersistenceTest(PersistenceTest):
    image_format = "qcow2"


class BadInputTest(EncryptionTest):
    """Each mistake has its own message; nothing is written, and no new TPM is made."""

    def setUp(self):
        super().setUp()
        self.first, _, self.expected = self.make(*ENCRYPTED)
        self.info = self.first.store()
        self.first.quit()

    def tearDown(self):
        self.check_holds(self.expected, *ENCRYPTED)
        super().tearDown()

    def test_wrong_key(self):
        self.check_refused(*store(key=opens_with("sec1")),
                           says="the key is wrong: no key slot opens with it; tried: 0")

    def test_no_key(self):
        says = (r"no key was given\n.*\n.*-object blobstore,id=bs,drive=nvram,"
                r"encrypt.type=passphrase,encrypt.key-secret=sec0")
        self.check_refused(*PLAIN, says=says)
        self.check_refused("-device", "tpm-tis,blobstore=nvram", says=says)

    def test_secret_that_is_not_there(self):
        self.check_refused(*store(key=opens_with("other")), says="No secret with id 'other'")

    def test_empty_secret(self):
        self.check_refused(*secret("empty", ""), *store(key=opens_with("empty")),
                           says="a passphrase has 1 to 4096 bytes, not 0")

    def test_key_slot_that_is_not_in_use(self):
        self.check_refused(*store(key=opens_with("sec0", "keyslot=3")),
                           says="key slot 3 is not in use")
        for number in 8, 255:
            self.check_refused(*store(key=opens_with("sec0", f"keyslot={number}")),
                               says="encrypt.keyslot is 0 to 7")
        for number in 256, -1:
            self.check_refused(*store(key=opens_with("sec0", f"keyslot={number}")),
                               says="'keyslot' expects uint8")

    def test_token_that_no_slot_wants(self):
        self.check_refused(*store(key="encrypt.type=token,encrypt.key-uri=pkcs11:token=none"),
                           says="no key slot can be tried")

    def test_key_and_token(self):
        """The schema says which options belong together."""
        self.check_refused(*store("encrypt.key-uri=pkcs11:token=none"),
                           says="'encrypt.key-uri' is unexpected")
        self.check_refused(*store("encrypt.type=token"), says="'encrypt.[a-z-]*' is unexpected")

    def test_time_that_makes_no_sense(self):
        for number in 0, 60001:
            self.check_refused(*store(f"encrypt.iter-time={number}"),
                               says="iter-time is 1 to 60000 milliseconds")

    def test_options_without_a_key(self):
        self.check_refused(*store("encrypt.keyslot=0", key=""),
                           says="'encrypt.type' is missing")

    def test_another_uuid(self):
        self.check_refused(*store("uuid=00000000-0000-4000-8000-000000000000"),
                           says="medium holds the store with uuid")

    def test_another_key_commitment(self):
        self.check_refused(*store(f"key-commitment={'00' * 32}"),
                           says="has another key commitment")
        self.check_refused(*store("key-commitment=c0ffee"), says="not 64 hexadecimal digits")
        commitment = self.info["encryption"]["key-commitment"]
        machine, _ = self.check_holds(self.expected, *store(f"key-commitment={commitment}"))
        machine.quit()

    def test_sequence_that_makes_no_sense(self):
        for number, epoch_id in ((-1, "00" * 16), (1, "00" * 15), (1, "0g" * 16), (1, ""),
                                 (-1 << 63, "00" * 16)):
            self.check_refused(*store(min_sequence(number, epoch_id)),
                               says="min-sequence is not a number")
        for number in "x", "", 1 << 63, 1 << 64, (-1 << 63) - 1, 1 - (1 << 64):
            self.check_refused(*store(min_sequence(number, "00" * 16)),
                               says="'min-sequence.number' expects integer")
        self.check_refused(*store("min-sequence=1"), says="min-sequence")
        self.check_refused(*store("min-sequence.number=1"),
                           says="'min-sequence.epoch-id' is missing")


class OtherMediumTest(EncryptionTest):
    def test_key_for_a_plain_store(self):
        machine, _, expected = self.make(*PLAIN)
        machine.quit()
        self.check_refused(*ENCRYPTED, says="not encrypted, but a key was given")
        self.check_holds(expected, *PLAIN)

    def test_key_of_another_store(self):
        machine, _, _ = self.make(*ENCRYPTED)
        machine.quit()
        first = self.content()
        os.unlink(self.path(self.image_name))
        self.image()
        machine, _, expected = self.make(*ENCRYPTED)
        machine.quit()
        second = bytearray(self.content())
        for copy in 0, 16384:
            at = copy + 1280 + 512
            second[at:at + 1024] = first[at:at + 1024]
        Path(self.path(self.image_name)).write_bytes(second)
        self.check_refused(*ENCRYPTED, says="no key slot|damaged")

    def test_blank_medium_that_must_not_be_formatted(self):
        self.check_refused(*store("create=never"), says="no store may be created on it")
        self.check_refused(*store(f"key-commitment={'00' * 32}"), says="medium is blank")
        self.check_refused(*store(min_sequence(1, "00" * 16)), says="medium is blank")

    def test_bad_key_for_a_blank_medium(self):
        self.check_refused(*store(key="encrypt.type=raw,encrypt.key-secret=sec0"),
                           says="a raw secret has 32 bytes, not 6")
        self.check_refused(*secret("empty", ""), *store(key=opens_with("empty")),
                           says="a passphrase has 1 to 4096 bytes, not 0")
        self.check_refused(*store(key=opens_with("other")), says="No secret with id 'other'")


class RollbackTest(EncryptionTest):
    def seen(self, machine):
        info = machine.store()
        return min_sequence(info["sequence"], info["epoch-id"])

    def check_rollback(self, store_args):
        machine, tpm, _ = self.make(*store_args())
        before = self.content()
        state.change_permanent(tpm, 1)
        expected = state.permanent(tpm)
        seen = self.seen(machine)
        machine.kill()
        after = self.content()
        for _ in range(3):
            machine, _ = self.check_holds(expected, *store_args(seen))
            machine.quit()
        Path(self.path(self.image_name)).write_bytes(before)
        self.check_refused(*store_args(seen), says=r"sequence \d+:[0-9a-f]{32} is older than "
                           r"the one that was asked for, \d+:[0-9a-f]{32}")
        for _ in range(2):
            machine, tpm = self.start(*store_args())
            for number in range(3):
                state.change_permanent(tpm, number)
            machine.quit()
        self.check_refused(*store_args(seen), says="does not continue")
        Path(self.path(self.image_name)).write_bytes(after)
        self.check_holds(expected, *store_args(seen))

    def test_older_image_and_a_branch_are_refused(self):
        self.check_rollback(lambda *options: store(*options))

    def test_the_same_of_a_plain_store(self):
        self.check_rollback(lambda *options: store(*options, key=""))


class KeyTest(EncryptionTest):
    """Keys change while the TPM is in use."""

    def setUp(self):
        super().setUp()
        self.vm, self.tpm, _ = self.make(*ENCRYPTED)

    def add(self, key, **arguments):
        return self.vm.qmp("blobstore-key-add", id="bs", **new_key(key),
                           **arguments)["keyslot"]

    def remove(self, slot):
        self.vm.qmp("blobstore-key-remove", id="bs", keyslot=slot)

    def slots(self):
        slots = {slot["keyslot"]: slot["type"]
                 for slot in self.vm.qmp("blobstore-key-list", id="bs")}
        self.assertEqual(len(slots), self.vm.store()["encryption"]["key-slots"])
        return slots

    def check_after_restart(self, opens, refused):
        state.change_permanent(self.tpm, 1)
        expected = state.permanent(self.tpm)
        self.vm.quit()
        for key in refused:
            self.check_refused(*store(key=opens_with(key)), says="no key slot")
        for key in opens:
            self.vm, self.tpm = self.check_holds(expected, *store(key=opens_with(key)))
            self.vm.quit()

    def test_keys_are_added_and_removed_while_it_is_used(self):
        blobs = self.vm.store()["blobs"]
        self.assertEqual(self.add("sec1"), 1)
        self.assertEqual(self.add("raw", keyslot=5), 5)
        self.assertEqual(self.slots(), {0: "passphrase", 1: "passphrase", 5: "raw"})
        self.remove(0)
        self.assertEqual(self.slots(), {1: "passphrase", 5: "raw"})
        self.assertEqual(self.vm.store()["blobs"], blobs)
        self.check_after_restart(opens=("sec1", "raw"), refused=("sec0",))

    def test_passphrase_is_changed_at_once(self):
        self.assertEqual(self.add("sec1", keyslot=0, force=True), 0)
        self.assertEqual(self.slots(), {0: "passphrase"})
        self.check_after_restart(opens=("sec1",), refused=("sec0", "raw"))

    def test_last_key_slot_is_not_removed(self):
        self.check_fails(self.vm, "blobstore-key-remove", "the last one in use", id="bs", keyslot=0)
        self.check_fails(self.vm, "blobstore-key-remove", "7 is not in use", id="bs", keyslot=7)
        self.check_fails(self.vm, "blobstore-key-remove", "200 is not in use", id="bs", keyslot=200)
        self.check_after_restart(opens=("sec0",), refused=())

    def test_bad_requests_change_nothing(self):
        for says, arguments in (
                ("key slot 0 is in use", {"keyslot": 0}),
                ("'force' needs 'keyslot'", {"force": True}),
                ("keyslot is 0 to 7", {"keyslot": 8}),
                ("keyslot is 0 to 7", {"keyslot": 255}),
                ("'keyslot' expects uint8", {"keyslot": 256}),
                ("No secret with id 'none'", {"new_secret": "none"}),
                ("'iter-time' is unexpected", {"type": "raw"}),
                ("'key-uri' is missing", {"type": "token"}),
                ("is 1 to 60000", {"iter_time": 0}),
                ("'key-uri' is unexpected", {"key_uri": "pkcs11:token=x"}),
                ("no device uses", {"id": "other"})):
            self.check_fails(self.vm, "blobstore-key-add", says,
                             **{"id": "bs", **new_key("sec1"), **arguments})
        self.check_fails(self.vm, "blobstore-key-add", "a raw secret has 32 bytes", id="bs",
                         type="raw", new_secret="sec1")
        self.check_fails(self.vm, "blobstore-key-add", "'type' is missing", id="bs")
        self.assertEqual(self.slots(), {0: "passphrase"})

    def test_all_key_slots_can_be_used_and_no_more(self):
        for number in range(1, 8):
            self.assertEqual(self.add("sec1"), number)
        self.check_fails(self.vm, "blobstore-key-add", "all 8 key slots are in use", id="bs",
                         **new_key("sec1"))
        self.check_after_restart(opens=("sec1", "sec0"), refused=("raw",))

    def test_named_key_slot_is_the_only_one_tried(self):
        self.add("sec1")
        self.vm.quit()
        self.check_refused(*store(key=opens_with("sec1", "keyslot=0")), says="tried: 0;")
        self.start(*store(key=opens_with("sec1", "keyslot=1")))

    def test_keys_do_not_change_while_the_vm_moves(self):
        self.vm.qmp("migrate-set-capabilities", capabilities=[
            {"capability": "pause-before-switchover", "state": True}])
        self.vm.qmp("migrate", uri=f"file:{self.path('stream')}")
        while self.vm.qmp("query-migrate")["status"] != "pre-switchover":
            time.sleep(0.01)
        self.check_fails(self.vm, "blobstore-key-remove", "keys of blobstore 'bs' are being",
                         id="bs", keyslot=0)
        self.vm.qmp("migrate_cancel")

    def test_keys_change_in_a_vm_that_must_be_able_to_move(self):
        """The machine runs with -only-migratable, which forbids to block migration for good."""
        self.vm.quit()
        self.vm, self.tpm = self.start("-only-migratable", *ENCRYPTED)
        self.assertEqual(self.add("sec1"), 1)
        self.remove(0)
        self.check_after_restart(opens=("sec1",), refused=())

    def test_no_secret_is_shown(self):
        said = str([self.vm.qmp("blobstore-info"), self.vm.qmp("blobstore-key-list", id="bs"),
                    self.vm.hmp("info blobstore")])
        self.assertNotIn("sesame", said)
        self.assertIn("aes-256-gcm-siv", said)


class KeyringTest(EncryptionTest):
    """The kernel keeps the secret, not a file."""

    def test_secret_in_a_keyring_opens_it(self):
        serial = keyring.add("blobstore-test", b"sesame")
        if serial is None:
            self.skipTest("this kernel keeps no keys")
        self.addCleanup(keyring.revoke, serial)
        machine, _, expected = self.make(*ENCRYPTED)
        machine.quit()
        self.check_holds(expected, "-object", f"secret_keyring,id=kernel,serial={serial}",
                         *store(key=opens_with("kernel")))


if __name__ == "__main__":
    unittest.main()
