# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM behind the registers of a TIS (TCG PC Client Platform TPM Profile)."""

import struct
import time
from dataclasses import dataclass
from typing import Callable

BASE = 0xfed40000
LOCALITY_BYTES = 0x1000
ACCESS, STS, XFIFO = 0x00, 0x18, 0x80
XFIFO_BYTES = 64

ACCESS_REQUEST_USE = 1 << 1
ACCESS_ACTIVE_LOCALITY = 1 << 5
STS_DATA_AVAILABLE = 1 << 4
STS_GO = 1 << 5
STS_COMMAND_READY = 1 << 6
STS_COMMAND_CANCEL = 1 << 24

HEADER = struct.Struct(">HII")      # tag, length, code; of commands and responses

COMMAND_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.0005


@dataclass
class Command:
    """A command of a TPM, and what makes a value of what follows the response's header."""
    tag: int
    code: int
    parameters: bytes = b""
    parse: Callable = lambda parameters: None

    def __bytes__(self):
        size = HEADER.size + len(self.parameters)
        return HEADER.pack(self.tag, size, self.code) + self.parameters


class TPMError(Exception):
    """The TPM refused a command."""

    def __init__(self, code, result):
        super().__init__(f"TPM command {code:#x}: result {result:#x}")
        self.result = result


class TIS:
    """The only one of a machine. One command at a time."""

    def __init__(self, machine, locality=0):
        self.machine = machine
        self._base = BASE + locality * LOCALITY_BYTES
        self._running = None

    def run(self, command):
        """The value of a command's response; raises TPMError if it is an error."""
        self.start(command)
        return self.finish()

    def result(self, command):
        """The code of the response."""
        try:
            self.run(command)
        except TPMError as error:
            return error.result
        return 0

    def start(self, command):
        """Start a command, without waiting for it."""
        data = bytes(command)
        self.machine.write_byte(self._base + ACCESS, ACCESS_REQUEST_USE)
        # Once from idle to ready; in ready it goes to the buffer's start.
        for _ in range(2):
            self.machine.write_long(self._base + STS, STS_COMMAND_READY)
        for start in range(0, len(data), XFIFO_BYTES):
            self.machine.write_bytes(self._base + XFIFO, data[start:start + XFIFO_BYTES])
        self.machine.write_byte(self._base + STS, STS_GO)
        self._running = command

    def take_over(self, command):
        """Finish a command that was started by the machine that this one has become."""
        self.expect(command)
        return self.finish()

    def expect(self, command):
        """It was started in another way."""
        self._running = command

    def is_done(self):
        return bool(self.machine.read_long(self._base + STS) & STS_DATA_AVAILABLE)

    def cancel(self):
        self.machine.write_long(self._base + STS, STS_COMMAND_CANCEL)

    def finish(self):
        """Wait for the command that was started; as run()."""
        command, self._running = self._running, None
        deadline = time.monotonic() + COMMAND_TIMEOUT_SECONDS
        while not self.is_done():
            if time.monotonic() > deadline:
                raise self.machine.error(f"no response to TPM command {command.code:#x}")
            time.sleep(POLL_SECONDS)
            self.machine.pass_time()
        response = self._read(HEADER.size)
        _, size, result = HEADER.unpack(response)
        response += self._read(size - HEADER.size)
        self.machine.write_long(self._base + STS, STS_COMMAND_READY)
        self.machine.write_byte(self._base + ACCESS, ACCESS_ACTIVE_LOCALITY)
        if result:
            raise TPMError(command.code, result)
        return command.parse(response[HEADER.size:])

    def _read(self, size):
        return b"".join(self.machine.read_bytes(self._base + XFIFO, min(XFIFO_BYTES, size - start))
                        for start in range(0, size, XFIFO_BYTES))
