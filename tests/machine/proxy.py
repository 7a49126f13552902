# SPDX-License-Identifier: GPL-2.0-or-later
"""Something happens between two requests of a QEMU whose drive is an NBD server."""

import contextlib
import socket
import struct
import threading

from case import drive

# The protocol of NBD: doc/proto.md of the project nbd, "Option haggling" and "Request message"
OPTION = struct.Struct(">8sII")
GO = 7
EXTENDED = 0x21e41c71
REQUEST, EXTENDED_REQUEST = struct.Struct(">IHHQQI"), struct.Struct(">IHHQQQ")
READ, FLUSH_REQUEST = 0, 3
WRITES = 1, 4, 6                # write, trim, write zeroes
FLUSH = "flush"
PIECE_BYTES = 65536


class Proxy(threading.Thread):
    """Passes on what a client says to a server, and hangs up at its first write.

    `requests` has the offset of each read, and FLUSH for each flush. `before` is called with the
    number of the request that is about to be passed on.
    """

    def __init__(self, test, name, server, before=lambda number: None):
        super().__init__(daemon=True)
        self.requests = []
        path = test.path(name)
        self.drive = drive(f"nbd+unix:///?socket={path}")
        self._before = before
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        test.addCleanup(self._listener.close)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(server)
        self._client = None
        self.start()

    def run(self):
        self._client, _ = self._listener.accept()
        threading.Thread(target=self._pass_all, args=(self._server, self._client),
                         daemon=True).start()
        with self._server, self._client:
            with contextlib.suppress(OSError, EOFError):
                self._pass(4)
                while self._pass_option() != GO:
                    pass
                while self._pass_request():
                    pass
            self._server.shutdown(socket.SHUT_RDWR)

    def _pass(self, size):
        data = b""
        while len(data) < size:
            piece = self._client.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        self._server.sendall(data)
        return data

    def _pass_option(self):
        _, option, size = OPTION.unpack(self._pass(OPTION.size))
        self._pass(size)
        return option

    def _pass_request(self):
        """Returns False if it was a write."""
        head = self._client.recv(EXTENDED_REQUEST.size, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(head) < REQUEST.size:
            raise EOFError
        is_extended = struct.unpack_from(">I", head)[0] == EXTENDED
        layout = EXTENDED_REQUEST if is_extended else REQUEST
        _, _, kind, _, offset, _ = layout.unpack_from(head)
        if kind in WRITES:
            return False
        if kind in (READ, FLUSH_REQUEST):
            self._before(len(self.requests))
            self.requests.append(offset if kind == READ else FLUSH)
        self._pass(layout.size)
        return True

    @staticmethod
    def _pass_all(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
