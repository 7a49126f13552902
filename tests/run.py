#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run test suites and count what passed.

Each suite is a list of programs, of which as many run at a time as there are
processors, or JOBS=; each program reports its cases as TAP, or is one case by
its exit status. The output of a program that fails is shown. The last line is
'N passed, N failed, N skipped'; the exit status is 0 only if something passed
and nothing failed. EFFORT= and SEED= reach the tests through the environment.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILD = REPO / 'build'
CORE = BUILD / 'core'
FAST = BUILD / 'fast'
QEMU_SOURCE = BUILD / 'qemu/src'
QEMU_BUILD = BUILD / 'qemu/build'
MESON = BUILD / 'debian/usr/lib/python3/dist-packages'

JOBS = int(os.environ.get('JOBS') or os.cpu_count() or 1)
SHOWN_LINES = 300       # of the output of a failed program

TAP_CASE = re.compile(r'(?P<status>ok|not ok)\b\s*\d*\s*-?\s*(?P<name>[^#]*)'
                      r'(#\s*(?P<directive>\w+))?')
TAP_PLAN = re.compile(r'1\.\.(?P<count>\d+)')
ROUNDS = re.compile(r'# .*\b\d+ rounds\b')      # what a loop says of itself


@dataclass
class Program:
    name: str
    command: list
    timeout_seconds: int
    tap: bool = True
    directory: Path = REPO
    environment: dict = field(default_factory=dict)
    live: bool = False      # print each case and loop as it ends, or each line if it has none
    quiet: bool = False     # print nothing unless it fails


@dataclass
class Report:
    """What a program has said so far."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    planned: int | None = None
    complaints: list = field(default_factory=list)
    output: list = field(default_factory=list)

    @property
    def cases(self):
        return self.passed + self.failed + self.skipped

    def complain(self, text):
        """Something is wrong beyond the cases that reported themselves."""
        self.failed += 1
        self.complaints.append(text)

    def take(self, line):
        """Count one line of TAP; returns the name of the case it ends."""
        plan = TAP_PLAN.match(line)
        if plan:
            self.planned = int(plan['count'])
            if self.planned == 0 and '# skip' in line.lower():
                self.skipped += 1
            return None
        if line.startswith('Bail out!'):
            self.complaints.append(line)
            return None
        case = TAP_CASE.match(line)
        if not case:
            return None
        if case['status'] == 'not ok':
            self.failed += 1
        elif (case['directive'] or '').upper() == 'SKIP':
            self.skipped += 1
        else:
            self.passed += 1
        return case['name'].strip()


def tap_suite(files, timeout_seconds, **options):
    return [Program(name=Path(file).stem,
                    command=[sys.executable, 'tests/tap.py', str(file)],
                    timeout_seconds=timeout_seconds, **options)
            for file in files]


def core_programs():
    """The core's tests, as its own build lists them."""
    listed = subprocess.run(
        [sys.executable, '-m', 'mesonbuild.mesonmain', 'introspect', '--tests', str(CORE)],
        env={**os.environ, 'PYTHONPATH': str(MESON)},
        stdout=subprocess.PIPE, text=True, check=True).stdout
    return [Program(name=test['name'], command=test['cmd'],
                    timeout_seconds=max(300, int(test['timeout'])),
                    tap=test['protocol'] == 'tap',
                    directory=Path(test['workdir'] or CORE),
                    environment={**test['env'],
                                 'ASAN_OPTIONS': 'abort_on_error=1:detect_leaks=1',
                                 'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1'})
            for test in json.loads(listed)]


def crash_programs():
    """The crash explorer as `make crash` runs it, in two parts, and all the damage."""
    effort = int(os.environ.get('EFFORT') or 1)
    programs = {'explore all histories': ['explore', '--keys=0', '--random=0', '--walks=0'],
                'explore keys and what is drawn': ['explore', '--ops=0'],
                'damage': ['damage']}
    return [Program(name=name, tap=False, timeout_seconds=1800 * effort, live=True,
                    command=[str(FAST / 'tests/crash' / program), *options])
            for name, (program, *options) in programs.items()]


def script_programs():
    return tap_suite(['tests/graft/test_graft.py', 'tests/runner/test_run.py',
                      'tests/setup/test_setup.py', 'tests/setup/test_option.py',
                      'tests/repository/test_repository.py',
                      'tests/repository/test_rooms.py'], 300)


def model_programs():
    effort = int(os.environ.get('EFFORT') or 1)
    return [Program(name='rules', command=[sys.executable, 'tests/model/run.py'],
                    timeout_seconds=3600 * effort, live=True)]


def style_programs():
    """QEMU's checkpatch.pl on every C file of ours."""
    checkpatch = QEMU_SOURCE / 'scripts/checkpatch.pl'
    folders = [path for path in REPO.iterdir() if path.is_dir() and path != BUILD]
    files = sorted(str(path.relative_to(REPO))
                   for folder in folders for path in folder.rglob('*.[ch]'))
    return [Program(name=file, tap=False, timeout_seconds=60, quiet=True,
                    command=['perl', str(checkpatch), '--no-signoff', '--no-tree', '-q', '-f',
                             file])
            for file in files]


def grafted_programs(names, folder, timeout_seconds):
    """GLib test programs of QEMU's build."""
    environment = {
        'G_TEST_SRCDIR': str(QEMU_SOURCE / folder),
        'G_TEST_BUILDDIR': str(QEMU_BUILD / folder),
        'QTEST_QEMU_BINARY': './qemu-system-x86_64',
        'QTEST_QEMU_IMG': './qemu-img',
        'QTEST_QEMU_STORAGE_DAEMON_BINARY': './storage-daemon/qemu-storage-daemon',
        'PYTHON': sys.executable,
    }
    return [Program(name=name, timeout_seconds=timeout_seconds, directory=QEMU_BUILD,
                    environment=environment,
                    command=[str(QEMU_BUILD / folder / name), '--tap', '-k'])
            for name in names]


def names_of(pattern):
    return sorted(path.stem for path in REPO.glob(pattern))


def block_programs():
    return grafted_programs(names_of('tests/unit/test-blobstore-*.c'), 'tests/unit', 600)


def upstream_programs():
    names = ['tpm-crb-test', 'tpm-tis-test']
    return grafted_programs(names, 'tests/qtest', 300)


def device_programs():
    return grafted_programs(names_of('tests/qtest/*blobstore*-test.c'), 'tests/qtest', 900)


def vm_programs(folder):
    effort = int(os.environ.get('EFFORT') or 1)
    return tap_suite(sorted((REPO / folder).glob('test_*.py')), 1800 * effort, live=True)


def functional_programs():
    return vm_programs('tests/functional')


def machine_programs():
    return vm_programs('tests/machine')


SUITES = {
    'core': (core_programs, 'the core on memory and files, with ASan and UBSan'),
    'crash': (crash_programs, 'the core where the power fails, without sanitizers'),
    'scripts': (script_programs, 'the graft, this runner and the repository as a whole'),
    'model': (model_programs, 'the rules of the format, by spin'),
    'style': (style_programs, "QEMU's checkpatch.pl on our C"),
    'block': (block_programs, "the glue over QEMU's block layer"),
    'upstream': (upstream_programs, "QEMU's own TPM tests"),
    'device': (device_programs, 'a TPM behind its registers in a running QEMU'),
    'machine': (machine_programs, 'a TPM in machines that stop, sleep, crash and lose power'),
    'functional': (functional_programs, 'machines and guests'),
}


def kill_group(process):
    """End what a program may have left running in its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Running:
    """The processes of the programs that run, to be ended if we are."""

    def __init__(self):
        self._lock = threading.Lock()
        self._processes = set()
        self._is_over = False

    def add(self, process):
        with self._lock:
            self._processes.add(process)
            if self._is_over:
                kill_group(process)

    def end(self, process):
        with self._lock:
            self._processes.discard(process)
        kill_group(process)

    def end_all(self):
        """Those that are only starting included."""
        with self._lock:
            self._is_over = True
            for process in self._processes:
                kill_group(process)


def run(program, running=None):
    running = running or Running()
    report = Report()
    try:
        process = subprocess.Popen(
            program.command, cwd=program.directory, env={**os.environ, **program.environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace', start_new_session=True)
    except OSError as error:
        report.complain(f'cannot be started: {error}')
        return report

    running.add(process)
    timed_out = threading.Event()

    def time_out():
        timed_out.set()
        kill_group(process)

    timer = threading.Timer(program.timeout_seconds, time_out)
    timer.start()
    try:
        for line in process.stdout:
            line = line.rstrip('\n')
            report.output.append(line)
            case = report.take(line) if program.tap else None
            if program.live and (case or not program.tap or ROUNDS.match(line)):
                print(f'    {line}', flush=True)
        status = process.wait()
    finally:
        timer.cancel()
        running.end(process)
    judge(report, program, status, timed_out.is_set())
    return report


def judge(report, program, status, timed_out):
    """Add what the exit status and the plan say to the counted cases."""
    if timed_out:
        report.complain(f'no end after {program.timeout_seconds} s, killed')
    elif status < 0:
        report.complain(f'killed by {signal.Signals(-status).name}')
    elif not program.tap:
        if status == 0:
            report.passed += 1
        elif status == 77:      # the convention of Automake and meson
            report.skipped += 1
        else:
            report.complain(f'exit status {status}')
    elif status != 0 and report.failed == 0:
        report.complain(f'exit status {status} though no case failed')
    elif report.planned is None:
        report.complain('ended without a TAP plan')
    elif report.planned and report.cases < report.planned:
        report.complain(f'ended after {report.cases} of {report.planned} cases')
    elif report.cases == 0:
        report.complain('no case ran')


def show(program, report, seconds):
    if program.quiet and not report.failed:
        return
    counts = [f'{number} {word}' for number, word in
              ((report.passed, 'passed'), (report.failed, 'FAILED'), (report.skipped, 'skipped'))
              if number]
    print(f'  {program.name:<44} {", ".join(counts)}  ({seconds:.1f} s)', flush=True)
    if report.failed:
        shown = report.output[-SHOWN_LINES:]
        if len(report.output) > len(shown):
            print(f'    | ... {len(report.output) - len(shown)} lines before these')
        for line in shown:
            print(f'    | {line}')
        for complaint in report.complaints:
            print(f'    {program.name}: {complaint}')
        print(f'    again: cd {program.directory} && {" ".join(map(str, program.command))}',
              flush=True)


def timed_run(program, running):
    start = time.monotonic()
    report = run(program, running)
    return program, report, time.monotonic() - start


def run_suite(programs):
    counts = Counter()
    running = Running()
    with ThreadPoolExecutor(JOBS) as pool:
        runs = [pool.submit(timed_run, program, running) for program in programs]
        try:
            for done in as_completed(runs):
                program, report, seconds = done.result()
                show(program, report, seconds)
                counts.update(passed=report.passed, failed=report.failed, skipped=report.skipped)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            running.end_all()
            raise
    return counts


def in_words(counts):
    return ', '.join(f'{counts[word]} {word}' for word in ('passed', 'failed', 'skipped'))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n', 1)[0])
    parser.add_argument('suite', nargs='*', metavar='SUITE',
                        help='of ' + ', '.join(SUITES) + '; all if none is given')
    arguments = parser.parse_args()
    unknown = set(arguments.suite) - set(SUITES)
    if unknown:
        parser.error(f'no such suite: {", ".join(sorted(unknown))}')

    total = Counter()
    started = time.monotonic()
    for name in arguments.suite or SUITES:
        programs, description = SUITES[name]
        print(f'{name}: {description}', flush=True)
        counts = run_suite(programs())
        print(f'{name}: {in_words(counts)}', flush=True)
        total += counts
    print(f'{time.monotonic() - started:.0f} s')
    print(in_words(total))
    return 0 if total['passed'] and not total['failed'] else 1


if __name__ == '__main__':
    sys.exit(main())
