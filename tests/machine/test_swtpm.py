# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM moves from Debian's swtpm into a store, and back."""

import hashlib
import os
import struct
import unittest
from pathlib import Path

import state
import swtpm
import tpm12
import tpm2
from encryption import EncryptionTest, opens_with, store
from messages import provokes
from test_banks import get_banks
from test_tool import ERROR, IN_USE, KEY, NO_STORE, QUICK, USAGE, Tool

SIGNER = 0x81000010
ENDORSEMENT = 0x4000000b
PERMANENT = "tpm2-00.permall"
DIGEST = hashlib.sha256(b"signed").digest()
PLAIN_STORE = ["-object", "blobstore,id=bs,drive=nvram", "-device", "tpm-tis,blobstore=bs"]
TPM12_STORE = ["-object", "blobstore,id=bs,drive=nvram", "-tpmdev",
               "libtpms,id=dev,blobstore=bs,version=1.2", "-device", "tpm-tis,tpmdev=dev"]


def endorsement_key():
    """A primary key of the endorsement hierarchy: the same one as long as its seed is."""
    command = tpm2.create_ecc_key()
    command.parameters = struct.pack(">I", ENDORSEMENT) + command.parameters[4:]
    return command


def fill(tpm):
    """Give a TPM content of each kind; returns a signature, too."""
    state.make_permanent(tpm)
    key = tpm.run(tpm2.create_signing_key())
    tpm.run(tpm2.evict_control(key, SIGNER))
    tpm.run(tpm2.flush_context(key))
    return tpm.run(tpm2.sign(SIGNER, tpm2.RSASSA, tpm2.SHA256, DIGEST)), describe(tpm)


def describe(tpm):
    handle = tpm.run(endorsement_key())
    endorsement = tpm.run(tpm2.read_public(handle))
    tpm.run(tpm2.flush_context(handle))
    return {**state.permanent(tpm), "banks": tpm.run(get_banks()), "endorsement": endorsement,
            "signer": tpm.run(tpm2.read_public(SIGNER))}


def tree(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


class MoveTest(Tool, EncryptionTest):
    watchdog_seconds = 240

    def setUp(self):
        super().setUp()
        self.state = self.path("state")

    def import_tpm(self, *options, place=None):
        return self.tool("tpm import", "--from", place or self.state, *options)

    def import_fails(self, *options, says, status=ERROR, place=None):
        return self.tool_fails("tpm import", "--from", place or self.state, *options, says=says,
                               status=status)

    def check_moved(self, signature, expected, tpm):
        self.assertEqual(describe(tpm), expected)
        tpm.run(tpm2.verify_signature(SIGNER, DIGEST, signature))

    def use_in_machine(self, signature, expected, *args):
        """Check the TPM in a machine and count on; returns what is expected then."""
        machine, tpm = self.start(*(args or PLAIN_STORE))
        self.check_moved(signature, expected, tpm)
        tpm.run(tpm2.nv_increment(state.COUNTER))
        tpm.run(tpm2.shutdown())
        machine.quit()
        return {**expected, "counter": expected["counter"] + 1}

    def use_in_swtpm(self, signature, expected, place, *options):
        tpm = swtpm.Swtpm(place, *options)
        self.addCleanup(tpm.stop)
        tpm.run(tpm2.startup())
        self.check_moved(signature, expected, tpm)
        tpm.quit()

    def key_file(self, name, content):
        Path(self.path(name)).write_bytes(content)
        return self.path(name)


class ThereAndBackTest(MoveTest):
    def check_there_and_back(self, key=None, uri=None):
        options = ["--key", key] if key else []
        signature, expected = swtpm.make(uri or self.state, fill, *options)
        place = self.path("linear") if uri else self.state
        before = Path(place).read_bytes() if uri else tree(place)
        tool_options = ["--swtpm-key", key] if key else []
        self.assertIn("TPM 2.0 was imported", self.import_tpm(*tool_options, place=place))
        self.assertEqual(Path(place).read_bytes() if uri else tree(place), before)
        expected = self.use_in_machine(signature, expected)
        back = self.path("back")
        tool_options += ["--linear"] if uri else []
        self.tool("tpm export", "--to", back, *tool_options)
        self.use_in_swtpm(signature, expected, f"file://{back}" if uri else back, *options)

    def test_plain_directory(self):
        self.check_there_and_back()

    def test_directory_encrypted_with_a_key(self):
        file = self.key_file("key", b"0123456789abcdef0123456789abcdef\n")
        self.check_there_and_back(f"file={file},format=hex,mode=aes-128-cbc")

    def test_directory_encrypted_with_a_passphrase(self):
        file = self.key_file("passphrase", b"open sesame\n")
        self.check_there_and_back(f"pwdfile={file},mode=aes-256-cbc,kdf=pbkdf2")

    def test_linear_file(self):
        Path(self.path("linear")).touch()
        self.check_there_and_back(uri=f"file://{self.path('linear')}")

    def test_image_becomes_an_encrypted_store(self):
        signature, expected = swtpm.make(self.state, fill)
        self.import_tpm("--new-key-secret=sec0", QUICK)
        self.assertFalse(self.readable())
        self.use_in_machine(signature, expected, *store(key=opens_with("sec0")))
        self.tool_fails("tpm export", "--to", self.path("back"), status=KEY, says="no key")
        self.tool("tpm export", "--key-secret=sec0", "--to", self.path("back"))

    def test_tpm_1_2(self):
        """The saved state moves, too."""
        os.mkdir(self.state)
        tpm = swtpm.Swtpm(self.state, version="1.2")
        self.addCleanup(tpm.stop)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.nv_define(1))
        tpm.run(tpm12.nv_write(1, bytes(range(8))))
        pcr = tpm.run(tpm12.extend(10, bytes(20))) or tpm.run(tpm12.pcr_read(10))
        tpm.run(tpm12.save_state())
        tpm.quit()
        self.assertEqual(sorted(tree(self.state)),
                         [".lock", "tpm-00.permall", "tpm-00.savestate"])
        self.assertIn("TPM 1.2", self.import_tpm())
        self.tool("tpm export", "--to", self.path("back"))
        self.assertEqual(tree(self.path("back")),
                         {name: content for name, content in tree(self.state).items()
                          if name != ".lock"})
        machine, tpm = self.power_on(*self.drive, *TPM12_STORE)
        tpm.run(tpm12.startup(tpm12.STATE))
        self.assertEqual(tpm.run(tpm12.pcr_read(10)), pcr)
        self.assertEqual(tpm.run(tpm12.nv_read(1)), bytes(range(8)))
        machine.quit()


class QcowThereAndBackTest(MoveTest):
    image_format = "qcow2"

    def test_plain_directory(self):
        signature, expected = swtpm.make(self.state, fill)
        self.import_tpm()
        self.use_in_machine(signature, expected)


class RefusedTest(MoveTest):
    @provokes("usage.md", "--force replaces it")
    def test_tpm_in_the_store_is_replaced_only_by_force(self):
        kept, _ = self.make_and_quit(*PLAIN_STORE)
        signature, expected = swtpm.make(self.state, fill)
        said = self.import_fails(says="a TPM in the store already")
        machine, _ = self.check_holds(kept, *PLAIN_STORE)
        machine.quit()
        self.import_tpm("--force", "--take-over")
        self.use_in_machine(signature, expected)
        return said

    @provokes("usage.md", "saved while it ran")
    def test_tpm_that_was_saved_while_it_ran(self):
        os.mkdir(self.state)
        tpm = swtpm.Swtpm(self.state)
        self.addCleanup(tpm.stop)
        tpm.run(tpm2.startup())
        signature, expected = fill(tpm)
        tpm.run(tpm2.shutdown())
        tpm.store_volatile()
        tpm.quit()
        said = self.import_fails(says="saved while it ran")
        self.import_tpm("--drop-volatile")
        self.use_in_machine(signature, expected)
        return said

    def test_key(self):
        key = self.key_file("key", b"0123456789abcdef")
        option = f"file={key},format=binary"
        swtpm.make(self.state, fill, "--key", f"{option},mode=aes-cbc")
        other = self.key_file("other", b"0123456789abcdeF")
        hexadecimal = self.key_file("hex", b"30313233343536373839616263646566")
        for options, says, status in (
                ([], "no key was given", KEY),
                ([f"file={other},format=binary"], "the key is wrong", KEY),
                ([f"pwdfile={key}"], "the key is wrong", KEY),
                ([f"{option},mode=aes-256-cbc"], "16 bytes, but 32", KEY),
                ([f"file={key}"], "not 32 hexadecimal digits", KEY),
                ([f"{option},mode=rot13"], "mode=rot13 is none of", USAGE),
                ([f"file={key},pwdfile={key}"], "either file= or", USAGE),
                ([f"key={key}"], "Invalid parameter 'key'", USAGE),
                (["file=nonexistent"], "cannot open nonexistent", KEY)):
            with self.subTest(options=options):
                self.import_fails(*(f"--swtpm-key={word}" for word in options), says=says,
                                  status=status)
        self.import_tpm(f"--swtpm-key=file={hexadecimal}")

    def test_key_for_a_plain_directory(self):
        key = self.key_file("key", b"0123456789abcdef")
        swtpm.make(self.state, fill)
        self.import_fails(f"--swtpm-key=file={key},format=binary", status=KEY,
                          says="not encrypted, but a key")

    def test_hostile_files(self):
        """Nothing that libtpms does not accept comes into the store, however it looks."""
        swtpm.make(self.state, fill)
        file = Path(self.state, PERMANENT)
        good = file.read_bytes()
        for what, content, says in (
                ("empty", b"", "not a state file"), ("cut", good[:-1], "not as long"),
                ("longer", good + b"\0", "not as long"),
                ("noise", bytes(range(256)) * 5, "not a state file"),
                ("huge part", good[:12] + b"\xff" * 4 + good[16:], "longer than the file"),
                ("state that is cut", struct.pack(">BBHHIHI", 2, 1, 10, 0, 116, 1, 100) +
                 good[16:116], "libtpms cannot use the TPM state"),
                ("state that is noise", struct.pack(">BBHHIHI", 2, 1, 10, 0, 116, 1, 100) +
                 bytes(100), "libtpms cannot use the TPM state"),
                ("too large", bytes(1 << 21), "larger than")):
            with self.subTest(what=what):
                file.write_bytes(content)
                self.import_fails(says=f"{self.state}: {PERMANENT}: .*{says}"
                                  if "libtpms" not in says else says)
        file.unlink()
        self.import_fails(says="no TPM in the directory")
        self.import_fails(place=self.path("nowhere"), says="No such file")
        self.import_fails(place=self.path(self.image_name), says="not a linear file")
        self.assertEqual(set(self.content()), {0})

    def test_every_place_of_a_file_may_be_wrong(self):
        """A bit that the import does not notice makes no other TPM of another length."""
        swtpm.make(self.state, fill)
        file = Path(self.state, PERMANENT)
        good = bytearray(file.read_bytes())
        for at in [*range(16), *(self.random.randrange(16, len(good)) for _ in range(24))]:
            with self.subTest(at=at):
                good[at] ^= 1 << self.random.randrange(8)
                file.write_bytes(good)
                done = self.run_tool("tpm import", "--from", self.state, "--force")
                self.assertIn(done.returncode, (0, ERROR, KEY), done.stderr)
                good = bytearray(good)

    @provokes("usage.md", "a swtpm uses the directory")
    def test_directory_in_use(self):
        os.mkdir(self.state)
        tpm = swtpm.Swtpm(self.state)
        self.addCleanup(tpm.stop)
        tpm.run(tpm2.startup())
        said = self.import_fails(says="a swtpm uses the directory", status=IN_USE)
        tpm.run(tpm2.shutdown())
        tpm.quit()
        self.import_tpm()
        return said

    def test_image_in_use(self):
        swtpm.make(self.state, fill)
        self.make(*PLAIN_STORE)
        before = self.content()
        done = self.run_tool("tpm import", "--from", self.state, "--force")
        self.assertEqual(done.returncode, IN_USE, done.stderr)
        self.assertEqual(self.content(), before)

    def test_export_overwrites_nothing(self):
        swtpm.make(self.state, fill)
        before = tree(self.state)
        self.tool_fails("tpm export", "--to", self.path("back"), says="is blank", status=NO_STORE)
        self.import_tpm()
        self.tool_fails("tpm export", "--to", self.state, says="a TPM already")
        self.tool_fails("tpm export", "--to", self.path(self.image_name), "--linear",
                        says="there already")
        self.assertEqual(tree(self.state), before)
        self.tool_fails("tpm export", says="--to is needed", status=USAGE)
        self.tool_fails("tpm import", says="--from is needed", status=USAGE)


if __name__ == "__main__":
    unittest.main()
