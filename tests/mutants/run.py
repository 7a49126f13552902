#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the core in one place at a time and demand that a test notices.

Each mutant is built in a copy of the core and its tests; the tests run until
one fails.  Exit status 0 only if every mutant was caught, by a test that
passes on the unbroken core.  Run it with: make mutants [ONLY=R4]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mutants import MUTANTS

REPO = Path(__file__).resolve().parents[2]
COPY = REPO / "build/mutants/src"
BUILD = REPO / "build/mutants/build"
MESON = REPO / "build/debian/usr/lib/python3/dist-packages"
PARTS = ("meson.build", "meson_options.txt", "blobstore", "include", "tests/sealed", "tests/unit",
         "tests/crash", "tests/format", "tests/fuzz", "tests/pkcs11", "tests/tap.py", "bench")
TIMEOUT_SECONDS = 900
SLOW = ("crash-explorer", "crash-ids", "damage", "faults")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(MESON), "G_DEBUG": "fatal-warnings"}


def run(*command, environment=None, **options):
    return subprocess.run(command, env={**ENVIRONMENT, **(environment or {})}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)


def prepare():
    """A copy of the core and its tests, built unbroken."""
    shutil.rmtree(COPY, ignore_errors=True)
    for part in PARTS:
        source, target = REPO / part, COPY / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # New times: the last mutant's objects are newer than the sources.
            shutil.copytree(source, target, copy_function=shutil.copy)
        elif source.exists():
            shutil.copy(source, target)
    if not (BUILD / "build.ninja").exists():
        done = run("/usr/bin/python3", "-m", "mesonbuild.mesonmain", "setup", str(BUILD),
                   str(COPY), "-Dbuildtype=debugoptimized", "-Dwerror=false")
        if done.returncode:
            sys.exit(f"cannot configure:\n{done.stdout}")


def build():
    done = run("ninja", "-C", str(BUILD))
    return None if done.returncode == 0 else done.stdout


def tests():
    """Of the core; quick ones first."""
    done = run("/usr/bin/python3", "-m", "mesonbuild.mesonmain", "introspect", "--tests", str(BUILD))
    listed = json.loads(done.stdout)
    chosen = [test for test in listed if {"unit", "crash"} & set(
        suite.rpartition(":")[2] for suite in test["suite"])]
    return sorted(chosen, key=lambda test: test["name"] in SLOW)


def failing_test():
    """The name of the first test that fails, or None."""
    for test in tests():
        try:
            done = run(*test["cmd"], environment=test["env"], cwd=BUILD,
                       timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{test['name']} (hangs)"
        if done.returncode:
            return test["name"]
    return None


def try_mutant(file, text, replacement):
    """Which test catches it; None if none does."""
    path = COPY / "blobstore" / file
    intact = path.read_text()
    if intact.count(text) != 1:
        sys.exit(f"{file}: {intact.count(text)} places match, 1 is wanted:\n{text}")
    try:
        path.write_text(intact.replace(text, replacement))
        errors = build()
        if errors:
            sys.exit(f"{file}: the mutant does not compile:\n{errors[-3000:]}")
        return failing_test()
    finally:
        path.write_text(intact)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="",
                        help="mutants of one rule, or of all with this letter")
    only = parser.parse_args().only
    print("mutants: building the core and its tests", flush=True)
    prepare()
    errors = build()
    if errors:
        sys.exit(errors)
    broken = failing_test()
    if broken:
        sys.exit(f"{broken} fails on the unbroken core")
    survivors = 0
    chosen = [mutant for mutant in MUTANTS if only in ("", mutant[0], mutant[0][0])]
    for rule, what, *change in chosen:
        started = time.monotonic()
        caught = try_mutant(*change)
        survivors += caught is None
        print(f"{rule:8} {'caught  ' if caught else 'SURVIVED'} {what}"
              f" [{caught or 'no test failed'}, {time.monotonic() - started:.0f} s]", flush=True)
    print(f"{len(chosen) - survivors} passed, {survivors} failed")
    sys.exit(1 if survivors or not chosen else 0)


if __name__ == "__main__":
    main()
