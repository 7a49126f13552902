# SPDX-License-Identifier: GPL-2.0-or-later
"""Ceph: one monitor, and one OSD that keeps its objects in a file."""

import json
import uuid

from server import IMAGE_BYTES, Server, free_port

IMAGE = "nvram"
WATCH_SECONDS = 5       # After this time a client that says nothing has lost its lock.
DISK_BYTES = 2 << 30    # the file is sparse

# %-fields are those of prepare(); what has a $ is Ceph's.
SETTINGS = """
[global]
fsid = %(fsid)s
mon host = v2:127.0.0.1:%(port)d
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = %(directory)s
admin socket = %(directory)s/$name.$pid.asok
log file = %(directory)s/$name.log
mon data = %(directory)s/mon
mon data avail warn = 1
mon data avail crit = 1
mon allow pool size one = true
osd data = %(directory)s/osd
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd objectstore = bluestore
osd client watch timeout = %(watch)d
bluestore block size = %(disk)d
"""


class Ceph(Server):
    programs = "ceph-mon", "ceph-osd", "ceph", "rbd", "monmaptool"

    def prepare(self):
        port, fsid = free_port(), str(uuid.uuid4())
        self.settings = self.directory / "ceph.conf"
        self.settings.write_text(SETTINGS % {
            "fsid": fsid, "port": port, "directory": self.directory, "watch": WATCH_SECONDS,
            "disk": DISK_BYTES})
        for folder in "mon", "osd":
            (self.directory / folder).mkdir()
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a",
                 f"[v2:127.0.0.1:{port}]", "monmap")
        self.ceph_run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self.spawn("ceph-mon", "-c", str(self.settings), "-f", "-i", "a")
        osd = str(uuid.uuid4())
        self.ceph_run("ceph", "osd", "new", osd)
        self.ceph_run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.ceph_run("ceph", "osd", "pool", "create", "rbd", "4")

    def come(self):
        """rbd waits until the OSD serves."""
        self.spawn("ceph-osd", "-c", str(self.settings), "-f", "-i", "0")
        self.rbd("ls")

    def ceph_run(self, program, *arguments):
        return self.run(program, "-c", str(self.settings), *arguments)

    def rbd(self, *arguments):
        return self.ceph_run("rbd", *arguments)

    def blank(self):
        if IMAGE in self.rbd("ls").decode().split():
            self.rbd("rm", IMAGE)
        self.rbd("create", "--size", f"{IMAGE_BYTES}B", IMAGE)

    def content(self):
        return self.rbd("export", IMAGE, "-")

    def allocated(self):
        """In whole objects"""
        image, = json.loads(self.rbd("du", "--format=json", IMAGE))["images"]
        return image["used_size"]

    @property
    def node(self):
        return self.node_on(IMAGE)

    def node_on(self, image):
        return {"driver": "rbd", "pool": "rbd", "image": image, "conf": str(self.settings)}
