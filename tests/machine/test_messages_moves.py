# SPDX-License-Identifier: GPL-2.0-or-later
"""When a VM does not move or return to a snapshot, QEMU prints what docs/migration.md quotes."""

import socket
import struct
import subprocess
import threading
import unittest
from pathlib import Path

import profiles
import state
import tpm2
from case import TPM12, TPM2, drive
from encryption import (PLAIN, UNSEEN_SNAPSHOTS, EncryptedMigrationTest, min_sequence, new_key,
                        opens_with, store)
from faults import Faults, faulty_drive
from messages import PageTest, Saying, provokes
from migration import MigrationTest
from vm import QMP_TIMEOUT_SECONDS, program

MIGRATION = "migration.md"

ENCRYPTED = store()
OTHER_KEY = store(key=opens_with("sec1"))
OTHER_UUID = "11111111-1111-4111-8111-111111111111"
OTHER = drive("other.raw")
MIB = 1 << 20
DIRECTORY = 32768
KEYS = b"blobstore-identity/keys"


class MigrationPageTest(PageTest, unittest.TestCase):
    page = MIGRATION


class SecondMonitor(threading.Thread):
    """Runs an HMP command again and again, until end() is called."""

    prompt = b"(qemu) "

    def __init__(self, path, command):
        super().__init__()
        self._command = command.encode() + b"\n"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(QMP_TIMEOUT_SECONDS)
        self._socket.connect(path)
        self._end = threading.Event()
        self.said = ""

    def run(self):
        with self._socket:
            while not self._end.is_set():
                self._socket.sendall(self._command)
                answer = b""
                while not answer.endswith(self.prompt):
                    answer += self._socket.recv(65536)
                self.said += answer.decode().replace("\r", "")

    def end(self):
        self._end.set()
        self.join()


class MoveTest(Saying, EncryptedMigrationTest):
    def failing_move(self, source, *args):
        """The output of a destination that the source cannot move its VM to."""
        destination, _ = self.incoming(*args)
        self.start_migration(source, destination)
        self.assertEqual(self.wait_migration(destination), "failed")
        self.assertEqual(self.wait_migration(source), "failed")
        said = self.said_by(destination)
        destination.kill()
        return said

    def load_changed(self, stream, at, mask, *args):
        """The output of a destination that loads a stream with one byte changed."""
        changed = bytearray(stream)
        changed[at] ^= mask
        Path(self.path("stream")).write_bytes(changed)
        machine, _ = self.power_on(*self.drive, *args, "-incoming", "defer")
        self.fail_to_load_stream(machine)
        said = self.said_by(machine)
        machine.kill()
        return said

    def waiting_move(self, source, *args):
        """The output of a destination that has the VM and cannot start it."""
        destination, _ = self.incoming(*args)
        self.start_migration(source, destination)
        self.assertEqual(self.wait_migration(destination), "completed")
        self.wait_status(destination, "io-error")
        said = self.said_by(destination)
        destination.kill()
        source.qmp("cont")
        return said


class PlainMoveTest(MoveTest):
    def setUp(self):
        super().setUp()
        self.source, self.tpm, _ = self.make(*TPM2)

    @provokes(MIGRATION, "holds the store with uuid")
    def test_image_of_another_store(self):
        self.blank_other()
        other, _ = self.power_on(*OTHER, *TPM2)
        other.quit()
        return self.failing_move(self.source, *OTHER, *TPM2)

    @provokes(MIGRATION, "drive 'NAME' is too small")
    def test_small_image(self):
        self.blank_other(MIB)
        return self.failing_move(self.source, *OTHER, *TPM2)

    @provokes(MIGRATION, "holds the state of a TPM")
    def test_other_version_of_tpm(self):
        self.blank_other()
        return self.failing_move(self.source, *OTHER, *TPM12)

    @provokes(MIGRATION, "medium is blank, and no store", "seems blank, but has more than")
    def test_blank_image_that_must_not_become_a_store(self):
        self.blank_other()
        said = self.waiting_move(self.source, *OTHER, "-object",
                                 "blobstore,id=nvram,drive=nvram,create=never", *TPM2)
        self.source.qmp("cont")
        self.blank_other(1025 * MIB)
        return said + self.waiting_move(self.source, *OTHER, *TPM2)

    @provokes(MIGRATION, "not a blobstore and not blank", "both copies of the superblock",
              "both copies of the directory")
    def test_image_that_may_be_anything(self):
        Path(self.path("other.raw")).write_bytes(b"text".ljust(4 * MIB, b"."))
        said = self.waiting_move(self.source, *OTHER, *TPM2)
        self.source.qmp("stop")
        self.copy_to_other()
        self.flip(*range(DIRECTORY + 1300, MIB // 2, 4096), name="other.raw")
        self.source.qmp("cont")
        said += self.waiting_move(self.source, *OTHER, *TPM2)
        self.flip(1320, 16384 + 1320, name="other.raw")
        return said + self.waiting_move(self.source, *OTHER, *TPM2)

    @provokes(MIGRATION, "was not loaded completely")
    def test_stream_without_a_tpm(self):
        self.source.quit()
        source = self.machine(*self.drive)
        source.start()
        self.blank_other()
        return self.waiting_move(source, *OTHER, *TPM2)

    @provokes(MIGRATION, "was newer than the state of the VM")
    def test_source_that_goes_on_after_the_destination_ran(self):
        destination, moved = self.incoming(*self.drive, *TPM2)
        self.migrate(self.source, destination)
        state.change_permanent(moved, 5)
        destination.kill()
        self.source.qmp("cont")
        self.source.wait_event("BLOBSTORE_STALE")
        return self.said_by(self.source)

    @provokes(MIGRATION, "does not support snapshots")
    def test_snapshot_on_a_raw_image(self):
        return self.source.hmp("savevm first").replace("\r", "")


class InactiveTest(MoveTest):
    @provokes(MIGRATION, "is inactive")
    def test_command_that_continues_the_vm_without_its_drives(self):
        """`cont` activates the drives, or says why it cannot; the end of a dump does not."""
        self.drive = faulty_drive(self.image_name)
        machine, tpm, _ = self.make(*TPM2)
        before = self.content()
        machine.qmp("blockdev-set-active", node_name="node", active=False)
        state.change_permanent(tpm, 1)
        machine.qmp("dump-guest-memory", paging=False, protocol=f"file:{self.path('dump')}",
                    begin=0, length=4096)
        self.wait_status(machine, "io-error")
        self.assertEqual(self.content(), before)
        machine.qmp("cont")
        self.assertEqual(machine.store()["state"], "active")
        return self.said_by(machine)


class FlushTest(Saying, MigrationTest):
    image_name = "nvram.qcow2"

    @provokes(MIGRATION, "Error in migration completion")
    def test_source_that_cannot_be_flushed(self):
        self.image("qcow2")
        source, tpm = self.power_on(*faulty_drive("nvram.qcow2", "qcow2", werror="stop"), *TPM2)
        tpm.run(tpm2.startup())
        Faults(source, "qcow2").begin("flush")
        tpm.start(tpm2.nv_define(state.INDEX))
        self.wait_status(source, "io-error")
        destination, _ = self.incoming(*drive("nvram.qcow2", "qcow2"), *TPM2)
        self.start_migration(source, destination)
        self.assertEqual(self.wait_migration(source), "failed")
        return f"{self.said_by(source)}{source.qmp('query-migrate').get('error-desc')}\n"


class ForgedStreamTest(MoveTest):
    """Somebody has changed a stream in a file."""

    def setUp(self):
        super().setUp()
        self.source, _, _ = self.make(*PLAIN)
        self.info = self.source.store()
        self.set_capabilities(self.source, return_path=False)
        self.stream = self.save_stream(self.source)
        self.source.kill()

    def load(self, at, data):
        """The output for the stream with other bytes at a place."""
        forged = bytearray(self.stream)
        forged[at:at + len(data)] = data
        Path(self.path("stream")).write_bytes(forged)
        machine, _ = self.power_on(*self.drive, *PLAIN, "-incoming", "defer")
        self.set_capabilities(machine, return_path=False)
        before = self.content()
        self.fail_to_load_stream(machine)
        self.assertEqual(self.content(), before)
        said = self.said_by(machine)
        machine.kill()
        return said

    def announced(self):
        """The place of the permanent blob's kind in the stream; the maximum size follows."""
        name = b"tpm".ljust(64, b"\0") + b"permanent".ljust(64, b"\0")
        return self.stream.index(name) + len(name)

    @provokes(MIGRATION, "is of another kind here", "may have BYTES bytes", "Input validation")
    def test_blob_that_is_announced_otherwise(self):
        kind = self.announced()
        size, = struct.unpack_from(">Q", self.stream, kind + 1)
        return (self.load(kind, b"\1") + self.load(kind, b"\x7f") +
                self.load(kind + 1, struct.pack(">Q", size + 1)))

    @provokes(MIGRATION, "no device here uses it", "but not at the source")
    def test_blob_with_another_name(self):
        name = self.announced() - 64
        return self.load(name, b"P") + self.load(name, b"q")

    def metadata(self):
        """The place of the permanent blob's metadata in the first section, and their size."""
        size, = struct.unpack_from(">I", self.stream, self.announced() + 1 + 8)
        return self.stream.index(b"tpm-version="), size

    @provokes(MIGRATION, "metadata of blob")
    def test_blob_with_metadata_that_cannot_be(self):
        return self.load(self.metadata()[0], b"=")

    @provokes(MIGRATION, "has profile 'NAME' and was stored by", "has state format level")
    def test_state_of_a_newer_libtpms(self):
        place, size = self.metadata()
        return (self.load(place, profiles.notes(size, profile="other")) +
                self.load(place, profiles.notes(size, level=1000)))

    @provokes(MIGRATION, "the source has format version")
    def test_newer_format(self):
        uuid = bytes.fromhex(self.info["uuid"].replace("-", ""))
        return self.load(self.stream.index(uuid) + len(uuid), struct.pack(">I", 2))

    def first_section(self):
        """Where it begins and ends."""
        begin = self.stream.index(b"/blobstore-identity") - len("bs") - 6
        footer = b"\x7e" + self.stream[begin + 1:begin + 5]
        return begin, self.stream.index(footer, begin) + len(footer)

    @provokes(MIGRATION, "more than once which store")
    def test_first_section_twice(self):
        begin, end = self.first_section()
        self.stream = self.stream[:end] + self.stream[begin:]
        return self.load(0, b"")

    @provokes(MIGRATION, "does not say which store")
    def test_no_first_section(self):
        begin, end = self.first_section()
        self.stream = self.stream[:begin] + self.stream[end:]
        return self.load(0, b"")

    @provokes(MIGRATION, "in the stream is too high", "at the end of the stream does not follow")
    def test_sequence_that_cannot_be(self):
        epoch = bytes.fromhex(self.info["epoch-id"])
        first = self.stream.index(epoch)
        at = self.stream.index(epoch, first + 1) - 8
        return self.load(at, b"\xff" * 8) + self.load(at, bytes(8))


class EncryptedMoveTest(MoveTest):
    def setUp(self):
        super().setUp()
        self.source, self.tpm, _ = self.make(*ENCRYPTED)

    @provokes(MIGRATION, "are being changed")
    def test_keys_that_are_being_changed(self):
        self.source.quit()
        path = self.path("monitor")
        source, _ = self.start(*ENCRYPTED, "-monitor", f"unix:{path},server=on,wait=off")
        monitor = SecondMonitor(path, "savevm first")
        monitor.start()
        try:
            source.qmp("blobstore-key-add", id="bs", type="passphrase", new_secret="sec1",
                       iter_time=500)
        finally:
            monitor.end()
        return monitor.said

    @provokes(MIGRATION, "and no key was given here", "the key is wrong",
              "the stream is of the store with uuid", "key-commitment= says",
              "which does not follow min-sequence")
    def test_options_that_do_not_fit(self):
        self.blank_other()
        info = self.source.store()
        seen = min_sequence(info["sequence"] + (1 << 32), info["epoch-id"])
        return "".join(self.failing_move(self.source, *OTHER, *args) for args in (
            PLAIN, OTHER_KEY, store(f"uuid={OTHER_UUID}"), store(f"key-commitment={'00' * 32}"),
            store(seen)))

    @provokes(MIGRATION, "a store that is encrypted", "and a key was given here",
              "a store that is not encrypted", "encrypted with another data key than at")
    def test_copies_from_before_a_conversion(self):
        self.copy_to_other()
        self.run_command(self.source, "blobstore-decrypt", id="bs")
        said = self.failing_move(self.source, *OTHER, *PLAIN)
        said += self.failing_move(self.source, *OTHER, *ENCRYPTED)
        self.copy_to_other()
        self.run_command(self.source, "blobstore-encrypt", id="bs", **new_key("sec0"))
        said += self.failing_move(self.source, *OTHER, *ENCRYPTED)
        self.copy_to_other()
        self.run_command(self.source, "blobstore-rekey", id="bs", **new_key("sec0"))
        return said + self.failing_move(self.source, *OTHER, *ENCRYPTED)

    @provokes(MIGRATION, "in the stream was not written with the key",
              "what the stream says of the store", "or for another beginning")
    def test_stream_that_was_changed(self):
        stream = self.save_stream(self.source)
        name = stream.rindex(b"permanent\0")
        keys = stream.index(KEYS) + len(KEYS)
        return "".join(self.load_changed(stream, at, 1, *ENCRYPTED) for at in (
            name + 64 + 1 + 12 + 7, keys + 4 + 32 + 7 * 1024, name - 64 - 4 - 16 - 1))


class EncryptedSnapshotTest(MoveTest):
    image_format = "qcow2"

    def load_after_each_change(self, *drive_):
        """What QEMU says, if each time the snapshot is from before a change of the key."""
        self.drive = list(drive_) or self.drive
        machine, _, _ = self.make(*ENCRYPTED)

        def load_after(name, command, **arguments):
            machine.savevm(name)
            self.run_command(machine, f"blobstore-{command}", id="bs", **arguments)
            said = machine.hmp(f"loadvm {name}")
            machine.qmp("system_reset")
            machine.qmp("cont")
            self.wait_status(machine, "running")
            return said

        key = new_key("sec0")
        said = [load_after("rekey", "rekey", **key), load_after("decrypt", "decrypt"),
                load_after("encrypt", "encrypt", **key)]
        return "".join(said).replace("\r", "") + self.said_by(machine)

    @provokes(MIGRATION, "and now it is not", "is not encrypted, and now", "has another data key")
    def test_snapshots_from_before_a_conversion(self):
        return self.load_after_each_change()

    @provokes(MIGRATION, "saved when the store was encrypted", "saved when the store was not",
              "rekeyed after that state was saved", "cannot see whether snapshot")
    def test_snapshots_that_qemu_cannot_look_into(self):
        return self.load_after_each_change(*UNSEEN_SNAPSHOTS)

    @provokes(MIGRATION, "holds another store, with uuid", "is saved in drive")
    def test_snapshot_of_another_store(self):
        machine, _, _ = self.make(*PLAIN)
        said = machine.hmp("savevm old")
        machine.quit()
        subprocess.run([program("QEMU_IO"), "-c", "write -z 0 4M", self.image_name],
                       cwd=self.directory, check=True, stdout=subprocess.DEVNULL)
        machine, _ = self.start(*PLAIN)
        return (said + machine.hmp("loadvm old")).replace("\r", "")


if __name__ == "__main__":
    unittest.main()
