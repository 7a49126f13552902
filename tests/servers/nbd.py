# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD through TLS: qemu-nbd, with a key that both sides have."""

from server import FileServer, answers, free_port

from vm import qemu_nbd

USER, KEY = "qemu", "5ca1ab1e" * 8
RECONNECT_SECONDS = 60


class NBD(FileServer):
    def prepare(self):
        super().prepare()
        self.port = free_port()
        (self.directory / "keys.psk").write_text(f"{USER}:{KEY}\n")

    def _credentials(self, endpoint):
        return ["--object",
                f"tls-creds-psk,id=tls,endpoint={endpoint},dir={self.directory}"
                + (f",username={USER}" if endpoint == "client" else "")]

    def come(self):
        self.spawn(qemu_nbd(), *self._credentials("server"), "--tls-creds=tls", "--format=raw",
                   "--persistent", "--shared=8", "--bind=127.0.0.1", f"--port={self.port}",
                   str(self.file))
        self.wait_until(lambda: answers(self.port))

    @property
    def objects(self):
        return self._credentials("client")

    @property
    def node(self):
        return {"driver": "nbd", "tls-creds": "tls", "reconnect-delay": RECONNECT_SECONDS,
                "server": {"type": "inet", "host": "127.0.0.1", "port": str(self.port)}}
