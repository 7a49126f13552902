# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-blobstore inspects a store that no VM uses, and changes its keys."""

import os
import socket
import struct
import subprocess
import unittest
from pathlib import Path

import tpm2
from encryption import PLAIN, RAW_SECRET, EncryptionTest, min_sequence, opens_with, store
from messages import provokes
from vm import program

os.environ.setdefault("FORMAT_PROGRAMS", "")    # Forging needs none of them.

from compare import Forger  # noqa: E402
from keyslots import Credential  # noqa: E402

ENCRYPTED = store()
OTHER_KEY = store(key=opens_with("sec1"))
OK, ERROR, USAGE, DAMAGED, HEALS, NO_STORE, KEY, NO_BLOB, IN_USE = range(9)
QUICK = "--new-key-iter-time=1"
ITERATIONS_AT = 1280 + 512 + 8      # Those of key slot 0, in copy 0 of the superblock


class Tool:
    """For an EncryptionTest that calls qemu-blobstore."""

    def run_tool(self, command, *options, image=None):
        secrets = [f"--object=secret,id={name},data={text}"
                   for name, text in (("sec0", "sesame"), ("sec1", "simsim"),
                                      ("raw", RAW_SECRET))]
        return subprocess.run(
            [program("QEMU_BLOBSTORE"), *command.split(), *secrets, "-f", self.image_format,
             *options, image or self.image_name], cwd=self.directory, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=60)

    def tool(self, command, *options):
        done = self.run_tool(command, *options)
        self.assertEqual((done.returncode, done.stderr), (OK, ""))
        return done.stdout

    def tool_fails(self, command, *options, says, status=ERROR):
        """The tool writes nothing; returns what it says."""
        before = self.content()
        done = self.run_tool(command, *options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, says)
        self.assertEqual(self.content(), before)
        return done.stderr

    def make_and_quit(self, *args):
        machine, tpm, expected = self.make(*args)
        tpm.run(tpm2.shutdown())        # Now the host has nothing more to store.
        info = machine.store()
        machine.quit()
        return expected, info


class ToolTest(Tool, EncryptionTest):
    pass


class CommandLineTest(ToolTest):
    def test_options_of_other_commands_are_refused(self):
        self.make_and_quit(*PLAIN)
        for command, option in (("info", "--slot=1"), ("check", "--replace"), ("check", "-p"),
                                ("info", "--new-key-secret=sec0"), ("key-list", "--key-slot=1"),
                                ("key-remove", "--replace"), ("decrypt", "--slot=0")):
            with self.subTest(command=command, option=option):
                self.tool_fails(command, option, status=USAGE, says=f"not belong to {command}")

    def test_output_that_cannot_be_written_is_an_error(self):
        self.make_and_quit(*PLAIN)
        for command in "info", "check":
            with self.subTest(command=command), open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([program("QEMU_BLOBSTORE"), command, "-f",
                                       self.image_format, self.image_name], cwd=self.directory,
                                      check=False, stdout=full, stderr=subprocess.PIPE, text=True)
                self.assertEqual(done.returncode, ERROR)
                self.assertIn("No space left on device", done.stderr)

    def test_check_of_a_blank_image_finds_no_store(self):
        Path(self.path(self.image_name)).write_bytes(bytes(4 << 20))
        self.tool_fails("check", says="the image is blank", status=NO_STORE)

    def test_image_can_be_a_list_of_options(self):
        _, info = self.make_and_quit(*PLAIN)
        done = subprocess.run([program("QEMU_BLOBSTORE"), "info", "--image-opts",
                               f"driver={self.image_format},file.driver=file,"
                               f"file.filename={self.image_name}"], cwd=self.directory,
                              check=False, stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, OK)
        self.assertIn(info["uuid"], done.stdout)

    def test_server_that_dies_is_an_error(self):
        """It answers the handshake of NBD with the beginning of one, and goes."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path("nbd"))
            listener.listen()
            listener.settimeout(60)
            tool = subprocess.Popen([program("QEMU_BLOBSTORE"), "info", "--image-opts",
                                     "driver=nbd,server.type=unix,server.path=nbd"],
                                    cwd=self.directory, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
            peer, _ = listener.accept()
            peer.sendall(b"NBDMAGIC" + b"IHAVEOPT" + bytes([0, 3]))
            peer.close()
            _, said = tool.communicate(timeout=60)
        self.assertEqual(tool.returncode, ERROR, said)
        self.assertNotEqual(said, "")


class KeysTest(ToolTest):
    def test_keys_are_changed_offline(self):
        expected, info = self.make_and_quit(*ENCRYPTED)
        self.assertEqual(self.tool("key-add", "--key-secret=sec0", "--new-key-secret=sec1", QUICK),
                         "key slot 1\n")
        self.assertRegex(self.tool("key-list"), r"0: passphrase, .*\n1: passphrase, ")
        self.tool("key-remove", "--key-secret=sec1", "--slot=0")
        self.check_refused(*ENCRYPTED, says="the key is wrong")
        seen = min_sequence(info["sequence"], info["epoch-id"])
        machine, _ = self.check_holds(expected, *store(seen, key=opens_with("sec1")))
        machine.quit()
        self.tool("key-add", "--key-secret=sec1", "--key-slot=1", "--new-key-secret=sec0", QUICK,
                  "--slot=1", "--replace")
        self.check_refused(*OTHER_KEY, says="the key is wrong")
        self.check_holds(expected, *ENCRYPTED)

    def test_store_is_encrypted_rekeyed_and_decrypted_offline(self):
        expected, _ = self.make_and_quit(*PLAIN)
        self.assertTrue(self.readable())
        self.tool("encrypt", "--new-key-secret=sec0", QUICK)
        self.assertFalse(self.readable())
        machine, _ = self.check_holds(expected, *ENCRYPTED)
        machine.quit()
        progress = self.tool("rekey", "-p", "--key-secret=sec0", "--new-key-secret=sec1", QUICK)
        self.assertIn("(100.00/100%)", progress)
        self.assertFalse(self.readable())
        machine, _ = self.check_holds(expected, *OTHER_KEY)
        machine.quit()
        self.tool("decrypt", "--key-secret=sec1")
        self.assertTrue(self.readable())
        self.check_holds(expected, *PLAIN)

    def test_bad_requests_change_nothing(self):
        expected, _ = self.make_and_quit(*ENCRYPTED)
        opened = "--key-secret=sec0"
        new = "--new-key-secret=sec1"
        self.tool_fails("key-add", new, says="no key was given", status=KEY)
        self.tool_fails("key-add", "--key-secret=sec1", new, says="the key is wrong", status=KEY)
        self.tool_fails("key-add", "--key-secret=none", new, says="No secret with id 'none'",
                        status=KEY)
        self.tool_fails("key-remove", opened, says="which key slot", status=USAGE)
        for command, options, says, status in (
                ("key-add", [], "no new key is given", USAGE),
                ("key-add", [new, "--slot=0"], "is in use", ERROR),
                ("key-add", [new, "--slot=8"], "makes no sense", USAGE),
                ("key-add", [new, "--new-key-type=magic"], "makes no sense", USAGE),
                ("key-add", [new, "--new-key-type=token"], "does not go with", USAGE),
                ("key-add", [new, "--new-key-iter-time=0"], "is 1 to 60000", USAGE),
                ("key-add", [new, "--force-share"], "does not belong", USAGE),
                ("key-remove", ["--slot=0"], "last one in use", ERROR),
                ("encrypt", [new], "already encrypted", ERROR),
                ("magic", [], "no command 'magic'", USAGE)):
            self.tool_fails(command, opened, *options, says=says, status=status)
        self.check_holds(expected, *ENCRYPTED)

    def test_plain_store_has_no_keys(self):
        self.make_and_quit(*PLAIN)
        self.assertEqual(self.tool("key-list"), "The store is not encrypted.\n")
        self.tool_fails("decrypt", says="not encrypted")
        self.tool_fails("rekey", "--new-key-secret=sec0", says="not encrypted")


class QcowKeysTest(KeysTest):
    image_format = "qcow2"


class LookTest(ToolTest):
    def test_info_tells_what_qmp_tells(self):
        _, info = self.make_and_quit(*ENCRYPTED)
        text = self.tool("info", "--key-secret=sec0")
        self.assertIn(info["uuid"], text)
        self.assertIn(info["encryption"]["key-commitment"], text)
        self.assertRegex(text, r"tpm/permanent: permanent, \d+ of 524288 bytes")
        self.tool_fails("info", says="no key was given", status=KEY)

    def test_blank_image_stays_blank(self):
        self.tool_fails("info", says="the image is blank", status=NO_STORE)
        self.tool_fails("encrypt", "--new-key-secret=sec0", says="is blank", status=NO_STORE)

    def test_other_image_is_refused(self):
        Path(self.path(self.image_name)).write_bytes(b"something else" * 10000)
        says = "not a blobstore and not blank"
        self.tool_fails("info", says=says, status=NO_STORE)
        self.tool_fails("encrypt", "--new-key-secret=sec0", says=says, status=NO_STORE)
        self.tool_fails("check", "--image-opts", says="says the format itself", status=USAGE)

    def test_image_in_use_is_refused_unless_it_is_shared(self):
        self.make(*ENCRYPTED)
        before = self.content()
        for command in ["info"], ["key-remove", "--slot=0"]:
            done = self.run_tool(*command, "--key-secret=sec0")
            self.assertEqual(done.returncode, IN_USE)
            self.assertIn("lock", done.stderr)
        self.assertIn("uuid", self.tool("info", "-U", "--key-secret=sec0"))
        self.assertEqual(self.content(), before)

    def test_damaged_key_slot_costs_no_content(self):
        self.make_and_quit(*ENCRYPTED)
        self.tool("key-add", "--key-secret=sec0", "--new-key-secret=sec1", QUICK)
        image = bytearray(self.content())
        for copy in 0, 16384:
            image[copy + 1280 + 512 + 1024 + 520] ^= 1
        Path(self.path(self.image_name)).write_bytes(image)
        done = self.run_tool("check", "--key-secret=sec0")
        self.assertIn("key slot 1 is damaged", done.stdout)
        self.assertEqual(done.returncode, HEALS)
        self.assertRegex(self.tool("key-list"), "1: damaged")
        done = self.run_tool("key-remove", "--key-secret=sec0", "--slot=1")
        self.assertEqual(done.returncode, OK)
        self.assertIn("No errors", self.tool("check", "--key-secret=sec0"))

    @provokes("usage.md", "is weak")
    def test_check_warns_of_weak_key_slots(self):
        """Older versions have made some with fewer iterations, on busy hosts."""
        self.make_and_quit(*ENCRYPTED)
        self.tool("key-add", "--key-secret=sec0", "--new-key-secret=raw", "--new-key-type=raw")
        check = "check", "--key-secret=raw"
        self.assertIn("No errors", self.tool(*check))
        forger = Forger(self.random, self.content(), Credential(secret=RAW_SECRET.encode()))
        struct.pack_into("<I", forger.image, ITERATIONS_AT, 2)
        forger.sign_superblock()
        Path(self.path(self.image_name)).write_bytes(forger.image)
        done = self.run_tool(*check)
        self.assertIn("key slot 0 is weak: a guess costs 2 iterations of Argon2id over 65536 KiB, "
                      "and 3 over 65536 KiB are the least; make it again with key-add --slot=0 "
                      "--replace\n", done.stderr)
        self.assertEqual((done.returncode, done.stdout), (OK, f"{self.image_name}: No errors were found.\n"))
        self.assertIn("0: passphrase, Argon2id, 65536 KiB, 2 iterations, parallelism 1\n",
                      self.tool("key-list"))
        self.tool("key-add", "--key-secret=raw", "--new-key-secret=sec0", QUICK, "--slot=0",
                  "--replace")
        self.assertIn("No errors", self.tool(*check))
        return done.stderr

    def test_check_says_what_is_wrong_by_its_status(self):
        _, info = self.make_and_quit(*ENCRYPTED)
        check = "check", "--key-secret=sec0"
        self.assertIn("No errors", self.tool(*check))
        image = bytearray(self.content())
        image[16384 + 1280] ^= 1
        Path(self.path(self.image_name)).write_bytes(image)
        done = self.run_tool(*check)
        self.assertEqual(done.returncode, HEALS)
        self.assertIn("offset 16384", done.stdout)
        blob, = [blob for blob in info["blobs"] if blob["name"] == "permanent"]
        slot, = [slot for slot in blob["slots"] if slot["current"]]
        image[slot["offset"] + 1280 + 7] ^= 1
        Path(self.path(self.image_name)).write_bytes(image)
        done = self.run_tool(*check)
        self.assertEqual(done.returncode, DAMAGED)
        self.assertIn("blob 'tpm/permanent'", done.stdout)


if __name__ == "__main__":
    unittest.main()
