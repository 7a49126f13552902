#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Call the test runners and add up what they count.

meson runs the C tests, pytest the Python tests; both report in JUnit's XML. A program that fails
without a failed case, or without a report, counts as one more failure. The last line is 'N passed,
N failed, N skipped'; the exit status is 0 only if something passed and nothing failed. EFFORT= and
SEED= reach the tests through the environment. JOBS= tests run at a time. This program sets LENGTH,
which tells the tests which of the three lengths runs.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILD = REPO / 'build'
CORE = BUILD / 'core'
FAST = BUILD / 'fast'
QEMU = BUILD / 'qemu/build'
REPORTS = BUILD / 'reports'
MESON = BUILD / 'debian/usr/lib/python3/dist-packages'
PYTHON = '/usr/bin/python3'     # Debian's, which has Debian's pytest

JOBS = os.environ.get('JOBS') or str(os.cpu_count() or 1)
EFFORT = int(os.environ.get('EFFORT') or 1)
IS_DIFFERENT = bool(EFFORT > 1 or os.environ.get('SEED'))   # from the draws of make check
SILENCE_SECONDS = 60            # after that, a line names what still runs
HANG_SECONDS = 1800 * EFFORT    # of silence, after which the runner is ended
END_SECONDS = 20                # for a runner to end on request
STORAGE_SECONDS = 900 * EFFORT  # for all of the suite storage
SLOWEST = 8                     # tests that pytest names, with their times

LENGTHS = ('quick', 'check', 'night')


@dataclass
class Run:
    """One call of a runner."""
    name: str
    command: list
    report: Path                # JUnit's XML
    programs: Path | None = None    # meson's log, a line of JSON for each program
    environment: dict = field(default_factory=dict)


def meson(name, build, *arguments, patience=1):
    """The tests of a build that these arguments of `meson test` choose."""
    logs = build / 'meson-logs'
    sanitizers = {'ASAN_OPTIONS': 'abort_on_error=1:detect_leaks=1',
                  'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1'}
    return Run(name, [PYTHON, '-m', 'mesonbuild.mesonmain', 'test', '-C', str(build),
                      '--no-rebuild', '--print-errorlogs', f'--num-processes={JOBS}',
                      f'--timeout-multiplier={patience * EFFORT}', f'--logbase={name}',
                      *arguments],
               report=logs / f'{name}.junit.xml', programs=logs / f'{name}.json',
               environment={'PYTHONPATH': str(MESON), **sanitizers})


def pytest(name, *arguments, jobs=JOBS):
    """Files and folders of Python tests; tests of one module stay in one process, in order."""
    report = REPORTS / f'{name}.xml'
    return Run(name, [PYTHON, '-m', 'pytest', '-v', '--tb=short', '-p', 'no:cacheprovider',
                      f'--numprocesses={jobs}', f'--durations={SLOWEST}',
                      '--durations-min=5', f'--junitxml={report}', *arguments],
               report=report)


def names_of(pattern):
    return sorted(path.stem for path in REPO.glob(pattern))


def qtests(names):
    return [f'qtest-x86_64/{name}' for name in names]


def core(length):
    if length == 'quick':
        return [meson('core', CORE, '--suite=unit', '--suite=fuzz')]
    if length == 'night' and not IS_DIFFERENT:
        return []
    return [meson('core', CORE, '--no-suite=python', '--no-suite=long')]


def format_readers(length):
    if length == 'night' and not IS_DIFFERENT:
        return []
    return [pytest('format', '--dist=loadscope', 'tests/format', 'tests/crash')]


def crash(length):
    chosen = ['--suite=all'] if length != 'night' or IS_DIFFERENT else []
    return [meson('crash', FAST, *chosen, *(['--suite=drawn'] if length == 'night' else []))]


def scripts(length):
    folders = ['graft', 'repository'] + (['runner', 'setup'] if length == 'check' else [])
    return [pytest('scripts', '--dist=loadscope', *(f'tests/{folder}' for folder in folders))]


def style(length):
    return [pytest('style', 'tests/style', *(['--changed'] if length == 'quick' else []))]


def block(_):
    return [meson('block', QEMU, *names_of('tests/unit/test-blobstore-*.c'), patience=20)]


def upstream(_):
    return [meson('upstream', QEMU, *qtests(['tpm-crb-test', 'tpm-tis-test']), patience=5)]


def device(length):
    names = ['tpm-blobstore-test'] if length == 'quick' else \
        names_of('tests/qtest/*blobstore*-test.c')
    return [meson('device', QEMU, *qtests(names), patience=15)]


def machine(length):
    chosen = []
    if length == 'night':
        chosen = ['-m', 'drawn or scaled' if IS_DIFFERENT else 'drawn']
    return [pytest('machine', *chosen, 'tests/machine')]


def functional(_):
    return [pytest('functional', 'tests/functional')]


def storage(_):
    run = pytest('storage', '-rs', '--dist=loadscope', 'tests/servers')
    run.command[:0] = ['timeout', str(STORAGE_SECONDS), str(REPO / 'tests/servers/apart.sh')]
    return [run]


def package(_):
    run = pytest('package', '-rP', 'tests/package', jobs=0)
    run.command[:0] = [str(REPO / 'tests/package/apart.sh')]
    return [run]


def model(_):
    return [pytest('model', 'tests/model')]


def mutants(_):
    return [pytest('mutants', 'tests/mutants')]


# Each suite: the function that has the calls, the name shown, and the lengths. make check-storage
# and make check-deb name their suites, which are in none.
SUITES = {
    'core': (core, 'the core on memory and files, with ASan and UBSan', LENGTHS),
    'format': (format_readers, 'a second reader of images, written from format.md alone',
               ('check', 'night')),
    'crash': (crash, 'the core where the power fails, without sanitizers', ('check', 'night')),
    'scripts': (scripts, 'the graft, this runner and the repository', ('quick', 'check')),
    'style': (style, "QEMU's checkpatch.pl on our C", ('quick', 'check')),
    'block': (block, "the glue over QEMU's block layer", ('quick', 'check')),
    'upstream': (upstream, "QEMU's own TPM tests", ('check',)),
    'device': (device, 'a TPM behind its registers in a running QEMU', ('quick', 'check')),
    'machine': (machine, 'a TPM in machines that stop, sleep, crash and lose power',
                ('check', 'night')),
    'functional': (functional, 'machines and guests', ('check',)),
    'storage': (storage, 'a TPM on real servers of storage', ()),
    'package': (package, 'the Debian package in a Debian of its own', ()),
    'model': (model, 'the rules of the format, by spin', ('night',)),
    'mutants': (mutants, 'the code, broken in one place at a time', ('night',)),
}


def read_lines(stream, lines):
    for line in stream:
        lines.put(line.rstrip('\n'))
    lines.put(None)


def show_output(process, name):
    """Print each line as it arrives, and during long silence what still runs."""
    started = last = time.monotonic()
    lines = queue.Queue()
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            now = time.monotonic()
            print(f'  ... {name} runs, {(now - started) / 60:.0f} min so far', flush=True)
            if now - last > HANG_SECONDS:
                print(f'  {name}: hangs, and is ended', flush=True)
                end(process)
                return
            continue
        last = time.monotonic()
        if line is None:
            return
        print(f'  {line}'.rstrip(), flush=True)


def end(process):
    """End the runner and all that it has started: runners end their tests on request."""
    for sent in signal.SIGTERM, signal.SIGKILL:
        try:
            os.killpg(process.pid, sent)
            process.wait(END_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def call(run):
    """The exit status, or the reason why there is none."""
    for path in run.report, run.programs:
        if path:
            path.unlink(missing_ok=True)
    try:
        process = subprocess.Popen(
            run.command, cwd=REPO, env={**os.environ, **run.environment}, text=True,
            errors='replace', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
    except OSError as error:
        return str(error)
    try:
        show_output(process, run.name)
        return process.wait()
    finally:
        end(process)


def count_cases(report):
    """The counts of a file in JUnit's XML, and the names of suites with a failed case."""
    counts, failing = Counter(), set()
    for suite in xml.parse(report).iter('testsuite'):
        for case in suite.iter('testcase'):
            if case.find('failure') is not None or case.find('error') is not None:
                counts['failed'] += 1
                failing.add(suite.get('name').rpartition('.')[2])
            else:
                counts['skipped' if case.find('skipped') is not None else 'passed'] += 1
    return counts, failing


def count_programs(log, failing):
    """The number of meson's programs that failed although every reported case is good."""
    failed = 0
    for program in map(json.loads, log.read_text().splitlines()):
        name = program['name'].rpartition(' / ')[2].rpartition(':')[2]
        said = program.get('stdout', '')
        has_cases = any(line.startswith(('ok ', 'not ok ')) for line in said.split('\n'))
        if program['result'] == 'SKIP':
            # meson also takes a program that prints nothing for a skipped one.
            bad = program['returncode'] == 0 and '# skip' not in said.lower()
        else:
            # A program without cases is a case itself.
            bad = program['result'] != 'OK' and has_cases and name not in failing
        if bad:
            print(f'  {name}: {program["result"]}, exit status {program["returncode"]}')
            failed += 1
    return failed


def judge(run, status):
    """The counts of a runner that has ended."""
    try:
        counts, failing = count_cases(run.report)
        if run.programs:
            counts['failed'] += count_programs(run.programs, failing)
    except (OSError, ValueError, xml.ParseError) as error:
        print(f'  {run.name}: no report: {error}')
        counts = Counter()
    complaint = None
    if status != 0 and not counts['failed']:
        complaint = f'ended with status {status} though no case failed'
    elif not counts.total():
        complaint = 'no case ran'
    if complaint:
        print(f'  {run.name}: {complaint}')
        counts['failed'] += 1
    return counts


def in_words(counts):
    return ', '.join(f'{counts[word]} {word}' for word in ('passed', 'failed', 'skipped'))


def run_suite(runs):
    total = Counter()
    for run in runs:
        counts = judge(run, call(run))
        if counts['failed']:
            print(f'  again: {" ".join(run.command)}')
        total += counts
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n', 1)[0])
    parser.add_argument('--length', choices=LENGTHS, default='check')
    parser.add_argument('suite', nargs='*', metavar='SUITE',
                        help='of ' + ', '.join(SUITES) + '; if none is given, those of the length')
    arguments = parser.parse_args()
    unknown = set(arguments.suite) - set(SUITES)
    if unknown:
        parser.error(f'no such suite: {", ".join(sorted(unknown))}')
    # make ends its children by a signal, and this program ends its own then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ['LENGTH'] = arguments.length
    REPORTS.mkdir(parents=True, exist_ok=True)

    total = Counter()
    started = time.monotonic()
    for name in arguments.suite or [name for name in SUITES if arguments.length in SUITES[name][2]]:
        find_runs, description, _ = SUITES[name]
        runs = find_runs(arguments.length)
        if not runs:
            continue
        print(f'{name}: {description}', flush=True)
        since = time.monotonic()
        counts = run_suite(runs)
        print(f'{name}: {in_words(counts)} ({time.monotonic() - since:.0f} s)', flush=True)
        total += counts
    print(f'{time.monotonic() - started:.0f} s')
    print(in_words(total))
    return 0 if total['passed'] and not total['failed'] else 1


if __name__ == '__main__':
    sys.exit(main())
