# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI: tgt, whose targets are in user space."""

from server import FileServer, answers, free_port

TARGET = "iqn.2026-01.test:nvram"
LUN = 1


class ISCSI(FileServer):
    programs = "tgtd", "tgtadm"
    sector = 512

    def prepare(self):
        super().prepare()
        self.port = free_port()
        self._environment = {"TGT_IPC_SOCKET": str(self.directory / "control")}

    def come(self):
        (self.directory / "control.0").unlink(missing_ok=True)
        self.spawn("tgtd", "--foreground", "--control-port", "0", "--iscsi",
                   f"portal=127.0.0.1:{self.port}", environment=self._environment)
        self.wait_until((self.directory / "control.0").exists)
        self._administer("--op", "new", "--mode", "target", "--targetname", TARGET)
        self._administer("--op", "new", "--mode", "logicalunit", "--lun", str(LUN),
                         "--backing-store", str(self.file), "--blocksize", str(self.sector))
        self._administer("--op", "bind", "--mode", "target", "--initiator-address", "127.0.0.1")
        self.wait_until(lambda: answers(self.port))

    def _administer(self, *arguments):
        self.run("tgtadm", "--lld", "iscsi", "--tid", "1", *arguments,
                 environment=self._environment)

    @property
    def node(self):
        return {"driver": "iscsi", "transport": "tcp", "portal": f"127.0.0.1:{self.port}",
                "target": TARGET, "lun": LUN}


class ISCSI4096(ISCSI):
    sector = 4096
