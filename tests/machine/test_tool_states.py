# SPDX-License-Identifier: GPL-2.0-or-later
"""The exit status of qemu-blobstore has one meaning over all commands, whatever the image holds.

The images are made by the tool itself, and damaged here.
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import case  # noqa: F401  (where to find vm.py)
from test_tool_help import commands, options
from vm import program

OK, ERROR, USAGE, DAMAGED, HEALS, NO_STORE, KEY, NO_BLOB, IN_USE = range(9)

IMAGE = "store.raw"
CONTENT = b"content of a blob" * 100
NEW_KEY = ["--new-key-secret=new", "--new-key-iter-time=1"]
ARGUMENTS = {
    "create": ["--required=256k", IMAGE],
    "info": [IMAGE],
    "list": [IMAGE],
    "check": [IMAGE],
    "copy": [IMAGE, "target"],
    "clone": ["--new-identity", *NEW_KEY, IMAGE, "target"],
    "resize": [IMAGE],
    "size": ["--tpm"],
    "map": [IMAGE],
    "get": [IMAGE, "dev/data", "copy"],
    "put": [IMAGE, "dev/data", "content"],
    "rm": [IMAGE, "dev/data"],
    "key-list": [IMAGE],
    "key-add": [*NEW_KEY, IMAGE],
    "key-remove": ["--slot=1", IMAGE],
    "encrypt": [*NEW_KEY, IMAGE],
    "rekey": [*NEW_KEY, IMAGE],
    "decrypt": [IMAGE],
    "tpm create": [IMAGE],
    "tpm info": [IMAGE],
    "tpm clear": [IMAGE],
    "tpm reset-lockout": [IMAGE],
    "tpm new-identity": ["--force", IMAGE],
    "tpm import": ["--from=state", IMAGE],
    "tpm export": ["--to=exported", IMAGE],
}
# No secret of the command line is in a list of processes here, and these are no secrets.
SECRETS = [f"--object=secret,id={name},data={name}" for name in ("key", "second", "new", "wrong")]

COPIES = 0, 16384           # of the superblock
PAYLOAD = 1280              # offset behind the header

# What each command exits with, if not with the number in front; the stores have no TPM.
WITHOUT_TPM = dict.fromkeys(("tpm info", "tpm clear", "tpm reset-lockout", "tpm new-identity",
                             "tpm export"), NO_BLOB)
PLAIN = OK, {"create": ERROR, "key-add": ERROR, "key-remove": ERROR, "rekey": ERROR,
             "decrypt": ERROR, **WITHOUT_TPM}
SEALED = OK, {"create": ERROR, "encrypt": ERROR, **WITHOUT_TPM}
LOCKED = KEY, {"create": ERROR, "key-list": OK}
BLANK = NO_STORE, {"create": OK, "tpm create": OK, "tpm import": OK}
NOT_CLOSED = IN_USE, {"create": ERROR, "info": OK, "list": OK, "get": OK, "key-list": OK,
                      "copy": OK, "clone": OK, "map": OK, "tpm info": NO_BLOB,
                      "tpm export": NO_BLOB}
WITHOUT_IMAGE = "size",


def run(command, *arguments, directory):
    return subprocess.run([program("QEMU_BLOBSTORE"), *command.split(), *SECRETS, *arguments],
                          cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=60)


class StatesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.masters = Path(tempfile.mkdtemp(prefix="blobstore-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.masters)
        (cls.masters / "content").write_bytes(CONTENT)
        for name, key in ("plain", []), ("sealed", ["--new-key-secret=key",
                                                    "--new-key-iter-time=1"]):
            with_key = ["--key-secret=key"] if key else []
            cls.make("create", "-f", "raw", "--required=1600k", *key, name)
            cls.make("put", "-f", "raw", *with_key, name, "dev/data", "content")
        (cls.masters / "tpm").write_bytes(bytes(2 << 20))
        cls.make("tpm create", "-f", "raw", "tpm")
        cls.make("tpm export", "-f", "raw", "--to=state", "tpm")
        cls.make("key-add", "-f", "raw", "--key-secret=key", "--new-key-secret=second",
                 "--new-key-iter-time=1", "sealed")

    @classmethod
    def make(cls, *command):
        done = run(*command, directory=cls.masters)
        assert done.returncode == OK, done

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="blobstore-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        (self.directory / "content").write_bytes(CONTENT)
        shutil.copytree(self.masters / "state", self.directory / "state")

    def put_image(self, content):
        (self.directory / IMAGE).write_bytes(content)

    def master(self, name="plain"):
        return bytearray((self.masters / name).read_bytes())

    def tool(self, command, *extra):
        known = options(command)
        extra = [word for word in ("--format=raw", *extra) if word.partition("=")[0] in known]
        (self.directory / "target").unlink(missing_ok=True)
        return run(command, *extra, *ARGUMENTS[command], directory=self.directory)

    def check_all(self, content, expected, *extra, only=None):
        """Each command has its own copy of the image, which only success may change much."""
        default, others = expected
        for command in only or sorted(set(commands()) - set(WITHOUT_IMAGE)):
            with self.subTest(command=command):
                if content is not None:
                    self.put_image(content)
                done = self.tool(command, *extra)
                self.assertEqual(done.returncode, others.get(command, default), done)
                if done.returncode not in (OK, HEALS):
                    self.assertNotEqual(done.stderr + done.stdout, "")
                    self.check_unchanged(content)

    def check_unchanged(self, content):
        """Or else the command had begun, and the store is at rest with what it was."""
        if content is not None and (self.directory / IMAGE).read_bytes() != content:
            self.assertRegex(run("info", "-f", "raw", IMAGE, directory=self.directory).stdout,
                             r"closed: +yes\n(?s:.*)dev/data: permanent, 1700 of 1700 bytes")

    def test_every_command_has_arguments_here(self):
        self.assertEqual(sorted(commands()), sorted(ARGUMENTS))

    def test_commands_without_an_image(self):
        for command in WITHOUT_IMAGE:
            self.assertEqual(self.tool(command).returncode, OK)

    def test_plain_store(self):
        self.check_all(self.master(), PLAIN)

    def test_sealed_store(self):
        self.check_all(self.master("sealed"), SEALED, "--key-secret=key")

    def test_sealed_store_without_a_key(self):
        self.check_all(self.master("sealed"), LOCKED)

    def test_sealed_store_with_a_wrong_key(self):
        self.check_all(self.master("sealed"), LOCKED, "--key-secret=wrong")

    def test_key_that_does_not_exist(self):
        self.check_all(self.master("sealed"), LOCKED, "--key-secret=nobody")

    def test_plain_store_with_a_key(self):
        """Whoever has a key expects an encrypted store."""
        self.check_all(self.master(), LOCKED, "--key-secret=key")

    def test_blank_image(self):
        self.check_all(bytes(2 << 20), BLANK)

    def test_image_with_something_else(self):
        self.check_all(b"something else" * 10000, (NO_STORE, {}))

    def test_damaged_copy_heals(self):
        image = self.master()
        image[COPIES[1] + PAYLOAD] ^= 1
        self.check_all(image, (OK, {**PLAIN[1], "check": HEALS}))

    def test_damaged_superblock(self):
        image = self.master()
        for copy in COPIES:
            image[copy + PAYLOAD] ^= 1
        self.check_all(image, (DAMAGED, {}))

    def test_damaged_blob(self):
        """It may be replaced or deleted."""
        image = self.master()
        image[image.find(CONTENT)] ^= 1
        self.check_all(image, (OK, {**PLAIN[1], "check": DAMAGED, "get": DAMAGED,
                                    "encrypt": DAMAGED, "copy": DAMAGED, "clone": DAMAGED}))

    def test_shrunk_image(self):
        image = self.master()
        self.check_all(image[:image.find(CONTENT)], (DAMAGED, {"create": ERROR, "key-list": OK}))

    def test_store_without_the_blob(self):
        done = self.tool_on_plain("rm")
        self.assertEqual(done.returncode, OK, done)
        image = (self.directory / IMAGE).read_bytes()
        self.check_all(image, (NO_BLOB, {"put": OK}), only=("get", "rm", "put"))

    def tool_on_plain(self, command):
        self.put_image(self.master())
        return self.tool(command)

    def test_store_that_was_not_closed(self):
        """A flush that fails cuts a command short."""
        self.put_image(self.master())
        node = (f"driver=raw,file.driver=blkdebug,file.image.driver=file,"
                f"file.image.filename={IMAGE},file.inject-error.0.event=flush_to_disk")
        done = run("rm", "--image-opts", node, "dev/data", directory=self.directory)
        self.assertEqual(done.returncode, ERROR, done)
        image = (self.directory / IMAGE).read_bytes()
        # One copy of the directory is older.
        self.check_all(image, (IN_USE, {**NOT_CLOSED[1], "check": HEALS}))
        self.check_all(image, (OK, {**PLAIN[1], "check": HEALS}), "--take-over")

    def test_image_in_use(self):
        """A running VM takes the same locks: tests/machine/test_tool.py."""
        self.put_image(self.master())
        before = self.master()
        with subprocess.Popen([program("QEMU_IO"), "-f", "raw", IMAGE], cwd=self.directory,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
            os.read(user.stdout.fileno(), 1)        # The prompt: the image is open.
            self.check_all(None, (IN_USE, {}))
            self.check_all(None, (OK, {}), "-U", "--force-share",
                           only=("info", "list", "check", "get", "key-list", "copy", "clone",
                                 "map"))
            self.assertEqual((self.directory / IMAGE).read_bytes(), before)
            user.stdin.close()

    def test_image_that_does_not_exist(self):
        """Nothing but create makes it."""
        self.check_all(None, (ERROR, {}), only=set(commands()) - {"create", *WITHOUT_IMAGE})
        self.check_all(None, (OK, {}), only=["create"])


if __name__ == "__main__":
    unittest.main()
