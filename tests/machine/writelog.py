# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the log of QEMU's blklogwrites, in the format of Linux's dm-log-writes."""

import struct
from dataclasses import dataclass

SUPERBLOCK = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
MAGIC = 0x6a736677736872
FLUSH = 1 << 0
SECTOR = 512


@dataclass
class Write:
    """A write to a disk; a flush if there is no data."""
    offset: int
    data: bytes

    @property
    def is_flush(self):
        return not self.data

    @property
    def sectors(self):
        return [Write(self.offset + start, self.data[start:start + SECTOR])
                for start in range(0, len(self.data), SECTOR)]


def count(path):
    """The number of entries up to the last flush; the log may still be written meanwhile."""
    with open(path, "rb") as log:
        magic, version, entries, sector = SUPERBLOCK.unpack(log.read(SUPERBLOCK.size))
    assert (magic, version, sector) == (MAGIC, 1, SECTOR)
    return entries


def read(path):
    """The log, as a list."""
    writes = []
    with open(path, "rb") as log:
        log.seek(SECTOR)
        for _ in range(count(path)):
            sector, sectors, flags, _ = ENTRY.unpack(log.read(SECTOR)[:ENTRY.size])
            assert flags == (0 if sectors else FLUSH)
            writes.append(Write(sector * SECTOR, log.read(sectors * SECTOR)))
    return writes


class Disk:
    """The contents that a disk may have when the power fails between the given writes."""

    def __init__(self, content):
        self._durable = bytearray(content)
        self._pending = []          # writes that no flush has followed

    def take(self, write):
        if write.is_flush:
            self._put(self._durable, self._pending)
            self._pending = []
        else:
            self._pending.append(write)

    def content(self, landed=None):
        """The content with all pending writes, or with those parts of them that have landed."""
        return self._put(bytearray(self._durable), self._pending if landed is None else landed)

    def _put(self, content, writes):
        for write in writes:
            end = write.offset + len(write.data)
            content.extend(bytes(max(0, end - len(content))))
            content[write.offset:end] = write.data
        return content

    def drawn(self, random, garble):
        """The content with some pending sectors; garbled: one of them is neither old nor new."""
        sectors = [sector for write in self._pending for sector in write.sectors]
        landed = [sector for sector in sectors if random.getrandbits(1)]
        if garble and sectors:
            landed.append(Write(random.choice(sectors).offset, random.randbytes(SECTOR)))
        return self.content(landed)
