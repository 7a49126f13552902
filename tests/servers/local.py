# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host itself offers: loop devices, and file systems on them."""

import errno
import os

from server import FileServer

FILE_SYSTEM_BYTES = 512 << 20
BLOCK_BYTES = 4096
QUOTA = "128K"          # which a TPM that stores some more uses up


class Loop(FileServer):
    """A loop device, which is there until the end."""

    programs = "losetup", "blkdiscard"
    sector = 512
    device = None

    def come(self):
        self.device = self.run("losetup", "--find", "--show", "--sector-size", str(self.sector),
                               str(self.file)).decode().strip()

    def blank(self):
        """Through the device, which has a page cache."""
        if self.device:
            self.run("blkdiscard", self.device)
        else:
            super().blank()

    def content(self):
        with open(self.device, "rb") as device:
            return device.read()

    def end(self):
        if self.device:
            self.run("losetup", "--detach", self.device)
        super().end()

    @property
    def node(self):
        return {"driver": "host_device", "filename": self.device, "cache": {"direct": True}}


class Loop4096(Loop):
    sector = 4096


class FileSystem(FileServer):
    """A file on a file system of its own. It comes again after a power cut."""

    make = ()                   # the command that makes one, without the device
    programs = "losetup", "mount", "umount", "xfs_io"
    is_mounted = False

    @property
    def place(self):
        return self.directory / "mounted"

    @property
    def file(self):
        return self.place / "nvram.raw"

    def prepare(self):
        self.place.mkdir()
        disk = self.directory / "disk"
        with open(disk, "wb") as image:
            image.truncate(FILE_SYSTEM_BYTES)
        self.run(*self.make, str(disk))

    def come(self):
        self.run("mount", "-o", "loop", str(self.directory / "disk"), str(self.place))
        self.is_mounted = True
        if not self.file.exists():
            self.blank()

    def cut_power(self):
        """Let the file system lose what it has not made durable, and fail from then on."""
        self.run("xfs_io", "-x", "-c", "shutdown", str(self.place))

    def fill(self):
        """Leave no block free."""
        with open(self.place / "filler", "wb") as filler:
            end, piece = 0, FILE_SYSTEM_BYTES // 2
            while piece >= BLOCK_BYTES:
                try:
                    os.posix_fallocate(filler.fileno(), end, piece)
                    end += piece
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def make_room(self):
        (self.place / "filler").unlink()

    def unmount(self):
        self.is_mounted = False
        self.run("umount", str(self.place))

    def end(self):
        if self.is_mounted:
            self.unmount()
        super().end()

    @property
    def node(self):
        return {"driver": "file", "filename": str(self.file), "cache": {"direct": True}}


class Ext4(FileSystem):
    make = "mkfs.ext4", "-q"
    programs = *FileSystem.programs, make[0]


class XFS(FileSystem):
    make = "mkfs.xfs", "-q"
    programs = *FileSystem.programs, make[0]


class Btrfs(FileSystem):
    """It has a quota, which binds root, too. It cannot be shut down."""

    make = "mkfs.btrfs", "-q"
    programs = *FileSystem.programs, make[0], "btrfs"

    def come(self):
        super().come()
        self.run("btrfs", "quota", "enable", str(self.place))

    def fill(self):
        self._limit(QUOTA)

    def make_room(self):
        self._limit("none")

    def _limit(self, size):
        self.run("btrfs", "qgroup", "limit", size, str(self.place))
