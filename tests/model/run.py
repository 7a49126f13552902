#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the models of the rules with spin, and report TAP.

The models as they are must have no violation in their whole state space, and
each variant with a broken rule must have one. EFFORT=2 and more add larger
bounds. `run.py NAME...` runs the cases whose names begin so; a violation that
is not wanted is shown as the history that leads to it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEMORY_MIB = 5500
DEPTH = 100000
MODEL_LIMIT = re.compile(r'version row|\((v|new_dir)<|\((epoch|counter)<16')


@dataclass
class Case:
    name: str
    model: str
    bounds: dict = field(default_factory=dict)
    broken: str = ''
    effort: int = 1


def store(ops, fails, crashes, damages, effort=1):
    return Case(f'store: {ops} calls, {fails} failing, {crashes} crashes, {damages} damaged',
                'store.pml', dict(OPS=ops, FAILS=fails, CRASHES=crashes, DAMAGES=damages),
                effort=effort)


def broken(rule, ops=2, fails=0, crashes=1, damages=0, effort=1):
    return Case(f'store without {rule}', 'store.pml',
                dict(OPS=ops, FAILS=fails, CRASHES=crashes, DAMAGES=damages), rule, effort)


CASES = [
    store(2, 0, 1, 1),
    store(1, 0, 2, 1),
    store(2, 0, 2, 0, effort=2),
    store(1, 1, 1, 1),
    store(2, 1, 1, 0, effort=2),
    store(1, 1, 2, 1, effort=2),
    store(2, 1, 1, 1, effort=3),
    store(2, 0, 2, 1, effort=4),
    store(3, 0, 1, 0, effort=4),
    store(3, 0, 1, 1, effort=4),
    broken('R2', crashes=2),
    broken('R2_COPY', damages=1),
    broken('R3', crashes=2),
    broken('R4', fails=1),
    broken('R5'),
    broken('R6'),
    broken('R7'),
    broken('R7_TRAILER', damages=1),
    broken('R8'),
    broken('R9', damages=1),
    broken('R9_DIGEST'),
    broken('R10', damages=1),
    broken('R11', damages=1),
    broken('R12'),
    broken('R12_FAILED', fails=1),
    broken('FLUSH', crashes=2),
    broken('LOST', ops=3, damages=1, effort=2),
    Case('format', 'format.pml'),
    Case('format without R13', 'format.pml', broken='R13'),
    Case('format without R13_ORDER', 'format.pml', broken='R13_ORDER'),
    Case('format without R13_RETRY', 'format.pml', broken='R13_RETRY'),
]


def build(case, folder):
    """Make the checker of @case in @folder; returns the options for spin."""
    shutil.copy(HERE / case.model, folder)
    options = [f'-D{name}={value}' for name, value in case.bounds.items()]
    if case.broken:
        options.append(f'-DBREAK_{case.broken}')
    subprocess.run(['spin', '-a', *options, case.model], cwd=folder, check=True,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # HC4: a state is remembered by a hash of 8 bytes.
    subprocess.run(['gcc', '-O1' if case.broken else '-O2', '-w', '-DSAFETY', '-DHC4',
                    f'-DMEMLIM={MEMORY_MIB}', '-o', 'pan', 'pan.c'], cwd=folder, check=True)
    return options


def check(case):
    """Returns whether @case is as wanted, and what there is to say."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            options = build(case, folder)
        except subprocess.CalledProcessError as error:
            return False, (error.output or b'').decode().splitlines() + [str(error)]
        output = subprocess.run(['nice', './pan', f'-m{DEPTH}', '-w24'], cwd=folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        states = re.search(r'(\d+) states, stored', output)
        said = [f'{states[1] if states else "no"} states']
        violation = re.search(r'pan:\d+: (.*)', output)
        if violation:
            said.append(violation[1][:160])
        # Only a promise that is broken is a violation: not a full table, nor a full memory.
        complete = 'errors: 0' in output and 'Search not completed' not in output
        violated = bool(violation and violation[1].startswith('assertion violated') and
                        'array index' not in violation[1] and
                        not MODEL_LIMIT.search(violation[1]))
        good = violated if case.broken else complete
        if not good and violation:
            trail = subprocess.run(['spin', '-t', *options, case.model], cwd=folder, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
            said += [line.strip() for line in trail.splitlines()
                     if re.match(r' {6}\S', line)]
        elif not good:
            said += output.splitlines()[:20]
        return good, said


def main():
    effort = int(os.environ.get('EFFORT') or 1)
    cases = [case for case in CASES
             if case.effort <= effort and case.name.startswith(tuple(sys.argv[1:]) or '')]
    failed = 0
    print(f'1..{len(cases)}')
    for number, case in enumerate(cases, 1):
        good, said = check(case)
        failed += not good
        print(f'{"ok" if good else "not ok"} {number} {case.name}')
        for line in said:
            print(f'# {line}', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
