# SPDX-License-Identifier: GPL-2.0-or-later
"""A drive whose storage fails for a while when a test wants that."""

import errno


def faulty_drive(image, image_format="raw", **options):
    """The arguments of a drive like any other, except that its nodes have names."""
    words = [f"if=none,id=nvram,driver={image_format},node-name=node,file.driver=file",
             f"file.node-name=good,file.filename={image}",
             *(f"{name}={value}" for name, value in options.items())]
    return ["-drive", ",".join(words)]


class Faults:
    """The faults of a machine's faulty_drive."""

    def __init__(self, machine, image_format="raw", direct=False):
        self._machine = machine
        self._format = image_format
        self._cache = {"direct": direct}    # as the drive's

    def begin(self, access, number=errno.EIO, once=False, sector=-1, active=True):
        """Make every read, write or flush fail from now on, or the next one, or those at a sector.

        `active` says whether the drive is; a migration may have made it inactive.
        """
        rule = {"event": "none", "iotype": access, "errno": number, "once": once}
        if sector >= 0:
            rule["sector"] = sector
        self._begin(active, inject_error=[rule])

    def begin_at_flush(self, count):
        """Make the flush of that number fail, once."""
        flush = {"event": "flush_to_disk"}
        self._begin(True, inject_error=[{**flush, "state": count, "iotype": "flush",
                                         "errno": errno.EIO, "once": True}],
                    set_state=[{**flush, "state": number, "new_state": number + 1}
                               for number in range(1, count + 1)])

    def _begin(self, active, **rules):
        self._machine.qmp("blockdev-add", driver="blkdebug", node_name="bad", image="good",
                          active=active, cache=self._cache, **rules)
        self._use("bad")

    def end(self):
        self._use("good")
        self._machine.qmp("blockdev-del", node_name="bad")

    def replace(self, **node):
        """Give the drive another image, which blockdev-add describes."""
        self._machine.qmp("blockdev-add", node_name="other", **node)
        self._use("other")

    def put_back(self, active=True):
        """Give the drive back what replace() has taken."""
        if not active:
            self._machine.qmp("blockdev-set-active", node_name="good", active=True)
        self._use("good")
        self._machine.qmp("blockdev-del", node_name="other")

    def _use(self, node):
        self._machine.qmp("blockdev-reopen", options=[
            {"driver": self._format, "node-name": "node", "file": node, "cache": self._cache}])
