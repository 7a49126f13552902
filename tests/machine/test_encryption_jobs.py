# SPDX-License-Identifier: GPL-2.0-or-later
"""A store is encrypted, rekeyed and decrypted by jobs, while QMP and the TPM stay usable."""

import os
import time
import unittest

import state
from encryption import PLAIN, EncryptionTest, new_key, store
from faults import Faults, faulty_drive

ENCRYPTED = store()
IMAGE_BYTES = 96 << 20
FREE_FROM = 4 << 20
SLOW = {**new_key("sec0"), "iter_time": 5000}


class JobTest(EncryptionTest):
    """The free space of the image holds something, so that the job takes a while."""

    image_bytes = IMAGE_BYTES

    def setUp(self):
        super().setUp()
        os.truncate(self.path(self.image_name), self.image_bytes)

    def make(self, *args):
        made = super().make(*args)
        with open(self.path(self.image_name), "r+b") as image:
            image.seek(FREE_FROM)
            image.write(b"o" * (self.image_bytes - FREE_FROM))
        return made

    def begin(self, machine, **options):
        machine.qmp("blobstore-encrypt", job_id="job0", id="bs", **{**new_key("sec0"), **options})

    def job(self, machine):
        job, = machine.qmp("query-jobs")
        return job

    def wait_job(self, machine, done):
        """Wait until `done` is true of the job."""
        deadline = time.monotonic() + 60
        while not done(self.job(machine)):
            self.assertLess(time.monotonic(), deadline)
        return self.job(machine)

    def wait_zeroing(self, machine):
        """Wait until one piece has been zeroed; more are left."""
        job = self.wait_job(machine, lambda job: job["current-progress"] > 0)
        self.assertEqual(job["status"], "running")
        self.assertTrue(machine.store()["encryption"]["converting"])

    def wait_concluded(self, machine):
        return self.wait_job(machine, lambda job: job["status"] == "concluded")

    def dismiss(self, machine):
        machine.qmp("job-dismiss", id="job0")
        self.assertEqual(machine.qmp("query-jobs"), [])


class ProgressTest(JobTest):
    def test_tpm_and_monitor_are_answered_while_it_zeroes(self):
        machine, tpm, _ = self.make(*PLAIN)
        self.begin(machine)
        self.wait_zeroing(machine)
        seen, commands = [], 0
        while self.job(machine)["status"] == "running":
            seen.append(self.job(machine)["current-progress"])
            state.change_permanent(tpm, commands % 2)
            commands += 1
        self.assertEqual(seen, sorted(seen))
        self.assertGreater(len(set(seen)), 3)
        self.assertGreater(commands, 3)
        job = self.wait_concluded(machine)
        self.assertEqual(job["type"], "blobstore-encrypt")
        self.assertNotIn("error", job)
        self.assertEqual(job["current-progress"], job["total-progress"])
        self.assertGreaterEqual(job["total-progress"], IMAGE_BYTES)
        self.assertFalse(machine.store()["encryption"]["converting"])
        self.dismiss(machine)
        expected = state.permanent(tpm)
        machine.quit()
        self.assertFalse(self.readable())
        self.check_holds(expected, *ENCRYPTED)

    def test_what_would_disturb_it_is_refused_till_it_has_ended(self):
        machine, _, _ = self.make(*PLAIN)
        self.begin(machine)
        self.wait_zeroing(machine)
        says = "blobstore 'bs' is being converted by job 'job0'"
        self.check_fails(machine, "blobstore-key-remove", says, id="bs", keyslot=0)
        self.check_fails(machine, "blobstore-key-add", says, id="bs", **new_key("sec1"))
        with self.assertRaisesRegex(Exception, says):
            machine.qmp("blobstore-decrypt", job_id="job1", id="bs")
        self.check_fails(machine, "migrate", "keys of blobstore 'bs' are being changed",
                         uri=f"file:{self.path('stream')}")
        self.assertIn("keys of blobstore 'bs' are being changed", machine.hmp("savevm one"))
        self.assertEqual(self.job(machine)["status"], "running")
        self.wait_concluded(machine)
        self.dismiss(machine)
        self.assertEqual(machine.qmp("blobstore-key-add", id="bs", **new_key("sec1")),
                         {"keyslot": 1})
        machine.qmp("migrate", uri=f"file:{self.path('stream')}")

    def test_it_goes_on_through_stops_and_drained_sections(self):
        machine, tpm, _ = self.make(*PLAIN)
        self.begin(machine)
        self.wait_zeroing(machine)
        for _ in range(3):
            machine.qmp("stop")
            machine.qmp("cont")
            machine.qmp("block_resize", device="nvram", size=IMAGE_BYTES)
        machine.qmp("job-pause", id="job0")
        paused = self.wait_job(machine, lambda job: job["status"] == "paused")
        state.change_permanent(tpm, 1)
        self.assertEqual(self.job(machine), paused)
        machine.qmp("job-resume", id="job0")
        self.assertNotIn("error", self.wait_concluded(machine))
        expected = state.permanent(tpm)
        machine.quit()
        self.assertFalse(self.readable())
        self.check_holds(expected, *ENCRYPTED)


class EndTest(JobTest):
    def test_cancelled_before_blobs_are_rewritten_it_changes_nothing(self):
        machine, _, expected = self.make(*PLAIN)
        before = self.content()
        self.begin(machine, **SLOW)
        self.assertEqual(self.job(machine)["status"], "running")
        machine.qmp("job-cancel", id="job0")
        self.assertIn("cancel", self.wait_concluded(machine)["error"].lower())
        self.dismiss(machine)
        self.assertNotIn("encryption", machine.store())
        self.assertEqual(self.content(), before)
        machine.quit()
        self.check_holds(expected, *PLAIN)

    def test_cancelling_it_later_is_refused(self):
        machine, _, _ = self.make(*PLAIN)
        self.begin(machine)
        self.wait_zeroing(machine)
        for _ in range(2):
            self.check_fails(machine, "job-cancel", "job 'job0' cannot be cancelled: blobs have "
                             "been rewritten already", id="job0")
        self.assertNotIn("error", self.wait_concluded(machine))

    def test_it_waits_for_being_finalized(self):
        machine, tpm, _ = self.make(*PLAIN)
        self.begin(machine, auto_finalize=False)
        self.wait_job(machine, lambda job: job["status"] == "pending")
        self.assertFalse(machine.store()["encryption"]["converting"])
        state.change_permanent(tpm, 1)
        machine.qmp("job-finalize", id="job0")
        self.assertNotIn("error", self.wait_concluded(machine))
        self.dismiss(machine)

    def test_it_can_go_by_itself(self):
        machine, _, _ = self.make(*PLAIN)
        self.begin(machine, auto_dismiss=True)
        while machine.qmp("query-jobs"):
            time.sleep(0.01)
        self.assertFalse(machine.store()["encryption"]["converting"])
        said = [event["status"] for event in machine.events("JOB_STATUS_CHANGE")
                if event["id"] == "job0"]
        self.assertEqual(said, ["created", "running", "waiting", "pending", "concluded", "null"])

    def test_error_is_that_of_the_job(self):
        machine, _, expected = self.make(*PLAIN)
        self.begin(machine, new_secret="none")
        self.assertIn("No secret with id 'none'", self.wait_concluded(machine)["error"])
        self.dismiss(machine)
        with self.assertRaisesRegex(Exception, "Invalid job ID"):
            machine.qmp("blobstore-encrypt", job_id="0", id="bs", **new_key("sec0"))
        self.assertNotIn("encryption", machine.store())
        machine.quit()
        self.check_holds(expected, *PLAIN)

    def end_and_check(self, end):
        machine, tpm, _ = self.make(*PLAIN)
        self.begin(machine)
        self.wait_zeroing(machine)
        state.change_permanent(tpm, 1)
        expected = state.permanent(tpm)
        end(machine)
        self.assertIn(self.content()[1280 + 4], (3, 4))
        self.check_refused(*PLAIN, says="no key was given")
        machine, _ = self.check_holds(expected, *ENCRYPTED)
        self.assertFalse(machine.store()["encryption"]["converting"])
        self.assertFalse(self.readable())
        machine.quit()

    def test_next_start_does_the_rest_after_quit(self):
        self.end_and_check(lambda machine: machine.quit())

    def test_next_start_does_the_rest_after_a_crash(self):
        self.end_and_check(lambda machine: machine.kill())

    def test_quitting_while_the_key_is_derived_changes_nothing(self):
        machine, _, expected = self.make(*PLAIN)
        self.begin(machine, **SLOW)
        machine.quit()
        self.check_holds(expected, *PLAIN)


class FailingZerosTest(JobTest):
    image_bytes = 8 << 20

    def test_tpm_goes_on_and_the_command_can_be_repeated(self):
        self.drive = faulty_drive(self.image_name)
        machine, tpm, _ = self.make(*PLAIN)
        faults = Faults(machine)
        # The zeros are the only writes from there on.
        faults.begin("write", sector=(5 << 20) // 512)
        self.begin(machine)
        error = self.wait_concluded(machine)["error"]
        self.assertIn("the next start of the store completes it", error)
        self.assertIn("Input/output error", error)
        self.dismiss(machine)
        self.assertTrue(machine.store()["encryption"]["converting"])
        state.change_permanent(tpm, 1)
        self.assertEqual(machine.store()["state"], "active")
        faults.end()
        self.run_command(machine, "blobstore-encrypt", id="bs", **new_key("sec0"))
        self.assertFalse(machine.store()["encryption"]["converting"])
        expected = state.permanent(tpm)
        machine.quit()
        self.assertFalse(self.readable())
        self.check_holds(expected, *ENCRYPTED)


if __name__ == "__main__":
    unittest.main()
