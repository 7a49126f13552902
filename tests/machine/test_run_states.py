# SPDX-License-Identifier: GPL-2.0-or-later
"""Each run state of a VM, each way in which its medium fails and heals, each error policy.

A cell of this table brings a VM into the state, lets the medium fail and the VM go on. Then QEMU
lives, and the VM is in the state that docs/design.md promises (Error policy; What happens when).
The medium heals, and `cont` works: the TPM answers with what it has acknowledged, and so does that
of the next process.
"""

import errno
import shutil
import subprocess
import time
import unittest
from collections import Counter
from dataclasses import dataclass, field

import pytest

import state
import tpm2
from acpi import power_off, suspend, wake_up
from case import TPM2, drive, rounds, say_rounds
from faults import Faults
from frontend import TPMError
from migration import MigrationTest
from stalling import StallingStorage
from vm import create_image, program

POLICIES = "report", "stop", "ignore"
DRAWN_POLICIES = min(rounds(1, len(POLICIES)), len(POLICIES))     # for a state and a medium

FAULTS = {
    "write fails once": {"access": "write", "once": True},
    "writes fail": {"access": "write"},
    "no space": {"access": "write", "number": errno.ENOSPC},
    "flush fails once": {"access": "flush", "once": True},
    "reads fail": {"access": "read"},
}
SERVER_GONE, BLANK, OTHER_STORE = "NBD server gone", "blank medium", "medium of another store"
MEDIA = *FAULTS, SERVER_GONE, BLANK, OTHER_STORE

# What the store does with its medium when the VM goes on
TRUSTS = "nothing, and writes"
LOOKS = "compares the directory, and does so again before it writes"
REOPENS = "opens it again"

RECONNECT_SECONDS = 20
POLL_SECONDS = 0.1
PANIC_PORT, PANICKED = 0x505, 1
WATCHDOG_PORT, AT_ONCE = 0x443, 15


@dataclass
class Row:
    """A run state; `enter` and `go` are methods of the test that lead there and onwards."""
    does: str
    enter: str
    go: str = "cont"
    args: list = field(default_factory=list)
    status: str = ""                    # where it is not called as the row
    goes_on_as: str = "running"
    startup: int | None = None          # what the TPM needs first when the VM goes on
    image_format: str = "raw"
    senseless: dict = field(default_factory=dict)   # policies and media: why


TRUSTED = "a VM that runs trusts its medium; nobody may exchange that under it"
REFUSED = "is refused while the source runs: test_migration_storage.py"
FLUSHED = "fails the migration: the source flushes its drives before it hands over"
NOT_REPAIRED = "the file of a qcow2 image cannot be exchanged before its metadata is written"
NOT_READ = "QEMU does not read the header of a qcow2 image again when its file is exchanged"

# Without a row are
# - preconfig: there is no device yet; a store that cannot start ends QEMU, see machine.h;
# - inmigrate after a failed migration: there is no state that `cont` could start;
# - save-vm, which ends within a command, and colo, of which the store knows nothing;
# - debug and internal-error, which gdb and KVM enter: to the store they are paused and shutdown.
ROWS = {
    "running": Row(TRUSTS, "stay", "stay", senseless={BLANK: TRUSTED, OTHER_STORE: TRUSTED}),
    "paused": Row(LOOKS, "stop"),
    "suspended": Row(TRUSTS, "sleep", goes_on_as="suspended", startup=tpm2.STATE,
                     senseless={BLANK: TRUSTED, OTHER_STORE: TRUSTED}),
    "suspended and paused": Row(LOOKS, "sleep_and_stop", status="paused", goes_on_as="suspended",
                                startup=tpm2.STATE),
    "prelaunch": Row(LOOKS, "stay", args=["-S"], startup=tpm2.CLEAR),
    "guest-panicked": Row(LOOKS, "panic", args=["-device", "pvpanic", "-action", "panic=pause"]),
    "watchdog": Row(LOOKS, "hang", args=["-device", "ib700", "-action", "watchdog=pause"]),
    "shutdown": Row(LOOKS, "power_off", "reset_and_cont", args=["-no-shutdown"],
                    startup=tpm2.CLEAR),
    "finish-migrate": Row(LOOKS, "wait_for_switchover", "cancel"),
    "postmigrate": Row(REOPENS, "move_away"),
    "restore-vm": Row(REOPENS, "load_snapshot", status="paused", image_format="qcow2",
                      senseless={BLANK: NOT_READ, OTHER_STORE: NOT_READ,
                                 "writes fail": NOT_REPAIRED, "no space": NOT_REPAIRED}),
    "inmigrate": Row(REOPENS, "wait_for_source", "arrive",
                     senseless={BLANK: REFUSED, OTHER_STORE: REFUSED, SERVER_GONE: FLUSHED}),
    "arrived": Row(REOPENS, "arrive_paused", status="paused"),
    "io-error": Row(REOPENS, "run_into_error", senseless={"ignore": "never stops a VM"}),
}


@pytest.mark.drawn
class RunStateTest(MigrationTest):
    def setUp(self):
        super().setUp()
        self.machines = []
        self.storage = None
        self.make_store("other")
        self.count_made = self.make_store("own")

    def make_store(self, name):
        """Make NAME.raw, and NAME.qcow2 with the same content; returns the count of its TPM."""
        self.image()
        vm, tpm = self.power_on(*drive("nvram.raw"), *TPM2)
        tpm.run(tpm2.startup())
        state.make_permanent(tpm)
        count = tpm.run(tpm2.nv_counter(state.COUNTER))
        vm.quit()
        shutil.move(self.path("nvram.raw"), self.path(f"{name}.raw"))
        subprocess.run([program("QEMU_IMG"), "convert", "-O", "qcow2", f"{name}.raw",
                        f"{name}.qcow2"], cwd=self.directory, check=True)
        return count

    def check(self, name):
        self.row = ROWS[name]
        self.seen = Counter()
        cells = [(medium, policy) for medium in MEDIA
                 for policy in self.random.sample(POLICIES, DRAWN_POLICIES)]
        for self.medium, self.policy in cells:
            reason = self.row.senseless.get(self.medium) or self.row.senseless.get(self.policy)
            if reason:
                self.seen["senseless"] += 1
                continue
            self.set_alarm(self.watchdog_seconds)
            with self.subTest(f"{name}, {self.medium}, {self.policy}"):
                try:
                    self.begin()
                    self.check_cell(self.row.status or name)
                finally:
                    self.end()
        say_rounds(f"media that fail while a VM is {name}", len(cells), dict(self.seen))

    # A cell

    def machine(self, *args):
        self.machines.append(super().machine(*args))
        return self.machines[-1]

    def end(self):
        for machine in self.machines:
            machine.kill()
        self.machines = []
        if self.storage:
            self.storage.go()
            self.storage = None

    def begin(self):
        """A VM that runs, or is about to, and whose medium can be made to fail."""
        self.format = "qcow2" if self.medium == "flush fails once" else self.row.image_format
        self.image_name = f"nvram.{self.format}"
        shutil.copy(self.path(f"own.{self.format}"), self.path(self.image_name))
        self.args = ["-M", "q35", *self.drive(), "-object", "blobstore,id=nvram,drive=node,"
                     f"rerror={self.policy},werror={self.policy}", *TPM2]
        self.vm, self.tpm = self.power_on(*self.row.args, *self.args)
        self.faults = Faults(self.vm, self.format)
        self.count = self.count_made
        self.todo = [tpm2.nv_increment(state.COUNTER)]
        if self.row.startup is not None:
            self.todo.insert(0, tpm2.startup(self.row.startup))
        if "-S" not in self.row.args:
            self.tpm.run(tpm2.startup())
        self.is_pending = False         # the first command to do
        self.is_active = True           # the drive, which a migration may take away

    def drive(self):
        """The arguments of the medium, whose nodes have names and stay when they are not used."""
        if self.medium == SERVER_GONE:
            self.storage = StallingStorage(self, self.image_name, self.format)
            file = f"driver=nbd,server.type=unix,server.path={self.storage.socket}"
        else:
            file = f"driver=file,filename={self.image_name}"
        return ["-blockdev", f"{file},node-name=good",
                "-blockdev", f"driver={self.format},node-name=node,file=good"]

    def check_cell(self, status):
        getattr(self, self.row.enter)()
        self.assertEqual(self.vm.status, status)
        self.break_medium(self.medium)
        getattr(self, self.row.go)()
        if self.starts():
            self.wait_status(self.vm, self.row.goes_on_as)
            found = self.use_tpm()
            self.assertEqual(found, self.wanted())
        else:
            self.wait_status(self.vm, "io-error")
            found = "does not start"
        self.seen[found] += 1
        self.heal_medium(self.medium)
        self.check_heals(found)
        self.check_next_process()

    def starts(self):
        """Whether the VM starts on the medium that fails."""
        if self.medium in (BLANK, OTHER_STORE):
            return self.makes_store()
        return self.row.does != REOPENS or self.policy == "ignore"

    def makes_store(self):
        """Whether the VM makes its store on the medium: only one that was migrated in does."""
        return self.medium == BLANK and self.row.enter == "arrive_paused"

    def wanted(self):
        """What becomes of a command that stores something."""
        if self.makes_store() or (self.medium == "reads fail" and self.row.does == TRUSTS):
            return "stored"
        has_two = self.policy == "ignore" and self.row.startup is not None
        if FAULTS.get(self.medium, {}).get("once") and (self.row.does == REOPENS or has_two):
            return "stored"             # by the second write
        return {"report": "fails", "stop": "stops the VM", "ignore": "is kept in RAM"}[self.policy]

    def use_tpm(self):
        """Run the commands that are left, until the medium is noticed."""
        if self.vm.status == "suspended":
            wake_up(self.vm)
        while self.todo:
            if not self.is_pending:
                self.tpm.start(self.todo[0])
            self.wait_for(self.tpm.is_done, [True])
            self.is_pending = self.vm.status == "io-error"
            if self.is_pending:
                return "stops the VM"
            try:
                self.tpm.finish()
            except TPMError as error:
                self.assertEqual(error.result, tpm2.RC_FAILURE)
                return "fails"
            self.count += self.todo.pop(0).code == tpm2.nv_increment(state.COUNTER).code
        return "stored" if self.vm.store()["state"] == "active" else "is kept in RAM"

    def check_heals(self, found):
        """With the policy "ignore" nothing waits until QEMU's NBD client has connected again."""
        found = self.go_on(found)
        deadline = time.monotonic() + RECONNECT_SECONDS
        while found == "is kept in RAM" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            found = self.go_on(found)
        self.assertEqual(found, "stored")
        self.assertEqual(self.vm.status, "running")
        self.assertEqual(self.tpm.run(tpm2.nv_counter(state.COUNTER)), self.count)

    def go_on(self, found):
        """What a user does who has repaired the medium; returns what becomes of the next change."""
        if found == "fails":            # The TPM has failed until it is reset.
            self.reset()
            self.todo = [tpm2.startup()]
        if self.vm.status == "io-error":
            self.cont()
        if self.vm.status == "io-error":
            return "does not start"
        self.todo.append(tpm2.nv_increment(state.COUNTER))
        return self.use_tpm()

    def check_next_process(self):
        self.end()
        image = f"{'blank' if self.makes_store() else 'nvram'}.{self.format}"
        _, tpm = self.power_on(*drive(image, self.format), *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(tpm.run(tpm2.nv_counter(state.COUNTER)), self.count)

    # Media

    def break_medium(self, medium):
        if medium in FAULTS:
            self.faults.begin(**FAULTS[medium], active=self.is_active)
        elif medium == SERVER_GONE:
            self.storage.go()
        else:
            image = f"{'blank' if medium == BLANK else 'other'}.{self.format}"
            if medium == BLANK:
                create_image(self.directory, self.format, name="blank")
            self.faults.replace(driver="file", filename=image, active=self.is_active)

    def heal_medium(self, medium):
        if medium in FAULTS:
            self.faults.end()
        elif medium == SERVER_GONE:
            self.storage.come()
        elif not self.makes_store():
            self.faults.put_back(self.is_active)

    # Ways into a run state

    def stay(self):
        pass

    def stop(self):
        self.vm.qmp("stop")

    def sleep(self):
        self.tpm.run(tpm2.shutdown(tpm2.STATE))
        suspend(self.vm)

    def sleep_and_stop(self):
        self.sleep()
        self.stop()

    def panic(self):
        self.vm.out_byte(PANIC_PORT, PANICKED)

    def hang(self):
        self.vm.out_byte(WATCHDOG_PORT, AT_ONCE)
        self.vm.pass_time()
        self.wait_status(self.vm, "watchdog")

    def power_off(self):
        power_off(self.vm)
        self.wait_status(self.vm, "shutdown")

    def wait_for_switchover(self):
        self.set_capabilities(self.vm, pause_before_switchover=True)
        self.vm.qmp("migrate", uri=f"file:{self.path('stream')}")
        self.wait_migration(self.vm, ["pre-switchover"])

    def move_away(self):
        self.save_stream(self.vm)
        self.is_active = False

    def load_snapshot(self):
        self.vm.hmp("savevm one")
        self.tpm.run(tpm2.nv_increment(state.COUNTER))
        self.vm.qmp("stop")
        self.vm.hmp("loadvm one")

    def wait_for_source(self, *args):
        self.source = self.vm
        self.vm, self.tpm = self.incoming(*args, *self.args)
        self.faults = Faults(self.vm, self.format)
        self.is_active = False

    def arrive_paused(self):
        self.wait_for_source("-S")
        self.arrive()

    def run_into_error(self):
        """No write stops a VM if errors are reported, but it does not start either."""
        fault = SERVER_GONE if self.medium == SERVER_GONE else "write fails once"
        if self.policy == "report":
            self.move_away()
            self.break_medium(fault)
            self.cont()
            self.is_active = True
        else:
            self.break_medium(fault)
            self.assertEqual(self.use_tpm(), "stops the VM")
        self.heal_medium(fault)

    # Ways onwards

    def cont(self):
        self.vm.qmp("cont")

    def reset(self):
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")

    def reset_and_cont(self):
        self.reset()
        self.cont()

    def cancel(self):
        self.vm.qmp("migrate_cancel")
        self.wait_migration(self.vm)

    def arrive(self):
        self.start_migration(self.source, self.vm)
        self.assertEqual(self.wait_migration(self.vm), "completed")
        self.source.kill()

    def test_running(self):
        self.check("running")

    def test_paused(self):
        self.check("paused")

    def test_suspended(self):
        self.check("suspended")

    def test_suspended_and_paused(self):
        self.check("suspended and paused")

    def test_prelaunch(self):
        self.check("prelaunch")

    def test_guest_panicked(self):
        self.check("guest-panicked")

    def test_watchdog(self):
        self.check("watchdog")

    def test_shutdown(self):
        self.check("shutdown")

    def test_finish_migrate(self):
        self.check("finish-migrate")

    def test_postmigrate(self):
        self.check("postmigrate")

    def test_restore_vm(self):
        self.check("restore-vm")

    def test_inmigrate(self):
        self.check("inmigrate")

    def test_arrived(self):
        self.check("arrived")

    def test_io_error(self):
        self.check("io-error")


if __name__ == "__main__":
    unittest.main()
