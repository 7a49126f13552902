# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest uses its TPM while it moves, reverts, sleeps, or its storage fails.

The guest itself checks that its counter neither skips a step nor takes one twice; PCRs and loaded
objects stay.
"""

import hashlib
import sys
import time
import unittest
from pathlib import Path

from faults import Faults, faulty_drive
from guest import MARKER, TIMEOUT_SECONDS, GuestCase, boot_args, tpm_args
from moving import Moving
from vm import ROOT, create_image

sys.path.insert(0, str(ROOT / "tests/format"))

import reader  # noqa: E402


def pcr_after(rounds):
    """The value that job=count gives to a PCR."""
    pcr = bytes(32)
    for number in range(1, rounds + 1):
        pcr = hashlib.sha256(pcr + number.to_bytes(32, "big")).digest()
    return pcr.hex()


class Journey:
    """The output of a guest so far, through several QEMUs."""

    def __init__(self, guest):
        self.guest = guest
        self._guests = [guest]

    def go_on(self, guest):
        self.guest.kill()
        self.guest = guest
        self._guests.append(guest)

    @property
    def facts(self):
        """All facts, in order."""
        said = "".join(guest.serial_log.read_text(encoding="utf-8", errors="replace")
                       for guest in self._guests)
        return [tuple(line.removeprefix(MARKER).rstrip().split(" ", 1))
                for line in said.split("\n")[:-1] if line.startswith(MARKER)]

    def values(self, name):
        return [fact[1] for fact in self.facts if fact[0] == name]

    @property
    def rounds(self):
        return [int(value) for value in self.values("round")]

    def wait_for_rounds(self, count):
        """Wait until the guest has done that many more rounds."""
        self.wait_until(len(self.rounds) + count, lambda: len(self.rounds))

    def wait_until(self, wanted, found):
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while found() < wanted:
            if time.monotonic() > deadline:
                raise self.guest.error("the guest does not get on")
            time.sleep(0.05)


class JourneyTest(Moving, GuestCase):
    def begin(self, *args):
        guest = self.guest(*args)
        guest.start()
        return Journey(guest)

    def finish(self, journey, rounds):
        journey.guest.finish()
        self.assertEqual(journey.values("pcr"), [pcr_after(rounds)])

    def move(self, journey, *args, **capabilities):
        destination = self.guest("-incoming", "defer", *args)
        destination.start()
        self.listen(destination, **capabilities)
        self.migrate(journey.guest, destination, **capabilities)
        self.assertEqual(destination.store()["state"], "active")
        self.assertEqual(destination.events("BLOBSTORE_STALE"), [])
        journey.go_on(destination)

    def check_moves(self, image_format, front_end, *ways):
        image = create_image(self.directory, image_format)
        rounds = 6 * len(ways)      # more than are done during the moves, however slow those are
        args = [*tpm_args(image, image_format, front_end), *boot_args("count", rounds=rounds)]
        journey = self.begin(*args)
        for way in ways:
            journey.wait_for_rounds(1)
            self.move(journey, *args, **way)
        self.assertLess(len(journey.rounds), rounds, "the guest was faster than the moves")
        self.finish(journey, rounds)
        self.assertEqual(journey.rounds, list(range(1, rounds + 1)))

    def test_guest_moves(self):
        self.check_moves("raw", "tpm-tis", {}, {"postcopy_ram": True}, {"multifd": True})

    def test_guest_moves_behind_a_crb(self):
        self.check_moves("qcow2", "tpm-crb", {}, {"postcopy_ram": True},
                         {"pause_before_switchover": True})

    def test_guest_goes_back_to_a_snapshot(self):
        rounds = 6
        image = create_image(self.directory, "qcow2")
        journey = self.begin(*tpm_args(image, "qcow2"), *boot_args("count", rounds=rounds))
        journey.wait_for_rounds(1)
        for _ in range(2):
            journey.guest.savevm("moment")
            journey.wait_for_rounds(1)
            self.assertEqual(journey.guest.hmp("loadvm moment"), "")
        self.finish(journey, rounds)
        self.assertGreater(len(journey.rounds), rounds)

    def test_guest_does_not_hear_of_what_is_not_stored(self):
        """The guest is paused before it gets a response to the command that was not stored."""
        rounds = 5
        create_image(self.directory, "raw")
        trace = self.path("trace")
        journey = self.begin(*faulty_drive("nvram.raw", werror="stop"), "-device",
                             "tpm-tis,blobstore=nvram", "-D", trace,
                             *(word for name in ("vm_state_notify", "tpm_engine_execute*")
                               for word in ("-trace", name)),
                             *boot_args("count", rounds=rounds))
        guest, faults = journey.guest, Faults(journey.guest)
        for number in range(1, 3):
            journey.wait_for_rounds(1)
            faults.begin("write")
            guest.wait_event("STOP")
            self.assertEqual((guest.status, guest.store()["state"]), ("io-error", "dirty"))
            last = Path(trace).read_text(encoding="utf-8").splitlines()[-3:]
            self.assertEqual([line.split()[0] for line in last],
                             ["tpm_engine_execute", "vm_state_notify", "tpm_engine_executed"])
            said = guest.serial_log.read_bytes()
            guest.qmp("cont")
            self.assertEqual((guest.status, guest.store()["state"]), ("io-error", "dirty"))
            self.assertEqual(guest.serial_log.read_bytes(), said)
            faults.end()
            guest.qmp("cont")
            self.assertEqual(len(guest.events("RESUME")), number)
        self.finish(journey, rounds)
        self.assertEqual(journey.rounds, list(range(1, rounds + 1)))

    def sleep(self, *tpm):
        """Suspend the guest to RAM; returns the journey of the sleeping guest."""
        create_image(self.directory, "raw")
        journey = self.begin("-drive", "if=none,id=nvram,file=nvram.raw,format=raw", *tpm,
                             *boot_args("sleep"))
        journey.wait_until(1, lambda: len(journey.values("job")))
        self.wait_status(journey.guest, "suspended")
        return journey

    def wake_up(self, journey):
        journey.guest.qmp("system_wakeup")
        journey.guest.finish()
        self.assertEqual([fact[0] for fact in journey.facts if fact[0] in ("asleep", "awake")],
                         ["asleep", "awake"])

    def test_guest_sleeps_and_wakes_up(self):
        journey = self.sleep("-device", "tpm-tis,blobstore=nvram")
        self.wake_up(journey)
        self.assertEqual(journey.values("pcr"), [pcr_after(1)])
        before, after = journey.values("key-name")
        self.assertEqual(before, after)

    def test_guest_with_a_tpm12_sleeps_and_wakes_up(self):
        """The saved state is there while the guest sleeps; afterwards it has been consumed."""
        journey = self.sleep("-tpmdev", "libtpms,id=dev,blobstore=nvram,version=1.2",
                             "-device", "tpm-tis,tpmdev=dev")
        self.assertTrue(journey.guest.blob("savestate")["present"])
        self.wake_up(journey)
        with open(self.path("nvram.raw"), "rb") as image:
            blobs = {blob["name"]: blob["state"] for blob in reader.read_store(image)["blobs"]}
        self.assertEqual(blobs, {"permanent": "present", "savestate": "absent"})


if __name__ == "__main__":
    unittest.main()
