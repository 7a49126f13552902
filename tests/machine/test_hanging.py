# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM whose storage, an NBD server, does not answer, or is gone for a while."""

import signal
import time
import unittest

import state
import tpm2
from case import drive
from frontend import TPMError
from migration import MigrationTest
from stalling import StallingStorage

AT_ONCE_SECONDS = 1
WAITS_SECONDS = 1
ENDS_SECONDS = 5
# After 0, 1 and 3 seconds QEMU's NBD client tries to connect again; its next try is far away.
GONE_SECONDS = 4
RANDOM_BYTES = 8


class HangingTest(MigrationTest):
    def setUp(self):
        super().setUp()
        self.image()
        self.storage = StallingStorage(self, self.image_name, "raw")
        self.node = ["-blockdev", "driver=nbd,node-name=nbd,server.type=unix,"
                     f"server.path={self.storage.socket}",
                     "-blockdev", "driver=raw,node-name=node,file=nbd"]

    def begin(self, policy="report"):
        """A TPM with a counter."""
        self.vm, self.tpm = self.power_on(
            *self.node,
            "-object", f"blobstore,id=bs,drive=node,rerror={policy},werror={policy}",
            "-device", "tpm-tis,blobstore=bs")
        self.tpm.run(tpm2.startup())
        state.make_permanent(self.tpm)
        self.count = self.tpm.run(tpm2.nv_counter(state.COUNTER))

    def end(self):
        self.vm.kill()
        self.storage.go_on()
        self.storage.go()

    def start_storing(self):
        """A command that stores something waits for its storage."""
        self.storage.stall()
        self.tpm.start(tpm2.nv_increment(state.COUNTER))
        time.sleep(WAITS_SECONDS)
        self.assertFalse(self.tpm.is_done())

    def check_count_is(self, *expected):
        self.assertIn(self.tpm.run(tpm2.nv_counter(state.COUNTER)), expected)

    def check_next_process(self, *expected):
        self.end()
        _, self.tpm = self.power_on(*drive(self.image_name), "-device", "tpm-tis,blobstore=nvram")
        self.tpm.run(tpm2.startup())
        self.check_count_is(*expected)


class YankTest:
    """While a request waits for a silent server, these wait, too, until its connection is cut."""

    def yank(self):
        self.vm.qmp_out_of_band("yank", instances=[{"type": "block-node", "node-name": "nbd"}])

    def check_yank_ends(self, command):
        """The command waits for the storage, as with a disk, until the connection is cut. Returns
        what query-status, sent after it, will say.
        """
        self.begin()
        self.start_storing()
        task = self.vm.start_qmp(command)
        status = self.vm.start_qmp("query-status")
        self.assertFalse(status.done())
        self.yank()
        self.vm.finish_qmp(task)
        return status

    def test_yank_ends_stop(self):
        status = self.check_yank_ends("stop")
        self.assertEqual(self.vm.finish_qmp(status)["status"], "paused")
        self.check_next_process(self.count, self.count + 1)

    def test_yank_ends_reset(self):
        status = self.check_yank_ends("system_reset")
        self.assertEqual(self.vm.finish_qmp(status)["status"], "running")
        self.vm.wait_event("RESET")
        self.check_next_process(self.count, self.count + 1)

    def check_yank_ends_qemu(self, end):
        self.begin()
        self.start_storing()
        end()
        time.sleep(WAITS_SECONDS)
        self.assertTrue(self.vm.is_running)
        self.yank()
        self.vm.wait(ENDS_SECONDS)
        self.check_next_process(self.count, self.count + 1)

    def test_yank_ends_quit(self):
        self.check_yank_ends_qemu(lambda: self.vm.start_qmp("quit"))

    def test_yank_ends_sigterm(self):
        self.check_yank_ends_qemu(lambda: self.vm.send_signal(signal.SIGTERM))


class SilentServerTest(YankTest, HangingTest):
    def check_is_quick(self, act):
        start = time.monotonic()
        act()
        self.assertLess(time.monotonic() - start, AT_ONCE_SECONDS)

    def check_monitor_is_quick(self):
        self.check_is_quick(lambda: self.assertEqual(self.vm.status, "running"))
        self.check_is_quick(lambda: self.assertEqual(self.vm.store()["state"], "active"))
        self.check_is_quick(lambda: self.assertIn("bs", self.vm.hmp("info blobstore")))

    def test_what_stores_nothing_is_answered_at_once(self):
        self.begin()
        self.storage.stall()
        self.check_is_quick(lambda: self.tpm.run(tpm2.get_random(RANDOM_BYTES)))
        self.check_is_quick(lambda: self.tpm.run(tpm2.pcr_read(0)))
        self.check_is_quick(lambda: self.check_count_is(self.count))
        self.check_monitor_is_quick()
        self.start_storing()
        self.check_monitor_is_quick()
        self.assertFalse(self.tpm.is_done())
        self.storage.go_on()
        self.tpm.finish()
        self.check_count_is(self.count + 1)


class SilentDiskTest(YankTest, HangingTest):
    """So it is with a disk of the guest, and a TPM does not make QEMU wait where a disk does not."""

    count = 0

    def begin(self, _policy=None):
        self.vm = self.machine(*self.node, "-device", "virtio-blk-pci,id=disk,drive=node")
        self.vm.start()

    def start_storing(self):
        self.storage.stall()
        self.vm.hmp('qemu-io -d /machine/peripheral/disk/virtio-backend "aio_write 0 4k"')

    def check_next_process(self, *_expected):
        self.end()


class GoneServerTest(HangingTest):
    def lose_server(self, in_flight):
        """The next command that stores something fails. If it is in flight, it leaves something to
        be flushed, and QEMU's NBD client begins to connect at once; otherwise at the next request.
        """
        if in_flight:
            self.start_storing()
            self.storage.go()
        else:
            self.storage.go()
            self.tpm.start(tpm2.nv_increment(state.COUNTER))

    def check_first_cont_works(self, in_flight):
        self.begin("stop")
        self.lose_server(in_flight)
        self.wait_status(self.vm, "io-error")
        time.sleep(GONE_SECONDS)
        self.storage.come()
        self.vm.qmp("cont")
        self.assertEqual(self.vm.status, "running")
        self.assertEqual(self.vm.store()["state"], "active")
        self.tpm.finish()
        self.check_count_is(self.count + 1)
        self.check_next_process(self.count + 1)

    def test_first_cont_works(self):
        self.check_first_cont_works(in_flight=False)

    def test_first_cont_works_after_a_loss_in_flight(self):
        self.check_first_cont_works(in_flight=True)

    def test_cont_waits_for_the_server(self):
        self.begin("stop")
        self.lose_server(False)
        self.wait_status(self.vm, "io-error")
        task = self.vm.start_qmp("cont")
        self.storage.come()
        self.vm.finish_qmp(task)
        self.assertEqual(self.vm.status, "running")
        self.tpm.finish()
        self.check_next_process(self.count + 1)

    def fail_and_reset(self):
        self.begin("report")
        self.lose_server(False)
        with self.assertRaises(TPMError):
            self.tpm.finish()
        time.sleep(GONE_SECONDS)
        start = time.monotonic()
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")
        self.assertLess(time.monotonic() - start, AT_ONCE_SECONDS)
        self.tpm.start(tpm2.startup())

    def test_first_reset_works(self):
        self.fail_and_reset()
        self.storage.come()
        self.tpm.finish()
        self.tpm.run(tpm2.nv_increment(state.COUNTER))
        self.check_count_is(self.count + 1)
        self.check_next_process(self.count + 1)

    def check_waiting_tpm_keeps_nobody(self, act):
        self.fail_and_reset()
        start = time.monotonic()
        act()
        self.assertLess(time.monotonic() - start, AT_ONCE_SECONDS)

    def test_waiting_tpm_keeps_nobody_from_stopping(self):
        self.check_waiting_tpm_keeps_nobody(lambda: self.vm.qmp("stop"))
        self.assertEqual(self.vm.status, "paused")

    def test_waiting_tpm_keeps_nobody_from_resetting(self):
        self.check_waiting_tpm_keeps_nobody(lambda: (self.vm.qmp("system_reset"),
                                                     self.vm.wait_event("RESET")))

    def test_waiting_tpm_keeps_nobody_from_ending(self):
        self.check_waiting_tpm_keeps_nobody(lambda: self.vm.terminate())

    def lose_server_while_dirty(self):
        self.begin("ignore")
        self.lose_server(False)
        self.tpm.finish()
        self.assertEqual(self.vm.store()["state"], "dirty")
        return time.monotonic()

    def test_stop_and_reset_do_not_wait_for_it(self):
        start = self.lose_server_while_dirty()
        self.vm.qmp("stop")
        self.assertEqual(self.vm.status, "paused")
        self.assertLess(time.monotonic() - start, AT_ONCE_SECONDS)
        self.vm.qmp("system_reset")
        self.vm.wait_event("RESET")
        self.assertLess(time.monotonic() - start, ENDS_SECONDS)

    def test_quit_does_not_wait_for_it(self):
        start = self.lose_server_while_dirty()
        self.vm.quit()
        self.assertLess(time.monotonic() - start, ENDS_SECONDS)

    def test_sigterm_does_not_wait_for_it(self):
        start = self.lose_server_while_dirty()
        self.vm.terminate()
        self.assertLess(time.monotonic() - start, ENDS_SECONDS)


if __name__ == "__main__":
    unittest.main()
