# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM moves with its VM to a QEMU that has storage of its own."""

import errno
import unittest
from pathlib import Path

import state
import tpm12
import tpm2
from case import TPM12, TPM2, TPM2_CRB, drive
from faults import Faults, faulty_drive
from migration import MigrationTest
from vm import create_image

RAW = drive("nvram.raw") + TPM2


class OwnStorageTest(MigrationTest):
    """The destination has an image of its own."""

    other = drive("other.raw") + TPM2

    def setUp(self):
        super().setUp()
        self.image()

    def export(self, machine):
        """Export the destination's drive for writing; returns where."""
        machine.qmp("nbd-server-start",
                    addr={"type": "unix", "data": {"path": self.path("nbd")}})
        machine.qmp("nbd-server-add", device="nvram", writable=True)
        return f"nbd+unix:///nvram?socket={self.path('nbd')}"

    def make_source(self):
        source, tpm = self.power_on(*RAW)
        session = state.make(tpm)
        return source, tpm, session

    def check_stale(self, destination, found, *blobs):
        stale = destination.wait_event("BLOBSTORE_STALE")
        self.assertEqual(stale, {"id": "nvram", "drive": "nvram", "found": found,
                                 "blobs": [{"owner": "tpm", "name": blob} for blob in blobs]})

    def check_moves(self, source, tpm, session, found):
        before = state.all(tpm, session)
        destination, moved = self.incoming(*self.other)
        uuid = source.store()["uuid"]
        self.migrate(source, destination)
        self.check_stale(destination, found, "permanent")
        self.assertEqual(destination.store()["uuid"], uuid)
        self.assertEqual(state.all(moved, session), before)
        return destination, moved

    def check_image(self, args, permanent):
        _, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)

    def test_blank_image_becomes_the_store(self):
        source, tpm, session = self.make_source()
        permanent = state.permanent(tpm)
        self.blank_other()
        destination, _ = self.check_moves(source, tpm, session, "blank")
        destination.kill()
        self.check_image(self.other, permanent)

    def test_blank_image_is_formatted_by_nobody_before_that(self):
        """The destination does not write, even if an export makes the drive writable."""
        for export in False, True:
            with self.subTest(export=export):
                self.blank_other()
                Path(self.path("nvram.raw")).write_bytes(bytes(4 << 20))
                source, _, _ = self.make_source()
                destination, _ = self.incoming(*self.other)
                if export:
                    self.export(destination)
                self.start_and_pause(source, destination)
                destination.qmp("system_reset")
                destination.quit()
                self.assertEqual(Path(self.path("other.raw")).read_bytes(), bytes(4 << 20))
                source.kill()

    def test_stale_image_is_brought_up_to_date(self):
        source, tpm, session = self.make_source()
        self.copy_to_other()
        state.change_permanent(tpm, 7)
        permanent = state.permanent(tpm)
        destination, _ = self.check_moves(source, tpm, session, "older")
        destination.kill()
        self.check_image(self.other, permanent)

    def test_newer_image_is_taken_back_to_the_state_of_the_vm(self):
        """Another QEMU has used the copy meanwhile."""
        source, tpm, session = self.make_source()
        self.copy_to_other()
        other, other_tpm = self.power_on(*self.other)
        other_tpm.run(tpm2.startup())
        state.change_permanent(other_tpm, 8)
        other.kill()
        permanent = state.permanent(tpm)
        destination, _ = self.check_moves(source, tpm, session, "newer")
        destination.kill()
        self.check_image(self.other, permanent)

    def test_qcow2_image_becomes_the_store_too(self):
        """The destination also has another front end."""
        create_image(self.directory, "qcow2", name="other")
        model = TPM2_CRB
        source, tpm = self.power_on(*drive("nvram.raw"), *model)
        session = state.make(tpm)
        self.other = drive("other.qcow2", "qcow2") + model
        permanent = state.permanent(tpm)
        destination, _ = self.check_moves(source, tpm, session, "blank")
        destination.kill()
        self.check_image(self.other, permanent)

    def overwrite(self, offset, data):
        with open(self.path("other.raw"), "r+b") as image:
            image.seek(offset)
            image.write(data)

    def damage(self, offset):
        """Change a byte, whatever its value: one that is drawn may be any."""
        with open(self.path("other.raw"), "r+b") as image:
            image.seek(offset)
            byte = image.read(1)[0]
            image.seek(offset)
            image.write(bytes([byte ^ 0xff]))

    def check_is_cured(self, source, tpm, session):
        permanent = state.permanent(tpm)
        destination, _ = self.check_moves(source, tpm, session, "damaged")
        destination.kill()
        self.check_image(self.other, permanent)

    def test_damaged_blob_is_replaced_by_what_comes(self):
        source, tpm, _ = self.make_source()
        tpm.run(tpm2.shutdown())        # so that the host stores nothing more
        slot, = [slot for slot in source.blob("permanent")["slots"] if slot["current"]]
        source.quit()
        self.copy_to_other()
        self.damage(slot["offset"] + 2000)
        source, tpm = self.power_on(*RAW)
        tpm.run(tpm2.startup())
        self.check_is_cured(source, tpm, state.make_volatile(tpm))

    def test_blob_that_a_crash_took_away_is_replaced_by_what_comes(self):
        source, tpm, session = self.make_source()
        self.copy_to_other()
        for slot in source.blob("permanent")["slots"]:
            self.overwrite(slot["offset"], bytes(slot["length"]))
        self.check_is_cured(source, tpm, session)

    def test_way_back_is_open(self):
        machine, tpm, session = self.make_source()
        self.blank_other()
        destination, moved = self.check_moves(machine, tpm, session, "blank")
        machine.kill()
        for number in range(4):
            state.change_permanent(moved, number)
            state.change_volatile(moved, session, number)
            before = state.all(moved, session)
            machine, moved, source = *self.incoming(*(self.other if number % 2 else RAW)), \
                destination
            self.migrate(source, machine)
            self.check_stale(machine, "older", "permanent")
            self.assertEqual(state.all(moved, session), before)
            source.kill()
            destination = machine
        destination.kill()
        self.check_image(self.other, before["permanent"])

    def test_consumed_savestate_does_not_come_back(self):
        args = drive("nvram.raw") + TPM12
        other = drive("other.raw") + TPM12
        source, tpm = self.power_on(*args)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.save_state())
        self.assertTrue(source.blob("savestate")["present"])
        self.copy_to_other()
        tpm.run(tpm12.get_ticks())
        self.assertFalse(source.blob("savestate")["present"])
        destination, _ = self.incoming(*other)
        self.migrate(source, destination)
        self.check_stale(destination, "older", "savestate")
        self.assertFalse(destination.blob("savestate")["present"])
        destination.kill()
        destination, _ = self.power_on(*other)
        self.assertFalse(destination.blob("savestate")["present"])

    def refuse(self, *args, **capabilities):
        """The destination refuses to be one, and leaves its image alone."""
        source, tpm, session = self.make_source()
        before = state.all(tpm, session)
        other = Path(self.path("other.raw"))
        image = other.read_bytes()
        destination, _ = self.incoming(*args, **capabilities)
        self.start_migration(source, destination, **capabilities)
        self.assertEqual(self.wait_migration(destination), "failed")
        said = destination.qemu_log.read_text(encoding="utf-8")
        destination.kill()
        self.assertEqual(other.read_bytes(), image)
        return source, tpm, session, before, said

    def make_other_store(self):
        self.blank_other()
        machine, _ = self.power_on(*self.other)
        uuid = machine.store()["uuid"]
        machine.quit()
        return uuid

    def check_source_runs(self, source, tpm, session, before):
        self.assertEqual(self.wait_migration(source), "failed")
        self.assertEqual(source.events("STOP"), [])
        self.assertEqual(state.all(tpm, session), before)

    def test_different_store_is_refused_while_the_source_runs(self):
        uuid = self.make_other_store()
        *source, said = self.refuse(*self.other)
        self.assertIn(f"drive 'nvram' holds the store with uuid {uuid}, but the source has", said)
        self.check_source_runs(*source)

    def test_different_store_is_refused_without_return_path(self):
        """The source may learn of the refusal too late, but nothing is mixed up."""
        self.make_other_store()
        source, tpm, session, before, said = self.refuse(*self.other, return_path=False)
        self.assertIn("is this the right image?", said)
        self.assertIn(self.wait_migration(source), ["completed", "failed"])
        if source.status != "running":
            source.qmp("cont")
        self.assertEqual(source.status, "running")
        self.assertEqual(state.all(tpm, session), before)

    def test_different_store_is_refused_with_postcopy_while_the_source_runs(self):
        """Postcopy has a return path of its own."""
        self.make_other_store()
        *source, said = self.refuse(*self.other, return_path=False, postcopy_ram=True)
        self.assertIn("is this the right image?", said)
        self.check_source_runs(*source)

    def test_small_image_is_refused_while_the_source_runs(self):
        self.blank_other(1 << 20)
        *source, said = self.refuse(*self.other)
        self.assertRegex(said, "drive 'nvram' is too small: [0-9]+ bytes are needed, it has 1048576")
        self.check_source_runs(*source)

    def test_store_that_was_not_asked_for_is_refused_while_the_source_runs(self):
        self.blank_other()
        *source, said = self.refuse(
            *drive("other.raw"), "-object",
            "blobstore,id=nvram,drive=nvram,uuid=11111111-1111-4111-8111-111111111111",
            "-device", "tpm-tis,blobstore=nvram")
        self.assertIn("11111111-1111-4111-8111-111111111111", said)
        self.check_source_runs(*source)

    def move_to_where_it_waits(self, source, *args, begin=lambda machine: None):
        """The VM arrives, and cannot start."""
        destination, moved = self.incoming(*args)
        begin(destination)
        self.start_migration(source, destination)
        self.assertEqual(self.wait_migration(destination), "completed")
        self.check_still_waits(destination)
        return destination, moved

    def check_still_waits(self, destination):
        self.wait_status(destination, "io-error")
        destination.qmp("cont")
        self.assertEqual(destination.status, "io-error")
        self.assertEqual(destination.events("RESUME"), [])

    def check_does_not_start(self, source, tpm, session, says):
        """The image is not overwritten; the VM can return, and move again."""
        before = state.all(tpm, session)
        image = Path(self.path("other.raw"))
        content = image.read_bytes()
        destination, _ = self.move_to_where_it_waits(source, *self.other)
        self.assertIn(says, destination.qemu_log.read_text(encoding="utf-8"))
        destination.quit()
        self.assertEqual(image.read_bytes(), content)
        source.qmp("cont")
        self.assertEqual(state.all(tpm, session), before)
        self.assertEqual(source.events("BLOBSTORE_STALE"), [])
        self.blank_other()
        self.check_moves(source, tpm, session, "blank")

    def test_vm_does_not_start_on_what_is_no_store(self):
        Path(self.path("other.raw")).write_bytes(b"something else".ljust(4 << 20, b"."))
        self.check_does_not_start(*self.make_source(), "not blank")

    def test_vm_does_not_start_on_what_may_have_been_its_store(self):
        source = self.make_source()
        self.copy_to_other()
        for offset in 32 << 10, 64 << 10:
            self.damage(offset + 1300)
        self.check_does_not_start(*source, "directory")

    def test_vm_does_not_start_without_the_state_of_its_tpm(self):
        source = self.machine(*drive("nvram.raw"))
        source.start()
        self.blank_other()
        destination, _ = self.move_to_where_it_waits(source, *self.other)
        self.assertIn("was not loaded completely",
                      destination.qemu_log.read_text(encoding="utf-8"))
        self.assertEqual(Path(self.path("other.raw")).read_bytes(), bytes(4 << 20))

    def check_waits_for_its_medium(self, access, number):
        source, tpm, session = self.make_source()
        self.copy_to_other()
        state.change_permanent(tpm, 1)
        before = state.all(tpm, session)
        destination, moved = self.move_to_where_it_waits(
            source, *faulty_drive("other.raw"), *TPM2,
            begin=lambda machine: Faults(machine).begin(access, number))
        Faults(destination).end()
        destination.qmp("cont")
        self.assertEqual(destination.status, "running")
        self.check_stale(destination, "older", "permanent")
        self.assertEqual(state.all(moved, session), before)

    def test_vm_waits_for_a_medium_that_cannot_be_written(self):
        self.check_waits_for_its_medium("write", errno.ENOSPC)

    def test_vm_waits_for_a_medium_that_cannot_be_read(self):
        """Nobody can tell that the medium will fail while the source runs."""
        self.check_waits_for_its_medium("read", errno.EIO)

    def test_mirror_over_nbd_just_works(self):
        source, tpm, session = self.make_source()
        self.blank_other()
        destination, moved = self.incoming(*self.other)
        source.qmp("drive-mirror", job_id="mirror", device="nvram", sync="full", mode="existing",
                   format="raw", target=self.export(destination))
        source.wait_event("BLOCK_JOB_READY")
        state.change_permanent(tpm, 3)
        before = state.all(tpm, session)
        self.start_and_pause(source, destination)
        source.qmp("block-job-cancel", device="mirror")
        source.wait_event("BLOCK_JOB_COMPLETED")
        self.resume(source)
        self.finish_migration(source, destination)
        destination.qmp("nbd-server-stop")
        self.assertEqual(state.all(moved, session), before)
        self.assertEqual(destination.events("BLOBSTORE_STALE"), [])
        state.change_permanent(moved, 4)
        permanent = state.permanent(moved)
        destination.kill()
        self.check_image(self.other, permanent)


if __name__ == "__main__":
    unittest.main()
