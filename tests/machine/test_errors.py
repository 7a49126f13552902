# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage that fails for a while under a running TPM, and the effect of the error policy."""

import errno
import os
import unittest

import state
import tpm2
from case import TPM2, drive
from faults import Faults, faulty_drive
from migration import MigrationTest
from tis import TIS


LIMIT_OF_EVENTS = 1000000000        # Nanoseconds from one event to the next, unless the VM stops


class ErrorTest(MigrationTest):
    format = "raw"

    def start(self, **policy):
        """Start a TPM on a drive with such rerror= or werror=, whose storage can be made to fail.
        """
        self.vm = self.machine(*faulty_drive(f"nvram.{self.format}", self.format, **policy), *TPM2)
        self.vm.start()
        self.faults = Faults(self.vm, self.format)
        self.tpm = TIS(self.vm)
        self.tpm.run(tpm2.startup())

    def begin(self, **policy):
        """The same for a new TPM, with a counter."""
        self.image(self.format)
        self.start(**policy)
        state.make_permanent(self.tpm)
        self.count = self.tpm.run(tpm2.nv_counter(state.COUNTER))

    def assert_store_is(self, expected):
        self.assertEqual(self.vm.store()["state"], expected)

    def assert_count_is(self, expected):
        self.assertEqual(self.tpm.run(tpm2.nv_counter(state.COUNTER)), expected)

    def increment(self):
        return self.tpm.result(tpm2.nv_increment(state.COUNTER))

    def increment_until_stop(self):
        """Start to count; the guest gets no answer while the storage fails. Returns the event."""
        self.tpm.start(tpm2.nv_increment(state.COUNTER))
        while not self.tpm.is_done():
            pass
        self.assertEqual(self.vm.status, "io-error")
        self.assert_store_is("dirty")
        return self.vm.wait_event("BLOCK_IO_ERROR")

    def check_next_process_has(self, count):
        self.vm.kill()
        self.start()
        self.assert_count_is(count)


class WriteErrorTest(ErrorTest):
    def test_stop_pauses_and_cont_writes(self):
        for number in errno.EIO, errno.ENOSPC:
            self.begin(werror="stop")
            self.faults.begin("write", number)
            event = self.increment_until_stop()
            self.assertEqual((event["action"], event["operation"], event["nospace"],
                              event["node-name"]),
                             ("stop", "write", number == errno.ENOSPC, "node"))
            self.faults.end()
            self.vm.qmp("cont")
            self.assertEqual(self.vm.status, "running")
            self.assert_store_is("active")
            self.tpm.finish()
            self.assert_count_is(self.count + 1)
            self.check_next_process_has(self.count + 1)
            self.vm.kill()

    def test_stop_keeps_the_change_while_cont_fails(self):
        self.begin(werror="stop")
        self.faults.begin("write")
        self.increment_until_stop()
        for _ in range(3):
            self.vm.qmp("cont")
            self.assertEqual(self.vm.status, "io-error")
            self.assert_store_is("dirty")
        self.assertEqual(self.vm.events("RESUME"), [])
        self.faults.end()
        self.vm.qmp("cont")
        self.assert_store_is("active")
        self.tpm.finish()
        self.check_next_process_has(self.count + 1)

    def test_cont_just_after_the_error_does_not_leave_the_tpm_waiting(self):
        """`cont` takes the stop back before the VM stops: the write is tried again."""
        self.begin(werror="stop")
        for number in range(60):
            self.faults.begin("write", once=True)
            self.tpm.start(tpm2.nv_increment(state.COUNTER))
            self.vm.qmp_in_a_row(["cont"] * 12)
            self.wait_for(lambda: self.tpm.is_done(), [True])
            if self.vm.status == "io-error":
                self.vm.qmp("cont")
            self.tpm.finish()
            self.faults.end()
            self.assert_count_is(self.count + number + 1)
            self.assert_store_is("active")

    def test_event_says_what_could_not_be_written(self):
        self.begin(werror="stop")
        self.faults.begin("write")
        self.increment_until_stop()
        event, = self.vm.events("BLOBSTORE_WRITE_ERROR")
        self.assertRegex(event.pop("error"), "cannot write [0-9]+ bytes at offset [0-9]+: Input/")
        self.assertEqual(event, {"id": "nvram", "drive": "nvram", "operation": "write",
                                 "blobs": [{"owner": "tpm", "name": "permanent"}]})

    def test_events_come_once_a_second(self):
        self.begin(werror="ignore")
        self.faults.begin("write")
        for _ in range(20):
            self.assertEqual(self.increment(), 0)
        self.assertEqual(self.vm.status, "running")
        self.assertEqual(len(self.vm.events("BLOBSTORE_WRITE_ERROR")), 1)
        self.vm.pass_time(LIMIT_OF_EVENTS)
        self.assertEqual(self.vm.status, "running")
        self.assertEqual(len(self.vm.events("BLOBSTORE_WRITE_ERROR")), 2)

    def test_log_has_one_line_until_a_write_works(self):
        self.begin(werror="ignore")

        def warnings():
            return self.vm.qemu_log.read_text(encoding="utf-8").count("is kept in RAM")

        for number in range(1, 4):
            self.faults.begin("write")
            for _ in range(20):
                self.assertEqual(self.increment(), 0)
            self.assertEqual(warnings(), number)
            self.faults.end()
            self.assertEqual(self.increment(), 0)
            self.assert_store_is("active")

    def test_crash_while_paused_loses_only_what_was_not_answered(self):
        self.begin(werror="stop")
        self.faults.begin("write")
        self.increment_until_stop()
        self.check_next_process_has(self.count)

    def test_reset_while_paused_keeps_the_change(self):
        self.begin(werror="stop")
        self.faults.begin("write")
        self.increment_until_stop()
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")
        self.faults.end()
        self.vm.qmp("cont")
        self.assert_store_is("active")
        self.tpm.run(tpm2.startup())
        self.assert_count_is(self.count + 1)
        self.check_next_process_has(self.count + 1)

    def test_quit_while_paused(self):
        self.begin(werror="stop")
        self.faults.begin("write")
        self.increment_until_stop()
        self.vm.quit()
        self.start()
        self.assert_count_is(self.count)

    def test_default_pauses_for_lack_of_space_only(self):
        self.begin()
        for number, says in (errno.ENOSPC, "No space left"), (errno.EDQUOT, "quota exceeded"):
            self.faults.begin("write", number)
            self.assertTrue(self.increment_until_stop()["nospace"])
            self.assertIn(says, self.vm.events("BLOBSTORE_WRITE_ERROR")[-1]["error"])
            self.faults.end()
            self.vm.qmp("cont")
            self.tpm.finish()
            self.vm.pass_time(LIMIT_OF_EVENTS)
        self.faults.begin("write", errno.EIO)
        self.assertEqual(self.increment(), tpm2.RC_FAILURE)
        self.assertEqual(self.vm.status, "running")
        self.assertEqual(self.vm.wait_event("BLOCK_IO_ERROR")["action"], "report")
        self.check_next_process_has(self.count + 2)

    def test_report_fails_the_tpm_until_a_reset_that_can_store(self):
        self.begin(werror="report")
        self.faults.begin("write")
        for _ in range(2):
            self.assertEqual(self.increment(), tpm2.RC_FAILURE)
            self.assert_store_is("active")
            self.vm.qmp("system_reset")
            self.assertEqual(self.tpm.result(tpm2.startup()), tpm2.RC_FAILURE)
        self.faults.end()
        self.assertEqual(self.tpm.result(tpm2.startup()), tpm2.RC_FAILURE)
        self.vm.qmp("system_reset")
        self.tpm.run(tpm2.startup())
        self.assert_count_is(self.count)
        self.assertEqual(self.increment(), 0)
        self.check_next_process_has(self.count + 1)

    def test_guest_that_tries_again_and_again_does_not_fill_the_log(self):
        self.begin(werror="report")
        for number in range(1, 4):
            self.faults.begin("write")
            for _ in range(10):
                self.assertEqual(self.increment(), tpm2.RC_FAILURE)
                self.vm.qmp("system_reset")
                self.assertEqual(self.tpm.result(tpm2.startup()), tpm2.RC_FAILURE)
            log = self.vm.qemu_log.read_text(encoding="utf-8")
            self.assertEqual(log.count("cannot store blob 'tpm/permanent'"), number)
            self.assertEqual(log.count("is not reported again"), number)
            self.faults.end()
            self.vm.qmp("system_reset")
            self.tpm.run(tpm2.startup())
            self.assertEqual(self.increment(), 0)

    def test_ignore_keeps_the_change_until_the_next_one(self):
        self.begin(werror="ignore")
        self.faults.begin("write")
        for number in range(3):
            self.assertEqual(self.increment(), 0)
            self.assertEqual(self.vm.status, "running")
            self.assert_store_is("dirty")
            self.assert_count_is(self.count + 1 + number)
            self.vm.pass_time(LIMIT_OF_EVENTS)
            self.assertEqual(self.vm.wait_event("BLOCK_IO_ERROR")["action"], "ignore")
        self.faults.end()
        self.assertEqual(self.increment(), 0)
        self.assert_store_is("active")
        self.check_next_process_has(self.count + 4)


    def test_paused_vm_writes_it_when_it_quits(self):
        self.begin(werror="ignore")
        self.faults.begin("write")
        self.assertEqual(self.increment(), 0)
        self.vm.qmp("stop")
        self.faults.end()
        self.vm.quit()
        self.assertTrue(self.was_closed_clean())
        self.check_next_process_has(self.count + 1)


class FlushErrorTest(ErrorTest):
    """The image is qcow2, where a commit is a write and a flush."""

    format = "qcow2"

    def test_stop(self):
        self.begin(werror="stop")
        self.faults.begin("flush", once=True)
        self.increment_until_stop()
        self.vm.qmp("cont")
        self.assert_store_is("active")
        self.tpm.finish()
        self.check_next_process_has(self.count + 1)

    def begin_to_fail(self):
        """The kernel may have dropped what it could not flush, so another flush proves nothing."""
        self.begin(werror="stop")
        self.faults.begin("flush")
        self.increment_until_stop()
        self.vm.qmp("cont")
        self.assertEqual(self.vm.status, "io-error")
        self.assert_store_is("dirty")

    def test_change_that_cannot_be_flushed_moves_with_the_drive(self):
        self.begin_to_fail()
        self.assertIn("drive-mirror", self.vm.qemu_log.read_text())
        self.vm.qmp("drive-mirror", job_id="job", device="nvram", sync="full", format="qcow2",
                    target="elsewhere.qcow2")
        self.vm.wait_event("BLOCK_JOB_READY")
        self.vm.qmp("job-complete", id="job")
        self.vm.wait_event("BLOCK_JOB_COMPLETED")
        self.vm.qmp("cont")
        self.assert_store_is("active")
        self.tpm.finish()
        self.assert_count_is(self.count + 1)
        self.vm.kill()
        os.replace(self.path("elsewhere.qcow2"), self.path("nvram.qcow2"))
        self.start()
        self.assert_count_is(self.count + 1)

    def test_vm_whose_drives_cannot_be_flushed_stays(self):
        """QEMU does not migrate a failing drive, whatever its use; the attempt loses nothing."""
        self.begin_to_fail()
        destination, _ = self.incoming(*drive("nvram.qcow2", "qcow2"), *TPM2)
        self.start_migration(self.vm, destination)
        self.assertEqual(self.wait_migration(self.vm), "failed")
        destination.kill()
        self.assertEqual(self.vm.status, "io-error")
        self.assert_store_is("dirty")
        self.vm.kill()
        self.start()
        self.assertIn(self.tpm.run(tpm2.nv_counter(state.COUNTER)), (self.count, self.count + 1))

    def test_direct_cache_can_be_flushed_again(self):
        self.need(aio="threads")
        self.begin(werror="report", **{"file.cache.direct": "on", "cache.direct": "on"})
        self.faults = Faults(self.vm, self.format, direct=True)
        self.faults.begin("flush", once=True)
        self.assertEqual(self.increment(), tpm2.RC_FAILURE)
        self.assertNotIn("drive-mirror", self.vm.qemu_log.read_text())
        self.vm.qmp("system_reset")
        self.tpm.run(tpm2.startup())
        self.assertEqual(self.increment(), 0)
        self.check_next_process_has(self.count + 1)

    def test_report_says_what_can_be_done(self):
        self.begin(werror="report")
        self.faults.begin("flush", once=True)
        self.assertEqual(self.increment(), tpm2.RC_FAILURE)
        self.assertIn("cache.direct=on", self.vm.qemu_log.read_text())


class ReadErrorTest(ErrorTest):
    """The store is read again only after the VM was stopped, when somebody else may have written.
    """

    def test_nothing_is_read_while_the_vm_runs(self):
        self.begin()
        self.faults.begin("read")
        for number in range(1, 6):
            self.assertEqual(self.increment(), 0)
            self.assert_count_is(self.count + number)
            state.permanent(self.tpm)
        self.vm.qmp("system_reset")
        self.tpm.run(tpm2.startup())
        self.assert_count_is(self.count + 5)
        self.assert_store_is("active")

    def stop_and_continue(self, **policy):
        self.begin(**policy)
        self.vm.qmp("stop")
        self.faults.begin("read")
        self.vm.qmp("cont")
        self.assert_count_is(self.count)

    def test_report(self):
        self.stop_and_continue(rerror="report")
        self.assertEqual(self.increment(), tpm2.RC_FAILURE)
        self.assertEqual(self.vm.wait_event("BLOCK_IO_ERROR")["operation"], "read")
        self.faults.end()
        self.vm.qmp("system_reset")
        self.tpm.run(tpm2.startup())
        self.assert_count_is(self.count)
        self.assertEqual(self.increment(), 0)

    def test_stop(self):
        self.stop_and_continue(rerror="stop")
        self.assertEqual(self.increment_until_stop()["operation"], "read")
        self.faults.end()
        self.vm.qmp("cont")
        self.tpm.finish()
        self.assert_store_is("active")
        self.check_next_process_has(self.count + 1)

    def test_ignore(self):
        """Meanwhile, state is stored in RAM, and written when the medium can be read."""
        self.stop_and_continue(rerror="ignore")
        for number in range(1, 3):
            self.assertEqual(self.increment(), 0)
            self.assert_store_is("dirty")
            self.assert_count_is(self.count + number)
        self.assertEqual(self.vm.status, "running")
        self.faults.end()
        self.assertEqual(self.increment(), 0)
        self.assert_store_is("active")
        self.check_next_process_has(self.count + 3)


if __name__ == "__main__":
    unittest.main()
