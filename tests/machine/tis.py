# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM behind the registers of a TIS (TCG PC Client Platform TPM Profile)."""

from frontend import FrontEnd

BASE = 0xfed40000
LOCALITY_BYTES = 0x1000
ACCESS, STS, XFIFO = 0x00, 0x18, 0x80
XFIFO_BYTES = 64

ACCESS_REQUEST_USE = 1 << 1
ACCESS_ACTIVE_LOCALITY = 1 << 5
STS_EXPECT = 1 << 3
STS_DATA_AVAILABLE = 1 << 4
STS_GO = 1 << 5
STS_COMMAND_READY = 1 << 6
STS_COMMAND_CANCEL = 1 << 24


class TIS(FrontEnd):
    def __init__(self, machine, locality=0):
        super().__init__(machine)
        self._base = BASE + locality * LOCALITY_BYTES

    def is_done(self):
        return bool(self.machine.read_long(self._base + STS) & STS_DATA_AVAILABLE)

    def cancel(self):
        self.machine.write_long(self._base + STS, STS_COMMAND_CANCEL)

    def _send(self, data):
        self.machine.write_byte(self._base + ACCESS, ACCESS_REQUEST_USE)
        # The first write leads from idle to ready, the second to the buffer's start.
        for _ in range(2):
            self.machine.write_long(self._base + STS, STS_COMMAND_READY)
        for start in range(0, len(data), XFIFO_BYTES):
            self.machine.write_bytes(self._base + XFIFO, data[start:start + XFIFO_BYTES])
        self.machine.write_byte(self._base + STS, STS_GO)

    def _wants_more(self):
        return bool(self.machine.read_long(self._base + STS) & STS_EXPECT)

    def _receive(self, size, offset=0):
        return b"".join(self.machine.read_bytes(self._base + XFIFO, min(XFIFO_BYTES, size - start))
                        for start in range(0, size, XFIFO_BYTES))

    def _let_go(self):
        self.machine.write_long(self._base + STS, STS_COMMAND_READY)
        self.machine.write_byte(self._base + ACCESS, ACCESS_ACTIVE_LOCALITY)
