# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM behind the registers of a front end: it runs commands and waits for their responses."""

import struct
import time
from dataclasses import dataclass
from typing import Callable

HEADER = struct.Struct(">HII")      # tag, length, code; of commands and responses
BUFFER_BYTES = 4096                 # of the longest

COMMAND_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.0005


@dataclass
class Command:
    """A command of a TPM, and a function that makes a value of the response's content."""
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


class FrontEnd:
    """The only TPM of a machine. It runs one command at a time."""

    def __init__(self, machine):
        self.machine = machine
        self._running = None

    def run(self, command):
        """The value of a command's response; raises TPMError if it is an error."""
        self.start(command)
        return self.finish()

    def result(self, command):
        """The code of the response, which may be an error."""
        try:
            self.run(command)
        except TPMError as error:
            return error.result
        return 0

    def start(self, command):
        """Start a command, without waiting for it."""
        self._send(bytes(command))
        self._running = command

    def take_over(self, command):
        """Finish a command that was started on the machine before this one took its place."""
        self.expect(command)
        return self.finish()

    def expect(self, command):
        """Note that the command was started in another way."""
        self._running = command

    def finish(self):
        """Wait for the command that was started, and return as run() does."""
        command, self._running = self._running, None
        result, content = self._answer(f"TPM command {command.code:#x}")
        if result:
            raise TPMError(command.code, result)
        return command.parse(content)

    def exchange(self, data):
        """The code of the response to any bytes; None if the front end waits for more of them."""
        self._send(data)
        if self._wants_more():
            self._let_go()
            return None
        return self._answer(f"{data[:32].hex()}...")[0]

    def _answer(self, what):
        """The code and the content of the response."""
        deadline = time.monotonic() + COMMAND_TIMEOUT_SECONDS
        while not self.is_done():
            if time.monotonic() > deadline:
                raise self.machine.error(f"no response to {what}")
            time.sleep(POLL_SECONDS)
            self.machine.pass_time()
        _, size, result = HEADER.unpack(self._receive(HEADER.size))
        if not HEADER.size <= size <= BUFFER_BYTES:
            raise self.machine.error(f"a response of {size} bytes to {what}")
        content = self._receive(size - HEADER.size, HEADER.size)
        self._let_go()
        return result, content

    def is_done(self):
        raise NotImplementedError

    def cancel(self):
        raise NotImplementedError

    def _send(self, data):
        """Write a command, and start it."""
        raise NotImplementedError

    def _wants_more(self):
        """Whether the header says that the command is longer than what was written."""
        return False

    def _receive(self, size, offset=0):
        """That many bytes of the response from that offset on; calls go in order."""
        raise NotImplementedError

    def _let_go(self):
        """End the command after the response has been read."""
        raise NotImplementedError
