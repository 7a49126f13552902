# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the models of the rules with spin.

The models as they are must have no violation in their whole state space, and
each variant with a broken rule must have one. EFFORT=2 and more add larger
bounds. A violation that is not wanted is shown as the history that leads to it.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MEMORY_MIB = 5500
DEPTH = 100000
SHOWN = 2000                # characters of the checker's output
EFFORT = int(os.environ.get('EFFORT') or 1)
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


def broken(rule, ops=2, fails=0, crashes=1, damages=0, effort=1, **more):
    return Case(f'store without {rule}', 'store.pml',
                dict(OPS=ops, FAILS=fails, CRASHES=crashes, DAMAGES=damages, **more), rule, effort)


def cached(ops, fails, crashes, effort=1):
    return Case(f'store in a page cache: {ops} calls, {fails} failing, {crashes} crashes',
                'store.pml', dict(OPS=ops, FAILS=fails, CRASHES=crashes, PAGE_CACHE=1),
                effort=effort)


def small(name, *rules):
    """A model as it is, and without each of some rules."""
    return [Case(name, f'{name}.pml'),
            *(Case(f'{name} without {rule}', f'{name}.pml', broken=rule) for rule in rules)]


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
    cached(1, 1, 2),
    cached(2, 1, 1, effort=2),
    broken('R16', ops=1, fails=1, crashes=2, PAGE_CACHE=1),
    broken('R16_ORDER', ops=1, fails=1, crashes=2, PAGE_CACHE=1),
    *small('format', 'R13', 'R13_ORDER', 'R13_RETRY'),
    *small('superblock', 'S5_NAMES', 'S5_BEFORE', 'S5_AFTER', 'S5_SETTLE'),
    *small('owner', 'R17', 'R17_START', 'R17_CLOSE'),
    *small('wipe', 'S11', 'S11_HOLES', 'S11_FLUSH'),
]


def build(case, folder):
    """Make the checker of @case in @folder; returns the options for spin."""
    shutil.copy(HERE / case.model, folder)
    shutil.copytree(HERE / 'store', folder / 'store')
    options = [f'-D{name}={value}' for name, value in case.bounds.items()]
    if case.broken:
        options.append(f'-DBREAK_{case.broken}')
    subprocess.run(['spin', '-a', *options, case.model], cwd=folder, check=True)
    # HC4 remembers a state by a hash of 8 bytes.
    subprocess.run(['gcc', '-O1' if case.broken else '-O2', '-w', '-DSAFETY', '-DHC4',
                    f'-DMEMLIM={MEMORY_MIB}', '-o', 'pan', 'pan.c'], cwd=folder, check=True)
    return options


def was_promise_broken(output):
    """Whether a history leads to a violation: a full table or full memory is none."""
    violation = re.search(r'pan:\d+: (.*)', output)
    return bool(violation and violation[1].startswith('assertion violated') and
                'array index' not in violation[1] and not MODEL_LIMIT.search(violation[1]))


def tell(case, options, output, folder):
    """The history that leads to a violation, or else the checker's output."""
    if 'pan:' not in output:
        return output[:SHOWN]
    trail = subprocess.run(['spin', '-t', *options, case.model], cwd=folder, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
    return '\n'.join(re.findall(r'pan:\d+: .*', output) +
                     [line.strip() for line in trail.splitlines() if re.match(r' {6}\S', line)])


@pytest.mark.parametrize('case', [case for case in CASES if case.effort <= EFFORT],
                         ids=lambda case: case.name)
def test_promise_is_kept_unless_a_rule_is_broken(case, tmp_path):
    options = build(case, tmp_path)
    output = subprocess.run(['nice', './pan', f'-m{DEPTH}', '-w24'], cwd=tmp_path, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
    states = re.search(r'(\d+) states, stored', output)
    print(f'# {case.name}: {states[1] if states else 0} states')
    if case.broken:
        good = was_promise_broken(output)
    else:
        good = 'errors: 0' in output and 'Search not completed' not in output
    assert good, tell(case, options, output, tmp_path)
