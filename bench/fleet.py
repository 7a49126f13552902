#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Start many VMs at once, and measure how long that takes and how much memory a TPM needs.

usage: fleet.py --dir=DIRECTORY [--vms=N]

The same machine without a TPM, with one in a blobstore on several kinds of drives, and with swtpm.
No vCPU runs. Each TPM exists already: the VMs begin with copies of it.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/servers"), str(ROOT / "tests/functional")]

from ceph import IMAGE, Ceph  # noqa: E402
from vm import BUILD, create_image, program  # noqa: E402

MIB = 1 << 20
WAIT_SECONDS = 300
SETTLE_SECONDS = 2
LOG = BUILD / "bench-fleet.out"     # what QEMU says
SECRET = "exactly 32 bytes of a raw secret"


class NoTPM:
    """A machine without a TPM, and what all kinds share."""

    name = "no TPM"
    is_store = False

    def __init__(self, directory):
        self.directory = Path(directory)

    def begin(self, _number):
        """The processes that a VM needs beside QEMU."""
        return []

    def args(self, _number):
        return []

    def prepare(self, _vms):
        """Make the TPM, and a copy for each VM."""

    def make_first(self):
        with Fleet(self, 1):
            pass


class Raw(NoTPM):
    name = "raw"
    is_store = True
    format = "raw"
    encrypt = ""

    def image(self, number):
        return self.directory / f"{number}.{self.format}"

    def drive(self, number):
        return ["-drive", f"if=none,id=nvram,format={self.format},file={self.image(number)}"]

    def prepare(self, vms):
        create_image(self.directory, self.format, name="0")
        self.make_first()
        for number in range(1, vms):
            shutil.copyfile(self.image(0), self.image(number))

    def args(self, number):
        return [*self.drive(number), "-object", f"secret,id=key,data={SECRET}",
                "-object", f"blobstore,id=bs,drive=nvram{self.encrypt}",
                "-device", "tpm-tis,blobstore=bs"]


class QCow2(Raw):
    name = format = "qcow2"


class RawKey(Raw):
    name = "raw, raw key"
    encrypt = ",encrypt.type=raw,encrypt.key-secret=key"


class Passphrase(Raw):
    name = "raw, passphrase"
    encrypt = ",encrypt.type=passphrase,encrypt.key-secret=key"


class RBD(Raw):
    name = "RBD"
    ceph = None

    def drive(self, number):
        return self.ceph.drive_on(self.ceph.node_on(f"{IMAGE}{number or ''}"))

    def prepare(self, vms):
        self.ceph.blank()
        self.make_first()
        for number in range(1, vms):
            self.ceph.rbd("cp", "--no-progress", IMAGE, f"{IMAGE}{number}")


class Swtpm(NoTPM):
    name = "swtpm"

    def prepare(self, vms):
        (self.directory / "0").mkdir()
        self.make_first()
        for number in range(1, vms):
            shutil.copytree(self.directory / "0", self.directory / str(number))

    def address(self, number):
        return self.directory / f"{number}.socket"

    def begin(self, number):
        process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate",
                                    f"dir={self.directory / str(number)}", "--ctrl",
                                    f"type=unixio,path={self.address(number)}"])
        while not self.address(number).exists():
            time.sleep(0.001)
        return [process]

    def args(self, number):
        return ["-chardev", f"socket,id=swtpm,path={self.address(number)}",
                "-tpmdev", "emulator,id=tpm,chardev=swtpm", "-device", "tpm-tis,tpmdev=tpm"]


class Fleet:
    """Running VMs of one kind."""

    def __init__(self, kind, vms):
        self._kind = kind
        self._vms = vms
        self._processes = []        # of all VMs
        self._qemus = []            # the last of these, each with its monitor

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_exc):
        for _, monitor in self._qemus:
            self._execute(monitor, "quit")
        for process, _ in self._qemus:
            process.wait(WAIT_SECONDS)
        self._end()

    def _start(self):
        with open(LOG, "ab") as log:
            self._spawn(log)
        for _, monitor in self._qemus:
            json.loads(monitor.readline())
            self._execute(monitor, "qmp_capabilities")
            if self._kind.is_store:
                store, = self._execute(monitor, "blobstore-info")
                assert store["state"] == "active", store
            self._execute(monitor, "query-status")

    def _spawn(self, log):
        for number in range(self._vms):
            self._processes += self._kind.begin(number)
            ours, theirs = socket.socketpair()
            ours.settimeout(WAIT_SECONDS)
            with theirs:
                self._processes.append(subprocess.Popen(
                    [program("QEMU"), "-accel", "qtest", "-m", "16M", "-nodefaults",
                     "-no-user-config", "-display", "none",
                     "-chardev", f"socket,id=qmp,fd={theirs.fileno()}",
                     "-mon", "chardev=qmp,mode=control", *self._kind.args(number)],
                    pass_fds=[theirs.fileno()], stderr=log))
            self._qemus.append((self._processes[-1], ours.makefile("rw")))

    @staticmethod
    def _execute(monitor, command):
        monitor.write(json.dumps({"execute": command}))
        monitor.flush()
        while "event" in (answer := json.loads(monitor.readline())):
            pass
        return answer["return"]

    def _end(self):
        for process in self._processes:
            process.kill()
            process.wait()

    def memory(self):
        """The proportional share of memory of all processes, in bytes."""
        return sum(1024 * int(line.split()[1]) for process in self._processes
                   for line in open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii")
                   if line.startswith("Pss:"))


def measure(kind, vms):
    """The seconds until all VMs answer, and the MiB of each."""
    kind.prepare(vms)
    start = time.monotonic()
    with Fleet(kind, vms) as fleet:
        seconds = time.monotonic() - start
        time.sleep(SETTLE_SECONDS)
        return seconds, fleet.memory() / vms / MIB


def check_seconds(kind, vms):
    start = time.monotonic()
    for number in range(vms):
        subprocess.run([program("QEMU_BLOBSTORE"), "check", "-f", kind.format,
                        str(kind.image(number))], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def run(directory, vms):
    print(f"{vms} VMs started at once\n")
    print(f"{'':16} {'all answer, s':>14} {'PSS of each, MiB':>17} {'added':>7}")
    without = None
    for make_kind in NoTPM, Raw, QCow2, RawKey, Passphrase, Swtpm, RBD:
        with tempfile.TemporaryDirectory(dir=directory) as place, contextlib.ExitStack() as stack:
            kind = make_kind(place)
            if make_kind is RBD:
                kind.ceph = stack.enter_context(Ceph())
            seconds, mib = measure(kind, vms)
            without = without or mib
            print(f"{kind.name:16} {seconds:14.1f} {mib:17.2f} {mib - without:+7.2f}", flush=True)
            if make_kind is Raw:
                checked = check_seconds(kind, vms)
    print(f"\nqemu-blobstore check of {vms} raw images, a process for each: {checked:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--vms", type=int, default=100)
    arguments = parser.parse_args()
    run(os.path.abspath(arguments.dir), arguments.vms)


if __name__ == "__main__":
    main()
