# SPDX-License-Identifier: GPL-2.0-or-later
"""Which drives a TPM can live on: its state survives there, or the drive is refused.

docs/drives.md lists what these tests cover.
"""

import os
import subprocess
import time
import unittest

import state
import tpm2
from case import TPM2, MachineTest
from tis import TIS
from vm import VMError, program, qemu_nbd

SIZE = "4M"
SECRET = ["--object", "secret,id=secret,data=unlikely"]


class DriveTest(MachineTest):
    image_name = "nvram.img"

    def create(self, image_format="raw", name="nvram.img", *options, size=SIZE):
        subprocess.run([program("QEMU_IMG"), "create", "-q", "-f", image_format, *options, name,
                        size], cwd=self.directory, check=True)

    def start(self, *args):
        machine = self.machine(*args, *TPM2)
        machine.start()
        tpm = TIS(machine)
        tpm.run(tpm2.startup())
        return machine, tpm

    def check_persistence(self, *args, durable=True):
        """Acknowledged state survives the end of QEMU, and a kill."""
        machine, tpm = self.start(*args)
        self.assertEqual(machine.store()["durable"], durable)
        state.make_permanent(tpm)
        expected = state.permanent(tpm)
        machine.quit()
        for number in range(2):
            machine, tpm = self.start(*args)
            self.assertEqual(machine.store()["state"], "active")
            self.assertEqual(state.permanent(tpm), expected)
            state.change_permanent(tpm, number)
            expected = state.permanent(tpm)
            machine.kill()
        return expected

    def check_refused(self, *args, says):
        self.check_machine_refused(*args, *TPM2, says=says)

    def check_drive(self, **options):
        """Use a drive with options; underscores in their names stand for dashes."""
        self.create(options.get("format", "raw"))
        self.check_persistence(*drive(**options))


def drive(**options):
    options = {"file": "nvram.img", "format": "raw", **options}
    words = [f"{name.replace('_', '-')}={value}" for name, value in options.items()]
    return ["-drive", ",".join(["if=none,id=nvram", *words])]


class CacheTest(DriveTest):
    def check_direct(self, **options):
        self.need(aio=options.get("aio", "threads"))
        self.check_drive(**options)

    def test_cache_writeback(self):
        self.check_drive(cache="writeback")

    def test_cache_writethrough(self):
        self.check_drive(cache="writethrough")

    def test_cache_none(self):
        self.check_direct(cache="none")
        os.unlink(self.path("nvram.img"))
        self.check_direct(cache="none", format="qcow2")

    def test_cache_directsync(self):
        self.check_direct(cache="directsync")

    def test_cache_unsafe_is_said_to_be_not_durable(self):
        self.create()
        self.check_persistence(*drive(cache="unsafe"), durable=False)

    def test_aio_threads(self):
        self.check_drive(aio="threads")

    def test_aio_io_uring(self):
        self.need(aio="io_uring")
        self.check_drive(aio="io_uring")
        os.unlink(self.path("nvram.img"))
        self.check_direct(aio="io_uring", cache="none", format="qcow2")

    def test_aio_native(self):
        self.check_direct(aio="native", cache="none")

    def test_aio_native_needs_a_direct_cache(self):
        self.create()
        self.check_refused(*drive(aio="native"), says="aio=native was specified, but it requires"
                           " cache.direct=on")


class FormatTest(DriveTest):
    def check_qcow2(self, *options, **drive_options):
        self.create("qcow2", "nvram.img", *(word for option in options for word in ("-o", option)))
        self.check_persistence(*drive(format="qcow2", **drive_options))

    def test_qcow2_of_any_cluster_size(self):
        for size in "512", "4k", "2M":
            with self.subTest(size):
                self.check_qcow2(f"cluster_size={size}")

    def test_qcow2_with_other_metadata(self):
        for options in (["extended_l2=on", "cluster_size=128k"], ["lazy_refcounts=on"],
                        ["preallocation=metadata"], ["preallocation=falloc"],
                        ["compat=0.10"], ["data_file=nvram.data", "data_file_raw=on"]):
            with self.subTest(options):
                self.check_qcow2(*options)

    def test_qcow2_with_a_backing_file_has_its_tpm(self):
        """The TPM does not change the backing file."""
        self.create(name="base.img")
        base = drive(file="base.img")
        before = self.check_persistence(*base)
        self.create("qcow2", "nvram.img", "-F", "raw", "-b", "base.img")
        machine, tpm = self.start(*drive(format="qcow2"))
        self.assertEqual(state.permanent(tpm), before)
        state.change_permanent(tpm, 7)
        after = state.permanent(tpm)
        machine.quit()
        machine, tpm = self.start(*drive(format="qcow2"))
        self.assertEqual(state.permanent(tpm), after)
        machine.quit()
        machine, tpm = self.start(*base)
        self.assertEqual(state.permanent(tpm), before)

    def test_zeroes_may_be_detected_and_discarded(self):
        self.check_qcow2(detect_zeroes="unmap", discard="unmap")

    def check_has_to_be_blanked(self, drive, image):
        """The command that the message names makes the image usable."""
        self.check_refused(*SECRET, *drive, says="qemu-io --object secret,id=sec0,file=... -c"
                           f" 'write -z 0 4194304' --image-opts '{image}'")
        subprocess.run([program("QEMU_IO"), "--object", "secret,id=sec0,data=unlikely",
                        "-c", "write -z 0 4194304", "--image-opts", image],
                       cwd=self.directory, check=True, stdout=subprocess.DEVNULL)
        self.check_persistence(*SECRET, *drive)

    def test_fresh_luks(self):
        self.create("luks", "nvram.img", *SECRET, "-o", "key-secret=secret,iter-time=10")
        self.check_has_to_be_blanked(drive(format="luks", key_secret="secret"),
                                     "driver=luks,key-secret=sec0,file.filename=nvram.img")

    def test_fresh_encrypted_qcow2_with_its_space_allocated(self):
        self.create("qcow2", "nvram.img", *SECRET, "-o", "preallocation=metadata,encrypt.format="
                    "luks,encrypt.key-secret=secret,encrypt.iter-time=10")
        self.check_has_to_be_blanked(
            ["-drive", "if=none,id=nvram,file=nvram.img,format=qcow2,encrypt.format=luks,"
             "encrypt.key-secret=secret"],
            "driver=qcow2,encrypt.key-secret=sec0,file.filename=nvram.img")

    def test_qcow2_encrypted_with_luks(self):
        self.create("qcow2", "nvram.img", *SECRET, "-o", "encrypt.format=luks,"
                    "encrypt.key-secret=secret,encrypt.iter-time=10")
        encrypted = ["-drive", "if=none,id=nvram,file=nvram.img,format=qcow2,"
                     "encrypt.format=luks,encrypt.key-secret=secret"]
        self.check_persistence(*SECRET, *encrypted)
        self.check_refused(*drive(format="qcow2"), says="Parameter 'encrypt.key-secret' is required")


class NBDTest(DriveTest):
    def serve(self, *options):
        """Export the image; returns the arguments of a drive for it."""
        server = subprocess.Popen(
            [qemu_nbd(), "-f", "raw", "-t", "-e", "2", "-k", self.path("socket"), *options,
             "nvram.img"], cwd=self.directory)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        while not os.path.exists(self.path("socket")):
            self.assertIsNone(server.poll())
            time.sleep(0.01)
        return server, drive(file="nbd+unix:///?socket=socket")

    def test_nbd(self):
        self.create()
        _, nbd = self.serve()
        self.check_persistence(*nbd)

    def test_read_only_nbd_is_refused(self):
        self.create()
        _, nbd = self.serve("-r")
        self.check_refused(*nbd, says="read-only|not writable")

    def test_lost_connection_is_an_error_of_the_tpm(self):
        """Acknowledged state is there when the server is back."""
        self.create()
        server, nbd = self.serve()
        machine, tpm = self.start(*nbd)
        state.make_permanent(tpm)
        expected = state.permanent(tpm)
        server.kill()
        server.wait()
        self.assertEqual(tpm.result(tpm2.nv_increment(state.COUNTER)), tpm2.RC_FAILURE)
        machine.kill()
        os.unlink(self.path("socket"))
        _, nbd = self.serve()
        machine, tpm = self.start(*nbd)
        self.assertEqual(state.permanent(tpm), expected)


class DriveOptionTest(DriveTest):
    def test_throttled_drive(self):
        """Commands that write take the time that the throttle requires."""
        self.create()
        throttled = drive(**{"throttling.iops-total": 1000})
        self.check_persistence(*throttled)
        machine, tpm = self.start(*throttled)
        count, start = tpm.run(tpm2.nv_counter(state.COUNTER)), machine.pass_time()
        machine.hmp("block_set_io_throttle nvram 0 0 0 0 0 10")
        for _ in range(10):
            tpm.run(tpm2.nv_increment(state.COUNTER))
        self.assertGreater(machine.pass_time() - start, 500000000)
        self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), count + 10)

    def test_snapshot_option_keeps_the_image_as_it_was(self):
        self.create()
        expected = self.check_persistence(*drive())
        before = self.content()
        for _ in range(2):
            machine, tpm = self.start("-snapshot", *drive())
            self.assertFalse(machine.store()["durable"])
            self.assertEqual(state.permanent(tpm), expected)
            state.change_permanent(tpm, 7)
            self.assertNotEqual(state.permanent(tpm), expected)
            machine.quit()
            self.assertEqual(self.content(), before)

    def test_copy_on_read(self):
        self.create("qcow2")
        self.check_persistence(*drive(format="qcow2", copy_on_read="on"))

    def test_read_only_drive_is_refused(self):
        self.create()
        self.check_refused(*drive(readonly="on"), says="read-only")

    def test_drive_with_large_units_is_refused(self):
        self.create()
        self.check_refused("-blockdev", "driver=blkdebug,node-name=nvram,align=8192,"
                           "image.driver=file,image.filename=nvram.img",
                           says="written in units of 8192 bytes")


class IOThreadTest(DriveTest):
    def test_iothread_of_a_disk_does_not_disturb(self):
        self.create()
        self.create(name="disk.img")
        self.check_persistence(*drive(), "-object", "iothread,id=thread",
                               "-drive", "if=none,id=disk,file=disk.img,format=raw",
                               "-device", "virtio-blk-pci,drive=disk,iothread=thread")

    def test_drive_does_not_move_to_an_iothread(self):
        self.create()
        machine, tpm = self.start("-object", "iothread,id=thread", "-blockdev",
                                  "driver=raw,node-name=nvram,file.driver=file,"
                                  "file.filename=nvram.img")
        state.make_permanent(tpm)
        for force, says in (False, "could be in use"), (True, "Cannot change iothread"):
            with self.assertRaisesRegex(VMError, says):
                machine.qmp("x-blockdev-set-iothread", node_name="nvram", iothread="thread",
                            force=force)
        state.change_permanent(tpm, 1)
        expected = state.permanent(tpm)
        machine.quit()
        machine, tpm = self.start(*drive())
        self.assertEqual(state.permanent(tpm), expected)

    def test_drive_of_a_disk_is_refused(self):
        self.create()
        self.check_refused(*drive(), "-device", "virtio-blk-pci,drive=nvram", says="in use")


if __name__ == "__main__":
    unittest.main()
