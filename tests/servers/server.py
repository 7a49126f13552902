# SPDX-License-Identifier: GPL-2.0-or-later
"""A server of storage that a test starts by hand, and ends by its process id."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "machine"))

IMAGE_BYTES = 16 << 20
READY_SECONDS = 60
RUN_SECONDS = 60
POLL_SECONDS = 0.05


def free_port():
    """A port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def flat(name, value):
    """The words by which the command line names the parts of a value of QMP."""
    if isinstance(value, dict):
        return [word for key, part in value.items() for word in flat(f"{name}.{key}", part)]
    if isinstance(value, bool):
        value = "on" if value else "off"
    return [f"{name}={value}"]


class Server:
    """A server in a folder of its own, with one image. It is a context that ends it."""

    programs = ()               # without these, tests are skipped
    objects = ()                # arguments to which `node` refers

    def __init__(self):
        missing = [program for program in self.programs if not shutil.which(program)]
        if missing:
            raise unittest.SkipTest(f"{type(self).__name__}: no {', '.join(missing)} here")
        self.directory = Path(tempfile.mkdtemp(prefix="blobstore-server-"))
        self._processes = []

    def __enter__(self):
        try:
            self.prepare()
            self.come()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_exc):
        self.end()

    def prepare(self):
        """Make what the server needs to start."""

    def come(self):
        """Start the server, at first or again, and wait until it serves."""
        raise NotImplementedError

    def blank(self):
        """Make the image one of zeros."""
        raise NotImplementedError

    def content(self):
        """What the image holds, as the server knows it."""
        raise NotImplementedError

    def allocated(self):
        """How many bytes of the image take up space."""
        raise NotImplementedError

    @property
    def node(self):
        """The arguments of blockdev-add for a node on the image."""
        raise NotImplementedError

    @property
    def drive(self):
        """The arguments of a drive for a TPM."""
        return self.drive_on(self.node)

    def drive_on(self, node):
        return [*self.objects, "-drive", f"if=none,id=nvram,{self._words(node)}"]

    @property
    def image(self):
        """The arguments of a program that works on the image."""
        return [*self.objects, "--image-opts", self._words(self.node)]

    def _words(self, node):
        return ",".join(["driver=raw", *flat("file", node)])

    # The server's process

    @property
    def daemon(self):
        return self._processes[-1]

    def go(self):
        """Kill the server, as a crash of its host would."""
        self.daemon.kill()
        self.daemon.wait()

    def stall(self):
        self.daemon.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.daemon.send_signal(signal.SIGCONT)

    def end(self):
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.directory)

    # For the classes

    def spawn(self, *command, environment=None):
        with open(self._output_of(command[0]), "ab") as output:
            process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output,
                                       env={**os.environ, **(environment or {})})
        self._processes.append(process)

    def run(self, *command, environment=None):
        """Run a command to its end; returns its output."""
        done = subprocess.run(command, cwd=self.directory, check=False, timeout=RUN_SECONDS,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
        return done.stdout

    def wait_until(self, is_ready):
        """Wait for the server that was started last."""
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                name = self.daemon.args[0]
                said = self._output_of(name).read_text(errors="replace")
                raise RuntimeError(f"{name} does not serve:\n{said}")
            time.sleep(POLL_SECONDS)

    def _output_of(self, program):
        return self.directory / f"{Path(program).name}.out"


class FileServer(Server):
    """A server whose image is a file of this host."""

    @property
    def file(self):
        return self.directory / "nvram.raw"

    def prepare(self):
        self.blank()

    def blank(self):
        self.file.touch()
        os.truncate(self.file, 0)
        os.truncate(self.file, IMAGE_BYTES)

    def content(self):
        return self.file.read_bytes()

    def allocated(self):
        return self.file.stat().st_blocks * 512
