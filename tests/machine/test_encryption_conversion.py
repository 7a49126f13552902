# SPDX-License-Identifier: GPL-2.0-or-later
"""A store is encrypted, rekeyed and decrypted under a TPM, and killed meanwhile."""

import os
import signal
import threading
import unittest

import pytest

import state
from case import EFFORT
from encryption import PLAIN, SECRETS, EncryptionTest, new_key, opens_with, store
from vm import VMError

ENCRYPTED = store()


class ConversionTest(EncryptionTest):
    """A store is encrypted, rekeyed and decrypted while the TPM is in use."""

    def encrypt(self, machine, key="sec0"):
        self.run_command(machine, "blobstore-encrypt", id="bs", **new_key(key))

    def rekey(self, machine, key="sec1"):
        self.run_command(machine, "blobstore-rekey", id="bs", **new_key(key))

    def test_plain_store_becomes_encrypted_and_plain_again(self):
        machine, tpm = self.start(*PLAIN)
        state.make_permanent(tpm)
        session = state.make_volatile(tpm)
        expected = state.all(tpm, session)
        uuid = machine.store()["uuid"]
        self.assertTrue(self.readable())
        self.encrypt(machine)
        self.assertFalse(self.readable())
        self.assertEqual(state.all(tpm, session), expected)
        state.change_permanent(tpm, 1)
        permanent = state.permanent(tpm)
        self.assertFalse(self.readable())
        self.assertEqual(machine.store()["uuid"], uuid)
        machine.quit()
        self.check_refused(*PLAIN, says="no key was given")
        machine, tpm = self.check_holds(permanent, *ENCRYPTED)
        self.run_command(machine, "blobstore-decrypt", id="bs")
        self.assertNotIn("encryption", machine.store())
        self.assertEqual(state.permanent(tpm), permanent)
        # The store still uses the object that named a key.
        for command in "stop", "cont", "system_reset":
            machine.qmp(command)
        machine.quit()
        self.assertTrue(self.readable())
        self.check_refused(*ENCRYPTED, says="not encrypted, but a key was given")
        self.check_holds(permanent, *PLAIN)

    def test_rekeyed_store_opens_with_the_new_key_only(self):
        machine, tpm, expected = self.make(*ENCRYPTED)
        machine.qmp("blobstore-key-add", id="bs", **new_key("raw"))
        before = machine.store()["encryption"]
        self.rekey(machine)
        after = machine.store()["encryption"]
        self.assertNotEqual(after["key-commitment"], before["key-commitment"])
        self.assertEqual(after["key-slots"], 1)
        self.assertEqual(state.permanent(tpm), expected)
        machine.qmp("stop")
        machine.qmp("cont")
        state.change_permanent(tpm, 1)
        expected = state.permanent(tpm)
        machine.quit()
        self.check_refused(*ENCRYPTED, says="the key is wrong")
        self.check_refused(*store(key=opens_with("raw")), says="the key is wrong")
        self.check_holds(expected, *store(key=opens_with("sec1")))

    def test_what_is_done_already_is_refused(self):
        machine, _, _ = self.make(*PLAIN)
        for command in "blobstore-rekey", "blobstore-decrypt", "blobstore-key-list":
            arguments = new_key("sec0") if command == "blobstore-rekey" else {}
            self.check_fails(machine, command, "is not encrypted", id="bs", **arguments)
        self.encrypt(machine)
        self.check_fails(machine, "blobstore-encrypt", "is already encrypted", id="bs",
                         **new_key("sec0"))

    def test_implicit_store_can_be_encrypted(self):
        machine, _, expected = self.make(*SECRETS, "-device", "tpm-tis,blobstore=nvram")
        self.run_command(machine, "blobstore-encrypt", id="nvram", **new_key("sec0"))
        machine.qmp("stop")
        machine.qmp("cont")
        machine.quit()
        self.assertFalse(self.readable())
        self.check_holds(expected, *ENCRYPTED)


class QcowConversionTest(ConversionTest):
    image_format = "qcow2"


class Killer(threading.Thread):
    """Kills a machine shortly after it has begun to write to an image."""

    def __init__(self, machine, image, seconds):
        super().__init__()
        self._pid = machine.pid
        self._image = image
        self._before = os.stat(image).st_mtime_ns
        self._seconds = seconds
        self.too_late = threading.Event()

    def run(self):
        while os.stat(self._image).st_mtime_ns == self._before and not self.too_late.is_set():
            pass
        self.too_late.wait(self._seconds)
        os.kill(self._pid, signal.SIGKILL)


@pytest.mark.scaled
class CutConversionTest(EncryptionTest):
    """QEMU is killed at a random moment of a conversion, which the next start ends."""

    rounds = 6
    longest_seconds = 0.02

    def kill_during(self, machine, command, **arguments):
        """Returns whether the conversion had ended before the kill."""
        killer = Killer(machine, self.path(self.image_name),
                        self.random.uniform(0, self.longest_seconds))
        killer.start()
        try:
            self.run_command(machine, command, id="bs", **arguments)
            ended = True
        except (VMError, OSError, EOFError):
            ended = False
        killer.too_late.set()
        killer.join()
        machine.stop()
        return ended

    def start_with_either(self, *choice):
        """The arguments that the machine starts with; the last of them, if several work."""
        found = None
        for args in choice:
            machine = self.machine(*self.drive, *args)
            try:
                machine.start()
            except VMError:
                self.assertRegex(machine.qemu_log.read_text(),
                                 "the key is wrong|no key was given|not encrypted")
                continue
            self.assertFalse(machine.store().get("encryption", {}).get("converting"))
            machine.quit()
            found = args
        return found

    def open_with_either(self, expected, former, new, must_be_new):
        """The first start ends the conversion; then one choice opens the store, content intact."""
        choice = (new,) if must_be_new else (new, former)
        self.assertIsNotNone(self.start_with_either(*choice))
        args = self.start_with_either(*choice)
        machine, _ = self.check_holds(expected, *args)
        machine.quit()
        return args

    def check_cuts(self, former, new, command, **arguments):
        halfway = 0
        for _ in range(self.rounds * EFFORT):
            os.unlink(self.path(self.image_name))
            self.image()
            machine, _, expected = self.make(*former)
            ended = self.kill_during(machine, command, **arguments)
            halfway += self.content()[1280 + 4] in (3, 4)
            if self.open_with_either(expected, former, new, ended) is new:
                self.assertEqual(self.readable(), new is PLAIN)
        print(f"# {halfway} of {self.rounds * EFFORT} cuts were half way")

    def test_encrypting(self):
        self.check_cuts(PLAIN, ENCRYPTED, "blobstore-encrypt", **new_key("sec0"))

    def test_rekeying(self):
        self.check_cuts(ENCRYPTED, store(key=opens_with("sec1")), "blobstore-rekey",
                        **new_key("sec1"))

    def test_decrypting(self):
        self.check_cuts(ENCRYPTED, PLAIN, "blobstore-decrypt")


if __name__ == "__main__":
    unittest.main()
