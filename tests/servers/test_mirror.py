# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM moves its store from one kind of storage to another while its TPM stores."""

import contextlib
import unittest

from ceph import Ceph
from iscsi import ISCSI
from server import IMAGE_BYTES

import state
import tpm2
from case import TPM2, MachineTest, drive
from vm import create_image

SLOW = 1                    # bytes per second: the job waits for the test


class MirrorTest(MachineTest):
    def setUp(self):
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.ceph, self.iscsi = stack.enter_context(Ceph()), stack.enter_context(ISCSI())
        self.ceph.blank()

    def change(self, times=1):
        for _ in range(times):
            self.changes += 1
            state.change_permanent(self.tpm, self.changes)
        return state.permanent(self.tpm)

    def wait_for_job(self, status):
        while self.vm.wait_event("JOB_STATUS_CHANGE")["status"] != status:
            pass

    def mirror(self, source, target, node):
        """Move the store to a new node; the TPM stores before, meanwhile and afterwards."""
        self.vm.qmp("blockdev-add", node_name=target, **node)
        self.vm.qmp("blockdev-mirror", job_id="job", device=source, target=target,
                          sync="full", speed=SLOW, auto_dismiss=False)
        self.change(3)
        self.vm.qmp("block-job-set-speed", device="job", speed=0)
        self.wait_for_job("ready")
        self.change(3)
        self.vm.qmp("job-complete", id="job")
        self.wait_for_job("concluded")
        job, = self.vm.qmp("query-jobs")
        self.assertNotIn("error", job)
        self.vm.qmp("job-dismiss", id="job")
        self.vm.qmp("blockdev-del", node_name=source)
        return self.change(3)

    def test_store_moves_from_a_file_to_rbd_to_iscsi_to_qcow2(self):
        raw = create_image(self.directory, "raw", str(IMAGE_BYTES))
        qcow2 = create_image(self.directory, "qcow2", str(IMAGE_BYTES), name="last")
        self.changes = 0
        self.vm, self.tpm = self.power_on(
            "-blockdev", f"driver=raw,node-name=file,file.driver=file,file.filename={raw}",
            "-object", "blobstore,id=bs,drive=file,fence=on",
            "-device", "tpm-tis,blobstore=bs")
        self.tpm.run(tpm2.startup())
        state.make_permanent(self.tpm)
        self.mirror("file", "rbd", {"driver": "raw", "file": self.ceph.node})
        self.mirror("rbd", "iscsi", {"driver": "raw", "file": self.iscsi.node})
        expected = self.mirror("iscsi", "qcow2", {
            "driver": "qcow2", "file": {"driver": "file", "filename": qcow2}})
        store = self.vm.store()
        self.assertEqual((store["state"], store["stats"]["write-errors"]), ("active", 0))
        self.vm.kill()
        _, tpm = self.power_on(*drive(qcow2, "qcow2"), *TPM2)
        tpm.run(tpm2.startup())
        self.assertEqual(state.permanent(tpm), expected)


if __name__ == "__main__":
    unittest.main()
