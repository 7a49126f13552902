# SPDX-License-Identifier: GPL-2.0-or-later
"""Ceph: one monitor, and one OSD or two that keep their objects in files."""

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
run dir = %(directory)s
admin socket = %(directory)s/$name.$pid.asok
log file = %(directory)s/$name.log
mon data = %(directory)s/mon
mon data avail warn = 1
mon data avail crit = 1
mon allow pool size one = true
mon osd min down reporters = 1
osd data = %(directory)s/osd.$id
osd pool default size = %(osds)d
osd pool default min size = 1
osd crush chooseleaf type = 0
osd objectstore = bluestore
osd client watch timeout = %(watch)d
bluestore block size = %(disk)d
"""

AUTH = """
auth cluster required = {0}
auth service required = {0}
auth client required = {0}
"""


class Ceph(Server):
    programs = "ceph-mon", "ceph-osd", "ceph", "rbd", "monmaptool"
    settings_more = AUTH.format("none")
    osds = 1
    features = ()               # of images; if none is given, Ceph's own choice

    def prepare(self):
        port, fsid = free_port(), str(uuid.uuid4())
        self.settings = self.directory / "ceph.conf"
        self.settings.write_text(SETTINGS % {
            "fsid": fsid, "port": port, "directory": self.directory, "watch": WATCH_SECONDS,
            "disk": DISK_BYTES, "osds": self.osds} + self.settings_more)
        (self.directory / "mon").mkdir()
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a",
                 f"[v2:127.0.0.1:{port}]", "monmap")
        self.make_monitor()
        self.spawn("ceph-mon", "-c", str(self.settings), "-f", "-i", "a")
        for number in range(self.osds):
            (self.directory / f"osd.{number}").mkdir()
            self.make_osd(number)
        self.ceph_run("ceph", "osd", "pool", "create", "rbd", "4")

    def make_monitor(self, *arguments):
        self.ceph_run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", *arguments)

    def make_osd(self, number):
        osd = str(uuid.uuid4())
        self.ceph_run("ceph", "osd", "new", osd)
        self.ceph_run("ceph-osd", "-i", str(number), "--mkfs", "--osd-uuid", osd)

    def come(self):
        """rbd waits until the OSDs serve."""
        for number in range(self.osds):
            self.start_osd(number)
        self.rbd("ls")

    def start_osd(self, number):
        self.spawn("ceph-osd", "-c", str(self.settings), "-f", "-i", str(number))

    def ceph_run(self, program, *arguments):
        return self.run(program, "-c", str(self.settings), *arguments)

    def rbd(self, *arguments):
        return self.ceph_run("rbd", *arguments)

    def blank(self):
        if IMAGE in self.rbd("ls").decode().split():
            self.rbd("rm", IMAGE)
        self.rbd("create", "--size", f"{IMAGE_BYTES}B",
                 *(f"--image-feature={feature}" for feature in self.features), IMAGE)

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


class CephWithoutMap(Ceph):
    """The images have no object map, which says at once what is allocated."""

    features = ("exclusive-lock",)


class CephWithQuota(Ceph):
    """A manager counts what the pool holds; it does without its modules."""

    programs = *Ceph.programs, "ceph-mgr"
    settings_more = Ceph.settings_more + """
mgr data = $run_dir/mgr
mgr module path = $run_dir/mgr
mgr stats period = 1
"""

    def prepare(self):
        super().prepare()
        (self.directory / "mgr").mkdir()
        self.spawn("ceph-mgr", "-c", str(self.settings), "-f", "-i", "a")

    def fill(self):
        """Let the pool have as many objects as it must not have."""
        self._set_quota(1)

    def make_room(self):
        self._set_quota(0)

    def _set_quota(self, objects):
        self.ceph_run("ceph", "osd", "pool", "set-quota", "rbd", "max_objects", str(objects))
        self.wait_until(lambda: self._is_full() == bool(objects))

    def _is_full(self):
        pool, = json.loads(self.ceph_run("ceph", "osd", "pool", "ls", "detail", "--format=json"))
        return "full_quota" in pool["flags_names"].split(",")


class CephWithReplica(Ceph):
    """Two OSDs have each object; one is enough."""

    osds = 2

    def come_back(self):
        """Start the OSD again that was started last."""
        self.start_osd(self.osds - 1)


class CephWithKeys(Ceph):
    """Clients have capabilities (cephx)."""

    programs = *Ceph.programs, "ceph-authtool"
    settings_more = AUTH.format("cephx") + "\nkeyring = $run_dir/keyring\n"
    user = "admin"

    def make_monitor(self):
        self.run("ceph-authtool", "--create-keyring", "keyring", "--gen-key", "-n", "mon.",
                 "--cap", "mon", "allow *")
        self.run("ceph-authtool", "keyring", "--gen-key", "-n", "client.admin",
                 *(word for kind in ("mon", "osd") for word in ("--cap", kind, "allow *")))
        super().make_monitor("--keyring", "keyring")

    def make_osd(self, number):
        self._make_key(f"osd.{number}", mon="allow profile osd", osd="allow *")
        super().make_osd(number)

    def make_user(self, name, **capabilities):
        """The node is that user's from now on."""
        self._make_key(f"client.{name}", **capabilities)
        self.user = name

    def _make_key(self, name, **capabilities):
        words = [word for kind in capabilities.items() for word in kind]
        key = self.ceph_run("ceph", "auth", "get-or-create", name, *words)
        with open(self.directory / "keyring", "ab") as keyring:
            keyring.write(key)

    def node_on(self, image):
        return {**super().node_on(image), "user": self.user}
