# SPDX-License-Identifier: GPL-2.0-or-later
"""Break what is in QEMU in one place at a time and demand that the named test fails.

Only the file that is broken is compiled again, with the commands of the QEMU that is built, and
linked with the objects of that. ONLY=glue in the environment chooses these mutants.
"""

import functools
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from glue import GLUE_MUTANTS, MACHINE
from mutants import GLUE, find, find_glue_faults
from test_mutants import ENVIRONMENT, REPO

QEMU = REPO / "build/qemu/build"
LIMIT_SECONDS = 600
SHOWN = 3000


def run(command, **options):
    return subprocess.run(command, cwd=QEMU, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=LIMIT_SECONDS, check=False, **options)


@functools.cache
def commands():
    """What made each output of the build: the source, and the words of the command."""
    listed = subprocess.run(["ninja", "-t", "compdb", "-x"], cwd=QEMU, env=ENVIRONMENT,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    return {entry["output"]: (entry["file"], entry["command"]) for entry in json.loads(listed)}


def program_of(test):
    return "qemu-system-x86_64" if test.startswith(MACHINE) else f"tests/unit/{test.split()[0]}"


def make(words):
    done = run(words, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout[-SHOWN:]


def build(program, path, source, folder):
    """The program, with `source` in place of the file at `path`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    changed = folder / path.name
    changed.write_text(source)
    link = shlex.split(commands()[program][1])
    named = f"../src/{path.relative_to(REPO)}"
    objects = [word for word in link if commands().get(word, ("",))[0] == named]
    assert objects, f"{program} has no {named}"
    for number, old in enumerate(objects):
        new = str(folder / f"{number}.o")
        compile_it = shlex.split(commands()[old][1])
        compile_it = [{old: new, named: str(changed)}.get(word, word) for word in compile_it]
        make([*compile_it, "-iquote", str(path.parent)])
        link = [new if word == old else word for word in link]
    made = folder / Path(program).name
    make([str(made) if word == program else word for word in link])
    return made


def fails(test, program):
    """The output of the test if it fails with this program; else None."""
    if test.startswith(MACHINE):
        file, *chosen = shlex.split(test)
        named = {"QEMU": str(program), "QEMU_IMG": str(QEMU / "qemu-img"),
                 "QEMU_IO": str(QEMU / "qemu-io"), "ASAN_OPTIONS": "",
                 "QEMU_BLOBSTORE": str(QEMU / "tools/blobstore/qemu-blobstore")}
        done = run(["/usr/bin/python3", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                    "-p", "no:xdist", str(REPO / file), *chosen], env={**os.environ, **named})
        assert done.returncode in (0, 1), done.stdout[-SHOWN:]      # not: no such test
    else:
        folders = {"G_TEST_SRCDIR": str(QEMU / "../src/tests/unit"),
                   "G_TEST_BUILDDIR": str(QEMU / "tests/unit")}
        path = test.split()[1:]
        done = run([str(program), "--tap", *(["-p", *path] if path else [])],
                   env={**os.environ, **folders})
        assert done.returncode or "\nok " in done.stdout, f"no test {path}:\n{done.stdout}"
    return done.stdout if done.returncode else None


def chosen_mutants():
    return GLUE_MUTANTS if os.environ.get("ONLY", "") in ("", "glue") else []


def test_each_mutant_has_a_place():
    assert find_glue_faults(GLUE_MUTANTS) == []


@pytest.mark.parametrize("test", sorted({mutant[0] for mutant in chosen_mutants()}))
def test_unbroken_glue_passes(test):
    assert fails(test, QEMU / program_of(test)) is None


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mutant[1])
                                    for mutant in chosen_mutants()])
def test_the_named_test_notices(mutant, tmp_path):
    test, _, text, replacement = mutant
    (path, start, end), = find(text, GLUE)
    intact = path.read_text()
    program = build(program_of(test), path, intact[:start] + replacement + intact[end:],
                    tmp_path / "broken")
    assert fails(test, program), "the test passes"
