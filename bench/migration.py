#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure what a TPM in a blobstore adds to a live migration: bytes, and time that the VM stands.

usage: migration.py --dir=DIRECTORY [--rounds=N] [--json=FILE]

The same machine without a TPM, with a new one and with one whose NV is full
moves between two QEMUs on shared storage, each once a round, in random order.
"""

import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/machine"))

import tpm2  # noqa: E402
from frontend import TPMError  # noqa: E402
from machine import Machine  # noqa: E402
from tis import TIS  # noqa: E402
from vm import BUILD, VMError, create_image  # noqa: E402

FULL_BYTES = 2048           # of an NV index
WAIT_SECONDS = 30


def store_nothing(_tpm):
    """A new TPM gets no more state."""


def fill_nv(tpm):
    """A full TPM has as many indices as it has room for."""
    index = 0x01000000
    try:
        while True:
            index += 1
            tpm.run(tpm2.nv_define(index, size=FULL_BYTES))
            for offset in range(0, FULL_BYTES, FULL_BYTES // 2):
                tpm.run(tpm2.nv_write(index, os.urandom(FULL_BYTES // 2), offset))
    except TPMError as error:
        if error.result != tpm2.RC_NV_SPACE:
            raise


@dataclass
class Variant:
    """A machine, and the cost of its moves."""
    name: str
    fill: object = None         # what is done with its TPM first; None: it has none
    machine: Machine | None = None
    stream_bytes: int = 0
    permanent_bytes: int = 0
    downtimes_ms: list = field(default_factory=list)

    def args(self):
        image = f"{self.name.replace(' ', '-')}.raw"
        tpm = ["-device", "tpm-tis,blobstore=nvram"] if self.fill else []
        return ["-drive", f"if=none,id=nvram,file={image},format=raw", *tpm]


class Bench:
    def __init__(self, directory):
        self.directory = directory
        self._machines = 0

    def start(self, variant, *args):
        self._machines += 1
        machine = Machine([*variant.args(), *args], self.directory,
                          BUILD / "bench-migration" / f"{self._machines % 8}")
        machine.start()
        return machine

    def begin(self, variant):
        create_image(self.directory, "raw", name=variant.name.replace(" ", "-"))
        variant.machine = self.start(variant)
        if variant.fill:
            tpm = TIS(variant.machine)
            tpm.run(tpm2.startup())
            variant.fill(tpm)
            variant.permanent_bytes = variant.machine.blob("permanent")["size"]

    def measure_stream(self, variant):
        """Save the state to a file; then the machine continues."""
        path = Path(self.directory) / "stream"
        variant.machine.qmp("migrate", uri=f"file:{path}")
        self.wait(variant.machine, "completed")
        variant.stream_bytes = path.stat().st_size
        variant.machine.qmp("cont")

    def move(self, variant):
        source = variant.machine
        destination = self.start(variant, "-incoming", "defer")
        address = f"unix:{self.directory}/socket-{self._machines}"
        destination.qmp("migrate-incoming", uri=address)
        source.qmp("migrate", uri=address)
        destination.wait_event("RESUME")
        self.wait(source, "completed")
        stopped, resumed = source.times("STOP")[-1], destination.times("RESUME")[0]
        variant.downtimes_ms.append(1000 * (resumed - stopped))
        source.kill()
        variant.machine = destination

    def wait(self, machine, wanted):
        deadline = time.monotonic() + WAIT_SECONDS
        while (status := machine.qmp("query-migrate").get("status")) != wanted:
            if status == "failed" or time.monotonic() > deadline:
                raise machine.error(f"migration is {status}, not {wanted}")
            time.sleep(0.01)


class Others:
    """The processor time used by everything but this program and its QEMUs."""

    def __init__(self):
        self._busy, self._all = self._processors()
        self._ours = self._own_seconds()

    def percent(self):
        busy, all_time = self._processors()
        ours = (self._own_seconds() - self._ours) * os.sysconf("SC_CLK_TCK")
        return 100 * max(0, busy - self._busy - ours) / (all_time - self._all)

    @staticmethod
    def _processors():
        """The ticks that the processors were busy, and all ticks."""
        with open("/proc/stat", encoding="ascii") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    @staticmethod
    def _own_seconds():
        return sum(usage.ru_utime + usage.ru_stime for usage in
                   (resource.getrusage(who) for who in (resource.RUSAGE_SELF,
                                                        resource.RUSAGE_CHILDREN)))


def run(directory, rounds):
    variants = [Variant("no TPM"), Variant("new TPM", store_nothing), Variant("full TPM", fill_nv)]
    bench = Bench(directory)
    try:
        for variant in variants:
            bench.begin(variant)
            bench.measure_stream(variant)
        for _ in range(rounds):
            for variant in random.sample(variants, len(variants)):
                bench.move(variant)
    finally:
        for variant in variants:
            if variant.machine:
                variant.machine.kill()
    return variants


def report(variants, rounds):
    base = variants[0]
    base_ms = statistics.median(base.downtimes_ms)
    print(f"Live migration on shared storage, precopy over a unix socket; median of {rounds} moves"
          " of each (quartiles)\n")
    print(f"{'':10} {'permanent':>12} {'stream':>12} {'added':>10}   downtime, ms"
          f"{'':14} {'added':>6}")
    for variant in variants:
        low, median, high = statistics.quantiles(variant.downtimes_ms, n=4)
        added = variant.stream_bytes - base.stream_bytes
        spread = f"({low:.1f} - {high:.1f})"
        print(f"{variant.name:10} {variant.permanent_bytes or '':>12} {variant.stream_bytes:>12,}"
              f" {added if added else '':>10}   {median:6.1f} {spread:18}"
              f" {f'{median - base_ms:+.1f}' if variant is not base else '':>6}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    others = Others()
    try:
        with tempfile.TemporaryDirectory(prefix="blobstore-",
                                         dir=os.path.abspath(arguments.dir)) as directory:
            variants = run(directory, arguments.rounds)
    except (VMError, OSError) as error:
        sys.exit(f"migration benchmark failed: {error}")
    report(variants, arguments.rounds)
    print(f"\nOthers used {others.percent():.0f} % of the processors; above 8 % the times are not"
          " worth keeping.")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump([{"name": variant.name, "permanent_bytes": variant.permanent_bytes,
                        "stream_bytes": variant.stream_bytes, "downtimes_ms": variant.downtimes_ms}
                       for variant in variants], out, indent=1)


if __name__ == "__main__":
    main()
