# SPDX-License-Identifier: GPL-2.0-or-later
"""NFS: Ganesha, a server in user space. QEMU's libnfs asks a port mapper for its ports."""

from server import FileServer, answers

PORT_MAPPER, NFS_PORT = 111, 2049

SETTINGS = """
NFS_CORE_PARAM { NFS_Protocols = 3; Enable_NLM = false; Enable_RQUOTA = false; }
EXPORT {
    Export_Id = 1; Path = %(path)s; Pseudo = %(path)s;
    Access_Type = RW; Squash = None; SecType = sys; Protocols = 3; Transports = TCP;
    FSAL { Name = VFS; }
}
"""


class NFS(FileServer):
    programs = "ganesha.nfsd", "rpcbind"

    @property
    def file(self):
        return self.directory / "export/nvram.raw"

    def prepare(self):
        self.file.parent.mkdir()
        (self.directory / "ganesha.conf").write_text(SETTINGS % {"path": self.file.parent})
        super().prepare()
        self.spawn("rpcbind", "-f")
        self.wait_until(lambda: answers(PORT_MAPPER))

    def come(self):
        self.spawn("ganesha.nfsd", "-F", "-f", "ganesha.conf", "-L", "ganesha.log",
                   "-p", str(self.directory / "ganesha.pid"))
        self.wait_until(lambda: answers(NFS_PORT))

    @property
    def node(self):
        return {"driver": "nfs", "server": {"type": "inet", "host": "127.0.0.1"},
                "path": str(self.file)}
