# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM behind a command response buffer (TCG PC Client Platform TPM Profile)."""

from frontend import FrontEnd

BASE = 0xfed40000
LOCALITY_CONTROL, CONTROL_REQUEST, CONTROL_CANCEL, CONTROL_START = 0x08, 0x40, 0x48, 0x4c
BUFFER = 0x80

LOCALITY_REQUEST, LOCALITY_RELINQUISH = 1 << 0, 1 << 1
COMMAND_READY, GO_IDLE = 1 << 0, 1 << 1
START, CANCEL = 1 << 0, 1 << 0


class CRB(FrontEnd):
    def is_done(self):
        return not self.machine.read_long(BASE + CONTROL_START) & START

    def cancel(self):
        self._write(CONTROL_CANCEL, CANCEL)
        self._write(CONTROL_CANCEL, 0)

    def _send(self, data):
        self._write(LOCALITY_CONTROL, LOCALITY_REQUEST)
        self._write(CONTROL_REQUEST, COMMAND_READY)
        self.machine.write_bytes(BASE + BUFFER, data)
        self._write(CONTROL_START, START)

    def _receive(self, size, offset=0):
        return self.machine.read_bytes(BASE + BUFFER + offset, size) if size else b""

    def _let_go(self):
        self._write(CONTROL_REQUEST, GO_IDLE)
        self._write(LOCALITY_CONTROL, LOCALITY_RELINQUISH)

    def _write(self, register, value):
        self.machine.write_long(BASE + register, value)
