# SPDX-License-Identifier: GPL-2.0-or-later
"""A flush fails, and the host's page cache goes on showing what never got to the medium.

The medium is a loop device over a file in a tmpfs. A hole in that file cannot be written while the
tmpfs is full; the kernel notices when it writes its pages to the device.
"""

import json
import os
import subprocess

import tpm2
import writelog
from case import TPM2, MachineTest, drive
from frontend import TPMError
from tis import TIS
from vm import VMError, program

COUNTER = 0x01000002
COUNTS = 3
MEDIUM_BYTES = 4 << 20
TMPFS_BYTES = 16 << 20
DROP_NOTHING = {"file.drop-cache": "off"}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class PageCacheTest(MachineTest):
    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest("loop devices and mounts want root")
        self.folder = self.path("tmpfs")
        os.mkdir(self.folder)
        try:
            run("mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", self.folder)
            self.addCleanup(run, "umount", "-l", self.folder)
            self.backing = os.path.join(self.folder, "backing")
            with open(self.backing, "wb") as file:
                file.truncate(MEDIUM_BYTES)
            self.attach()
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            self.skipTest(f"no loop device on a tmpfs: {error}")

    def attach(self):
        self.device = run("losetup", "-f", "--show", self.backing)
        self.addCleanup(subprocess.run, ["losetup", "-d", self.device], check=False,
                        stderr=subprocess.DEVNULL)
        # Linux drops the page cache of a device that nobody has open; that of a file stays.
        self.user = open(self.device, "rb")
        self.addCleanup(self.user.close)

    def fail_power(self):
        """What is in the page cache only is gone."""
        self.user.close()
        run("losetup", "-d", self.device)
        self.attach()

    def fill(self):
        with open(os.path.join(self.folder, "filler"), "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def power_on(self, image_format, **options):
        machine = self.machine(*drive(self.device, image_format, werror="report", **options),
                               *TPM2)
        machine.start()
        return machine

    def start(self, image_format, **options):
        machine = self.power_on(image_format, **options)
        tpm = TIS(machine)
        tpm.run(tpm2.startup())
        return machine, tpm

    def places(self, image_format, offset, length):
        """Where the device has this part of the image: a list of offset and length."""
        found = json.loads(run(program("QEMU_IMG"), "map", "--output=json", "-U", "-f",
                               image_format, self.device))
        end = offset + length
        for part in found:
            start, stop = max(offset, part["start"]), min(end, part["start"] + part["length"])
            if start < stop and part["data"]:
                yield part["offset"] + start - part["start"], stop - start

    def fail_next_commit(self, machine, image_format):
        """The slot that is written next turns into a hole, which nothing can fill."""
        slot, = [slot for slot in machine.blob("permanent")["slots"] if not slot["current"]]
        with open(self.backing, "rb+") as file:
            for offset, length in self.places(image_format, slot["offset"], slot["length"]):
                run("fallocate", "-p", "-o", str(offset), "-l", str(length), file.name)
        self.fill()

    def lose_flush(self, image_format, **options):
        """A count is acknowledged; the next one fails, and is in the page cache only."""
        if image_format != "raw":
            run(program("QEMU_IMG"), "create", "-q", "-f", image_format, self.device, "2M")
        machine, tpm = self.start(image_format, **options)
        tpm.run(tpm2.nv_define(COUNTER, tpm2.NV_COUNTER))
        for _ in range(COUNTS):
            tpm.run(tpm2.nv_increment(COUNTER))
        count = tpm.run(tpm2.nv_counter(COUNTER))
        self.fail_next_commit(machine, image_format)
        with self.assertRaises(TPMError):
            tpm.run(tpm2.nv_increment(COUNTER))
        self.assertIn("cannot write", machine.qemu_log.read_text())
        machine.kill()
        os.unlink(os.path.join(self.folder, "filler"))
        return count

    def check_kept(self, image_format):
        count = self.lose_flush(image_format)
        self.power_on(image_format).kill()
        self.fail_power()
        machine, tpm = self.start(image_format)
        self.assertEqual(tpm.run(tpm2.nv_counter(COUNTER)), count)
        tpm.run(tpm2.nv_increment(COUNTER))
        machine.quit()
        _, tpm = self.start(image_format)
        self.assertEqual(tpm.run(tpm2.nv_counter(COUNTER)), count + 1)

    def test_acknowledged_state_outlives_a_lost_flush_on_raw(self):
        self.check_kept("raw")

    def test_acknowledged_state_outlives_a_lost_flush_on_qcow2(self):
        self.check_kept("qcow2")

    def test_commit_after_a_flush_is_on_the_medium(self):
        """QEMU flushes when the VM stops; the next commit takes a flush all the same."""
        machine, tpm = self.start("raw")
        tpm.run(tpm2.nv_define(COUNTER, tpm2.NV_COUNTER))
        for _ in range(COUNTS):
            tpm.run(tpm2.nv_increment(COUNTER))
        machine.qmp("stop")
        machine.qmp("cont")
        self.fail_next_commit(machine, "raw")
        with self.assertRaises(TPMError):
            tpm.run(tpm2.nv_increment(COUNTER))
        machine.kill()

    def test_page_cache_shows_what_was_lost(self):
        """The tests above are about something: without dropping the cache the TPM is lost."""
        self.lose_flush("raw", **DROP_NOTHING)
        self.power_on("raw", **DROP_NOTHING).kill()
        self.fail_power()
        with self.assertRaisesRegex(VMError, "Restore the image"):
            self.power_on("raw")


class DropTest(MachineTest):
    """The cache is dropped after an unclean end, and only then."""

    def power_on(self, *args):
        machine = self.machine(*args, "-trace", "blobstore_drop_cache", *TPM2)
        machine.start()
        return machine

    def assert_dropped(self, machine, *results):
        said = machine.qemu_log.read_text().splitlines()
        found = [line.split("blobstore_drop_cache ", 1)[1] for line in said
                 if "blobstore_drop_cache " in line and "-trace" not in line]
        self.assertEqual(found, list(results))

    def check(self, image_format, **options):
        args = drive(self.image(image_format), image_format, **options)
        machine = self.power_on(*args)
        self.assert_dropped(machine)
        TIS(machine).run(tpm2.startup())
        machine.quit()
        machine = self.power_on(*args)
        self.assert_dropped(machine)
        machine.kill()
        machine = self.power_on(*args)
        self.assert_dropped(machine, "done")
        self.assertEqual(machine.store()["state"], "active")
        TIS(machine).run(tpm2.startup())
        machine.qmp("stop")
        machine.qmp("cont")
        machine.quit()
        machine = self.power_on(*args)
        self.assert_dropped(machine)

    def test_cache_is_dropped_after_an_unclean_end_on_raw(self):
        self.check("raw")

    def test_cache_is_dropped_after_an_unclean_end_on_qcow2(self):
        self.check("qcow2")

    def test_cache_is_dropped_under_a_throttled_drive(self):
        self.check("qcow2", **{"throttling.iops-total": "1000"})

    def test_what_a_killed_qemu_has_written_is_flushed_before_anything_else(self):
        """QEMU itself leaves out a flush when it has not written."""
        self.image("raw")
        log = self.path("log")
        nodes = ["driver=file,node-name=image,filename=nvram.raw",
                 "driver=file,node-name=log,filename=log",
                 "driver=blklogwrites,node-name=nvram,file=image,log=log"]
        args = [word for node in nodes for word in ("-blockdev", node)]
        for ops in ["kill", "quit"]:
            with open(log, "wb"):
                pass
            machine = self.power_on(*args)
            getattr(machine, ops)()
            with open(log, "wb"):
                pass
            machine = self.power_on(*args)
            machine.kill()
            first, *_ = writelog.read(log)
            self.assertEqual(first.is_flush, ops == "kill")
