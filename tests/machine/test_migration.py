# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM moves to another QEMU with its VM."""

import unittest
from pathlib import Path

import pytest

import state
import tpm12
import tpm2
from acpi import suspend, wake_up
from case import EFFORT, TPM12, TPM2, TPM2_CRB, drive, say_rounds
from migration import MigrationTest
from stalling import StallingStorage
from vm import VMError, create_image

RAW = drive("nvram.raw") + TPM2


class SharedStorageTest(MigrationTest):
    """Both QEMUs use the same image."""

    def check_everything_moves(self, *args, **capabilities):
        source, tpm = self.power_on(*args)
        session = state.make(tpm)
        before = state.all(tpm, session)
        destination, moved = self.incoming(*args, **capabilities)
        self.migrate(source, destination, **capabilities)
        self.assertEqual(destination.store()["state"], "active")
        self.assertEqual(state.all(moved, session), before)
        self.assertEqual(destination.events("BLOBSTORE_STALE"), [])
        source.kill()

        # The state is stored where the next process finds it.
        state.change_permanent(moved, 1)
        permanent = state.permanent(moved)
        destination.kill()
        machine, tpm = self.power_on(*args)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), permanent)
        machine.kill()

    def check_every_tpm_moves(self, **capabilities):
        for image_format in "raw", "qcow2":
            for model in TPM2, TPM2_CRB:
                with self.subTest(image_format=image_format, model=model):
                    self.check_everything_moves(*drive(self.image(image_format), image_format),
                                                *model, **capabilities)

    def test_everything_moves(self):
        self.check_every_tpm_moves()

    def test_everything_moves_after_a_pause_before_the_switch(self):
        self.check_every_tpm_moves(pause_before_switchover=True)

    def test_everything_moves_through_several_channels(self):
        self.check_every_tpm_moves(multifd=True)

    def test_everything_moves_through_several_channels_after_a_pause(self):
        self.check_every_tpm_moves(multifd=True, pause_before_switchover=True)

    def test_everything_moves_with_postcopy(self):
        self.check_every_tpm_moves(postcopy_ram=True)

    def test_everything_moves_with_postcopy_after_a_pause(self):
        self.check_every_tpm_moves(postcopy_ram=True, pause_before_switchover=True)

    def test_everything_moves_of_a_store_with_a_name(self):
        self.check_everything_moves(*drive(self.image()), "-object",
                                    "blobstore,id=store,drive=nvram,create=auto", "-device",
                                    "tpm-tis,blobstore=store")

    def test_what_is_stored_before_the_switch_is_there_after_it(self):
        self.image()
        source, tpm = self.power_on(*RAW)
        session = state.make(tpm)
        destination, moved = self.incoming(*RAW)
        self.slow_down(source)
        self.start_migration(source, destination, pause_before_switchover=True)
        self.wait_migration(source, ["active"])
        state.change_permanent(tpm, 1)
        state.change_volatile(tpm, session, 1)
        before = state.all(tpm, session)
        self.speed_up(source)
        self.wait_migration(source, ["pre-switchover"])
        self.resume(source)
        self.finish_migration(source, destination)
        self.assertEqual(state.all(moved, session), before)
        self.assertEqual(destination.events("BLOBSTORE_STALE"), [])

    def test_everything_of_a_tpm12_moves(self):
        args = drive(self.image()) + TPM12
        source, tpm = self.power_on(*args)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.nv_define(1))
        tpm.run(tpm12.nv_write(1, b"unlikely"))
        tpm.run(tpm12.extend(10, bytes(range(20))))
        pcr = tpm.run(tpm12.pcr_read(10))
        destination, moved = self.incoming(*args)
        self.migrate(source, destination)
        self.assertEqual(moved.run(tpm12.pcr_read(10)), pcr)
        self.assertEqual(moved.run(tpm12.nv_read(1)), b"unlikely")

    def move_asleep(self, source, destination):
        """A machine that is suspended to RAM moves, and wakes up at the destination."""
        suspend(source)
        self.start_migration(source, destination)
        self.assertEqual(self.wait_migration(source), "completed")
        self.wait_status(destination, "suspended")
        wake_up(destination)
        self.assertEqual(destination.status, "running")

    def test_sleeping_tpm2_keeps_its_pcrs(self):
        args = ["-M", "q35", *drive(self.image()), *TPM2]
        source, tpm = self.power_on(*args)
        session = state.make(tpm)
        permanent, pcr = state.permanent(tpm), tpm.run(tpm2.pcr_read(7))
        tpm.run(tpm2.flush_context(session))
        tpm.run(tpm2.shutdown(tpm2.STATE))
        destination, moved = self.incoming(*args)
        self.move_asleep(source, destination)
        moved.run(tpm2.startup(tpm2.STATE))
        self.assertEqual(moved.run(tpm2.pcr_read(7)), pcr)
        self.assertEqual(state.permanent(moved), permanent)
        self.assertEqual(destination.events("BLOBSTORE_STALE"), [])

    def test_sleeping_tpm12_takes_its_savestate_along(self):
        """The TPM has consumed the saved state at the destination."""
        args = ["-M", "q35", *drive(self.image()), *TPM12]
        source, tpm = self.power_on(*args)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.extend(10, bytes(range(20))))
        pcr = tpm.run(tpm12.pcr_read(10))
        tpm.run(tpm12.save_state())
        destination, moved = self.incoming(*args)
        self.move_asleep(source, destination)
        self.assertTrue(destination.blob("savestate")["present"])
        moved.run(tpm12.startup(tpm12.STATE))
        self.assertEqual(moved.run(tpm12.pcr_read(10)), pcr)
        self.assertFalse(destination.blob("savestate")["present"])
        source.kill()
        destination.kill()
        machine, tpm = self.power_on(*args)
        self.assertFalse(machine.blob("savestate")["present"])
        self.assertNotEqual(tpm.result(tpm12.startup(tpm12.STATE)), 0)

    def test_tpm12_that_was_about_to_sleep_moves_with_its_savestate(self):
        args = drive(self.image()) + TPM12
        source, tpm = self.power_on(*args)
        tpm.run(tpm12.startup())
        tpm.run(tpm12.extend(10, bytes(range(20))))
        pcr = tpm.run(tpm12.pcr_read(10))
        tpm.run(tpm12.save_state())
        destination, moved = self.incoming(*args)
        self.migrate(source, destination)
        self.assertTrue(destination.blob("savestate")["present"])
        destination.qmp("system_reset")
        destination.wait_event("RESET")
        moved.run(tpm12.startup(tpm12.STATE))
        self.assertEqual(moved.run(tpm12.pcr_read(10)), pcr)

    def check_command_in_flight_completes_once(self, model):
        """One TPM waits for its storage when the VM stops, the other one computes."""
        storage = StallingStorage(self, self.image(), "raw")
        args = storage.drive + model
        source, tpm = self.power_on(*args)
        session = state.make(tpm)
        expected = state.all(tpm, session)
        for number in range(1, 6):
            destination, moved = self.incoming(*args)
            self.slow_down(source)
            self.start_migration(source, destination)
            self.wait_until_it_has_looked(destination, source.store()["uuid"])
            stores = number % 2
            if stores:
                storage.stall()
            command = (tpm2.nv_increment(state.COUNTER) if stores
                       else tpm2.create_rsa_key(number))
            tpm.start(command)
            self.speed_up(source)
            self.assertFalse(tpm.is_done())
            if stores:
                storage.go_on_when_it_is_missed(source)
            self.finish_migration(source, destination)
            storage.go_on()
            result = moved.take_over(command)
            if not stores:
                moved.run(tpm2.flush_context(result))
            expected["permanent"]["counter"] += stores
            self.assertEqual(state.all(moved, session), expected)
            self.assertEqual(destination.events("BLOBSTORE_STALE"), [])
            source.kill()
            source, tpm = destination, moved

    def test_command_in_flight_completes_once(self):
        self.check_command_in_flight_completes_once(TPM2)

    def test_command_in_flight_completes_once_behind_a_crb(self):
        self.check_command_in_flight_completes_once(TPM2_CRB)

    def check_nothing_drifts_in_twenty_moves(self, image_format, model):
        args = drive(self.image(image_format), image_format) + model
        machine, tpm = self.power_on(*args)
        session = state.make(tpm)
        for number in range(20 * EFFORT):
            state.change_permanent(tpm, number)
            state.change_volatile(tpm, session, number)
            before = state.all(tpm, session)
            destination, moved = self.incoming(*args)
            self.migrate(machine, destination)
            machine.kill()
            machine, tpm = destination, moved
            self.assertEqual(state.all(tpm, session), before)
            self.assertEqual(machine.events("BLOBSTORE_STALE"), [])
            self.assertEqual(machine.blob("volatile")["slots"], [])
        say_rounds(f"moves without drift on {image_format}", 20 * EFFORT, "all the same")

    @pytest.mark.scaled
    def test_nothing_drifts_in_twenty_moves(self):
        self.check_nothing_drifts_in_twenty_moves("raw", TPM2)

    @pytest.mark.scaled
    def test_nothing_drifts_in_twenty_moves_on_qcow2_behind_a_crb(self):
        self.check_nothing_drifts_in_twenty_moves("qcow2", TPM2_CRB)

    def migrate_to_file(self, source):
        """Returns the stream, and the URI of its file."""
        stream = Path(self.path("stream"))
        self.set_capabilities(source, return_path=False)
        source.qmp("migrate", uri=f"file:{stream}")
        self.assertEqual(self.wait_migration(source), "completed")
        source.kill()
        return stream.read_bytes(), f"file:{stream}"

    def test_volatile_state_is_in_the_stream_and_not_on_the_medium(self):
        self.image()
        source, tpm = self.power_on(*RAW)
        state.make(tpm)
        pcr = tpm.run(tpm2.pcr_read(state.PCRS[0]))
        stream, uri = self.migrate_to_file(source)
        self.assertIn(pcr, stream)
        self.assertNotIn(pcr, Path(self.path("nvram.raw")).read_bytes())
        destination, moved = self.power_on("-incoming", uri, *RAW)
        self.wait_status(destination, "running")
        self.assertEqual(moved.run(tpm2.pcr_read(state.PCRS[0])), pcr)
        self.assertNotIn(pcr, Path(self.path("nvram.raw")).read_bytes())

    def test_store_comes_early_and_its_blobs_before_the_device(self):
        """Each blob is found under its own name."""
        self.image()
        source, _ = self.power_on(*drive("nvram.raw"), "-object", "blobstore,id=st,drive=nvram",
                                  "-device", "tpm-tis,blobstore=st")
        stream, _ = self.migrate_to_file(source)
        # A section's name is followed by the number of the instance, 0.
        places = [stream.index(name + bytes(4)) for name in
                  (b"st/blobstore-identity", b"st/blobstore", b"tpm-tis")]
        self.assertEqual(places, sorted(places))
        self.assertLess(places[0], stream.index(b"pc.ram"))

    def test_stores_are_known_by_their_names(self):
        """The devices are found by name, not in the order in which they are made."""
        self.image()
        stores = [["-object", f"blobstore,id={name},drive={name}"] for name in ("nvram", "other")]
        disk = ["-drive", "if=none,id=other,file=other.raw,format=raw"]
        create_image(self.directory, "raw", name="other")
        source, tpm = self.power_on(*drive("nvram.raw"), *disk, *stores[0], *stores[1], *TPM2)
        session = state.make(tpm)
        before = state.all(tpm, session)
        destination, moved = self.incoming(*disk, *drive("nvram.raw"), *stores[1], *stores[0],
                                           *TPM2)
        self.migrate(source, destination)
        self.assertEqual(state.all(moved, session), before)

    def test_nothing_is_written_before_the_destination_runs(self):
        self.image()
        source, tpm = self.power_on(*RAW)
        state.make(tpm)
        image = Path(self.path("nvram.raw"))
        destination, _ = self.incoming("-S", *RAW)
        self.start_and_pause(source, destination)
        before = image.read_bytes()
        self.resume(source)
        self.assertEqual(self.wait_migration(destination), "completed")
        self.assertEqual(destination.status, "paused")
        self.assertEqual(destination.store()["state"], "inactive")
        self.assertEqual(image.read_bytes(), before)
        destination.qmp("cont")
        self.assertEqual(destination.status, "running")
        self.assertNotEqual(image.read_bytes(), before)

    def test_source_writes_nothing_after_the_switch(self):
        """The medium belongs to the destination, whatever is done to the source."""
        self.image()
        source, tpm = self.power_on(*RAW)
        session = state.make(tpm)
        before = state.all(tpm, session)
        destination, moved = self.incoming(*RAW)
        self.migrate(source, destination)
        image = Path(self.path("nvram.raw"))
        content = image.read_bytes()
        self.assertEqual(source.store()["state"], "inactive")
        source.qmp("system_reset")
        source.wait_event("RESET")
        tpm.run(tpm2.startup())
        state.change_permanent(tpm, 5)
        source.quit()
        self.assertEqual(image.read_bytes(), content)
        self.assertEqual(state.all(moved, session), before)


class SourceStaysTest(MigrationTest):
    """A migration that fails does no harm to the TPM that stays."""

    def setUp(self):
        super().setUp()
        self.image()
        self.source, self.tpm = self.power_on(*RAW)
        self.session = state.make(self.tpm)
        self.state = state.all(self.tpm, self.session)

    def check_source_goes_on(self):
        self.wait_status(self.source, "running")
        self.assertEqual(state.all(self.tpm, self.session), self.state)
        state.change_permanent(self.tpm, 1)
        state.change_volatile(self.tpm, self.session, 1)
        after = state.all(self.tpm, self.session)
        destination, moved = self.incoming(*RAW)
        self.migrate(self.source, destination)
        self.assertEqual(state.all(moved, self.session), after)

    def test_cancelled(self):
        destination, _ = self.incoming(*RAW)
        self.start_and_pause(self.source, destination)
        self.source.qmp("migrate_cancel")
        self.assertEqual(self.wait_migration(self.source), "cancelled")
        destination.kill()
        self.check_source_goes_on()

    def test_destination_dies_at_the_switch(self):
        destination, _ = self.incoming(*RAW)
        self.start_and_pause(self.source, destination)
        destination.kill()
        self.resume(self.source)
        self.assertEqual(self.wait_migration(self.source), "failed")
        self.check_source_goes_on()

    def test_destination_without_a_tpm(self):
        destination, _ = self.incoming(*drive("nvram.raw"))
        self.start_migration(self.source, destination)
        self.assertEqual(self.wait_migration(self.source), "failed")
        self.assertEqual(self.wait_migration(destination), "failed")
        destination.kill()
        self.check_source_goes_on()

    def test_vm_is_handed_back_after_it_ran_at_the_destination(self):
        destination, moved = self.incoming(*RAW)
        self.migrate(self.source, destination)
        state.change_permanent(moved, 5)
        destination.kill()
        self.source.qmp("cont")
        stale = self.source.wait_event("BLOBSTORE_STALE")
        self.assertEqual((stale["found"], stale["blobs"]),
                         ("newer", [{"owner": "tpm", "name": "permanent"}]))
        self.check_source_goes_on()

    def test_vm_is_not_handed_back_while_the_destination_has_the_image(self):
        destination, moved = self.incoming(*RAW)
        self.migrate(self.source, destination)
        with self.assertRaisesRegex(VMError, "lock"):
            self.source.qmp("cont")
        self.assertNotEqual(self.source.status, "running")
        self.assertEqual(state.all(moved, self.session), self.state)
        destination.kill()
        self.source.qmp("cont")
        self.check_source_goes_on()

    def test_vm_is_handed_back_by_a_destination_that_never_ran(self):
        destination, _ = self.incoming("-S", *RAW)
        self.start_migration(self.source, destination)
        self.assertEqual(self.wait_migration(self.source), "completed")
        destination.kill()
        self.source.qmp("cont")
        self.check_source_goes_on()
        self.assertEqual(self.source.events("BLOBSTORE_STALE"), [])

    def test_change_that_could_not_be_written_moves(self):
        """The storage fails at the source only."""
        self.source.kill()
        options = {"driver": "raw", "node-name": "node", "file": "good"}
        source, tpm = self.power_on(
            "-drive", "if=none,id=nvram,driver=raw,node-name=node,werror=stop,"
            "file.driver=file,file.node-name=good,file.filename=nvram.raw", *TPM2)
        tpm.run(tpm2.startup())
        count = state.permanent(tpm)["counter"]
        source.qmp("blockdev-add", driver="blkdebug", node_name="bad", image="good",
                   inject_error=[{"event": "none", "iotype": "write", "errno": 5}])
        source.qmp("blockdev-reopen", options=[{**options, "file": "bad"}])
        command = tpm2.nv_increment(state.COUNTER)
        tpm.start(command)
        self.wait_status(source, "io-error")
        self.assertEqual(source.store()["state"], "dirty")
        destination, moved = self.incoming(*RAW)
        self.start_migration(source, destination)
        self.assertEqual(self.wait_migration(source), "completed")
        self.wait_migration(destination)
        source.kill()
        destination.qmp("cont")
        stale = destination.wait_event("BLOBSTORE_STALE")
        self.assertEqual((stale["found"], stale["blobs"]),
                         ("older", [{"owner": "tpm", "name": "permanent"}]))
        moved.take_over(command)
        self.assertEqual(state.permanent(moved)["counter"], count + 1)
        self.assertEqual(destination.store()["state"], "active")

    def test_paused_vm_moves(self):
        self.source.qmp("stop")
        destination, moved = self.incoming(*RAW)
        self.start_migration(self.source, destination)
        self.assertEqual(self.wait_migration(self.source), "completed")
        self.wait_status(destination, "paused")
        destination.qmp("cont")
        self.assertEqual(state.all(moved, self.session), self.state)


if __name__ == "__main__":
    unittest.main()
