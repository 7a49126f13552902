# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one QEMU process: start it, send QMP to it, wait for it, keep its logs."""

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
sys.path.insert(0, str(BUILD / "qemu/src/python"))

from qemu.qmp import ConnectError, QMPClient, QMPError  # noqa: E402

QMP_TIMEOUT_SECONDS = 30
SAVED_IN_THE_NVRAM = re.compile(r"warning: blobstore '\w+': the state of the VM is saved in "
                                r"drive '[\w#]+', which grows by the memory of the VM")


class VMError(Exception):
    """A VM did something wrong; the message names the log to read."""


def program(variable):
    """The program that make named in an environment variable, such as QEMU."""
    path = os.environ.get(variable, "")
    if not os.access(path, os.X_OK):
        raise VMError(f"{variable}={path!r} names no program;"
                      " run this as: env $(make -s paths) COMMAND")
    return path


def qemu_nbd():
    """The program, which is beside qemu-img."""
    return os.path.join(os.path.dirname(program("QEMU_IMG")), "qemu-nbd")


def create_image(directory, image_format, size="4M", name="nvram"):
    """Make a blank image called NAME.FORMAT in directory; returns that name."""
    name = f"{name}.{image_format}"
    subprocess.run([program("QEMU_IMG"), "create", "-q", "-f", image_format, name, size],
                   cwd=directory, check=True)
    return name


def machine_args(accel=None):
    """The program and the arguments that every machine here shares."""
    return [program("QEMU"), "-accel", accel or os.environ.get("ACCEL", "tcg"), "-m", "256M",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]


class VM:
    """A QEMU process, which is killed if it still runs at the end of the context.

    It runs in the folder `directory`; LOG.qemu gets its command line and its output, LOG.serial
    the guest's output.
    """

    accel = None                # that of the environment

    def __init__(self, args, directory, log):
        log = Path(log)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.qemu_log = log.with_name(f"{log.name}.qemu")
        self.serial_log = log.with_name(f"{log.name}.serial")
        self.serial_log.write_bytes(b"")
        self._args = args
        self._directory = directory
        self._process = None
        self._loop = None
        self._client = QMPClient(log.name)
        self.answered = 0.0         # when QMP last answered

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc):
        self.stop()

    def start(self):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [
            *machine_args(self.accel),
            "-chardev", f"file,id=serial,path={self.serial_log}", "-serial", "chardev:serial",
            "-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control",
            *self._args]
        with theirs, open(self.qemu_log, "w", encoding="utf-8") as log:
            print(shlex.join(command), file=log, flush=True)
            self._process = subprocess.Popen(
                command, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, pass_fds=[theirs.fileno()])
        self._loop = asyncio.new_event_loop()
        try:
            self._sync(self._client.connect(ours))
        except (ConnectError, asyncio.TimeoutError, AssertionError) as error:
            # The client raises the last of these if QEMU has gone just then.
            ours.close()
            raise self.error("QEMU did not start") from error

    def qmp(self, command, **arguments):
        """Run a QMP command; underscores in argument names stand for hyphens."""
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            answer = self._sync(self._client.execute(command, arguments))
            self.answered = time.monotonic()
            return answer
        except (QMPError, asyncio.TimeoutError) as error:
            raise self.error(f"QMP {command}: {error or 'no answer'}") from error

    def start_qmp(self, command):
        """Send a QMP command that may wait for long; finish_qmp() takes what this returns."""
        task = self._loop.create_task(self._client.execute(command))
        self._sync(asyncio.sleep(0.5))
        return task

    def finish_qmp(self, task):
        return self._sync(task)

    def qmp_out_of_band(self, command, **arguments):
        """Run a QMP command that QEMU executes although its main loop waits."""
        return self._sync(self._client.execute(command, arguments, oob=True))

    def qmp_in_a_row(self, commands):
        """Run QMP commands without a pause: each is sent when the last one has been answered."""
        async def run():
            for command in commands:
                await self._client.execute(command)
        self._sync(run())

    def wait_event(self, name):
        """The data of the next event `name`; those before it are dropped."""
        async def find():
            async for event in self._client.events:
                if event["event"] == name:
                    return event["data"] if "data" in event else {}
        try:
            return self._sync(find())
        except TimeoutError as error:
            raise self.error(f"no event {name}") from error

    def events(self, name):
        """The data of all events `name` up to now."""
        return [event.get("data", {}) for event in self._client.events.history
                if event["event"] == name]

    def times(self, name):
        """The times of the events `name`, in seconds."""
        return [event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
                for event in self._client.events.history if event["event"] == name]

    def hmp(self, line):
        return self.qmp("human-monitor-command", command_line=line)

    def savevm(self, name):
        """Save a snapshot. If only the image of the TPM can take the VM's state, QEMU warns."""
        said = self.hmp(f"savevm {name}").strip()
        if said and not SAVED_IN_THE_NVRAM.fullmatch(said):
            raise self.error(f"savevm {name}: {said}")

    @property
    def status(self):
        return self.qmp("query-status")["status"]

    def store(self):
        """The entry of blobstore-info for the only store."""
        store, = self.qmp("blobstore-info")
        return store

    def blob(self, name):
        blob, = [blob for blob in self.store()["blobs"] if blob["name"] == name]
        return blob

    def wait(self, timeout, on_serial_line=None):
        """Wait for QEMU to end by itself, and successfully."""
        deadline = time.monotonic() + timeout
        with open(self.serial_log, encoding="utf-8", errors="replace") as serial:
            running, text = True, ""
            while running:
                running = self._process.poll() is None
                *lines, text = (text + serial.read()).split("\n")
                for line in lines:
                    if on_serial_line:
                        on_serial_line(line.rstrip())
                if time.monotonic() > deadline:
                    raise self.error(f"still running after {timeout} seconds")
                if running:
                    self._sync(asyncio.sleep(0.05))
        if self._process.returncode != 0:
            raise self.error(f"QEMU ended with status {self._process.returncode}")

    def stop(self):
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._loop:
            try:
                self._sync(self._client.disconnect())
            except (EOFError, OSError, QMPError):
                pass            # QEMU ended before the client did
            self._loop.close()
            self._loop = None

    @property
    def pid(self):
        """The id of the QEMU process, once there is one."""
        return self._process and self._process.pid

    @property
    def is_running(self):
        return self._process.poll() is None

    def send_signal(self, number):
        self._process.send_signal(number)

    @property
    def exit_status(self):
        """The exit status of the QEMU process, which is about to end."""
        return self._process.wait(QMP_TIMEOUT_SECONDS)

    def kill(self):
        """End QEMU at once, as a crash would."""
        self.stop()

    def terminate(self):
        """Ask QEMU to end, as the host's shutdown would, and wait."""
        self.send_signal(signal.SIGTERM)
        self.wait(QMP_TIMEOUT_SECONDS)

    def quit(self):
        self.qmp("quit")
        self.wait(QMP_TIMEOUT_SECONDS)

    def error(self, what):
        """An error with the last message of QEMU itself, and the place of the logs."""
        said = self.qemu_log.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        cause = f": {said[-1]}" if said else ""
        return VMError(f"{what}{cause}\n  logs: {self.qemu_log}\n        {self.serial_log}")

    def _sync(self, awaitable):
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, QMP_TIMEOUT_SECONDS))
