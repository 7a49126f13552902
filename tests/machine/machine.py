# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU whose guest is the test: no vCPU runs, and qtest accesses its memory and ports."""

import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "functional"))

from vm import QMP_TIMEOUT_SECONDS, VM  # noqa: E402


class Machine(VM):
    """A VM that is driven by QMP and qtest.

    All methods wait for a bounded time and then raise a VMError.
    """

    accel = "qtest"

    def __init__(self, args, directory, log):
        self._address = os.path.join(directory, f"qtest-{id(self):x}")
        self._socket = None
        self._received = b""
        super().__init__(["-action", "reboot=reset", "-qtest", f"unix:{self._address}",
                          "-qtest-log", "none", *args], directory, log)

    def start(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            try:
                listener.listen()
                listener.settimeout(QMP_TIMEOUT_SECONDS)
                super().start()
                self._socket, _ = listener.accept()
            finally:
                os.unlink(self._address)
        self._socket.settimeout(QMP_TIMEOUT_SECONDS)

    def stop(self):
        super().stop()
        if self._socket:
            self._socket.close()

    # qtest

    def qtest(self, command):
        """Run a qtest command; returns the words of its answer."""
        try:
            self._socket.sendall(f"{command}\n".encode())
            while b"\n" not in self._received:
                received = self._socket.recv(65536)
                if not received:
                    raise self.error(f"QEMU has gone before it answered to {command[:40]!r}")
                self._received += received
        except OSError as error:
            raise self.error(f"qtest {command[:40]!r}: {error}") from error
        line, self._received = self._received.split(b"\n", 1)
        status, *words = line.decode().split()
        if status != "OK":
            raise self.error(f"qtest {command[:40]!r}: {line.decode()}")
        return words

    def pass_time(self, nanoseconds=1000000):
        """Advance the guest's clock, by which QEMU also throttles drives here; returns the time."""
        now, = self.qtest(f"clock_step {nanoseconds}")
        return int(now)

    def write_byte(self, address, value):
        self.qtest(f"writeb {address:#x} {value:#x}")

    def write_long(self, address, value):
        self.qtest(f"writel {address:#x} {value:#x}")

    def read_long(self, address):
        value, = self.qtest(f"readl {address:#x}")
        return int(value, 16)

    def write_bytes(self, address, data):
        self.qtest(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def read_bytes(self, address, size):
        value, = self.qtest(f"read {address:#x} {size:#x}")
        return bytes.fromhex(value[2:])

    def out_byte(self, port, value):
        self.qtest(f"outb {port:#x} {value:#x}")

    def out_word(self, port, value):
        self.qtest(f"outw {port:#x} {value:#x}")

    def out_long(self, port, value):
        self.qtest(f"outl {port:#x} {value:#x}")
