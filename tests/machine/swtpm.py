# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's swtpm: another TPM, which keeps its state in files."""

import os
import socket
import struct
import subprocess

import tpm2
from frontend import BUFFER_BYTES, FrontEnd

INIT, SHUT_DOWN, STORE_VOLATILE = 2, 3, 10      # commands of its control channel
SECONDS = 60

HEADER = struct.Struct("<8s B x H")             # of a linear file
ENTRY = struct.Struct("<III")


class Swtpm(FrontEnd):
    """A swtpm that runs, with its state in a directory or, after "file://", in a linear file."""

    def __init__(self, place, *options, version="2.0"):
        super().__init__(None)
        where = f"backend-uri={place}" if "://" in place else f"dir={place}"
        self._data, data = socket.socketpair()
        self._control, control = socket.socketpair()
        version = ["--tpm2"] if version == "2.0" else []
        self._process = subprocess.Popen(
            ["swtpm", "socket", *version, "--tpmstate", where, "--fd", str(data.fileno()),
             "--ctrl", f"type=unixio,clientfd={control.fileno()}", *options],
            pass_fds=[data.fileno(), control.fileno()], stderr=subprocess.PIPE)
        for end in data, control:
            end.close()
        for end in self._data, self._control:
            end.settimeout(SECONDS)
        self._answered = b""
        self.control(INIT, struct.pack(">I", 0))

    def control(self, code, payload=b""):
        self._control.sendall(struct.pack(">I", code) + payload)
        result, = struct.unpack(">I", self._control.recv(BUFFER_BYTES)[:4])
        assert not result, f"swtpm: control command {code}: result {result:#x}"

    def store_volatile(self):
        self.control(STORE_VOLATILE)

    def quit(self):
        """As the emulator of QEMU does it: without a TPM2_Shutdown of its own."""
        self.control(SHUT_DOWN)
        self.stop()

    def stop(self):
        self._process.terminate()
        for end in self._data, self._control:
            end.close()
        self._process.communicate(timeout=SECONDS)

    def is_done(self):
        return True

    def _send(self, data):
        self._data.sendall(data)
        self._answered = self._data.recv(BUFFER_BYTES)

    def _receive(self, size, offset=0):
        return self._answered[offset:offset + size]

    def _let_go(self):
        pass


def make(place, fill, *options):
    """A directory with a TPM that `fill` has been called with; returns what that returned."""
    if "://" not in place:
        os.makedirs(place, exist_ok=True)
    tpm = Swtpm(place, *options)
    try:
        tpm.run(tpm2.startup())
        result = fill(tpm)
        tpm.run(tpm2.shutdown())
        tpm.quit()
    finally:
        tpm.stop()
    return result
