# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-blobstore makes stores and changes single blobs, and a kill leaves all or nothing of it."""

import json
import shutil
import subprocess
import time
import unittest
from pathlib import Path

import state
import tpm2
from case import TPM2, MachineTest, drive, rounds
from vm import program

OK, ERROR, USAGE, DAMAGED, HEALS, NO_STORE, KEY, NO_BLOB, IN_USE = range(9)
SECRET = "--object=secret,id=sec0,data=sesame"
KEYED = SECRET, "--key-secret=sec0"
NEW_KEY = SECRET, "--new-key-secret=sec0", "--new-key-iter-time=1"
KILLS = rounds(6, 40)


class ToolTest(MachineTest):
    image_format = "raw"

    def setUp(self):
        super().setUp()
        self.image_name = f"store.{self.image_format}"

    def words(self, command, *arguments):
        return [program("QEMU_BLOBSTORE"), command, "-f", self.image_format, *arguments]

    def run_tool(self, command, *arguments, content=b""):
        return subprocess.run(self.words(command, *arguments), cwd=self.directory, input=content,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              timeout=60)

    def tool(self, command, *arguments, content=b""):
        done = self.run_tool(command, *arguments, content=content)
        self.assertEqual((done.returncode, done.stderr), (OK, b""))
        return done.stdout

    def fails(self, status, says, command, *arguments, content=b""):
        before = self.content()
        done = self.run_tool(command, *arguments, content=content)
        self.assertEqual(done.returncode, status, done)
        self.assertIn(says, done.stderr.decode())
        self.assertEqual(self.content(), before)

    def blobs(self, *options):
        found = json.loads(self.tool("list", "--output=json", *options, self.image_name))
        return {f"{blob['owner']}/{blob['name']}": blob for blob in found}


class CreateTest(ToolTest):
    def test_image_for_a_tpm_is_exactly_large_enough(self):
        self.tool("create", "--tpm", self.image_name)
        machine, tpm = self.power_on(*drive(self.image_name, self.image_format), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        expected = state.permanent(tpm)
        tpm.run(tpm2.shutdown())
        machine.quit()
        info = json.loads(self.tool("info", "--output=json", self.image_name))
        self.assertEqual(info["required"], info["capacity"])
        machine, tpm = self.power_on(*drive(self.image_name, self.image_format), *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), expected)

    def test_store_is_encrypted_with_the_new_key(self):
        said = self.tool("create", "--required=512k", *NEW_KEY, self.image_name)
        info = json.loads(self.tool("info", "--output=json", *KEYED, self.image_name))
        self.assertEqual(said.decode(), f"uuid: {info['uuid']}\n")
        self.assertEqual(info["encryption"]["key-slots"], 1)
        self.fails(KEY, "no key was given", "info", self.image_name)

    def test_blank_image_is_used_as_it_is(self):
        self.image_name = self.image(self.image_format)
        self.tool("create", self.image_name)
        info = json.loads(self.tool("info", "--output=json", self.image_name))
        self.assertEqual(info["capacity"], 4 << 20)

    def test_bad_requests_change_nothing(self):
        done = self.run_tool("create", self.image_name)
        self.assertEqual(done.returncode, USAGE)
        self.assertFalse(Path(self.path(self.image_name)).exists())
        self.image_name = self.image(self.image_format)
        self.fails(ERROR, "too small: 8388608 bytes are needed, it has 4194304", "create",
                   "--required=8M", self.image_name)
        self.fails(KEY, "No secret with id", "create", "--new-key-secret=none", self.image_name)
        self.tool("create", "-q", self.image_name)
        self.fails(ERROR, "there is a store in the image already", "create", self.image_name)


class QcowCreateTest(CreateTest):
    image_format = "qcow2"


class BlobTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.tool("create", "--required=1M", self.image_name)

    def test_content_and_metadata_come_back(self):
        content = self.random.randbytes(70000)
        put = "put", "--metadata=a=1", "--metadata=b=x=y", self.image_name, "dev/data"
        self.tool(*put, content=content)
        self.assertEqual(self.tool("get", self.image_name, "dev/data"), content)
        self.tool("get", self.image_name, "dev/data", "copy")
        self.assertEqual(self.content("copy"), content)
        self.assertEqual(Path(self.path("copy")).stat().st_mode & 0o777, 0o600)
        self.tool("put", self.image_name, "dev/data", "-", content=b"")     # keeps the metadata
        self.assertEqual(self.tool("get", self.image_name, "dev/data", "-"), b"")
        show = "get", "--show-metadata", self.image_name, "dev/data"
        self.assertEqual(self.tool(*show), b"a=1\nb=x=y\n")
        self.tool("put", "--metadata=c=", self.image_name, "dev/data")
        self.assertEqual(self.tool(*show), b"c=\n")

    def test_new_blob_is_what_it_was_asked_to_be(self):
        self.tool("put", self.image_name, "dev/small", content=b"abc")
        self.tool("put", "--kind=savestate", "--max-size=64k", self.image_name, "dev/large",
                  content=b"abc")
        found = self.blobs()
        self.assertEqual([(blob["kind"], blob["size"], blob["max-size"])
                          for blob in (found["dev/small"], found["dev/large"])],
                         [("permanent", 3, 3), ("savestate", 3, 65536)])
        self.tool("put", self.image_name, "dev/small", content=b"abcdef")   # grows
        self.tool("put", self.image_name, "dev/large", content=b"abcdef")   # has space
        found = self.blobs()
        self.assertEqual(found["dev/small"]["max-size"], 6)
        self.assertEqual(found["dev/large"]["max-size"], 65536)

    def test_deleted_blob_gives_its_space_back(self):
        before = json.loads(self.tool("info", "--output=json", self.image_name))
        self.tool("put", self.image_name, "dev/data", content=bytes(100000))
        self.tool("rm", self.image_name, "dev/data")
        after = json.loads(self.tool("info", "--output=json", self.image_name))
        self.assertEqual((after["blobs"], after["free"]), ([], before["free"]))

    def test_bad_requests_change_nothing(self):
        self.tool("put", self.image_name, "dev/data", content=b"abc")
        data = self.image_name, "dev/data"
        for says, status, command, *arguments in (
                ("named OWNER/NAME", USAGE, "get", self.image_name, "data"),
                ("named OWNER/NAME", USAGE, "rm", self.image_name, "/data"),
                ("named OWNER/NAME", USAGE, "put", self.image_name, "dev/"),
                ("there is no blob 'dev/other'", NO_BLOB, "rm", self.image_name, "dev/other"),
                ("never on the medium", USAGE, "put", "--kind=volatile", *data),
                ("less than the content has: 6", USAGE, "put", "--max-size=3", *data),
                ("is not between 1 and", ERROR, "put", "--max-size=65M", *data),
                ("too small", ERROR, "put", "--max-size=2M", *data),
                ("savestate", ERROR, "put", "--kind=savestate", *data),
                ("metadata", ERROR, "put", "--metadata=novalue", *data),
                ("cannot read 'nofile': No such file", ERROR, "put", *data, "nofile"),
                ("cannot write 'nodir/file'", ERROR, "get", *data, "nodir/file"),
                ("cannot write '/dev/full'", ERROR, "get", *data, "/dev/full")):
            with self.subTest(command=command, arguments=arguments):
                self.fails(status, says, command, *arguments, content=b"abcdef")

    def test_largest_content_fits_and_more_does_not(self):
        self.image_name = "large.raw"
        self.tool("create", "--required=140M", self.image_name)
        self.tool("put", self.image_name, "dev/data", content=bytes(64 << 20))
        self.assertEqual(self.blobs()["dev/data"]["size"], 64 << 20)
        done = self.run_tool("put", self.image_name, "dev/data", content=bytes((64 << 20) + 1))
        self.assertEqual(done.returncode, ERROR)


class CheckTest(ToolTest):
    def test_worst_of_many_images_decides(self):
        images = [f"{n}.raw" for n in range(100)]
        self.tool("create", "--required=256k", self.image_name)
        self.tool("put", self.image_name, "dev/data", content=b"content of a blob")
        for image in images:
            shutil.copyfile(self.path(self.image_name), self.path(image))
        said = self.tool("check", *images).decode()
        self.assertEqual(said, "".join(f"{image}: No errors were found.\n" for image in images))
        statuses = [OK] * 100
        for n, status, offset in (7, HEALS, 16384 + 1280), (42, NO_STORE, None), (
                77, DAMAGED, self.content().find(b"content of a blob")):
            image = bytearray(self.content() if offset else 1 << 20)
            if offset:
                image[offset] ^= 1
            Path(self.path(images[n])).write_bytes(image)
            statuses[n] = status
            done = self.run_tool("check", "--output=json", *images)
            self.assertEqual(done.returncode, status)       # Each is worse than the one before.
            self.assertEqual([(image["image"], image["status"])
                              for image in json.loads(done.stdout)], list(zip(images, statuses)))


class KillTest(ToolTest):
    """The tool is killed at a moment between its start and its end."""

    def setUp(self):
        super().setUp()
        self.tool("create", "--required=1M", self.image_name)
        self.tool("put", self.image_name, "dev/data", content=b"before")
        shutil.copyfile(self.path(self.image_name), self.path("master"))

    def kill_at(self, share, seconds, command, *arguments):
        shutil.copyfile(self.path("master"), self.path(self.image_name))
        with subprocess.Popen(self.words(command, *arguments), cwd=self.directory,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as tool:
            time.sleep(share * seconds)
            tool.kill()

    def content_after(self):
        """The content of the blob, by whatever key; None if there is none."""
        for key in (), KEYED:
            done = self.run_tool("get", *key, self.image_name, "dev/data")
            if done.returncode in (OK, NO_BLOB):
                self.assertIn(self.run_tool("check", *key, self.image_name).returncode,
                              (OK, HEALS))
                return done.stdout if done.returncode == OK else None
            self.assertEqual(done.returncode, KEY, done)
        self.fail("no key opens the store")

    def check_kills(self, command, *arguments, after, done=()):
        begin = time.monotonic()
        self.tool(command, *arguments)
        seconds = time.monotonic() - begin
        for n in range(KILLS):
            self.kill_at((n + self.random.random()) / KILLS, seconds, command, *arguments)
            found = self.content_after()
            self.assertIn(found, (b"before", after))
            # The same command does it, or it was done.
            again = self.run_tool(command, "--take-over", *arguments)
            self.assertIn(again.returncode, (OK, *done))
            self.assertEqual(self.content_after(), after)

    def test_put(self):
        Path(self.path("after")).write_bytes(b"after")
        self.check_kills("put", self.image_name, "dev/data", "after", after=b"after")

    def test_rm(self):
        self.check_kills("rm", self.image_name, "dev/data", after=None, done=[NO_BLOB])

    def test_create(self):
        """Whatever is left, the same command makes a store of it, unless there is one."""
        for n in range(KILLS):
            image = f"new{n}.raw"
            create = "create", "--required=1M", image
            with subprocess.Popen(self.words(*create), cwd=self.directory,
                                  stdout=subprocess.DEVNULL) as tool:
                time.sleep(self.random.uniform(0, 0.1))
                tool.kill()
            self.assertIn(self.run_tool(*create).returncode, (OK, ERROR))
            self.assertIn(self.run_tool("check", image).returncode, (OK, HEALS))

    def test_encrypt(self):
        self.check_kills("encrypt", *NEW_KEY, self.image_name, after=b"before", done=[KEY])


if __name__ == "__main__":
    unittest.main()
