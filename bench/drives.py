#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure a commit on each kind of drive, beside a write and a flush of as many bytes there.

usage: drives.py --dir=DIRECTORY PROGRAM

PROGRAM is tests/unit/bench-blobstore-drive of a build with the drivers of network storage.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/servers"), str(ROOT / "tests/functional")]

from ceph import Ceph  # noqa: E402
from iscsi import ISCSI  # noqa: E402
from nfs import NFS  # noqa: E402
from server import IMAGE_BYTES, FileServer  # noqa: E402
from vm import BUILD, create_image, qemu_nbd  # noqa: E402

TARGET = 1.15
LOG = BUILD / "bench-drives.out"


class NBD(FileServer):
    """An NBD server without TLS, because the program has no credentials"""

    def come(self):
        self.socket = self.directory / "socket"
        self.spawn(qemu_nbd(), "--format=raw", "--persistent", "--shared=8",
                   f"--socket={self.socket}", str(self.file))
        self.wait_until(self.socket.exists)

    @property
    def node(self):
        return {"driver": "nbd", "server": {"type": "unix", "path": str(self.socket)}}


def measure(program, node):
    with open(LOG, "ab") as log:
        done = subprocess.run([program, json.dumps(node)], check=True, stdout=subprocess.PIPE,
                              stderr=log)
    line, = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
    return json.loads(line)


def measure_file(program, place, image_format, direct):
    with tempfile.TemporaryDirectory(dir=place) as directory:
        image = create_image(directory, image_format, str(IMAGE_BYTES))
        return measure(program, {
            "driver": image_format, "file": {
                "driver": "file", "filename": os.path.join(directory, image),
                "cache": {"direct": direct}}})


def measure_server(program, server_class):
    with server_class() as server:
        server.blank()
        return measure(program, {"driver": "raw", "file": server.node})


def show(name, us, has_fence):
    plain, commit, fence = us["plain"], us["commit"], us["fence"]
    print(f"{name:18} {plain:14.0f} {commit:10.0f} {commit / plain:6.2f} {fence:12.0f}"
          f" {fence / plain:6.2f}   {'fence' if has_fence else 'none'}", flush=True)


def run(program, place):
    print("Commits of 8 KiB, median, us\n")
    print(f"{'':18} {'write + flush':>14} {'no fence':>10} {'times':>6} {'with fence':>12}"
          f" {'times':>6}   by default")
    for image_format in "raw", "qcow2":
        for direct in False, True:
            name = f"{image_format}{', cache=none' if direct else ''}"
            show(name, measure_file(program, place, image_format, direct), False)
    for server_class in ISCSI, NFS, NBD, Ceph:
        show(server_class.__name__, measure_server(program, server_class), True)
    print(f"\nTarget without a fence: at most {TARGET} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("program")
    arguments = parser.parse_args()
    run(arguments.program, os.path.abspath(arguments.dir))


if __name__ == "__main__":
    main()
