# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM in a store whose key is in a PKCS#11 token."""

import os
import shutil
import subprocess
import unittest
from pathlib import Path

import state
from encryption import PINS, EncryptionTest, store, with_token
from frontend import TPMError
from softhsm import PIN, tokens
from vm import program


class TokenTest(EncryptionTest):
    def setUp(self):
        super().setUp()
        self.hsm = tokens(self)
        self.uri = self.hsm.add_rsa_key("vms", "vm1")

    def make_and_quit(self, *args):
        machine, _, expected = self.make(*args)
        machine.quit()
        return expected

    def check_then_quit(self, expected, *args):
        machine, _ = self.check_holds(expected, *args)
        machine.quit()

    def without_token(self):
        shutil.rmtree(self.path("tokens"))
        os.mkdir(self.path("tokens"))

    def check_persistence(self, uri):
        machine, _, expected = self.make(*with_token(uri))
        slot, = machine.qmp("blobstore-key-list", id="bs")
        self.assertEqual(slot, {"keyslot": 0, "type": "token", "key-uri": uri})
        machine.quit()
        self.assertFalse(self.readable())
        # The key slot names the key; the user may name it, too.
        self.check_then_quit(expected, *with_token())
        self.check_then_quit(expected, *with_token(uri))

    def test_rsa_key_opens_it(self):
        self.check_persistence(self.uri)

    def test_aes_key_opens_it(self):
        self.check_persistence(self.hsm.add_aes_key("vms", "vm2"))

    def test_bad_input_is_refused(self):
        expected = self.make_and_quit(*with_token(self.uri))
        other = self.hsm.add_rsa_key("vms", "other")
        self.check_refused(*with_token(pin="wrong"), says="the PIN is wrong; it was tried once")
        self.check_refused(*with_token(self.uri, pin=None), says="it wants a PIN, and none was given")
        self.check_refused(*with_token(other), says="no key slot can be tried")
        self.check_refused(*store(), says="no key slot can be tried.*want a token: 0")
        self.check_refused(*store(key=""), says="no key was given")
        self.check_then_quit(expected, *with_token())

    def test_token_that_is_not_there_is_named(self):
        self.make_and_quit(*with_token(self.uri))
        self.without_token()
        self.check_refused(*with_token(), says="none of the . tokens .* is the one")

    def test_key_that_is_not_there_makes_no_store(self):
        self.check_refused(*with_token("pkcs11:token=vms;object=vm9"),
                           says="no private or secret key that the URI names")
        self.check_refused(*with_token("pkcs11:token=none;object=vm1"), says="none of the . tokens .* is the one")
        self.check_refused(*with_token(f"{self.uri}?module-path=/tmp/evil.so"),
                           says="has 'module-path'")

    def test_passphrase_and_token_open_the_same_store(self):
        machine, _, expected = self.make(*PINS, *store())
        machine.qmp("blobstore-key-add", id="bs", type="token", key_uri=self.uri,
                    pin_secret="pin0")
        with_both = machine.store()["encryption"]["key-slots"]
        self.assertEqual(with_both, 2)
        machine.quit()
        self.check_then_quit(expected, *with_token())
        self.without_token()
        self.check_then_quit(expected, *store())

    def test_store_of_somebody_who_has_the_public_key_is_refused_by_its_pin(self):
        machine, _, expected = self.make(*with_token(self.uri))
        commitment = machine.store()["encryption"]["key-commitment"]
        pinned = with_token(None, "pin0", f"key-commitment={commitment}")
        machine.quit()
        self.check_then_quit(expected, *pinned)
        os.unlink(self.path(self.image_name))
        self.image()
        self.make_and_quit(*with_token(self.uri))
        self.check_refused(*pinned, says="another key commitment")

    def test_store_moves_from_a_passphrase_to_a_token_offline(self):
        expected = self.make_and_quit(*store())
        subprocess.run([program("QEMU_BLOBSTORE"), "rekey", "-f", "raw",
                        "--object=secret,id=sec0,data=sesame", "--key-secret=sec0",
                        f"--object=secret,id=pin0,data={PIN}", f"--new-key-uri={self.uri}",
                        "--new-pin-secret=pin0", self.image_name],
                       cwd=self.directory, check=True)
        self.check_refused(*store(), says="want a token: 0")
        self.check_then_quit(expected, *with_token())

    def test_wrong_pin_is_not_tried_for_what_is_refused_anyway(self):
        """The medium is wrong, and the PIN is not presented in vain."""
        wrong = with_token(self.uri, "wrong", "create=never")
        self.check_refused(*wrong, says="blank, and no store may be created on it")
        wrong = with_token(self.uri, "wrong", f"key-commitment={'00' * 32}")
        self.check_refused(*wrong, says="medium is blank")
        Path(self.path(self.image_name)).write_bytes(b"something else" * 10000)
        self.check_refused(*with_token(self.uri, "wrong"), says="not a blobstore and not blank")
        os.unlink(self.path(self.image_name))
        self.image()
        self.make_and_quit(*with_token(self.uri))
        wrong = with_token(self.uri, "wrong", "uuid=00000000-0000-4000-8000-000000000000")
        self.check_refused(*wrong, says="medium holds the store with uuid")

    def test_pin_is_not_presented_again_to_an_image_that_comes_back(self):
        """A store that was decrypted does not need a key."""
        machine, tpm, _ = self.make(*with_token(self.uri))
        encrypted = self.content()
        self.run_command(machine, "blobstore-decrypt", id="bs")
        machine.qmp("stop")
        with open(self.path(self.image_name), "r+b") as image:
            image.write(encrypted)
        # A store that wanted the key would need the token here.
        self.without_token()
        machine.qmp("cont")
        with self.assertRaises(TPMError):
            state.change_permanent(tpm, 1)
        log = machine.qemu_log.read_text()
        self.assertIn("no key was given", log)
        self.assertNotIn("tokens", log)

    def test_pin_is_not_shown(self):
        machine, _, _ = self.make(*with_token(self.uri))
        said = str([machine.qmp("blobstore-info"), machine.qmp("blobstore-key-list", id="bs")])
        self.assertNotIn(PIN, said)
        self.assertNotIn(PIN.encode(), Path(self.path(self.image_name)).read_bytes())


if __name__ == "__main__":
    unittest.main()
