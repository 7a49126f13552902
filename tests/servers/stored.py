# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM on storage that a server has: what the tests of all servers share."""

import contextlib

import server  # noqa: F401  It finds the modules of tests/machine.
import state
import tpm2
from owners import OwnersTest


class StoredTest(OwnersTest):
    """Each class has one server, and each test a blank image."""

    server_class = None
    watchdog_seconds = 240

    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.storage = stack.enter_context(cls.server_class())

    def setUp(self):
        super().setUp()
        self.storage.blank()

    def content(self, name=None):
        return self.storage.content()

    def count(self, tpm, times=1):
        """Count in the TPM, and return what the counter is then."""
        for _ in range(times):
            tpm.run(tpm2.nv_increment(state.COUNTER))
        return tpm.run(tpm2.nv_counter(state.COUNTER))
