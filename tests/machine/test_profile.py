# SPDX-License-Identifier: GPL-2.0-or-later
"""Which libtpms has stored the state, and a profile that this libtpms cannot make or take."""

import re
import socket
import threading
import unittest

import profiles
import state
import tpm2
from case import TPM2, MachineTest, drive
from migration import MigrationTest

METADATA = re.compile(rb"tpm-version=2\.0\0libtpms=[0-9.]+\0")


class ProfileTest(MachineTest):
    def test_image_names_the_libtpms_that_stored_it(self):
        self.image()
        machine, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        machine.quit()
        found = re.findall(rb"libtpms=([0-9.]+)\0", self.content())
        self.assertEqual({name.decode() for name in found}, {profiles.libtpms_version()})

    def test_profile_that_cannot_be_made_is_refused_and_writes_nothing(self):
        self.image()
        for version, profile, says in (
                ("2.0", "default-v9", "libtpms [0-9.]+ has no profiles|there is no profile"),
                ("2.0", "{}", "libtpms [0-9.]+ has no profiles|there is no profile"),
                ("1.2", "null", "a TPM 1.2 has no profiles")):
            self.check_machine_refused(*drive("nvram.raw"), *profiles.backend(profile, version),
                                       says=says)


class Forger(threading.Thread):
    """Carries a migration to a destination, with other notes in the first section.

    The second section is left as it is, so it is too late for a refusal there.
    """

    def __init__(self, place, destination, notes):
        super().__init__()
        self.address = place
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(place)
        self._listening.listen()
        self._destination = socket.socket(socket.AF_UNIX)
        self._destination.connect(destination)
        self._notes = notes
        self.changed = 0

    def run(self):
        source, _ = self._listening.accept()
        back = threading.Thread(target=self._carry, args=(self._destination, source))
        back.start()
        self._carry(source, self._destination, self._change)
        back.join()
        for end in source, self._destination, self._listening:
            end.close()

    def _change(self, data):
        found = METADATA.search(data)
        if found:
            self.changed += 1
            data[found.start():found.end()] = profiles.notes(len(found[0]), **self._notes)
        return found

    @staticmethod
    def _carry(origin, target, change=None):
        """Send on what comes; with @change nothing until that has found its place."""
        waiting = bytearray()
        try:
            while data := origin.recv(65536):
                waiting += data
                if change and not change(waiting):
                    continue
                change = None
                target.sendall(waiting)
                waiting.clear()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass                # QEMU has closed its end.
        try:
            origin.shutdown(socket.SHUT_RD)
        except OSError:
            pass


class MovingProfileTest(MigrationTest):
    def check_refused(self, says, **notes):
        """The source's TPM goes on as if nothing had been, and the image is not written to."""
        self.image()
        source, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        expected = state.permanent(tpm)
        destination, _ = self.incoming(*drive("nvram.raw"), *TPM2)
        before = self.content()
        forger = Forger(self.path("forger"), destination.address, notes)
        forger.start()
        self.set_capabilities(source)
        source.qmp("migrate", uri=f"unix:{forger.address}")
        self.assertEqual(self.wait_migration(destination), "failed")
        self.assertEqual(self.wait_migration(source), "failed")
        forger.join()
        self.assertEqual(forger.changed, 1)
        self.assertRegex(destination.qemu_log.read_text(encoding="utf-8"), says)
        self.assertEqual(source.events("STOP"), [])
        self.assertEqual(source.status, "running")
        self.assertEqual(self.content(), before)
        destination.kill()
        self.assertEqual(state.permanent(tpm), expected)

    def test_profile_that_is_not_known_here_is_refused_while_the_source_runs(self):
        if profiles.has_profiles():
            self.skipTest("this libtpms has profiles")
        self.check_refused("blob 'tpm/permanent' of the source cannot be used here: the TPM in "
                           "blobstore 'nvram' has profile 'other' .* this is libtpms "
                           f"{profiles.libtpms_version()}, which has no profiles",
                           profile="other")

    def test_level_that_is_not_known_here_is_refused_while_the_source_runs(self):
        self.check_refused("has state format level 1000 .* this is libtpms "
                           f"{profiles.libtpms_version()}, which knows levels up to [0-9]+",
                           level=1000)


if __name__ == "__main__":
    unittest.main()
