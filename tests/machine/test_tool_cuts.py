# SPDX-License-Identifier: GPL-2.0-or-later
"""A command of qemu-blobstore that ends after any of its writes leaves all or nothing of it.

QEMU's blklogwrites records the writes and flushes of the command. A kill leaves what was written so
far; a power failure leaves a part of what no flush has followed.
"""

import subprocess
import unittest
from pathlib import Path

import writelog
from test_tool_blobs import DAMAGED, KEY, NO_BLOB, NO_STORE, OK, ToolTest
from vm import program

BEFORE, AFTER = b"before", b"after"
# Raw keys, because nothing has to be computed to try them
SECRETS = [f"--object=secret,id=sec{n},data={n:032}" for n in range(2)]
KEYS = [], ["--key-secret=sec0"], ["--key-secret=sec1"]
NEW = [["--new-key-type=raw", f"--new-key-secret=sec{n}"] for n in range(2)]
DRAWN = 2                       # power failures before each flush


class CutsTest(ToolTest):
    def make(self, *options, key=()):
        self.tool("create", "--required=256k", *SECRETS, *options, self.image_name)
        self.tool("put", *SECRETS, *key, "--max-size=8k", self.image_name, "dev/data",
                  content=BEFORE)

    def run_logged(self, command, *arguments, content=b"", opts="--image-opts", source=()):
        """Run the command on the image; returns its writes and flushes."""
        Path(self.path("log")).write_bytes(b"")
        node = ("driver=raw,file.driver=blklogwrites,file.log.driver=file,file.log.filename=log,"
                f"file.file.driver=file,file.file.filename={self.image_name}")
        subprocess.run([program("QEMU_BLOBSTORE"), command, *SECRETS, opts, *source, node,
                        *arguments], cwd=self.directory, input=content, check=True, timeout=60)
        return writelog.read(self.path("log"))

    def found(self):
        """The content of the blob, or the status of a look at it, by whatever key."""
        for key in KEYS:
            done = self.run_tool("get", *SECRETS, *key, self.image_name, "dev/data")
            if done.returncode != KEY:
                return done.stdout if done.returncode == OK else done.returncode
        return KEY

    def cuts(self, base, writes):
        """The images that a kill or a power failure may leave."""
        disk = writelog.Disk(base)
        yield disk.content()
        for write in writes:
            if write.is_flush:
                yield from (disk.drawn(self.random, garble=False) for _ in range(DRAWN))
            disk.take(write)
            if not write.is_flush:
                yield disk.content()

    def check_cuts(self, before, after, command, *arguments, content=b""):
        base = self.content()
        writes = self.run_logged(command, *arguments, content=content)
        self.check_writes(base, writes, [before], after)

    def check_writes(self, base, writes, befores, after):
        """The first of what may be there before is there before anything is written."""
        self.assertEqual(self.found(), after)
        seen = []
        for image in self.cuts(base, writes):
            Path(self.path(self.image_name)).write_bytes(image)
            seen.append(self.found())
            self.assertIn(seen[-1], (*befores, after))
        self.assertEqual((seen[0], seen[-1]), (befores[0], after))

    def test_put(self):
        self.make()
        self.check_cuts(BEFORE, AFTER, "put", "dev/data", content=AFTER)

    def test_put_of_more_than_there_is_space_for(self):
        self.make()
        large = AFTER * 4000
        self.check_cuts(BEFORE, large, "put", "dev/data", content=large)

    def test_put_of_a_new_blob(self):
        self.tool("create", "--required=256k", self.image_name)
        self.check_cuts(NO_BLOB, AFTER, "put", "dev/data", content=AFTER)

    def test_put_and_rm_of_a_damaged_blob(self):
        self.make()
        image = bytearray(self.content())
        image[image.find(BEFORE)] ^= 1
        for command, after in ("put", AFTER), ("rm", NO_BLOB):
            Path(self.path(self.image_name)).write_bytes(image)
            self.check_cuts(DAMAGED, after, command, "dev/data", content=AFTER)

    def test_rm(self):
        self.make()
        self.check_cuts(BEFORE, NO_BLOB, "rm", "dev/data")

    def test_copies(self):
        """What there is of one that is not whole is no store, and no key opens it."""
        self.make()
        source, self.image_name = self.image_name, "target.raw"
        base = bytes(len(self.content(source)))
        for command in ["copy"], ["copy", *NEW[0]], ["clone", "--new-identity"]:
            with self.subTest(command=command):
                Path(self.path(self.image_name)).write_bytes(base)
                writes = self.run_logged(*command, opts="--target-image-opts", source=[source])
                self.check_writes(base, writes, [NO_STORE, DAMAGED, KEY], BEFORE)

    def test_repair(self):
        for damaged, after in ((AFTER,), BEFORE), ((BEFORE, AFTER), NO_BLOB):
            self.make()
            self.tool("put", self.image_name, "dev/data", content=AFTER)
            image = bytearray(self.content())
            for content in damaged:
                image[image.find(content)] ^= 1
            Path(self.path(self.image_name)).write_bytes(image)
            self.check_cuts(DAMAGED, after, "check", "--repair", "--fall-back=dev/data",
                            "--or-absent")
            Path(self.path(self.image_name)).unlink()

    def test_resize(self):
        self.make()
        with open(self.path(self.image_name), "r+b") as image:
            image.truncate(1 << 20)
        self.check_cuts(BEFORE, BEFORE, "resize")

    def test_create(self):
        self.image_name = self.image()
        self.check_cuts(NO_STORE, NO_BLOB, "create")

    def test_create_of_an_encrypted_store(self):
        self.image_name = self.image()
        self.check_cuts(NO_STORE, NO_BLOB, "create", *NEW[0])

    def test_keys(self):
        """The content stays, and there is always a key that opens the store."""
        self.make(*NEW[0], key=KEYS[1])
        self.check_cuts(BEFORE, BEFORE, "key-add", *KEYS[1], *NEW[1])
        self.check_cuts(BEFORE, BEFORE, "key-remove", *KEYS[1], "--slot=1")

    def test_conversions(self):
        self.make()
        self.check_cuts(BEFORE, BEFORE, "encrypt", *NEW[0])
        self.check_cuts(BEFORE, BEFORE, "rekey", *KEYS[1], *NEW[1])
        self.check_cuts(BEFORE, BEFORE, "decrypt", *KEYS[2])


if __name__ == "__main__":
    unittest.main()
