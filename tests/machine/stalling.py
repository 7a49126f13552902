# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage that stalls on a test's request: a command that stores something is then in flight."""

import os
import signal
import subprocess
import threading
import time

from case import LOGS, drive
from vm import qemu_nbd

START_SECONDS = 30
SILENCE_SECONDS = 0.1       # Silence that shows that a QEMU waits for its storage
PATIENCE_SECONDS = 2        # Patience with a QEMU that answers; another one may be waiting
POLL_SECONDS = 0.005
SERVED_BYTES = 64 << 20     # Served images do not grow: this leaves room for snapshots
CLIENTS = 8


class StallingStorage:
    """An image behind an NBD server, which answers nobody while it is stopped, or has gone."""

    def __init__(self, test, image, image_format):
        os.truncate(test.path(image), SERVED_BYTES)
        self._test = test
        self._image = image
        self.socket = test.path("nbd")
        self._format = image_format
        self._server = None
        self._waiting = None
        self.come()

    def come(self):
        """Start the server, at first or again."""
        LOGS.mkdir(parents=True, exist_ok=True)
        with open(LOGS / f"{self._test.id()}.nbd", "w", encoding="utf-8") as log:
            self._server = subprocess.Popen(
                [qemu_nbd(), "-f", "raw", "-t", "-e", str(CLIENTS), "-k", self.socket, self._image],
                cwd=self._test.directory, stderr=log)
        self._test.addCleanup(self._server.wait)
        self._test.addCleanup(self._server.kill)
        deadline = time.monotonic() + START_SECONDS
        while not os.path.exists(self.socket):
            self._test.assertIsNone(self._server.poll())
            self._test.assertLess(time.monotonic(), deadline)
            time.sleep(POLL_SECONDS)

    def go(self):
        """End the server; its clients lose their connection."""
        if self._server.poll() is None:
            self._server.kill()
            self._server.wait()
            os.unlink(self.socket)

    @property
    def drive(self):
        """The arguments of a drive for a TPM."""
        return drive(f"nbd+unix:///?socket={self.socket}", self._format)

    def stall(self):
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self):
        if self._waiting:
            self._waiting.join()
            self._waiting = None
        self._server.send_signal(signal.SIGCONT)

    def go_on_when_it_is_missed(self, machine):
        """Wait until the machine has not answered for a while, because it waits for the storage."""
        def watch():
            start = now = time.monotonic()
            while (now - max(start, machine.answered) < SILENCE_SECONDS and
                   now - start < PATIENCE_SECONDS):
                time.sleep(POLL_SECONDS)
                now = time.monotonic()
            self._server.send_signal(signal.SIGCONT)

        self._waiting = threading.Thread(target=watch)
        self._waiting.start()
