# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-blobstore copies, clones, repairs, resizes and maps stores."""

import json
import re
import shutil
import subprocess
import time
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path

import state
import tpm2
from case import TPM2, drive
from test_tool_blobs import (DAMAGED, ERROR, HEALS, IN_USE, KEY, KEYED, KILLS, NEW_KEY, NO_BLOB,
                             NO_STORE, OK, USAGE, ToolTest)
from vm import program

OLD, NEW, OTHER = b"old content of a blob " * 20, b"new content of a blob " * 20, b"of another " * 9
HEADER = 1280
SVG = "{http://www.w3.org/2000/svg}"


class StoreTest(ToolTest):
    """A store with a blob that was written twice and another one; all images are raw."""

    def setUp(self):
        super().setUp()
        self.tool("create", "--required=512k", self.image_name)
        self.tool("put", "--metadata=key=value", self.image_name, "dev/data", content=OLD)
        self.tool("put", self.image_name, "dev/data", content=NEW)
        self.tool("put", "--max-size=20000", self.image_name, "dev/other", content=OTHER)

    def info(self, image, *key):
        return json.loads(self.tool("info", "--output=json", *key, image))

    def expect_content(self, image, *key):
        self.assertEqual(self.tool("get", *key, image, "dev/data"), NEW)
        self.assertEqual(self.tool("get", *key, image, "dev/other"), OTHER)
        self.assertEqual(self.tool("get", "--show-metadata", *key, image, "dev/data"),
                         b"key=value\n")
        self.assertEqual(self.tool("check", "-q", *key, image), b"")

    def damage(self, *contents):
        """Changes the payload of the slots with these contents."""
        image = bytearray(self.content())
        for content in contents:
            self.assertEqual(image.count(content), 1)
            image[image.find(content)] ^= 1
        Path(self.path(self.image_name)).write_bytes(image)


class CopyTest(StoreTest):
    def test_copy_is_the_same_store_and_the_source_stays(self):
        before = self.content()
        source = self.info(self.image_name)
        said = self.tool("copy", self.image_name, "copy")
        copy = self.info("copy")
        self.assertEqual(said.decode(), f"uuid: {source['uuid']}\n")
        self.assertEqual((copy["uuid"], copy["blobs"]), (source["uuid"], source["blobs"]))
        self.assertGreater(copy["sequence"], source["sequence"])
        self.assertEqual(copy["capacity"], source["capacity"])
        self.expect_content("copy")
        self.assertEqual(self.content(), before)
        self.assertNotIn(OLD, self.content("copy"))

    def test_clone_is_another_store(self):
        self.tool("clone", "--new-identity", self.image_name, "clone")
        self.assertNotEqual(self.info("clone")["uuid"], self.info(self.image_name)["uuid"])
        self.expect_content("clone")
        self.fails(USAGE, "--new-identity says", "clone", self.image_name, "other")
        self.assertFalse(Path(self.path("other")).exists())

    def test_copy_has_the_keys_of_the_source_or_new_ones(self):
        self.tool("copy", *NEW_KEY, self.image_name, "sealed")
        self.assertNotIn(NEW, self.content("sealed"))
        self.expect_content("sealed", *KEYED)
        self.tool("copy", *KEYED, "sealed", "same")
        self.expect_content("same", *KEYED)
        of = {name: self.info(name, *KEYED)["encryption"]["key-commitment"]
              for name in ("sealed", "same")}
        self.assertEqual(of["sealed"], of["same"])
        self.tool("copy", *KEYED, "--new-key-secret=sec0", "--new-key-iter-time=1", "sealed",
                  "anew")
        self.expect_content("anew", *KEYED)
        self.assertNotEqual(self.info("anew", *KEYED)["encryption"]["key-commitment"],
                            of["sealed"])
        self.tool("copy", *KEYED, "--unencrypted", "sealed", "plain")
        self.expect_content("plain")

    def test_clone_of_an_encrypted_store_wants_a_key(self):
        self.tool("copy", *NEW_KEY, self.image_name, "sealed")
        self.fails(USAGE, "good for its uuid only", "clone", "--new-identity", *KEYED, "sealed",
                   "clone")
        self.fails(USAGE, "exclude each other", "clone", "--new-identity", *KEYED,
                   "--new-key-secret=sec0", "--unencrypted", "sealed", "clone")
        self.fails(KEY, "no key was given", "copy", "sealed", "copy")
        self.tool("clone", "--new-identity", *KEYED, "--new-key-secret=sec0",
                  "--new-key-iter-time=1", "sealed", "clone")
        self.expect_content("clone", *KEYED)

    def test_nothing_is_overwritten(self):
        self.tool("create", "--required=512k", "store")
        Path(self.path("data")).write_bytes(bytes(400000) + b"something" + bytes(200000))
        Path(self.path("small")).write_bytes(bytes(65536))
        for target, says in (("store", "store: there is a store in the image already"),
                             ("data", "data: medium is not a blobstore and not blank"),
                             ("small", "medium is too small")):
            before = self.content(target)
            self.fails(ERROR, says, "copy", self.image_name, target)
            self.assertEqual(self.content(target), before)
        self.fails(IN_USE, "lock", "copy", self.image_name, self.image_name)

    def test_store_with_a_damaged_blob_is_refused(self):
        self.damage(OTHER)
        self.fails(DAMAGED, "blob 'dev/other' is damaged", "copy", self.image_name, "copy")
        self.assertEqual(self.content("copy"), bytes(512 << 10))

    def test_copy_that_is_killed_is_whole_or_no_store(self):
        begin = time.monotonic()
        self.tool("copy", self.image_name, "copy")
        seconds = time.monotonic() - begin
        for n in range(KILLS):
            Path(self.path("copy")).unlink(missing_ok=True)
            with subprocess.Popen(self.words("copy", self.image_name, "copy"), cwd=self.directory,
                                  stdout=subprocess.DEVNULL) as tool:
                time.sleep((n + self.random.random()) / KILLS * seconds)
                tool.kill()
            if not Path(self.path("copy")).exists():
                continue
            done = self.run_tool("info", "copy")
            if done.returncode == OK:
                # One copy of the directory may be missing.
                self.assertEqual(self.run_tool("check", "--repair", "copy").returncode, OK)
                self.expect_content("copy")
            else:
                self.assertIn(done.returncode, (NO_STORE, DAMAGED), done)
            self.expect_content(self.image_name)


class MachineCopyTest(ToolTest):
    def test_tpm_starts_from_a_copy(self):
        """-U copies the store of a VM that runs; without it the image is refused."""
        self.tool("create", "--tpm", self.image_name)
        machine, tpm = self.power_on(*drive(self.image_name, self.image_format), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        expected = state.permanent(tpm)
        done = self.run_tool("copy", self.image_name, "copy.qcow2")
        self.assertEqual(done.returncode, IN_USE, done)
        self.assertFalse(Path(self.path("copy.qcow2")).exists())
        self.tool("copy", "-U", "-O", "qcow2", self.image_name, "copy.qcow2")
        machine.quit()
        machine, tpm = self.power_on(*drive("copy.qcow2", "qcow2"), *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), expected)
        machine.quit()


class RepairTest(StoreTest):
    def check(self, status, *options):
        done = self.run_tool("check", *options, self.image_name)
        self.assertEqual(done.returncode, status, done)
        return done.stdout.decode()

    def test_damaged_copies_are_written_again(self):
        image = bytearray(self.content())
        image[16384 + HEADER] ^= 1
        image[32768 + HEADER] ^= 1
        Path(self.path(self.image_name)).write_bytes(image)
        self.check(HEALS)
        self.assertEqual(self.check(OK, "--repair"), f"{self.image_name}: No errors were found.\n")
        self.expect_content(self.image_name)

    def test_damaged_blob_falls_back_if_it_is_named(self):
        self.damage(NEW)
        for options in (), ("--repair",):
            self.assertRegex(self.check(DAMAGED, *options), r"blob 'dev/data' had a version \d+ of "
                             rf"{len(OLD)} bytes before, to which --repair --fall-back goes back")
        said = self.check(OK, "--repair", "--fall-back=dev/data", "--or-absent")
        self.assertRegex(said, r"^blob 'dev/data': version \d+ is lost; version \d+, of "
                         rf"{len(OLD)} bytes, is current again\n")
        self.assertEqual(self.tool("get", self.image_name, "dev/data"), OLD)
        self.assertEqual(self.tool("get", self.image_name, "dev/other"), OTHER)

    def test_blob_without_an_older_version_is_deleted_if_the_user_says_so(self):
        self.damage(NEW, OLD)
        self.assertIn("no older version is left", self.check(DAMAGED))
        before = self.content()
        done = self.run_tool("check", "--repair", "--fall-back=dev/data", self.image_name)
        self.assertEqual(done.returncode, DAMAGED)
        self.assertIn(b"restore the image from a backup, or delete the blob with --or-absent",
                      done.stderr)
        self.assertEqual(self.content(), before)
        said = self.check(OK, "--repair", "--fall-back=dev/data", "--or-absent")
        self.assertIn("none is left: the blob is deleted", said)
        self.assertEqual(self.run_tool("get", self.image_name, "dev/data").returncode, NO_BLOB)
        self.assertEqual(self.tool("get", self.image_name, "dev/other"), OTHER)

    def test_findings_say_what_is_left_in_json(self):
        self.damage(NEW)
        (image,) = json.loads(self.check(DAMAGED, "--output=json"))
        (finding,) = image["findings"]
        self.assertEqual(finding["older"]["size"], len(OLD))

    def test_bad_requests_change_nothing(self):
        self.fails(ERROR, "is not damaged", "check", "--repair", "--fall-back=dev/other",
                   self.image_name)
        self.damage(NEW)
        for status, says, *options in (
                (USAGE, "belongs to --repair", "--fall-back=dev/data"),
                (USAGE, "belongs to --fall-back", "--repair", "--or-absent"),
                (USAGE, "reading only", "--repair", "-U"),
                (USAGE, "one image at a time", "--repair", "--fall-back=dev/data", "other"),
                (NO_BLOB, "there is no blob 'dev/none'", "--repair", "--fall-back=dev/none"),
                (NO_BLOB, "there is no blob 'data'", "--repair", "--fall-back=data")):
            with self.subTest(options=options):
                self.fails(status, says, "check", *options, self.image_name)


class ResizeTest(StoreTest):
    def test_store_takes_what_the_image_has(self):
        required = self.info(self.image_name)["required"]
        for size, option in ((1 << 20, "1M"), (required, str(required)), (600 << 10, "600k")):
            self.tool("resize", self.image_name, option)
            self.assertEqual(len(self.content()), size)
            self.assertEqual(self.info(self.image_name)["capacity"], size)
            self.expect_content(self.image_name)
        with open(self.path(self.image_name), "r+b") as image:
            image.truncate(2 << 20)
        self.assertEqual(self.info(self.image_name)["capacity"], 600 << 10)
        self.tool("resize", self.image_name)
        self.assertEqual(self.info(self.image_name)["capacity"], 2 << 20)
        self.expect_content(self.image_name)

    def test_too_little_is_refused(self):
        required = self.info(self.image_name)["required"]
        self.fails(ERROR, f"the store needs {required} bytes, and would have {required - 512}",
                   "resize", self.image_name, str(required - 512))
        for size in "0", "x", "-1":
            self.fails(USAGE, "is not a size", "resize", "--", self.image_name, size)

    def test_resize_that_is_killed_loses_nothing(self):
        shutil.copyfile(self.path(self.image_name), self.path("master"))
        for n in range(KILLS):
            shutil.copyfile(self.path("master"), self.path(self.image_name))
            with subprocess.Popen(self.words("resize", self.image_name, ("300k", "1M")[n % 2]),
                                  cwd=self.directory, stdout=subprocess.DEVNULL) as tool:
                time.sleep((n + self.random.random()) / KILLS * 0.2)
                tool.kill()
            self.tool("resize", "--take-over", self.image_name, "400k")
            self.expect_content(self.image_name)

    def test_size_is_what_a_store_needs(self):
        sizes = 70000, 5
        options = [f"--blob={size}" for size in sizes]
        required = int(self.run_size(*options))
        self.assertEqual(json.loads(self.run_size("--output=json", *options)),
                         {"required": required})
        self.tool("create", f"--required={required}", "exact")
        for n, size in enumerate(sizes):
            self.tool("put", f"--max-size={size}", "exact", f"dev/{n}", content=b"x")
        self.assertEqual(self.info("exact")["required"], required)
        self.tool("create", "--tpm", "tpm")
        self.assertEqual(int(self.run_size("--tpm")), len(self.content("tpm")))
        self.assertEqual(int(self.run_size("--tpm", "--required=8M")), 8 << 20)

    def run_size(self, *options):
        return subprocess.run([program("QEMU_BLOBSTORE"), "size", *options],
                              stdout=subprocess.PIPE, check=True, timeout=60).stdout


class MapTest(StoreTest):
    def regions(self):
        return json.loads(self.tool("map", "--output=json", self.image_name))

    def test_regions_cover_the_image(self):
        regions = self.regions()
        self.assertEqual(sum(region["bytes"] for region in regions), len(self.content()))
        for region, after in zip(regions, regions[1:]):
            self.assertEqual(region["offset"] + region["bytes"], after["offset"])
        (current,) = (region for region in regions
                      if region.get("blob") == "dev/data" and region["current"])
        at = self.content().find(NEW)
        self.assertTrue(current["offset"] < at < current["offset"] + current["used"])
        table = self.tool("map", self.image_name).decode().splitlines()
        self.assertEqual(len(table), 1 + len(regions))
        self.assertRegex(table[-1], r"^ +\d+ +\d+ +0  free$")

    def test_space_that_is_not_the_stores_is_shown(self):
        with open(self.path(self.image_name), "r+b") as image:
            image.truncate(1 << 20)
        self.assertEqual([region["kind"] for region in self.regions()][-2:], ["free", "outside"])

    def test_picture_is_drawn_to_scale(self):
        """Each region takes as much of the picture as of the image, and has its name there."""
        with open(self.path(self.image_name), "r+b") as image:
            image.truncate(6 << 20)
        self.tool("put", "--max-size=1M", self.image_name, "dev/<&>", content=b"x" * 300000)
        picture = ET.fromstring(self.tool("map", "--output=svg", self.image_name))
        groups = picture.findall(f"{SVG}g")
        regions = self.regions()
        self.assertEqual(len(groups), len(regions))
        note = next(text.text for text in picture.iter(f"{SVG}text") if "one pixel" in text.text)
        scale = int(re.search(r"one pixel of it (\d+) bytes", note).group(1))
        for group, region in zip(groups, regions):
            drawn = sum(float(rect.get("width")) for rect in group.findall(f"{SVG}rect")
                        if rect.get("fill") != "#fff")
            self.assertAlmostEqual(drawn * scale, region["bytes"], delta=scale)
            self.assertIn(region.get("blob", region["kind"]), group.find(f"{SVG}title").text)
        names = {text.text for text in picture.iter(f"{SVG}text") if text.get("class") == "name"}
        self.assertEqual(names, {region.get("blob", region["kind"]) for region in regions})


if __name__ == "__main__":
    unittest.main()
