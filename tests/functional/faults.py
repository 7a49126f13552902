# SPDX-License-Identifier: GPL-2.0-or-later
"""A drive whose storage fails for a while, at the wish of a test."""

import errno


def faulty_drive(image, image_format="raw", **options):
    """The arguments of a drive like any other, but that its nodes have names."""
    words = [f"if=none,id=nvram,driver={image_format},node-name=node,file.driver=file",
             f"file.node-name=good,file.filename={image}",
             *(f"{name}={value}" for name, value in options.items())]
    return ["-drive", ",".join(words)]


class Faults:
    """Of the faulty_drive of a machine."""

    def __init__(self, machine, image_format="raw", direct=False):
        self._machine = machine
        self._format = image_format
        self._cache = {"direct": direct}    # as the drive's

    def begin(self, access, number=errno.EIO, once=False, sector=-1):
        """From now on every read, write or flush fails, or the next one, or at a sector."""
        rule = {"event": "none", "iotype": access, "errno": number, "once": once}
        if sector >= 0:
            rule["sector"] = sector
        self._begin(inject_error=[rule])

    def begin_at_flush(self, count):
        """The flush of that number fails, once."""
        flush = {"event": "flush_to_disk"}
        self._begin(inject_error=[{**flush, "state": count, "iotype": "flush",
                                   "errno": errno.EIO, "once": True}],
                    set_state=[{**flush, "state": number, "new_state": number + 1}
                               for number in range(1, count + 1)])

    def _begin(self, **rules):
        self._machine.qmp("blockdev-add", driver="blkdebug", node_name="bad", image="good",
                          cache=self._cache, **rules)
        self._use("bad")

    def end(self):
        self._use("good")
        self._machine.qmp("blockdev-del", node_name="bad")

    def _use(self, node):
        self._machine.qmp("blockdev-reopen", options=[
            {"driver": self._format, "node-name": "node", "file": node, "cache": self._cache}])
