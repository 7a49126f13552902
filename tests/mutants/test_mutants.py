# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the core in one place at a time and demand that one of its tests fails.

Each of pytest's processes breaks its own copy of the core and its tests. ONLY= in the environment
chooses the mutants of one rule, or all of a letter.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mutants import MUTANTS, find, find_faults

REPO = Path(__file__).resolve().parents[2]
COPIES = REPO / "build/mutants"
MESON = REPO / "build/debian/usr/lib/python3/dist-packages"
PARTS = ("meson.build", "meson_options.txt", "blobstore", "include", "tools/blobstore/swtpm",
         "tests/sealed", "tests/storage", "tests/unit", "tests/crash", "tests/format", "tests/fuzz",
         "tests/pkcs11", "tests/conftest.py")
TIMEOUT_MULTIPLIER = 3
QUICK_FIRST = (["--suite=unit"], ["jobs"], ["owners"], ["crash-ids", "crash-explorer"],
               ["algebra", "damage"], ["faults"])
SHOWN = 3000                # characters of a compiler's output

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(MESON), "G_DEBUG": "fatal-warnings"}
# The tests of the copy must not use the programs of another build.
for name in "EXPLORE", "FORMAT_PROGRAMS":
    ENVIRONMENT.pop(name, None)


def run(*command):
    return subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def meson(*arguments):
    return run("/usr/bin/python3", "-m", "mesonbuild.mesonmain", *arguments)


class Core:
    """A copy of the core and its tests, built in a folder of its own."""

    def __init__(self, folder):
        self.source = folder / "src"
        self.folder = folder / "build"
        shutil.rmtree(self.source, ignore_errors=True)
        for part in PARTS:
            source, target = REPO / part, self.source / part
            target.parent.mkdir(parents=True, exist_ok=True)
            # The new times make the sources newer than the last mutant's objects.
            if source.is_dir():
                shutil.copytree(source, target, copy_function=shutil.copy)
            else:
                shutil.copy(source, target)
        if not (self.folder / "build.ninja").exists():
            done = meson("setup", str(self.folder), str(self.source), "-Dbuildtype=debugoptimized",
                         "-Dwerror=false")
            assert done.returncode == 0, done.stdout
        self.build()

    def build(self):
        done = run("ninja", "-C", str(self.folder), "--quiet")
        assert done.returncode == 0, f"it does not compile:\n{done.stdout[-SHOWN:]}"

    def failing_test(self):
        """meson's report of the first test that fails; or None."""
        for tests in QUICK_FIRST:
            done = meson("test", "--no-rebuild", "--maxfail=1", "--num-processes=1",
                         f"--timeout-multiplier={TIMEOUT_MULTIPLIER}", "-C", str(self.folder),
                         *tests)
            if done.returncode:
                return done.stdout
        return None

    def break_it(self, text, replacement):
        """meson's report of the test that notices; or None."""
        (path, start, end), = find(text, self.source / "blobstore")
        intact = path.read_text()
        try:
            path.write_text(intact[:start] + replacement + intact[end:])
            self.build()
            return self.failing_test()
        finally:
            path.write_text(intact)


@pytest.fixture(scope="session", name="core")
def make_core():
    return Core(COPIES / os.environ.get("PYTEST_XDIST_WORKER", "alone"))


def chosen_mutants():
    only = os.environ.get("ONLY", "")
    return [mutant for mutant in MUTANTS if only in ("", mutant[0], mutant[0][0])]


def name_of(mutant):
    return ": ".join(mutant[:2])


def test_each_rule_has_a_mutant_and_each_mutant_a_place():
    assert find_faults(MUTANTS) == []


@pytest.mark.skipif(not chosen_mutants(), reason="no mutant of the core was chosen")
def test_unbroken_core_passes(core):
    assert core.failing_test() is None


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=name_of(mutant))
                                    for mutant in chosen_mutants()])
def test_a_test_notices(core, mutant):
    assert core.break_it(*mutant[2:]), "all tests pass"
